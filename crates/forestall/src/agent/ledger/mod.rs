//! The ledger's thread: follows the kernel's log and, where it may, its tracing, keeps each kill once, and says so at once.
//!
//! It waits in poll(2) for what comes next and has no tick. Where the log may not be read, as in a container that is not privileged, tracing and
//! the cgroups' counters tell of kills by themselves; where tracing is not there either, the kernel's counts are looked at every few seconds, which say
//! how many were killed and at whose limit, and not who. Whatever fails here, a panic included, costs the ledger and nothing else:
//! it begins again from what is on disk, hears the ring once more, and keeps what is new. Before the disk is asked the kill is said,
//! so that a disk that hangs delays no alarm.

mod again;
mod counted;
mod eyes;
mod keeper;
mod log;
mod loops;
mod marks;
mod names;
mod relation;
mod said;
mod signals;
mod traced;
mod unwritten;
mod witness;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use forestall_decide::Span;
use forestall_kernel::cgroup::Hierarchy;
use rustix::event::{EventfdFlags, eventfd};

use self::keeper::Keeper;
use self::log::{Log, Source};
use super::shared::Herald;
use crate::forensics::source::open_device;
use crate::ledger::Book;

/// The ledger's place in the agent's own directory.
const DIRECTORY: &str = "ledger";
/// Deep enough for parsing and writing.
const STACK_BYTES: usize = 256 << 10;
/// The agent's start waits so long for what the log holds already: what that takes of the program is given back afterwards.
const FIRST_LOOK_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the end may take.
const END_TIME_MAX: Duration = Duration::from_secs(1);
/// Where nobody tells of kills the kernel's counts are looked at so often, and the log is tried again after two such looks at first.
const BLIND_LOOK: Span = if cfg!(test) {
    Span::millis(20)
} else {
    Span::secs(5)
};
/// What it costs not to keep kills.
const NOT_KEEPING: &str = "kills are counted and not told of or kept";

/// Where, and of which machine.
#[derive(Clone, Debug)]
pub(crate) struct LedgerSetup {
    /// Where the ledger is kept.
    pub(crate) directory: PathBuf,
    /// Where the host's `/dev` and `/proc` are.
    pub(crate) root: PathBuf,
    /// The cgroups whose counters tell what the log leaves out.
    pub(crate) hierarchy: Option<Hierarchy>,
    /// An instance of the kernel's tracing is made for what the log does not tell.
    pub(crate) tracing: bool,
    /// The priority (nice value) the thread is meant to have.
    pub(crate) nice: i32,
}

/// The running thread.
pub(crate) struct Ledger {
    thread: thread::JoinHandle<()>,
    ending: Arc<Ending>,
}

/// What wakes the thread, and for what.
#[derive(Debug)]
pub(crate) struct Ending {
    flag: AtomicBool,
    is_untraced: AtomicBool,
    bell: OwnedFd,
}

impl Ending {
    /// The mode in which tracing is wanted has ended: its instance is removed.
    pub(crate) fn untrace(&self) {
        self.is_untraced.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        // It can only fail when the counter is full, and then the other side is awake.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    fn is_untraced(&self) -> bool {
        self.is_untraced.load(Ordering::Acquire)
    }

    fn has_come(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// Where an agent with this state directory keeps its ledger.
pub(crate) fn directory_in(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY)
}

fn device(root: &Path) -> PathBuf {
    root.join("dev/kmsg")
}

/// Starts the thread, and waits a little until it has heard what there is.
pub(crate) fn start(setup: LedgerSetup, herald: Herald) -> io::Result<Ledger> {
    let device = device(&setup.root);
    start_from(Box::new(move || open_device(&device)), setup, herald)
}

fn start_from(source: Source, setup: LedgerSetup, herald: Herald) -> io::Result<Ledger> {
    start_book(source, setup, herald, None)
}

/// With a ledger that is open already, or will be opened.
fn start_book(source: Source, setup: LedgerSetup, herald: Herald, book: Option<Book>) -> io::Result<Ledger> {
    let ending = Arc::new(Ending {
        flag: AtomicBool::new(false),
        is_untraced: AtomicBool::new(false),
        bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
    });
    herald.desk().set_bell(Arc::clone(&ending));
    let (caught_up, waits) = sync_channel(1);
    let mut keeper = Keeper::new(
        setup,
        Log::new(source, BLIND_LOOK.times(2)),
        herald,
        Arc::clone(&ending),
        caught_up,
        book,
    );
    let thread = thread::Builder::new()
        .name("ledger".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || keeper.run())?;
    // Whatever comes of it, the guard begins.
    let _ = waits.recv_timeout(FIRST_LOOK_TIME_MAX);
    Ok(Ledger { thread, ending })
}

impl Ledger {
    /// The guard has ended: what was heard is noted. A disk that hangs is not waited for.
    pub(crate) fn end(self) {
        self.ending.flag.store(true, Ordering::Release);
        self.ending.ring();
        let steps = END_TIME_MAX.as_millis() / 10;
        for _ in 0..steps {
            if self.thread.is_finished() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests;
