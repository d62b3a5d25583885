//! From the thread that decides to the thread that records: a bounded exchange of preallocated slots.
//!
//! [`Tap`] is the deciding thread's end. It never waits and never allocates: an input is copied into a free slot, and where
//! there is none, or none large enough, it is counted as lost and the recording says so. [`Intake`] is the other end.

mod slot;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{
    GroupId, GroupSample, Moment, Outcome, Pods, Policy, ProcessId, ProcessSample, Sample,
};

pub use self::slot::Slot;
use self::slot::{Told, What};
use crate::room::Room;

/// Slots between the two threads at most: at the shortest time between two looks, a third of a second.
const SLOTS_MAX: usize = 32;
/// Slots to begin with. Each costs memory even while it is not used; where the guard rests, it tells of eight glances and a look at
/// once.
const SLOTS_FEW: usize = 12;
/// Where so few are free, more are made.
const FREE_FEW: usize = 2;
/// The room for samples of all slots together, bytes: beyond it no more than the few to begin with are made.
const ROOM_BYTES_MAX: usize = 4 << 20;
/// Inputs that found enough free slots before the surplus is given back, one slot with each further input.
const CALM_INPUTS: u32 = 60;
/// Cgroups whose names are remembered as told; of more at once, the rest stay without.
const TOLD_MAX: usize = 8192;
/// Room for those of them that are kept while the gone are forgotten: nothing may be allocated for them.
const TOLD_ROOM: usize = 2 * TOLD_MAX;

/// Looks up the names of what is known by number.
pub trait Namer {
    /// The path of a cgroup below the hierarchy's root.
    fn group(&self, id: GroupId) -> Option<&[u8]>;
    /// The name of a process (`comm`).
    fn process(&self, id: ProcessId) -> Option<&[u8]>;
}

/// The deciding thread's end.
#[derive(Debug)]
pub struct Tap {
    free: Receiver<Box<Slot>>,
    /// Free ones that are here already. The one that came back last is used first, so that the memory of the others is not
    /// touched; before it one with more room, so that the other end can give back what is too much.
    #[allow(clippy::vec_box, reason = "slots travel in their boxes and are large")]
    spare: Vec<Box<Slot>>,
    full: SyncSender<Box<Slot>>,
    /// For the names of who is new; not here while the recording thread has it.
    told: Option<Box<Told>>,
    lost: u64,
    /// In order, to be searched.
    told_groups: Vec<GroupId>,
    told_processes: Vec<ProcessId>,
}

/// The recording thread's end.
#[derive(Debug)]
pub struct Intake {
    full: Receiver<Box<Slot>>,
    /// Those that came and were not asked for yet, the oldest first.
    waiting: VecDeque<Box<Slot>>,
    free: SyncSender<Box<Slot>>,
    /// Slots there are.
    slots: usize,
    /// Inputs since many waited at once.
    calm: u32,
    groups: Room,
    processes: Room,
}

/// What the intake has found.
#[derive(Debug)]
pub enum Waited {
    /// An input.
    Slot(Box<Slot>),
    /// None came in time.
    Nothing,
    /// None will come any more.
    Closed,
}

/// Makes both ends, with room for samples of this size; more is made when it is needed.
pub fn open(groups: usize, processes: usize) -> (Tap, Intake) {
    let (to_intake, full) = sync_channel(SLOTS_MAX);
    let (to_tap, free) = sync_channel(SLOTS_MAX);
    let tap = Tap {
        free,
        spare: Vec::with_capacity(SLOTS_MAX),
        full: to_intake,
        told: Some(Box::new(Told::new())),
        lost: 0,
        told_groups: Vec::with_capacity(TOLD_ROOM),
        told_processes: Vec::with_capacity(TOLD_ROOM),
    };
    let mut intake = Intake {
        full,
        waiting: VecDeque::with_capacity(SLOTS_MAX),
        free: to_tap,
        slots: 0,
        calm: 0,
        groups: Room::new(groups),
        processes: Room::new(processes),
    };
    intake.make_slots(SLOTS_FEW);
    (tap, intake)
}

impl Tap {
    /// A sample that the engine was given.
    pub fn sample(&mut self, at: Moment, sample: &Sample, names: &dyn Namer) {
        let Some(mut slot) = self.take(at) else { return };
        // Where it does not fit, the slot says so, and the other end makes room.
        if slot.copy_sample(sample) {
            self.tell_names(&mut slot, sample, names);
        }
        self.send(slot);
    }

    /// An outcome.
    pub fn outcome(&mut self, at: Moment, outcome: &Outcome) {
        self.put(at, What::Outcome(*outcome));
    }

