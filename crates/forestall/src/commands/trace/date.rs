//! Dates of a trace: RFC 3339 in UTC, both ways.

use std::time::{Duration, UNIX_EPOCH};

use crate::log::time::rfc3339;

/// A date for people and programs, from microseconds since 1970.
pub(crate) fn write_date(unix_micros: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_micros(unix_micros))
}

/// Reads `2026-11-21T10:00:00Z` or the same with a fraction of seconds; microseconds since 1970.
pub(crate) fn parse_date(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (date, clock) = whole.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let secs = ((days_before(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second;
    let whole_micros = secs.checked_mul(1_000_000)?;
    // A day or an hour that does not exist is written back as another one.
    write_date(whole_micros).starts_with(whole).then_some(())?;
    if fraction.len() > 6 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let padded = format!("{fraction:0<6}");
    whole_micros.checked_add(padded.parse().ok()?)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse::<u64>().ok());
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Days from 1970-01-01; the years are counted from March, so that the leap day is the last one.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = (month + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + day - 1;
    // 0000-03-01 is 719 468 days before 1970-01-01.
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from GNU `date -u -d DATE +%s`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, secs) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
            ("2026-11-21T10:00:00Z", 1_795_255_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_date(text), Some(secs * 1_000_000), "{text}");
        }
        assert_eq!(parse_date("2026-11-21T10:00:00.25Z"), Some(1_795_255_200_250_000));
        for wrong in [
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T10:00:00",
            "2026-11-21",
            "2026-11-21T10:00:00.1234567Z",
            "2026-1-2T10:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }
}
