//! Pressure triggers: the kernel wakes a poll(2) when tasks have waited for memory for longer than so much time within a
//! window (`Documentation/accounting/psi.rst`, "Monitoring for pressure thresholds").
//!
//! A trigger lives as long as its descriptor and fires at most once in a window. Who may arm which window depends on the
//! kernel. Whoever may open the file for writing may arm:
//!
//! | kernel | `/proc/pressure/memory` | a cgroup's `memory.pressure`, the root's included |
//! |---|---|---|
//! | 5.10.223 | 0.5–10 s; the file is 0444, so opening it takes `CAP_DAC_OVERRIDE`, and `CAP_SYS_RESOURCE` does not help | 0.5–10 s without any capability |
//! | 6.1.176, 6.12.107, 7.2.12 | 0.5–10 s with `CAP_SYS_RESOURCE`, without it multiples of 2 s; anybody may open it | the same; opening is a matter of the file's owner |
//!
//! These were tried (`docs/reference/psi-triggers.md` has the whole table). By their source, 5.13–6.3 as first released want
//! `CAP_SYS_RESOURCE` for opening `/proc/pressure/*`, and some 6.4–6.6 releases for opening a cgroup's file, too (`psi_open`,
//! `psi_proc_init` and `psi_trigger_create` in `kernel/sched/psi.c`, `cgroup_pressure_open` in `kernel/cgroup/cgroup.c`). The
//! rule of 6.4 is in 6.1's stable releases, so [`probe_windows`] tries instead of looking at a version. The root cgroup's
//! `memory.pressure` counts the same stalls as `/proc/pressure/memory` and can stand in for it.
//!
//! With the capability a real-time kernel thread looks ten times a window. Without it the kernel looks only when it renews
//! its averages, every 2 s: such a trigger may come up to 2 s late, and is a reason to look and never the only one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FsWord, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::Errno;

use crate::Error;

/// `linux/magic.h`.
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

/// Which stalls a trigger counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallKind {
    /// At least one task waited.
    Some,
    /// All tasks with something to do waited.
    Full,
}

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Which stalls.
    pub kind: StallKind,
    /// So much stalled time, microseconds; above 0 and at most the window.
    pub stall_micros: u32,
    /// Within so much time, microseconds; at most 10 s.
    pub window_micros: u32,
}

impl Threshold {
    /// What is written to arm it. The kernel puts its own NUL over the last byte, so one is sent.
    fn render(self) -> String {
        let kind = match self.kind {
            StallKind::Some => "some",
            StallKind::Full => "full",
        };
        format!("{kind} {} {}\0", self.stall_micros, self.window_micros)
    }
}

/// What a poll says about a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerState {
    /// Nothing.
    Quiet,
    /// The threshold was passed. Seeing it once clears it.
    Fired,
    /// The cgroup has been removed, or PSI switched off: the trigger will not fire again and every poll returns at once.
    /// Drop it.
    Gone,
}

/// An armed trigger; dropping it disarms.
#[derive(Debug)]
pub struct PsiTrigger {
    file: OwnedFd,
    path: Arc<Path>,
}

impl PsiTrigger {
    /// Arms a trigger on a pressure file, `/proc/pressure/memory` or a cgroup's `memory.pressure`. This may start a kernel
    /// thread, and dropping waits for other processors: for starts and configuration, not for the hot path.
    ///
    /// [`Error::Gone`]: PSI is compiled out or was switched off at boot, or the cgroup is gone. [`Error::Unsupported`]: it is
    /// switched off. [`Error::Malformed`]: it is a link, or no file of procfs or cgroup2, and was not written to.
    /// [`Error::Denied`]: see the table above. [`Error::Refused`]: the window is not allowed here, or the
    /// threshold makes no sense.
    pub fn arm(path: &Path, threshold: Threshold) -> Result<Self, Error> {
        Self::arm_at(rustix::fs::CWD, path, path, threshold)
    }

    /// As [`PsiTrigger::arm`], for the file `name` in the directory `dir`; `shown` is the path that errors tell.
    pub fn arm_at(dir: impl AsFd, name: &Path, shown: &Path, threshold: Threshold) -> Result<Self, Error> {
        let path: Arc<Path> = Arc::from(shown);
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::LOOP) => return Err(not_the_kernels(path)),
            Err(errno) => return Err(Error::from_errno(&path, errno)),
        };
        // Anything else below a root that somebody made would be overwritten, or would seem to be armed for ever.
        let system = rustix::fs::fstatfs(&file).map_err(|errno| Error::from_errno(&path, errno))?;
        if ![PROC_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&system.f_type) {
            return Err(not_the_kernels(path));
        }
        let text = threshold.render();
        // A trigger has to arrive in one write; half of one would be another trigger.
        match rustix::io::retry_on_intr(|| rustix::io::write(&file, text.as_bytes())) {
            Ok(written) if written == text.len() => Ok(Self { file, path }),
            Ok(_) => Err(Error::Malformed {
                path,
                what: "took only part of a trigger",
            }),
            Err(errno) => Err(sort_refusal(&path, errno)),
        }
    }

    /// The path that errors tell.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to hand to poll(2).
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.file, PollFlags::PRI)
    }

    /// What a poll's answer means. The kernel sets `POLLPRI` along with `POLLERR` when the trigger's cgroup goes, so the error
    /// is looked at first.
    pub fn state(answer: PollFlags) -> TriggerState {
        if answer.intersects(PollFlags::ERR | PollFlags::NVAL | PollFlags::HUP) {
            TriggerState::Gone
        } else if answer.contains(PollFlags::PRI) {
            TriggerState::Fired
        } else {
            TriggerState::Quiet
        }
    }
}

