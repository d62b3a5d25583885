//! What a look takes: by the wall clock, and of a processor. Two system calls or fewer a reading, and no allocation.

use std::time::{Duration, Instant};

use forestall_decide::Span;
use rustix::time::{ClockId, clock_gettime};

/// Started when a look begins, on the thread that looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
    processor: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            processor: thread_processor(),
        }
    }

    /// Time since then, waiting included.
    pub(crate) fn elapsed(&self) -> Span {
        span(self.started.elapsed())
    }

    /// For how much of it this thread was on a processor.
    pub(crate) fn on_processor(&self) -> Span {
        span(thread_processor().saturating_sub(self.processor))
    }
}

/// Time this thread has been on a processor so far (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)).
fn thread_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    /// Works until this thread has been on a processor for so long, however busy the machine is.
    fn work(time: Duration) {
        let before = thread_processor();
        while thread_processor().saturating_sub(before) < time {}
    }

    #[test]
    fn what_was_waited_for_was_not_on_a_processor() {
        let (done, wait) = channel();
        let watch = Stopwatch::start();
        let other = thread::spawn(move || {
            work(Duration::from_millis(20));
            done.send(()).is_ok()
        });
        wait.recv().unwrap();
        let (waited, own) = (watch.elapsed(), watch.on_processor());
        assert!(other.join().unwrap());
        // The other thread's 20 ms passed meanwhile and are not this one's.
        assert!(waited >= Span::millis(20), "{waited:?}");
        assert!(own < Span::millis(20), "{own:?}");
        work(Duration::from_millis(5));
        assert!(watch.on_processor() >= own + Span(4_999));
    }
}
