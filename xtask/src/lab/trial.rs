//! The trial of rights (`--try rights`): which pressure triggers and which of the agent's rights each set of rights has on
//! each kernel. It tells what is, as a table and as `target/lab/rights.json`; it judges nothing.
use std::fs;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{self, Hierarchy, Plan};
use forestall_lab_init::report::{PressureFile, Report};
use forestall_lab_init::rights::Rights;
use serde::Serialize;

use super::draw::Dice;
use super::guest::{self, Parts};
use super::kernels::Image;
use super::options::Options;
use super::{cast, job};

/// The version of the file's format.
const VERSION: u32 = 2;

/// What every kernel allowed.
#[derive(Debug, Serialize)]
pub(crate) struct Trials {
    version: u32,
    hierarchy: Hierarchy,
    /// Guests that did not come up at the first try, or came to stand still.
    guests_retried: u32,
    kernels: Vec<Trial>,
}

/// What one kernel allowed.
#[derive(Debug, Serialize)]
struct Trial {
    kernel: String,
    /// `uname -r`, as the guest says it.
    release: String,
    /// The version of its Debian package.
    package_version: String,
    /// The guest came up and tried everything.
    complete: bool,
    /// Its reports of kinds `triggers`, `right` and `unable`.
    reports: Vec<Report>,
}

/// Tries on every kernel, one guest after the other, and writes the file.
pub(crate) fn run(parts: &Parts, images: &[Image], options: &Options) -> Result<Trials> {
    let mut kernels = Vec::new();
    let mut guests_retried = 0;
    for (index, image) in images.iter().enumerate() {
        let label = format!("{}-rights", image.kernel.name);
        eprintln!("lab: [{}/{}] {label}", index + 1, images.len());
        let plan = empty_node(options.hierarchy);
        let (outcome, retried) = job::boot(&label, || {
            guest::run(parts, image, &plan, options.memory_mib, &label)
        })?;
        guests_retried += u32::from(retried);
        kernels.push(Trial::of(image, outcome.reports));
    }
    let trials = Trials {
        version: VERSION,
        hierarchy: options.hierarchy,
        guests_retried,
        kernels,
    };
    let path = parts.folder.join("rights.json");
    let text = serde_json::to_vec_pretty(&trials).context("the trials as JSON")?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    eprintln!("lab: results in {}", path.display());
    Ok(trials)
}

/// An empty node: there is nothing to draw.
fn empty_node(hierarchy: Hierarchy) -> Plan {
    let mut plan = cast::node(&mut Dice::new(1, "rights"), "rights", 1);
    plan.agent = None;
    plan.hierarchy = hierarchy;
    plan.trial = Some(plan::Trial::Rights);
    plan
}

impl Trial {
    fn of(image: &Image, reports: Vec<Report>) -> Self {
        let release = reports.iter().find_map(|report| match report {
            Report::Booted { kernel, .. } => Some(kernel.clone()),
            _ => None,
        });
        let complete = reports
            .iter()
            .any(|report| matches!(report, Report::Ended { .. }));
        let tells = |report: &Report| {
            matches!(
                report,
                Report::Triggers { .. } | Report::Right { .. } | Report::Unable { .. }
            )
        };
        Self {
            kernel: image.kernel.name.to_owned(),
            release: release.unwrap_or_default(),
            package_version: image.version.clone(),
            complete,
            reports: reports.into_iter().filter(tells).collect(),
        }
    }

    /// What these rights may arm on this file, in a table's few words.
    fn windows(&self, of: Rights, on: PressureFile) -> String {
        self.reports
            .iter()
            .find_map(|report| match report {
                Report::Triggers {
                    rights,
                    file,
                    windows_micros,
                    why_not,
                } if (*rights, *file) == (of, on) => {
                    Some(why_not.clone().unwrap_or_else(|| in_seconds(windows_micros)))
                }
                _ => None,
            })
            .unwrap_or_else(|| "?".to_owned())
    }

    /// The agent's rights that these rights are not enough for.
    fn lacks(&self, of: Rights) -> Vec<&str> {
        self.reports
            .iter()
            .filter_map(|report| match report {
                Report::Right {
                    rights,
                    name,
                    works: false,
                    ..
                } if *rights == of => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }
}

/// Windows of microseconds as seconds: `0.5 1 2`.
fn in_seconds(windows_micros: &[u32]) -> String {
    let words: Vec<String> = windows_micros
        .iter()
        .map(|micros| match micros % 1_000_000 {
            0 => (micros / 1_000_000).to_string(),
            rest => format!("{}.{}", micros / 1_000_000, rest / 100_000),
        })
        .collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(" ")
    }
}

impl Trials {
    /// Whether every kernel tried everything.
    pub(crate) fn complete(&self) -> bool {
        self.kernels.iter().all(|trial| trial.complete)
    }

    /// Two tables: the windows, seconds, that may be armed on each file; and the agent's rights that do not work.
    pub(crate) fn table(&self) -> String {
        let files = [
            ("/proc/pressure/memory", PressureFile::Machine),
            ("root cgroup", PressureFile::RootCgroup),
            ("kubepods", PressureFile::ChildCgroup),
            ("given to uid 65534", PressureFile::LentCgroup),
        ];
        let head = |words: &[&str]| format!("| {} |\n|{}\n", words.join(" | "), "---|".repeat(words.len()));
        let mut table = head(&["kernel", "rights", files[0].0, files[1].0, files[2].0, files[3].0]);
        let mut missing = head(&["kernel", "rights", "does not work"]);
        for trial in &self.kernels {
            for rights in Rights::ALL {
                let who = format!("| {} | {} | ", trial.release, rights.label());
                let windows = files.map(|(_, file)| trial.windows(rights, file));
                let cells = [
                    (&mut table, windows.join(" | ")),
                    (&mut missing, trial.lacks(rights).join(", ")),
                ];
                for (rows, cell) in cells {
                    rows.push_str(&who);
                    rows.push_str(&cell);
                    rows.push_str(" |\n");
                }
            }
        }
        format!("{table}\n{missing}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_shown_in_seconds() {
        assert_eq!(in_seconds(&[500_000, 1_000_000, 10_000_000]), "0.5 1 10");
        assert_eq!(in_seconds(&[]), "none");
    }

    #[test]
    fn a_table_shows_what_was_tried_and_marks_what_was_not() {
        let trial = Trial {
            kernel: "6.1".into(),
            release: "6.1.0".into(),
            package_version: "6.1-1".into(),
            complete: false,
            reports: vec![
                Report::Triggers {
                    rights: Rights::Bare,
                    file: PressureFile::Machine,
                    windows_micros: vec![],
                    why_not: Some("denied".into()),
                },
                Report::Right {
                    rights: Rights::Bare,
                    name: "sysrq".into(),
                    works: false,
                    errno: None,
                    cost: String::new(),
                },
            ],
        };
        let trials = Trials {
            version: VERSION,
            hierarchy: Hierarchy::V2,
            guests_retried: 0,
            kernels: vec![trial],
        };
        let table = trials.table();
        assert!(
            table.contains("| 6.1.0 | uid 0, none | denied | ? | ? | ? |"),
            "{table}"
        );
        assert!(table.contains("| 6.1.0 | uid 0, none | sysrq |"), "{table}");
        assert!(!trials.complete());
    }
}
