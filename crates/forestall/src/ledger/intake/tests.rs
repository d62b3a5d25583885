use std::path::Path;

use forestall_kernel::oom::{LogScanner, Victim};
use tempfile::TempDir;

use super::super::book::Book;
use super::super::look::hear_all;
use super::super::pages::Pages;
use super::*;

const BOOT: &[u8] = b"11111111-2222-3333-4444-555555555555";

fn capture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../forestall-kernel/tests/oom");
    let bytes = std::fs::read(folder.join(name)).expect("it is kept there");
    let end = memchr::memmem::find(&bytes, b"# --- TRACE ---").unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

fn records(log: &[u8]) -> Vec<Record<'_>> {
    log.split(|byte| *byte == b'\n')
        .filter_map(Record::parse)
        .collect()
}

/// Takes in what the ring of a boot holds at one time.
fn look_of(boot: &[u8], book: &mut Book, ring: &[Record<'_>], counted: u64) -> Tally {
    let read = |hear: &mut dyn FnMut(&Record<'_>)| {
        ring.iter().for_each(hear);
        Ok(())
    };
    let (entries, tally) =
        hear_all(book.known_of(boot), 1_700_000_000_000_000, Some(counted), read).expect("readable");
    book.append(&entries, tally.clone()).expect("room");
    tally
}

fn look(book: &mut Book, ring: &[Record<'_>], counted: u64) -> Tally {
    look_of(BOOT, book, ring, counted)
}

fn entries(folder: &TempDir) -> Vec<Entry> {
    Pages::read(folder.path()).expect("a ledger").entries
}

fn pids(folder: &TempDir) -> Vec<u32> {
    let entries = entries(folder);
    let victims = entries.iter().flat_map(|entry| &entry.report.victims);
    victims.map(|victim| victim.pid).collect()
}

fn expected(log: &[u8]) -> Vec<u32> {
    let mut pids = Vec::new();
    let mut scanner = LogScanner::new();
    let mut hear = |report: Report| pids.extend(report.victims.iter().map(|victim| victim.pid));
    scanner.feed(log, &mut hear);
    scanner.finish(&mut hear);
    pids
}

#[test]
fn whenever_somebody_looked_before_no_kill_is_lost_and_none_is_kept_twice() {
    for name in [
        "6.14-v2-storm.kmsg",
        "6.12-v2-oom-group.kmsg",
        "5.4-v1-global.kmsg",
        "4.15-v1-weird-comm.kmsg",
    ] {
        let log = capture(name);
        let (ring, mut all) = (records(&log), expected(&log));
        all.sort_unstable();
        let step = (ring.len() / 12).max(1);
        for first in (0..=ring.len()).step_by(step) {
            // The second look finds all of it, or only what has not been overwritten since.
            for oldest in [0, first / 2, first] {
                let folder = TempDir::new().expect("a directory");
                look(
                    &mut Book::open(folder.path()).expect("a ledger"),
                    &ring[..first],
                    0,
                );
                look(
                    &mut Book::open(folder.path()).expect("a ledger"),
                    &ring[oldest..],
                    0,
                );
                let mut kept = pids(&folder);
                kept.sort_unstable();
                assert_eq!(
                    kept,
                    all,
                    "{name}: {first} of {} records, then from {oldest} on",
                    ring.len()
                );
            }
        }
    }
}

#[test]
fn what_the_kernel_counted_and_no_line_told_of_stays_unattributed() {
    let storm = capture("6.14-v2-storm.kmsg");
    let ring = records(&storm);
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    let half = ring.len() / 2;
    look(&mut book, &ring[..half], 26);
    let whole = look(&mut book, &ring, 26);
    assert_eq!((whole.kill_lines, whole.unattributed()), (26, Some(0)));
    assert_eq!(look(&mut book, &ring, 29).unattributed(), Some(3));
    // A group of four: the first is told twice, and counted twice.
    let group = capture("6.12-v2-oom-group.kmsg");
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    let tally = look(&mut book, &records(&group), 5);
    assert_eq!(
        (tally.kill_lines, tally.unattributed(), pids(&folder).len()),
        (5, Some(0), 4)
    );
}

#[test]
fn what_was_overwritten_between_two_looks_is_counted() {
    let storm = capture("6.14-v2-storm.kmsg");
    let ring = records(&storm);
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    let before = ring[0].sequence;
    assert_eq!(look(&mut book, &ring[..100], 0).lost, before);
    assert_eq!(look(&mut book, &ring[110..200], 0).lost, before + 10);
    // Looking again at the same loses nothing more.
    assert_eq!(look(&mut book, &ring[150..200], 0).lost, before + 10);
}

#[test]
fn what_a_process_writes_into_the_log_is_no_kill() {
    let forged = Record::parse(
        b"12,5,1000,-;Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB",
    );
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    let tally = look(&mut book, &[forged.expect("a record")], 0);
    assert_eq!((tally.kill_lines, entries(&folder).len()), (0, 0));
}

#[test]
fn another_boot_has_numbers_of_its_own() {
    let log = capture("4.4-v1-global.kmsg");
    let ring = records(&log);
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    look(&mut book, &ring, 1);
    look_of(b"other", &mut book, &ring, 1);
    assert_eq!((pids(&folder), book.tallies.len()), (vec![313, 313], 2));
}

/// A record of the kernel's, so many microseconds after boot.
fn line(sequence: u64, micros: u64, text: &str) -> String {
    format!("4,{sequence},{micros},-;{text}\n")
}

const KILL: &str = "Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0";

/// What is kept after looks at these rings, one after the other: who, and by which kind of line.
fn kept(rings: &[&[String]]) -> Vec<(u32, Seen)> {
    let folder = TempDir::new().expect("a directory");
    for ring in rings {
        let log = ring.concat();
        look(
            &mut Book::open(folder.path()).expect("a ledger"),
            &records(log.as_bytes()),
            0,
        );
    }
    let entries = entries(&folder);
    let victims = entries.iter().flat_map(|entry| &entry.report.victims);
    victims.map(|victim| (victim.pid, victim.seen)).collect()
}

#[test]
fn what_is_left_of_a_report_that_is_known_is_no_further_kill() {
    let reaper = "oom_reaper: reaped process 7 (a), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB";
    let ring = [line(10, 1_000_000, KILL), line(11, 9_000_000, reaper)];
    assert_eq!(kept(&[&ring, &ring[1..]]), [(7, Seen::KillLine)]);
    // The same number in another process's hands, much later.
    let later = [line(20, 90_000_000, KILL)];
    assert_eq!(kept(&[&ring, &later]).len(), 2);
}

#[test]
fn the_first_of_a_group_is_one_kill_although_a_look_lies_between_its_two_lines() {
    let (first, second) = ([line(10, 1_000_000, KILL)], [line(12, 1_000_900, KILL)]);
    assert_eq!(kept(&[&first, &second]), [(7, Seen::KillLine)]);
}

#[test]
fn who_is_only_named_when_the_log_ends_is_kept_with_the_kill_line_that_follows() {
    let verdict = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/x,task_memcg=/x,task=a,pid=7,uid=0";
    let ring = [line(9, 999_000, verdict), line(10, 1_000_000, KILL)];
    assert_eq!(kept(&[&ring[..1], &ring]), [(7, Seen::KillLine)]);
}

#[test]
fn entries_without_a_tally_behind_them_are_known_all_the_same() {
    let storm = capture("6.14-v2-storm.kmsg");
    let nobody = line(5, 5_000_000, "Out of memory and no killable processes...");
    for (log, reports) in [(storm, 26), (nobody.into_bytes(), 1)] {
        let ring = records(&log);
        let folder = TempDir::new().expect("a directory");
        let heard = look(&mut Book::open(folder.path()).expect("a ledger"), &ring, 26);
        let path = folder.path().join("kills.ledger");
        let whole = std::fs::read(&path).expect("a file");
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("a file");
        let mut book = Book::open(folder.path()).expect("a ledger");
        assert_eq!((entries(&folder).len(), book.tallies.len()), (reports, 0));
        assert_eq!(look(&mut book, &ring, 26), heard);
        assert_eq!(entries(&folder).len(), reports);
    }
}

/// Follows a log as an agent does, and is killed after so many records: what its last write had not finished is cut off.
fn follow_until_killed(folder: &TempDir, ring: &[Record<'_>], silence_after: usize, torn: u64) {
    let mut book = Book::open(folder.path()).expect("a ledger");
    let mut intake = book.intake(BOOT, 0);
    for (nth, record) in ring.iter().enumerate() {
        intake.hear(record);
        if nth % silence_after == 0 {
            intake.settle();
        }
        if intake.news() > 0 {
            let (entries, tally) = intake.take(None);
            book.append(&entries, tally).expect("room");
        }
    }
    drop(book);
    let path = folder.path().join("kills.ledger");
    let size = std::fs::metadata(&path).expect("a file").len();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("a file");
    file.set_len(size.saturating_sub(torn)).expect("a file");
}

#[test]
fn an_agent_that_is_killed_anywhere_in_a_storm_neither_loses_nor_doubles_a_kill() {
    for name in [
        "6.14-v2-storm.kmsg",
        "6.12-v2-oom-group.kmsg",
        "4.15-v1-weird-comm.kmsg",
    ] {
        let log = capture(name);
        let (ring, mut all) = (records(&log), expected(&log));
        all.sort_unstable();
        let step = (ring.len() / 16).max(1);
        for killed in (0..=ring.len()).step_by(step) {
            for (silence_after, torn) in [(1_000_000, 0), (7, 1), (3, 40)] {
                let folder = TempDir::new().expect("a directory");
                follow_until_killed(&folder, &ring[..killed], silence_after, torn);
                follow_until_killed(&folder, &ring, silence_after, 0);
                look(&mut Book::open(folder.path()).expect("a ledger"), &ring, 0);
                let mut kept = pids(&folder);
                kept.sort_unstable();
                assert_eq!(
                    kept,
                    all,
                    "{name}: {killed} of {}, {silence_after}, {torn}",
                    ring.len()
                );
            }
        }
    }
}

#[test]
fn what_a_report_that_is_not_over_has_told_is_heard_again() {
    let verdict = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/x,task_memcg=/x,task=a,pid=7,uid=0";
    let log = [
        line(8, 998_000, "eth0: up"),
        line(9, 999_000, verdict),
        line(10, 1_000_000, KILL),
    ]
    .concat();
    let ring = records(log.as_bytes());
    let folder = TempDir::new().expect("a directory");
    let mut intake = Book::open(folder.path()).expect("a ledger").intake(BOOT, 0);
    intake.hear(&ring[0]);
    intake.hear(&ring[1]);
    intake.hear(&ring[2]);
    // Its kill has been told, and a member of a group might still come.
    let (entries, tally) = intake.take(Some(1));
    assert_eq!((entries.len(), tally.through, tally.kill_lines), (0, Some(8), 0));
    assert_eq!(intake.heard(), (1, 8));
    intake.settle();
    let (entries, tally) = intake.take(Some(1));
    assert_eq!((entries.len(), tally.through, tally.kill_lines), (1, Some(10), 1));
}

/// A report of tracing alone.
fn traced(pid: u32, micros: u64) -> Report {
    let when = When {
        micros: Some(micros),
        ..When::default()
    };
    Report {
        when,
        victims: vec![Victim {
            when,
            pid,
            seen: Seen::Marked,
            ..Victim::default()
        }],
        ..Report::default()
    }
}

fn killed_line(sequence: u64, micros: u64, pid: u32) -> String {
    format!(
        "3,{sequence},{micros},-;Memory cgroup out of memory: Killed process {pid} (java) total-vm:2kB, anon-rss:4kB, file-rss:0kB"
    )
}

#[test]
fn a_kill_that_tracing_and_a_line_tell_of_is_kept_once_whoever_tells_first() {
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    // A life that may not read the log keeps what tracing tells, and proves it.
    let mut intake = book.intake(BOOT, 0);
    assert!(intake.hear_traced(traced(7, 50_000_000)));
    assert!(!intake.hear_traced(traced(7, 50_000_000)));
    assert!(intake.hear_traced(traced(8, 51_000_000)));
    let (entries, tally) = intake.take(Some(2));
    assert_eq!(
        (tally.traced, tally.unattributed(), intake.heard().0),
        (2, Some(0), 2)
    );
    book.append(&entries, tally).expect("room");
    // The next one may, and hears all of it, one of whom tracing told nothing, and one after whom tracing is late.
    let lines = [
        killed_line(1, 40_000_000, 6),
        killed_line(2, 50_020_000, 7),
        killed_line(3, 51_020_000, 8),
        killed_line(4, 52_020_000, 9),
    ];
    drop(book);
    let mut book = Book::open(folder.path()).expect("a ledger");
    let mut intake = book.intake(BOOT, 0);
    for line in &lines {
        intake.hear(&Record::parse(line.as_bytes()).expect("a record"));
    }
    intake.settle();
    assert!(!intake.hear_traced(traced(9, 52_000_000)));
    assert!(
        !intake.hear_traced(traced(5, 40_000_000)),
        "what was so early an earlier life has read"
    );
    let (entries, tally) = intake.take(Some(4));
    assert_eq!(
        (tally.kill_lines, tally.traced, tally.unattributed()),
        (4, 0, Some(0))
    );
    book.append(&entries, tally).expect("room");
    assert_eq!(pids(&folder), [7, 8, 6, 9]);
}

#[test]
fn a_late_line_is_taken_out_of_the_count_once_however_often_it_is_read_again() {
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    let mut intake = book.intake(BOOT, 0);
    assert!(intake.hear_traced(traced(7, 50_000_000)));
    assert!(intake.hear_traced(traced(8, 51_000_000)));
    let (entries, tally) = intake.take(Some(2));
    book.append(&entries, tally).expect("room");
    // Of one of them a line comes, which each further life finds in the ring.
    let line = killed_line(1, 50_020_000, 7);
    for _ in 0..3 {
        drop(book);
        book = Book::open(folder.path()).expect("a ledger");
        let mut intake = book.intake(BOOT, 0);
        intake.hear(&Record::parse(line.as_bytes()).expect("a record"));
        intake.settle();
        let (entries, tally) = intake.take(Some(2));
        assert_eq!(
            (tally.kill_lines, tally.traced, tally.unattributed()),
            (1, 1, Some(0))
        );
        book.append(&entries, tally).expect("room");
    }
    assert_eq!(pids(&folder), [7, 8]);
}

/// What is noted goes to the disk: a table of some thousand processes, which a slow console tells one by one, is not to be as many writes.
#[test]
fn a_report_that_is_being_told_leaves_nothing_to_note() {
    let log = capture("6.12-v2-container-limit.kmsg");
    let header = |record: &Record<'_>| memchr::memmem::find(record.text, b"invoked oom-killer").is_some();
    let ring = records(&log);
    let first = ring.iter().find(|record| header(record)).expect("a report");
    let folder = TempDir::new().expect("a directory");
    let book = Book::open(folder.path()).expect("a ledger");
    let mut intake = book.intake(BOOT, 0);
    for record in ring.iter().take_while(|record| record.sequence <= first.sequence) {
        intake.hear(record);
    }
    intake.take(None);
    for number in 1..=1000 {
        let (sequence, micros) = (first.sequence + number, first.micros);
        let line = format!(
            "4,{sequence},{micros},-;[{number:7}]     0 {number:5}     1000      100    8192        0             0 c"
        );
        intake.hear(&Record::parse(line.as_bytes()).expect("a record"));
    }
    assert_eq!(intake.records_untold(), 0);
    intake.finish();
    assert_eq!(intake.records_untold(), 1001);
}

#[test]
fn a_search_for_a_victim_that_never_ends_takes_no_more_memory_and_loses_no_count() {
    let folder = TempDir::new().expect("a directory");
    let mut intake = Book::open(folder.path()).expect("a ledger").intake(BOOT, 0);
    let header = "4,0,1,-;java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=984";
    intake.hear(&Record::parse(header.as_bytes()).expect("a record"));
    // Every other record is lost.
    for number in 1..=10_000 {
        let line = format!(
            "4,{},1,-;java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL)",
            2 * number
        );
        intake.hear(&Record::parse(line.as_bytes()).expect("a record"));
    }
    assert_eq!(intake.heard(), (0, 10_000));
    assert!(intake.ear.ahead.len() <= 1024, "{}", intake.ear.ahead.len());
    intake.finish();
    let (_, tally) = intake.take(None);
    assert_eq!((tally.lost, tally.through), (10_000, Some(20_000)));
}
