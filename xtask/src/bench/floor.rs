//! The floor: reading the same files as bare as it gets. Nobody can know what is in them for less.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

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
        let before = thread_cpu()?;
        for file in &open {
            let mut offset = 0;
            // A kernel file may come in pieces; an empty one is its end. So is an error: the attempt is what is paid for.
            while let Ok(count @ 1..) = file.read_at(&mut buffer, offset) {
                offset += count as u64;
            }
        }
        cpu += thread_cpu()?.saturating_sub(before);
        thread::sleep(period.saturating_sub(start.elapsed()));
    }
    Ok(cpu / sweeps)
}

/// What this thread has used of a processor.
fn thread_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no schedstat")?;
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Ok(Duration::from_nanos(
        nanos.context("/proc/thread-self/schedstat is empty")?,
    ))
}
