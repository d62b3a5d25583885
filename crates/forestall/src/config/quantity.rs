//! Sizes and times as people write them: `350Mi`, `1.5G`, `100ms`, `2s`.
//!
//! A number without a unit is refused: `350` meant as mebibytes and taken as bytes would be a guard that never acts.
//! Parsing is exact integer arithmetic; a fraction of a byte or of a microsecond is rounded down. What is less than one, and not 0,
//! is refused: Kubernetes makes a byte of it, and nobody means a byte, or never.

use forestall_decide::{Bytes, Span};

/// Units of sizes, as Kubernetes has them (`k8s.io/apimachinery/pkg/api/resource`, quantity suffixes), and `B`.
const SIZES: [(&str, u64); 15] = [
    ("", 0),
    ("B", 1),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Units of times, in microseconds. The micro sign and the Greek letter look alike.
const TIMES: [(&str, u64); 8] = [
    ("", 0),
    ("us", 1),
    ("\u{b5}s", 1),
    ("\u{3bc}s", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// Reads a size.
pub(crate) fn parse_size(text: &str) -> Result<Bytes, String> {
    parse(text, &SIZES, "a byte")
        .map(Bytes)
        .map_err(|why| format!("{why}; a size is a number and a unit, such as 350Mi or 2Gi"))
}

/// Reads a time.
pub(crate) fn parse_time(text: &str) -> Result<Span, String> {
    parse(text, &TIMES, "a microsecond")
        .map(Span)
        .map_err(|why| format!("{why}; a time is a number and a unit, such as 100ms, 2s or 1m"))
}

/// `number` × `unit`, rounded down; `least` is what one of it is.
fn parse(text: &str, units: &[(&str, u64)], least: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(format!("{text:?} does not start with a number"));
    }
    if fraction.len() > 9 {
        return Err(format!("{text:?} has more than nine digits after the point"));
    }
    let unit = unit.trim_start();
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let meant = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let meant = meant.map_or_else(String::new, |(name, _)| format!(", maybe {name} is meant"));
        return Err(format!("{text:?} has the unknown unit {unit:?}{meant}"));
    };
    let too_large = || format!("{text:?} is too large");
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
    // 20 digits hold every u64; more would overflow the wide product below.
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let fraction: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().map_err(|_| too_large())?
    };
    if *scale == 0 {
        return if whole == 0 && fraction == 0 {
            Ok(0)
        } else {
            Err(format!("{text:?} has no unit"))
        };
    }
    let wide = (u128::from(whole) * tenths + fraction) * u128::from(*scale) / tenths;
    if wide == 0 && (whole > 0 || fraction > 0) {
        return Err(format!("{text:?} is less than {least}"));
    }
    u64::try_from(wide).map_err(|_| too_large())
}

/// A size the way [`parse_size`] reads it back, in the largest binary unit that is exact.
pub(crate) fn write_size(size: Bytes) -> String {
    for (unit, scale) in [
        ("Ti", 1_u64 << 40),
        ("Gi", 1 << 30),
        ("Mi", 1 << 20),
        ("Ki", 1 << 10),
    ] {
        if size.0 >= scale && size.0.is_multiple_of(scale) {
            return format!("{}{unit}", size.0 / scale);
        }
    }
    format!("{}B", size.0)
}

/// A time the way [`parse_time`] reads it back, in the largest unit that is exact.
pub(crate) fn write_time(time: Span) -> String {
    if time == Span(0) {
        return "0s".to_owned();
    }
    for (unit, scale) in [
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
    ] {
        if time.0 >= scale && time.0.is_multiple_of(scale) {
            return format!("{}{unit}", time.0 / scale);
        }
    }
    format!("{}us", time.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_kubernetes() {
        assert_eq!(parse_size("350Mi"), Ok(Bytes(367_001_600)));
        assert_eq!(parse_size("1.5Gi"), Ok(Bytes(1_610_612_736)));
        assert_eq!(parse_size("2 G"), Ok(Bytes(2_000_000_000)));
        assert_eq!(parse_size("0"), Ok(Bytes(0)));
        assert_eq!(parse_size("4KiB"), Ok(Bytes(4096)));
        assert_eq!(parse_size("0.001k"), Ok(Bytes(1)));
        // 107,374,182.4 bytes.
        assert_eq!(parse_size("0.1Gi"), Ok(Bytes(107_374_182)));
        assert_eq!(parse_size("18446744073709551615B"), Ok(Bytes(u64::MAX)));
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(parse_time("100ms"), Ok(Span(100_000)));
        assert_eq!(parse_time("1.5s"), Ok(Span(1_500_000)));
        assert_eq!(parse_time("2h"), Ok(Span(7_200_000_000)));
        assert_eq!(parse_time("7\u{b5}s"), Ok(Span(7)));
        assert_eq!(parse_time("7\u{3bc}s"), Ok(Span(7)));
        assert_eq!(write_time(Span(0)), "0s");
    }

    #[test]
    fn a_part_of_a_byte_or_of_a_microsecond_is_not_taken_for_none() {
        for (bad, word) in [
            ("0.000001Ki", "less than a byte"),
            ("0.9B", "less than a byte"),
            ("0.000999999k", "less than a byte"),
        ] {
            let error = parse_size(bad).expect_err(bad);
            assert!(error.contains(word) && error.contains("350Mi"), "{error}");
        }
        for bad in ["0.5us", "0.000000999s"] {
            let error = parse_time(bad).expect_err(bad);
            assert!(error.contains("less than a microsecond"), "{error}");
        }
        for zero in ["0", "0.0", "0B", "0.000Ki"] {
            assert_eq!(parse_size(zero), Ok(Bytes(0)), "{zero}");
        }
    }

    #[test]
    fn a_unit_in_other_letters_is_told_with_the_one_that_is_meant() {
        for (bad, meant) in [("350mi", "Mi"), ("1gI", "Gi"), ("350m", "M"), ("64mib", "MiB")] {
            let error = parse_size(bad).expect_err(bad);
            assert!(error.contains(&format!("maybe {meant} is meant")), "{error}");
        }
        for (bad, meant) in [("2S", "s"), ("100MS", "ms"), ("1M", "m")] {
            let error = parse_time(bad).expect_err(bad);
            assert!(error.contains(&format!("maybe {meant} is meant")), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for bad in [
            "",
            "350",
            "Mi",
            "-1Mi",
            "1.Mi",
            "1.2.3Mi",
            "1e3",
            "1e400",
            "NaN",
            "inf",
            "+1Mi",
            "1,5Gi",
            "1 Mb",
            "99999999999999999999Gi",
            "18446744073709551616B",
        ] {
            let error = parse_size(bad).expect_err(bad);
            assert!(error.contains("350Mi"), "{error}");
        }
        for bad in ["2", "2 sec", "s", "٣s", "1.1234567890s"] {
            let error = parse_time(bad).expect_err(bad);
            assert!(error.contains("100ms"), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1, 1023, 1 << 10, 350 << 20, 3 << 30, (1 << 40) + 1, u64::MAX] {
            assert_eq!(parse_size(&write_size(Bytes(bytes))), Ok(Bytes(bytes)));
        }
        for micros in [0, 1, 10_000, 1_000_000, 90_000_000, u64::MAX] {
            assert_eq!(parse_time(&write_time(Span(micros))), Ok(Span(micros)));
        }
    }
}
