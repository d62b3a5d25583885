//! Reads that failed although what they read is there: how many, and the last of them.

use forestall_kernel::Error as KernelError;

/// Failed reads since the sensor was opened.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: u64,
    last: Option<KernelError>,
}

impl Failures {
    /// One more. Allocates nothing.
    pub(crate) fn note(&mut self, error: KernelError) {
        self.count += 1;
        self.last = Some(error);
    }

    /// All of them.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The last one, once.
    pub(crate) const fn take_last(&mut self) -> Option<KernelError> {
        self.last.take()
    }
}
