//! The value of an eviction threshold and of a minimum reclaim: a quantity or a percentage (`parseThresholdStatement`,
//! `parseMinimumReclaims`, k/k `pkg/kubelet/eviction/helpers.go`).
//!
//! It refuses what the kubelet refuses at its start, and says why.

use core::fmt;

use super::quantity::{Quantity, QuantityError};
use super::share::Share;
use crate::units::Bytes;

/// A quantity, or a share of what the signal's capacity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdValue {
    /// So much.
    Quantity(Quantity),
    /// So many percent of the signal's capacity.
    Share(Share),
}

impl ThresholdValue {
    /// In bytes, where the signal's capacity is this: a signal is below the value exactly if it is below these bytes.
    pub fn bytes(self, capacity: Bytes) -> Bytes {
        match self {
            Self::Quantity(quantity) => quantity.exact.round_up(),
            Self::Share(share) => share.of(capacity),
        }
    }
}

/// Why a text is no value of a threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// No quantity.
    Quantity(QuantityError),
    /// A percent sign at the end, and no number before it.
    Percentage(Box<str>),
    /// Below what is allowed: a threshold has to be positive, or a percentage of nothing or more; a minimum reclaim, a
    /// positive percentage or a quantity of nothing or more.
    TooSmall(Box<str>),
    /// A threshold of more than 100 %.
    AboveWhole(Box<str>),
}

impl fmt::Display for ValueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantity(error) => error.fmt(out),
            Self::Percentage(text) => write!(
                out,
                "\"{}\" is no percentage: write a number before the percent sign, such as 5%",
                text.escape_debug()
            ),
            Self::TooSmall(text) => write!(
                out,
                "\"{}\" is too small: the kubelet wants more than nothing",
                text.escape_debug()
            ),
            Self::AboveWhole(text) => write!(
                out,
                "\"{}\" is more than there is: the kubelet takes up to 100%",
                text.escape_debug()
            ),
        }
    }
}

impl core::error::Error for ValueError {}

impl From<QuantityError> for ValueError {
    fn from(error: QuantityError) -> Self {
        Self::Quantity(error)
    }
}

/// Reads the value of `evictionHard` or `evictionSoft`; `None` for `0%` and `100%`, which switch a threshold off.
pub fn parse_threshold(text: &str) -> Result<Option<ThresholdValue>, ValueError> {
    if matches!(text, "0%" | "100%") {
        return Ok(None);
    }
    if text.ends_with('%') {
        let share = parse_share(text)?;
        if share.is_negative() {
            return Err(ValueError::TooSmall(short(text)));
        }
        if share.is_above_whole() {
            return Err(ValueError::AboveWhole(short(text)));
        }
        return Ok(Some(ThresholdValue::Share(share)));
    }
    let quantity = Quantity::parse(text)?;
    if quantity.exact.0 <= 0 {
        return Err(ValueError::TooSmall(short(text)));
    }
    Ok(Some(ThresholdValue::Quantity(quantity)))
}

/// Reads the value of `evictionMinimumReclaim`.
pub fn parse_min_reclaim(text: &str) -> Result<ThresholdValue, ValueError> {
    if text.ends_with('%') {
        let share = parse_share(text)?;
        if share.is_negative() || share.is_zero() {
            return Err(ValueError::TooSmall(short(text)));
        }
        return Ok(ThresholdValue::Share(share));
    }
    let quantity = Quantity::parse(text)?;
    if quantity.exact.0 < 0 {
        return Err(ValueError::TooSmall(short(text)));
    }
    Ok(ThresholdValue::Quantity(quantity))
}

fn parse_share(text: &str) -> Result<Share, ValueError> {
    Share::parse(text).ok_or_else(|| ValueError::Percentage(short(text)))
}

fn short(text: &str) -> Box<str> {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(text: &str, capacity: Bytes) -> Option<Bytes> {
        let value = parse_threshold(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        value.map(|value| value.bytes(capacity))
    }

    #[test]
    fn ten_percent_is_a_little_more_because_of_32_bits() {
        // 10/100 in binary32 is 0.100000001490116119384765625; of 8 GiB that is 858993472 and not 858993459.
        assert_eq!(threshold("10%", Bytes(8 << 30)), Some(Bytes(858_993_472)));
        // 25/100 and 50/100 are exact.
        assert_eq!(threshold("25%", Bytes(8 << 30)), Some(Bytes(2 << 30)));
        assert_eq!(threshold("0x1.9p5%", Bytes(8 << 30)), Some(Bytes(4 << 30)));
    }

    #[test]
    fn whole_and_nothing_switch_a_threshold_off_and_only_in_these_words() {
        let capacity = Bytes(1 << 30);
        assert_eq!(threshold("0%", capacity), None);
        assert_eq!(threshold("100%", capacity), None);
        assert_eq!(threshold("0.0%", capacity), Some(Bytes::ZERO));
        assert_eq!(threshold("100.0%", capacity), Some(capacity));
        assert_eq!(threshold("5%%%", capacity), threshold("5%", capacity));
        // Go reads it, compares it with nothing, and casts it to the least integer.
        assert_eq!(threshold("NaN%", capacity), Some(Bytes::ZERO));
    }

    #[test]
    fn fractions_of_a_byte_count_as_a_whole_one() {
        // Available 100 is below 100.5, and so it is below 101.
        assert_eq!(threshold("100500m", Bytes(1 << 30)), Some(Bytes(101)));
    }

    #[test]
    fn refusals_name_the_reason() {
        let refused = |text| parse_threshold(text).map_err(|error| error.to_string());
        assert!(refused("101%").is_err_and(|why| why.contains("more than there is")));
        assert!(refused("-1%").is_err_and(|why| why.contains("too small")));
        assert!(refused("0").is_err_and(|why| why.contains("too small")));
        assert!(refused("+nan%").is_err_and(|why| why.contains("no percentage")));
        assert!(refused("1e39%").is_err_and(|why| why.contains("no percentage")));
        assert!(refused("%").is_err_and(|why| why.contains("no percentage")));
        assert!(refused("100MB").is_err_and(|why| why.contains("at byte 4")));
        assert!(parse_min_reclaim("0").is_ok());
        assert!(parse_min_reclaim("0%").is_err());
        assert!(parse_min_reclaim("900%").is_ok());
    }
}