impl AsFd for PsiTrigger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn not_the_kernels(path: Arc<Path>) -> Error {
    Error::Malformed {
        path,
        what: "is no pressure file of the kernel: it lies on neither procfs nor cgroup2, or is a symbolic link",
    }
}

fn sort_refusal(path: &Arc<Path>, errno: Errno) -> Error {
    match errno {
        Errno::INVAL => Error::Refused {
            path: Arc::clone(path),
            what: "trigger refused: without CAP_SYS_RESOURCE its window must be a multiple of 2 s, with it at most 10 s",
        },
        _ => Error::from_errno(path, errno),
    }
}

/// The windows that [`probe_windows`] tries, microseconds, shortest first. What lies between tells nothing more.
pub const WINDOWS_MICROS: [u32; 7] = [
    500_000, 1_000_000, 2_000_000, 4_000_000, 6_000_000, 8_000_000, 10_000_000,
];

/// Which of [`WINDOWS_MICROS`] are allowed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedWindows([bool; WINDOWS_MICROS.len()]);

impl AllowedWindows {
    /// The allowed windows, microseconds, shortest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        WINDOWS_MICROS
            .into_iter()
            .zip(self.0)
            .filter_map(|(window, allowed)| allowed.then_some(window))
    }

    /// The shortest allowed window, microseconds.
    pub fn shortest(&self) -> Option<u32> {
        self.iter().next()
    }
}

/// Finds out by trying which windows may be armed on the pressure file `path`; none of the triggers outlives the call. An
/// error other than a refused window ends it, because it would meet every window. Takes some tens of milliseconds.
pub fn probe_windows(path: &Path) -> Result<AllowedWindows, Error> {
    let mut allowed = [false; WINDOWS_MICROS.len()];
    for (window_micros, allowed) in WINDOWS_MICROS.into_iter().zip(&mut allowed) {
        // The longest threshold there is, which next to nothing passes.
        let threshold = Threshold {
            kind: StallKind::Full,
            stall_micros: window_micros,
            window_micros,
        };
        match PsiTrigger::arm(path, threshold) {
            Ok(_trigger) => *allowed = true,
            Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(AllowedWindows(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER: Threshold = Threshold {
        kind: StallKind::Some,
        stall_micros: 250_000,
        window_micros: 1_000_000,
    };

    #[test]
    fn what_is_written_is_what_the_kernel_documents() {
        assert_eq!(QUARTER.render().as_bytes(), b"some 250000 1000000\0");
    }

    #[test]
    fn a_file_that_is_not_the_kernels_is_never_written_to() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (plain, link) = (dir.path().join("precious"), dir.path().join("memory"));
        std::fs::write(&plain, "precious").expect("written");
        std::os::unix::fs::symlink(&plain, &link).expect("linked");
        for path in [plain.as_path(), link.as_path(), Path::new("/dev/null")] {
            for refused in [
                PsiTrigger::arm(path, QUARTER).map(drop),
                probe_windows(path).map(drop),
            ] {
                let why = refused.expect_err("no trigger").to_string();
                assert!(why.contains("no pressure file of the kernel"), "{why}");
            }
        }
        assert_eq!(std::fs::read(&plain).expect("readable"), b"precious");
    }

    #[test]
    fn the_longest_trigger_fits_the_kernels_buffer() {
        // psi_write copies at most 32 bytes.
        let longest = Threshold {
            kind: StallKind::Full,
            stall_micros: u32::MAX,
            window_micros: u32::MAX,
        };
        assert!(longest.render().len() <= 32);
    }

    #[test]
    fn a_kernel_without_psi_is_told_from_a_refused_window() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("pressure/memory");
        assert!(
            PsiTrigger::arm(&path, QUARTER)
                .expect_err("no such file")
                .is_gone()
        );
        assert!(probe_windows(&path).expect_err("no such file").is_gone());
        let path: Arc<Path> = Arc::from(path);
        assert_eq!(sort_refusal(&path, Errno::INVAL).label(), "refused");
        assert_eq!(sort_refusal(&path, Errno::OPNOTSUPP).label(), "unsupported");
        assert_eq!(sort_refusal(&path, Errno::PERM).label(), "denied");
    }

    #[test]
    fn a_removed_cgroup_is_not_taken_for_pressure() {
        assert_eq!(PsiTrigger::state(PollFlags::PRI), TriggerState::Fired);
        assert_eq!(
            PsiTrigger::state(PollFlags::PRI | PollFlags::ERR),
            TriggerState::Gone
        );
        assert_eq!(PsiTrigger::state(PollFlags::empty()), TriggerState::Quiet);
        assert_eq!(PsiTrigger::state(PollFlags::IN), TriggerState::Quiet);
    }

    #[test]
    fn the_shortest_allowed_window_comes_first() {
        let unprivileged = AllowedWindows([false, false, true, true, true, true, true]);
        assert_eq!(unprivileged.shortest(), Some(2_000_000));
        assert_eq!(unprivileged.iter().count(), 5);
        assert_eq!(AllowedWindows([false; 7]).shortest(), None);
    }
}
