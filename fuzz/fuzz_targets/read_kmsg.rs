//! Any bytes as the kernel's log, record by record and line by line, and as a log of reports. Seeds are the captures:
//! `cargo +nightly fuzz run read_kmsg fuzz/corpus/read_kmsg crates/forestall-kernel/tests/oom -- -max_len=16384`.

#![no_main]

use forestall_kernel::kmsg::{Flag, Line, Origin, Record, unescape_into};
use forestall_kernel::oom::{Collector, LogScanner, Part, Report, Seen, TOP_ROWS};
use libfuzzer_sys::fuzz_target;

fn read(log: &[u8], size: usize) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut scanner = LogScanner::new();
    for block in log.chunks(size) {
        scanner.feed(block, &mut |report| reports.push(report));
    }
    scanner.finish(&mut |report| reports.push(report));
    reports
}

/// What a line says by itself, and whether it may be, or have in it, a part of a kill line.
fn may_tell_a_kill(line: &[u8]) -> bool {
    if let Some(record) = Record::parse(line) {
        assert!(line.as_ptr_range().contains(&record.text.as_ptr()) || record.text.is_empty());
        assert_eq!(record.is_kernels(), record.facility == 0);
        assert!(record.level < 8);
        for (key, value) in record.fields() {
            assert!(key.len() + value.len() < line.len());
        }
        if !record.is_kernels() {
            return false;
        }
    }
    let line = Line::of_text(line);
    if line.origin == Origin::Other {
        return false;
    }
    let mut buffer = vec![0; line.text.len()];
    let text = if line.is_escaped {
        unescape_into(line.text, &mut buffer)
    } else {
        line.text
    };
    assert!(text.len() <= line.text.len());
    let _ = Part::of(text);
    let is_piece = matches!(line.flag, Flag::Piece | Flag::Further);
    is_piece || text.windows(15).any(|words| words == b"Killed process ")
}

fuzz_target!(|log: &[u8]| {
    let lines = || log.split(|byte| *byte == b'\n');
    let kill_lines = lines().filter(|line| may_tell_a_kill(line)).count();
    let reports = read(log, log.len().max(1));
    for size in [1, 7 + log.len() % 61, 4096] {
        assert_eq!(read(log, size), reports, "in blocks of {size}");
    }
    let by_line = |report: &&Report| {
        report
            .victims
            .iter()
            .filter(|victim| victim.seen == Seen::KillLine)
            .count()
    };
    let told: usize = reports.iter().map(|report| by_line(&report)).sum();
    assert!(told <= kill_lines, "{told} victims of {kill_lines} kill lines");
    let victims: usize = reports.iter().map(|report| report.victims.len()).sum();
    assert!(victims <= lines().count() && reports.len() <= 2 * lines().count());
    for report in &reports {
        assert!(report.table.largest.len() <= TOP_ROWS);
        for path in [&report.limit, &report.task_memcg, &report.group]
            .into_iter()
            .flatten()
        {
            assert!(!path.path.is_empty() && path.path.len() <= 4096);
        }
    }
    // Record by record, as from the device.
    let mut collector = Collector::new();
    let mut heard = 0;
    for record in lines().filter_map(Record::parse) {
        let mut hear = |report: Report| heard += report.victims.len();
        collector.hear(&Line::of_record(&record), &mut hear);
        let _ = (collector.silence_micros(), collector.unfinished_from());
        if record.sequence % 7 == 3 {
            collector.settle(&mut hear);
        }
    }
    collector.finish(&mut |report| heard += report.victims.len());
    assert!(heard <= lines().count());
});
