//! A run of named steps: each is announced, timed and summed up at the end. The first failure ends the run, because what
//! follows would only bury it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What ran so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
    unmet: Vec<String>,
}

impl Steps {
    /// Runs one step.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("--- {name}");
        let start = Instant::now();
        let result = work().with_context(|| format!("step `{name}`"));
        let took = start.elapsed();
        self.done.push((name.to_owned(), took));
        println!(
            "--- {name}: {} after {:.1} s",
            if result.is_ok() { "done" } else { "FAILED" },
            took.as_secs_f64()
        );
        result
    }

    /// Notes something that this machine does not allow to be checked. It is named again at the end.
    pub(crate) fn unmet(&mut self, what: String) {
        println!("--- not checked: {what}");
        self.unmet.push(what);
    }

    /// Says which step took how long.
    pub(crate) fn summary(&self, title: &str) {
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("--- {title}: {:.1} s in all", total.as_secs_f64());
        for (name, took) in &self.done {
            println!("{:>9.1} s  {name}", took.as_secs_f64());
        }
        for what in &self.unmet {
            println!("not checked: {what}");
        }
    }
}
