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
    whole_machine: bool,
}

impl Triggers {
    /// Arms one on the machine and one on each of `groups` (directories of cgroups), each with the shortest window allowed.
    /// The root cgroup's file counts the same stalls as the machine's and may be open where that one is not (5.10 without
    /// capabilities).
    pub(crate) fn arm(root: &Path, root_group: Option<&Path>, groups: &[PathBuf]) -> Self {
        let mut triggers = Self::default();
        let of_group = |group: &Path| group.join("memory.pressure");
        let node = std::iter::once(root.join("proc/pressure/memory")).chain(root_group.map(of_group));
        for path in node {
            if triggers.arm_shortest(&path) {
                triggers.whole_machine = true;
                triggers.missing.clear();
                break;
            }
        }
        for group in groups {
            triggers.arm_shortest(&of_group(group));
        }
        triggers
    }

    fn arm_shortest(&mut self, path: &Path) -> bool {
        let armed = probe_windows(path).and_then(|windows| {
            let Some(window_micros) = windows.shortest() else {
                return Ok(None);
            };
            let threshold = Threshold {
                kind: StallKind::Some,
                stall_micros: window_micros / STALL_SHARE,
                window_micros,
            };
            PsiTrigger::arm(path, threshold).map(Some)
        });
        match armed {
            Ok(Some(trigger)) => {
                self.armed.push(trigger);
                return true;
            }
            Ok(None) => self
                .missing
                .push(format!("{}: no window is allowed", path.display())),
            Err(error) => self.missing.push(error.to_string()),
        }
        false
    }

    /// The whole machine is watched, so that the guard may wait for it.
    pub(crate) fn is_armed(&self) -> bool {
        self.whole_machine
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn below_a_root_of_files_nothing_is_armed_and_nothing_is_written() {
        let root = tempfile::tempdir().expect("a directory");
        let (proc, group) = (root.path().join("proc/pressure"), root.path().join("kubepods"));
        let text = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let precious = root.path().join("precious");
        for dir in [&proc, &group] {
            fs::create_dir_all(dir).expect("a directory");
        }
        fs::write(&precious, text).expect("a file");
        fs::write(group.join("memory.pressure"), text).expect("a file");
        std::os::unix::fs::symlink(&precious, proc.join("memory")).expect("a link");
        let triggers = Triggers::arm(root.path(), Some(&group), std::slice::from_ref(&group));
        assert!(!triggers.is_armed());
        assert_eq!(triggers.poll_fds().count(), 0);
        assert_eq!(triggers.missing.len(), 3, "{:?}", triggers.missing);
        for why in &triggers.missing {
            assert!(why.contains("no pressure file of the kernel"), "{why}");
        }
        for path in [precious, group.join("memory.pressure")] {
            assert_eq!(fs::read_to_string(path).expect("readable"), text);
        }
    }
}
