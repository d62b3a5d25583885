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
}
