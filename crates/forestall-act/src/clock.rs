//! The clocks of the act threads. The monotonic one only measures spans, so it need not agree with the guard's.

use forestall_decide::{Moment, Span};
use rustix::event::Timespec;
use rustix::time::{ClockId, clock_gettime};

fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

/// Now, on `CLOCK_MONOTONIC`.
pub(crate) fn now() -> Moment {
    Moment(micros(clock_gettime(ClockId::Monotonic)))
}

/// Processor time this thread has used so far.
pub(crate) fn thread_cpu() -> Span {
    Span(micros(clock_gettime(ClockId::ThreadCPUTime)))
}

/// A span as the kernel takes it.
pub(crate) fn timespec(span: Span) -> Timespec {
    let seconds = span.0 / 1_000_000;
    let nanos = (span.0 % 1_000_000) * 1000;
    Timespec {
        tv_sec: seconds.try_into().unwrap_or(i64::MAX),
        tv_nsec: nanos.try_into().unwrap_or(0),
    }
}
