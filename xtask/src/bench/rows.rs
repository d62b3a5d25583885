//! Which rows there are, and which of them are asked for. Rows that are measured together are measured together, whichever
//! of them is asked for.

use anyhow::{Result, bail};

/// Rows that come out of one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measurement {
    Idle,
    Guard,
    Look,
    Log,
    Step,
    Reaction,
    Request,
    Stall,
    Thrash,
    Fleet,
    Replay,
}

/// Every row, in the order of the table.
const ALL: [(&str, Measurement); 21] = [
    ("binary-size", Measurement::Idle),
    ("rss", Measurement::Idle),
    ("rss-peak", Measurement::Idle),
    ("idle-cpu", Measurement::Idle),
    ("guard-cgroups", Measurement::Guard),
    ("look-files", Measurement::Look),
    ("log-scan", Measurement::Log),
    ("log-grep", Measurement::Log),
    ("step", Measurement::Step),
    ("step-changed-p99", Measurement::Step),
    ("reaction", Measurement::Reaction),
    ("reaction-p99", Measurement::Reaction),
    ("reaction-longest", Measurement::Reaction),
    ("evict-request", Measurement::Request),
    ("reaction-psi", Measurement::Stall),
    ("reaction-thrash", Measurement::Thrash),
    ("fleet-kubelet", Measurement::Fleet),
    ("fleet-engine", Measurement::Fleet),
    ("fleet-linear", Measurement::Fleet),
    ("fleet-rss", Measurement::Fleet),
    ("replay-day", Measurement::Replay),
];

/// What a run is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Keep the figures.
    pub(super) write: bool,
    /// Only these; `None` is all.
    only: Option<Vec<&'static str>>,
}

impl Wanted {
    /// Reads the command line. A part of the rows is never kept: the file would lose the others.
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let mut wanted = Self {
            write: false,
            only: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), &wanted.only) {
                ("--write", _) => wanted.write = true,
                ("--only", None) => {
                    let names = arguments.next().map(String::as_str).unwrap_or_default();
                    wanted.only = Some(names.split(',').map(row_named).collect::<Result<_>>()?);
                }
                _ => bail!("{}", super::USAGE),
            }
        }
        if wanted.write && wanted.only.is_some() {
            bail!("--write keeps every row, and --only measures some: leave one of them out");
        }
        Ok(wanted)
    }

    /// Whether this row is to be shown.
    pub(super) fn shows(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&row))
    }

    /// Whether a row that is to be shown comes out of this.
    pub(super) fn measures(&self, measurement: Measurement) -> bool {
        ALL.iter()
            .any(|(row, from)| *from == measurement && self.shows(row))
    }
}

impl Wanted {
    /// Whether anything is asked for that the shipped binary has to be built for.
    pub(super) fn measures_the_binary(&self) -> bool {
        ALL.iter()
            .any(|(row, from)| !matches!(from, Measurement::Fleet | Measurement::Step) && self.shows(row))
    }
}

fn row_named(name: &str) -> Result<&'static str> {
    let names = ALL.map(|(row, _)| row);
    match names.into_iter().find(|row| *row == name) {
        Some(row) => Ok(row),
        None => bail!("no row is called {name:?}; there are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Wanted> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Wanted::parse(&words)
    }

    #[test]
    fn everything_is_measured_unless_rows_are_named() {
        let wanted = parse(&["--write"]).unwrap();
        assert!(wanted.write);
        for (row, measurement) in ALL {
            assert!(wanted.shows(row) && wanted.measures(measurement), "{row}");
        }
    }

    #[test]
    fn what_a_named_row_comes_from_is_measured_and_nothing_else() {
        let wanted = parse(&["--only", "reaction-thrash,rss"]).unwrap();
        assert!(wanted.measures(Measurement::Thrash) && wanted.measures(Measurement::Idle));
        assert!(!wanted.measures(Measurement::Reaction) && !wanted.measures(Measurement::Guard));
        assert!(wanted.shows("rss") && !wanted.shows("idle-cpu"));
        assert!(wanted.measures_the_binary());
        assert!(
            !parse(&["--only", "fleet-engine,step"])
                .unwrap()
                .measures_the_binary()
        );
    }

    #[test]
    fn a_part_is_never_kept_and_an_unknown_row_is_refused() {
        assert!(parse(&["--write", "--only", "rss"]).is_err());
        assert!(parse(&["--only", "rss", "--write"]).is_err());
        assert!(parse(&["--only", "speed"]).is_err());
        assert!(parse(&["--only"]).is_err());
        assert!(parse(&["--only", "rss", "--only", "reaction"]).is_err());
        assert!(parse(&["fast"]).is_err());
    }
}
