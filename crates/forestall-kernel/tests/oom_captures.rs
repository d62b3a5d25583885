//! What real kernels printed, and what is to be read from it: `tests/oom/expected.txt` was written by reading each capture, and this
//! compares.
//!
//! The captures are raw records of `/dev/kmsg` (4.4 to 6.14, cgroup v1 and v2), each with what a private tracefs instance saw behind a
//! line `# --- TRACE ---`, which is not the log's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use forestall_kernel::kmsg::{Line, Record, unescape_into};
use forestall_kernel::oom::{CgroupPath, Charge, Collector, LogScanner, Reap, Report, Seen};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oom")
}

/// The captures by name, without what the trace saw.
fn captures() -> BTreeMap<String, Vec<u8>> {
    let mut captures = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".kmsg") {
            let bytes = std::fs::read(&path).expect("readable");
            let end = find(&bytes, b"# --- TRACE ---").unwrap_or(bytes.len());
            captures.insert(name.to_owned(), bytes[..end].to_vec());
        }
    }
    captures
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// `path NAME = PATH` lines at the top, then `== capture` and its reports.
struct Expected {
    paths: Vec<(String, String)>,
    reports: BTreeMap<String, String>,
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(folder().join("expected.txt")).expect("the table is there");
    let mut expected = Expected {
        paths: Vec::new(),
        reports: BTreeMap::new(),
    };
    let mut current: Option<String> = None;
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        if let Some((name, path)) = line.strip_prefix("path ").and_then(|rest| rest.split_once(" = ")) {
            expected.paths.push((name.to_owned(), path.to_owned()));
        } else if let Some(name) = line.strip_prefix("== ") {
            current = Some(name.to_owned());
            expected.reports.insert(name.to_owned(), String::new());
        } else {
            let name = current.as_ref().expect("a capture's name comes first");
            let reports = expected.reports.get_mut(name).expect("just made");
            writeln!(reports, "{line}").expect("strings grow");
        }
    }
    expected
}

fn read_whole(log: &[u8]) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut scanner = LogScanner::new();
    scanner.feed(log, &mut |report| reports.push(report));
    scanner.finish(&mut |report| reports.push(report));
    reports
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

fn number<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("?".to_owned(), |value| value.to_string())
}

fn kib(bytes: Option<u64>) -> String {
    number(bytes.map(|bytes| bytes / 1024))
}

/// A report as the table has it.
fn render(report: &Report, paths: &[(String, String)]) -> String {
    let path = |path: &Option<CgroupPath>| match path {
        None => "-".to_owned(),
        Some(path) => {
            let text = shown(&path.path);
            let name = paths.iter().find(|(_, known)| *known == text);
            let name = name.map_or(text.clone(), |(name, _)| name.clone());
            if path.is_cut { format!("{name}…") } else { name }
        }
    };
    let mut out = String::new();
    let constraint = report.constraint.as_deref().map_or("-".to_owned(), shown);
    write!(
        out,
        "report {} {} {constraint}",
        report.level.label(),
        path(&report.limit)
    )
    .expect("strings grow");
    for (mark, is_set) in [
        ("global", report.is_global),
        ("sysrq", report.is_sysrq()),
        ("panic", report.is_panic()),
        ("gap", report.has_gap),
    ] {
        if is_set {
            write!(out, " {mark}").expect("strings grow");
        }
    }
    for (mark, count) in [
        ("no-killable", report.no_killable),
        ("suppressed", report.suppressed),
    ] {
        if count > 0 {
            write!(out, " {mark} {count}").expect("strings grow");
        }
    }
    out.push('\n');
    if let Some(trigger) = &report.trigger {
        let (comm, pid) = (shown(&trigger.comm), number(trigger.pid));
        let (order, adj) = (trigger.order, number(trigger.adj));
        writeln!(
            out,
            "  trigger {pid} {comm} gfp {:#x} order {order} adj {adj}",
            trigger.gfp_mask
        )
        .expect("strings grow");
    }
    if let Some(group) = &report.group {
        writeln!(out, "  group {}", path(&Some(group.clone()))).expect("strings grow");
    }
    if let Some(task) = &report.sacrificed_for {
        writeln!(out, "  for {} {}", task.pid, shown(&task.comm)).expect("strings grow");
    }
    for victim in &report.victims {
        let memory = format!("{}+{}+{}", kib(victim.anon), kib(victim.file), kib(victim.shmem));
        write!(
            out,
            "  victim {} {} uid {} adj {} rss {memory} of {} tables {} in {}",
            victim.pid,
            shown(&victim.comm),
            number(victim.uid),
            number(victim.adj),
            kib(victim.total_vm),
            kib(victim.page_tables),
            path(&victim.memcg)
        )
        .expect("strings grow");
        match victim.seen {
            Seen::KillLine => {}
            other => write!(out, " {other:?}").expect("strings grow"),
        }
        match victim.reap {
            None => {}
            Some(Reap::Reaped { anon }) => write!(out, " reaped {}", kib(anon)).expect("strings grow"),
            Some(Reap::Failed) => write!(out, " unreaped").expect("strings grow"),
        }
        out.push('\n');
    }
    let domain = &report.domain;
    let charge = |charge: &Charge| {
        format!(
            "{}/{} {}",
            charge.usage / 1024,
            kib(charge.limit.bytes()),
            charge.failures
        )
    };
    if let Some(memory) = &domain.memory {
        writeln!(out, "  usage {}", charge(memory)).expect("strings grow");
    }
    if domain.anon.is_some() {
        writeln!(
            out,
            "  kinds anon {} file {} shmem {} kernel {}",
            kib(domain.anon),
            kib(domain.file),
            kib(domain.shmem),
            kib(domain.kernel)
        )
        .expect("strings grow");
    }
    if report.table.processes > 0 {
        let largest = report.table.largest.iter().take(4);
        let rows: Vec<String> = largest
            .map(|row| format!("{} {} {}", row.pid, shown(&row.comm), number(row.rss_pages)))
            .collect();
        writeln!(
            out,
            "  table {} rss {}: {}",
            report.table.processes,
            report.table.rss_pages,
            rows.join(", ")
        )
        .expect("strings grow");
    }
    out
}

