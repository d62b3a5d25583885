//! Anonymous memory: held, growing, and spread over many processes.
use std::hint::black_box;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{Share, Work};

use super::noise::Noise;
use super::{Pace, rest};

/// Large enough to be mapped and not carved from a heap, small enough to be paced.
const BLOCK_BYTES: u32 = 512 << 10;

/// Takes `bytes` and keeps them warm.
pub(super) fn hold(bytes: u64) -> Result<()> {
    let mut noise = Noise::new();
    let blocks: Vec<Vec<u64>> = (0..bytes.div_ceil(u64::from(BLOCK_BYTES)))
        .map(|_| noise.block(BLOCK_BYTES))
        .collect();
    loop {
        // A service that does something now and then: one page in 64 is looked at.
        for block in &blocks {
            black_box(block.iter().step_by(32 << 10).sum::<u64>());
        }
        sleep(Duration::from_secs(2));
    }
}

/// Grows by `rate_bytes` a second from `start_bytes` to `total_bytes`, or without end.
pub(super) fn grow(rate_bytes: u64, total_bytes: Option<u64>, start_bytes: u64) -> Result<()> {
    let mut noise = Noise::new();
    let mut blocks: Vec<Vec<u64>> = Vec::new();
    let mut held_bytes = 0;
    while held_bytes < start_bytes {
        blocks.push(noise.block(BLOCK_BYTES));
        held_bytes += u64::from(BLOCK_BYTES);
    }
    let mut pace = Pace::new(rate_bytes);
    while total_bytes.is_none_or(|total| held_bytes < total) {
        blocks.push(noise.block(BLOCK_BYTES));
        held_bytes += u64::from(BLOCK_BYTES);
        pace.wait_for(u64::from(BLOCK_BYTES));
    }
    black_box(&blocks);
    rest()
}

/// Grows by `step_bytes` every `every_millis`, without end.
pub(super) fn step(step_bytes: u64, every_millis: u64) -> Result<()> {
    let mut noise = Noise::new();
    let mut blocks: Vec<Vec<u64>> = Vec::new();
    loop {
        sleep(Duration::from_millis(every_millis));
        blocks.extend((0..step_bytes.div_ceil(u64::from(BLOCK_BYTES))).map(|_| noise.block(BLOCK_BYTES)));
        black_box(&blocks);
    }
}

/// Takes `size_bytes` at `rate_bytes` a second, gives them back, rests, and begins again.
pub(super) fn batch(size_bytes: u64, rate_bytes: u64, rest_millis: u64) -> Result<()> {
    let mut noise = Noise::new();
    loop {
        let mut pace = Pace::new(rate_bytes);
        let mut blocks: Vec<Vec<u64>> = Vec::new();
        for _ in 0..size_bytes.div_ceil(u64::from(BLOCK_BYTES)) {
            blocks.push(noise.block(BLOCK_BYTES));
            pace.wait_for(u64::from(BLOCK_BYTES));
        }
        sleep(Duration::from_millis(rest_millis));
        drop(black_box(blocks));
        sleep(Duration::from_millis(rest_millis));
    }
}

/// Grows without end by memory that is locked.
pub(super) fn lock(rate_bytes: u64) -> Result<()> {
    let all = rustix::mm::MlockAllFlags::CURRENT | rustix::mm::MlockAllFlags::FUTURE;
    rustix::mm::mlockall(all).context("locking memory")?;
    grow(rate_bytes, None, 0)
}

/// Starts `per_second` processes a second, at most `at_most`, that hold `each`.
pub(super) fn fork(each: Share, per_second: u32, at_most: u32) -> Result<()> {
    let program = std::env::args().next().context("the program's own name")?;
    let work = serde_json::to_string(&Work::Hold { hold: each })?;
    let pause = Duration::from_secs(1) / per_second.max(1);
    let mut children = Vec::new();
    for _ in 0..at_most {
        match Command::new(&program).arg("work").arg(&work).spawn() {
            Ok(child) => children.push(child),
            // Out of memory for a new process is what a fork bomb is about; it goes on trying.
            Err(_) => sleep(pause),
        }
        sleep(pause);
    }
    black_box(&children);
    rest()
}
