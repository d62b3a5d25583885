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
    /// The machine was too busy for a verdict, by the figure of what was measured beside it. No failure, and no pass.
    Disturbed,
    /// A figure without a target.
    Told,
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

    /// A time against its ceiling, unless what was measured beside it shows that this machine was not calm.
    pub(super) fn time_beside(
        &mut self,
        name: &'static str,
        what: &str,
        ours: Duration,
        theirs: Duration,
        ours_max: Duration,
        theirs_calm_max: Duration,
    ) {
        let verdict = if theirs > theirs_calm_max {
            Verdict::Disturbed
        } else if ours <= ours_max {
            Verdict::Pass
        } else {
            Verdict::Fail
        };
        self.time(name, what, ours, theirs, ours_max, verdict);
    }

    /// A time against its ceiling, where other work on the machine makes it longer and never shorter.
    pub(super) fn time_unless_busy(
        &mut self,
        name: &'static str,
        what: &str,
        ours: Duration,
        theirs: Duration,
        ours_max: Duration,
        is_busy: bool,
    ) {
        let verdict = match (ours <= ours_max, is_busy) {
            (true, _) => Verdict::Pass,
            (false, true) => Verdict::Disturbed,
            (false, false) => Verdict::Fail,
        };
        self.time(name, what, ours, theirs, ours_max, verdict);
    }

    fn time(
        &mut self,
        name: &'static str,
        what: &str,
        ours: Duration,
        theirs: Duration,
        ours_max: Duration,
        verdict: Verdict,
    ) {
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: in_millis(ours),
            beside: in_millis(theirs),
            figure: in_millis(ours),
            target: format!("≤ {ours_max:?}"),
            verdict,
        });
    }

    /// How much longer we took than what was measured beside us.
    pub(super) fn beyond(
        &mut self,
        name: &'static str,
        what: &str,
        ours: Duration,
        theirs: Duration,
        beyond_max: Duration,
    ) {
        let beyond = ours.saturating_sub(theirs);
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: in_millis(ours),
            beside: in_millis(theirs),
            figure: format!("+ {}", in_millis(beyond)),
            target: format!("≤ + {beyond_max:?}"),
            verdict: if beyond <= beyond_max {
                Verdict::Pass
            } else {
                Verdict::Fail
            },
        });
    }

    /// A piece of work against its ceiling: how long it took, and how much of the processors. Where it took too long only for
    /// want of processors, of which it can use `threads` at once, this machine was not calm.
    pub(super) fn work(
        &mut self,
        name: &'static str,
        what: &str,
        wall: Duration,
        cpu: Duration,
        threads: u32,
        wall_max: Duration,
    ) {
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: format!("{:.1} s", wall.as_secs_f64()),
            beside: format!("{:.1} s of a processor", cpu.as_secs_f64()),
            figure: format!("{:.1} s", wall.as_secs_f64()),
            target: format!("≤ {wall_max:?}"),
            verdict: if wall <= wall_max {
                Verdict::Pass
            } else if cpu <= wall_max * threads {
                Verdict::Disturbed
            } else {
                Verdict::Fail
            },
        });
    }

    /// A time that no target is about.
    pub(super) fn told(&mut self, name: &'static str, what: &str, ours: Duration, theirs: Duration) {
        self.rows.push(Row {
            name,
            what: what.to_owned(),
            measured: in_millis(ours),
            beside: in_millis(theirs),
            figure: in_millis(ours),
            target: String::new(),
            verdict: Verdict::Told,
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

    /// Takes back the verdict of a row, whatever it was, and says why.
    pub(super) fn disturb(&mut self, name: &str, why: &str) {
        for row in self.rows.iter_mut().filter(|row| row.name == name) {
            row.verdict = Verdict::Disturbed;
        }
        self.note(format!("{name}: disturbed: {why}"));
    }

    /// Drops the rows that are not wanted. What was said about them stays.
    pub(super) fn keep_rows(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.rows.retain(|row| is_wanted(row.name));
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
                Verdict::Disturbed => "disturbed",
                Verdict::Told => "no target",
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

/// A time as a number of milliseconds.
pub(super) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn in_millis(span: Duration) -> String {
    if span < Duration::from_millis(1) {
        format!("{:.1} µs", millis(span) * 1e3)
    } else {
        format!("{:.1} ms", millis(span))
    }
}

/// Bytes for people.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(super) fn mebi(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Report {
        Report {
            machine: "a machine".to_owned(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_busy_machine_gives_no_verdict_and_a_calm_one_does() {
        let of = |ours, theirs| {
            let (ours, theirs) = (Duration::from_millis(ours), Duration::from_millis(theirs));
            let (ours_max, calm_max) = (Duration::from_millis(20), Duration::from_millis(15));
            let mut report = empty();
            report.time_beside("reaction-p99", "x", ours, theirs, ours_max, calm_max);
            (report.render(), report.all_met())
        };
        let (text, met) = of(21, 16);
        assert!(text.contains("| disturbed |") && met, "{text}");
        let (text, met) = of(21, 15);
        assert!(text.contains("| FAIL |") && !met, "{text}");
        let (text, met) = of(20, 15);
        assert!(text.contains("| PASS |") && met, "{text}");
        // A figure that would pass is no pass either where the machine was busy.
        assert!(of(12, 16).0.contains("| disturbed |"));
    }

    #[test]
    fn what_is_quick_enough_on_a_busy_machine_is_quick_enough() {
        let verdict = |ours, is_busy| {
            let micros = Duration::from_micros;
            let mut report = empty();
            report.time_unless_busy("step", "x", micros(ours), micros(5), micros(25), is_busy);
            report.render()
        };
        assert!(verdict(25, true).contains("| 25.0 µs | ≤ 25µs | PASS |"));
        assert!(verdict(26, true).contains("| disturbed |"));
        assert!(verdict(26, false).contains("| FAIL |"));
    }

    #[test]
    fn work_that_had_to_wait_for_processors_has_no_verdict_and_too_much_work_has() {
        let verdict = |wall, cpu, threads| {
            let mut report = empty();
            let seconds = Duration::from_secs;
            report.work(
                "fleet-engine",
                "x",
                seconds(wall),
                seconds(cpu),
                threads,
                seconds(60),
            );
            report.render()
        };
        assert!(verdict(60, 120, 2).contains("| PASS |"));
        assert!(verdict(61, 120, 2).contains("| disturbed |"));
        assert!(verdict(61, 121, 2).contains("| FAIL |"));
        assert!(verdict(61, 61, 1).contains("| FAIL |"));
    }

    #[test]
    fn a_verdict_that_is_taken_back_is_neither_and_says_why() {
        let mut report = empty();
        report.ratio("guard-cgroups", "x", 4.0, 1.0, "µs", 3.0);
        assert!(!report.all_met());
        report.disturb("guard-cgroups", "the pace was another");
        let text = report.render();
        assert!(text.contains("| disturbed |") && text.contains("the pace was another"));
        assert!(report.all_met());
    }

    #[test]
    fn only_what_is_beyond_the_other_counts() {
        let verdict = |ours, theirs| {
            let mut report = empty();
            let millis = Duration::from_millis;
            report.beyond("reaction-thrash", "x", millis(ours), millis(theirs), millis(100));
            report.all_met()
        };
        assert!(verdict(300, 200) && verdict(10, 200));
        assert!(!verdict(301, 200));
    }
}
