//! The floor: reading the same files as bare as it gets. Nobody can know what is in them for less.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The longest file of these is `memory.stat`, 3 KiB with per-node lines; the buffer is never too small for it.
const BUFFER_BYTES: usize = 64 << 10;

/// Descriptors that everybody else in this process may need meanwhile.
const DESCRIPTORS_SPARE: u64 = 256;

/// A directory, and the names of its files that a look reads.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) names: Vec<&'static str>,
}

/// What was measured.
pub(super) struct Floor {
    /// Processor time of one sweep over all files.
    pub(super) sweep: Duration,
    /// So many files were open all the time: a `pread` each.
    pub(super) held: usize,
    /// So many more than this process may hold were opened in each sweep: `openat`, `pread`, `close`.
    pub(super) opened: usize,
}

/// What one sweep over all `folders` costs on a processor, measured over `sweeps` of them, one every `period`, so that
/// caches are as cold as the agent finds them. Every file is held open that may be, whatever the agent holds.
pub(super) fn measure_sweep(folders: &[Folder], sweeps: u32, period: Duration) -> Result<Floor> {
    let mut spare = descriptors()
        .saturating_sub(DESCRIPTORS_SPARE)
        .saturating_sub(folders.len() as u64);
    let opened: Vec<Opened> = folders
        .iter()
        .map(|folder| Opened::open(folder, &mut spare))
        .collect::<Result<_>>()?;
    let held = opened.iter().map(|folder| folder.held.len()).sum();
    let left = opened.iter().map(|folder| folder.left.len()).sum();
    if held + left == 0 || sweeps == 0 {
        bail!("nothing to read: the floor would be zero");
    }
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
    Ok(Floor {
        sweep: cpu / sweeps,
        held,
        opened: left,
    })
}

/// So many files this process may have open, after asking for as many as it may ask for.
fn descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    // Absent means unlimited.
    allowed.unwrap_or(u64::MAX)
}

struct Opened {
    directory: File,
    held: Vec<OwnedFd>,
    left: Vec<&'static str>,
}

impl Opened {
    /// Opens a folder and as many of its files as there is room for in `spare`.
    fn open(folder: &Folder, spare: &mut u64) -> Result<Self> {
        let directory =
            File::open(&folder.path).with_context(|| format!("cannot open {}", folder.path.display()))?;
        let room = usize::try_from(*spare).unwrap_or(usize::MAX);
        let (hold, left) = folder.names.split_at(folder.names.len().min(room));
        let held = hold
            .iter()
            .map(|name| {
                open_file(&directory, name)
                    .with_context(|| format!("cannot open {name} in {}", folder.path.display()))
            })
            .collect::<Result<Vec<_>>>()?;
        *spare -= held.len() as u64;
        Ok(Self {
            directory,
            held,
            left: left.to_vec(),
        })
    }

    /// One `pread` a file: each of these comes in one piece. An error is no matter: the attempt is what is paid for.
    fn sweep(&self, buffer: &mut [u8]) {
        for file in &self.held {
            let _ = pread(file, &mut *buffer, 0);
        }
        for name in &self.left {
            if let Ok(file) = open_file(&self.directory, name) {
                let _ = pread(&file, &mut *buffer, 0);
            }
        }
    }
}

fn open_file(directory: &File, name: &str) -> Result<OwnedFd, Errno> {
    openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// What this thread has used of a processor. Not from `/proc/thread-self/schedstat`: that one stands still while a thread
/// runs.
fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u64::try_from(used.tv_nsec).unwrap_or(0);
    Duration::from_secs(u64::try_from(used.tv_sec).unwrap_or(0)) + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_held_is_held_and_the_rest_is_opened_for_each_sweep() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let names = vec!["Cargo.toml", "src/main.rs"];
        let folder = Folder { path, names };
        for (room, held, left) in [(9, 2, 0), (1, 1, 1), (0, 0, 2)] {
            let mut spare = room;
            let opened = Opened::open(&folder, &mut spare).unwrap();
            assert_eq!((opened.held.len(), opened.left.len()), (held, left));
            assert_eq!(spare, room - held as u64);
        }
        let floor = measure_sweep(&[folder], 2, Duration::ZERO).unwrap();
        assert_eq!((floor.held, floor.opened), (2, 0));
        assert!(measure_sweep(&[], 2, Duration::ZERO).is_err());
    }
}
