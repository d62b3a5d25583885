//! The thread that reclaims and brakes: every write here may be held up inside the kernel for as long as reclaim takes, so nothing
//! else runs on it. It refuses to touch a cgroup where reclaim would swap, or that is never touched: by who lives in it, which is
//! asked when an order comes, and by marks, which are asked for before every step.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use forestall_decide::{Bytes, OutcomeKind, Rung, Span};
use rustix::io::Errno;

use crate::actor::{Shared, Stamped};
use crate::brake_worker::Brakes;
use crate::clock;
use crate::dip::prepare_dip;
use crate::error::ActError;
use crate::file::{self, ShortText};
use crate::group;
use crate::inspect::{Refusal, check_marks, check_marks_below, check_residents, lost};
use crate::journal::Journal;
use crate::order::{CgroupPlace, CgroupVersion, Note, Place, ReclaimEnd};
use crate::reclaim::{Book, Next, Reclaim, Step, View};
use crate::victim::PROCESSES_PREPARED;

/// How long a wait for the processor budget goes on without a look at the stop flag.
const NAP_MAX: Span = Span::millis(50);

/// No more than this often a reclaim says how far it has got.
const PROGRESS_EVERY: Span = Span::millis(250);

/// How memory can be reclaimed from one cgroup.
enum Means {
    /// `memory.reclaim`; `swappiness=0` has to be said where swap is on.
    Sized { keep_out_of_swap: bool },
    /// `memory.high`, below Linux 5.19.
    Dip,
    /// v1's `memory.force_empty`, which knows no size.
    ForceEmpty,
}

pub(crate) struct ReclaimWorker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Receiver<Stamped>,
    pub(crate) journal: Option<Journal>,
    pub(crate) force_empty: bool,
    pub(crate) cpu_permille: u64,
}

impl ReclaimWorker {
    /// Takes orders until the handle is gone.
    pub(crate) fn run(self) {
        // Reclaim does not run ahead of the node's own work, whatever priority the thread inherited from the guard.
        let _ = rustix::process::setpriority_process(None, 0);
        let mut book = Book::new(self.cpu_permille);
        let mut pids = Vec::with_capacity(PROCESSES_PREPARED);
        let mut brakes = Brakes::new(Arc::clone(&self.shared), self.journal.clone());
        while let Some(stamped) = self.next(&mut brakes) {
            if stamped.order.action.rung == Rung::Brake {
                brakes.put_on(&stamped);
                continue;
            }
            let Place::Cgroup(place) = &stamped.order.place else {
                let outcome = OutcomeKind::Failed(Errno::INVAL.raw_os_error());
                self.shared.report(
                    &stamped.order.action,
                    outcome,
                    Bytes::ZERO,
                    Span::default(),
                    Note::Misplaced,
                );
                continue;
            };
            self.reclaim(&stamped, place, &mut book, &mut pids, &mut brakes);
        }
        brakes.end_all();
    }

