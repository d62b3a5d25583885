//! An instance of the kernel's tracing for this agent alone: made at the start, removed at the end, found again after a crash.
//!
//! An instance has a ring buffer and switches of its own (`Documentation/trace/ftrace.rst`, "Instances"), so that nobody else's tracing is
//! disturbed. Its directory is locked (flock(2)), which the kernel releases however the holder ends: a name whose lock is free
//! was left by a crash, and goes on recording. It is taken over as it is, because what it holds is what happened meanwhile, unless something
//! is switched on in it that no agent switches on: then somebody else has made it. A name
//! that is locked belongs to an agent that lives, and the next name is tried.
//!
//! What it refuses to do: mount tracefs, touch an instance that somebody lives in, and read what was traced.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, flock};
use rustix::io::{Errno, Result as IoResult};

use crate::error::ActError;
use crate::file;

/// An agent's, a second one's that only observes, and two of whoever tries something.
const NAMES: [&CStr; 4] = [c"forestall", c"forestall-2", c"forestall-3", c"forestall-4"];

/// The clock of the kernel's log (`trace_clock_global` and `printk` both ask `sched_clock_cpu`; kernel/trace/trace_clock.c,
/// kernel/printk/printk.c): what both tell is known to be one thing by its time. `CLOCK_MONOTONIC` is kept by NTP, which this one is not, and in
/// the months that a node is up they part by minutes.
const CLOCK: &[u8] = b"global";

/// SIGKILL that had an effect. Repeated signals to whoever is dying already could be sent by anybody at any rate.
const FILTER: &[u8] = b"sig==9 && (result==0 || result==4)";

const VICTIM: [&CStr; 1] = [c"events/oom/mark_victim/enable"];
const SIGNAL: [&CStr; 2] = [
    c"events/signal/signal_generate/filter",
    c"events/signal/signal_generate/enable",
];

/// Whom somebody puts into a cgroup of version 2, which says where its first process lived once that is gone.
const MOVED: [&CStr; 2] = [
    c"events/cgroup/cgroup_attach_task/filter",
    c"events/cgroup/cgroup_attach_task/enable",
];
const MOVED_FILTER: &[u8] = b"dst_root==0";

/// The same three, as `set_event` names them.
const EVENTS: [&[u8]; 3] = [
    b"oom:mark_victim",
    b"signal:signal_generate",
    b"cgroup:cgroup_attach_task",
];

/// All buffers together, KiB, and what a processor's has at least and at most. A kill takes some 140 bytes: the smallest holds
/// 200 of them, the largest 900.
const BUFFERS_KIB: u64 = 2048;
const BUFFER_KIB_MIN: u64 = 32;
const BUFFER_KIB_MAX: u64 = 128;

/// An instance that is held. Whoever reads from it has to stop before it is dropped: the kernel removes none that is open.
#[derive(Debug)]
pub struct TraceInstance {
    instances: OwnedFd,
    /// Open for its lock.
    dir: OwnedFd,
    name: &'static CStr,
    path: PathBuf,
    was_left: bool,
    /// One that was passed over, because somebody else has made it for something else.
    foreign: Option<PathBuf>,
}

