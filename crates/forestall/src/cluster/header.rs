//! What the headers of an answer say of time: when something may be tried again (`Retry-After`), and what the server's clock shows (`Date`).
//!
//! The server's clock is compared with ours and never used in its place: no decision knows it. When pods were told, and since when one is going, is read from this
//! machine's own monotonic clock (`news.rs`), and of a deletion's time only that it is there (`slim.rs`). What it refuses to do: read a date in any other form than
//! the one that servers have to send.
//!
//! Source: RFC 9110, 5.6.7 (dates), 6.6.1 (`Date`), 10.2.3 (`Retry-After`). Go's HTTP server, which the API server is made of, sends `Date` with every answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::{DATE, HeaderName, RETRY_AFTER};

/// Who asks for more is taken at its word for so long; whoever waits has a bound of its own, which is less.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A `Date` has whole seconds: what it says was true for one.
const DATE_STEP: Duration = Duration::from_secs(1);

/// From this on it is worth a word. Clocks that anything keeps agree within a fraction of a second, and a slow answer widens the bounds and not the skew; while at
/// five seconds this agent's log and Kubernetes' Events cannot be put side by side any more. What breaks comes later: a token is refused a minute too early
/// (the leeway of go-jose), a certificate where its time has not begun.
const TOLD_FROM: Duration = Duration::from_secs(5);

/// How far the server's clock is from ours, at least: as little as explains what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skew {
    /// Milliseconds by which it is ahead; behind, where negative.
    pub(crate) millis: i64,
}

impl Skew {
    /// By an answer whose head came between these two moments of our clock; `None` where it has no date.
    pub(super) fn read(headers: &HeaderMap, asked: SystemTime, answered: SystemTime) -> Option<Self> {
        let date = http_date(text(headers, DATE)?)?;
        // It was written at some moment between, and has cut off up to a second.
        let ahead = date.duration_since(answered).unwrap_or_default();
        let behind = asked.duration_since(date + DATE_STEP).unwrap_or_default();
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Some(Self {
            millis: millis(ahead) - millis(behind),
        })
    }

    /// Whether it is worth a word.
    pub(crate) fn is_large(self) -> bool {
        u128::from(self.millis.unsigned_abs()) >= TOLD_FROM.as_millis()
    }
}

/// After how long it may be tried again. What is neither a count of seconds nor a date says nothing, and what is more than can be counted is very long.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    let after = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        // By the clock of whoever wrote it, where that is known.
        let now = text(headers, DATE).and_then(http_date).unwrap_or(now);
        http_date(value)?.duration_since(now).unwrap_or_default()
    };
    Some(after.min(RETRY_AFTER_MAX))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (IMF-fixdate); the day of the week is not looked at.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let number = |text: &str, digits: usize, max: u64| {
        let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number: &u64| is_number && *number <= max)
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year) = (number(day, 2, 31)?, number(year, 4, 9_999)?);
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = parts[..] else {
        return None;
    };
    let (hour, minute, second) = (
        number(hour, 2, 23)?,
        number(minute, 2, 59)?,
        number(second, 2, 60)?,
    );
    // Years from March, so that the leap day is the last one (as in `log/time.rs`, the other way round).
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let month_from_march = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month_from_march + 2) / 5 + day;
    // 0000-03-01 is 719 468 days before 1970-01-01.
    let days = days.checked_sub(1 + 719_468)?;
    Some(UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOV_1994: u64 = 784_111_777;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a header")))
            .collect()
    }

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    /// Expected values from GNU `date -u -d "…" +%s`.
    #[test]
    fn a_date_is_read_in_the_form_that_servers_send() {
        for (text, secs) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", NOV_1994),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
            ("Tue, 31 Dec 2024 23:59:59 GMT", 1_735_689_599),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ] {
            assert_eq!(http_date(text), Some(at(secs * 1_000)), "{text}");
        }
        for text in [
            "",
            "1994-11-06T08:49:37Z",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nix 1994 08:49:37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sat, 01 Jan 0000 00:00:00 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn when_to_try_again_is_seconds_or_a_date_and_never_without_end() {
        let after = |pairs: &[(HeaderName, &str)]| {
            retry_after(&headers(pairs), at(NOV_1994 * 1_000)).map(|after| after.as_secs())
        };
        let of = |value: &str| after(&[(RETRY_AFTER, value)]);
        assert_eq!(after(&[]), None);
        assert_eq!((of("7"), of(" 0 "), of("120")), (Some(7), Some(0), Some(120)));
        for endless in [
            "18446744073709551615",
            "18446744073709551616",
            "9".repeat(400).as_str(),
        ] {
            assert_eq!(of(endless), Some(3_600), "{endless}");
        }
        for none in ["", "-1", "+5", "1.5", "soon", "7s", "0x7", "Sun, 06 Nov 1994"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(of("Fri, 31 Dec 9999 23:59:59 GMT"), Some(3_600));
        // A server whose clock is an hour ahead means the same half minute.
        let ahead = [
            (DATE, "Sun, 06 Nov 1994 09:49:37 GMT"),
            (RETRY_AFTER, "Sun, 06 Nov 1994 09:50:07 GMT"),
        ];
        assert_eq!(after(&ahead), Some(30));
    }

    #[test]
    fn a_skew_is_as_little_as_explains_the_date_of_an_answer() {
        let skew = |date: &str, asked: u64, answered: u64| {
            Skew::read(&headers(&[(DATE, date)]), at(asked), at(answered)).map(|skew| skew.millis)
        };
        let (date, then) = ("Sun, 06 Nov 1994 08:49:37 GMT", NOV_1994 * 1_000);
        // Within the second that the date stands for, and however slow the answer was.
        assert_eq!(skew(date, then, then + 10), Some(0));
        assert_eq!(skew(date, then + 990, then + 999), Some(0));
        assert_eq!(skew(date, then - 9_000, then + 9_000), Some(0));
        // Ahead by what it is later than the answer's end, behind by what a second more is earlier than its beginning.
        assert_eq!(skew(date, then - 7_010, then - 7_000), Some(7_000));
        assert_eq!(skew(date, then + 8_000, then + 8_500), Some(-7_000));
        assert_eq!(skew("soon", then, then), None);
        assert_eq!(Skew::read(&headers(&[]), at(then), at(then)), None);
        let large = [4_999, 5_000, -4_999, -5_000].map(|millis| Skew { millis }.is_large());
        assert_eq!(large, [false, true, false, true]);
    }
}
