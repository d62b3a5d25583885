//! PSI triggers: the kernel wakes the guard when tasks begin to wait for memory. A reason to look at once, never a reason
//! to act, and never needed: without any the guard polls a little more often.

use std::path::{Path, PathBuf};

use forestall_kernel::psi_trigger::{PsiTrigger, StallKind, Threshold, TriggerState, probe_windows};
use rustix::event::{PollFd, PollFlags};

/// A trigger fires when tasks waited for one part in so many of its window.
const STALL_SHARE: u32 = 20;

/// The triggers that could be armed.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    armed: Vec<PsiTrigger>,
    /// What could not be armed, for the start-up report.
    pub(crate) missing: Vec<String>,
    /// The window in use, microseconds.
    pub(crate) window_micros: Option<u32>,
}

impl Triggers {
    /// Arms one on the machine and one on each of `groups` (directories of cgroups), with the shortest window allowed.
    pub(crate) fn arm(root: &Path, groups: &[PathBuf]) -> Self {
        let mut triggers = Self::default();
        let node = root.join("proc/pressure/memory");
        let window = match probe_windows(&node) {
            Ok(windows) => windows.shortest(),
            Err(error) => {
                triggers.missing.push(error.to_string());
                None
            }
        };
        let Some(window_micros) = window else {
            return triggers;
        };
        triggers.window_micros = window;
        let paths = std::iter::once(node).chain(groups.iter().map(|group| group.join("memory.pressure")));
        for path in paths {
            let threshold = Threshold {
                kind: StallKind::Some,
                stall_micros: window_micros / STALL_SHARE,
                window_micros,
            };
            match PsiTrigger::arm(&path, threshold) {
                Ok(trigger) => triggers.armed.push(trigger),
                Err(error) => triggers.missing.push(error.to_string()),
            }
        }
        triggers
    }

    pub(crate) fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }

    /// What is to be polled.
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.armed.iter().map(PsiTrigger::poll_fd)
    }

    /// Takes the answers in the order of `poll_fds`; drops those whose cgroup is gone, so that they cannot wake for ever.
    /// True if one has fired.
    pub(crate) fn take_answers(&mut self, answers: &[PollFlags]) -> bool {
        let mut fired = false;
        let mut index = 0;
        self.armed.retain(|_| {
            let state = answers
                .get(index)
                .map_or(TriggerState::Quiet, |answer| PsiTrigger::state(*answer));
            index += 1;
            fired |= state == TriggerState::Fired;
            state != TriggerState::Gone
        });
        fired
    }
}
