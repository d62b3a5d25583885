//! `LogScanner` over a node's log that is mostly about other things, in memory. Criterion prints bytes in a second by the clock on the wall.
//!
//! With `--judged` it only prints the line that `cargo xtask bench` judges, `log ours floor floor_best` in nanoseconds for a gigabyte, on
//! a processor: the scan, and a search for a byte that is not there, in the middle and in the best of the rounds. The search is always the same work,
//! so what it takes longer is somebody else's doing.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group};
use forestall_kernel::oom::LogScanner;
use rustix::time::{ClockId, clock_gettime};

#[path = "../src/bench/lines.rs"]
mod lines;

/// More than a processor's caches hold.
const LOG_BYTES: usize = 128 << 20;

/// As the program reads a file.
const BLOCK_BYTES: usize = 256 << 10;

const ROUNDS: usize = 15;
const GIGABYTE: u64 = 1_000_000_000;

/// So many kills are told in it.
fn scan(log: &[u8]) -> usize {
    let mut kills = 0;
    let mut scanner = LogScanner::new();
    for block in log.chunks(BLOCK_BYTES) {
        scanner.feed(block, &mut |report| kills += report.victims.len());
    }
    scanner.finish(&mut |report| kills += report.victims.len());
    kills
}

/// No line has a zero byte in it.
fn search(log: &[u8]) -> bool {
    log.chunks(BLOCK_BYTES)
        .any(|block| memchr::memchr(0, block).is_some())
}

/// Nanoseconds of this thread on a processor, as for a gigabyte, in order of size.
fn time(log: &[u8], mut work: impl FnMut(&[u8])) -> Vec<u64> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec.unsigned_abs() * GIGABYTE + time.tv_nsec.unsigned_abs()
    };
    let mut took: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let begun = now();
            work(black_box(log));
            (now() - begun) * GIGABYTE / log.len() as u64
        })
        .collect();
    took.sort_unstable();
    took
}

fn judge() {
    let (log, kills) = lines::of_a_node(LOG_BYTES);
    let floor = time(&log, |log| assert!(!search(log)));
    let ours = time(&log, |log| assert_eq!(scan(log), kills));
    println!("log {} {} {}", ours[ROUNDS / 2], floor[ROUNDS / 2], floor[0]);
}

fn measure(criterion: &mut Criterion) {
    let (log, _) = lines::of_a_node(LOG_BYTES);
    let mut group = criterion.benchmark_group("a node's log");
    group
        .throughput(Throughput::Bytes(log.len() as u64))
        .sample_size(20);
    group.bench_function("scan", |bencher| bencher.iter(|| scan(black_box(&log))));
    group.bench_function("search", |bencher| bencher.iter(|| search(black_box(&log))));
    group.finish();
}

criterion_group!(benches, measure);

fn main() {
    if std::env::args().any(|argument| argument == "--judged") {
        return judge();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
