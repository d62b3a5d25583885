//! Which sources something was made of, and when those were written: the commit's time, so that whoever makes it again gets the same.

use anyhow::{Context, Result};

use crate::shell;

/// The last second of 9999: what comes later has no name in RFC 3339.
const AT_MAX: u64 = 253_402_300_799;

/// The sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// The commit, marked where files differ from it; `None` for sources without their history.
    pub(crate) revision: Option<String>,
    /// Seconds since 1970.
    pub(crate) at: u64,
}

impl Provenance {
    /// Of this clone. `SOURCE_DATE_EPOCH` says another time (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub(crate) fn of_clone() -> Result<Self> {
        let said = std::env::var("SOURCE_DATE_EPOCH").ok();
        if !shell::succeeds(&mut shell::program("git", &["rev-parse", "HEAD"])) {
            let at = said.as_deref().unwrap_or("0");
            return Self::new(None, false, at);
        }
        let ask = |words: &[&str]| shell::output(&mut shell::program("git", words));
        let commit = ask(&["log", "-1", "--format=%H"])?;
        let is_changed = !ask(&["status", "--porcelain"])?.trim().is_empty();
        let at = match said {
            Some(at) => at,
            None => ask(&["log", "-1", "--format=%ct"])?,
        };
        Self::new(Some(&commit), is_changed, &at)
    }

    fn new(commit: Option<&str>, is_changed: bool, at: &str) -> Result<Self> {
        let mark = if is_changed { "-changed" } else { "" };
        let at = at.trim().parse().ok().filter(|at| *at <= AT_MAX);
        Ok(Self {
            revision: commit.map(|commit| format!("{}{mark}", commit.trim())),
            at: at.context("SOURCE_DATE_EPOCH is no number of seconds since 1970")?,
        })
    }

    /// The time in the words of RFC 3339.
    pub(crate) fn created(&self) -> String {
        let (days, seconds) = (self.at / 86_400, self.at % 86_400);
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The date so many days after 1970-01-01.
fn date_of(mut days: u64) -> (u64, usize, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    lengths[1] += u64::from(is_leap(year));
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // `date -u -d @SECONDS +%FT%TZ`
    #[test]
    fn times_are_written_as_date_does() {
        for (at, said) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("951782399", "2000-02-28T23:59:59Z"),
            ("951782400", "2000-02-29T00:00:00Z"),
            ("1735689599", "2024-12-31T23:59:59Z"),
            ("4107542400", "2100-03-01T00:00:00Z"),
        ] {
            let provenance = Provenance::new(None, false, at).expect("a number");
            assert_eq!(provenance.created(), said);
        }
        for wrong in ["yesterday", "", "-1", "18446744073709551615"] {
            assert!(Provenance::new(None, false, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_changed_since_is_no_commits() {
        let of = |is_changed| Provenance::new(Some("abc\n"), is_changed, "1\n").expect("a number");
        assert_eq!(of(false).revision.as_deref(), Some("abc"));
        assert_eq!(of(true).revision.as_deref(), Some("abc-changed"));
    }
}
