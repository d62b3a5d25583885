//! What holds of the log's reader and of the collector for every input: they never panic, a report that is cut anywhere yields its kill
//! and nothing that belongs to another, and reports of several callers come apart.

use std::path::Path;

use forestall_kernel::kmsg::{Flag, Line, Origin, Record, When, unescape_into};
use forestall_kernel::oom::{Collector, Level, LogScanner, Part, Report, Seen, TOP_ROWS};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Captures with kills, of every shape of the kernel's texts.
const CAPTURES: [&str; 10] = [
    "4.4-v1-global",
    "4.15-v1-pod-limit",
    "4.15-v1-weird-comm",
    "5.4-v1-global",
    "5.4-v2-oom-group",
    "5.10-v2-long-path",
    "5.10-v2-share-mm",
    "6.1-v2-weird-comm",
    "6.12-v2-kubepods-limit",
    "6.14-v2-storm",
];

/// The records of a capture.
fn records(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/oom/{name}.kmsg"));
    let bytes = std::fs::read(path).expect("readable");
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .take_while(|line| !line.starts_with(b"# --- TRACE"))
        .filter(|line| Record::parse(line).is_some())
        .map(<[u8]>::to_vec)
        .collect()
}

fn read(lines: &[Vec<u8>]) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut scanner = LogScanner::new();
    scanner.feed(&lines.join(&b'\n'), &mut |report| reports.push(report));
    scanner.finish(&mut |report| reports.push(report));
    reports
}

/// The pid of a record that is a kill line.
fn killed(record: &[u8]) -> Option<u32> {
    let record = Record::parse(record)?;
    let mut buffer = vec![0; record.text.len()];
    match Part::of(unescape_into(record.text, &mut buffer))? {
        Part::Killed(kill) => Some(kill.pid),
        _ => None,
    }
}

/// Checks what was read from a part of a log against what the whole of it tells.
fn check_cut(cut: &[Vec<u8>], whole: &[Report]) -> Result<(), TestCaseError> {
    let reports = read(cut);
    let mut pids: Vec<u32> = cut.iter().filter_map(|record| killed(record)).collect();
    // Whoever was chosen of a group is told twice.
    pids.sort_unstable();
    pids.dedup();
    let by_line = |report: &Report| {
        let victims = report
            .victims
            .iter()
            .filter(|victim| victim.seen == Seen::KillLine);
        victims.map(|victim| victim.pid).collect::<Vec<_>>()
    };
    let mut told: Vec<u32> = reports.iter().flat_map(by_line).collect();
    told.sort_unstable();
    prop_assert_eq!(&told, &pids, "each kill line gives one victim");
    for report in &reports {
        for victim in &report.victims {
            let source = whole.iter().find_map(|source| {
                Some((
                    source,
                    source.victims.iter().find(|known| known.pid == victim.pid)?,
                ))
            });
            let (source, known) = source.expect("nobody is made up");
            prop_assert_eq!(&victim.comm, &known.comm);
            prop_assert!(victim.anon.is_none() || victim.anon == known.anon);
            prop_assert!(
                victim.memcg.is_none()
                    || victim.memcg == known.memcg
                    || victim.memcg.as_ref().is_some_and(|path| path.is_cut)
            );
            prop_assert!(
                report.trigger.is_none()
                    || report.trigger.as_ref().map(|trigger| &trigger.comm)
                        == source.trigger.as_ref().map(|trigger| &trigger.comm)
            );
            if let Some(limit) = report.limit.as_ref().filter(|limit| !limit.is_cut) {
                prop_assert_eq!(Some(limit), source.limit.as_ref());
            }
            prop_assert!(
                report.level == source.level || [Level::SomeCgroup, Level::Unknown].contains(&report.level),
                "{:?} for {:?}",
                report.level,
                source.level
            );
            prop_assert!(report.domain.memory.is_none() || report.domain.memory == source.domain.memory);
        }
    }
    Ok(())
}

/// The reports by their victims, without what their records' numbers and times say.
fn without_times(mut reports: Vec<Report>) -> Vec<Report> {
    for report in &mut reports {
        report.when = When::default();
        for victim in &mut report.victims {
            victim.when = When::default();
        }
    }
    reports.sort_by_key(|report| report.victims.first().map(|victim| victim.pid));
    reports
}

