//! Kubernetes' `resource.Quantity` from text: the same numbers, the same oddities.
//!
//! What a request, a reservation or a threshold means is what apimachinery reads in it (`pkg/api/resource/quantity.go`),
//! so its reader is followed step by step: `Ki` alone is zero, `1e4294967296` is one, and `Value()` of what does not fit
//! 63 bits is whatever Go computes. It refuses to be cleverer than that, and to panic.

use core::fmt;

use super::amount;
use crate::units::Bytes;

/// A quantity has no finer parts than this many to one.
pub(super) const NANOS: u128 = 1_000_000_000;

/// A quantity of bytes as the kubelet compares it: exact to a billionth, capped at ±1.7·10²⁹ bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanobytes(pub i128);

impl Nanobytes {
    /// Whole bytes, rounded up; nothing where it is negative. An integer is below a quantity exactly if it is below this.
    pub fn round_up(self) -> Bytes {
        let nanos = self.0.max(0).unsigned_abs();
        Bytes(u64::try_from(nanos.div_ceil(NANOS)).unwrap_or(u64::MAX))
    }

    /// Whole bytes, rounded down; nothing where it is negative. An integer exceeds a quantity exactly if it exceeds this.
    pub fn round_down(self) -> Bytes {
        Bytes(u64::try_from(self.0.max(0).unsigned_abs() / NANOS).unwrap_or(u64::MAX))
    }
}

impl From<Bytes> for Nanobytes {
    fn from(bytes: Bytes) -> Self {
        Self((u128::from(bytes.0) * NANOS).cast_signed())
    }
}

/// A parsed quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantity {
    /// What comparisons see (`Cmp`, `Add`, `Sub`).
    pub exact: Nanobytes,
    /// What `Value()` says: rounded up, and where it does not fit, wrapped or zero, as Go has it on 64-bit machines.
    pub value: i64,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityErrorKind {
    /// There is nothing in it.
    Empty,
    /// A character stands where none may stand (`ErrFormatWrong`).
    Format,
    /// The number has no digit (`ErrNumeric`).
    Numeric,
    /// The suffix is none, or its exponent does not fit (`ErrSuffix`).
    Suffix,
}

/// A text that is no quantity, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    /// What is wrong.
    pub kind: QuantityErrorKind,
    /// The text, cut at 64 characters.
    pub text: Box<str>,
    /// The byte at which it is wrong, counted from 0.
    pub at: usize,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, text, at } = self;
        let what = match kind {
            QuantityErrorKind::Empty => return write!(out, "a quantity is empty: write one, such as 100Mi"),
            QuantityErrorKind::Format => "has a character that belongs to no quantity",
            QuantityErrorKind::Numeric => "has no digit",
            QuantityErrorKind::Suffix => {
                "has an unknown suffix, known are n u m k M G T P E, Ki Mi Gi Ti Pi Ei and e1"
            }
        };
        write!(
            out,
            "quantity \"{}\" {what} (at byte {at}): write it like 100Mi",
            text.escape_debug()
        )
    }
}

impl core::error::Error for QuantityError {}

/// The parts of a quantity's text (`parseQuantityString`).
pub(super) struct Parts<'a> {
    pub(super) negative: bool,
    /// Without sign and leading zeros; may be empty.
    pub(super) whole: &'a str,
    /// After the point; may be empty.
    pub(super) fraction: &'a str,
    /// Where the suffix begins.
    number_end: usize,
    suffix: &'a str,
}

/// What a suffix means (`suffix.go`).
pub(super) enum Unit {
    /// Times 2 to this.
    Binary(u32),
    /// Times 10 to this.
    Decimal(i32),
}

impl Quantity {
    /// Reads a quantity (`ParseQuantity`).
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let error = |kind, at| QuantityError {
            kind,
            text: text.chars().take(64).collect(),
            at,
        };
        if text.is_empty() {
            return Err(error(QuantityErrorKind::Empty, 0));
        }
        let parts = split(text).map_err(|at| error(QuantityErrorKind::Format, at))?;
        let unit =
            read_suffix(parts.suffix).ok_or_else(|| error(QuantityErrorKind::Suffix, parts.number_end))?;
        if let Some(short) = amount::short(&parts, &unit) {
            return Ok(short);
        }
        let number = text.get(..parts.number_end).unwrap_or(text);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(error(QuantityErrorKind::Numeric, parts.number_end));
        }
        Ok(match unit {
            Unit::Binary(exponent) => amount::long_binary(&parts, exponent),
            Unit::Decimal(exponent) => amount::long_decimal(&parts, exponent),
        })
    }
}

