//! `journalctl -o json` as lines of text: each record of the kernel's becomes the line that a log daemon would have written of it. What a
//! container printed, as Docker (`json-file`) and log stores keep it, becomes the line that a runtime would have kept.
//!
//! Only records that the journal says are the kernel's are taken, and what follows a newline within one is indented, so that no
//! process's name makes a line of its own. Few lines of a journal are about a kill, and only those are taken apart.

use std::time::{Duration, UNIX_EPOCH};

use forestall_kernel::parse::find;
use serde_json::Value;

use super::document::{self, FIELD};
use crate::log::time::rfc3339;

/// A line that is longer is no record of the kernel's, which have 8 KiB at most.
const LINE_BYTES_MAX: usize = 256 << 10;

/// Where a line of a container's output stands: Docker's `json-file` and fluentd, `logcli -o jsonl`, Talos, and others.
pub(super) const CARRIED_IN: [&str; 4] = ["log", "line", "message", "msg"];

/// What stands below a line's beginning and is no line.
const INDENT: &str = "                                ";

/// Cuts a journal into its lines, block by block.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// A line whose end has not come yet.
    partial: Vec<u8>,
}

impl Journal {
    /// Hands each line that ends in this block to `each`.
    pub(crate) fn lines(&mut self, mut block: &[u8], each: &mut dyn FnMut(&[u8])) {
        while let Some(end) = memchr::memchr(b'\n', block) {
            let (line, rest) = block.split_at_checked(end).unwrap_or((block, &[]));
            block = rest.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                each(line);
            } else {
                self.keep(line);
                each(&self.partial);
                self.partial.clear();
            }
        }
        self.keep(block);
    }

    /// The line behind which the journal ended without a newline.
    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        each(&self.partial);
        self.partial.clear();
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX - self.partial.len().min(LINE_BYTES_MAX);
        self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

/// Whether what it says may be hidden in a list of bytes, as journalctl writes what is no UTF-8.
pub(crate) fn is_in_bytes(line: &[u8]) -> bool {
    find(line, b"\"MESSAGE\":[").is_some() || find(line, b"\"MESSAGE\" : [").is_some()
}

/// A record as a line of text with its newline; `None` for what is no record of the kernel's.
pub(crate) fn line_of(record: &[u8]) -> Option<Vec<u8>> {
    let record = record.strip_prefix(b"\x1e").unwrap_or(record);
    let record = serde_json::from_slice(record).ok()?;
    line_of_value(&record).or_else(|| document::lines_of(&record))
}

pub(super) fn line_of_value(record: &Value) -> Option<Vec<u8>> {
    if let Some(carried) = carried(record) {
        return Some(carried);
    }
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let is_kernels = text("_TRANSPORT").is_none_or(|transport| transport == "kernel")
        && text("SYSLOG_FACILITY").is_none_or(|facility| facility == "0")
        && text("SYSLOG_IDENTIFIER").is_none_or(|identifier| identifier == "kernel");
    // One of them has to say so.
    let is_said = ["_TRANSPORT", "SYSLOG_FACILITY", "SYSLOG_IDENTIFIER"]
        .iter()
        .any(|key| text(key).is_some());
    if !is_kernels || !is_said {
        return None;
    }
    let message: Vec<u8> = match record.get("MESSAGE")? {
        Value::String(message) => message.clone().into_bytes(),
        Value::Array(bytes) => bytes.iter().map(byte).collect::<Option<_>>()?,
        _ => return None,
    };
    let mut out = Vec::with_capacity(message.len() + 96);
    let number = |key: &str| text(key).and_then(|text| text.parse::<u64>().ok());
    if let Some(micros) = number("__REALTIME_TIMESTAMP").or_else(|| number("_SOURCE_REALTIME_TIMESTAMP")) {
        let at = UNIX_EPOCH.checked_add(Duration::from_micros(micros))?;
        out.extend_from_slice(rfc3339(at).as_bytes());
        out.extend_from_slice(b" host ");
    }
    out.extend_from_slice(b"kernel: ");
    if let Some(micros) = number("_SOURCE_MONOTONIC_TIMESTAMP") {
        let stamp = format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
        out.extend_from_slice(stamp.as_bytes());
    }
    put_lines(&message, &mut out);
    Some(out)
}

/// What a container printed, behind what a runtime puts before it.
fn carried(record: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    if record.get("MESSAGE").is_some() {
        return None;
    }
    let said = CARRIED_IN.iter().find_map(|key| text(key))?;
    let time = ["time", "timestamp", "ts", "talos-time", "@timestamp"]
        .iter()
        .find_map(|key| text(key));
    let before = time.map_or_else(|| FIELD.to_owned(), |time| format!("{time} stdout F "));
    let mut out = Vec::with_capacity(said.len() + 64);
    put_each(&before, said, &mut out);
    Some(out)
}

