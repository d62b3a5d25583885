//! Percentages as the kubelet reads and applies them: Go's `strconv.ParseFloat(…, 32)`, a division by 100 in 32 bits, a
//! multiplication in 64, a cut to an integer (k/k `pkg/kubelet/eviction/{helpers.go,api/types.go}`).
//!
//! All of it in integers, rounded to even where the hardware would: the engine has no floating point, and a threshold that
//! is off by a byte would be off by an eviction. It refuses nothing that Go accepts (`0x1p-3%`, `NaN%`).

use super::decimal;
use crate::units::Bytes;

/// A binary32 or binary64 number without its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    /// `mantissa · 2^exponent`.
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
    NotANumber,
}

/// Precision and range of a format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    bits: u32,
    exponent_min: i32,
    exponent_max: i32,
}

/// binary32: 24 bits, the least is 2^−149, the largest 2^128 − 2^104.
pub(super) const SINGLE: Format = Format {
    bits: 24,
    exponent_min: -149,
    exponent_max: 104,
};
/// binary64; its range is never left here.
const DOUBLE: Format = Format {
    bits: 53,
    exponent_min: -1074,
    exponent_max: 971,
};

/// A share of a capacity, as a percentage said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    negative: bool,
    size: Float,
}

/// Rounds `mantissa · 2^exponent` to the nearest number of `format`, ties to even; `sticky`: a little more than that.
pub(super) fn round(mantissa: u128, exponent: i32, sticky: bool, format: Format) -> Float {
    if mantissa == 0 {
        return Float::Finite {
            mantissa: 0,
            exponent: 0,
        };
    }
    let length = u128::BITS - mantissa.leading_zeros();
    let excess = i64::from(length) - i64::from(format.bits);
    // Too small a number loses more bits, since its exponent cannot go lower.
    let denormal = i64::from(format.exponent_min) - i64::from(exponent);
    let shift = excess.max(denormal).max(0);
    let Ok(shift) = u32::try_from(shift) else {
        return round(0, 0, false, format);
    };
    let (mut kept, rest, half) = match shift {
        0 => (mantissa, 0, 1),
        1..=127 => (mantissa >> shift, mantissa & ((1 << shift) - 1), 1 << (shift - 1)),
        _ => (0, 0, 1),
    };
    if rest > half || (rest == half && shift > 0 && (sticky || kept % 2 == 1)) {
        kept += 1;
    }
    let mut exponent = i64::from(exponent) + i64::from(shift);
    if kept >> format.bits != 0 {
        kept >>= 1;
        exponent += 1;
    }
    let Ok(mantissa) = u64::try_from(kept) else {
        return Float::Infinite;
    };
    if mantissa == 0 {
        return round(0, 0, false, format);
    }
    let too_large =
        exponent + i64::from(mantissa.ilog2()) - i64::from(format.bits - 1) > i64::from(format.exponent_max);
    match i32::try_from(exponent) {
        Ok(exponent) if !too_large => Float::Finite { mantissa, exponent },
        _ => Float::Infinite,
    }
}

impl Share {
    /// Reads what stands before the percent signs (`parsePercentage`); `None` where it is no number of 32 bits.
    pub(super) fn parse(percentage: &str) -> Option<Self> {
        let (negative, value) = decimal::parse_single(percentage.trim_end_matches('%'))?;
        Some(Self {
            negative,
            size: match value {
                Float::Finite { mantissa, exponent } => {
                    let wide = u128::from(mantissa) << 64;
                    round(wide / 100, exponent.saturating_sub(64), wide % 100 != 0, SINGLE)
                }
                other => other,
            },
        })
    }

    /// It is below nothing; `NaN` and `-0` are not.
    pub(super) fn is_negative(self) -> bool {
        self.negative && self.size != Float::NotANumber && !self.is_zero()
    }

    pub(super) fn is_zero(self) -> bool {
        matches!(self.size, Float::Finite { mantissa: 0, .. })
    }

    /// It is more than the whole; `NaN` is not.
    pub(super) fn is_above_whole(self) -> bool {
        match self.size {
            Float::Finite { mantissa, exponent } if !self.negative => {
                let whole = 1_u128.checked_shl(exponent.min(0).unsigned_abs());
                exponent > 0 && mantissa > 0 || whole.is_some_and(|whole| u128::from(mantissa) > whole)
            }
            Float::Infinite => !self.negative,
            _ => false,
        }
    }

    /// This share of `capacity` (`GetThresholdQuantity`). What does not fit 63 bits is the least integer in Go on x86-64,
    /// and no memory is less than that: nothing.
    pub fn of(self, capacity: Bytes) -> Bytes {
        let Float::Finite { mantissa, exponent } = self.size else {
            return Bytes::ZERO;
        };
        let double = round(capacity.0.into(), 0, false, DOUBLE);
        let (
            Float::Finite {
                mantissa: left,
                exponent: left_exponent,
            },
            false,
        ) = (double, self.negative)
        else {
            return Bytes::ZERO;
        };
        let product = round(
            u128::from(left) * u128::from(mantissa),
            left_exponent + exponent,
            false,
            DOUBLE,
        );
        let Float::Finite { mantissa, exponent } = product else {
            return Bytes::ZERO;
        };
        let cut = if exponent <= 0 {
            mantissa.checked_shr(exponent.unsigned_abs()).unwrap_or(0).into()
        } else {
            u128::from(mantissa)
                .checked_shl(exponent.unsigned_abs().min(64))
                .unwrap_or(0)
        };
        i64::try_from(cut).map_or(Bytes::ZERO, |cut| Bytes(cut.unsigned_abs()))
    }
}
