//! Single values of a scenario file, each with the unit that it must have.

use std::fmt;
use std::marker::PhantomData;

use forestall_decide::kubelet::{Quantity, ThresholdValue, parse_min_reclaim, parse_threshold};
use forestall_decide::{Bytes, BytesPerSecond, Span};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// No machine has more, and no workload is faster: what is larger is a slip.
const SIZE_MAX: Bytes = Bytes(1 << 46);
/// Nothing here takes longer than a year.
const TIME_MAX: Span = Span::secs(366 * 86_400);

/// A value that is written as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed<T>(pub(super) T);

/// Read from the text of one scalar.
pub(super) trait FromText: Sized {
    /// What is expected, for the message about a list or a map in its place.
    const EXPECTED: &'static str;
    /// Reads it; the error says what to write.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// A share in permille.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permille(pub(super) u64);

/// A time with a sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedMillis(pub(super) i64);

impl FromText for Bytes {
    const EXPECTED: &'static str = "a size such as 350Mi";
    fn from_text(text: &str) -> Result<Self, String> {
        let size = Quantity::parse(text).map_err(|error| error.to_string())?;
        if size.exact.0 < 0 {
            return Err(format!(
                "{text:?} is negative; a size is 0 or more, such as 350Mi"
            ));
        }
        let size = size.exact.round_up();
        if size > SIZE_MAX {
            return Err(format!("{text:?} is larger than 64Ti, which no machine has"));
        }
        Ok(size)
    }
}

impl FromText for BytesPerSecond {
    const EXPECTED: &'static str = "a rate such as 16Mi/s";
    fn from_text(text: &str) -> Result<Self, String> {
        let size = text
            .strip_suffix("/s")
            .ok_or_else(|| format!("{text:?} is no rate; a rate is a size a second, such as 16Mi/s"))?;
        Bytes::from_text(size).map(|size| Self(size.0))
    }
}

impl FromText for Span {
    const EXPECTED: &'static str = "a time such as 2s";
    fn from_text(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, u64); 6] = [
            ("us", 1),
            ("ms", 1000),
            ("s", 1_000_000),
            ("m", 60_000_000),
            ("h", 3_600_000_000),
            ("d", 86_400_000_000),
        ];
        let wrong = || {
            format!("{text:?} is no time; a time is a whole number and a unit, such as 100ms, 2s, 5m or 7d")
        };
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let span = Self(number.saturating_mul(*scale));
        if span > TIME_MAX {
            return Err(format!("{text:?} is longer than a year"));
        }
        Ok(span)
    }
}

impl FromText for SignedMillis {
    const EXPECTED: &'static str = "a time with a sign, such as -20s";
    fn from_text(text: &str) -> Result<Self, String> {
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let span = Span::from_text(rest)?;
        Ok(Self(sign * i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl FromText for Permille {
    const EXPECTED: &'static str = "a percentage such as 15%";
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no percentage; write 0% to 1000%, one digit after the point at most");
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(tenths) || tenths.len() != 1 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let tenths: u64 = tenths.parse().map_err(|_| wrong())?;
        if whole > 1000 {
            return Err(wrong());
        }
        Ok(Self(whole * 10 + tenths))
    }
}

/// An eviction threshold, as it was written: what a share comes to is known once there is something that it is a share of.
#[derive(Clone, Debug)]
pub(super) struct ThresholdText(pub(super) Box<str>);

impl FromText for ThresholdText {
    const EXPECTED: &'static str = "a threshold such as 100Mi or 5%";
    fn from_text(text: &str) -> Result<Self, String> {
        let read = parse_threshold(text).map_err(|error| error.to_string());
        read.map(|_| Self(text.into()))
    }
}

/// What an eviction has to bring at least, as it was written.
#[derive(Clone, Debug)]
pub(super) struct ReclaimText(pub(super) Box<str>);

impl FromText for ReclaimText {
    const EXPECTED: &'static str = "a size or a share, such as 500Mi or 5%";
    fn from_text(text: &str) -> Result<Self, String> {
        let read = parse_min_reclaim(text).map_err(|error| error.to_string())?;
        let is_too_much = matches!(read, ThresholdValue::Share(share) if share.of(SIZE_MAX) > SIZE_MAX);
        if is_too_much || matches!(read, ThresholdValue::Quantity(_)) && read.bytes(Bytes::ZERO) > SIZE_MAX {
            return Err(format!("{text:?} is more than any node has; write at most 100%"));
        }
        Ok(Self(text.into()))
    }
}

impl<'de, T: FromText> Deserialize<'de> for Typed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: FromText> Visitor<'_> for Text<T> {
            type Value = Typed<T>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(T::EXPECTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::from_text(text).map(Typed).map_err(E::custom)
            }
        }
        from.deserialize_str(Text(PhantomData))
    }
}
