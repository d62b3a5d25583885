//! One record of `/dev/kmsg`: `PRIORITY,SEQUENCE,MICROS,FLAG[,caller=T1|C0][,…];TEXT\n`, then lines ` KEY=value`.
//!
//! Pure, and nothing is copied. It decodes no escape: whoever wants the text's bytes has a buffer for them
//! ([`unescape_into`](super::unescape_into)).

use crate::parse::{Lines, lines, unsigned};

/// What a record's flag says about lines that were printed in pieces. It is a hint: pieces of several lines may stand between each
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `-`: a line of its own.
    Whole,
    /// `c`: up to 4.9 the first piece of a line, since then a further piece of the line before it.
    Piece,
    /// `+`: a further piece of the line before it (up to 4.9).
    Further,
    /// Anything else that a kernel may come up with.
    Other(u8),
}

/// Who printed a record, where the kernel says so (`CONFIG_PRINTK_CALLER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A task, by its thread ID.
    Task(u32),
    /// A processor, outside of any task.
    Processor(u32),
}

impl Caller {
    /// Reads `T123` or `C0`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (kind, number) = text.split_first()?;
        let number = unsigned(number).and_then(|number| u32::try_from(number).ok())?;
        match kind {
            b'T' => Some(Self::Task(number)),
            b'C' => Some(Self::Processor(number)),
            _ => None,
        }
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Who speaks, as syslog numbers it: 0 is the kernel, and nobody else can be 0.
    pub facility: u32,
    /// How grave, from 0 (the worst) to 7.
    pub level: u8,
    /// Its number since boot. A hole in the numbers is what was lost.
    pub sequence: u64,
    /// When, microseconds of the kernel's log clock: near to `CLOCK_MONOTONIC` and not the same, and stopped in suspend.
    pub micros: u64,
    /// Whether it is a whole line.
    pub flag: Flag,
    /// Who printed it, where that is told.
    pub caller: Option<Caller>,
    /// The message as the device escapes it.
    pub text: &'a [u8],
    fields: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a record; a newline at its end may be missing. `None` for what is none. Fields before the text that are not known
    /// are passed over, as the document asks.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = split_once(bytes, b';')?;
        let mut heads = head.split(|byte| *byte == b',');
        let priority = heads.next().and_then(digits)?;
        let sequence = heads.next().and_then(digits)?;
        let micros = heads.next().and_then(digits)?;
        let flag = match heads.next()? {
            b"-" => Flag::Whole,
            b"c" => Flag::Piece,
            b"+" => Flag::Further,
            [other] => Flag::Other(*other),
            _ => return None,
        };
        let caller = heads
            .filter_map(|field| field.strip_prefix(b"caller="))
            .find_map(Caller::parse);
        let (text, fields) = split_once(rest, b'\n').unwrap_or((rest, &[]));
        Some(Self {
            facility: u32::try_from(priority >> 3).unwrap_or(u32::MAX),
            level: u8::try_from(priority & 7).unwrap_or(7),
            sequence,
            micros,
            flag,
            caller,
            text,
            fields,
        })
    }

    /// The kernel said it. A process that writes to `/dev/kmsg` is given another facility, whatever it asks for: its text can
    /// be forged, this cannot.
    pub fn is_kernels(&self) -> bool {
        self.facility == 0
    }

    /// The lines ` KEY=value` behind the text, escaped as they came.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            lines: lines(self.fields),
        }
    }
}

/// The iterator of [`Record::fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    lines: Lines<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.lines
            .by_ref()
            .filter_map(|line| line.strip_prefix(b" "))
            .find_map(|line| split_once(line, b'='))
    }
}

/// A number as the device prints it: digits alone. A blank around them would be the text of another form.
fn digits(text: &[u8]) -> Option<u64> {
    text.first().filter(|byte| byte.is_ascii_digit())?;
    text.last().filter(|byte| byte.is_ascii_digit())?;
    unsigned(text)
}

/// What stands before and after the first `mark`.
pub(crate) fn split_once(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(mark, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_the_document_has_it() {
        // The example of Documentation/ABI/testing/dev-kmsg.
        let text = b"6,2565,102258085667,-;text\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n";
        let record = Record::parse(text).expect("a record");
        assert_eq!((record.facility, record.level), (0, 6));
        assert_eq!((record.sequence, record.micros), (2565, 102_258_085_667));
        assert_eq!((record.flag, record.caller), (Flag::Whole, None));
        assert_eq!(record.text, b"text");
        let fields: Vec<_> = record.fields().collect();
        assert_eq!(
            fields,
            [
                (&b"SUBSYSTEM"[..], &b"acpi"[..]),
                (b"DEVICE", b"+acpi:PNP0A03:00")
            ]
        );
        assert!(record.is_kernels());
    }

    #[test]
    fn only_facility_0_is_the_kernels() {
        // 12 is facility 1, level 4: what a process gets for "<4>Out of memory: Killed process 1 (init)".
        let forged = Record::parse(b"12,7,8,-;Out of memory: Killed process 1 (init)\n").expect("a record");
        assert_eq!((forged.facility, forged.level), (1, 4));
        assert!(!forged.is_kernels());
        let huge = Record::parse(b"99999999999999999999,7,8,-;x").expect("a record");
        assert!(!huge.is_kernels());
    }

    #[test]
    fn further_fields_are_passed_over_and_the_caller_is_found() {
        let of = |head: &str| {
            let text = format!("{head};a;b\n");
            let record = Record::parse(text.as_bytes()).expect("a record");
            assert_eq!(record.text, b"a;b");
            (record.flag, record.caller)
        };
        assert_eq!(of("4,1,2,c,caller=T77"), (Flag::Piece, Some(Caller::Task(77))));
        assert_eq!(
            of("4,1,2,+,new=1,caller=C3,x"),
            (Flag::Further, Some(Caller::Processor(3)))
        );
        assert_eq!(of("4,1,2,?,caller=Q3,caller="), (Flag::Other(b'?'), None));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for text in [
            &b""[..],
            b";",
            b"4,1,2;no flag",
            b"4,1,x,-;text",
            b"-4,1,2,-;text",
            b"4, 1,2,-;text",
            b"4,1,2,-",
            b"4,1,2,--;text",
            b"[ 1.5] 4,1,2,-;text",
        ] {
            assert_eq!(Record::parse(text), None, "{}", text.escape_ascii());
        }
    }
}
