//! The dates of log lines: `Feb 20 08:18:28`, `Wed Dec  6 23:54:11 2017`, `2024-05-01T12:00:00.5+02:00`.
//!
//! It invents nothing: a year or an offset from UTC that a line does not say is not there.

use crate::parse::Cursor;

/// A date and time as a line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The year, where the line says it: syslog's classic form does not.
    pub year: Option<u16>,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// Microseconds.
    pub micros: u32,
    /// Minutes east of UTC, where the line says it: most forms are in the local time of who wrote them.
    pub offset_minutes: Option<i16>,
}

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

impl Calendar {
    /// Microseconds since 1970 in UTC, with the year and offset that the line does not say. `None` where there is no such date.
    pub fn unix_micros(&self, year_unsaid: u16, offset_minutes_unsaid: i16) -> Option<i64> {
        let year = i64::from(self.year.unwrap_or(year_unsaid));
        let days = days_since_1970(year, i64::from(self.month), i64::from(self.day))?;
        let minutes = (days * 24 + i64::from(self.hour)) * 60 + i64::from(self.minute)
            - i64::from(self.offset_minutes.unwrap_or(offset_minutes_unsaid));
        Some((minutes * 60 + i64::from(self.second)) * 1_000_000 + i64::from(self.micros))
    }

    /// `Feb 20 08:18:28` with or without a fraction: syslog and journalctl.
    pub(crate) fn syslog(line: &mut Cursor<'_>) -> Option<Self> {
        let mut ahead = *line;
        let (month, day) = month_and_day(&mut ahead)?;
        ahead.blanks();
        let (hour, minute, second, micros) = time(&mut ahead)?;
        *line = ahead;
        Some(Self {
            year: None,
            month,
            day,
            hour,
            minute,
            second,
            micros,
            offset_minutes: None,
        })
    }

    /// `E1122 12:00:00.123456`: how grave, month and day, as klog has it.
    pub(crate) fn klog(line: &mut Cursor<'_>) -> Option<Self> {
        let mut ahead = *line;
        ahead.take_any(b"IWEF")?;
        let month = ranged(ahead.fixed_digits(2)?, 1, 12)?;
        let day = ranged(ahead.fixed_digits(2)?, 1, 31)?;
        ahead.take(b" ")?;
        let (hour, minute, second, micros) = time(&mut ahead)?;
        *line = ahead;
        Some(Self {
            year: None,
            month,
            day,
            hour,
            minute,
            second,
            micros,
            offset_minutes: None,
        })
    }

    /// Passes over a date like syslog's whose month is in another language, `Mai 01 12:00:00` or ` 5月 01 12:00:00`: journalctl goes by the
    /// locale. Which day it was is not known.
    pub(crate) fn pass_foreign(line: &mut Cursor<'_>) -> Option<()> {
        const MONTH_BYTES_MAX: usize = 24;
        let mut ahead = *line;
        ahead.blanks();
        let month = ahead.word();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.' || !byte.is_ascii();
        let is_digits = month.iter().all(u8::is_ascii_digit);
        if month.len() > MONTH_BYTES_MAX || is_digits || !month.iter().all(is_name) {
            return None;
        }
        ahead.take(b" ")?;
        ahead.blanks();
        ranged(ahead.digits()?, 1, 31)?;
        ahead.take(b" ")?;
        time(&mut ahead)?;
        *line = ahead;
        Some(())
    }

    /// `Wed Dec  6 23:54:11 2017`: `dmesg -T`.
    pub(crate) fn ctime(line: &mut Cursor<'_>) -> Option<Self> {
        let mut ahead = *line;
        weekday(&mut ahead)?;
        ahead.take(b" ")?;
        let mut found = Self::syslog(&mut ahead)?;
        ahead.take(b" ")?;
        found.year = Some(u16::try_from(ahead.fixed_digits(4)?).ok()?);
        *line = ahead;
        Some(found)
    }

    /// `2024-05-01T12:00:00.5+02:00`, `2024-05-01 12:00:00`, `Wed 2024-05-01 12:00:00 UTC`: rsyslog, dmesg, journalctl, talosctl.
    #[inline(never)]
    pub(crate) fn iso(line: &mut Cursor<'_>) -> Option<Self> {
        let mut ahead = *line;
        if weekday(&mut ahead).is_some() {
            ahead.take(b" ")?;
        }
        let year = u16::try_from(ahead.fixed_digits(4)?).ok()?;
        ahead.take(b"-")?;
        let month = ranged(ahead.fixed_digits(2)?, 1, 12)?;
        ahead.take(b"-")?;
        let day = ranged(ahead.fixed_digits(2)?, 1, 31)?;
        ahead.take_any(b"T ")?;
        let (hour, minute, second, micros) = time(&mut ahead)?;
        let offset_minutes = offset(&mut ahead);
        *line = ahead;
        Some(Self {
            year: Some(year),
            month,
            day,
            hour,
            minute,
            second,
            micros,
            offset_minutes,
        })
    }
}

