//! A run of named steps: each is announced, timed and summed up at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What ran so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
    unmet: Vec<String>,
}

struct Step {
    name: String,
    took: Duration,
    passed: bool,
}

impl Steps {
    /// Runs one step and says whether it passed. A failure is printed and kept; whether the next step still makes sense is
    /// the caller's business.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        println!("--- {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let seconds = took.as_secs_f64();
        match &result {
            Ok(()) => println!("--- {name}: done after {seconds:.1} s"),
            Err(error) => println!("--- {name}: FAILED after {seconds:.1} s: {error:#}"),
        }
        let passed = result.is_ok();
        let name = name.to_owned();
        self.done.push(Step { name, took, passed });
        passed
    }

    /// Notes something that this machine does not allow to be checked. It is named again at the end.
    pub(crate) fn unmet(&mut self, what: String) {
        println!("--- not checked: {what}");
        self.unmet.push(what);
    }

    /// Says which step took how long, and fails if one failed.
    pub(crate) fn finish(self, title: &str) -> Result<()> {
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        println!("--- {title}: {:.1} s in all", total.as_secs_f64());
        for step in &self.done {
            let verdict = if step.passed { "passed" } else { "FAILED" };
            println!("{:>9.1} s  {verdict}  {}", step.took.as_secs_f64(), step.name);
        }
        for what in &self.unmet {
            println!("not checked: {what}");
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|step| !step.passed)
            .map(|step| step.name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("{title}: {} failed", failed.join(", "));
        }
        Ok(())
    }
}
