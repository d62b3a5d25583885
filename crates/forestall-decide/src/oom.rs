//! Whose limit it was that the kernel killed at: the machine's end, that of `kubepods`, or a cgroup's own.
//!
//! cgroup v2 tells: beside the kill (`oom_kill`, which the whole machine's want of memory raises as well) it counts the limit
//! that led to it (`oom`), in that limit's own cgroup and, summed, in those above, where it outlives the victim's cgroup. v1 counts the
//! kill in the victim's cgroup alone, and of limits only that a charge failed, which reclaim may have answered: there it takes a
//! limit that was nearly full, too. Where neither is known, whoever stood near its limit is who it was. What it refuses to do:
//! guess between several on v1. Such a kill has no wall.

use crate::decision::WallKind;
use crate::history::{History, Wall};
use crate::input::{GroupId, GroupKind, GroupSample, LimitHits, Sample};
use crate::tree::{children, lineage};
use crate::units::{Bytes, Moment, Span};
use crate::window::Track;

/// The kernel counts the limit first, then writes its report, which a slow console holds up for seconds, and then counts the
/// kill (`dump_header`, `__oom_kill_process` in `mm/oom_kill.c`).
pub(crate) const REPORT_TAKES: Span = Span::secs(5);

/// Kills by the kernel since the sample before whose wall is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Explained {
    /// At a limit of the victim's own, certainly: no other wall's memory comes back.
    pub(crate) own: u64,
    /// At another wall, or only likely at one of the victim's own: enough to score an alarm by, and not to decide by.
    pub(crate) booked: u64,
    /// Among those: nobody can say at which wall.
    pub(crate) unplaced: u64,
}

impl Explained {
    /// What is left of these after so many kills that the machine counts: it has not told of the rest yet.
    pub(crate) const fn ahead_of(self, fresh: u64) -> Self {
        Self {
            own: self.own.saturating_sub(fresh),
            booked: self.booked.saturating_sub(fresh.saturating_sub(self.own)),
            unplaced: 0,
        }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            own: self.own.saturating_add(other.own),
            booked: self.booked.saturating_add(other.booked),
            unplaced: self.unplaced.saturating_add(other.unplaced),
        }
    }

    pub(crate) const fn all(self) -> u64 {
        self.own.saturating_add(self.booked)
    }

    fn add(&mut self, place: Place, kills: u64, reached: &mut Vec<Wall>) {
        let (count, wall) = match place {
            Place::Own(wall) => (&mut self.own, wall),
            Place::Likely(wall) | Place::Shared(wall) => (&mut self.booked, Some(wall)),
            Place::Nobody => {
                self.unplaced = self.unplaced.saturating_add(kills);
                (&mut self.booked, None)
            }
            Place::Untold => return,
        };
        *count = count.saturating_add(kills);
        reached.extend(wall);
    }
}

/// Where somebody was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At a limit of the victim's own; none where that limit is no wall, because it lies within a container.
    Own(Option<Wall>),
    /// Probably at this one of the victim's own.
    Likely(Wall),
    /// At the machine's wall or that of `kubepods`.
    Shared(Wall),
    /// That cannot be known.
    Nobody,
    /// The cgroup tells nothing of it: the machine's count decides.
    Untold,
}

/// What the kernel has counted of one cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// `None` until it has been seen.
    kills: Option<u64>,
    hits: LimitHits,
    /// When its own limit was met last.
    own: Met,
    /// When that of somebody below it was, who is not followed or gone.
    below: Met,
    /// The container of this pod that stood near its own limit.
    pressed: Option<GroupId>,
}

/// When a limit was met last.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    at: Option<Moment>,
    /// Kills were explained by it, which were all that it led to: those that are told of later were somewhere else.
    is_used: bool,
}

impl Met {
    fn look(&mut self, now: Moment, is_met: bool) {
        if core::mem::take(&mut self.is_used) {
            self.at = None;
        }
        if is_met {
            self.at = Some(now);
        }
    }

    /// It was a moment ago.
    fn is_recent(self, now: Moment) -> bool {
        self.at
            .is_some_and(|at| now >= at && now.since(at) <= REPORT_TAKES)
    }
}

/// How much more often limits were met than at the look before.
#[derive(Clone, Copy, Debug, Default)]
struct Risen {
    own: u64,
    within: u64,
}

impl History {
    fn counted(&self, at: usize) -> Option<&Counted> {
        self.counted.get(self.roster.slot(at)?)
    }