impl TraceInstance {
    /// Takes an instance below `tracefs` and has it record marked victims and SIGKILL. While a new one is made the kernel takes
    /// as much memory for it as tracing begins with (1.4 MiB a processor), most of which is given back at once.
    ///
    /// An error says what is missing: a mount, a right, or room. Nothing is left behind then.
    pub fn make(tracefs: &Path) -> Result<Self, ActError> {
        let instance = Self::claim(tracefs, &NAMES)?;
        instance.set_up()?;
        Ok(instance)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It was left by an agent that ended without removing it, and holds what it recorded since.
    pub const fn was_left(&self) -> bool {
        self.was_left
    }

    /// An instance of a name of ours that somebody else has made for something else, and that is left alone.
    pub fn foreign(&self) -> Option<&Path> {
        self.foreign.as_deref()
    }

    fn claim(tracefs: &Path, names: &[&'static CStr]) -> Result<Self, ActError> {
        let path = tracefs.join("instances");
        let open = || {
            let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty())
        };
        let failed = |errno| ActError::Tracing {
            path: path.clone(),
            errno,
        };
        let instances = open().map_err(failed)?;
        let mut foreign = None;
        for name in names {
            let claimed = claim(&instances, name).map_err(|errno| ActError::Tracing {
                path: path.join(name.to_str().unwrap_or_default()),
                errno,
            })?;
            if let Some((dir, was_left)) = claimed {
                if was_left && !is_ours(&dir) {
                    foreign = Some(path.join(name.to_str().unwrap_or_default()));
                    continue;
                }
                return Ok(Self {
                    instances,
                    dir,
                    name,
                    path: path.join(name.to_str().unwrap_or_default()),
                    was_left,
                    foreign,
                });
            }
        }
        Err(failed(Errno::BUSY))
    }

    fn set_up(&self) -> Result<(), ActError> {
        // A change of the clock empties the buffer.
        let mut clock = [0; 256];
        let is_set = file::read_into(&self.dir, c"trace_clock", &mut clock)
            .is_ok_and(|clock| clock.windows(CLOCK.len() + 2).any(|word| word == b"[global]"));
        if !is_set {
            self.write(c"trace_clock", CLOCK)?;
        }
        // An instance begins with the machine's options, and with this one poll(2) is always ready (`trace_poll` in kernel/trace/trace.c).
        self.write_if_there(c"trace_options", b"noblock")?;
        let kib = buffer_kib(self.count_processors());
        self.write(c"buffer_size_kb", file::ShortText::number(kib, b"").as_bytes())?;
        let victim = self.write_if_there(VICTIM[0], b"1")?;
        let signal = self.write_if_there(SIGNAL[0], FILTER)? && self.write_if_there(SIGNAL[1], b"1")?;
        if !victim && !signal {
            return Err(self.failed(VICTIM[0], Errno::NOENT));
        }
        // It is no source of kills: they are told without it, too.
        if let Ok(true) = self.write_if_there(MOVED[0], MOVED_FILTER) {
            let _ = self.write_if_there(MOVED[1], b"1");
        }
        self.write(c"tracing_on", b"1")
    }

    fn write(&self, name: &CStr, text: &[u8]) -> Result<(), ActError> {
        let opened = file::open_write(&self.dir, name);
        opened
            .and_then(|opened| write_command(&opened, text))
            .map_err(|errno| self.failed(name, errno))
    }

    /// Whether the file is there.
    fn write_if_there(&self, name: &CStr, text: &[u8]) -> Result<bool, ActError> {
        match self.write(name, text) {
            Ok(()) => Ok(true),
            Err(ActError::Tracing {
                errno: Errno::NOENT, ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn failed(&self, name: &CStr, errno: Errno) -> ActError {
        ActError::Tracing {
            path: self.path.join(name.to_str().unwrap_or_default()),
            errno,
        }
    }

    fn count_processors(&self) -> u64 {
        let entries = file::open_dir(&self.dir, c"per_cpu").and_then(Dir::new);
        let count = entries.map_or(1, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_bytes().starts_with(b"cpu"))
                .count()
        });
        u64::try_from(count).unwrap_or(u64::MAX)
    }
}

impl Drop for TraceInstance {
    fn drop(&mut self) {
        // Nothing else can be done than to leave it for the next start to find.
        let _ = rustix::fs::unlinkat(&self.instances, self.name, AtFlags::REMOVEDIR);
    }
}

/// Makes or finds the instance `name` and locks it; says whether it was there. `None` where an agent lives in it.
fn claim(instances: impl AsFd, name: &CStr) -> IoResult<Option<(OwnedFd, bool)>> {
    // Whoever holds it may remove it between our steps; then it is tried again, and after that somebody is at work there.
    for _ in 0..3 {
        let was_left = match rustix::fs::mkdirat(&instances, name, Mode::RWXU) {
            Ok(()) => false,
            Err(Errno::EXIST) => true,
            Err(errno) => return Err(errno),
        };
        let dir = match file::open_dir(&instances, name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        // A lock on a directory that was removed meanwhile locks nobody out.
        let held = rustix::fs::fstat(&dir)?;
        let named = rustix::fs::statat(&instances, name, AtFlags::SYMLINK_NOFOLLOW);
        if named.is_ok_and(|named| (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)) {
            return Ok(Some((dir, was_left)));
        }
    }
    Ok(None)
}

/// Nothing is switched on in it but what an agent switches on: `set_event` names the events that are, and `current_tracer` is `nop`
/// (Documentation/trace/ftrace.rst). What cannot be read says nothing against it.
fn is_ours(dir: &OwnedFd) -> bool {
    let mut content = [0; 4096];
    let tracer = file::read_into(dir, c"current_tracer", &mut content)
        .is_ok_and(|tracer| tracer.trim_ascii() != b"nop");
    let is_mine = |event: &[u8]| event.is_empty() || EVENTS.contains(&event.trim_ascii());
    let events = file::read_into(dir, c"set_event", &mut content)
        .is_ok_and(|events| !events.split(|byte| *byte == b'\n').all(is_mine));
    !tracer && !events
}

/// Writes once. These files have no place to write at, so that pwrite(2) is refused (`ESPIPE`).
fn write_command(opened: &OwnedFd, text: &[u8]) -> IoResult<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(opened, text))? {
        written if written == text.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// What a processor's buffer gets, KiB.
fn buffer_kib(processors: u64) -> u64 {
    (BUFFERS_KIB / processors.max(1)).clamp(BUFFER_KIB_MIN, BUFFER_KIB_MAX)
}

/// What to do where the kernel refuses an instance like this.
pub(crate) fn tracing_remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT | Errno::NOTDIR => {
            "mount tracefs (mount -t tracefs tracefs /sys/kernel/tracing; in a container, mount the machine's), or this kernel has none of it"
        }
        Errno::ACCESS => "its files are root's: run as uid 0, or as their owner",
        Errno::PERM => {
            "the kernel is locked down (lockdown=confidentiality), or a security module forbids tracing: kills are told by its log and its counters then"
        }
        Errno::ROFS => "mount it writable, or kills are told by the kernel's log and its counters alone",
        Errno::BUSY => {
            "every name for an instance is in use by an agent that lives, or by somebody else: end those that are not needed"
        }
        Errno::NOMEM => "there is no memory for its buffers: start again when there is",
        _ => "see what the system says",
    }
}

#[cfg(test)]
mod tests;
