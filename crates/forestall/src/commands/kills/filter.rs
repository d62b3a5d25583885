//! Which kills are asked for.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::commands::trace::source::{When, parse_when};
use crate::ledger::Entry;

/// Arguments that choose.
#[derive(Args, Clone, Debug)]
pub(super) struct Filter {
    /// Only kills since then: 10m or 2h ago, or 2026-11-22T14:30:00Z
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
    let now = SystemTime::now();
    let at = match parse_when(text)? {
        When::After(ago) => now.checked_sub(Duration::from_micros(ago.0)),
        When::At(unix_micros) => UNIX_EPOCH.checked_add(Duration::from_micros(unix_micros)),
    };
    Ok(at.unwrap_or(UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_or_so_long_ago() {
        // Expected by `date -u -d TEXT +%s`.
        for (text, secs) in [
            ("2026-11-21T07:36:33Z", 1_795_246_593),
            ("2000-02-29T00:00:00Z", 951_782_400),
        ] {
            let at = parse_since(text).expect("a date");
            assert_eq!(at, UNIX_EPOCH + Duration::from_secs(secs), "{text}");
        }
        let before = SystemTime::now() - Duration::from_mins(10);
        assert!(parse_since("10m").expect("a time") >= before);
        for wrong in ["", "ten", "2026-11-21", "2026-11-21T07:36:33+01:00", "10", "-5m"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }
}
