//! The answer for people: what it is, a table of figures, the time line of a single run, and broken rules. Many runs are summed up
//! one by one in `sums`.

use std::fmt::Write as _;

use forestall_decide::{AlarmVerdict, Span, WallKind};
use forestall_sim::{RULES, Tally, World};

use super::Run;
use super::foretold;
use super::source::Source;
use super::timeline::{left_out, of_mode, otherwise, passed_over_lines, seconds, sentence};
use crate::log::escape;

/// One row of the table: its name, and the figure of one run.
pub(super) type Row = (&'static str, fn(&Tally) -> String);

fn killed(tally: &Tally, wall: WallKind) -> String {
    tally.kernel_kills.get(&wall).copied().unwrap_or(0).to_string()
}

fn scored(tally: &Tally, verdict: AlarmVerdict) -> String {
    tally.verdicts.get(&verdict).copied().unwrap_or(0).to_string()
}

fn duration(span: Option<Span>) -> String {
    span.map_or_else(|| "-".to_owned(), |span| span.to_string())
}

pub(super) const ROWS: [Row; 21] = [
    ("evictions by the kubelet", |tally| tally.evictions.to_string()),
    ("  for page cache alone", |tally| {
        tally.evictions_for_cache.to_string()
    }),
    ("kernel kills, machine", |tally| killed(tally, WallKind::Kernel)),
    ("kernel kills, kubepods", |tally| {
        killed(tally, WallKind::Kubepods)
    }),
    ("kernel kills, pod limit", |tally| killed(tally, WallKind::Pod)),
    ("kernel kills, container limit", |tally| {
        killed(tally, WallKind::Container)
    }),
    ("kills by agents", |tally| tally.agent_kills.to_string()),
    ("evictions by agents", |tally| tally.agent_evictions.to_string()),
    ("reclaims by agents", |tally| tally.reclaims.to_string()),
    ("innocent deaths", |tally| tally.innocent.to_string()),
    ("  by agents", |tally| tally.innocent_by_agent.to_string()),
    ("nodes with deaths", |tally| tally.nodes_hit.to_string()),
    ("nodes lost", |tally| tally.nodes_lost.to_string()),
    ("pods without a place", |tally| tally.pending.to_string()),
    ("first to last death", |tally| {
        duration(tally.first_death.map(|_| tally.lasted()))
    }),
    ("alarms", |tally| tally.alarms.to_string()),
    ("  true", |tally| scored(tally, AlarmVerdict::True)),
    ("  false", |tally| scored(tally, AlarmVerdict::False)),
    ("  overtaken", |tally| scored(tally, AlarmVerdict::Intervened)),
    ("deaths without alarm", |tally| {
        let missed = tally.deaths_without_alarm();
        missed.map_or_else(|| "-".to_owned(), |missed| missed.to_string())
    }),
    ("lead of alarms, median", |tally| duration(tally.lead_median())),
];

/// The text, whole.
pub(super) fn render(source: &Source, world: &World, runs: &[Run], checked: bool) -> String {
    let mut out = head(source);
    table(&mut out, runs);
    for run in runs {
        if let Some(said) = of_mode(run.mode) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}, seed {}: {said}", run.variant, run.seed);
        }
    }
    for run in runs {
        foretold::lines(&mut out, world, run);
    }
    for run in runs {
        line_of_time(&mut out, run);
    }
    if checked {
        let broken = runs.iter().map(|run| run.report.violations.len() as u64).sum();
        let _ = writeln!(out, "{}", how_often(broken));
        for line in runs.iter().flat_map(broken_lines) {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

/// What it is.
pub(super) fn head(source: &Source) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}", escape::text(source.title()));
    if let Some(scenario) = source.scenario() {
        for (head, lines) in [
            ("reproduces", &scenario.reproduces),
            ("does not hold", &scenario.does_not_hold),
        ] {
            for line in lines {
                let _ = writeln!(out, "  {head}: {}", escape::text(line.trim()));
            }
        }
    }
    out.push('\n');
    out
}

/// What only a comparison can tell: how many more died than without agents, kind by kind.
pub(super) const ADDED: &str = "deaths that agents add";

/// That figure.
pub(super) fn added(run: &Run) -> String {
    run.added_deaths
        .map_or_else(|| "-".to_owned(), |added| added.to_string())
}

fn table(out: &mut String, runs: &[Run]) {
    let _ = write!(out, "{:<32}", "");
    for run in runs {
        let _ = write!(out, "{:>18}", format!("{}, {}", run.variant, run.seed));
    }
    out.push('\n');
    for (name, figure) in ROWS {
        let _ = write!(out, "{name:<32}");
        for run in runs {
            let _ = write!(out, "{:>18}", figure(&run.report.tally));
        }
        out.push('\n');
    }
    if runs.iter().any(|run| run.added_deaths.is_some()) {
        let _ = write!(out, "{ADDED:<32}");
        for run in runs {
            let _ = write!(out, "{:>18}", added(run));
        }
        out.push('\n');
    }
}

fn line_of_time(out: &mut String, run: &Run) {
    let _ = writeln!(out, "\n{}, seed {}:", run.variant, run.seed);
    for event in &run.report.events {
        let _ = writeln!(
            out,
            "{:>12}  node {:<4} {}",
            seconds(event.at),
            event.node,
            sentence(event)
        );
        for line in passed_over_lines(event) {
            let _ = writeln!(out, "{:>23}{line}", "");
        }
    }
    if let Some(more) = left_out(&run.report.events_left_out) {
        let _ = writeln!(out, "{:>12}  and {more}", "");
    }
}

/// How often rules were broken in all.
pub(super) fn how_often(broken: u64) -> String {
    format!("\n{} rules checked, broken {broken} times", RULES.len())
}

/// What was broken in a run, and what a preset did otherwise, a line each.
pub(super) fn broken_lines(run: &Run) -> impl Iterator<Item = String> {
    let seed = run.seed;
    let others = run.report.otherwise.iter();
    let others = others.map(move |it| format!("seed {seed}: {}", otherwise(it)));
    let violations = run.report.violations.iter().map(move |violation| {
        format!(
            "seed {seed}: {} at {} on node {}: {}",
            violation.rule,
            seconds(violation.at),
            violation.node,
            escape::message(&violation.what)
        )
    });
    others.chain(violations)
}
