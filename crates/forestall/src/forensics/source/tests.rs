use std::io::Write;

use forestall_kernel::kmsg::{Behind, Record, unescape_into};
use serde_json::json;

use super::*;

/// Keeps what it hears.
#[derive(Default)]
struct Ear(Vec<Report>);

impl Listener for Ear {
    fn hear(&mut self, report: Report) {
        self.0.push(report);
    }

    fn is_done(&self) -> bool {
        false
    }
}

fn capture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../forestall-kernel/tests/oom");
    let bytes = std::fs::read(folder.join(name)).expect("it is kept there");
    let end = memchr::memmem::find(&bytes, b"# --- TRACE ---").unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

/// Each record's level, microseconds and text.
fn records(log: &[u8]) -> Vec<(u8, u64, Vec<u8>)> {
    let records = log.split(|byte| *byte == b'\n').filter_map(Record::parse);
    records
        .map(|record| {
            let mut buffer = vec![0; record.text.len()];
            let text = unescape_into(record.text, &mut buffer).to_vec();
            (record.level, record.micros, text)
        })
        .collect()
}

fn read_bytes(bytes: &[u8]) -> anyhow::Result<Vec<Report>> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("room");
    let mut ear = Ear::default();
    let read = read(Some(file.path()), &mut ear)?;
    assert_eq!(read.bytes, bytes.len() as u64);
    Ok(ear.0)
}

