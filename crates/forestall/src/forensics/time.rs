//! When something was, as far as a log tells it.
//!
//! It invents nothing: a year or a zone that no line says is not shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forestall_kernel::kmsg::{Calendar, When};
use rustix::time::{ClockId, clock_gettime};

use crate::log::time::rfc3339;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What the wall clock read when the kernel's log clock read 0, microseconds since 1970. The log's clock is near to the monotonic one and
/// not the same, so that what follows from it is said with an "about".
pub(crate) fn zero_of_log_clock() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let monotonic = clock_gettime(ClockId::Monotonic);
    let passed = monotonic
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(monotonic.tv_nsec / 1000);
    i64::try_from(now.as_micros())
        .unwrap_or(i64::MAX)
        .saturating_sub(passed)
}

/// For people; `zero_micros` is that of [`zero_of_log_clock`] where the log is this machine's.
pub(crate) fn written(when: &When, zero_micros: Option<i64>) -> String {
    if let (Some(zero), Some(micros)) = (zero_micros, when.micros) {
        let at = zero.saturating_add_unsigned(micros);
        return format!("about {}", date(at));
    }
    match (&when.calendar, when.micros) {
        (Some(calendar), _) => of_calendar(calendar),
        (None, Some(micros)) => since_boot(micros),
        (None, None) => "no line says when".to_owned(),
    }
}

/// The same in little room.
pub(crate) fn short(when: &When, zero_micros: Option<i64>) -> String {
    match (when, zero_micros) {
        (
            When {
                micros: Some(micros),
                calendar: None,
                ..
            },
            None,
        ) => format!("{}.{:03}", micros / 1_000_000, micros / 1000 % 1000),
        (
            When {
                micros: None,
                calendar: None,
                ..
            },
            _,
        ) => "-".to_owned(),
        _ => written(when, zero_micros).trim_start_matches("about ").to_owned(),
    }
}

/// Microseconds since 1970, where that is known.
pub(crate) fn unix_micros(when: &When, zero_micros: Option<i64>) -> Option<i64> {
    if let (Some(zero), Some(micros)) = (zero_micros, when.micros) {
        return Some(zero.saturating_add_unsigned(micros));
    }
    let calendar = when
        .calendar
        .filter(|calendar| calendar.year.is_some() && calendar.offset_minutes.is_some());
    calendar?.unix_micros(0, 0)
}

pub(crate) fn date(unix_micros: i64) -> String {
    let since = Duration::from_micros(u64::try_from(unix_micros).unwrap_or(0));
    let text = rfc3339(UNIX_EPOCH + since);
    // Down to the second: the log's clock is no better.
    format!("{}Z", text.get(..19).unwrap_or(&text).replace('T', " "))
}

fn of_calendar(calendar: &Calendar) -> String {
    let Calendar {
        day,
        hour,
        minute,
        second,
        ..
    } = calendar;
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    let Some(year) = calendar.year else {
        let month = MONTHS
            .get(usize::from(calendar.month.saturating_sub(1)))
            .copied()
            .unwrap_or("?");
        return format!("{month} {day:2} {clock}");
    };
    let zone = calendar.offset_minutes.map_or_else(String::new, |minutes| {
        let sign = if minutes < 0 { '-' } else { '+' };
        match minutes.unsigned_abs() {
            0 => "Z".to_owned(),
            minutes => format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60),
        }
    });
    format!("{year:04}-{:02}-{day:02} {clock}{zone}", calendar.month)
}

fn since_boot(micros: u64) -> String {
    let (seconds, millis) = (micros / 1_000_000, micros / 1000 % 1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let about = match (days, hours, minutes) {
        (0, 0, 0) => String::new(),
        (0, 0, _) => format!(" ({minutes} min)"),
        (0, ..) => format!(" ({hours} h {minutes} min)"),
        _ => format!(" ({days} d {hours} h)"),
    };
    format!("{seconds}.{millis:03} s after boot{about}")
}

#[cfg(test)]
mod tests {
    use forestall_kernel::kmsg::Line;

    use super::*;

    fn when(line: &str) -> When {
        Line::of_text(line.as_bytes()).when
    }

    #[test]
    fn a_time_is_told_as_the_line_tells_it() {
        for (line, told) in [
            ("Feb  2 08:18:28 host kernel: x", "Feb  2 08:18:28"),
            ("[Wed Dec  6 23:54:11 2017] x", "2017-12-06 23:54:11"),
            (
                "2024-05-01T12:00:00.5-05:30 host kernel: x",
                "2024-05-01 12:00:00-05:30",
            ),
            ("2024-05-01T12:00:00Z host kernel: x", "2024-05-01 12:00:00Z"),
            ("[5193605.506728] x", "5193605.506 s after boot (60 d 2 h)"),
            ("[   13.957383] x", "13.957 s after boot"),
            ("x", "no line says when"),
        ] {
            assert_eq!(written(&when(line), None), told, "{line}");
        }
        assert_eq!(short(&when("[5193605.506728] x"), None), "5193605.506");
        assert_eq!(short(&when("x"), None), "-");
    }

    #[test]
    fn only_what_has_a_year_and_a_zone_is_a_moment() {
        // date -u -d 2024-05-01T12:00:00-05:30 +%s
        let exact = when("2024-05-01T12:00:00-05:30 host kernel: x");
        assert_eq!(unix_micros(&exact, None), Some(1_714_584_600_000_000));
        assert_eq!(unix_micros(&when("Feb  2 08:18:28 host kernel: x"), None), None);
        assert_eq!(unix_micros(&when("[    2.5] x"), None), None);
        let zero = 1_714_584_600_000_000;
        assert_eq!(
            unix_micros(&when("[    2.5] x"), Some(zero)),
            Some(zero + 2_500_000)
        );
        assert_eq!(
            written(&when("[    2.5] x"), Some(zero)),
            "about 2024-05-01 17:30:02Z"
        );
    }
}