    fn counted_mut(&mut self, at: usize) -> Option<&mut Counted> {
        self.counted.get_mut(self.roster.slot(at)?)
    }

    /// The kernel's kills since the sample before in the group at this place.
    pub(crate) fn fresh_kills(&self, at: usize, group: &GroupSample) -> u64 {
        let known = self.counted(at).and_then(|counted| counted.kills);
        known.map_or(0, |known| group.oom_kills.saturating_sub(known))
    }

    fn risen(&self, at: usize, group: &GroupSample) -> Risen {
        let before = self
            .counted(at)
            .map_or(LimitHits::Unknown, |counted| counted.hits);
        let (own, within) = match (before, group.limit_hits) {
            (LimitHits::Ooms { own, within }, LimitHits::Ooms { own: o, within: w }) => {
                (o.saturating_sub(own), w.saturating_sub(within))
            }
            (LimitHits::Failures(before), LimitHits::Failures(now)) => (now.saturating_sub(before), 0),
            _ => (0, 0),
        };
        Risen { own, within }
    }

    /// Of what was counted within this one so much more is neither its own nor that of those below it that are there.
    fn risen_below(&self, sample: &Sample, at: usize, group: &GroupSample) -> u64 {
        let risen = self.risen(at, group);
        let rest = risen.within.saturating_sub(risen.own);
        if rest == 0 {
            return 0;
        }
        let theirs = children(sample, at).filter_map(|child| {
            let place = self.roster.place(child.id)?;
            Some(self.risen(place, child).within)
        });
        theirs.fold(rest, u64::saturating_sub)
    }

    /// Takes over how many kills the kernel has counted of a group. False where that went back.
    pub(crate) fn count(&mut self, at: usize, group: &GroupSample) -> bool {
        let Some(counted) = self.counted_mut(at) else {
            return true;
        };
        let sane = counted.kills.is_none_or(|before| group.oom_kills >= before);
        counted.kills = Some(group.oom_kills);
        sane
    }

    /// Takes over how often limits were met; to be asked of parents before their children.
    fn meet_limits(&mut self, now: Moment, sample: &Sample, at: usize, group: &GroupSample) {
        let own = self.risen(at, group).own > 0;
        let below = self.risen_below(sample, at, group) > 0;
        if let Some(counted) = self.counted_mut(at) {
            counted.hits = group.limit_hits;
            counted.own.look(now, own);
            counted.below.look(now, below);
        }
    }

    /// A limit that was met has explained the kills of the group at this place, and no later ones.
    fn use_up(&mut self, now: Moment, sample: &Sample, at: usize) {
        if self.is_hit_below(now, at) {
            if let Some(counted) = self.counted_mut(at) {
                counted.below.is_used = true;
            }
            return;
        }
        let hit = lineage(sample, at).find(|above| self.is_hit(now, above));
        if let Some(counted) = hit.and_then(|hit| self.counted_mut(self.roster.place(hit.id)?)) {
            counted.own.is_used = true;
        }
    }

    /// The clock went back by so much: a limit that was met is not met anew when it has come so far again.
    pub(crate) fn set_back_counted(&mut self, by: Span) {
        for counted in &mut self.counted {
            for met in [&mut counted.own, &mut counted.below] {
                met.at = met.at.map(|at| at.before(by));
            }
        }
    }

    /// Remembers for its pod that a container is near its own limit.
    pub(crate) fn note_pressed(&mut self, at: usize, group: &GroupSample) {
        let pressed = group.leaf && self.stood_near_its_limit(group, Track::after_one_more);
        let (place, whom) = match (group.kind, group.parent) {
            (GroupKind::Pod(_), _) => (at, None),
            (GroupKind::Container(_), Some(pod)) if pressed => (pod as usize, Some(group.id)),
            _ => return,
        };
        let slot = self.roster.slot(place);
        if let Some(of_pod) = slot.and_then(|slot| self.counted.get_mut(slot)) {
            of_pod.pressed = whom;
        }
    }

    /// The kills that cgroups tell of, and puts their walls into `reached`. To be asked once, before the sample is taken in.
    pub(crate) fn place_kills(&mut self, now: Moment, sample: &Sample, reached: &mut Vec<Wall>) -> Explained {
        let mut explained = Explained::default();
        for (at, group) in sample.groups.iter().enumerate() {
            self.meet_limits(now, sample, at, group);
            let fresh = self.fresh_kills(at, group);
            if fresh == 0 {
                continue;
            }
            // A container that is gone by now left its kill to its pod, whose counter holds those of all that were ever in it.
            let seen = children(sample, at)
                .filter_map(|child| Some(self.fresh_kills(self.roster.place(child.id)?, child)));
            let here = seen.fold(fresh, u64::saturating_sub);
            if here > 0 {
                explained.add(self.place_of(now, sample, at, group), here, reached);
                self.use_up(now, sample, at);
            }
        }
        explained
    }