    /// A new policy.
    pub fn policy(&mut self, at: Moment, policy: &Policy) {
        self.put(at, What::Policy(*policy));
    }

    /// The pods.
    pub fn pods(&mut self, at: Moment, pods: &Arc<Pods>) {
        self.put(at, What::Pods(Arc::clone(pods)));
    }

    /// The kubelet's configuration.
    pub fn kubelet(&mut self, at: Moment, config: &Arc<KubeletConfig>) {
        self.put(at, What::Kubelet(Arc::clone(config)));
    }

    fn put(&mut self, at: Moment, what: What) {
        if let Some(mut slot) = self.take(at) {
            slot.what = what;
            self.send(slot);
        }
    }

    fn take(&mut self, at: Moment) -> Option<Box<Slot>> {
        for mut slot in self.free.try_iter() {
            if let Some(mut told) = slot.told.take() {
                told.clear();
                self.told = Some(told);
            }
            // There is room for every slot there is.
            self.spare.push(slot);
        }
        // Of several that have as much room the last.
        let roomiest = (0..).zip(&self.spare).max_by_key(|(_, slot)| slot.room());
        let Some(mut slot) = roomiest
            .map(|(place, _)| place)
            .map(|place| self.spare.remove(place))
        else {
            self.lost = self.lost.saturating_add(1);
            return None;
        };
        slot.begin(at, std::mem::take(&mut self.lost));
        Some(slot)
    }

    fn send(&mut self, slot: Box<Slot>) {
        // There are at least as many places as slots, so this fails only where nobody records any more.
        if self.full.try_send(slot).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Whoever is new in this sample; what does not fit is told with a later one.
    fn tell_names(&mut self, slot: &mut Slot, sample: &Sample, names: &dyn Namer) {
        let Some(mut told) = self.told.take() else { return };
        let groups = sample.groups.iter().map(|group| group.id);
        tell(&mut self.told_groups, groups, |id| {
            told.tell_group(id, names.group(id).unwrap_or_default())
        });
        let processes = sample.processes.iter().map(|process| process.id);
        tell(&mut self.told_processes, processes, |id| {
            told.tell_process(id, names.process(id).unwrap_or_default())
        });
        if told.is_empty() {
            self.told = Some(told);
        } else {
            slot.told = Some(told);
        }
    }
}

/// Tells those of `present` that are not in `told`, which is kept in order, and forgets who is gone. Nothing but a search for
/// each of them where nobody is new.
fn tell<T: Ord + Copy>(
    told: &mut Vec<T>,
    present: impl Iterator<Item = T> + Clone,
    mut say: impl FnMut(T) -> bool,
) {
    let known = told.len();
    for id in present.clone() {
        if !is_among(told, known, id) && told.len() < TOLD_MAX && say(id) {
            told.push(id);
        }
    }
    if told.len() > known {
        told.sort_unstable();
        told.dedup();
    }
    // Numbers may be used again once their cgroup is gone, so the gone are forgotten before they are many, or in the way.
    let count = present.clone().count();
    if told.len() > count + count / 2 + 16 || told.len() >= TOLD_MAX {
        keep_present(told, present);
    }
}

/// Leaves those in `told` who are present, and nobody else: who is present and had no room among the names is told later.
fn keep_present<T: Ord + Copy>(told: &mut Vec<T>, present: impl Iterator<Item = T>) {
    let known = told.len();
    for id in present {
        if is_among(told, known, id) && told.len() < TOLD_ROOM {
            told.push(id);
        }
    }
    told.drain(..known);
    told.sort_unstable();
}

/// Whether it is one of the first so many, which are in order.
fn is_among<T: Ord + Copy>(told: &[T], known: usize, id: T) -> bool {
    told.get(..known)
        .is_some_and(|told| told.binary_search(&id).is_ok())
}

impl Intake {
    /// The next input, waiting for it no longer than this. Where so many wait that few slots are free, more are made.
    pub fn wait(&mut self, time: Duration) -> Waited {
        if self.waiting.is_empty() {
            match self.full.recv_timeout(time) {
                Ok(slot) => self.waiting.push_back(slot),
                Err(RecvTimeoutError::Timeout) => return Waited::Nothing,
                Err(RecvTimeoutError::Disconnected) => return Waited::Closed,
            }
        }
        self.waiting.extend(self.full.try_iter());
        if self.waiting.len() + FREE_FEW >= self.slots {
            self.calm = 0;
            self.make_slots((self.slots * 2).min(self.slots_max()));
        }
        self.waiting.pop_front().map_or(Waited::Nothing, Waited::Slot)
    }

