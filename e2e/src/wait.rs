//! Waiting for what has to come: a condition, asked often, and an error that names it where it never does.
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// Emulated machines take their time, and more of it beside a compiler: three times the longest that was seen.
const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until it is so; says how long that took.
pub(crate) fn wait_for(what: &str, is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
    wait_within(PATIENCE, what, is_so)
}

/// The same, with a patience of its own.
pub(crate) fn wait_within(
    patience: Duration,
    what: &str,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let began = Instant::now();
    while !is_so()? {
        interrupt::check()?;
        if began.elapsed() > patience {
            bail!("{what} never came, in {} s", patience.as_secs());
        }
        sleep(PAUSE);
    }
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_is_named() {
        let mut asked = 0;
        let error = wait_within(Duration::ZERO, "the first pod", || {
            asked += 1;
            Ok(false)
        });
        let said = error.expect_err("it never comes").to_string();
        assert!(said.contains("the first pod") && asked > 0, "{said}");
        let mut answers = [false, true].into_iter();
        wait_for("the second answer", || Ok(answers.next().unwrap_or(false))).expect("it is so");
    }
}
