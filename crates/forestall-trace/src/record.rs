//! Records of tagged fields, for what is written seldom: policies, pods, outcomes. A field whose tag a reader does not know
//! is passed over, one that is missing keeps its default; every field is written, because a default may change.

use crate::varint::{Cursor, put};

/// Appends fields to a record.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A number.
    pub fn number(&mut self, tag: u64, value: u64) {
        put(self.out, tag << 1);
        put(self.out, value);
    }

    /// A switch.
    pub fn switch(&mut self, tag: u64, on: bool) {
        self.number(tag, u64::from(on));
    }

    /// A number that may be negative, by its 64 bits.
    pub fn signed(&mut self, tag: u64, value: i64) {
        self.number(tag, value.cast_unsigned());
    }

    /// Bytes; a tag may be written more than once and then makes a list.
    pub fn bytes(&mut self, tag: u64, value: &[u8]) {
        put(self.out, tag << 1 | 1);
        put(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// A record of its own.
    pub fn record(&mut self, tag: u64, fill: impl FnOnce(&mut Writer<'_>)) {
        let mut inner = Vec::new();
        fill(&mut Writer::new(&mut inner));
        self.bytes(tag, &inner);
    }
}

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, a switch, or a number that may be negative.
    Number(u64),
    /// Bytes, or a record of its own.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// As a number.
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Number(value) => Some(value),
            Self::Bytes(_) => None,
        }
    }

    /// As bytes.
    pub const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            Self::Number(_) => None,
        }
    }

    /// As a switch; `None` for a number that is none.
    pub fn switch(self) -> Option<bool> {
        match self {
            Self::Number(0) => Some(false),
            Self::Number(1) => Some(true),
            _ => None,
        }
    }

    /// As a number that may be negative.
    pub fn signed(self) -> Option<i64> {
        self.number().map(u64::cast_signed)
    }

    /// As text; `None` for what is no UTF-8.
    pub fn text(self) -> Option<Box<str>> {
        core::str::from_utf8(self.bytes()?).ok().map(Box::from)
    }
}

/// Hands every field of a record to `take`. `None` where the bytes are no record, or `take` says so of a value.
pub fn read_fields<'a>(bytes: &'a [u8], mut take: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    read_each(bytes, &mut take)
}

/// Once for all callers: each of them would have a loop of its own in the binary.
fn read_each<'a>(bytes: &'a [u8], take: &mut dyn FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_empty() {
        let key = cursor.number()?;
        let value = if key & 1 == 0 {
            Value::Number(cursor.number()?)
        } else {
            let count = cursor.count()?;
            Value::Bytes(cursor.bytes(count)?)
        };
        take(key >> 1, value)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_passed_over_and_broken_ones_are_refused() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.number(1, 300);
        writer.bytes(99, b"from a newer program");
        writer.record(2, |inner| inner.signed(1, -5));
        let mut seen = Vec::new();
        read_fields(&out, |tag, value| {
            seen.push((tag, value));
            Some(())
        })
        .expect("it is a record");
        assert_eq!(seen[0], (1, Value::Number(300)));
        assert_eq!(seen[1].0, 99);
        let inner = seen[2].1.bytes().expect("a record is bytes");
        read_fields(inner, |_, value| {
            assert_eq!(value.signed(), Some(-5));
            Some(())
        })
        .expect("it is a record");
        assert_eq!(read_fields(&out[..out.len() - 1], |_, _| Some(())), None);
    }
}
