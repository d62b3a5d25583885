//! Memory that the kernel holds on a process's behalf: page tables, full pipes, full sockets.
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::net::UnixStream;
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
    raise_descriptors_max()?;
    let mut pace = Pace::new(rate_bytes);
    let full = vec![b'x'; 1 << 20];
    fill_pairs(|| {
        let (read, write) = rustix::pipe::pipe()?;
        let room = rustix::pipe::fcntl_setpipe_size(&write, full.len())?;
        let mut write = File::from(write);
        write.write_all(full.get(..room).unwrap_or(&full))?;
        pace.wait_for(room as u64);
        Ok((read, write))
    })
}

/// What of a message lies in slab, beside its head (`include/linux/skbuff.h`, `SKB_MAX_HEAD`; `net/unix/af_unix.c`, `unix_stream_sendmsg`): 4 KiB
/// of it for a message of this size.
const MESSAGE_BYTES: usize = 3000;

/// Fills both ends of one pair of sockets after another with messages that nobody reads.
pub(super) fn fill_sockets(rate_bytes: u64) -> Result<()> {
    raise_descriptors_max()?;
    let mut pace = Pace::new(rate_bytes);
    let message = [b'x'; MESSAGE_BYTES];
    fill_pairs(|| {
        let (mut one, mut other) = UnixStream::pair()?;
        for end in [&mut one, &mut other] {
            end.set_nonblocking(true)?;
            while end.write(&message).is_ok() {
                pace.wait_for(PAGE_BYTES);
            }
        }
        Ok((one, other))
    })
}

/// Keeps one full pair after another. Out of descriptors, what there is stays full.
fn fill_pairs<T>(mut fill: impl FnMut() -> std::io::Result<T>) -> Result<()> {
    let mut pairs = Vec::new();
    loop {
        match fill() {
            Ok(pair) => pairs.push(pair),
            Err(_) => sleep(Duration::from_secs(1)),
        }
    }
}

/// Two descriptors a pair: more than a process gets by default, fewer than the guest's fs.nr_open.
fn raise_descriptors_max() -> Result<()> {
    let many = Some(1 << 20);
    let limit = Rlimit {
        current: many,
        maximum: many,
    };
    rustix::process::setrlimit(Resource::Nofile, limit).context("descriptors")
}
