//! Shared memory written with write(2): charged to the cgroup, and in no process's RSS.
use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};

use super::noise::Noise;
use super::{Pace, own_number, rest};

const BLOCK_BYTES: u32 = 512 << 10;

/// Fills a file on the tmpfs at /memory.
pub(super) fn fill(rate_bytes: u64, total_bytes: Option<u64>, then_exits: bool) -> Result<()> {
    let path = format!("/memory/{}", own_number()?);
    let mut file = File::create(&path).with_context(|| format!("creating {path}"))?;
    let mut noise = Noise::new();
    let mut pace = Pace::new(rate_bytes);
    let mut written_bytes = 0;
    let mut buffer = Vec::new();
    while total_bytes.is_none_or(|total| written_bytes < total) {
        buffer.clear();
        buffer.extend(
            noise
                .block(BLOCK_BYTES)
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        file.write_all(&buffer)
            .with_context(|| format!("writing {path}"))?;
        written_bytes += u64::from(BLOCK_BYTES);
        pace.wait_for(u64::from(BLOCK_BYTES));
    }
    if then_exits { Ok(()) } else { rest() }
}

/// Fills a file of `size_bytes`, removes it, and begins again.
pub(super) fn fill_and_remove(size_bytes: u64, rate_bytes: u64) -> Result<()> {
    let path = format!("/memory/{}", own_number()?);
    let mut noise = Noise::new();
    loop {
        let mut file = File::create(&path).with_context(|| format!("creating {path}"))?;
        let mut pace = Pace::new(rate_bytes);
        for _ in 0..size_bytes.div_ceil(u64::from(BLOCK_BYTES)) {
            let words = noise.block(BLOCK_BYTES);
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            file.write_all(&bytes)
                .with_context(|| format!("writing {path}"))?;
            pace.wait_for(u64::from(BLOCK_BYTES));
        }
        drop(file);
        std::fs::remove_file(&path).with_context(|| format!("removing {path}"))?;
    }
}