    /// Where those were killed of whom this group is the innermost to tell.
    fn place_of(&self, now: Moment, sample: &Sample, at: usize, group: &GroupSample) -> Place {
        match group.limit_hits {
            LimitHits::Ooms { .. } => self.place_by_ooms(now, sample, at, group),
            LimitHits::Failures(_) => self.place_by_failures(now, sample, at),
            LimitHits::Unknown => self.place_by_nearness(sample, at, group),
        }
    }

    fn place_by_ooms(&self, now: Moment, sample: &Sample, at: usize, group: &GroupSample) -> Place {
        if self.is_hit_below(now, at) {
            return Place::Own(match group.kind {
                _ if group.leaf => None,
                GroupKind::Pod(_) => Some(self.gone_of(at).unwrap_or((WallKind::Container, Some(group.id)))),
                // Not even its pod is left.
                _ => Some((WallKind::Container, Some(group.id))),
            });
        }
        lineage(sample, at)
            .find(|above| self.is_hit(now, above))
            .map_or(Place::Shared((WallKind::Kernel, None)), place_at)
    }

    fn place_by_failures(&self, now: Moment, sample: &Sample, at: usize) -> Place {
        let hit = || lineage(sample, at).filter(|above| self.is_hit(now, above));
        let full = hit().find(|above| self.was_nearly_full(above, Track::after_one_more));
        if let Some(above) = full {
            return place_at(above);
        }
        match self.nearest_of(hit()) {
            Some((above, room)) if is_nearer(room, self.room_of_machine(sample)) => place_at(above),
            Some(_) => Place::Nobody,
            None => Place::Shared((WallKind::Kernel, None)),
        }
    }

    fn place_by_nearness(&self, sample: &Sample, at: usize, group: &GroupSample) -> Place {
        if group.leaf {
            let near = lineage(sample, at).find(|above| self.stood_near_its_limit(above, Track::latest));
            let near = near.or_else(|| self.nearest_own_limit(sample, at));
            return near.map_or(Place::Untold, place_at);
        }
        match group.kind {
            GroupKind::Pod(_) => match self.gone_of(at) {
                Some(wall) => Place::Likely(wall),
                None if self.stood_near_its_limit(group, Track::after_one_more) => {
                    Place::Likely((WallKind::Pod, Some(group.id)))
                }
                None => Place::Untold,
            },
            _ => Place::Untold,
        }
    }

    /// Where those were killed of whom the machine tells alone. Puts the walls into `reached`; false where it cannot be known.
    pub(crate) fn place_rest(&mut self, now: Moment, sample: &Sample, reached: &mut Vec<Wall>) -> bool {
        let mut groups = sample.groups.iter();
        if groups.any(|group| matches!(group.limit_hits, LimitHits::Failures(_))) {
            return self.place_rest_by_failures(now, sample, reached);
        }
        reached.push((WallKind::Kernel, None));
        let kubepods = self.roster.kubepods.iter().map(|at| *at as usize);
        let hit = kubepods.filter_map(|at| Some((at, sample.groups.get(at)?)));
        let may_be = hit
            .filter(|(at, group)| group.limit_hits == LimitHits::Unknown && self.fresh_kills(*at, group) > 0);
        reached.extend(may_be.map(|(_, group)| (WallKind::Kubepods, Some(group.id))));
        true
    }

    /// On v1 a cgroup that is gone took its count along. Whoever's limit was met and nearly full is who it was, or a container that
    /// was near its own and is gone; where these are several, nobody knows.
    fn place_rest_by_failures(&mut self, now: Moment, sample: &Sample, reached: &mut Vec<Wall>) -> bool {
        let gone = self
            .roster
            .pods
            .iter()
            .filter_map(|at| self.gone_of(*at as usize));
        let hit = sample.groups.iter().filter(|group| self.is_hit(now, group));
        let full = hit.filter(|group| self.was_nearly_full(group, Track::after_one_more));
        let full = full.map(wall_of);
        // Whoever's kills are told by itself is not asked twice.
        let told = reached.len();
        let candidates = gone.chain(full).filter(|wall| !reached.contains(wall));
        let mut candidates = candidates.collect::<Vec<_>>().into_iter();
        match (candidates.next(), candidates.next()) {
            (Some(wall), None) => {
                reached.push(wall);
                let place = wall.1.and_then(|id| self.roster.place(id));
                if let Some(counted) = place.and_then(|at| self.counted_mut(at)) {
                    counted.own.is_used = true;
                }
            }
            (None, _) if self.machine_was_nearly_full(sample) => reached.push((WallKind::Kernel, None)),
            _ => {}
        }
        reached.len() > told
    }

