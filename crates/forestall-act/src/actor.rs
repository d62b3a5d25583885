//! The act threads and the handle the guard holds. Three threads, because three things may hold a thread up inside the
//! kernel and none of them may delay the others: kills (which never block), reclaims and brakes, and `process_mrelease`.
//!
//! Orders and outcomes travel through bounded queues made at the start; the handle never blocks.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use forestall_decide::{Action, Bytes, Moment, Outcome, OutcomeKind, Rung, Span};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};

use crate::brake_worker::BRAKES_MAX;
use crate::error::ActError;
use crate::evict::{EVICTIONS_MAX, EvictionDesk, Handed};
use crate::journal::Journal;
use crate::kill_worker::{FLIGHTS_MAX, JOINED_MAX, KillWorker};
use crate::lowered::Lowered;
use crate::order::{BrakeEnd, Note, Order, Rejected, Report};
use crate::reclaim_worker::ReclaimWorker;
use crate::release::{Release, release_memory};
use crate::victim::Hands;

/// Orders that wait for each worker at most.
const ORDERS_MAX: usize = 32;
/// Outcomes that wait for the guard at most before the workers keep the rest themselves.
const REPORTS_MAX: usize = 256;
/// Orders that can wait or be under way at once, their outcomes that nobody has taken yet included: the queues, the reclaim and
/// the call of the kernel's OOM killer on their way, brakes, evictions and every kill on its way with all that asked for it, and the
/// reports.
pub const ORDERS_UNDER_WAY_MAX: usize =
    3 * ORDERS_MAX + 2 + BRAKES_MAX + EVICTIONS_MAX + FLIGHTS_MAX * JOINED_MAX + REPORTS_MAX;
/// Victims that wait for `process_mrelease`.
const RELEASES_MAX: usize = 16;
/// Small, because locked memory is paid for in full; the deepest path is the walk down a cgroup's children.
const STACK_BYTES: usize = 256 * 1024;

/// How the act threads are to work.
#[derive(Clone, Debug)]
pub struct ActConfig {
    /// Where the proc file system of the host's PID namespace is mounted.
    pub proc_root: PathBuf,
    /// The agent's own directory. Without one there is no journal, and therefore neither a brake nor a dip of
    /// `memory.high`.
    pub state_dir: Option<PathBuf>,
    /// Use v1's `memory.force_empty`, which cannot be told how much to reclaim. Off unless asked for.
    pub force_empty: bool,
    /// The share of one core that reclaim may use, averaged over ten seconds, in parts of a thousand. An order whose
    /// deadline is within a second is not held back by it.
    pub reclaim_cpu_permille: u64,
    /// Whether `process_mrelease` may be called.
    pub release: Release,
    /// Whether there is somebody who carries out evictions. Nobody takes their orders otherwise.
    pub evicts: bool,
}

impl Default for ActConfig {
    fn default() -> Self {
        Self {
            proc_root: "/proc".into(),
            state_dir: None,
            force_empty: false,
            reclaim_cpu_permille: 10,
            release: Release::default(),
            evicts: false,
        }
    }
}

/// An order with the number of stops there had been when it was given.
#[derive(Debug)]
pub(crate) struct Stamped {
    pub(crate) order: Order,
    pub(crate) reclaims_stopped: u64,
    pub(crate) called_off: u64,
    pub(crate) harsher: u64,
}

/// What the threads and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) proc_root: OwnedFd,
    wake_kill: OwnedFd,
    reported: OwnedFd,
    reports: SyncSender<Report>,
    over: AtomicBool,
    reclaims_stopped: AtomicU64,
    called_off: AtomicU64,
    harsher: AtomicU64,
    lowered: Mutex<Vec<Arc<Lowered>>>,
}

impl Shared {
    /// The handle is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// How often reclaims have been stopped; one that was ordered at a lower number ends.
    pub(crate) fn reclaims_stopped(&self) -> u64 {
        self.reclaims_stopped.load(Ordering::Acquire)
    }

