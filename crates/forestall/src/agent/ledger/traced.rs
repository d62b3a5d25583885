//! The kernel's tracing, held open in an instance of the agent's own: what it tells of kills, and who it was that sent SIGKILL.
//!
//! It changes the machine by that instance, so that it is made only where the configuration says so. Where it cannot be had the log and
//! the cgroups' counters are left.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use forestall_act::TraceInstance;
use forestall_decide::Moment;
use forestall_kernel::oom::CgroupPath;
use forestall_kernel::tracing::{KillSignal, TraceReader, find_tracefs};

use super::loops::Loops;
use super::marks::Marks;
use super::relation::{Relation, Shown};
use crate::input::read_system;
use crate::ledger::{Missed, Sender, Signal};

/// So often a look reads again what has come meanwhile.
const READS_MAX: usize = 8;

/// Tracing, and what it has told.
#[derive(Debug)]
pub(super) struct Traced {
    proc_root: PathBuf,
    // Before the instance: the kernel removes none that somebody reads.
    reader: TraceReader,
    instance: TraceInstance,
    pub(super) marks: Marks,
    loops: Loops,
}

impl Traced {
    /// Of the machine below `root`; an error is a sentence that says what to do.
    pub(super) fn open(root: &Path) -> Result<Self, String> {
        let tracefs = find(root)?;
        let instance = TraceInstance::make(&tracefs).map_err(|error| error.to_string())?;
        let reader = TraceReader::open(instance.path()).map_err(|error| error.to_string())?;
        Ok(Self {
            proc_root: root.join("proc"),
            reader,
            instance,
            marks: Marks::default(),
            loops: Loops::default(),
        })
    }

    /// What could not be heard by now.
    pub(super) const fn missed(&self) -> Missed {
        Missed {
            overwritten: self.reader.lost(),
            malformed: self.reader.malformed(),
            dropped: self.marks.untold,
            unsigned: self.marks.unsigned,
        }
    }

    /// An instance of this name that is somebody else's.
    pub(super) fn foreign(&self) -> Option<&Path> {
        self.instance.foreign()
    }

    /// Hears all there is.
    pub(super) fn read(&mut self, now: Moment) -> Result<(), String> {
        let Self { reader, marks, .. } = self;
        // Whatever is left wakes the poll again.
        for _ in 0..READS_MAX {
            let both = std::cell::RefCell::new(&mut *marks);
            let heard = reader.read_all(
                |event| both.borrow_mut().hear(&event, now),
                |pid, path| both.borrow_mut().hear_moved(pid, path),
            );
            if heard.map_err(|error| error.to_string())? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Who it is for whom the kernel killed.
    pub(super) fn kernel_for(&self, pid: u32, victim: u32, comm: &[u8]) -> Sender {
        let name = || {
            Some(
                self.reader
                    .name_of(pid.try_into().ok()?, &self.proc_root)?
                    .as_bytes()
                    .into(),
            )
        };
        Sender {
            is_kernel: true,
            pid,
            comm: if pid == victim {
                comm.into()
            } else {
                name().unwrap_or_default()
            },
            uid: None,
            is_on_node: None,
        }
    }

    /// Who was sent SIGKILL by whom since the last time, and what is left of loops. At the end all of it.
    pub(super) fn signals(&mut self, now: Moment, is_end: bool) -> Vec<Signal> {
        let mut told = Vec::new();
        for (signal, more) in self.marks.sent() {
            let known = self.loops.name_of(signal.sender_pid, now);
            let sender = known.or_else(|| self.reader.name_of(signal.sender_pid, &self.proc_root));
            if let Some(before) = self.loops.hear(signal, more, sender.unwrap_or_default(), now) {
                told.extend(self.explain(&signal).map(|told| Signal { more: before, ..told }));
            }
        }
        let counts = self.loops.counts(now, is_end);
        told.extend(counts.iter().filter_map(|count| {
            let signal = &count.signal;
            Some(Signal {
                at_micros: signal.at_nanos / 1000,
                pid: u32::try_from(signal.pid).ok()?,
                comm: signal.comm.as_bytes().into(),
                sender: Sender {
                    pid: u32::try_from(signal.sender_pid).ok()?,
                    comm: count.sender.as_bytes().into(),
                    ..Sender::default()
                },
                more: count.more,
                ..Signal::default()
            })
        }));
        told
    }

    /// Looks up who sent a signal to whom, while both may still be there.
    fn explain(&self, signal: &KillSignal) -> Option<Signal> {
        let pid = u32::try_from(signal.pid).ok()?;
        let sender = u32::try_from(signal.sender_pid).ok()?;
        let read = |pid: u32, name: &str| read_system(&self.proc_root.join(pid.to_string()).join(name)).ok();
        let shown = |pid: u32| Shown {
            cgroup: read(pid, "cgroup"),
            status: read(pid, "status"),
        };
        let name = self.reader.name_of(signal.sender_pid, &self.proc_root);
        let theirs = shown(sender);
        // Who is gone lived where somebody put it, if anybody did.
        let relation = Relation::of(&shown(pid), &theirs, self.marks.place_of(pid));
        Some(Signal {
            at_micros: signal.at_nanos / 1000,
            pid,
            comm: signal.comm.as_bytes().into(),
            cgroup: relation.path.map(|path| CgroupPath { path, is_cut: false }),
            is_inside: relation.is_inside,
            is_of_first: relation.is_of_first,
            sender: Sender {
                is_kernel: false,
                pid: sender,
                comm: name.map(|name| name.as_bytes().into()).unwrap_or_default(),
                uid: theirs.uid(),
                is_on_node: relation.is_on_node,
            },
            ..Signal::default()
        })
    }
}

impl AsFd for Traced {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Where tracefs is; an error is a sentence that says what to do.
pub(super) fn find(root: &Path) -> Result<PathBuf, String> {
    find_tracefs(root, Path::new("/proc/self/mountinfo")).map_err(|error| {
        format!("{error}; mount tracefs there (in a container, the machine's /sys/kernel/tracing, writable)")
    })
}
