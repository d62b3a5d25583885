//! Memory that the kernel holds on a process's behalf: page tables, full pipes.
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit};

use super::{Pace, rest};

/// One page of page table covers this much of an address space on x86-64.
const COVERED_BYTES: usize = 2 << 20;
const PAGE_BYTES: u64 = 4096;
/// How much address space one mapping takes: 16 MiB of page tables.
const SPARSE_BYTES: usize = 8 << 30;

/// Reads one byte of every 2 MiB of sparse mappings: each read maps the zero page and costs a page of page table.
pub(super) fn fill_page_tables(rate_bytes: u64) -> Result<()> {
    rustix::thread::disable_transparent_huge_pages(true).context("switching off huge pages")?;
    let mut pace = Pace::new(rate_bytes);
    let mut mappings = Vec::new();
    // Half of the address space that a process has is more than any guest's memory can hold tables for.
    for _ in 0..4096 {
        // Zeroed memory of this size is mapped and not touched; the guest overcommits as a node does.
        let sparse = vec![0_u8; SPARSE_BYTES];
        for step in 0..SPARSE_BYTES / COVERED_BYTES {
            black_box(sparse.get(step * COVERED_BYTES).copied());
            if step % 16 == 0 {
                pace.wait_for(16 * PAGE_BYTES);
            }
        }
        mappings.push(sparse);
    }
    black_box(&mappings);
    rest()
}

/// Fills one pipe after another.
pub(super) fn fill_pipes(rate_bytes: u64) -> Result<()> {
    // Two descriptors a pipe: more than a process gets by default, fewer than the guest's fs.nr_open.
    let many = Some(1 << 20);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: many,
            maximum: many,
        },
    )
    .context("descriptors")?;
    let mut pace = Pace::new(rate_bytes);
    let mut ends: Vec<(OwnedFd, File)> = Vec::new();
    let full = vec![b'x'; 1 << 20];
    loop {
        match rustix::pipe::pipe() {
            Ok((read, write)) => {
                let room = rustix::pipe::fcntl_setpipe_size(&write, full.len()).context("a pipe's size")?;
                let mut write = File::from(write);
                write
                    .write_all(full.get(..room).unwrap_or(&full))
                    .context("filling a pipe")?;
                ends.push((read, write));
                pace.wait_for(room as u64);
            }
            // Out of descriptors: what there is stays full.
            Err(_) => sleep(Duration::from_secs(1)),
        }
    }
}