fn weekday(line: &mut Cursor<'_>) -> Option<()> {
    WEEKDAYS.iter().find_map(|name| line.take(name))
}

fn month_and_day(line: &mut Cursor<'_>) -> Option<(u8, u8)> {
    let month = (1_u8..)
        .zip(MONTHS)
        .find_map(|(month, name)| line.take(name).map(|()| month))?;
    line.take(b" ")?;
    line.blanks();
    Some((month, ranged(line.digits()?, 1, 31)?))
}

fn time(line: &mut Cursor<'_>) -> Option<(u8, u8, u8, u32)> {
    let hour = ranged(line.fixed_digits(2)?, 0, 23)?;
    line.take(b":")?;
    let minute = ranged(line.fixed_digits(2)?, 0, 59)?;
    line.take(b":")?;
    let second = ranged(line.fixed_digits(2)?, 0, 60)?;
    Some((hour, minute, second, fraction(line)))
}

/// `.913975631` or `,913975` in microseconds; 0 where there is none.
pub(crate) fn fraction(line: &mut Cursor<'_>) -> u32 {
    let mut ahead = *line;
    if ahead.take_any(b".,").is_none() {
        return 0;
    }
    let digits = ahead.take_while(|byte| byte.is_ascii_digit());
    if digits.is_empty() {
        return 0;
    }
    *line = ahead;
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    padded.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

/// `Z`, `+02:00`, `-0500` or ` UTC`.
fn offset(line: &mut Cursor<'_>) -> Option<i16> {
    let mut ahead = *line;
    if ahead.take(b"Z").or_else(|| ahead.take(b" UTC")).is_some() {
        *line = ahead;
        return Some(0);
    }
    let sign = if ahead.take_any(b"+-")? == b'-' { -1 } else { 1 };
    let hours = i16::try_from(ahead.fixed_digits(2)?).ok()?;
    ahead.take(b":").unwrap_or_default();
    let minutes = i16::try_from(ahead.fixed_digits(2)?).ok()?;
    *line = ahead;
    Some(sign * (hours * 60 + minutes))
}

fn ranged(value: u64, low: u8, high: u8) -> Option<u8> {
    u8::try_from(value)
        .ok()
        .filter(|value| (low..=high).contains(value))
}

/// Days from 1970-01-01 in the Gregorian calendar, by counting years from March on, so that a leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between the 1st of March of year 0 and 1970.
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(parse: fn(&mut Cursor<'_>) -> Option<Calendar>, text: &str) -> Option<i64> {
        parse(&mut Cursor::new(text.as_bytes()))?.unix_micros(2024, 60)
    }

    #[test]
    fn each_form_is_the_moment_that_date_gives() {
        // Expected by `date -u -d … +%s`; what says no offset is an hour east, and no year is 2024.
        assert_eq!(
            micros(Calendar::ctime, "Wed Dec  6 23:54:11 2017] java"),
            Some((1_512_604_451 - 3600) * 1_000_000)
        );
        assert_eq!(
            micros(Calendar::syslog, "Feb 20 08:18:28 host kernel:"),
            Some((1_708_417_108 - 3600) * 1_000_000)
        );
        assert_eq!(
            micros(Calendar::iso, "2026-01-12T20:27:31.913975631Z]: x"),
            Some(1_768_249_651_913_975)
        );
        assert_eq!(
            micros(Calendar::iso, "2024-02-29T23:59:60,5-05:30 x"),
            Some(1_709_270_999_500_000 + 1_000_000)
        );
        assert_eq!(micros(Calendar::iso, "Thu 1970-01-01 00:00:00 UTC host"), Some(0));
    }

    #[test]
    fn no_such_date_is_none() {
        assert_eq!(micros(Calendar::syslog, "Feb 30 08:18:28"), None);
        assert_eq!(micros(Calendar::iso, "2023-02-29T00:00:00Z"), None);
        for text in [
            "Foo 20 08:18:28",
            "Feb 20 24:18:28",
            "Feb 20 08:18",
            "Feb20 08:18:28",
        ] {
            assert_eq!(micros(Calendar::syslog, text), None, "{text}");
        }
    }

    #[test]
    fn a_zone_that_is_only_named_is_not_guessed() {
        let mut line = Cursor::new(b"2024-05-01 12:00:00 CEST host kernel: x");
        let found = Calendar::iso(&mut line).expect("a date");
        assert_eq!(
            (found.offset_minutes, line.rest()),
            (None, &b" CEST host kernel: x"[..])
        );
    }
}
