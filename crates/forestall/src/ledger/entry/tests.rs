use std::path::Path;

use forestall_kernel::oom::LogScanner;

use super::*;
use crate::commands::explain::headline;
use crate::forensics::evidence;
use crate::forensics::share::Share;

#[test]
fn what_filled_it_and_how_sure_that_is_is_told_as_the_log_told_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../forestall-kernel/tests/oom");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("an entry").path();
        let log = std::fs::read(&path).expect("readable");
        let mut hear = |report: Report| {
            let entry = Entry::new(Box::default(), 0, report);
            let read = Entry::decode(&entry.encode()).expect("a record").report;
            let report = entry.report;
            assert_eq!(Share::of(&read), Share::of(&report), "{}", path.display());
            assert_eq!(headline(&read), headline(&report));
            assert_eq!(evidence::of_level(&read), evidence::of_level(&report));
            assert_eq!(evidence::of_kill(&read), evidence::of_kill(&report));
            assert_eq!(
                evidence::of_memory(&read).is_some(),
                evidence::of_memory(&report).is_some()
            );
            let mut missing = evidence::missing(&report);
            // A ledger is of the kernel's own records, before which nobody puts anything; one of these files is no log.
            missing.retain(|said| {
                !said.contains("were suppressed by the kernel") && !said.starts_with("who wrote it")
            });
            assert_eq!(evidence::missing(&read), missing);
            count += 1;
        };
        let mut scanner = LogScanner::new();
        scanner.feed(&log, &mut hear);
        scanner.finish(&mut hear);
    }
    assert!(count > 70, "{count}");
}

#[test]
fn a_moment_is_the_date_that_it_is() {
    // Expected by `date -u -d @N`.
    for (secs, date) in [
        (0, (1970, 1, 1, 0, 0, 0)),
        (951_868_799, (2000, 2, 29, 23, 59, 59)),
        (1_795_246_593, (2026, 11, 21, 7, 36, 33)),
        (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
    ] {
        let found = calendar(secs * 1_000_000 + 5).expect("a date");
        let told = (
            found.year,
            found.month,
            found.day,
            found.hour,
            found.minute,
            found.second,
        );
        let (year, month, day, hour, minute, second) = date;
        assert_eq!(told, (Some(year), month, day, hour, minute, second));
        assert_eq!(found.unix_micros(0, 0), Some(secs * 1_000_000 + 5));
    }
}

#[test]
fn what_the_kernel_does_not_count_is_not_missing() {
    let tally = Tally {
        kill_lines: 3,
        counted: None,
        ..Tally::default()
    };
    assert_eq!(tally.unattributed(), None);
    assert_eq!(
        Tally {
            counted: Some(5),
            ..tally.clone()
        }
        .unattributed(),
        Some(2)
    );
    assert_eq!(
        Tally {
            counted: Some(2),
            ..tally
        }
        .unattributed(),
        Some(0)
    );
}