    fn stop_reclaims(&self) {
        self.reclaims_stopped.fetch_add(1, Ordering::AcqRel);
    }

    /// How often everything has been called off; a kill that was ordered at a lower number is not carried further.
    pub(crate) fn called_off(&self) -> u64 {
        self.called_off.load(Ordering::Acquire)
    }

    /// How often something harsher than a brake has been ordered; a brake that was ordered at a lower number is not put on.
    pub(crate) fn harsher(&self) -> u64 {
        self.harsher.load(Ordering::Acquire)
    }

    /// Has the kill thread watch over a `memory.high` that is about to be lowered.
    pub(crate) fn watch(&self, lowered: Arc<Lowered>) {
        self.watched().push(lowered);
        ring(&self.wake_kill);
    }

    /// It is not lowered any more.
    pub(crate) fn unwatch(&self, lowered: &Arc<Lowered>) {
        self.watched().retain(|watched| !Arc::ptr_eq(watched, lowered));
    }

    /// Puts back those of which that is true, before their time. Whoever lowered them finds out what failed.
    pub(crate) fn let_go(&self, why: BrakeEnd, is_meant: impl Fn(&Lowered) -> bool) {
        for lowered in self.watched().iter().filter(|lowered| is_meant(lowered)) {
            let _ = lowered.let_go(why);
        }
    }

