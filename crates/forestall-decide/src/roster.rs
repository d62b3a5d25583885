//! Which cgroup of the sample has its history where: what was found out about the order of the groups is kept until that
//! order changes, which it seldom does.
//!
//! Histories lie in slots, so that a container that comes or goes moves nobody else's. It refuses to guess which of two is
//! meant where a number stands in a sample twice: the first has a slot, the second none.

use crate::input::{GroupId, GroupKind, GroupSample, Sample};

/// Histories lie as they do as long as so many slots are used, …
const SLOTS_FEW: usize = 64;
/// … or one in so many: a crowd that comes and goes is not packed each time.
const SLOTS_PER_USED_MAX: usize = 4;

/// What a group was the last time, and where its history is.
#[derive(Clone, Copy, Debug)]
struct Seat {
    id: GroupId,
    kind: GroupKind,
    leaf: bool,
    parent: Option<u32>,
    slot: Option<u32>,
}

/// The groups of the latest sample, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    seats: Vec<Seat>,
    /// The first seat of every number, in order of the numbers.
    by_id: Vec<(GroupId, u32)>,
    /// The slots of the order before, in order of the numbers, while a new one is made.
    before: Vec<(GroupId, Option<u32>)>,
    free: Vec<u32>,
    /// So many slots were ever given out.
    slots: u32,
    /// So many orders there have been.
    order: u64,
    is_odd: bool,
    /// Where in the sample those stand whose limit kills across pods: `kubepods` and the QoS levels.
    pub(crate) shared: Vec<u32>,
    /// `kubepods` alone, …
    pub(crate) kubepods: Vec<u32>,
    /// … pods, …
    pub(crate) pods: Vec<u32>,
    /// … and containers, with the services and scopes of the host, which may have a limit of their own.
    pub(crate) containers: Vec<u32>,
    /// Those right below the root.
    pub(crate) tops: Vec<u32>,
}

impl Roster {
    /// Takes the order of a sample, and tells every slot that somebody new is in. Nothing is done, and no memory taken, where
    /// it is the order of the sample before.
    pub(crate) fn align(&mut self, sample: &Sample, came: impl FnMut(u32, GroupKind)) {
        let same = |(seat, group): (&Seat, &GroupSample)| {
            seat.id == group.id
                && seat.kind == group.kind
                && seat.leaf == group.leaf
                && seat.parent == group.parent
        };
        if self.seats.len() == sample.groups.len() && self.seats.iter().zip(&sample.groups).all(same) {
            return;
        }
        self.order = self.order.wrapping_add(1);
        self.before.clear();
        let old = self.by_id.iter();
        self.before.extend(old.map(|(id, at)| {
            let seat = self.seats.get(*at as usize);
            (*id, seat.and_then(|seat| seat.slot))
        }));
        self.seats.clear();
        self.seats.extend(sample.groups.iter().map(|group| Seat {
            id: group.id,
            kind: group.kind,
            leaf: group.leaf,
            parent: group.parent,
            slot: None,
        }));
        self.by_id.clear();
        self.by_id
            .extend((0..).zip(&self.seats).map(|(at, seat)| (seat.id, at)));
        self.by_id.sort_unstable();
        self.by_id.dedup_by_key(|(id, _)| *id);
        self.seat(came);
        self.sort_out();
    }

    /// Gives every number its slot: the one it had, or one that nobody has any more, or a new one.
    fn seat(&mut self, mut came: impl FnMut(u32, GroupKind)) {
        for (id, at) in &self.by_id {
            let known = self.before.binary_search_by_key(id, |(id, _)| *id).ok();
            let known = known.and_then(|at| self.before.get_mut(at));
            if let (Some(seat), Some((_, slot))) = (self.seats.get_mut(*at as usize), known) {
                seat.slot = slot.take();
            }
        }
        self.free
            .extend(self.before.drain(..).filter_map(|(_, slot)| slot));
        for (_, at) in &self.by_id {
            if let Some(seat) = self.seats.get_mut(*at as usize)
                && seat.slot.is_none()
            {
                let slot = self.free.pop().unwrap_or(self.slots);
                self.slots = self.slots.max(slot.saturating_add(1));
                seat.slot = Some(slot);
                came(slot, seat.kind);
            }
        }
    }

    /// Once a crowd has gone: packs the slots that are in use, and says for each, in order, which one it was. Nothing is done
    /// where a good part of them is in use.
    pub(crate) fn pack(&mut self) -> Option<Vec<usize>> {
        let used = self.by_id.len().max(SLOTS_FEW);
        if self.slots as usize <= used.saturating_mul(SLOTS_PER_USED_MAX) {
            return None;
        }
        let mut seats: Vec<&mut u32> = self
            .seats
            .iter_mut()
            .filter_map(|seat| seat.slot.as_mut())
            .collect();
        seats.sort_unstable();
        let mut packed = Vec::with_capacity(seats.len());
        for (slot, seat) in (0..).zip(seats) {
            packed.push(core::mem::replace(seat, slot) as usize);
            self.slots = slot.saturating_add(1);
        }
        if packed.is_empty() {
            self.slots = 0;
        }
        self.free = Vec::new();
        self.before = Vec::new();
        self.seats.shrink_to_fit();
        self.by_id.shrink_to_fit();
        for list in [
            &mut self.shared,
            &mut self.kubepods,
            &mut self.pods,
            &mut self.containers,
            &mut self.tops,
        ] {
            list.shrink_to_fit();
        }
        Some(packed)
    }

