//! Decimal numbers as the kernel prints them.

/// The unsigned number `text` consists of, blanks around it aside. `None` when there is anything else in it, so that a
/// word is never read as 0; the largest number where it does not fit, because a limit of nearly 2^64 is still a limit.
pub fn unsigned(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// The signed number `text` consists of, blanks around it aside; saturating at both ends.
pub fn signed(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    match text.strip_prefix(b"-") {
        // The blank after a sign would be trimmed by `unsigned`; the kernel never prints one.
        Some(digits) if digits.first().is_some_and(u8::is_ascii_digit) => {
            let value = unsigned(digits)?;
            Some(0_i64.saturating_sub_unsigned(value))
        }
        Some(_) => None,
        None => unsigned(text).map(|value| i64::try_from(value).unwrap_or(i64::MAX)),
    }
}

/// As [`unsigned`], narrowed to 32 bits (PIDs, user IDs); saturating.
pub(crate) fn unsigned_32(text: &[u8]) -> Option<u32> {
    unsigned(text).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

/// A hexadecimal number with or without `0x`.
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(value.saturating_mul(16).saturating_add(u64::from(digit)))
    })
}

/// The words of a line: whatever lies between blanks, tabs and newlines. Not between other white space: the kernel escapes
/// these three in names and leaves a form feed or carriage return as it is.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    text.split(|byte| matches!(byte, b' ' | b'\t' | b'\n'))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_saturate_instead_of_wrapping() {
        assert_eq!(unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned(b"18446744073709551616"), Some(u64::MAX));
        assert_eq!(unsigned(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"-99999999999999999999"), Some(i64::MIN));
        assert_eq!(signed(b"9223372036854775808"), Some(i64::MAX));
    }

    #[test]
    fn what_is_not_a_number_is_none_and_not_zero() {
        for text in [&b""[..], b" ", b"max", b"-1", b"+1", b"12x", b"1 2", b"0x10"] {
            assert_eq!(unsigned(text), None, "{text:?}");
        }
        for text in [&b"-"[..], b"--1", b"- 1", b"1-"] {
            assert_eq!(signed(text), None, "{text:?}");
        }
    }

    #[test]
    fn blanks_around_a_number_are_the_kernels_alignment() {
        assert_eq!(unsigned(b"   42\n"), Some(42));
        assert_eq!(signed(b"\t-1000\n"), Some(-1000));
    }

    #[test]
    fn hexadecimal_needs_digits() {
        assert_eq!(hexadecimal(b"0x0007\n"), Some(7));
        assert_eq!(hexadecimal(b"0x"), None);
        assert_eq!(hexadecimal(b"0xg"), None);
    }
}
