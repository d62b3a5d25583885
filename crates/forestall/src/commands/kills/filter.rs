//! Which kills are asked for.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use forestall_kernel::kmsg::Calendar;

use crate::config::quantity::parse_time;
use crate::ledger::Entry;

/// Arguments that choose.
#[derive(Args, Clone, Debug)]
pub(super) struct Filter {
    /// Only kills since then: 10m or 2h ago, or 2026-11-22T14:30:00Z; a date without a time is its beginning, and all is UTC
    #[arg(long, value_name = "DURATION|TIME", value_parser = parse_since, conflicts_with = "log")]
    since: Option<SystemTime>,
    /// Only kills of pods of this namespace
    #[arg(short = 'n', long, value_name = "NS", conflicts_with = "log")]
    namespace: Option<String>,
    /// Only the last so many reports
    #[arg(short = 'N', long, value_name = "COUNT", conflicts_with = "log")]
    last: Option<usize>,
}

impl Filter {
    /// Anything is left out.
    pub(super) const fn is_set(&self) -> bool {
        self.since.is_some() || self.namespace.is_some() || self.last.is_some()
    }

    /// Whether this one is asked for, but for how many there are.
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let is_named = |namespace: &String| entry.homes.iter().any(|home| home.namespace == *namespace);
        self.since.is_none_or(|since| entry.at() >= since) && self.namespace.as_ref().is_none_or(is_named)
    }

    /// Those that are asked for.
    pub(super) fn choose<'a>(&self, entries: &'a [Entry]) -> VecDeque<&'a Entry> {
        let mut chosen: VecDeque<&Entry> = entries.iter().filter(|entry| self.takes(entry)).collect();
        if let Some(last) = self.last {
            chosen.drain(..chosen.len().saturating_sub(last));
        }
        chosen
    }
}

/// A time ago, or a date.
fn parse_since(text: &str) -> Result<SystemTime, String> {
    if let Some(date) = parse_date(text) {
        return Ok(date);
    }
    let ago = parse_time(text).map_err(|why| format!("{why}, or a date such as 2026-11-22T14:30:00Z"))?;
    let ago = Duration::from_micros(ago.0);
    Ok(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH))
}

/// `2026-11-22`, and a time behind a `T` or a space, down to the minute or second.
fn parse_date(text: &str) -> Option<SystemTime> {
    let text = text.trim().trim_end_matches('Z');
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, number(parts.next()?)?, number(parts.next()?)?);
    let mut clock = time.split(':');
    let (hour, minute) = (number(clock.next()?)?, number(clock.next()?)?);
    let second = clock.next().map_or(Some(0), number)?;
    let is_over = parts.next().is_none() && clock.next().is_none();
    let is_time = hour < 24 && minute < 60 && second < 60;
    let is_date = year.len() == 4 && (1..=12).contains(&month) && (1..=31).contains(&day);
    let calendar = Calendar {
        year: Some(year.parse().ok().filter(|_| is_date && is_time && is_over)?),
        month,
        day,
        hour,
        minute,
        second,
        micros: 0,
        offset_minutes: Some(0),
    };
    let micros = u64::try_from(calendar.unix_micros(0, 0)?).ok()?;
    Some(UNIX_EPOCH + Duration::from_micros(micros))
}

fn number(digits: &str) -> Option<u8> {
    let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_so_long_ago() {
        // Expected by `date -u -d TEXT +%s`.
        for (text, secs) in [
            ("2026-11-21T07:36:33Z", 1_795_246_593),
            ("2026-11-21 07:36", 1_795_246_560),
            ("2000-02-29", 951_782_400),
        ] {
            let at = parse_since(text).expect("a date");
            assert_eq!(at, UNIX_EPOCH + Duration::from_secs(secs), "{text}");
        }
        let before = SystemTime::now() - Duration::from_mins(10);
        assert!(parse_since("10m").expect("a time") >= before);
        for wrong in [
            "",
            "ten",
            "2026-13-01",
            "2026-11-21T25:00",
            "2026-11-21T07:36:33+01:00",
            "10",
            "-5m",
        ] {
            let said = parse_since(wrong).expect_err("refused");
            assert!(said.contains("or a date such as"), "{wrong}: {said}");
        }
    }
}