/// Lines of a text that is nobody's record, each behind the same prefix: there a newline may end a line.
pub(super) fn put_each(before: &str, text: &str, out: &mut Vec<u8>) {
    for line in text.lines() {
        out.extend_from_slice(before.as_bytes());
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
}

fn put_lines(message: &[u8], out: &mut Vec<u8>) {
    for (place, part) in message.split(|byte| *byte == b'\n').enumerate() {
        if place > 0 {
            out.extend_from_slice(INDENT.as_bytes());
        }
        out.extend_from_slice(part);
        out.push(b'\n');
    }
}

/// What a daemon wrote as a line of text, for whoever knows the daemon's lines by themselves; `None` for the kernel's.
pub(crate) fn line_of_daemon(record: &[u8]) -> Option<Vec<u8>> {
    let record = record.strip_prefix(b"\x1e").unwrap_or(record);
    let record: Value = serde_json::from_slice(record).ok()?;
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    if text("_TRANSPORT") == Some("kernel") {
        return None;
    }
    if let Some(mut line) = carried(&record) {
        let end = memchr::memchr(b'\n', &line).unwrap_or(line.len());
        line.truncate(end);
        return Some(line);
    }
    let micros = text("__REALTIME_TIMESTAMP")?.parse::<u64>().ok()?;
    let at = UNIX_EPOCH.checked_add(Duration::from_micros(micros))?;
    let line = text("MESSAGE")?.lines().next()?;
    Some(format!("{} host daemon: {line}", rfc3339(at)).into_bytes())
}

fn byte(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &str) -> Option<String> {
        line_of(record.as_bytes()).map(|line| String::from_utf8_lossy(&line).into_owned())
    }

    #[test]
    fn a_record_is_the_line_that_a_log_daemon_writes() {
        // date -u -d 2026-01-12T20:27:31Z +%s is 1768249651.
        let record = r#"{"__REALTIME_TIMESTAMP":"1768249651913975","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","SYSLOG_IDENTIFIER":"kernel","_SOURCE_MONOTONIC_TIMESTAMP":"7753023847","MESSAGE":"Out of memory: Killed process 7 (a)"}"#;
        assert_eq!(
            line(record).as_deref(),
            Some(
                "2026-01-12T20:27:31.913Z host kernel: [ 7753.023847] Out of memory: Killed process 7 (a)\n"
            )
        );
        let bytes = r#"{"SYSLOG_FACILITY":"0","MESSAGE":[97,255,10,98]}"#;
        let expected = [&b"kernel: a\xff\n"[..], INDENT.as_bytes(), b"b\n"].concat();
        assert_eq!(line_of(bytes.as_bytes()), Some(expected));
        assert!(is_in_bytes(bytes.as_bytes()));
    }

    #[test]
    fn what_a_container_printed_is_the_line_that_a_runtime_keeps() {
        for (record, expected) in [
            (
                r#"{"log":"[    1.5] Out of memory: Killed process 7 (a)\n","stream":"stdout","time":"2026-01-12T20:27:31.9Z"}"#,
                "2026-01-12T20:27:31.9Z stdout F [    1.5] Out of memory: Killed process 7 (a)\n",
            ),
            (
                r#"{"labels":{"app":"a"},"line":"[    1.5] x","timestamp":"2026-01-12T20:27:31Z"}"#,
                "2026-01-12T20:27:31Z stdout F [    1.5] x\n",
            ),
            (r#"{"message":"[    1.5] x"}"#, "json=[    1.5] x\n"),
        ] {
            assert_eq!(line(record).as_deref(), Some(expected), "{record}");
            let end = expected.trim_end().as_bytes();
            assert_eq!(
                line_of_daemon(record.as_bytes()).as_deref(),
                Some(end),
                "{record}"
            );
        }
        // Several lines in one text are lines: whoever carried them put them together.
        let two = line(r#"{"log":"[    1.5] x\nOut of memory: Killed process 7 (a)\n","time":"T"}"#);
        assert_eq!(
            two.as_deref(),
            Some("T stdout F [    1.5] x\nT stdout F Out of memory: Killed process 7 (a)\n")
        );
    }

    #[test]
    fn nobody_else_is_taken_for_the_kernel() {
        for record in [
            r#"{"_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"kernel","SYSLOG_FACILITY":"0","MESSAGE":"x"}"#,
            r#"{"_TRANSPORT":"kernel","SYSLOG_FACILITY":"1","MESSAGE":"x"}"#,
            r#"{"_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"talos","MESSAGE":"x"}"#,
            r#"{"MESSAGE":"x"}"#,
            r#"{"_TRANSPORT":"kernel","MESSAGE":null}"#,
            r#"{"_TRANSPORT":"kernel","MESSAGE":[1,256]}"#,
            "no JSON",
        ] {
            assert_eq!(line(record), None, "{record}");
        }
    }

    #[test]
    fn lines_come_whole_wherever_blocks_end() {
        let text = b"{\"a\":1}\n{\"b\":2}\n\n{\"c\":3}";
        for size in 1..=text.len() {
            let (mut journal, mut lines) = (Journal::default(), Vec::new());
            for block in text.chunks(size) {
                journal.lines(block, &mut |line| lines.push(line.to_vec()));
            }
            journal.finish(&mut |line| lines.push(line.to_vec()));
            assert_eq!(
                lines,
                [&b"{\"a\":1}"[..], b"{\"b\":2}", b"", b"{\"c\":3}"],
                "{size}"
            );
        }
    }
}