/// The level, each victim with its anonymous memory, that of the domain, and the processes that were there.
type Told = (&'static str, Vec<(u32, Box<[u8]>, Option<u64>)>, Option<u64>, u64);

/// What does not depend on the form: how long something took, and so the reaper's word, may.
fn told(reports: &[Report]) -> Vec<Told> {
    let one = |report: &Report| {
        let victims = report
            .victims
            .iter()
            .map(|victim| (victim.pid, victim.comm.clone(), victim.anon));
        (
            report.level.label(),
            victims.collect(),
            report.domain.anon,
            report.table.processes,
        )
    };
    reports.iter().map(one).collect()
}

const NAMES: [&str; 4] = [
    "6.14-v2-container-limit.kmsg",
    "5.4-v1-global.kmsg",
    "6.12-v2-oom-group.kmsg",
    "4.15-v1-pod-limit.kmsg",
];

#[test]
fn in_colour_a_log_tells_the_same() {
    for name in NAMES {
        let log = capture(name);
        let mut coloured = Vec::new();
        for (_, micros, text) in records(&log) {
            let stamp = format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
            for (place, part) in text.split(|byte| *byte == b'\n').enumerate() {
                let before = if place == 0 {
                    format!("\x1b[32m{stamp}\x1b[0m")
                } else {
                    " ".repeat(stamp.len())
                };
                coloured.extend_from_slice(before.as_bytes());
                // As `dmesg -L=always` paints what stands before a colon.
                let colon = memchr::memchr(b':', part).map_or(0, |colon| colon + 1);
                let (head, tail) = part.split_at(colon);
                for piece in [&b"\x1b[33m"[..], head, b"\x1b[0m\x1b[1m", tail, b"\x1b[0m\n"] {
                    coloured.extend_from_slice(piece);
                }
            }
        }
        let (plain, coloured) = (
            read_bytes(&log).expect("a log"),
            read_bytes(&coloured).expect("a log"),
        );
        assert!(!plain.is_empty(), "{name}");
        assert_eq!(told(&coloured), told(&plain), "{name}");
    }
}

#[test]
fn out_of_a_containers_output_a_log_tells_the_same() {
    for name in NAMES {
        let log = capture(name);
        let mut lines = Vec::new();
        for (_, micros, text) in records(&log) {
            let stamp = format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
            let text = String::from_utf8_lossy(&text).into_owned();
            lines.extend(text.split('\n').enumerate().map(|(place, part)| match place {
                0 => format!("{stamp}{part}"),
                _ => format!("{}{part}", " ".repeat(stamp.len())),
            }));
        }
        let plain = told(&read_bytes(&log).expect("a log"));
        for carrier in [
            "[pod/debug/shell] ",
            "2024-05-01T12:00:00.123456789Z stdout F ",
            "2024-05-01T12:00:00Z {app=\"dmesg\"} ",
            "shell-1  | ",
        ] {
            let carried: Vec<String> = lines.iter().map(|line| format!("{carrier}{line}")).collect();
            let read = read_bytes(carried.join("\n").as_bytes()).expect("a log");
            assert_eq!(told(&read), plain, "{name} {carrier}");
        }
        for key in ["log", "line"] {
            let carried = lines
                .iter()
                .map(|line| json!({key: format!("{line}\n"), "time": "2024-05-01T12:00:00.1Z"}).to_string());
            let carried: Vec<String> = carried.collect();
            let read = read_bytes(carried.join("\n").as_bytes()).expect("a log");
            assert_eq!(told(&read), plain, "{name} {key}");
        }
    }
}

#[test]
fn as_a_journal_in_json_a_log_tells_the_same() {
    for name in NAMES {
        let log = capture(name);
        let mut journal = Vec::new();
        for (level, micros, text) in records(&log) {
            let message = match String::from_utf8(text) {
                Ok(text) => json!(text),
                Err(error) => json!(error.into_bytes()),
            };
            let record = json!({
                "__REALTIME_TIMESTAMP": (1_700_000_000_000_000 + micros).to_string(), "_TRANSPORT": "kernel",
                "SYSLOG_FACILITY": "0", "SYSLOG_IDENTIFIER": "kernel", "PRIORITY": level.to_string(),
                "_SOURCE_MONOTONIC_TIMESTAMP": micros.to_string(), "MESSAGE": message,
            });
            writeln!(journal, "{record}").expect("it grows");
            // Somebody else says the same in between, and is not believed.
            let forged = json!({"_TRANSPORT": "stdout", "MESSAGE": "Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB"});
            writeln!(journal, "{forged}").expect("it grows");
        }
        let (plain, read) = (
            read_bytes(&log).expect("a log"),
            read_bytes(&journal).expect("a journal"),
        );
        assert_eq!(told(&read), told(&plain), "{name}");
        assert!(read.iter().all(|report| report.when.calendar.is_some()), "{name}");
    }
}

#[test]
fn a_mark_at_the_beginning_and_ends_of_lines_from_elsewhere_are_no_text() {
    let line = "[    5.1] Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB";
    for text in [
        format!("\u{feff}{line}\r\n"),
        line.to_owned(),
        format!("{line}\n"),
    ] {
        let reports = read_bytes(text.as_bytes()).expect("a log");
        assert_eq!(told(&reports)[0].1[0].0, 7, "{text:?}");
    }
    assert_eq!(read_bytes(b"").expect("a log").len(), 0);
}

#[test]
fn a_kill_behind_megabytes_of_other_lines_is_found_wherever_blocks_end() {
    let other =
        "Feb 20 08:18:28 host app[12]: 2024 INFO something else was done, and nobody ran out of anything\n";
    let kill = "Feb 20 08:18:29 host kernel: [    5.1] Out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:4kB, file-rss:0kB\n";
    for shift in [0, 1, 60, 100] {
        let count = BLOCK_BYTES / other.len();
        let log = [
            &other[..shift.min(other.len() - 1)],
            "\n",
            &other.repeat(count),
            kill,
            &other.repeat(count),
            &kill.replace("process 7", "process 8"),
        ]
        .concat();
        assert_eq!(read_bytes(log.as_bytes()).expect("a log").len(), 2, "{shift}");
    }
}

#[test]
fn what_is_no_log_is_refused_by_its_place_with_what_to_do() {
    let said = format!("{:#}", read_bytes(b"\x1f\x8b\x08\0\0\0").expect_err("packed"));
    assert!(
        said.contains(": is packed with gzip; unpack it on the way: zcat FILE | forestall explain --log -"),
        "{said}"
    );
}

#[test]
fn a_document_of_more_values_than_can_be_kept_is_refused_with_what_to_do() {
    let document = format!("[{}0]", "{\"\":0},".repeat(400_000));
    let said = format!("{:#}", read_bytes(document.as_bytes()).expect_err("too many"));
    assert!(
        said.contains("is one JSON document of more than a million values; have one record in each line"),
        "{said}"
    );
}

/// A capture as each of them has it, whose records are nobody's own: what comes of it is believed by half.
#[test]
fn out_of_any_document_and_any_quotation_a_log_tells_the_same() {
    let log = capture("6.1-v2-pod-limit.kmsg");
    let expected = told(&read_bytes(&log).expect("a log"));
    let lines: Vec<(u64, String)> = records(&log)
        .into_iter()
        .flat_map(|(_, micros, text)| {
            let stamp = format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
            // dmesg puts what follows a newline below what stands before it.
            let text =
                String::from_utf8_lossy(&text).replace('\n', &format!("\n{}", " ".repeat(stamp.len())));
            let whole = format!("{stamp}{text}");
            whole
                .lines()
                .map(|line| (micros, line.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    let text: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    let values: Vec<_> = lines
        .iter()
        .rev()
        .map(|(micros, line)| json!([(micros * 1000).to_string(), line]))
        .collect();
    // Newest first, as Loki answers.
    let loki = json!({"status": "success", "data": {"resultType": "streams", "result": [{"stream": {"a": "b"}, "values": values}]}});
    for form in [
        loki.to_string(),
        serde_json::to_string_pretty(&loki).expect("JSON"),
        json!({"msg": text.join("\n")}).to_string(),
        json!({"hits": {"hits": text}}).to_string(),
        text.iter()
            .map(|line| json!({"ts": 5, "data": {"text": line}}).to_string() + "\n")
            .collect(),
    ] {
        let reports = read_bytes(form.as_bytes()).expect("a log");
        assert_eq!(told(&reports), expected, "{}", form.get(..200).unwrap_or(&form));
        assert!(reports.iter().all(|report| report.behind != Behind::Nothing));
    }
}