/// Text that looks like the kernel's: words of its lines, in any order.
fn kernel_like() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        select(vec![
            "a invoked oom-killer: gfp_mask=0x1",
            ", order=-1, oom_score_adj=5",
            "oom-kill:constraint=",
            ",nodemask=",
            ",cpuset=",
            ",mems_allowed=",
            ",oom_memcg=",
            ",global_oom",
            ",task_memcg=",
            ",task=",
            ",pid=",
            ",uid=",
            "Killed process ",
            " (",
            ") ",
            ") total-vm:",
            "kB",
            ", anon-rss:",
            "Memory cgroup out of memory: ",
            "Out of memory: ",
            "Out of memory and no killable processes...",
            "Memory cgroup stats for ",
            ": cache:",
            "Task in ",
            " killed as a result of limit of ",
            "Tasks in ",
            " are going to be killed due to memory.oom.group set",
            "[ pid ] uid rss oom_score_adj name",
            "[  12] 0 5 0 x",
            "Mem-Info:",
            "active_anon:5",
            "Node 0 DMA: 1*4kB",
            "memory: usage 1kB, limit 2kB, failcnt 3",
            "anon 5",
            "oom_reaper: reaped process ",
            "oom_reaper: unable to reap pid:",
            "), now anon-rss:",
            "Kill process ",
            ") score ",
            "oom_kill_process: 5 callbacks suppressed",
            "sysrq: Manual OOM execution",
            "CPU: 0 PID: 5 Comm: a",
            "/kubepods/pod1/c",
            "\n",
            "\n",
            "\n",
            "4,",
            "5,6,",
            "-;",
            "c;",
            "+;",
            "[    1.500000] ",
            "Feb 20 08:18:28 host kernel: ",
            "<3>",
            "kern  :err   : ",
            "2024-05-01T12:00:00Z ",
            "\\x0a",
            "\\x",
            "\r",
            "  ",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        any::<u64>().prop_map(|number| number.to_string().into_bytes()),
        Just(b"99999999999999999999999999".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..80).prop_map(|words| words.concat())
}

fn survive(log: &[u8], size: usize) -> Result<(), TestCaseError> {
    let mut buffer = [0; 64];
    for line in log.split(|byte| *byte == b'\n') {
        if let Some(record) = Record::parse(line) {
            prop_assert!(unescape_into(record.text, &mut buffer).len() <= record.text.len());
            let _ = record.fields().count();
        }
        let line = Line::of_text(line);
        let _ = Part::of(line.text);
    }
    let mut reports = Vec::new();
    let mut scanner = LogScanner::new();
    for block in log.chunks(size) {
        scanner.feed(block, &mut |report| reports.push(report));
    }
    scanner.finish(&mut |report| reports.push(report));
    for report in &reports {
        prop_assert!(report.table.largest.len() <= TOP_ROWS);
        let _ = report.page_bytes();
    }
    let lines = log.split(|byte| *byte == b'\n').count();
    prop_assert!(reports.len() <= 2 * lines, "no report without a line");
    Ok(())
}

proptest! {
    // Failures are kept as tests of their own and not as a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(log in proptest::collection::vec(any::<u8>(), 0..600), size in 1_usize..100) {
        survive(&log, size)?;
    }

    #[test]
    fn lines_that_look_right_are_survived(log in kernel_like(), size in 1_usize..100) {
        survive(&log, size)?;
    }

    #[test]
    fn every_text_is_decoded_back(text in proptest::collection::vec(any::<u8>(), 0..80)) {
        // The kernel's escaping, from its documentation.
        let escaped: Vec<u8> = text
            .iter()
            .flat_map(|byte| match byte {
                b'\\' | 0..32 | 127.. => format!("\\x{byte:02x}").into_bytes(),
                byte => vec![*byte],
            })
            .collect();
        let record = [b"6,1,2,-;", &escaped[..], b"\n SUBSYSTEM=a\n"].concat();
        let record = Record::parse(&record).expect("a record");
        let mut buffer = vec![0; record.text.len()];
        prop_assert_eq!(unescape_into(record.text, &mut buffer), &text[..]);
    }

    #[test]
    fn a_report_cut_anywhere_yields_its_kill_and_nothing_wrong(
        name in select(&CAPTURES[..]),
        from in any::<Index>(),
        to in any::<Index>(),
    ) {
        let records = records(name);
        let whole = read(&records);
        let (from, to) = (from.index(records.len()), to.index(records.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        check_cut(&records[from..to], &whole)?;
        check_cut(&[&records[..from], &records[to..]].concat(), &whole)?;
    }

    #[test]
    fn two_reports_that_are_interleaved_come_apart_by_their_callers(
        pair in proptest::sample::subsequence(&CAPTURES[..9], 2).prop_shuffle(),
        order in proptest::collection::vec(any::<bool>(), 600),
    ) {
        let mut sources = Vec::new();
        let mut queues = Vec::new();
        for (number, name) in pair.iter().enumerate() {
            sources.extend(read(&records(name)));
            queues.push(records(name).into_iter().map(move |record| (number, record)).collect::<std::collections::VecDeque<_>>());
        }
        let mut merged = Vec::new();
        for choice in order.into_iter().cycle() {
            let first = usize::from(choice);
            let Some((number, record)) = queues[first].pop_front().or_else(|| queues[1 - first].pop_front()) else { break };
            let parsed = Record::parse(&record).expect("a record");
            let flag = match parsed.flag { Flag::Piece => 'c', Flag::Further => '+', _ => '-' };
            let (sequence, level) = (merged.len(), parsed.level);
            let mut line = format!("{level},{sequence},{sequence},{flag},caller=T{};", 100 + number).into_bytes();
            line.extend_from_slice(parsed.text);
            merged.push(line);
        }
        prop_assert_eq!(without_times(read(&merged)), without_times(sources));
    }

    #[test]
    fn who_is_not_the_kernel_is_not_heard(name in select(&CAPTURES[..]), facility in 1_u32..24) {
        let mut collector = Collector::new();
        let mut reports = Vec::new();
        for record in records(name) {
            let parsed = Record::parse(&record).expect("a record");
            let priority = facility * 8 + u32::from(parsed.level);
            let mut forged = format!("{priority},{},{},-;", parsed.sequence, parsed.micros).into_bytes();
            forged.extend_from_slice(parsed.text);
            let line = Line::of_text(&forged);
            prop_assert_eq!(line.origin, Origin::Other);
            collector.hear(&line, &mut |report| reports.push(report));
        }
        collector.finish(&mut |report| reports.push(report));
        prop_assert!(reports.is_empty());
    }
}
