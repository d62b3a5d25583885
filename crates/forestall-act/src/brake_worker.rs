//! Putting brakes on and taking them off, on the thread that reclaims: writing `memory.high` may reclaim, and writing the journal waits
//! for a disk. That a brake comes off in time does not depend on it: the kill thread, which waits for nothing, puts back what is due.
//!
//! What it refuses to do: brake anything but a container, anybody whom nobody can name, or where the kernel would swap instead; put on
//! what was decided a second ago or after something harsher was ordered; and let go of the journal before the limit is back.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;

use forestall_decide::{Action, Bytes, GroupKind, Moment, OutcomeKind, Span};
use rustix::io::Errno;

use crate::actor::{Shared, Stamped};
use crate::brake::{Held, ON_WITHIN, Shown, aim, held_back, hold};
use crate::clock;
use crate::error::ActError;
use crate::file;
use crate::group;
use crate::inspect::{Refusal, check_marks, check_marks_below, check_residents, lost};
use crate::journal::Journal;
use crate::lowered::{High, Lowered, page_bytes};
use crate::order::{BrakeEnd, Braked, CgroupPlace, CgroupVersion, NoBrake, Note, Place};

/// Brakes that are on at once.
pub(crate) const BRAKES_MAX: usize = 8;
/// How often a brake is looked at: whether somebody marked its cgroup, changed its limit, or removed it. Its end is told this late at the
/// most.
const LOOK_EVERY: Span = Span::millis(200);

/// One brake that is on.
struct Brake {
    action: Action,
    place: CgroupPlace,
    lowered: Arc<Lowered>,
    ordered_at: Moment,
    on_at: Moment,
    shown: Shown,
    /// That it could not be put back was told. It is tried again until the handle is gone, and then at the next start.
    is_told: bool,
}

/// Why a brake was not put on.
type Refused = (OutcomeKind, Note);

/// The brakes that are on.
pub(crate) struct Brakes {
    shared: Arc<Shared>,
    journal: Option<Journal>,
    list: Vec<Brake>,
    pids: Vec<u32>,
}

impl Brakes {
    pub(crate) fn new(shared: Arc<Shared>, journal: Option<Journal>) -> Self {
        Self {
            shared,
            journal,
            list: Vec::with_capacity(BRAKES_MAX),
            pids: Vec::new(),
        }
    }

    /// How long nobody needs to look; `None` while there is no brake.
    pub(crate) fn rest(&self) -> Option<Span> {
        let now = clock::now();
        let ends = self.list.iter().map(|brake| brake.lowered.until.since(now));
        ends.min().map(|end| end.min(LOOK_EVERY))
    }

    /// Puts one on, or says why not.
    pub(crate) fn put_on(&mut self, stamped: &Stamped) {
        let (action, ordered_at) = (stamped.order.action, clock::now());
        let did = match &stamped.order.place {
            Place::Cgroup(place) => self.try_to(stamped, place, ordered_at),
            Place::Process { .. } | Place::Node => Err(Refusal::Misplaced.outcome()),
        };
        let (kind, note) = match did {
            Ok(brake) => {
                let note = Note::Braking {
                    high: Bytes(file::parse_number(brake.lowered.ours.as_bytes()).unwrap_or(0)),
                    lasts: hold(&action),
                };
                self.list.push(brake);
                (OutcomeKind::Progress, note)
            }
            Err(refused) => refused,
        };
        let took = clock::now().since(ordered_at);
        self.shared.report(&action, kind, Bytes::ZERO, took, note);
    }

    fn try_to(
        &mut self,
        stamped: &Stamped,
        place: &CgroupPlace,
        ordered_at: Moment,
    ) -> Result<Brake, Refused> {
        let action = stamped.order.action;
        let fail = |errno: Errno| Refusal::Failed(errno).outcome();
        if !matches!(place.kind, GroupKind::Container(_)) {
            return Err((OutcomeKind::Vetoed, Note::NotAContainer));
        }
        if place.version != CgroupVersion::V2 {
            return Err(fail(Errno::OPNOTSUPP));
        }
        let Some(journal) = self.journal.clone() else {
            return Err(fail(Errno::ROFS));
        };
        let is_braked = self.list.iter().any(|brake| brake.place.id == place.id);
        if is_braked || self.list.len() >= BRAKES_MAX {
            return Err(fail(Errno::BUSY));
        }
        self.check(place).map_err(Refusal::outcome)?;
        let lowered = self.prepare(&action, place)?;
        // Without a synced journal nothing is lowered: a crash would leave the limit behind.
        journal.enter(&lowered).map_err(|error| match error {
            // What an earlier one left here could not be put back yet.
            ActError::Journal { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                fail(Errno::EXIST)
            }
            _ => fail(Errno::ROFS),
        })?;
        let mut brake = Brake {
            action,
            place: place.clone(),
            lowered,
            ordered_at,
            on_at: clock::now(),
            shown: show(place),
            is_told: false,
        };
        let Err(refused) = self.lower(stamped, &brake) else {
            brake.on_at = clock::now();
            return Ok(brake);
        };
        if brake.lowered.restore().is_ok() {
            let _ = journal.strike(place.id);
            self.shared.unwatch(&brake.lowered);
        } else {
            // It is told now, and tried again as any other.
            brake.is_told = true;
            self.list.push(brake);
        }
        Err(refused)
    }

