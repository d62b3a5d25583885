//! Go's floating-point literals (`strconv.ParseFloat(…, 32)`), rounded to the nearest binary32 number in integers.
//!
//! Decimal or hexadecimal, with underscores where Go allows them, `inf` and `nan`. It refuses what Go refuses, a number
//! beyond the range included.

use super::share::{Float, SINGLE, round};

/// Digits beyond so many can only say that a number is a little larger: the longest decimal expansion of a point half-way
/// between two binary32 numbers has fewer.
const DIGITS_MAX: usize = 160;
/// Go reads no more of an exponent than this and goes on (`readFloat`).
const EXPONENT_ENOUGH: i32 = 10_000;

/// A literal's parts.
struct Literal {
    negative: bool,
    hexadecimal: bool,
    /// Significant digits, without leading zeros.
    digits: Vec<u8>,
    /// Something other than zero was cut off behind them.
    cut: bool,
    /// The value is 0.DIGITS times the base to this, hexadecimal times 2 to it.
    point: i32,
}

/// Reads a number: its sign and its size. `None`: no number, or one beyond binary32.
pub(super) fn parse_single(text: &str) -> Option<(bool, Float)> {
    if let Some(special) = read_special(text) {
        return Some(special);
    }
    let literal = read_literal(text.as_bytes())?;
    let value = if literal.hexadecimal {
        round_hexadecimal(&literal)
    } else {
        round_decimal(literal.digits, literal.cut, literal.point)
    };
    (value != Float::Infinite).then_some((literal.negative, value))
}

fn read_special(text: &str) -> Option<(bool, Float)> {
    if text.eq_ignore_ascii_case("nan") {
        return Some((false, Float::NotANumber));
    }
    let (negative, name) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let infinite = ["inf", "infinity"]
        .iter()
        .any(|word| name.eq_ignore_ascii_case(word));
    infinite.then_some((negative, Float::Infinite))
}

/// `readFloat`; the whole text has to be the number.
fn read_literal(text: &[u8]) -> Option<Literal> {
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let unsigned = rest;
    let hexadecimal = matches!(rest, [b'0', b'x' | b'X', _, ..]);
    if hexadecimal {
        rest = rest.get(2..)?;
    }
    let mut digits = Vec::new();
    let (mut cut, mut seen, mut point_seen, mut underscores) = (false, false, false, false);
    // Digits before the point, less the zeros after it that come before any other digit.
    let mut point = 0_i32;
    while let [byte, after @ ..] = rest {
        let digit = match byte {
            b'_' => {
                underscores = true;
                rest = after;
                continue;
            }
            b'.' if !point_seen => {
                point_seen = true;
                rest = after;
                continue;
            }
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' if hexadecimal => byte - b'a' + 10,
            b'A'..=b'F' if hexadecimal => byte - b'A' + 10,
            _ => break,
        };
        rest = after;
        seen = true;
        if digit == 0 && digits.is_empty() {
            point = point.saturating_sub(i32::from(point_seen));
            continue;
        }
        point = point.saturating_add(i32::from(!point_seen));
        if digits.len() < DIGITS_MAX {
            digits.push(digit);
        } else {
            cut |= digit != 0;
        }
    }
    if !seen {
        return None;
    }
    if hexadecimal {
        point = point.saturating_mul(4);
    }
    let mark = if hexadecimal { b'p' } else { b'e' };
    let has_exponent = rest.first().is_some_and(|byte| byte.to_ascii_lowercase() == mark);
    if has_exponent {
        let (exponent, with_underscore) = read_exponent(rest.get(1..)?)?;
        underscores |= with_underscore;
        point = point.saturating_add(exponent);
    } else if hexadecimal || !rest.is_empty() {
        return None;
    }
    if underscores && !underscores_fit(unsigned) {
        return None;
    }
    Some(Literal {
        negative,
        hexadecimal,
        digits,
        cut,
        point,
    })
}