/// Splits a text; the error is the byte at which it cannot go on.
fn split(text: &str) -> Result<Parts<'_>, usize> {
    let bytes = text.as_bytes();
    let run = |from: usize, belongs: fn(u8) -> bool| {
        let rest = bytes.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| belongs(**byte)).count()
    };
    let is_sign = |at: usize| matches!(bytes.get(at), Some(b'+' | b'-'));
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let digit = |byte: u8| byte.is_ascii_digit();

    let sign_end = usize::from(is_sign(0));
    let whole_start = run(sign_end, |byte| byte == b'0');
    let whole_end = run(whole_start, digit);
    let has_point = bytes.get(whole_end) == Some(&b'.');
    let fraction_start = whole_end + usize::from(has_point);
    let number_end = if has_point {
        run(fraction_start, digit)
    } else {
        whole_end
    };
    let letters_end = run(number_end, |byte| b"eEinumkKMGTP".contains(&byte));
    let end = run(letters_end + usize::from(is_sign(letters_end)), digit);
    if end < bytes.len() {
        return Err(end);
    }
    Ok(Parts {
        negative: bytes.first() == Some(&b'-'),
        whole: part(whole_start, whole_end),
        fraction: part(fraction_start, number_end),
        number_end,
        suffix: part(number_end, bytes.len()),
    })
}

fn read_suffix(suffix: &str) -> Option<Unit> {
    Some(match suffix {
        "Ki" => Unit::Binary(10),
        "Mi" => Unit::Binary(20),
        "Gi" => Unit::Binary(30),
        "Ti" => Unit::Binary(40),
        "Pi" => Unit::Binary(50),
        "Ei" => Unit::Binary(60),
        "n" => Unit::Decimal(-9),
        "u" => Unit::Decimal(-6),
        "m" => Unit::Decimal(-3),
        "" => Unit::Decimal(0),
        "k" => Unit::Decimal(3),
        "M" => Unit::Decimal(6),
        "G" => Unit::Decimal(9),
        "T" => Unit::Decimal(12),
        "P" => Unit::Decimal(15),
        "E" => Unit::Decimal(18),
        _ => {
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            // Go keeps the low 32 bits (`int32(parsed)`).
            #[allow(clippy::cast_possible_truncation)]
            Unit::Decimal(exponent as i32)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> i64 {
        Quantity::parse(text).map_or(i64::MIN, |quantity| quantity.value)
    }

    #[test]
    fn plain_sizes_are_what_they_say() {
        for (text, bytes) in [
            ("0", 0),
            ("750Mi", 750 << 20),
            ("7120616Ki", 7_291_510_784),
            ("1.5Gi", 3 << 29),
            ("100M", 100_000_000),
            ("12e6", 12_000_000),
            ("12E6", 12_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("128974848000m", 128_974_848),
            ("+5k", 5_000),
        ] {
            assert_eq!(value(text), bytes, "{text}");
            assert_eq!(
                Quantity::parse(text).map(|quantity| quantity.exact),
                Ok(Nanobytes(i128::from(bytes) * 1_000_000_000)),
                "{text}"
            );
        }
    }

    #[test]
    fn parts_of_a_byte_are_rounded_up_and_still_compared_exactly() {
        // 0.5 Ki is 512 bytes; 0.1 Mi is 104857.6.
        assert_eq!(value("0.5Ki"), 512);
        assert_eq!(value("0.1Mi"), 104_858);
        assert_eq!(value("1m"), 1);
        assert_eq!(value("0.1n"), 1);
        let tenth = Quantity::parse("0.1Mi").map_or(Nanobytes(0), |quantity| quantity.exact);
        assert_eq!(tenth, Nanobytes(104_857_600_000_000));
        assert_eq!(tenth.round_up(), Bytes(104_858));
        assert_eq!(tenth.round_down(), Bytes(104_857));
        assert_eq!(
            Quantity::parse("0.1n").map(|quantity| quantity.exact),
            Ok(Nanobytes(1))
        );
    }

    #[test]
    fn binary_sizes_are_capped_and_decimal_ones_are_not() {
        assert_eq!(value("16Ei"), i64::MAX);
        assert_eq!(value("-99999Ei"), -i64::MAX);
        assert_eq!(
            Quantity::parse("1e20").map(|quantity| quantity.exact),
            Ok(Nanobytes(100_000_000_000_000_000_000_000_000_000))
        );
        // Ten times 10^18 does not fit 63 bits, and Go answers zero; 10^13 times 10^6 it lets wrap.
        assert_eq!(value("10E"), 0);
        assert_eq!(
            value("10000000000000M"),
            10_000_000_000_000_000_000_u64.cast_signed()
        );
    }

    #[test]
    fn a_refusal_says_what_and_where() {
        let refused = |text| Quantity::parse(text).map_err(|error| (error.kind, error.at));
        assert_eq!(refused(""), Err((QuantityErrorKind::Empty, 0)));
        assert_eq!(refused("100MiB"), Err((QuantityErrorKind::Format, 5)));
        assert_eq!(refused("1 Mi"), Err((QuantityErrorKind::Format, 1)));
        assert_eq!(refused("1mi"), Err((QuantityErrorKind::Suffix, 1)));
        assert_eq!(refused("Pi"), Err((QuantityErrorKind::Numeric, 0)));
        let text = Quantity::parse("7\u{1b}[2J").map_err(|error| error.to_string());
        assert_eq!(
            text.map_err(|text| text.contains("\\u{1b}")),
            Err(true),
            "what came from outside is escaped"
        );
    }
}
