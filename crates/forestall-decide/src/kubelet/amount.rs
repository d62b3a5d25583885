//! The amount of a quantity: what Go computes in 64 bits, and what it computes at any length.
//!
//! apimachinery has two representations (`int64Amount` and `infDecAmount`), and which one a text gets shows in its
//! `Value()`. Both are followed here on the digits of the text, so no length of it can overflow anything.

use super::quantity::{NANOS, Nanobytes, Parts, Quantity, Unit};

/// The most that a quantity with a binary suffix may be (`maxAllowed`).
const BINARY_MAX: u128 = i64::MAX as u128;
/// Up to so many digits Go computes in 64 bits (`maxInt64Factors`).
const SHORT_DIGITS: i32 = 18;

fn digits(parts: &Parts<'_>) -> impl DoubleEndedIterator<Item = u8> + Clone {
    parts
        .whole
        .bytes()
        .chain(parts.fraction.bytes())
        .map(|byte| byte - b'0')
}

fn length(part: &str) -> i32 {
    i32::try_from(part.len()).unwrap_or(i32::MAX)
}

const fn capped(nanos: u128) -> i128 {
    if nanos > i128::MAX as u128 {
        i128::MAX
    } else {
        nanos.cast_signed()
    }
}

fn signed(negative: bool, nanos: u128) -> Nanobytes {
    Nanobytes(if negative { -capped(nanos) } else { capped(nanos) })
}

/// What Go computes in 64 bits (`int64Amount`); nothing where it takes the long way.
pub(super) fn short(parts: &Parts<'_>, unit: &Unit) -> Option<Quantity> {
    // A missing whole part counts as one digit, because Go puts a zero there.
    let whole_digits = length(parts.whole).max(1);
    let (multiplier, scale) = match *unit {
        Unit::Decimal(exponent) => {
            let room = SHORT_DIGITS.saturating_sub(whole_digits.saturating_add(length(parts.fraction)));
            (
                1,
                (room >= 0).then(|| exponent.wrapping_sub(length(parts.fraction)))?,
            )
        }
        Unit::Binary(exponent) => {
            // 2^10 takes three of the digits, and one is kept back.
            let taken = i32::try_from(exponent * 3 / 10).unwrap_or(i32::MAX);
            let room = 15 - taken - 1 - whole_digits.min(15);
            (
                1_i64 << exponent,
                (parts.fraction.is_empty() && room >= 0).then_some(0)?,
            )
        }
    };
    if scale < -9 {
        return None;
    }
    let number = digits(parts).fold(0_i64, |number, digit| number * 10 + i64::from(digit));
    let number = number.checked_mul(multiplier)?;
    let number = if parts.negative { -number } else { number };
    let power = |exponent: i32| u32::try_from(exponent).ok().and_then(|e| 10_i128.checked_pow(e));
    let exact = power(scale.saturating_add(9))
        .and_then(|power| power.checked_mul(number.into()))
        .unwrap_or(match number.signum() {
            0 => 0,
            1 => i128::MAX,
            _ => -i128::MAX,
        });
    let value = if scale < 0 {
        // Rounded away from zero (`negativeScaleInt64`).
        let power = 10_i64.pow(scale.unsigned_abs());
        number / power + if number % power == 0 { 0 } else { number.signum() }
    } else {
        // What does not fit is wrapped where Go multiplies once, and zero where it goes by tens (`positiveScaleInt64`).
        let power = 10_i64.checked_pow(scale.unsigned_abs());
        match (power, scale) {
            (Some(power), 0 | 1 | 2 | 3 | 6 | 9) => number.wrapping_mul(power),
            (Some(power), _) => number.checked_mul(power).unwrap_or(0),
            (None, _) => 0,
        }
    };
    Some(Quantity {
        exact: Nanobytes(exact),
        value,
    })
}

/// Decimal of any length: rounded up to whole nanos, never capped.
pub(super) fn long_decimal(parts: &Parts<'_>, exponent: i32) -> Quantity {
    /// Beyond so many zeros all low 64 bits are zero, and the number is past every cap.
    const ZEROS_MAX: usize = 100;
    let places = length(parts.fraction).wrapping_sub(exponent);
    let mut nanos: Vec<u8> = digits(parts).collect();
    if places > 9 {
        let dropped = usize::try_from(places - 9).unwrap_or(usize::MAX);
        let kept = nanos.len().saturating_sub(dropped);
        let inexact = nanos.iter().skip(kept).any(|digit| *digit != 0);
        nanos.truncate(kept);
        if inexact {
            add_one(&mut nanos);
        }
    } else {
        let zeros = usize::try_from(9 - i64::from(places)).map_or(ZEROS_MAX, |zeros| zeros.min(ZEROS_MAX));
        nanos.resize(nanos.len() + zeros, 0);
    }
    let low = |digits: &[u8]| {
        let digits = digits.iter();
        digits.fold(0_u64, |number, digit| {
            number.wrapping_mul(10).wrapping_add((*digit).into())
        })
    };
    let (units, rest) = nanos.split_at(nanos.len().saturating_sub(9));
    let value = if parts.negative {
        negative_value(low(&nanos))
    } else {
        let up = u64::from(rest.iter().any(|digit| *digit != 0));
        low(units).wrapping_add(up).cast_signed()
    };
    let wide = nanos.iter().fold(0_u128, |number, digit| {
        number.saturating_mul(10).saturating_add((*digit).into())
    });
    Quantity {
        exact: signed(parts.negative, wide),
        value,
    }
}

/// Binary of any length: rounded up to whole nanos, capped at 2⁶³ − 1.
pub(super) fn long_binary(parts: &Parts<'_>, exponent: u32) -> Quantity {
    let scale = 1_u128 << exponent;
    let whole = parts.whole.bytes().fold(0_u128, |number, byte| {
        let number = number.saturating_mul(10).saturating_add((byte - b'0').into());
        number.min(BINARY_MAX + 1)
    });
    // The fraction times 2^exponent in nanos, from its last digit to its first: what a division leaves over can only
    // say that the sum is inexact.
    let (mut nanos, mut inexact) = (0_u128, false);
    for byte in parts.fraction.bytes().rev() {
        nanos += u128::from(byte - b'0') * scale * NANOS;
        inexact |= nanos % 10 != 0;
        nanos /= 10;
    }
    let nanos = (whole * scale)
        .saturating_mul(NANOS)
        .saturating_add(nanos + u128::from(inexact));
    if nanos > BINARY_MAX * NANOS {
        let value = if parts.negative { -i64::MAX } else { i64::MAX };
        return Quantity {
            exact: signed(parts.negative, BINARY_MAX * NANOS),
            value,
        };
    }
    // Below the cap the units fit, and only the low 64 bits of nanos are wanted.
    #[allow(clippy::cast_possible_truncation)]
    let value = if parts.negative {
        negative_value(nanos as u64)
    } else {
        nanos.div_ceil(NANOS) as i64
    };
    Quantity {
        exact: signed(parts.negative, nanos),
        value,
    }
}

/// `Value()` of a negative long amount whose nanos have these low 64 bits: Go cuts it to 64 bits, divides towards zero and
/// then adds one where something is left over (`scaledValue`).
const fn negative_value(nanos_low: u64) -> i64 {
    let nanos = nanos_low.cast_signed().wrapping_neg();
    let up = if nanos % 1_000_000_000 == 0 { 0 } else { 1 };
    nanos / 1_000_000_000 + up
}

fn add_one(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return;
        }
        *digit = 0;
    }
    digits.insert(0, 1);
}
