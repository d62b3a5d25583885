//! Kills as they come: from a ledger that an agent keeps, or from this machine's kernel where there is none.
//!
//! It waits for the kernel to tell, and ends when nobody reads any more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use forestall_kernel::kmsg::KmsgReader;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::forensics::source::open_kernel;
use crate::forensics::time::zero_of_log_clock;
use crate::ledger::{Entry, Intake, Pages, Tail, boot_id};

/// Where kills come from.
pub(super) enum Stream {
    /// An agent's ledger.
    Ledger(Tail),
    /// The kernel.
    Kernel {
        reader: KmsgReader,
        intake: Box<Intake>,
        /// What is there already needs not be waited for.
        is_first: bool,
    },
}

impl Stream {
    pub(super) fn of_ledger(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self::Ledger(Tail::open(directory)?))
    }

    pub(super) fn of_kernel() -> anyhow::Result<Self> {
        let intake = Pages::default().intake(&boot_id(Path::new("/"))?, zero_of_log_clock());
        Ok(Self::Kernel {
            reader: open_kernel()?,
            intake: Box::new(intake),
            is_first: true,
        })
    }

    /// What has come since the last time; at first what there is.
    pub(super) fn read(&mut self) -> anyhow::Result<Vec<Entry>> {
        match self {
            Self::Ledger(tail) => tail.read(),
            Self::Kernel {
                reader,
                intake,
                is_first,
            } => {
                while let Some(record) = reader.next_record()? {
                    intake.hear(&record);
                }
                if std::mem::take(is_first) {
                    intake.settle();
                }
                intake.set_zero(zero_of_log_clock());
                Ok(intake.take(None).0)
            }
        }
    }

    /// Waits until there may be more; false when nobody reads what is written.
    pub(super) fn wait(&mut self) -> anyhow::Result<bool> {
        let (fd, silence) = match self {
            Self::Ledger(tail) => ((*tail).as_fd(), None),
            Self::Kernel { reader, intake, .. } => ((*reader).as_fd(), intake.silence_micros()),
        };
        let is_read = match wait_for(fd, silence.map(Duration::from_micros))? {
            Woken::Ready => true,
            Woken::Silence => {
                if let Self::Kernel { intake, .. } = self {
                    intake.settle();
                }
                true
            }
            Woken::Unread => false,
        };
        Ok(is_read)
    }
}

/// What ended the waiting.
enum Woken {
    Ready,
    Silence,
    Unread,
}

fn wait_for(fd: BorrowedFd<'_>, patience: Option<Duration>) -> io::Result<Woken> {
    let out = io::stdout();
    // Of stdout only that its reader has gone.
    let mut waited = [
        PollFd::from_borrowed_fd(fd, PollFlags::IN),
        PollFd::new(&out, PollFlags::empty()),
    ];
    let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
    match poll(&mut waited, patience.as_ref()) {
        Ok(0) => Ok(Woken::Silence),
        Ok(_) if !waited.iter().skip(1).all(|out| out.revents().is_empty()) => Ok(Woken::Unread),
        Ok(_) | Err(Errno::INTR) => Ok(Woken::Ready),
        Err(errno) => Err(errno.into()),
    }
}
