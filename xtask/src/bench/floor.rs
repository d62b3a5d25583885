//! The floor: reading the same files as bare as it gets. Nobody can know what is in them for less.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};

/// The longest file of these is `memory.stat`, 3 KiB with per-node lines; the buffer is never too small for it.
const BUFFER_BYTES: usize = 64 << 10;

/// What one sweep of `pread` over all `files` costs on a processor, measured over `sweeps` of them, one every `period`, so
/// that caches are as cold as the agent finds them.
pub(super) fn measure_sweep(files: &[PathBuf], sweeps: u32, period: Duration) -> Result<Duration> {
    if files.is_empty() || sweeps == 0 {
        bail!("nothing to read: the floor would be zero");
    }
    let mut open = Vec::with_capacity(files.len());
    for path in files {
        open.push(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut cpu = Duration::ZERO;
    for _ in 0..sweeps {
        let start = Instant::now();
        let before = thread_cpu();
        for file in &open {
            let mut offset = 0;
            // A kernel file may come in pieces; an empty one is its end. So is an error: the attempt is what is paid for.
            while let Ok(count @ 1..) = file.read_at(&mut buffer, offset) {
                offset += count as u64;
            }
        }
        cpu += thread_cpu().saturating_sub(before);
        thread::sleep(period.saturating_sub(start.elapsed()));
    }
    Ok(cpu / sweeps)
}

/// What this thread has used of a processor. Not from `/proc/thread-self/schedstat`: that one stands still while a thread
/// runs.
fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u64::try_from(used.tv_nsec).unwrap_or(0);
    Duration::from_secs(u64::try_from(used.tv_sec).unwrap_or(0)) + Duration::from_nanos(nanos)
}