    /// The last look, as before a kill: whom nobody can name is not braked either.
    fn check(&mut self, place: &CgroupPlace) -> Result<(), Refusal> {
        if !group::is_the_ordered_one(place) {
            return Err(Refusal::Gone);
        }
        check_marks(place)?;
        check_marks_below(place)?;
        group::list_processes(place, &mut self.pids).map_err(lost)?;
        check_residents(self.shared.proc_root.as_fd(), place, &self.pids, &mut |_| {})
    }

    fn prepare(&self, action: &Action, place: &CgroupPlace) -> Result<Arc<Lowered>, Refused> {
        let fail = |errno: Errno| match lost(errno) {
            // Only here: the kernel knows no such file.
            Refusal::Gone if group::is_the_ordered_one(place) => Refusal::Failed(errno).outcome(),
            refusal => refusal.outcome(),
        };
        if would_swap(self.shared.proc_root.as_fd(), place) {
            return Err((failed(Errno::OPNOTSUPP), Note::NotBraked(NoBrake::WouldSwap)));
        }
        let high = High::open(place, true).map_err(fail)?;
        let held = Held {
            current: group::current_bytes(place).ok_or_else(|| fail(Errno::NODATA))?,
            guaranteed: group::guaranteed_bytes(place),
        };
        let Some(target) = aim(action.bytes, held, page_bytes()) else {
            return Err((OutcomeKind::NoEffect, Note::NotBraked(NoBrake::Guaranteed)));
        };
        let until = clock::now() + hold(action);
        match high.lower_to(place, target, until, true) {
            Some(lowered) => Ok(Arc::new(lowered)),
            None => Err((OutcomeKind::NoEffect, Note::NotBraked(NoBrake::LowAlready))),
        }
    }

    /// The write itself, unless it comes too late. From here on the kill thread knows of it, and whatever is ordered of it from now on
    /// puts it back; what was ordered before is seen here.
    fn lower(&self, stamped: &Stamped, brake: &Brake) -> Result<(), Refused> {
        let lowered = &brake.lowered;
        self.shared.watch(Arc::clone(lowered));
        if !self.is_wanted(stamped) {
            return Err((failed(Errno::CANCELED), Note::None));
        }
        if clock::now().since(brake.ordered_at) > ON_WITHIN {
            return Err((failed(Errno::TIMEDOUT), Note::NotBraked(NoBrake::TooLate)));
        }
        check_marks(&brake.place).map_err(Refusal::outcome)?;
        lowered.lower().map_err(|errno| lost(errno).outcome())?;
        if lowered.ended().is_some() || !self.is_wanted(stamped) {
            return Err((failed(Errno::CANCELED), Note::None));
        }
        match lowered.is_ours() {
            Ok(true) => Ok(()),
            // The kernel made something else of it, or somebody was quicker: what cannot be known as ours is not left standing.
            Ok(false) => Err((failed(Errno::IO), Note::NotBraked(NoBrake::NotKept))),
            Err(errno) => Err(lost(errno).outcome()),
        }
    }

    /// Nothing was called off and nothing harsher ordered since.
    fn is_wanted(&self, stamped: &Stamped) -> bool {
        !self.shared.is_over()
            && self.shared.called_off() == stamped.called_off
            && self.shared.harsher() == stamped.harsher
    }

    /// Looks at every brake that is on, and closes those that are over.
    pub(crate) fn tend(&mut self) {
        let mut index = 0;
        while let Some(brake) = self.list.get_mut(index) {
            let over = see(brake, clock::now());
            if over.is_none_or(|over| !self.close(index, over)) {
                index += 1;
            }
        }
    }

