//! The verdict: what was predicted beside what happened, run by run, and the errors in the middle.
use std::collections::BTreeMap;
use std::fmt::Write;

use super::fit::{error_permille, fit, median};
use super::halves::{Class, Half, class, halves};
use super::measured::{Clock, Measured};
use super::parameters::{KNOBS, Parameters};
use super::predict::predict;
use super::world::SWAP;
use crate::lab;

/// The median error may be this many thousandths of the run's length.
pub(crate) const ERROR_MAX_PERMILLE: u64 = 150;

/// All runs under one clock: fitted and judged.
pub(crate) struct Judgement {
    pub(crate) clock: Clock,
    pub(crate) parameters: Parameters,
    pub(crate) rows: Vec<Row>,
    /// Scenarios of the lab that have no row, and why.
    pub(crate) without_row: BTreeMap<String, &'static str>,
    /// Runs in which nobody ended, and of those the ones in which nobody was predicted to.
    pub(crate) calm: (usize, usize),
}

/// One run in which somebody ended.
pub(crate) struct Row {
    pub(crate) half: Half,
    pub(crate) class: Class,
    scenario: String,
    kernel: String,
    seed: u64,
    real_millis: u64,
    predicted_millis: Option<u64>,
    real_victim: String,
    predicted_victim: String,
    pub(crate) error_permille: u64,
}

impl Row {
    pub(crate) fn names_the_victim(&self) -> bool {
        self.real_victim == self.predicted_victim
    }
}

/// Fits one half of the runs under this clock and judges all of them. What only a trace tells is taken from the fitted half of
/// all runs: a machine's own needs do not depend on its clock.
pub(crate) fn judge(clock: Clock, runs: &[Measured]) -> Judgement {
    let halves = halves(runs);
    let half = |run: &Measured| halves.get(&run.plan.scenario).copied();
    let traced: Vec<&Measured> = runs.iter().filter(|run| half(run) == Some(Half::Fit)).collect();
    let mut fitted = traced.clone();
    fitted.retain(|run| run.clock == clock && run.first.is_some());
    let mut judgement = Judgement {
        clock,
        parameters: fit(&fitted, &traced),
        rows: Vec::new(),
        without_row: BTreeMap::new(),
        calm: (0, 0),
    };
    for run in runs.iter().filter(|run| run.clock == clock) {
        judgement.take(run, half(run).unwrap_or(Half::Judge));
    }
    let is_run = |name: &str| {
        runs.iter()
            .any(|run| run.clock == clock && run.plan.scenario == name)
    };
    for scenario in lab::scenario::ALL
        .iter()
        .filter(|scenario| !is_run(scenario.name))
    {
        // A plan of today's lab says whether it would have a world.
        let swaps = scenario.plan(1, &[], false).zram.is_some();
        let why = if swaps {
            SWAP
        } else {
            "no run of it under this clock is kept"
        };
        judgement.without_row.insert(scenario.name.to_owned(), why);
    }
    judgement
}

impl Judgement {
    fn take(&mut self, run: &Measured, half: Half) {
        let scenario = run.plan.scenario.clone();
        let predicted = match predict(run, &self.parameters) {
            Ok(predicted) => predicted,
            Err(why) => {
                self.without_row.insert(scenario, why.0);
                return;
            }
        };
        let Some(first) = &run.first else {
            self.calm.0 += 1;
            self.calm.1 += usize::from(predicted.is_none());
            return;
        };
        self.rows.push(Row {
            half,
            class: class(&run.plan),
            scenario,
            kernel: run.kernel.clone(),
            seed: run.plan.seed,
            real_millis: first.millis,
            predicted_millis: predicted.as_ref().map(|predicted| predicted.millis),
            real_victim: first.name.clone(),
            predicted_victim: predicted.map_or("nobody".to_owned(), |predicted| predicted.name),
            error_permille: error_permille(run, &self.parameters).unwrap_or(1000),
        });
    }

