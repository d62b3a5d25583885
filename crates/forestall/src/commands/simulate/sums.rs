//! Many runs for people: the sums of each variant over all seeds, and what was broken where.
//!
//! Each run is added as it ends and then forgotten, so that ten million of them take no more memory than five.

use std::fmt::Write as _;

use super::source::Source;
use super::{Run, table};

/// More than so many runs are summed up.
pub(super) const EACH_MAX: u64 = 4;
/// So many lines say what was broken.
const LINES_MAX: usize = 1000;

/// What all runs came to.
#[derive(Debug, Default)]
pub(super) struct Sums {
    variants: Vec<Variant>,
    broken: u64,
    lines: Vec<String>,
    lines_left_out: u64,
}

#[derive(Debug)]
struct Variant {
    name: &'static str,
    runs: u64,
    evictions: u64,
    kernel_kills: u64,
    agent_kills: u64,
    innocent: u64,
    nodes_lost: u64,
    added_deaths: Option<u64>,
}

impl Sums {
    /// One more run.
    pub(super) fn add(&mut self, run: &Run) {
        let place = self.variants.iter().position(|known| known.name == run.variant);
        let place = place.unwrap_or(self.variants.len());
        if place == self.variants.len() {
            self.variants.push(Variant {
                name: run.variant,
                runs: 0,
                evictions: 0,
                kernel_kills: 0,
                agent_kills: 0,
                innocent: 0,
                nodes_lost: 0,
                added_deaths: None,
            });
        }
        let tally = &run.report.tally;
        if let Some(sum) = self.variants.get_mut(place) {
            sum.runs += 1;
            sum.evictions += tally.evictions;
            sum.kernel_kills += tally.kernel_kills_all();
            sum.agent_kills += tally.agent_kills;
            sum.innocent += tally.innocent;
            sum.nodes_lost += tally.nodes_lost;
            if let Some(added) = run.added_deaths {
                *sum.added_deaths.get_or_insert(0) += added;
            }
        }
        self.broken += run.report.violations.len() as u64;
        for line in table::broken_lines(run) {
            if self.lines.len() < LINES_MAX {
                self.lines.push(line);
            } else {
                self.lines_left_out += 1;
            }
        }
    }

    /// A rule was broken in some run.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken > 0
    }

    /// The text, whole.
    pub(super) fn render(&self, source: &Source, checked: bool) -> String {
        let mut out = table::head(source);
        let is_compared = self.variants.iter().any(|sum| sum.added_deaths.is_some());
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{:<12}{:>7}{:>12}{:>14}{:>13}{:>10}{:>12}",
            "", "runs", "evictions", "kernel kills", "agent kills", "innocent", "nodes lost"
        );
        out.push_str(if is_compared {
            "  deaths that agents add\n"
        } else {
            "\n"
        });
        for sum in &self.variants {
            let _ = write!(
                out,
                "{:<12}{:>7}{:>12}{:>14}{:>13}{:>10}{:>12}",
                sum.name,
                sum.runs,
                sum.evictions,
                sum.kernel_kills,
                sum.agent_kills,
                sum.innocent,
                sum.nodes_lost
            );
            if is_compared {
                let added = sum
                    .added_deaths
                    .map_or_else(|| "-".to_owned(), |added| added.to_string());
                let _ = write!(out, "{added:>24}");
            }
            out.push('\n');
        }
        if checked {
            let _ = writeln!(out, "{}", table::how_often(self.broken));
            for line in &self.lines {
                let _ = writeln!(out, "{line}");
            }
            if self.lines_left_out > 0 {
                let _ = writeln!(out, "and {} more lines", self.lines_left_out);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use forestall_decide::{Moment, Preset};
    use forestall_sim::{Curves, Otherwise, Report, Tally, Violation};

    use super::*;

    #[test]
    fn of_many_runs_the_sums_stay_and_the_first_thousand_lines() {
        let violation = |rule| Violation {
            at: Moment(0),
            node: 0,
            rule,
            what: "so it is".to_owned(),
        };
        let tally = |innocent| {
            let mut tally = Tally::default();
            tally.innocent += innocent;
            tally
        };
        let mut sums = Sums::default();
        for (seed, variant) in (0..600).flat_map(|seed| [(seed, "no agent"), (seed, "agent")]) {
            sums.add(&Run {
                seed,
                variant,
                mode: None,
                added_deaths: (variant == "agent").then_some(2),
                report: Report {
                    tally: tally(seed),
                    events: Vec::new(),
                    events_left_out: forestall_sim::LeftOut::default(),
                    foretellings: forestall_sim::Foretellings::default(),
                    violations: vec![violation("sight")],
                    otherwise: vec![Otherwise {
                        preset: Preset::Gist,
                        times: 1,
                        first: violation("modesty"),
                    }],
                    curves: Curves::default(),
                },
            });
        }
        assert!(sums.is_broken());
        let said = sums.render(&Source::Random, true);
        let row = |name: &str| {
            let row = said.lines().find(|line| line.starts_with(name));
            row.map(|row| {
                row.split_whitespace()
                    .rev()
                    .take(7)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
        };
        // 0 + 1 + … + 599.
        let sum = |added: &str| {
            let sum = [added, "0", "179700", "0", "0", "0", "600"];
            Some(sum.map(str::to_owned).to_vec())
        };
        assert_eq!(row("no agent"), sum("-"));
        assert_eq!(row("agent"), sum("1200"));
        assert!(
            said.contains("broken 1200 times") && said.ends_with("and 1400 more lines\n"),
            "{said}"
        );
        // Two lines of each run, the last kept ones those of seed 249.
        assert_eq!(
            said.lines().filter(|line| line.starts_with("seed ")).count(),
            LINES_MAX
        );
        assert!(said.contains("seed 249: sight at") && !said.contains("seed 250: "));
    }
}
