//! A daemon that is started, watched for a while through `/proc`, and ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::SETTLE;

/// What a process used within a span of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time on a processor, all threads (`/proc/PID/task/*/schedstat`, first number).
    pub(super) cpu: Duration,
    /// How long it was watched.
    pub(super) wall: Duration,
    /// Calls of the read family (`syscr` of `/proc/PID/io`).
    pub(super) reads: u64,
    /// Resident memory at the end, bytes (`VmRSS`).
    pub(super) resident_bytes: u64,
    /// The part of it that no file backs, bytes (`RssAnon`).
    pub(super) anon_bytes: u64,
    /// The most that was resident since it was started, bytes (`VmHWM`).
    pub(super) peak_bytes: u64,
}

impl Usage {
    /// Share of one processor, percent.
    pub(super) fn cpu_percent(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64() * 100.0
    }
}

/// Where a process's counters stood at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    cpu: Duration,
    reads: u64,
    at: Instant,
}

/// A running daemon; it is killed when this is dropped.
pub(super) struct Daemon {
    child: Child,
    name: String,
}

impl Daemon {
    /// Starts it and lets it settle. What it prints goes to `log`, because a daemon that writes to nowhere does less work.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut daemon = Self { child, name };
        thread::sleep(SETTLE);
        if let Some(status) = daemon.child.try_wait()? {
            let said = fs::read_to_string(log).unwrap_or_default();
            bail!("{} ended at once ({status}); it said:\n{said}", daemon.name);
        }
        Ok(daemon)
    }

    /// What it uses within `span`.
    pub(super) fn watch(&self, span: Duration) -> Result<Usage> {
        let before = self.counters()?;
        thread::sleep(span);
        self.usage_since(before)
    }

    /// Where its counters stand now.
    pub(super) fn counters(&self) -> Result<Counters> {
        Ok(Counters {
            cpu: self.cpu()?,
            reads: self.reads()?,
            at: Instant::now(),
        })
    }

    /// What it has used since its counters stood at `before`.
    pub(super) fn usage_since(&self, before: Counters) -> Result<Usage> {
        let now = self.counters()?;
        Ok(Usage {
            cpu: now.cpu.saturating_sub(before.cpu),
            wall: now.at.duration_since(before.at),
            reads: now.reads.saturating_sub(before.reads),
            resident_bytes: self.status_bytes("VmRSS:")?,
            anon_bytes: self.status_bytes("RssAnon:")?,
            peak_bytes: self.status_bytes("VmHWM:")?,
        })
    }

    /// Has it read its configuration again (SIGHUP).
    #[expect(
        clippy::disallowed_methods,
        reason = "a child of ours, not waited for yet: its PID is its own"
    )]
    pub(super) fn reload(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::HUP)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// The regular files it holds open below `folder`.
    pub(super) fn held_files(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let links = self.proc("fd");
        let mut files = Vec::new();
        for entry in fs::read_dir(&links).with_context(|| format!("cannot list {}", links.display()))? {
            // A descriptor may be closed between the listing and this look.
            let Ok(file) = fs::read_link(entry?.path()) else {
                continue;
            };
            if file.starts_with(folder) && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        Ok(files)
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.child.id()))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.proc(name);
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; did {} end?", path.display(), self.name))
    }

    fn cpu(&self) -> Result<Duration> {
        let mut nanos = 0;
        for entry in fs::read_dir(self.proc("task"))? {
            let path = entry?.path().join("schedstat");
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            nanos += first_number(&text).with_context(|| format!("{} is empty", path.display()))?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    fn reads(&self) -> Result<u64> {
        let text = self.read("io")?;
        let line = text.lines().find_map(|line| line.strip_prefix("syscr:"));
        line.and_then(first_number).context("/proc/PID/io has no syscr")
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kibi = line
            .and_then(first_number)
            .with_context(|| format!("/proc/PID/status has no {field}"))?;
        Ok(kibi * 1024)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to be done about it here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}
