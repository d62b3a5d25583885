//! Wall-clock time as text: RFC 3339 in UTC. The engine knows no dates; only the log does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-21T07:36:33.120Z`.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    // A clock before 1970 is a broken clock; it is shown as the epoch.
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (secs, millis) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = civil_from_days(secs / 86_400);
    let (hour, minute, second) = clock(secs);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The same with microseconds, as Kubernetes writes its `MicroTime`.
pub(crate) fn rfc3339_micros(at: SystemTime) -> String {
    let micros = at
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .subsec_micros();
    let text = rfc3339(at);
    let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
    format!("{whole}.{micros:06}Z")
}

/// The same in whole seconds, as Kubernetes writes its `Time`.
pub(crate) fn rfc3339_seconds(at: SystemTime) -> String {
    let text = rfc3339(at);
    let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
    format!("{whole}Z")
}

/// Reads `2026-11-21T10:00:00Z` or the same with a fraction of seconds; microseconds since 1970.
pub(crate) fn parse_rfc3339(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (date, clock) = whole.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let secs = ((days_before(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second;
    let whole_micros = secs.checked_mul(1_000_000)?;
    // A day or an hour that does not exist is written back as another one.
    let back = rfc3339(UNIX_EPOCH + Duration::from_micros(whole_micros));
    back.starts_with(whole).then_some(())?;
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

/// `07:36:33`, for people who watch.
pub(crate) fn time_of_day(at: SystemTime) -> String {
    let secs = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (hour, minute, second) = clock(secs);
    format!("{hour:02}:{minute:02}:{second:02}")
}

fn clock(secs: u64) -> (u64, u64, u64) {
    (secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// Year, month and day of the day `days` after 1970-01-01, in the Gregorian calendar. Years are counted from March, so
/// that the leap day is the last one and every 400 years are alike.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // 0000-03-01 is 719 468 days before 1970-01-01.
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from GNU `date -u -d @N +%FT%TZ`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_795_246_593, "2026-11-21T07:36:33.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(secs)), text);
        }
        assert_eq!(
            time_of_day(UNIX_EPOCH + Duration::from_millis(1_795_246_593_999)),
            "07:36:33"
        );
    }

    /// Expected values from GNU `date -u -d DATE +%s`.
    #[test]
    fn dates_are_read_back_and_only_those_that_there_are() {
        for (text, secs) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
            ("2026-11-21T10:00:00Z", 1_795_255_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_rfc3339(text), Some(secs * 1_000_000), "{text}");
        }
        assert_eq!(
            parse_rfc3339("2026-11-21T10:00:00.25Z"),
            Some(1_795_255_200_250_000)
        );
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
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }
}