    /// The error in the middle of those rows, thousandths; nothing, where there are none.
    pub(crate) fn median_permille(&self, half: Half, class: Class) -> Option<u64> {
        let rows = self
            .rows
            .iter()
            .filter(|row| row.half == half && row.class == class);
        median(rows.map(|row| row.error_permille).collect())
    }

    /// Every class is judged, and its error in the middle is small enough.
    pub(crate) fn holds(&self) -> bool {
        Class::ALL.into_iter().all(|class| {
            self.median_permille(Half::Judge, class)
                .is_some_and(|error| error <= ERROR_MAX_PERMILLE)
        })
    }

    /// How many of the lab's scenarios are counted here, with a row or as calm.
    pub(crate) fn coverage(&self) -> (usize, usize) {
        let all = lab::scenario::ALL.iter().count();
        (all.saturating_sub(self.without_row.len()), all)
    }

    /// The medians, a line a class and half.
    pub(crate) fn medians(&self) -> String {
        let mut text =
            "| half | class | runs | median error | largest | victim named |\n|---|---|---|---|---|---|\n"
                .to_owned();
        for half in [Half::Judge, Half::Fit] {
            for class in Class::ALL {
                let rows: Vec<&Row> = self
                    .rows
                    .iter()
                    .filter(|row| row.half == half && row.class == class)
                    .collect();
                let named = rows.iter().filter(|row| row.names_the_victim()).count();
                let largest = rows.iter().map(|row| row.error_permille).max();
                let cell = |error: Option<u64>| error.map_or("–".to_owned(), percent);
                _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {named} of {} |",
                    half.word(),
                    class.word(),
                    rows.len(),
                    cell(self.median_permille(half, class)),
                    cell(largest),
                    rows.len(),
                );
            }
        }
        text
    }

    /// Every run, the judged ones first, the slowest class last.
    pub(crate) fn table(&self) -> String {
        let head =
            "| half | class | scenario | kernel | seed | real | predicted | error | victim | predicted |\n";
        let mut text = format!("{head}|---|---|---|---|---|---|---|---|---|---|\n");
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| {
            (
                row.half == Half::Fit,
                row.class,
                &row.scenario,
                &row.kernel,
                row.seed,
            )
        });
        for row in rows {
            let predicted = row.predicted_millis.map_or("never".to_owned(), seconds);
            let cells = [
                row.half.word(),
                row.class.word(),
                &format!("`{}`", row.scenario),
                &row.kernel,
                &row.seed.to_string(),
                &seconds(row.real_millis),
                &predicted,
                &percent(row.error_permille),
                &row.real_victim,
                &row.predicted_victim,
            ];
            _ = writeln!(text, "| {} |", cells.join(" | "));
        }
        text
    }

    /// What was fitted.
    pub(crate) fn fitted(&self) -> String {
        let mut text = "| parameter | value |\n|---|---|\n".to_owned();
        for (knob, value) in KNOBS.iter().zip(self.parameters.values) {
            let value = match (knob.unit, value) {
                ("MiB/s", Parameters::UNBOUND) => "no bound reached".to_owned(),
                (unit, value) => format!("{value} {unit}"),
            };
            _ = writeln!(text, "| {} | {value} |", knob.name);
        }
        let lay_out = self.parameters.lay_out.0 >> 20;
        _ = writeln!(text, "| laying a file out on the disk | {lay_out} MiB/s |");
        let kibi = |bytes: u64| format!("{} KiB", bytes >> 10);
        _ = writeln!(
            text,
            "| a process beside what it holds | {} |",
            kibi(self.parameters.process_bytes)
        );
        _ = writeln!(
            text,
            "| an agent that only watches | {} |",
            kibi(self.parameters.agent_bytes)
        );
        for (kernel, bytes) in &self.parameters.own_bytes {
            _ = writeln!(
                text,
                "| in use by the machine itself, kernel {kernel} | {} |",
                kibi(*bytes)
            );
        }
        text
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

fn percent(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}
