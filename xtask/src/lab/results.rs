//! The outcome of a lab: a table for people, and a file for everybody else, written after every run.
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::Hierarchy;
use serde::{Deserialize, Serialize};

use super::verdict::{Story, Verdict};
use super::{kernels, scenario};

/// The version of the file's format. It changes when a field changes its meaning or goes away.
pub(crate) const VERSION: u32 = 2;

/// Everything that one call of the lab found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) version: u32,
    pub(crate) kernels: Vec<KernelUsed>,
    /// Kernels that could not be had, and why. They do not fail the lab.
    pub(crate) skipped: Vec<Skipped>,
    /// Guests that did not come up at the first try, or came to stand still.
    pub(crate) guests_retried: u32,
    pub(crate) runs: Vec<Run>,
}

/// A kernel that was used.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelUsed {
    pub(crate) name: String,
    /// The version of its Debian package.
    pub(crate) package_version: String,
}

/// Something that was left out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) kernel: String,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    pub(crate) memory_mib: u32,
    pub(crate) with_agent: bool,
    /// The commit that the agent was built from; nothing where it did not run.
    #[serde(default)]
    pub(crate) commit: Option<String>,
    pub(crate) verdict: Verdict,
    pub(crate) story: Story,
}

impl Results {
    /// Nothing yet.
    pub(crate) const fn empty() -> Self {
        Self {
            version: VERSION,
            kernels: vec![],
            skipped: vec![],
            guests_retried: 0,
            runs: vec![],
        }
    }

    /// What an earlier call has left at `path`; nothing where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::empty()),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let results: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is no result of the lab", path.display()))?;
        if results.version != VERSION {
            bail!(
                "{} has version {}, and this lab writes {VERSION}; move it away",
                path.display(),
                results.version
            );
        }
        Ok(results)
    }

    /// Notes a kernel that is used, once.
    pub(crate) fn use_kernel(&mut self, name: &str, package_version: &str) {
        let used = KernelUsed {
            name: name.to_owned(),
            package_version: package_version.to_owned(),
        };
        if !self.kernels.contains(&used) {
            self.kernels.push(used);
        }
    }

    /// Notes something left out, once.
    pub(crate) fn skip(&mut self, what: String, why: String) {
        let skipped = Skipped { what, why };
        if !self.skipped.contains(&skipped) {
            self.skipped.push(skipped);
        }
    }

    /// Takes a run in; the same run of another build gives way to it.
    pub(crate) fn take(&mut self, run: Run) {
        self.runs.retain(|other| other.key() != run.key());
        self.runs.push(run);
        self.runs.sort_by_key(Run::key);
    }
    /// Whether every verdict holds.
    pub(crate) fn hold(&self) -> bool {
        self.runs.iter().all(|run| run.verdict.holds)
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the results as JSON")?;
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// The table, a line a run.
    pub(crate) fn table(&self) -> String {
        let header = [
            "KERNEL", "SCENARIO", "SEED", "AGENT", "VERDICT", "BOOT", "FIRST", "GAP", "OUTCOME",
        ];
        let mut rows: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
        rows.extend(self.runs.iter().map(Run::row));
        let widths: Vec<usize> = (0..header.len())
            .map(|column| {
                rows.iter()
                    .filter_map(|row| row.get(column))
                    .map(String::len)
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut table = String::new();
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}", width = *width))
                .collect();
            table.push_str(cells.join("  ").trim_end());
            table.push('\n');
        }
        table
    }

    /// One line that sums it up.
    pub(crate) fn summary(&self) -> String {
        let failed = self.runs.iter().filter(|run| !run.verdict.holds).count();
        let mut line = format!(
            "lab: {} runs, {failed} failed, {} guests tried again",
            self.runs.len(),
            self.guests_retried
        );
        for skipped in &self.skipped {
            line.push_str("\nlab: skipped ");
            line.push_str(&skipped.what);
            line.push_str(": ");
            line.push_str(&skipped.why);
        }
        line
    }
}

impl Run {
    /// What makes it another run: kernel in the lab's order, hierarchy, scenario in the lab's order, seed, memory, agent.
    fn key(&self) -> (usize, bool, usize, u64, u32, bool) {
        let kernel = kernels::ALL.iter().position(|kernel| kernel.name == self.kernel);
        let scenario = scenario::ALL
            .iter()
            .position(|scenario| scenario.name == self.scenario);
        (
            kernel.unwrap_or(usize::MAX),
            self.hierarchy == Hierarchy::V1,
            scenario.unwrap_or(usize::MAX),
            self.seed,
            self.memory_mib,
            self.with_agent,
        )
    }
    fn row(&self) -> Vec<String> {
        let seconds = |millis: u64| format!("{}.{}s", millis / 1000, millis % 1000 / 100);
        vec![
            match self.hierarchy {
                Hierarchy::V2 => self.kernel.clone(),
                Hierarchy::V1 => format!("{} v1", self.kernel),
            },
            self.scenario.clone(),
            self.seed.to_string(),
            if self.with_agent { "with" } else { "without" }.to_owned(),
            if self.verdict.holds { "ok" } else { "FAILED" }.to_owned(),
            seconds(self.story.boot_millis),
            self.story.first_death_millis.map_or("-".to_owned(), seconds),
            self.story
                .agent_gap_millis
                .map_or("-".to_owned(), |millis| format!("{millis}ms")),
            self.verdict.outcome.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_verdict_fails_the_lab_and_shows_in_the_table() {
        let run = |holds| Run {
            kernel: "6.1".into(),
            hierarchy: Hierarchy::V2,
            scenario: "leak-container".into(),
            seed: 3,
            memory_mib: 1024,
            with_agent: true,
            commit: None,
            verdict: Verdict {
                holds,
                outcome: "agent ended leaker".into(),
            },
            story: Story {
                boot_millis: 2150,
                first_death_millis: Some(12_345),
                ..Story::default()
            },
        };
        let mut results = Results {
            version: VERSION,
            kernels: vec![],
            skipped: vec![],
            guests_retried: 0,
            runs: vec![run(true)],
        };
        assert!(results.hold());
        results.runs.push(run(false));
        assert!(!results.hold());
        let table = results.table();
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("FAILED   2.1s  12.3s"), "{table}");
    }
}