    /// Takes all of them off. For the end.
    pub(crate) fn end_all(&mut self) {
        for brake in &self.list {
            let _ = brake.lowered.let_go(BrakeEnd::Stopped);
        }
        self.tend();
    }

    /// Puts it back, strikes it out, and tells. True if that brake is off the list.
    fn close(&mut self, index: usize, over: Over) -> bool {
        let Some(brake) = self.list.get_mut(index) else {
            return false;
        };
        let now = clock::now();
        let lasted = now.since(brake.on_at);
        let restored = brake.lowered.restore();
        let after = show(&brake.place);
        let grew = after.current - brake.shown.current;
        let braked = Braked {
            ended: over.ended,
            lasted,
            grew,
            held_back: held_back(&brake.action, lasted, grew),
            stalled: match (brake.shown.stall_micros, after.stall_micros) {
                (Some(before), Some(after)) => Some(Span(after.saturating_sub(before))),
                _ => None,
            },
        };
        let (kind, note) = match restored {
            Ok(()) if over.is_gone => (OutcomeKind::Gone, Note::None),
            Ok(()) => (OutcomeKind::Done, Note::Braked(braked)),
            Err(errno) => (failed(errno), Note::NotLifted),
        };
        let took = now.since(brake.ordered_at);
        if !brake.is_told {
            brake.is_told = true;
            let freed = brake.shown.current - after.current;
            self.shared.report(&brake.action, kind, freed, took, note);
        }
        if restored.is_err() {
            return false;
        }
        let brake = self.list.swap_remove(index);
        self.shared.unwatch(&brake.lowered);
        if let Some(journal) = &self.journal {
            // An entry that cannot be struck out only keeps further brakes of this cgroup away: at the next start the limit is as
            // it was before.
            let _ = journal.strike(brake.lowered.group);
        }
        true
    }
}

/// That a brake is over, and how.
#[derive(Clone, Copy)]
struct Over {
    ended: Option<BrakeEnd>,
    is_gone: bool,
}

/// Looks at a brake; `None` while it goes on.
fn see(brake: &Brake, now: Moment) -> Option<Over> {
    let over = |ended| {
        Some(Over {
            ended,
            is_gone: false,
        })
    };
    let lowered = &brake.lowered;
    match lowered.is_ours() {
        Err(Errno::NODEV | Errno::NOENT) => {
            return Some(Over {
                ended: None,
                is_gone: true,
            });
        }
        _ if lowered.ended().is_some() => return over(lowered.ended()),
        _ if now >= lowered.until => return over(None),
        Ok(false) => return over(Some(BrakeEnd::Changed)),
        Ok(true) | Err(_) => {}
    }
    match check_marks(&brake.place) {
        Err(Refusal::Vetoed(_)) => over(Some(BrakeEnd::Marked)),
        _ => None,
    }
}

fn failed(errno: Errno) -> OutcomeKind {
    OutcomeKind::Failed(errno.raw_os_error())
}

fn show(place: &CgroupPlace) -> Shown {
    let mut buffer = [0; 512];
    Shown {
        current: Bytes(group::current_bytes(place).unwrap_or(0)),
        stall_micros: file::read_into(&*place.dir, c"memory.pressure", &mut buffer)
            .ok()
            .and_then(file::find_stall_some_micros),
    }
}

/// Whether what it may not hold would go to swap: it would go on growing, and take that from everybody.
fn would_swap(proc_root: impl AsFd, place: &CgroupPlace) -> bool {
    group::is_swap_on(proc_root.as_fd())
        && !matches!(file::read_number(place.dir.as_fd(), c"memory.swap.max"), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dip::tests::fake;
    use std::fs;

    #[test]
    fn nobody_is_braked_into_the_swap() {
        let proc_root = tempfile::tempdir().expect("a directory");
        let (root, place) = fake("max");
        let swaps = |lines: &str| {
            fs::write(
                proc_root.path().join("swaps"),
                format!("Filename\tType\tSize\tUsed\tPriority\n{lines}"),
            )
            .expect("a file");
            let proc_dir = fs::File::open(proc_root.path()).expect("a directory");
            would_swap(proc_dir, &place)
        };
        assert!(!swaps(""));
        // proc(5): one line for each swap that is on.
        let zram = "/dev/zram0\tpartition\t1048572\t0\t5\n";
        assert!(swaps(zram), "nothing keeps it from the swap");
        fs::write(root.path().join("memory.swap.max"), "max").expect("a file");
        assert!(swaps(zram));
        // The kubelet's NoSwap.
        fs::write(root.path().join("memory.swap.max"), "0").expect("a file");
        assert!(!swaps(zram));
    }
}