    /// Nothing in the sample is a pod's, or a place for pods: there is nothing that Kubernetes could tell of.
    pub(crate) const fn has_no_pods(&self) -> bool {
        self.shared.is_empty() && self.pods.is_empty()
    }

    fn sort_out(&mut self) {
        let lists = [
            &mut self.shared,
            &mut self.kubepods,
            &mut self.pods,
            &mut self.containers,
            &mut self.tops,
        ];
        for list in lists {
            list.clear();
        }
        self.is_odd = self.by_id.len() < self.seats.len() || self.misplaced().next().is_some();
        for (at, seat) in (0..).zip(&self.seats) {
            if seat.parent.is_none() {
                self.tops.push(at);
            }
            match seat.kind {
                GroupKind::Kubepods => {
                    self.kubepods.push(at);
                    self.shared.push(at);
                }
                GroupKind::Qos(_) => self.shared.push(at),
                GroupKind::Pod(_) => self.pods.push(at),
                GroupKind::Container(_) | GroupKind::Host => self.containers.push(at),
            }
        }
    }

    /// The slot of the group at this place in the sample.
    pub(crate) fn slot(&self, at: usize) -> Option<usize> {
        let slot = self.seats.get(at)?.slot?;
        usize::try_from(slot).ok()
    }

    /// Where in the sample a number stands first.
    pub(crate) fn place(&self, id: GroupId) -> Option<usize> {
        let found = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.by_id.get(found).map(|(_, at)| *at as usize)
    }

    /// The number of the present order: where it is the same, everybody has its place.
    pub(crate) const fn order(&self) -> u64 {
        self.order
    }

    /// The number is that of something outside `kubepods`.
    pub(crate) fn is_of_host(&self, id: GroupId) -> bool {
        let seat = self.place(id).and_then(|at| self.seats.get(at));
        seat.is_some_and(|seat| seat.kind == GroupKind::Host)
    }

    /// The numbers that stand in the sample more than once, once for each time too many.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = GroupId> {
        let without = self.seats.iter().filter(|seat| seat.slot.is_none());
        without.map(|seat| seat.id)
    }

    /// Those whose parent does not stand before them.
    pub(crate) fn misplaced(&self) -> impl Iterator<Item = GroupId> {
        let seats = (0_u32..).zip(&self.seats);
        let misplaced = seats.filter(|(at, seat)| seat.parent.is_some_and(|parent| parent >= *at));
        misplaced.map(|(_, seat)| seat.id)
    }

    /// There are such of either kind.
    pub(crate) const fn is_odd(&self) -> bool {
        self.is_odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: &[u64]) -> Sample {
        let group = |id: &u64| GroupSample {
            id: GroupId(*id),
            ..GroupSample::default()
        };
        Sample {
            groups: ids.iter().map(group).collect(),
            ..Sample::default()
        }
    }

    /// The slots after this order, and which of them somebody new is in.
    fn seated(roster: &mut Roster, ids: &[u64]) -> (Vec<Option<usize>>, Vec<u32>) {
        let mut came = Vec::new();
        roster.align(&sample(ids), |slot, _| came.push(slot));
        ((0..ids.len()).map(|at| roster.slot(at)).collect(), came)
    }

    #[test]
    fn whoever_stays_keeps_its_slot_and_a_free_one_is_used_again() {
        let mut roster = Roster::default();
        assert_eq!(
            seated(&mut roster, &[7, 3, 9]),
            (vec![Some(1), Some(0), Some(2)], vec![0, 1, 2])
        );
        assert_eq!(seated(&mut roster, &[9, 7]), (vec![Some(2), Some(1)], vec![]));
        // 3 left slot 0, which goes to the smaller of the two that came.
        assert_eq!(
            seated(&mut roster, &[9, 5, 4]),
            (vec![Some(2), Some(0), Some(1)], vec![1, 0])
        );
        assert_eq!(roster.place(GroupId(4)), Some(2));
        assert_eq!(roster.place(GroupId(7)), None);
    }

    #[test]
    fn after_a_crowd_the_slots_are_packed_in_order() {
        let mut roster = Roster::default();
        let crowd: Vec<u64> = (1..=1_000).collect();
        seated(&mut roster, &crowd);
        assert_eq!(roster.pack(), None);
        // A quarter is left: nothing is done yet.
        seated(&mut roster, &crowd[750..]);
        assert_eq!(roster.pack(), None);
        seated(&mut roster, &[900, 760, 780]);
        assert_eq!(roster.pack(), Some(vec![759, 779, 899]));
        assert_eq!(
            seated(&mut roster, &[900, 760, 780, 7]),
            (vec![Some(2), Some(0), Some(1), Some(3)], vec![3])
        );
        seated(&mut roster, &crowd);
        seated(&mut roster, &[]);
        assert_eq!(roster.pack(), Some(vec![]));
        assert_eq!(seated(&mut roster, &[8]), (vec![Some(0)], vec![0]));
    }

    #[test]
    fn the_second_of_one_number_has_no_slot() {
        let mut roster = Roster::default();
        assert_eq!(
            seated(&mut roster, &[5, 6, 5]),
            (vec![Some(0), Some(1), None], vec![0, 1])
        );
        assert!(roster.is_odd());
        assert_eq!(roster.repeated().collect::<Vec<_>>(), [GroupId(5)]);
        assert_eq!(roster.place(GroupId(5)), Some(0));
        seated(&mut roster, &[5, 6]);
        assert!(!roster.is_odd());
    }
}