    fn slots_max(&self) -> usize {
        let (groups, processes) = (self.groups.get(), self.processes.get());
        let each = groups * size_of::<GroupSample>() + processes * size_of::<ProcessSample>();
        (ROOM_BYTES_MAX / each.max(1)).clamp(SLOTS_FEW, SLOTS_MAX)
    }

    /// Makes as many as are missing to so many.
    fn make_slots(&mut self, wanted: usize) {
        while self.slots < wanted {
            self.slots += 1;
            // There is room for every slot there may be, and the other end is alive or needs none.
            let _ = self
                .free
                .try_send(Box::new(Slot::new(self.groups.get(), self.processes.get())));
        }
    }

    /// Gives a slot back once it is recorded, with more room if a sample did not fit, and with less a while after samples have
    /// become far smaller. Where few were needed for long, there is one
    /// less: the other end then goes on with one that it has not used for long.
    pub fn give_back(&mut self, mut slot: Box<Slot>) {
        self.calm = self.calm.saturating_add(1);
        if self.calm > CALM_INPUTS && self.slots > SLOTS_FEW && slot.told.is_none() {
            self.slots -= 1;
            return;
        }
        if let Some((groups, processes)) = slot.sample_size() {
            self.groups.note(slot.at(), groups);
            self.processes.note(slot.at(), processes);
        }
        slot.make_room(self.groups.get(), self.processes.get());
        // There is room for every slot there is.
        let _ = self.free.try_send(slot);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    struct Nameless;

    impl Namer for Nameless {
        fn group(&self, _: GroupId) -> Option<&[u8]> {
            None
        }

        fn process(&self, _: ProcessId) -> Option<&[u8]> {
            None
        }
    }

    /// Looks of so many names each, until nobody who is present is without one.
    fn looks_until_told(
        told: &mut Vec<u32>,
        present: std::ops::Range<u32>,
        heard: &mut BTreeSet<u32>,
    ) -> usize {
        (1..=100)
            .find(|_| {
                let mut names = 256;
                tell(told, present.clone(), |id| {
                    let room = names > 0;
                    names -= usize::from(room);
                    room && heard.insert(id)
                });
                present.clone().all(|id| heard.contains(&id))
            })
            .unwrap_or_default()
    }

    #[test]
    fn whoever_comes_after_a_crowd_is_told_of_in_the_end() {
        let (mut told, mut heard) = (Vec::with_capacity(TOLD_ROOM), BTreeSet::new());
        // 256 names travel at once.
        assert_eq!(looks_until_told(&mut told, 0..900, &mut heard), 4);
        assert_eq!(looks_until_told(&mut told, 1_000..1_500, &mut heard), 2);
        // Those who stayed are not told again, and the gone are forgotten.
        assert_eq!(told, (1_000..1_500).collect::<Vec<_>>());
    }

    #[test]
    fn as_many_as_are_remembered_may_go_and_others_come() {
        let (mut told, mut heard) = (Vec::with_capacity(TOLD_ROOM), BTreeSet::new());
        let room = told.capacity();
        // Too few have gone to be many, and yet they leave no room: 192, 256, 256 and 96.
        assert_eq!(looks_until_told(&mut told, 0..8_000, &mut heard), 32);
        assert_eq!(looks_until_told(&mut told, 800..8_800, &mut heard), 4);
        assert_eq!(told.capacity(), room);
    }

    #[test]
    fn room_for_a_crowd_is_given_back_by_every_slot_once_it_has_gone() {
        let (mut tap, mut intake) = open(64, 8);
        let mut told = |secs: u64, groups: usize, at_once: u64| {
            let sample = Sample {
                groups: vec![GroupSample::default(); groups],
                ..Sample::default()
            };
            for _ in 0..at_once {
                tap.sample(Moment(secs * 1_000_000), &sample, &Nameless);
            }
            while let Waited::Slot(slot) = intake.wait(Duration::ZERO) {
                intake.give_back(slot);
            }
            let slot = tap.take(Moment(secs * 1_000_000)).expect("all are back");
            tap.spare.push(slot);
            let rooms = tap.spare.iter().map(|slot| slot.room().0);
            (rooms.clone().min(), rooms.max(), tap.spare.len())
        };
        assert_eq!(told(0, 20, 1), (Some(64), Some(64), SLOTS_FEW));
        // Too large for every slot, and then for none.
        for secs in 1..=20 {
            told(secs, 1_000, 8);
        }
        let (_, crowded, slots) = told(21, 1_000, 8);
        assert_eq!(crowded, Some(2_000));
        // At rest: eight glances and a look once a minute.
        for minute in 1..=4 {
            told(21 + minute * 60, 20, 9);
        }
        assert_eq!(told(300, 20, 9), (Some(64), Some(64), slots));
    }
}