    /// The next order; meanwhile the brakes that are on are looked at. Nothing once the handle is gone.
    fn next(&self, brakes: &mut Brakes) -> Option<Stamped> {
        loop {
            brakes.tend();
            let next = match brakes.rest() {
                None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(rest) => self.orders.recv_timeout(Duration::from_micros(rest.0)),
            };
            match next {
                _ if self.shared.is_over() => return None,
                Ok(stamped) => return Some(stamped),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn reclaim(
        &self,
        stamped: &Stamped,
        place: &CgroupPlace,
        book: &mut Book,
        pids: &mut Vec<u32>,
        brakes: &mut Brakes,
    ) {
        let action = &stamped.order.action;
        let started_at = clock::now();
        let end = |kind, freed, note| {
            self.shared
                .report(action, kind, freed, clock::now().since(started_at), note);
        };
        if !group::is_the_ordered_one(place) {
            return end(OutcomeKind::Gone, Bytes::ZERO, Note::None);
        }
        let proc_root = self.shared.proc_root.as_fd();
        let checked = check_all_marks(place).and_then(|()| check_whoever_is_in_sight(proc_root, place, pids));
        if let Err(refusal) = checked {
            let (kind, note) = refusal.outcome();
            return end(kind, Bytes::ZERO, note);
        }
        let means = match self.choose_means(place) {
            Ok(means) => means,
            Err((errno, ended)) => {
                let kind = OutcomeKind::Failed(errno.raw_os_error());
                return end(kind, Bytes::ZERO, Note::ReclaimEnded(ended));
            }
        };
        let mut reclaim = Reclaim::new(action, place.id, started_at, self.view(stamped, place));
        let mut told_at = started_at;
        loop {
            brakes.tend();
            let now = clock::now();
            match reclaim.next(now, self.view(stamped, place), book) {
                Next::Step(step) => {
                    if let Err(refusal) = check_all_marks(place) {
                        let (kind, note) = refusal.outcome();
                        return end(kind, reclaim.freed(), note);
                    }
                    let did = self.step(place, &means, step);
                    let view = self.view(stamped, place);
                    reclaim.stepped(clock::now(), step, did, view, book);
                    if clock::now().since(told_at) >= PROGRESS_EVERY {
                        told_at = clock::now();
                        end(OutcomeKind::Progress, reclaim.freed(), Note::None);
                    }
                }
                Next::Wait(span) => thread::sleep(Duration::from_micros(span.min(NAP_MAX).0)),
                Next::Finish(kind, ended) => {
                    let price = reclaim.price(ended, self.view(stamped, place), book);
                    return end(kind, reclaim.freed(), Note::Reclaimed(price));
                }
            }
        }
    }

    fn view(&self, stamped: &Stamped, place: &CgroupPlace) -> View {
        let mut buffer = [0; 512];
        let stall_some_micros = file::read_into(&*place.dir, c"memory.pressure", &mut buffer)
            .ok()
            .and_then(file::find_stall_some_micros);
        let (refaulted, inactive_file) = file_cache(place.dir.as_fd());
        let working_set = Bytes(group::current_bytes(place).unwrap_or(0)) - inactive_file;
        View {
            stop: self.shared.is_over() || self.shared.reclaims_stopped() != stamped.reclaims_stopped,
            stall_some_micros,
            refaulted,
            working_set,
            cpu: clock::thread_cpu(),
        }
    }

    fn choose_means(&self, place: &CgroupPlace) -> Result<Means, (Errno, ReclaimEnd)> {
        let unsupported = (Errno::OPNOTSUPP, ReclaimEnd::Unsupported);
        let swap_on = group::is_swap_on(self.shared.proc_root.as_fd());
        if place.version == CgroupVersion::V1 {
            // It takes all cache of all that lies below, so that it is for a leaf alone, whatever was one when it was chosen.
            let is_leaf = !group::has_children(place).map_err(|error| (error, ReclaimEnd::Unsupported))?;
            return match (self.force_empty && is_leaf, swap_on) {
                (true, false) => Ok(Means::ForceEmpty),
                (true, true) => Err((Errno::OPNOTSUPP, ReclaimEnd::WouldSwap)),
                (false, _) => Err(unsupported),
            };
        }
        match file::open_write(&*place.dir, c"memory.reclaim") {
            Ok(reclaim) if swap_on => match file::write_once(&reclaim, b"0 swappiness=0") {
                Ok(()) => Ok(Means::Sized {
                    keep_out_of_swap: true,
                }),
                Err(Errno::INVAL) => Err((Errno::OPNOTSUPP, ReclaimEnd::WouldSwap)),
                Err(error) => Err((error, ReclaimEnd::Unsupported)),
            },
            Ok(_) => Ok(Means::Sized {
                keep_out_of_swap: false,
            }),
            Err(Errno::NOENT) if swap_on => Err((Errno::OPNOTSUPP, ReclaimEnd::WouldSwap)),
            Err(Errno::NOENT) if self.journal.is_some() => Ok(Means::Dip),
            Err(Errno::NOENT) => Err(unsupported),
            Err(error) => Err((error, ReclaimEnd::Unsupported)),
        }
    }

    fn step(&self, place: &CgroupPlace, means: &Means, step: Bytes) -> Step {
        let did = match means {
            Means::Sized { keep_out_of_swap } => reclaim_sized(place, step, *keep_out_of_swap),
            Means::Dip => self.dip(place, step),
            Means::ForceEmpty => measure(place, step, |place| {
                file::write_once(file::open_write(&*place.dir, c"memory.force_empty")?, b"0")
            }),
        };
        match did {
            Ok(did) => did,
            Err(Errno::NODEV | Errno::NOENT) => Step::Gone,
            Err(error) => Step::Failed(error.raw_os_error()),
        }
    }

    /// One dip. Whatever happens in between, the worker itself restores last.
    fn dip(&self, place: &CgroupPlace, step: Bytes) -> Result<Step, Errno> {
        let Some(journal) = &self.journal else {
            return Err(Errno::OPNOTSUPP);
        };
        let Some(dip) = prepare_dip(place, step, clock::now())? else {
            return Ok(Step::Got {
                freed: Bytes::ZERO,
                short: true,
            });
        };
        let dip = Arc::new(dip);
        // Without a synced journal nothing is lowered: a crash would leave the limit behind.
        if let Err(error) = journal.enter(&dip) {
            return Err(match error {
                // An earlier dip of this cgroup could not be put back yet.
                ActError::Journal { source, .. } if source.kind() == ErrorKind::AlreadyExists => Errno::EXIST,
                _ => Errno::ROFS,
            });
        }
        self.shared.watch(Arc::clone(&dip));
        let did = measure(place, step, |_| dip.lower());
        let restored = dip.restore();
        self.shared.unwatch(&dip);
        if restored.is_ok() {
            // An entry that cannot be struck out only keeps further dips of this cgroup away: at the next start the limit
            // is not ours any more.
            let _ = journal.strike(dip.group);
        }
        restored.and(did)
    }
}

/// Whether nobody who lives in the cgroup may be touched. Whom nobody can name here, without the host's PID namespace, is left to
/// the marks: of a reclaim nobody dies.
fn check_whoever_is_in_sight(
    proc_root: BorrowedFd<'_>,
    place: &CgroupPlace,
    pids: &mut Vec<u32>,
) -> Result<(), Refusal> {
    group::list_processes(place, pids).map_err(lost)?;
    pids.retain(|pid| *pid != 0);
    match check_residents(proc_root, place, pids, &mut |_| {}) {
        Err(Refusal::ForeignProc) => Ok(()),
        checked => checked,
    }
}

/// Whether nobody has marked the cgroup, one above it or one below, so that it may not be touched.
fn check_all_marks(place: &CgroupPlace) -> Result<(), Refusal> {
    check_marks(place)?;
    check_marks_below(place)
}

fn reclaim_sized(place: &CgroupPlace, step: Bytes, keep_out_of_swap: bool) -> Result<Step, Errno> {
    let file = file::open_write(&*place.dir, c"memory.reclaim")?;
    let suffix: &[u8] = if keep_out_of_swap { b" swappiness=0" } else { b"" };
    let command = ShortText::number(step.0, suffix);
    let before = group::current_bytes(place);
    match file::write_once(&file, command.as_bytes()) {
        // It got at least what was asked for. Kernels up to 6.5 or so may take half as much again, and what is not
        // counted would be taken once more.
        Ok(()) => Ok(Step::Got {
            freed: fallen(place, before).max(step),
            short: false,
        }),
        // Less was reclaimed than asked for, and the kernel does not say how much: the cgroup's own counter does.
        Err(Errno::AGAIN | Errno::INTR) => Ok(Step::Got {
            freed: fallen(place, before).min(step),
            short: true,
        }),
        Err(error) => Err(error),
    }
}

/// A write that does not say what it brought.
fn measure(
    place: &CgroupPlace,
    step: Bytes,
    write: impl FnOnce(&CgroupPlace) -> Result<(), Errno>,
) -> Result<Step, Errno> {
    let before = group::current_bytes(place);
    match write(place) {
        Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::BUSY) => {}
        Err(error) => return Err(error),
    }
    let freed = fallen(place, before);
    Ok(Step::Got {
        freed,
        short: freed < step,
    })
}

fn fallen(place: &CgroupPlace, before: Option<u64>) -> Bytes {
    Bytes(before.unwrap_or(0)) - Bytes(group::current_bytes(place).unwrap_or(0))
}

/// File pages that were reclaimed and read again, in bytes since the cgroup was made, and its inactive file cache. Kernels
/// before 5.9 and v1 count refaults together with anonymous ones, which errs on the side of leaving the cgroup alone.
fn file_cache(dir: BorrowedFd<'_>) -> (Bytes, Bytes) {
    let mut buffer = [0; file::BUFFER_BYTES];
    let Ok(text) = file::read_into(dir, c"memory.stat", &mut buffer) else {
        return (Bytes::ZERO, Bytes::ZERO);
    };
    let pages = file::find_keyed(text, b"workingset_refault_file")
        .or_else(|| file::find_keyed(text, b"workingset_refault"))
        .unwrap_or(0);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let inactive =
        file::find_keyed(text, b"total_inactive_file").or_else(|| file::find_keyed(text, b"inactive_file"));
    (Bytes(pages.saturating_mul(page)), Bytes(inactive.unwrap_or(0)))
}
