//! A program that runs beside the harness: what it says goes to a file, and it ends with whoever started it, however that one ends.
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// How long an orderly end may take.
const END_TIME_MAX: Duration = Duration::from_secs(5);
const LINES_SHOWN: usize = 5;

/// A running program.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

/// How to start a program that the kernel ends when the harness is gone, and that a key pressed at the terminal does not reach: it ends in
/// its order.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .process_group(0);
    command
}

impl Running {
    /// Starts it; its words go to `NAME.log` in `logs`.
    pub(crate) fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {name} by setpriv, which util-linux brings"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of its log where it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(LINES_SHOWN)..)
            .unwrap_or_default();
        bail!(
            "{} has ended ({status}); the end of {}:\n{}",
            self.name,
            self.log.display(),
            last.join("\n")
        )
    }

    /// Has it stand still for as long as the value lives.
    pub(crate) fn halt(&self) -> Result<Halt<'_>> {
        self.signal(Signal::STOP)
            .with_context(|| format!("stopping {}", self.name))?;
        Ok(Halt(self))
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "only to what this program has started and still waits for: its number cannot be another's"
    )]
    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        rustix::process::kill_process(pid.context("a process's number")?, signal)?;
        Ok(())
    }
}

/// A program that stands still. Dropped, it goes on.
#[derive(Debug)]
pub(crate) struct Halt<'a>(&'a Running);

impl Drop for Halt<'_> {
    fn drop(&mut self) {
        let _ = self.0.signal(Signal::CONT);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.signal(Signal::TERM);
        let deadline = Instant::now() + END_TIME_MAX;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::wait_for;

    #[test]
    fn who_ends_by_itself_is_named_with_its_last_words() {
        let logs = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "echo first; echo the reason; exit 3"]);
        let mut running = Running::start("talker", &mut command, logs.path()).expect("sh runs");
        running.child.wait().expect("it ends");
        let said = running.check().expect_err("it has ended").to_string();
        assert!(
            said.contains("talker has ended (exit status: 3)") && said.ends_with("the reason"),
            "{said}"
        );
    }

    #[test]
    fn who_is_halted_goes_on_afterwards() {
        let logs = tempfile::tempdir().expect("a folder");
        let running =
            Running::start("sleeper", Command::new("sleep").arg("1000"), logs.path()).expect("it runs");
        let state = || {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", running.child.id())).expect("it lives");
            stat.split(' ').nth(2).map(str::to_owned)
        };
        let halt = running.halt().expect("a signal");
        wait_for("its standing still", || Ok(state().as_deref() == Some("T"))).expect("it stands still");
        drop(halt);
        wait_for("its going on", || Ok(state().as_deref() != Some("T"))).expect("it goes on");
    }

    #[test]
    fn who_still_runs_ends_with_its_owner() {
        let logs = tempfile::tempdir().expect("a folder");
        let mut running =
            Running::start("sleeper", Command::new("sleep").arg("1000"), logs.path()).expect("it runs");
        running.check().expect("it still runs");
        let place = PathBuf::from(format!("/proc/{}", running.child.id()));
        assert!(place.exists());
        drop(running);
        assert!(!place.exists());
    }
}
