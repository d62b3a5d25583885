//! The workloads: every way to use memory that a scenario needs, each paced by the clock and sized by the machine.
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use forestall_lab_init::plan::{Share, Work};

use crate::machine;

mod anon;
mod crew;
mod file;
mod kernel;
mod mapped;
mod noise;
mod shmem;

/// Does `work`. Most of it never ends by itself.
pub(crate) fn run(work: &Work) -> Result<()> {
    let memory_bytes = machine::memory_bytes()?;
    let bytes = |share: &Share| share.bytes_of(memory_bytes);
    match work {
        Work::Pause => rest(),
        Work::Hold { hold } => anon::hold(bytes(hold)),
        Work::Grow { rate, total, start } => anon::grow(bytes(rate), total.as_ref().map(bytes), bytes(start)),
        Work::Shmem {
            rate,
            total,
            then_exits,
        } => shmem::fill(bytes(rate), total.as_ref().map(bytes), *then_exits),
        Work::Forks {
            each,
            per_second,
            at_most,
        } => anon::fork(*each, *per_second, *at_most),
        Work::PageTables { rate } => kernel::fill_page_tables(bytes(rate)),
        Work::Pipes { rate } => kernel::fill_pipes(bytes(rate)),
        Work::Sockets { rate } => kernel::fill_sockets(bytes(rate)),
        Work::Reread { size, rate } | Work::Stream { size, rate } => {
            file::read_over_and_over(bytes(size), bytes(rate))
        }
        Work::Mapped { size, rate } => mapped::look_over_and_over(bytes(size), bytes(rate)),
        Work::Write { size, rate } => file::write_over_and_over(bytes(size), bytes(rate)),
        Work::Names { per_second } => file::ask_for_names(*per_second),
        Work::Steps { step, every_millis } => anon::step(bytes(step), *every_millis),
        Work::Batch {
            size,
            rate,
            rest_millis,
        } => anon::batch(bytes(size), bytes(rate), *rest_millis),
        Work::Locked { rate } => anon::lock(bytes(rate)),
        Work::Scratch { size, rate } => shmem::fill_and_remove(bytes(size), bytes(rate)),
        Work::Supervised { work } => crew::supervise(work),
        Work::Crew { works } => crew::lead(works),
    }
}

/// Stays, and does nothing.
fn rest() -> ! {
    loop {
        sleep(Duration::from_hours(1));
    }
}

/// The process's number in the guest's first PID namespace, which /proc shows: no two workloads share it.
fn own_number() -> Result<String> {
    let link = std::fs::read_link("/proc/self").context("reading /proc/self")?;
    Ok(link.to_string_lossy().into_owned())
}

/// Allows so many bytes a second, in steps; 0 allows everything at once.
struct Pace {
    start: Instant,
    rate_bytes: u64,
    done_bytes: u64,
}

impl Pace {
    fn new(rate_bytes: u64) -> Self {
        Self {
            start: Instant::now(),
            rate_bytes,
            done_bytes: 0,
        }
    }

    /// Waits until `step_bytes` more are due.
    fn wait_for(&mut self, step_bytes: u64) {
        self.done_bytes = self.done_bytes.saturating_add(step_bytes);
        if self.rate_bytes == 0 {
            return;
        }
        let due_micros = u128::from(self.done_bytes) * 1_000_000 / u128::from(self.rate_bytes);
        let due = Duration::from_micros(u64::try_from(due_micros).unwrap_or(u64::MAX));
        let spent = self.start.elapsed();
        // What starvation has held back is not made up for, or a stalled leak would turn into a burst.
        if let Some(ahead) = due.checked_sub(spent) {
            sleep(ahead);
        } else if spent.saturating_sub(due) > Duration::from_millis(500) {
            *self = Self {
                start: Instant::now(),
                rate_bytes: self.rate_bytes,
                done_bytes: 0,
            };
        }
    }
}
