//! Files of one figure a line: `key value` (cgroup files, `/proc/vmstat`) and `Key:   value kB` (`/proc/meminfo`,
//! `/proc/PID/status`).

use super::number::{unsigned, words};

/// One line of such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What stands before the first colon or blank.
    pub key: &'a [u8],
    /// All that follows it, untrimmed.
    pub value: &'a [u8],
}

impl Entry<'_> {
    /// The first word of the value as a number; 0 where it is none.
    pub fn number(&self) -> u64 {
        // As nearly every line has it: a blank, and digits up to the end. Twenty digits may be too large and go the long way.
        let digits = self.value.trim_ascii_start();
        if (1..20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) {
            return digits
                .iter()
                .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        }
        words(self.value).next().and_then(unsigned).unwrap_or(0)
    }

    /// The value in bytes: a figure followed by `kB` counts units of 1024, any other counts bytes. `None` where it is no
    /// number.
    pub fn bytes(&self) -> Option<u64> {
        let mut words = words(self.value);
        let value = words.next().and_then(unsigned)?;
        Some(if words.next() == Some(b"kB") {
            value.saturating_mul(1024)
        } else {
            value
        })
    }
}

/// The lines of `content`; empty ones are left out.
pub fn lines(content: &[u8]) -> Lines<'_> {
    Lines { rest: content }
}

/// The iterator of [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (line, rest) = split_at_byte(self.rest, |byte| byte == b'\n');
            self.rest = rest;
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }
}

/// The lines of `content` as key and value. A line with a key alone has an empty value.
pub fn entries(content: &[u8]) -> Entries<'_> {
    Entries {
        lines: lines(content),
    }
}

/// The iterator of [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    lines: Lines<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let line = self.lines.next()?;
        let (key, value) = split_at_byte(line, |byte| matches!(byte, b':' | b' ' | b'\t'));
        Some(Entry { key, value })
    }
}

/// What stands before the first byte that `is_end`, and what stands after it; all and nothing where there is none.
pub(crate) fn split_at_byte(text: &[u8], is_end: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| is_end(*byte)) {
        Some(end) => {
            let (before, from) = text.split_at(end);
            (before, from.get(1..).unwrap_or_default())
        }
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_are_read() {
        let read: Vec<_> = entries(b"anon 4096\nActive(anon):   10 kB\n\nalone\n").collect();
        assert_eq!(read.len(), 3);
        assert_eq!((read[0].key, read[0].bytes()), (&b"anon"[..], Some(4096)));
        assert_eq!(
            (read[1].key, read[1].bytes()),
            (&b"Active(anon)"[..], Some(10 * 1024))
        );
        assert_eq!((read[2].key, read[2].bytes()), (&b"alone"[..], None));
    }

    #[test]
    fn only_a_kb_suffix_multiplies() {
        let of = |line: &'static [u8]| entries(line).next().and_then(|entry| entry.bytes());
        assert_eq!(of(b"HugePages_Total:       3"), Some(3));
        assert_eq!(of(b"VmRSS:\t18014398509481984 kB"), Some(u64::MAX));
        assert_eq!(of(b"x: kB"), None);
    }

    #[test]
    fn a_number_of_any_length_is_read_alike() {
        let of = |line: &'static [u8]| entries(line).next().map(|entry| entry.number());
        assert_eq!(of(b"a 9999999999999999999"), Some(9_999_999_999_999_999_999));
        assert_eq!(of(b"a 18446744073709551615"), Some(u64::MAX));
        assert_eq!(of(b"a 99999999999999999999"), Some(u64::MAX));
        assert_eq!(
            [of(b"a 7 8"), of(b"a 7x"), of(b"a"), of(b"a  7")],
            [7, 0, 0, 7].map(Some)
        );
    }

    #[test]
    fn a_missing_newline_at_the_end_loses_nothing() {
        assert_eq!(entries(b"oom_kill 3").next().map(|entry| entry.number()), Some(3));
    }

    #[test]
    fn a_value_keeps_its_colons() {
        let entry = entries(b"Name:\tkworker/0:1").next().expect("one line");
        assert_eq!(entry.value, b"\tkworker/0:1");
    }
}
