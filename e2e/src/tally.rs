//! What a run came to: how often each scenario held, and how long it took. Times are told, and judge nothing.
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::course::{self, Course};

/// Scenarios in the order in which they first ran.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
    courses: Vec<(&'static str, Course)>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    held: Vec<Duration>,
    failed: u32,
}

impl Tally {
    /// Runs a scenario once; whether it failed.
    pub(crate) fn note(&mut self, name: &'static str, run: impl FnOnce() -> Result<()>) -> bool {
        let began = Instant::now();
        let result = run();
        let took = began.elapsed();
        let row = self.row(name);
        match result {
            Ok(()) => {
                row.held.push(took);
                eprintln!("e2e: {name}: held, {:.1} s", took.as_secs_f64());
                false
            }
            Err(error) => {
                row.failed += 1;
                eprintln!("e2e: {name}: FAILED after {:.1} s: {error:#}", took.as_secs_f64());
                true
            }
        }
    }

    /// Keeps how long something took in it.
    pub(crate) fn tell(&mut self, name: &'static str, courses: Vec<Course>) {
        self.courses
            .extend(courses.into_iter().map(|course| (name, course)));
    }

    fn row(&mut self, name: &'static str) -> &mut Row {
        let index = self
            .rows
            .iter()
            .position(|row| row.name == name)
            .unwrap_or(self.rows.len());
        if index == self.rows.len() {
            self.rows.push(Row {
                name,
                held: Vec::new(),
                failed: 0,
            });
        }
        &mut self.rows[index]
    }

    /// Says it; an error where one failed.
    pub(crate) fn finish(&self) -> Result<()> {
        for line in self.lines() {
            println!("{line}");
        }
        if !self.courses.is_empty() {
            println!(
                "\n| scenario | who | {} |\n|{}",
                course::HEAD,
                "---|".repeat(course::COLUMNS + 2)
            );
        }
        for (name, course) in &self.courses {
            println!("| {name} | {} | {course} |", course.who);
        }
        let failed: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.failed > 0)
            .map(|row| row.name)
            .collect();
        if !failed.is_empty() {
            bail!("{} failed", failed.join(", "));
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let line = |row: &Row| {
            let (mut held, seconds) = (row.held.clone(), Duration::as_secs_f64);
            held.sort();
            let times = match (held.first(), held.get(held.len() / 2), held.last()) {
                (Some(least), Some(middle), Some(most)) => {
                    let [least, middle, most] = [least, middle, most].map(seconds);
                    format!("; {least:.1} to {most:.1} s, median {middle:.1}")
                }
                _ => String::new(),
            };
            let times_run = held.len() + row.failed as usize;
            format!("{:16}  held {} of {times_run}{times}", row.name, held.len())
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failure_is_counted_and_fails_the_run() {
        let mut tally = Tally::default();
        assert!(!tally.note("one", || Ok(())));
        assert!(!tally.note("two", || Ok(())));
        tally.finish().expect("all held");
        assert!(tally.note("two", || Err(anyhow!("it did not"))));
        let lines = tally.lines();
        assert!(lines[0].contains("held 1 of 1; 0.0 to 0.0 s"), "{lines:?}");
        assert!(lines[1].contains("held 1 of 2"), "{lines:?}");
        assert_eq!(tally.finish().expect_err("one failed").to_string(), "two failed");
    }
}