/// A sign and digits up to the end; the first must be a digit.
fn read_exponent(text: &[u8]) -> Option<(i32, bool)> {
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] | rest => (1, rest),
    };
    text.first().filter(|byte| byte.is_ascii_digit())?;
    let (mut exponent, mut underscores) = (0_i32, false);
    for byte in text {
        match byte {
            b'_' => underscores = true,
            b'0'..=b'9' if exponent < EXPONENT_ENOUGH => {
                exponent = exponent * 10 + i32::from(byte - b'0');
            }
            b'0'..=b'9' => {}
            _ => return None,
        }
    }
    Some((sign * exponent, underscores))
}

/// Underscores stand between digits, or behind the prefix of a base (`underscoreOK`). Go reads the underscores of a decimal
/// literal too and finds them here: `1_0` passes this look.
fn underscores_fit(text: &[u8]) -> bool {
    let prefixed = matches!(text, [b'0', b'b' | b'B' | b'o' | b'O' | b'x' | b'X', ..]);
    let hexadecimal = matches!(text, [b'0', b'x' | b'X', ..]);
    let mut before = if prefixed { b'0' } else { b'^' };
    for byte in text.iter().skip(if prefixed { 2 } else { 0 }) {
        let is_digit = byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
        before = match (is_digit, byte, before) {
            (true, _, _) => b'0',
            (_, b'_', b'0') => b'_',
            (_, b'_', _) | (_, _, b'_') => return false,
            _ => b'!',
        };
    }
    before != b'_'
}

fn round_hexadecimal(literal: &Literal) -> Float {
    let kept = literal.digits.iter().take(16);
    let count = i32::try_from(kept.len()).unwrap_or(0);
    let mantissa = kept.fold(0_u128, |mantissa, digit| mantissa << 4 | u128::from(*digit));
    let cut = literal.cut || literal.digits.iter().skip(16).any(|digit| *digit != 0);
    // Room below the last digit, so that what was cut off is less than half of the last place.
    let exponent = literal.point.saturating_sub(4 * count).saturating_sub(32);
    round(mantissa << 32, exponent, cut, SINGLE)
}

/// Doubles or halves the decimal digits until the whole part has 32 bits, which is eight more than are kept.
fn round_decimal(digits: Vec<u8>, cut: bool, point: i32) -> Float {
    if digits.is_empty() || point < -60 {
        return round(0, 0, false, SINGLE);
    }
    if point > 39 {
        return Float::Infinite;
    }
    let mut number = Decimal { digits, point };
    let mut exponent = 0;
    while number.whole() >= 1 << 32 {
        number.halve();
        exponent += 1;
    }
    while number.whole() < 1 << 31 {
        number.double();
        exponent -= 1;
    }
    round(
        number.whole() << 8,
        exponent - 8,
        cut || number.has_fraction(),
        SINGLE,
    )
}

/// 0.DIGITS times ten to `point`.
struct Decimal {
    digits: Vec<u8>,
    point: i32,
}

impl Decimal {
    fn whole(&self) -> u128 {
        let places = usize::try_from(self.point).unwrap_or(0);
        let zeros = places.saturating_sub(self.digits.len());
        let digits = self.digits.iter().copied().take(places);
        digits
            .chain(core::iter::repeat_n(0, zeros))
            .fold(0_u128, |whole, digit| {
                whole.saturating_mul(10).saturating_add(digit.into())
            })
    }

    fn has_fraction(&self) -> bool {
        let places = usize::try_from(self.point).unwrap_or(0);
        self.digits.iter().skip(places).any(|digit| *digit != 0)
    }

    fn double(&mut self) {
        let mut carry = 0;
        for digit in self.digits.iter_mut().rev() {
            let twice = *digit * 2 + carry;
            (*digit, carry) = (twice % 10, twice / 10);
        }
        if carry > 0 {
            self.digits.insert(0, carry);
            self.point += 1;
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
    }

    fn halve(&mut self) {
        let mut left = 0;
        for digit in &mut self.digits {
            let value = left * 10 + *digit;
            (*digit, left) = (value / 2, value % 2);
        }
        if left > 0 {
            self.digits.push(5);
        }
        if self.digits.first() == Some(&0) {
            self.digits.remove(0);
            self.point -= 1;
        }
    }
}
