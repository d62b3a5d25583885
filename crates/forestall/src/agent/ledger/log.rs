//! The kernel's log: opened where it may be, and tried again, seldom and ever more so, where it may not: a device or a right may come later.

use std::os::fd::{AsFd, BorrowedFd};

use forestall_decide::{Moment, Span};
use forestall_kernel::kmsg::KmsgReader;

use super::again::Again;

/// Opens the kernel's log with the oldest record.
pub(super) type Source = Box<dyn Fn() -> Result<KmsgReader, forestall_kernel::Error> + Send>;

/// It is tried again after twice as long each time, up to this.
const RETRY_MAX: Span = Span::secs(600);

/// The log.
pub(super) struct Log {
    source: Source,
    /// `None` while it may not be read.
    pub(super) reader: Option<KmsgReader>,
    /// Why not.
    why: String,
    again: Again,
}

impl Log {
    /// Where it may not be read it is tried again after `pause` at first.
    pub(super) const fn new(source: Source, pause: Span) -> Self {
        Self {
            source,
            reader: None,
            why: String::new(),
            again: Again::new(pause, RETRY_MAX),
        }
    }

    /// Opens it, from its oldest record on.
    pub(super) fn open(&mut self, now: Moment) {
        self.reader = None;
        self.again.begin();
        self.attempt(now);
    }

    /// Tries again where it is time to; true where it has been opened.
    pub(super) fn retry(&mut self, now: Moment) -> bool {
        let is_due = self.reader.is_none() && self.again.is_due(now);
        if is_due {
            self.attempt(now);
        }
        is_due && self.reader.is_some()
    }

    fn attempt(&mut self, now: Moment) {
        match (self.source)() {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => self.why = error.to_string(),
        }
        self.again.tried(now);
    }

    /// Why it cannot be read; `None` while it is.
    pub(super) fn obstacle(&self) -> Option<&str> {
        self.reader.is_none().then_some(&self.why)
    }

    /// The number of the last record that it holds now, which is read through for that.
    pub(super) fn last_sequence(&self) -> Option<u64> {
        let mut reader = (self.source)().ok()?;
        let mut last = None;
        while let Ok(Some(record)) = reader.next_record() {
            last = Some(record.sequence);
        }
        last
    }

    /// What wakes whoever waits for a record.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(KmsgReader::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use forestall_kernel::kmsg::Start;

    use super::*;

    #[test]
    fn a_log_that_may_not_be_read_is_tried_again_ever_more_seldom() {
        let place = Path::new("/nowhere/kmsg");
        let mut log = Log::new(
            Box::new(|| KmsgReader::open(place, Start::Oldest)),
            Span::secs(10),
        );
        log.open(Moment(0));
        assert!(log.obstacle().is_some_and(|why| why.contains("/nowhere/kmsg")));
        let mut tries = Vec::new();
        for second in 0..2000 {
            let now = Moment(second * 1_000_000);
            let is_due = log.again.is_due(now);
            assert!(!log.retry(now));
            if is_due {
                tries.push(second);
            }
        }
        // After 10, 20, 40, 80, 160, 320 and 600 seconds, and then each 600.
        assert_eq!(tries, [10, 30, 70, 150, 310, 630, 1230, 1830]);
    }
}
