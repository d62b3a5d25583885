//! The figures of one run: printed as a table, and kept in docs/benchmarks.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::shell;

/// Where `--write` keeps them.
const KEPT: &str = "docs/benchmarks/latest.md";

struct Row {
    name: &'static str,
    what: String,
    measured: String,
    beside: String,
    figure: String,
    target: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    /// This machine does not allow it to be measured. No failure, and no pass.
    Unmet,
}

/// The rows so far.
pub(super) struct Report {
    machine: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// An empty one that says which machine it is about.
    pub(super) fn of_this_machine() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("no /proc here")?;
        let cpus = std::thread::available_parallelism()?;
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or(": unknown processor");
        let model = model.trim_start_matches(['\t', ' ', ':']);
        let commit = shell::output(&mut shell::program("git", &["rev-parse", "--short", "HEAD"]))?;
        let machine = format!(
            "{cpus} × {model}, Linux {}, commit {}",
            release.trim(),
            commit.trim()
        );
        Ok(Self {
            machine,
            rows: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// A size against its ceiling, bytes.
    pub(super) fn size(&mut self, name: &'static str, what: &str, bytes: u64, bytes_max: u64) {
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: mebi(bytes),
            beside: String::new(),
            figure: mebi(bytes),
            target: format!("≤ {}", mebi(bytes_max)),
            verdict: if bytes <= bytes_max {
                Verdict::Pass
            } else {
                Verdict::Fail
            },
        });
    }

    /// A time against its ceiling.
    pub(super) fn time(&mut self, name: &'static str, what: &str, took: Duration, took_max: Duration) {
        let measured = format!("{took:.1?}");
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: measured.clone(),
            beside: String::new(),
            figure: measured,
            target: format!("≤ {took_max:?}"),
            verdict: if took <= took_max {
                Verdict::Pass
            } else {
                Verdict::Fail
            },
        });
    }

    /// What we used against what another used, in the same unit.
    pub(super) fn ratio(
        &mut self,
        name: &'static str,
        what: &str,
        ours: f64,
        theirs: f64,
        unit: &str,
        ratio_max: f64,
    ) {
        let ratio = ours / theirs;
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: format!("{ours:.4} {unit}"),
            beside: format!("{theirs:.4} {unit}"),
            figure: format!("{ratio:.2} ×"),
            target: format!("≤ {ratio_max} ×"),
            // A ratio to nothing is not finite, and no pass.
            verdict: if ratio.is_finite() && ratio <= ratio_max {
                Verdict::Pass
            } else {
                Verdict::Fail
            },
        });
    }

    /// Something that cannot be measured here, and why.
    pub(super) fn unmet(&mut self, name: &'static str, why: &str) {
        self.rows.push(Row {
            name,
            what: format!("not measured: {}", why.replace(['\n', '|'], " ")),
            measured: String::new(),
            beside: String::new(),
            figure: String::new(),
            target: String::new(),
            verdict: Verdict::Unmet,
        });
    }

    /// A sentence that belongs to the figures.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Whether nothing that was measured missed its target.
    pub(super) fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.verdict != Verdict::Fail)
    }

    /// As Markdown.
    pub(super) fn render(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        text.push_str("| row | what | measured | beside it | figure | target | verdict |\n|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let verdict = match row.verdict {
                Verdict::Pass => "PASS",
                Verdict::Fail => "FAIL",
                Verdict::Unmet => "not measured",
            };
            let Row {
                name,
                what,
                measured,
                beside,
                figure,
                target,
                ..
            } = row;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| `{name}` | {what} | {measured} | {beside} | {figure} | {target} | {verdict} |"
            );
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// Keeps the figures.
    pub(super) fn write(&self) -> Result<()> {
        let path = shell::root().join(KEPT);
        let head = "# Benchmarks\n\nWritten by `cargo xtask bench --write`. A ratio is to what was measured beside it in the \
                    same run.\n\n";
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, format!("{head}{}", self.render()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written to {KEPT}");
        Ok(())
    }
}

/// Bytes for people.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(super) fn mebi(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
