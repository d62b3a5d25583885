//! Evictions, as far as this machine goes: the last look at the pod before the API server is asked, and whether its memory came back.
//!
//! The connection to the API server is the caller's, who takes orders off the [`EvictionDesk`], asks, and answers each exactly once. What this
//! refuses to do: call an eviction done because the server said yes. It is done when nobody lives in the pod's cgroup any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use forestall_decide::{Action, Bytes, GroupKind, Moment, OutcomeKind, Protection};
use rustix::io::Errno;

use crate::actor::{Shared, Stamped, silence};
use crate::clock;
use crate::group;
use crate::inspect::{Refusal, check_marks, check_marks_below, lost};
use crate::order::{BrakeEnd, CgroupPlace, Note, Order, Place, ProcessName};

/// So many are on their way at once; the rest waits.
pub(crate) const EVICTIONS_MAX: usize = 16;

/// An eviction as it was handed over.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) stamped: Stamped,
    /// Nothing is to be changed: what would the server say?
    pub(crate) is_rehearsal: bool,
}

/// Where orders to evict lie. It can be shared; each order is taken once.
#[derive(Debug)]
pub struct EvictionDesk {
    shared: Arc<Shared>,
    orders: Mutex<Receiver<Handed>>,
    bell: Arc<OwnedFd>,
    under_way: Arc<()>,
}

/// One eviction on its way. It is to be answered by [`Eviction::end`].
#[derive(Debug)]
pub struct Eviction {
    shared: Arc<Shared>,
    order: Order,
    place: CgroupPlace,
    called_off: u64,
    is_rehearsal: bool,
    begun: Moment,
    held: Bytes,
    _under_way: Arc<()>,
}

impl EvictionDesk {
    pub(crate) fn new(shared: Arc<Shared>, orders: Receiver<Handed>, bell: Arc<OwnedFd>) -> Self {
        Self {
            shared,
            orders: Mutex::new(orders),
            bell,
            under_way: Arc::new(()),
        }
    }

    /// Readable while an order waits, and now and then without one.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The next order whose pod may be asked for. One whose pod is gone or may not be touched is answered here.
    pub fn take(&self) -> Option<Eviction> {
        silence(&*self.bell);
        loop {
            // This one is not under way, nor is the desk's own.
            if Arc::strong_count(&self.under_way) > EVICTIONS_MAX {
                return None;
            }
            let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            let Handed {
                stamped,
                is_rehearsal,
            } = orders.try_recv().ok()?;
            drop(orders);
            let begun = clock::now();
            let is_late = stamped.called_off != self.shared.called_off();
            let checked = if is_late {
                Err(Refusal::Failed(Errno::CANCELED))
            } else {
                check(&stamped.order)
            };
            match checked {
                Ok(place) => {
                    if !is_rehearsal {
                        // Raising a limit waits for nothing. No brake that was ordered before comes after this.
                        self.shared
                            .let_go(BrakeEnd::Harsher, |lowered| lowered.gives_way_to(Some(&place)));
                    }
                    return Some(Eviction {
                        shared: Arc::clone(&self.shared),
                        held: group::unreclaimable_bytes(&place).unwrap_or_default(),
                        place,
                        order: stamped.order,
                        called_off: stamped.called_off,
                        is_rehearsal,
                        begun,
                        _under_way: Arc::clone(&self.under_way),
                    });
                }
                Err(refusal) if !is_rehearsal => {
                    let (kind, note) = refusal.outcome();
                    let took = clock::now().since(begun);
                    self.shared
                        .report(&stamped.order.action, kind, Bytes::ZERO, took, note);
                }
                Err(_) => {}
            }
        }
    }
}

/// The last look: it is a pod, it is there, nobody has marked it, and it is not ours.
fn check(order: &Order) -> Result<CgroupPlace, Refusal> {
    let Place::Cgroup(place) = &order.place else {
        return Err(Refusal::Misplaced);
    };
    if !matches!(place.kind, GroupKind::Pod(_)) {
        return Err(Refusal::Misplaced);
    }
    if !group::is_the_ordered_one(place) {
        return Err(Refusal::Gone);
    }
    check_marks(place)?;
    check_marks_below(place)?;
    let mut pids = Vec::new();
    group::list_processes(place, &mut pids).map_err(lost)?;
    let own = std::process::id();
    if pids.contains(&own) {
        return Err(Refusal::Vetoed(Note::Protected {
            pid: own,
            name: ProcessName::default(),
            protection: Protection::Essential,
        }));
    }
    Ok(place.clone())
}

impl Eviction {
    /// What was decided.
    pub const fn action(&self) -> &Action {
        &self.order.action
    }

    /// Ask, but have nothing changed (`dryRun`).
    pub const fn is_rehearsal(&self) -> bool {
        self.is_rehearsal
    }

    /// Acting has been called off since: what has not been asked for is not asked for any more.
    pub fn is_called_off(&self) -> bool {
        self.called_off != self.shared.called_off()
    }

    /// The server has agreed; the pod has its grace period.
    pub fn agreed(&self) {
        if !self.is_rehearsal {
            let took = clock::now().since(self.begun);
            self.shared.report(
                self.action(),
                OutcomeKind::Progress,
                Bytes::ZERO,
                took,
                Note::None,
            );
        }
    }

    /// Whether anybody still lives in the pod's cgroup. `true` where that cannot be told.
    pub fn is_there(&self) -> bool {
        group::is_populated(&self.place, &mut Vec::new()).unwrap_or(true)
    }

    /// It is over. Of a rehearsal nobody is told.
    pub fn end(self, kind: OutcomeKind) {
        if self.is_rehearsal {
            return;
        }
        let left = group::unreclaimable_bytes(&self.place).unwrap_or_default();
        let freed = match kind {
            OutcomeKind::Done | OutcomeKind::NoEffect => self.held - left,
            _ => Bytes::ZERO,
        };
        let took = clock::now().since(self.begun);
        self.shared.report(self.action(), kind, freed, took, Note::None);
    }
}

#[cfg(test)]
mod tests;
