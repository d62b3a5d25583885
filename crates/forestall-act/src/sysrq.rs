//! SysRq `f`: asks the kernel to run its own OOM killer, now. The kernel chooses the victim; the write returns before it
//! has done so, and nothing is said where it finds nobody (`Documentation/admin-guide/sysrq.rst`). Whether somebody was killed
//! shows in `oom_kill` of `/proc/vmstat`, which counts every victim of the OOM killer, those of a cgroup's own limit included:
//! one of these at the same moment is taken for the answer.

use std::os::fd::AsFd;

use forestall_decide::{Action, Moment, OutcomeKind, Span};
use rustix::fs::{Access, AtFlags};
use rustix::io::Result;

use crate::file;
use crate::kill::SETTLE;

/// Whether `sysrq-trigger` below the proc root can be written. Nothing is triggered.
pub(crate) fn is_writable(proc_root: impl AsFd) -> Result<()> {
    rustix::fs::accessat(proc_root, c"sysrq-trigger", Access::WRITE_OK, AtFlags::EACCESS)
}

/// One call of the kernel's OOM killer on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Who asked for it.
    pub(crate) action: Action,
    ordered_at: Moment,
    judged_at: Moment,
    killed_before: Option<u64>,
}

impl Call {
    /// Runs the kernel's OOM killer once.
    pub(crate) fn place(proc_root: impl AsFd, action: &Action, now: Moment) -> Result<Self> {
        let killed_before = count_kills(&proc_root);
        is_writable(&proc_root)?;
        file::write_once(file::open_write(&proc_root, c"sysrq-trigger")?, b"f")?;
        Ok(Self {
            action: *action,
            ordered_at: now,
            judged_at: now + action.deadline.max(SETTLE),
            killed_before,
        })
    }

    /// What came of it; `None` while it is too early to say. Where nothing counts kills, no effect is ever seen.
    pub(crate) fn judge(&self, proc_root: impl AsFd, now: Moment) -> Option<OutcomeKind> {
        let killed = count_kills(proc_root).zip(self.killed_before);
        if killed.is_some_and(|(now, before)| now > before) {
            Some(OutcomeKind::Done)
        } else {
            (now >= self.judged_at).then_some(OutcomeKind::NoEffect)
        }
    }

    /// Time since the order.
    pub(crate) fn took(&self, now: Moment) -> Span {
        now.since(self.ordered_at)
    }
}

/// How many the OOM killer has killed since the machine was started (Linux 4.13).
fn count_kills(proc_root: impl AsFd) -> Option<u64> {
    file::read_keyed(proc_root.as_fd(), c"vmstat", b"oom_kill")
        .ok()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::tests::action;
    use rustix::io::Errno;
    use std::fs;

    const ORDERED: Moment = Moment(1_000_000);

    /// A machine made of files, and a call that was placed there.
    fn place(vmstat: &str) -> (tempfile::TempDir, fs::File, Call) {
        let root = tempfile::tempdir().expect("a directory");
        let directory = fs::File::open(root.path()).expect("a directory");
        let order = action(Span::default(), Span::secs(10));
        let refused = Call::place(&directory, &order, ORDERED).map(drop);
        assert_eq!(refused, Err(Errno::NOENT));
        let trigger = root.path().join("sysrq-trigger");
        fs::write(&trigger, "").expect("a file");
        fs::write(root.path().join("vmstat"), vmstat).expect("a file");
        let call = Call::place(&directory, &order, ORDERED).expect("a call");
        assert_eq!(fs::read(&trigger).expect("the file"), b"f");
        (root, directory, call)
    }

    #[test]
    fn the_call_is_done_when_somebody_was_killed_and_without_effect_when_nobody_was() {
        let (root, directory, call) = place("nr_free_pages 1\noom_kill 3\n");
        let judge = |secs| call.judge(&directory, ORDERED + Span::secs(secs));
        assert_eq!(judge(0), None);
        assert_eq!(judge(9), None);
        assert_eq!(judge(10), Some(OutcomeKind::NoEffect));
        fs::write(root.path().join("vmstat"), "nr_free_pages 1\noom_kill 4\n").expect("a file");
        assert_eq!(judge(0), Some(OutcomeKind::Done));
    }

    #[test]
    fn where_nothing_counts_kills_no_effect_is_seen() {
        let (root, directory, call) = place("nr_free_pages 1\n");
        fs::write(root.path().join("vmstat"), "oom_kill 4\n").expect("a file");
        assert_eq!(call.judge(&directory, ORDERED + Span::secs(9)), None);
        let late = ORDERED + Span::secs(10);
        assert_eq!(call.judge(&directory, late), Some(OutcomeKind::NoEffect));
    }
}
