//! What a disk's filesystem keeps in memory: pages read, pages written, and names.
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};

use anyhow::{Context, Result};
use rustix::fs::Advice;

use super::{Pace, own_number};

const BLOCK_BYTES: usize = 256 << 10;

/// Writes a file of `size_bytes` and reads it without end, `rate_bytes` a second.
pub(super) fn read_over_and_over(size_bytes: u64, rate_bytes: u64) -> Result<()> {
    let (mut file, path) = lay_out(size_bytes)?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut pace = Pace::new(rate_bytes);
    loop {
        file.rewind().with_context(|| format!("reading {path}"))?;
        loop {
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(read) => pace.wait_for(read as u64),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("reading {path}")),
            }
        }
    }
}

/// A file of so many bytes on the disk, of which nothing is in memory; and its name.
pub(super) fn lay_out(size_bytes: u64) -> Result<(File, String)> {
    let path = format!("/data/{}", own_number()?);
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("creating {path}"))?;
    // Only its blocks are laid out: what the cache holds comes from reading, and an unwritten block reads as zeroes
    // without the disk. So the file is written for real, in blocks that the cache drops behind the writer.
    let block = vec![0x5a_u8; BLOCK_BYTES];
    let mut written_bytes = 0;
    while written_bytes < size_bytes {
        file.write_all(&block)
            .with_context(|| format!("writing {path}"))?;
        written_bytes += BLOCK_BYTES as u64;
        if written_bytes % (16 << 20) == 0 {
            file.sync_data().with_context(|| format!("writing {path}"))?;
            // Advice only: where it is not taken, the cache is filled a little earlier.
            let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
    file.sync_data().with_context(|| format!("writing {path}"))?;
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    Ok((file, path))
}

/// Writes a file of `size_bytes` without end, `rate_bytes` a second, and leaves it to the kernel when it reaches the disk.
pub(super) fn write_over_and_over(size_bytes: u64, rate_bytes: u64) -> Result<()> {
    let path = format!("/data/{}", own_number()?);
    let mut file = File::create(&path).with_context(|| format!("creating {path}"))?;
    let block = vec![0x5a_u8; BLOCK_BYTES];
    let mut pace = Pace::new(rate_bytes);
    loop {
        file.rewind().with_context(|| format!("writing {path}"))?;
        for _ in 0..size_bytes.div_ceil(BLOCK_BYTES as u64) {
            file.write_all(&block)
                .with_context(|| format!("writing {path}"))?;
            pace.wait_for(BLOCK_BYTES as u64);
        }
    }
}

/// Asks for names that do not exist, each of them once.
pub(super) fn ask_for_names(per_second: u32) -> Result<()> {
    let own = own_number()?;
    // A name counts as a byte here: the pace knows no other unit.
    let mut pace = Pace::new(u64::from(per_second));
    for number in 0_u64.. {
        // That nothing is there is what was asked for.
        let _ = std::fs::symlink_metadata(format!("/data/{own}-{number}"));
        if number % 256 == 0 {
            pace.wait_for(256);
        }
    }
    Ok(())
}
