//! The agent's clock: what the guard, the talk thread and the engine mean by now.

use forestall_decide::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`. It stands still while the machine sleeps, and so does every leak.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment(secs.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}