    /// The wall of this pod's container that was near its own limit and is gone.
    fn gone_of(&self, at: usize) -> Option<Wall> {
        let pressed = self.counted(at)?.pressed?;
        let gone = self.roster.place(pressed).is_none();
        gone.then_some((WallKind::Container, Some(pressed)))
    }

    /// Its own limit was met a moment ago.
    fn is_hit(&self, now: Moment, group: &GroupSample) -> bool {
        let counted = self.roster.place(group.id).and_then(|at| self.counted(at));
        counted.is_some_and(|counted| counted.own.is_recent(now))
    }

    /// That of somebody below it was, who is not followed or gone.
    fn is_hit_below(&self, now: Moment, at: usize) -> bool {
        self.counted(at)
            .is_some_and(|counted| counted.below.is_recent(now))
    }

    /// What was left below its limit at the look before.
    fn room(&self, group: &GroupSample) -> Option<Bytes> {
        let held = self.group(group.id)?.held().latest();
        group.limit.bytes().map(|limit| limit - held)
    }

    fn room_of_machine(&self, sample: &Sample) -> Bytes {
        sample.node.ordinary() - self.node.held().latest()
    }

    fn nearest_of<'a>(
        &self,
        groups: impl Iterator<Item = &'a GroupSample>,
    ) -> Option<(&'a GroupSample, Bytes)> {
        let rooms = groups.filter_map(|group| Some((group, self.room(group)?)));
        rooms.min_by_key(|(_, room)| *room)
    }

    /// The limit above this place that is a cgroup's own and was nearer than any other by half, the machine's end among these: a
    /// leak that is fast enough was nowhere near its limit at the look before.
    fn nearest_own_limit<'a>(&self, sample: &'a Sample, at: usize) -> Option<&'a GroupSample> {
        let own = self.nearest_of(lineage(sample, at).filter(|above| is_own(above)));
        let shared = self.nearest_of(lineage(sample, at).filter(|above| !is_own(above)));
        let machine = self.room_of_machine(sample);
        let others = shared.map_or(machine, |(_, room)| room.min(machine));
        own.filter(|(_, room)| is_nearer(*room, others))
            .map(|(group, _)| group)
    }

    fn stood_near_its_limit(&self, group: &GroupSample, look: fn(&Track) -> Bytes) -> bool {
        is_own(group) && self.was_nearly_full(group, look)
    }

    fn was_nearly_full(&self, group: &GroupSample, look: fn(&Track) -> Bytes) -> bool {
        let known = self.group(group.id).filter(|known| known.is_known());
        let held = known.map(|known| look(known.held()));
        let limit = group.limit.bytes();
        limit
            .zip(held)
            .is_some_and(|(limit, held)| is_nearly_all(held, limit))
    }

    fn machine_was_nearly_full(&self, sample: &Sample) -> bool {
        is_nearly_all(self.node.held().after_one_more(), sample.node.ordinary())
    }
}

/// A limit is near enough to be the reason: the sample before the kill is a little older than the kill.
fn is_nearly_all(held: Bytes, limit: Bytes) -> bool {
    const NEAR_PERMILLE: u64 = 750;
    held >= limit.permille(NEAR_PERMILLE)
}

/// Nearer by half.
fn is_nearer(room: Bytes, other: Bytes) -> bool {
    room + room <= other
}

const fn is_own(group: &GroupSample) -> bool {
    !matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_))
}

/// The wall that a group's limit is.
const fn wall_of(group: &GroupSample) -> Wall {
    let kind = match group.kind {
        GroupKind::Kubepods | GroupKind::Qos(_) => WallKind::Kubepods,
        GroupKind::Pod(_) => WallKind::Pod,
        GroupKind::Container(_) | GroupKind::Host => WallKind::Container,
    };
    (kind, Some(group.id))
}

const fn place_at(group: &GroupSample) -> Place {
    if is_own(group) {
        Place::Own(Some(wall_of(group)))
    } else {
        Place::Shared(wall_of(group))
    }
}
