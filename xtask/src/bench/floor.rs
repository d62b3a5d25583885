//! The floor: reading the same files as bare as it gets. Nobody can know what is in them for less.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::pread;
use rustix::time::{ClockId, clock_gettime};

/// The longest file of these is `memory.stat`, 3 KiB with per-node lines; the buffer is never too small for it.
const BUFFER_BYTES: usize = 64 << 10;

/// A directory, and its files that a look reads.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Names of files that are open all the time: a `pread` each.
    pub(super) held: Vec<&'static str>,
    /// Names of files that are opened for each look, below the open directory: `openat`, `pread`, `close`.
    pub(super) opened: Vec<&'static str>,
}

/// What one sweep over all `folders` costs on a processor, measured over `sweeps` of them, one every `period`, so that
/// caches are as cold as the agent finds them.
pub(super) fn measure_sweep(folders: &[Folder], sweeps: u32, period: Duration) -> Result<Duration> {
    if folders.is_empty() || sweeps == 0 {
        bail!("nothing to read: the floor would be zero");
    }
    let opened: Vec<Opened<'_>> = folders.iter().map(Opened::open).collect::<Result<_>>()?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut cpu = Duration::ZERO;
    let mut next = Instant::now();
    for _ in 0..sweeps {
        let before = thread_cpu();
        for folder in &opened {
            folder.sweep(&mut buffer);
        }
        cpu += thread_cpu().saturating_sub(before);
        next += period;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(cpu / sweeps)
}

struct Opened<'a> {
    directory: File,
    held: Vec<OwnedFd>,
    names: &'a [&'static str],
}

impl<'a> Opened<'a> {
    fn open(folder: &'a Folder) -> Result<Self> {
        let directory =
            File::open(&folder.path).with_context(|| format!("cannot open {}", folder.path.display()))?;
        let open = |name: &&str| {
            openat(&directory, *name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .with_context(|| format!("cannot open {name} in {}", folder.path.display()))
        };
        let held = folder.held.iter().map(open).collect::<Result<_>>()?;
        Ok(Self {
            directory,
            held,
            names: &folder.opened,
        })
    }

    /// One `pread` a file: each of these comes in one piece. An error is no matter: the attempt is what is paid for.
    fn sweep(&self, buffer: &mut [u8]) {
        for file in &self.held {
            let _ = pread(file, &mut *buffer, 0);
        }
        for name in self.names {
            if let Ok(file) = openat(
                &self.directory,
                *name,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            ) {
                let _ = pread(&file, &mut *buffer, 0);
            }
        }
    }
}

/// What this thread has used of a processor. Not from `/proc/thread-self/schedstat`: that one stands still while a thread
/// runs.
fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u64::try_from(used.tv_nsec).unwrap_or(0);
    Duration::from_secs(u64::try_from(used.tv_sec).unwrap_or(0)) + Duration::from_nanos(nanos)
}
