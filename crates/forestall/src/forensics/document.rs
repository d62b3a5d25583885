//! A log as one JSON document, or several over many lines: the answer of a query to Loki or Elasticsearch, `kubectl get events -o json`.
//!
//! Whatever is nested how, a text in it is a line, or several; records that are known by their own form are read as those. Loki gives the newest
//! first unless it is asked otherwise, so that lines with its times are put in their order. It keeps the whole document, so it refuses a
//! large one, and one of many values.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Deserializer, Value};

use super::journal;
use crate::log::time::rfc3339;

/// No document is larger.
pub(crate) const BYTES_MAX: u64 = 64 << 20;

/// Nor has it more values: each takes up to two hundred bytes while it is read, however short it is.
pub(crate) const VALUES_MAX: u64 = 1_000_000;

/// Counts the values of a document, block by block, before any of them is read.
#[derive(Debug, Default)]
pub(crate) struct Count {
    is_in_text: bool,
    is_escaped: bool,
    /// One at the most for each of these marks outside of texts.
    pub(crate) values: u64,
}

impl Count {
    pub(crate) fn feed(&mut self, block: &[u8]) {
        for byte in block {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = self.is_in_text,
                b'"' => self.is_in_text = !self.is_in_text,
                b',' | b':' | b'[' | b'{' if !self.is_in_text => self.values += 1,
                _ => {}
            }
        }
    }
}

/// What holds a list of lines in the documents that are known.
const LISTS: [&[u8]; 7] = [
    b"values", b"result", b"streams", b"entries", b"hits", b"items", b"events",
];

/// What stands before a text of which no more is known than that it is in a field.
pub(super) const FIELD: &str = "json=";

/// What is found in one.
#[derive(Default)]
struct Found {
    /// Lines that have a time, in nanoseconds.
    timed: Vec<(u64, Vec<u8>)>,
    /// So much oftener a time is followed by a later one than by an earlier one.
    rises: i64,
    others: Vec<u8>,
}

/// Whether a text begins as one: `line` is its first line.
pub(super) fn is_begun(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let is_list = |key: &&[u8]| {
        let at = memchr::memmem::find(line, &[b"\"", *key, b"\":"].concat());
        let rest = at.and_then(|at| line.get(at + key.len() + 3..));
        rest.is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b'[' | b'{')))
    };
    match line {
        b"{" | b"[" => true,
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')),
        [b'{', ..] => LISTS.iter().any(is_list),
        _ => false,
    }
}

/// Its lines, as text with newlines; `None` for what is no JSON.
pub(super) fn lines(document: &[u8]) -> Option<Vec<u8>> {
    let mut found = Found::default();
    for value in Deserializer::from_slice(document).into_iter::<Value>() {
        take(&value.ok()?, &mut found);
    }
    // Lines of one time stand as they were written: backwards where the others do.
    let rises = found.rises >= 0;
    let mut timed: BinaryHeap<_> = (0..)
        .zip(found.timed)
        .map(|(place, (nanos, lines))| Reverse((nanos, if rises { place } else { -place }, lines)))
        .collect();
    while let Some(Reverse((_, _, lines))) = timed.pop() {
        found.others.extend_from_slice(&lines);
    }
    Some(found.others)
}

/// The same of a record that is known by no form of its own; `None` where it has no text.
pub(super) fn lines_of(record: &Value) -> Option<Vec<u8>> {
    let mut found = Found::default();
    take(record, &mut found);
    (!found.others.is_empty()).then_some(found.others)
}

fn take(value: &Value, found: &mut Found) {
    match value {
        Value::Array(values) if pair(values, found) => {}
        Value::Array(values) => {
            for value in values {
                take(value, found);
            }
        }
        Value::Object(fields) => match journal::line_of_value(value) {
            Some(lines) => found.others.extend_from_slice(&lines),
            // What a journal says is another's.
            None if fields.contains_key("MESSAGE") => {}
            None => {
                for value in fields.values() {
                    take(value, found);
                }
            }
        },
        Value::String(text) => journal::put_each(FIELD, text, &mut found.others),
        _ => {}
    }
}

/// `["1700000000123456789", "line", …]`: Loki's.
fn pair(values: &[Value], found: &mut Found) -> bool {
    let [Value::String(nanos), Value::String(text), ..] = values else {
        return false;
    };
    let at = nanos.parse().ok().and_then(|nanos: u64| {
        let at = UNIX_EPOCH.checked_add(Duration::from_nanos(nanos))?;
        Some((nanos, rfc3339(at)))
    });
    let Some((nanos, at)) = at else { return false };
    let mut lines = Vec::new();
    journal::put_each(&format!("{at} stdout F "), text, &mut lines);
    let last = found.timed.last().map_or(nanos, |last| last.0);
    found.rises += i64::from(nanos > last) - i64::from(nanos < last);
    found.timed.push((nanos, lines));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &str) -> Option<String> {
        lines(document.as_bytes()).map(|lines| String::from_utf8(lines).expect("text"))
    }

    #[test]
    fn values_are_counted_before_they_are_read_and_marks_in_texts_are_none() {
        let count = |document: &str| {
            let mut count = Count::default();
            // In blocks of one byte.
            document.bytes().for_each(|byte| count.feed(&[byte]));
            count.values
        };
        // A list, its two objects, the comma between them, and a name each.
        assert_eq!(count(r#"[{"a":1},{"b":"c"}]"#), 6);
        assert_eq!(count(r#"["a,b:[{\",","c"]"#), 2);
    }

    #[test]
    fn what_loki_answers_is_in_the_order_of_its_times() {
        // date -u -d @1700000000 is 2023-11-14T22:13:20Z.
        let answer = r#"{"status":"success","data":{"resultType":"streams","result":[
            {"stream":{"job":"a"},"values":[["1700000002000000000","c\nd"],["1700000000000000000","a"]]},
            {"stream":{"job":"b"},"values":[["1700000001000000000","b"]]}],"stats":{"n":1}}}"#;
        let at = |second: u8| format!("2023-11-14T22:13:2{second}.000Z stdout F ");
        let (a, b, c) = (at(0), at(1), at(2));
        let labels = "json=a\njson=b\njson=streams\njson=success\n";
        assert_eq!(text(answer), Some(format!("{labels}{a}a\n{b}b\n{c}c\n{c}d\n")));
    }

    #[test]
    fn whatever_is_nested_each_text_is_a_line() {
        assert_eq!(
            text(r#"{"items":[{"reason":"OOMKilling","message":"x"},{"a":["b",1,null]}]} {"c":"d"}"#)
                .as_deref(),
            Some("json=x\njson=b\njson=d\n")
        );
        assert_eq!(
            text(r#"[{"MESSAGE":"x","_TRANSPORT":"syslog"},{"MESSAGE":"y","_TRANSPORT":"kernel"}]"#)
                .as_deref(),
            Some("kernel: y\n")
        );
        assert_eq!(text("{\"a\":\"b\""), None);
    }

    #[test]
    fn a_document_is_told_from_records() {
        for line in [
            "{",
            "[",
            "[{\"a\":1},",
            "{\"data\":{\"result\":[{\"stream\"",
            "{\"hits\": {",
        ] {
            assert!(is_begun(line.as_bytes()), "{line}");
        }
        for line in [
            "{\"MESSAGE\":\"x\"}",
            "{\"a\":{\"msg\":\"values\"}}",
            "[    1.5] x",
            "[pod/a/b] x",
            "",
        ] {
            assert!(!is_begun(line.as_bytes()), "{line}");
        }
    }
}