fn render_all(reports: &[Report], paths: &[(String, String)]) -> String {
    reports.iter().map(|report| render(report, paths)).collect()
}

#[test]
fn every_capture_is_read_as_it_was_read_by_eye() {
    let expected = expected();
    let captures = captures();
    let names: Vec<&String> = captures.keys().collect();
    assert_eq!(
        names,
        expected.reports.keys().collect::<Vec<_>>(),
        "each capture is in the table"
    );
    for (name, log) in &captures {
        let read = render_all(&read_whole(log), &expected.paths);
        assert_eq!(read, expected.reports[name], "{name}");
    }
}

#[test]
fn a_log_in_blocks_of_any_size_gives_the_same() {
    for log in captures().values() {
        let whole = read_whole(log);
        for size in [1, 7, 64, 1000, 4096] {
            let mut reports = Vec::new();
            let mut scanner = LogScanner::new();
            for block in log.chunks(size) {
                scanner.feed(block, &mut |report| reports.push(report));
            }
            scanner.finish(&mut |report| reports.push(report));
            assert_eq!(reports, whole);
        }
    }
}

#[test]
fn record_by_record_gives_the_same_as_the_whole_log() {
    for log in captures().values() {
        let mut reports = Vec::new();
        let mut collector = Collector::new();
        for record in log.split(|byte| *byte == b'\n').filter_map(Record::parse) {
            collector.hear(&Line::of_record(&record), &mut |report| reports.push(report));
        }
        collector.finish(&mut |report| reports.push(report));
        assert_eq!(reports, read_whole(log));
    }
}

/// Puts `prefix` before a text, and before or below it what follows its newlines.
fn dress(out: &mut Vec<u8>, prefix: &str, is_repeated: bool, text: &[u8]) {
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let indented = " ".repeat(prefix.len());
        let before = if number == 0 || is_repeated {
            prefix
        } else {
            &indented
        };
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

/// What programs make of a log: all of its records, in a form of theirs.
fn as_text(log: &[u8], form: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for record in log.split(|byte| *byte == b'\n').filter_map(Record::parse) {
        let mut buffer = vec![0; record.text.len()];
        let text = unescape_into(record.text, &mut buffer);
        let (level, seconds, micros) = (record.level, record.micros / 1_000_000, record.micros % 1_000_000);
        let stamp = format!("[{seconds:5}.{micros:06}] ");
        match form {
            "dmesg" => dress(&mut out, &stamp, false, text),
            "dmesg -r" => dress(&mut out, &format!("<{level}>{stamp}"), true, text),
            "dmesg -t" => dress(&mut out, "", true, text),
            "journalctl -k" => dress(&mut out, "Feb 20 08:18:28 node-1 kernel: ", false, text),
            "kern.log" => dress(
                &mut out,
                &format!("Feb 20 08:18:28 node-1 kernel: {stamp}"),
                true,
                text,
            ),
            _ => {
                let stamp = format!(
                    "2024-05-01T12:00:{:02}.{micros:06}+02:00 node-1 kernel: ",
                    seconds % 60
                );
                dress(&mut out, &stamp, true, text);
            }
        }
    }
    out
}

#[test]
fn the_same_is_read_from_what_programs_make_of_a_log() {
    let told = |reports: &[Report], has_header: bool| {
        let told = reports.iter().map(|report| {
            let victims: Vec<_> = report
                .victims
                .iter()
                .map(|victim| {
                    let reap = victim.reap.filter(|_| has_header);
                    (
                        victim.pid,
                        victim.comm.clone(),
                        victim.anon,
                        victim.memcg.clone(),
                        reap,
                    )
                })
                .collect();
            let usage = report.domain.memory.filter(|_| has_header);
            let domain = (usage, report.domain.anon, report.table.processes);
            (
                victims,
                report.limit.clone(),
                report.level,
                report.group.clone(),
                report.suppressed,
                domain,
            )
        });
        told.collect::<Vec<_>>()
    };
    for form in [
        "dmesg",
        "dmesg -r",
        "dmesg -t",
        "journalctl -k",
        "kern.log",
        "iso",
    ] {
        let is_below = matches!(form, "dmesg" | "journalctl -k");
        for (name, log) in captures() {
            // A name with a newline is lost where nothing says that a line goes on; headers and the reaper's lines with it, everywhere.
            let is_weird = name.contains("weird-comm");
            if !is_weird || is_below {
                let read = told(&read_whole(&as_text(&log, form)), !is_weird);
                assert_eq!(read, told(&read_whole(&log), !is_weird), "{name} as {form}");
            }
        }
    }
}