    /// Puts back what is due. Answers when to look again; `retry` from now where the worker is still about to lower it.
    pub(crate) fn restore_due(&self, now: Moment, retry: Span) -> Option<Moment> {
        let again = |lowered: &Arc<Lowered>| lowered.restore_again(now, retry);
        self.watched().iter().filter_map(again).min()
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Arc<Lowered>>> {
        self.lowered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The eventfd that wakes the kill thread.
    pub(crate) fn wake_kill(&self) -> BorrowedFd<'_> {
        self.wake_kill.as_fd()
    }

    /// Hands a report to the guard, if there is room.
    pub(crate) fn try_report(&self, report: Report) -> Result<(), Report> {
        match self.reports.try_send(report) {
            Ok(()) => {
                ring(&self.reported);
                Ok(())
            }
            Err(TrySendError::Full(report)) => Err(report),
            // Nobody is left to hear it.
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Reports from a thread that may wait. Progress is dropped rather than waited with.
    pub(crate) fn report(&self, action: &Action, kind: OutcomeKind, freed: Bytes, took: Span, note: Note) {
        let report = report(action, kind, freed, took, note);
        if let Err(report) = self.try_report(report)
            && kind != OutcomeKind::Progress
            && self.reports.send(report).is_ok()
        {
            ring(&self.reported);
        }
    }
}

pub(crate) fn report(action: &Action, kind: OutcomeKind, freed: Bytes, took: Span, note: Note) -> Report {
    let outcome = Outcome {
        action: action.id,
        rung: action.rung,
        kind,
        freed,
        took,
        rest: match note {
            Note::Reclaimed(price) => price.rest,
            _ => Span::default(),
        },
    };
    Report { outcome, note }
}

/// Adds to an eventfd's counter. It can only fail when the counter is full, and then it is readable anyway.
fn ring(bell: impl AsFd) {
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// Sets an eventfd's counter back.
pub(crate) fn silence(bell: impl AsFd) {
    let _ = rustix::io::read(bell, &mut [0; 8]);
}

/// Starts the act threads.
#[derive(Debug)]
pub struct Actor;

impl Actor {
    /// Starts the threads. What an earlier run left lowered must have been put back before (`recover_lowered`).
    pub fn start(config: &ActConfig) -> Result<ActorHandle, ActError> {
        let proc_root = open_proc_root(config)?;
        let hands = Hands::new(open_proc_root(config)?);
        let bell = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(ActError::Eventfd);
        let (reports, reported) = mpsc::sync_channel(REPORTS_MAX);
        let may_release = config.release.is_allowed(proc_root.as_fd());
        let shared = Arc::new(Shared {
            proc_root,
            wake_kill: bell()?,
            reported: bell()?,
            reports,
            over: AtomicBool::new(false),
            reclaims_stopped: AtomicU64::new(0),
            called_off: AtomicU64::new(0),
            harsher: AtomicU64::new(0),
            lowered: Mutex::new(Vec::with_capacity(BRAKES_MAX + 1)),
        });
        let (kills, kill_orders) = mpsc::sync_channel(ORDERS_MAX);
        let (reclaims, reclaim_orders) = mpsc::sync_channel(ORDERS_MAX);
        let (releases, released) = mpsc::sync_channel(RELEASES_MAX);
        let mut desk = None;
        let mut evictions = None;
        if config.evicts {
            let (sender, orders) = mpsc::sync_channel(ORDERS_MAX);
            let bell = Arc::new(bell()?);
            desk = Some(EvictionDesk::new(Arc::clone(&shared), orders, Arc::clone(&bell)));
            evictions = Some((sender, bell));
        }
        let mut handle = ActorHandle {
            shared: Arc::clone(&shared),
            kills: Some(kills),
            reclaims: Some(reclaims),
            evictions,
            desk,
            reports: reported,
            threads: Vec::with_capacity(3),
        };
        let killer = KillWorker {
            shared: Arc::clone(&shared),
            orders: kill_orders,
            hands,
            releases: may_release.then_some(releases),
            flights: Vec::with_capacity(ORDERS_MAX),
            call: None,
            backlog: VecDeque::with_capacity(ORDERS_MAX),
            called_off: 0,
        };
        let reclaimer = ReclaimWorker {
            shared,
            orders: reclaim_orders,
            journal: config.state_dir.as_deref().map(Journal::new),
            force_empty: config.force_empty,
            cpu_permille: config.reclaim_cpu_permille,
        };
        // A thread that does not start drops the handle, which ends those that did.
        handle
            .threads
            .push(spawn("forestall-kill", move || killer.run())?);
        handle
            .threads
            .push(spawn("forestall-recl", move || reclaimer.run())?);
        if may_release {
            handle
                .threads
                .push(spawn("forestall-reap", move || release_all(&released))?);
        }
        Ok(handle)
    }
}

fn open_proc_root(config: &ActConfig) -> Result<OwnedFd, ActError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    rustix::fs::open(&config.proc_root, flags, Mode::empty()).map_err(|errno| ActError::ProcRoot {
        path: config.proc_root.clone(),
        errno,
    })
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ActError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(run)
        .map_err(|source| ActError::Thread { name, source })
}

/// Helps killed processes to give their memory back. A refusal costs only time, the kernel does it at their exit.
fn release_all(killed: &Receiver<OwnedFd>) {
    while let Ok(pidfd) = killed.recv() {
        let _ = release_memory(&pidfd);
    }
}

/// The guard's end of the act threads. Dropping it ends them: kills on their way are not carried further, brakes and dips are
/// put back first.
#[derive(Debug)]
pub struct ActorHandle {
    shared: Arc<Shared>,
    kills: Option<SyncSender<Stamped>>,
    reclaims: Option<SyncSender<Stamped>>,
    evictions: Option<(SyncSender<Handed>, Arc<OwnedFd>)>,
    /// Nobody carries out evictions as long as it lies here.
    desk: Option<EvictionDesk>,
    reports: Receiver<Report>,
    threads: Vec<JoinHandle<()>>,
}

impl ActorHandle {
    /// Hands over an order, without blocking. A kill also ends every reclaim: what is left of one would only compete
    /// with it for locks and processor time. So does a brake, which would have to wait for it.
    pub fn submit(&self, order: Order) -> Result<(), Rejected> {
        match order.action.rung {
            Rung::Reclaim => send(self.reclaims.as_ref(), self.stamp(order)),
            Rung::Brake => {
                self.shared.stop_reclaims();
                send(self.reclaims.as_ref(), self.stamp(order))
            }
            Rung::Kill | Rung::Sysrq => {
                self.shared.stop_reclaims();
                self.order_harsher();
                send(self.kills.as_ref(), self.stamp(order))?;
                ring(&self.shared.wake_kill);
                Ok(())
            }
            Rung::Evict => {
                self.order_harsher();
                self.submit_eviction(order, false)
            }
            // What there is no hand for must never reach one that kills.
            Rung::Warn | Rung::Grow => Err(Rejected::NoHand),
        }
    }

    /// No brake that was ordered before this is put on any more: whoever ends somebody sees only those that are.
    fn order_harsher(&self) {
        self.shared.harsher.fetch_add(1, Ordering::AcqRel);
    }

    /// Hands over an eviction of which nothing but the server's answer is wanted. It has no outcome.
    pub fn rehearse(&self, order: Order) -> Result<(), Rejected> {
        match order.action.rung {
            Rung::Evict => self.submit_eviction(order, true),
            _ => Err(Rejected::NoHand),
        }
    }

    /// Where the evictions lie that are to be carried out; whoever takes it carries them out. Once, and only where
    /// [`ActConfig::evicts`] was set.
    pub fn take_desk(&mut self) -> Option<EvictionDesk> {
        self.desk.take()
    }

    fn submit_eviction(&self, order: Order, is_rehearsal: bool) -> Result<(), Rejected> {
        let Some((orders, bell)) = self.evictions.as_ref().filter(|_| self.desk.is_none()) else {
            return Err(Rejected::NoHand);
        };
        let handed = Handed {
            stamped: self.stamp(order),
            is_rehearsal,
        };
        send(Some(orders), handed)?;
        ring(&**bell);
        Ok(())
    }

    fn stamp(&self, order: Order) -> Stamped {
        Stamped {
            order,
            reclaims_stopped: self.shared.reclaims_stopped(),
            called_off: self.shared.called_off(),
            harsher: self.shared.harsher(),
        }
    }

    /// Ends every reclaim between two of its steps.
    pub fn stop_reclaims(&self) {
        self.shared.stop_reclaims();
    }

    /// Acting is over for now: nobody gets a KILL who has not got it yet, reclaims end, and brakes and dips are put back. Each order is still
    /// answered: a kill that is not carried further with `ECANCELED`, everything else as it ended.
    pub fn call_off(&self) {
        self.shared.called_off.fetch_add(1, Ordering::AcqRel);
        self.shared.stop_reclaims();
        ring(&self.shared.wake_kill);
    }

    /// Readable while a report waits; for the guard's `poll(2)`.
    pub fn reported(&self) -> BorrowedFd<'_> {
        self.shared.reported.as_fd()
    }

    /// The next report, if there is one. Every order is answered by `Progress` any number of times and then by exactly
    /// one other outcome.
    pub fn take_report(&self) -> Option<Report> {
        match self.reports.try_recv() {
            Ok(report) => Some(report),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                // Silenced first and looked at once more, so that a report in between is not slept over.
                silence(&self.shared.reported);
                self.reports.try_recv().ok()
            }
        }
    }

    /// The next outcome, if there is one; `take_report` without its explanation.
    pub fn take_outcome(&self) -> Option<Outcome> {
        self.take_report().map(|report| report.outcome)
    }
}

/// Without waiting.
fn send<T>(orders: Option<&SyncSender<T>>, order: T) -> Result<(), Rejected> {
    orders
        .ok_or(Rejected::Stopped)?
        .try_send(order)
        .map_err(|error| match error {
            TrySendError::Full(_) => Rejected::Busy,
            TrySendError::Disconnected(_) => Rejected::Stopped,
        })
}

impl Drop for ActorHandle {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        drop((self.kills.take(), self.reclaims.take(), self.evictions.take()));
        ring(&self.shared.wake_kill);
        // A worker that waits to report its last outcome must not wait for a guard that is waiting for it.
        while self.reports.try_recv().is_ok() {}
        for thread in self.threads.drain(..) {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
