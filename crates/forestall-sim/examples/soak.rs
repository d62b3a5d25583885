//! Random worlds of a range of seeds under all checkers, on all cores: what `cargo xtask soak` runs. `soak FROM COUNT`
//! prints a line for each seed in which a rule was broken, and ends with 1 if there was one.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use forestall_decide::Rung;
use forestall_sim::{RunOptions, Violation, What, swarm, swarm_policy};

/// From one word about the progress to the next.
const EVERY: u64 = 50;

/// What came out of one seed.
struct Outcome {
    violations: Vec<Violation>,
    orders: [u64; Rung::ALL.len()],
}

fn run(seed: u64) -> Result<Outcome, forestall_sim::SimError> {
    let options = RunOptions {
        checkers: true,
        keep: usize::MAX,
        ..RunOptions::default()
    };
    let report = swarm(seed, Some(swarm_policy(seed))).run(options, &mut |_| ())?;
    let mut orders = [0; Rung::ALL.len()];
    for event in &report.events {
        if let What::Ordered(order) = &event.what
            && let Some(count) = orders.get_mut(order.rung as usize)
        {
            *count += 1;
        }
    }
    Ok(Outcome {
        violations: report.violations,
        orders,
    })
}

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let [from, count] = numbers[..] else {
        eprintln!("usage: soak FROM COUNT");
        return ExitCode::from(2);
    };
    let (next, done, broken) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let orders: [AtomicU64; Rung::ALL.len()] = Default::default();
    let work = || {
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return;
            }
            let seed = from.wrapping_add(nth);
            match run(seed) {
                Err(error) => {
                    broken.fetch_add(1, Ordering::Relaxed);
                    println!("seed {seed}: {error}");
                }
                Ok(outcome) => {
                    for (sum, own) in orders.iter().zip(outcome.orders) {
                        sum.fetch_add(own, Ordering::Relaxed);
                    }
                    if let Some(first) = outcome.violations.first() {
                        broken.fetch_add(1, Ordering::Relaxed);
                        let more = outcome.violations.len() - 1;
                        let at = first.at.0 / 1000;
                        println!(
                            "seed {seed}: {} at {at} ms on node {}: {} (and {more} more)",
                            first.rule, first.node, first.what
                        );
                    }
                }
            }
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(EVERY) {
                eprintln!(
                    "{done} of {count} seeds, {} broken",
                    broken.load(Ordering::Relaxed)
                );
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let broken = broken.into_inner();
    let ordered = Rung::ALL
        .iter()
        .zip(orders)
        .map(|(rung, count)| format!("{} {}", count.into_inner(), rung.label()));
    println!(
        "{count} seeds from {from}, {broken} broken; orders: {}",
        ordered.collect::<Vec<_>>().join(", ")
    );
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
