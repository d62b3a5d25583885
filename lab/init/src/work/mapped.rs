//! A file that is read through a mapping: the kernel learns of each use from the page tables, and not from a call.
//!
//! The only unsafe calls of the workloads: a mapping of a file is as good as the file, and nobody else has this one.
#![allow(unsafe_code)]
use std::fs::File;
use std::io::Write;
use std::ptr;

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, ProtFlags};

use super::Pace;
use super::file::lay_out;

const PAGE_BYTES: usize = 4096;
const STEP_BYTES: usize = 1 << 20;

/// Lays out a file of `size_bytes` and looks at each of its pages over and over, `rate_bytes` a second. So that somebody outside can tell how far it is,
/// as many bytes are written to nowhere (`wchar` of /proc/PID/io).
pub(super) fn look_over_and_over(size_bytes: u64, rate_bytes: u64) -> Result<()> {
    let (file, path) = lay_out(size_bytes)?;
    let mut nowhere = File::create("/dev/null").context("opening /dev/null")?;
    let size = usize::try_from(size_bytes).context("a size that can be mapped")?;
    let size = size - size % STEP_BYTES;
    // SAFETY: a new mapping at no given place. The file was made by this process, which neither shortens nor ends it while it is mapped.
    let start =
        unsafe { rustix::mm::mmap(ptr::null_mut(), size, ProtFlags::READ, MapFlags::SHARED, &file, 0) }
            .with_context(|| format!("mapping {path}"))?
            .cast::<u8>();
    let step = vec![0; STEP_BYTES];
    let mut pace = Pace::new(rate_bytes);
    loop {
        for offset in (0..size).step_by(PAGE_BYTES) {
            // SAFETY: `offset` is below the mapping's size, and the mapping is never taken away.
            let _ = unsafe { ptr::read_volatile(start.add(offset)) };
            if (offset + PAGE_BYTES).is_multiple_of(STEP_BYTES) {
                nowhere.write_all(&step).context("writing to /dev/null")?;
                pace.wait_for(STEP_BYTES as u64);
            }
        }
    }
}
