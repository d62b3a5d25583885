//! A program that is run, with a line on its stdin.
//!
//! It inherits nothing of the agent's standing: neither its protection from the kernel's OOM killer nor its line to the service manager. One
//! that takes too long is killed, which reaches itself and no children of its own.

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Before another look, where the kernel has no pidfd (before 5.3).
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Runs it, and waits for it no longer than `timeout`. The error says why it has not told it.
pub(super) fn run(words: &[String], line: &str, timeout: Duration) -> Result<(), String> {
    let [program, arguments @ ..] = words else {
        return Err("no program is named".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program}: cannot be run: {error}"))?;
    // Raising it is always allowed; where it cannot be written the program is merely better protected than it needs to be.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "0");
    if let Some(mut stdin) = child.stdin.take() {
        // A pipe holds more than a line; who does not read it has heard enough.
        let _ = stdin
            .write_all(line.as_bytes())
            .and_then(|()| stdin.write_all(b"\n"));
    }
    let status = wait(&mut child, timeout).map_err(|error| format!("{program}: {error}"))?;
    match status {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{program}: ended with {status}")),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!(
                "{program}: took longer than {} ms and was killed; raise notify.timeout, or let it answer first and work then",
                timeout.as_millis()
            ))
        }
    }
}

/// How it ended; `None` where it has not within `timeout`.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let by = Instant::now() + timeout;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match &pidfd {
            Some(pidfd) => {
                let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
                let _ = poll(&mut ended, Timespec::try_from(left).ok().as_ref());
            }
            None => std::thread::sleep(left.min(LOOK_PAUSE)),
        }
    }
}
