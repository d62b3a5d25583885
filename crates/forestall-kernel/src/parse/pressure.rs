//! Pressure stall information: `/proc/pressure/{cpu,memory,io}` and a cgroup's `*.pressure`
//! (`Documentation/accounting/psi.rst`).

use super::keyed::{lines, split_at_byte};
use super::number::{unsigned, words};

/// One line of a pressure file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PressureLine {
    /// Share of the last 10 s that was stalled, in hundredths of a percent (`avg10=0.35` is 35).
    pub avg10_centi: u32,
    /// The same over 60 s.
    pub avg60_centi: u32,
    /// The same over 300 s.
    pub avg300_centi: u32,
    /// Stalled time in all, microseconds.
    pub total_micros: u64,
}

/// Both lines. A line that the kernel does not print is `None`: `full` of `cpu` came with 5.13, and `irq` has no `some`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// At least one task was waiting.
    pub some: Option<PressureLine>,
    /// Every task that had something to do was waiting.
    pub full: Option<PressureLine>,
}

impl Pressure {
    /// Reads the file.
    pub fn parse(content: &[u8]) -> Self {
        let mut read = Self::default();
        for line in lines(content) {
            let (kind, rest) = split_at_byte(line, |byte| byte == b' ');
            match kind {
                b"some" => read.some = PressureLine::parse(rest),
                b"full" => read.full = PressureLine::parse(rest),
                _ => {}
            }
        }
        read
    }
}

impl PressureLine {
    /// `None` without a total, which is the one figure that decisions rest on.
    fn parse(fields: &[u8]) -> Option<Self> {
        let mut read = Self::default();
        let mut total = None;
        for word in words(fields) {
            let (key, value) = split_at_byte(word, |byte| byte == b'=');
            match key {
                b"avg10" => read.avg10_centi = centi(value),
                b"avg60" => read.avg60_centi = centi(value),
                b"avg300" => read.avg300_centi = centi(value),
                b"total" => total = unsigned(value),
                _ => {}
            }
        }
        read.total_micros = total?;
        Some(read)
    }
}

/// Hundredths of a decimal such as `12.34`, which the kernel prints with two digits after the point; further digits are
/// cut off, and what is no number is 0.
fn centi(text: &[u8]) -> u32 {
    let (whole, fraction) = split_at_byte(text, |byte| byte == b'.');
    let digit = |at: usize| match fraction.get(at) {
        Some(byte) if byte.is_ascii_digit() => u64::from(byte.wrapping_sub(b'0')),
        _ => 0,
    };
    let whole = unsigned(whole).unwrap_or(0);
    let centi = whole.saturating_mul(100).saturating_add(digit(0) * 10 + digit(1));
    u32::try_from(centi).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read_in_hundredths_and_microseconds() {
        let read = Pressure::parse(
            b"some avg10=0.35 avg60=12.04 avg300=100.00 total=4556750\nfull avg10=0.00 avg60=0.00 avg300=0.09 total=12\n",
        );
        let some = PressureLine {
            avg10_centi: 35,
            avg60_centi: 1_204,
            avg300_centi: 10_000,
            total_micros: 4_556_750,
        };
        assert_eq!(read.some, Some(some));
        let full = PressureLine {
            avg300_centi: 9,
            total_micros: 12,
            ..PressureLine::default()
        };
        assert_eq!(read.full, Some(full));
    }

    #[test]
    fn a_line_that_is_not_printed_is_none() {
        // `cpu` before 5.13, and `irq`.
        let cpu = Pressure::parse(b"some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n");
        assert!(cpu.some.is_some() && cpu.full.is_none());
        let irq = Pressure::parse(b"full avg10=1.00 avg60=0.00 avg300=0.00 total=1\n");
        assert!(irq.some.is_none() && irq.full.is_some());
    }

    #[test]
    fn a_line_without_a_total_is_no_figure() {
        assert_eq!(
            Pressure::parse(b"some avg10=1.00\nfull avg10=1.00 total=x\n"),
            Pressure::default()
        );
    }

    #[test]
    fn hundredths_are_taken_from_the_first_two_digits() {
        assert_eq!(
            [centi(b"7"), centi(b"7.5"), centi(b"7.05"), centi(b"7.059")],
            [700, 750, 705, 705]
        );
        assert_eq!(centi(b"99999999999999999999"), u32::MAX);
    }
}
