//! The tracks of everything that is followed: the machine, each cgroup, each process outside `kubepods`.
//!
//! Tracks come and go with what they follow. A cgroup is known by its inode and a process by its start time, so a
//! recycled PID or a recreated container starts a track of its own.

use std::collections::BTreeMap;

use crate::climb::Climb;
use crate::decision::{Ignored, WallKind};
use crate::ground::Ground;
use crate::input::{GroupId, GroupKind, GroupSample, ProcessId, Sample, Stall};
use crate::oom::Counted;
use crate::ring::Lapse;
use crate::roster::Roster;
use crate::swap::beside_swap;
use crate::tree::is_within;
use crate::units::{Bytes, Moment, Span};
use crate::window::{Track, WINDOWS};

/// A wall: which, and whose limit.
pub(crate) type Wall = (WallKind, Option<GroupId>);

/// The history of one cgroup or of the machine. It is kept small: a step walks through all of them.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Memory that reclaim can give back neither as it is nor by way of swap: what comes nearer to a wall.
    pub(crate) unreclaimable: Track,
    /// What is held of it, swap in use and what could go there included; only where there is swap, else it is the same.
    held: Option<Box<Track>>,
    ground: Ground,
    climb: Climb,
    filled: Lapse,
    start: Start,
    stall: Lapse<Stall>,
    /// Only for what the kubelet has a wall at, or may have to end somebody in.
    shared: Option<Box<Shared>>,
}

/// What matters only where many share a limit.
#[derive(Clone, Debug)]
struct Shared {
    working_set: Track,
    stall: Lapse<Stall>,
}

/// What somebody takes as soon as it is started: the most that it held within half a minute of when it was seen first.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    seen_at: Option<Moment>,
    held: Bytes,
}

impl Start {
    const TAKES: Span = Span::secs(30);

    fn push(&mut self, now: Moment, held: Bytes) {
        let since = *self.seen_at.get_or_insert(now);
        if now.since(since) <= Self::TAKES {
            self.held = self.held.max(held);
        }
    }
}

/// Whether tasks can have waited for so long since the last look. The kernel brings its totals up to date every two seconds
/// (kernel/sched/psi.c, `PSI_FREQ`), and at rest what a sample says of them is up to five seconds old.
fn is_credible(last: Option<(Moment, Stall)>, now: Moment, stall: Stall) -> bool {
    const SLACK_MICROS: u64 = 10_000_000;
    last.is_none_or(|(at, last)| {
        let most = now.since(at).0.saturating_add(SLACK_MICROS);
        let fits = |from: u64, to: u64| to.checked_sub(from).is_some_and(|waited| waited <= most);
        // After a clock that went back nothing can be said.
        now < at || fits(last.some_micros, stall.some_micros) && fits(last.full_micros, stall.full_micros)
    })
}

/// The share of a window in which some, and in which all, tasks waited; permille.
fn stalled(stall: &Lapse<Stall>) -> (u64, u64) {
    stall.ends().map_or((0, 0), |(from, to, over)| {
        let share = |from: u64, to: u64| {
            let waited = Bytes(to.saturating_sub(from));
            waited.permille_of(Bytes(over.0)).min(1000)
        };
        (
            share(from.some_micros, to.some_micros),
            share(from.full_micros, to.full_micros),
        )
    })
}

impl Scope {
    /// `is_shared`: the machine, `kubepods`, a QoS level.
    fn new(is_shared: bool) -> Self {
        let shared = || Shared {
            working_set: Track::default(),
            stall: Lapse::within(WINDOWS[1]),
        };
        Self {
            unreclaimable: Track::default(),
            held: None,
            ground: Ground::default(),
            climb: Climb::default(),
            filled: Lapse::within(WINDOWS[2]),
            start: Start::default(),
            stall: Lapse::within(WINDOWS[0]),
            shared: is_shared.then(|| Box::new(shared())),
        }
    }

    /// False where its stalls cannot be: they are counted from here on.
    fn push(
        &mut self,
        now: Moment,
        held: Bytes,
        beside_swap: Option<Bytes>,
        working_set: Bytes,
        stall: Option<Stall>,
    ) -> bool {
        let credible = stall.is_none_or(|stall| is_credible(self.stall.last(), now, stall));
        if !credible {
            self.stall.clear();
            if let Some(shared) = &mut self.shared {
                shared.stall.clear();
            }
        }
        // Swap that comes or goes is no growth.
        if self.held.is_some() != beside_swap.is_some() {
            self.unreclaimable = Track::default();
            self.held = beside_swap.map(|_| Box::default());
        }
        self.unreclaimable.push(now, beside_swap.unwrap_or(held));
        if let Some(track) = &mut self.held {
            track.push(now, held);
        }
        self.climb.push(now, held);
        self.filled.push(now, held);
        self.start.push(now, held);
        if let Some(stall) = stall {
            self.stall.push(now, stall);
        }
        if let Some(shared) = &mut self.shared {
            shared.working_set.push(now, working_set);
            if let Some(stall) = stall {
                shared.stall.push(now, stall);
            }
        }
        credible
    }

    /// It has been seen before.
    pub(crate) fn is_known(&self) -> bool {
        self.filled.last().is_some()
    }

    /// It is about to be seen for the first time, and was not there at this moment: all that it holds came since.
    fn begins_after(&mut self, look: Moment) {
        self.filled.push(look, Bytes::ZERO);
    }

    /// Memory that reclaim cannot free, swap in use included: what somebody takes, wherever it comes to lie.
    pub(crate) fn held(&self) -> &Track {
        self.held.as_deref().unwrap_or(&self.unreclaimable)
    }

    /// The kubelet's working set; where the kubelet has no wall, nothing is remembered of it.
    pub(crate) fn working_set(&self) -> Option<&Track> {
        self.shared.as_ref().map(|shared| &shared.working_set)
    }

    /// What it was filled with within the last minute: all it holds, if it came within that.
    pub(crate) fn filled(&self) -> Bytes {
        self.filled.ends().map_or(Bytes::ZERO, |(from, to, _)| to - from)
    }

    /// How far it has climbed at an even pace.
    pub(crate) fn climbed(&self) -> Bytes {
        let held = self.held();
        self.climb.height(held.latest(), held.rise(WINDOWS[1]))
    }

    /// What it held before the growth of it that has been seen, which is that of the last minute.
    pub(crate) fn held_before(&self) -> Bytes {
        let held = self.held();
        let seen = u64::try_from(held.rise(WINDOWS[2]).0).unwrap_or(0);
        held.latest() - Bytes(seen)
    }

    /// What it began with, and would have again soon after it was ended and started anew.
    pub(crate) const fn began_with(&self) -> Bytes {
        self.start.held
    }

    /// How much it rose in the window: all it holds, if it came within that.
    pub(crate) fn risen(&self, window: Span) -> i64 {
        match self.filled.ends() {
            Some((Bytes::ZERO, held, over)) if over <= window => i64::try_from(held.0).unwrap_or(i64::MAX),
            _ => self.held().rise(window).0,
        }
    }

    /// The part of so large a rise within `window` to what it holds now that it never held before, neither in a turn of its own nor in
    /// the minute before the window.
    pub(crate) fn new_part(&self, rise: Bytes, window: Span) -> Bytes {
        let held = self.held();
        let new = self.ground.new_part(rise, held.latest());
        let before = held.highest_before(window).unwrap_or(Bytes::ZERO);
        new.min(held.latest() - before)
    }

    /// What it has not given back for a minute, where it gives anything back at all.
    pub(crate) fn kept(&self) -> Bytes {
        if self.ground.has_turned() {
            self.held().lowest()
        } else {
            self.held().latest()
        }
    }

    /// How much higher it has come in a turn before, if it goes by turns and is below that.
    pub(crate) fn left_of_turn(&self) -> Option<Bytes> {
        self.ground.left_of_turn(self.held().latest())
    }

    /// What it held already when it was first seen, if it came within the window.
    pub(crate) fn came_with(&self, window: Span) -> Bytes {
        let since = self.held().rise(window).0;
        Bytes(u64::try_from(self.risen(window).saturating_sub(since)).unwrap_or(0))
    }

    /// The share of the last second in which some, and in which all, tasks waited for memory; permille.
    pub(crate) fn stalled_permille(&self) -> (u64, u64) {
        stalled(&self.stall)
    }

    /// The share of the last ten seconds in which all tasks waited; nothing where no limit is shared.
    pub(crate) fn stalled_long_permille(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| stalled(&shared.stall).1)
    }

    fn restart(&mut self) {
        self.climb = Climb::default();
        self.unreclaimable.restart();
        if let Some(held) = &mut self.held {
            held.restart();
        }
        if let Some(shared) = &mut self.shared {
            shared.working_set.restart();
        }
    }
}

/// All tracks.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) node: Scope,
    pub(crate) swap_used: Track,
    pub(crate) roster: Roster,
    /// By slot.
    groups: Vec<Scope>,
    /// Some group of the last sample keeps memory from reclaim (`memory.min`).
    pub(crate) keeps: bool,
    /// Somebody is on his way out as of the sample that comes next, by our hand or the kernel's.
    pub(crate) ends_somebody: bool,
    /// What the kernel had counted of each of them as of the last sample.
    pub(crate) counted: Vec<Counted>,
    processes: BTreeMap<ProcessId, ProcessTrack>,
}

#[derive(Clone, Debug, Default)]
struct ProcessTrack {
    track: Track,
    last_seen: Moment,
}

impl Default for History {
    fn default() -> Self {
        Self {
            node: Scope::new(true),
            swap_used: Track::default(),
            roster: Roster::default(),
            groups: Vec::new(),
            keeps: false,
            ends_somebody: false,
            counted: Vec::new(),
            processes: BTreeMap::new(),
        }
    }
}

impl History {
    /// Makes room for the groups of a sample that is about to be taken in. Whoever is not in it is forgotten.
    pub(crate) fn align(&mut self, sample: &Sample) {
        let (groups, counted) = (&mut self.groups, &mut self.counted);
        self.roster.align(sample, |slot, kind| {
            let is_shared = matches!(kind, GroupKind::Kubepods | GroupKind::Qos(_));
            let slot = slot as usize;
            if slot >= groups.len() {
                groups.resize_with(slot + 1, || Scope::new(false));
                counted.resize(slot + 1, Counted::default());
            }
            if let (Some(scope), Some(counted)) = (groups.get_mut(slot), counted.get_mut(slot)) {
                *scope = Scope::new(is_shared);
                *counted = Counted::default();
            }
        });
        if let Some(kept) = self.roster.pack() {
            // In order, so that nobody is put where somebody is still to be taken from.
            for (slot, before) in kept.iter().copied().enumerate() {
                self.groups.swap(slot, before);
                self.counted.swap(slot, before);
            }
            self.groups.truncate(kept.len());
            self.groups.shrink_to_fit();
            self.counted.truncate(kept.len());
            self.counted.shrink_to_fit();
        }
    }

    /// Takes one sample that the histories are aligned with. Allocates only for what is new.
    /// What is odd about it is said.
    pub(crate) fn push(&mut self, now: Moment, sample: &Sample, ignored: &mut Vec<Ignored>) {
        let node = &sample.node;
        let looked = self.node.filled.last().map(|(at, _)| at).filter(|at| *at < now);
        self.keeps = false;
        let credible = self.node.push(
            now,
            node.unreclaimable(),
            beside_swap(sample, None),
            node.kubelet_working_set(),
            node.stall,
        );
        if !credible {
            ignored.push(Ignored::CounterJumped(None));
        }
        self.swap_used.push(now, node.swap_total - node.swap_free);
        let is_own = !core::mem::take(&mut self.ends_somebody);
        for (at, group) in sample.groups.iter().enumerate() {
            let Some(slot) = self.roster.slot(at) else {
                continue;
            };
            let is_own = is_own && self.fresh_kills(at, group) == 0;
            let sane = self.count(at, group);
            if let Some(scope) = self.groups.get_mut(slot) {
                if let (false, Some(looked)) = (scope.is_known(), looked) {
                    scope.begins_after(looked);
                }
                let credible = scope.push(
                    now,
                    group.unreclaimable(),
                    beside_swap(sample, Some(at)),
                    group.working_set(),
                    group.stall,
                );
                if !credible || !sane {
                    ignored.push(Ignored::CounterJumped(Some(group.id)));
                }
                scope.ground.push(now, group.unreclaimable(), is_own);
                self.keeps |= group.min > Bytes::ZERO;
                self.note_pressed(at, group);
            }
        }
        for process in &sample.processes {
            let known = self.processes.entry(process.id).or_default();
            // The scan is slower than the tick: the same reading twice is one point.
            if known.last_seen != process.read_at {
                known.track.push(process.read_at, process.unreclaimable);
                known.last_seen = process.read_at;
            }
        }
        if self.processes.len() > sample.processes.len() {
            let seen = |id: &ProcessId| sample.processes.iter().any(|process| process.id == *id);
            self.processes.retain(|id, _| seen(id));
        }
    }

    /// The largest share of the last second in which all tasks of one cgroup waited that is full of its own: its stall is its own
    /// problem, and the part of it in that of `scope` says nothing of the rest. Permille.
    pub(crate) fn stalled_by_own_limit(&self, sample: &Sample, scope: Option<GroupId>) -> u64 {
        /// Cache, too, is read again and again only where the limit is as good as reached (permille).
        const FULL_PERMILLE: u64 = 950;
        let is_full = |group: &GroupSample| {
            let own = !matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
            let limit = group.limit.bytes().filter(|_| own);
            limit.is_some_and(|limit| group.current >= limit.permille(FULL_PERMILLE))
        };
        let full = sample
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| is_full(group));
        let within = full.filter(|(at, _)| is_within(sample, *at, scope));
        let stalls = within.filter_map(|(at, _)| Some(self.at(at)?.stalled_permille().1));
        stalls.max().unwrap_or(0)
    }

    /// The history of the group at this place in the sample; none of one whose number stood there before.
    pub(crate) fn at(&self, at: usize) -> Option<&Scope> {
        self.groups.get(self.roster.slot(at)?)
    }

    /// The history of the cgroup with this number.
    pub(crate) fn group(&self, id: GroupId) -> Option<&Scope> {
        self.at(self.roster.place(id)?)
    }

    /// The history of a wall's scope: a cgroup's, or the machine's.
    pub(crate) fn scope(&self, id: Option<GroupId>) -> Option<&Scope> {
        id.map_or(Some(&self.node), |id| self.group(id))
    }

    pub(crate) fn process(&self, id: ProcessId) -> Option<&Track> {
        self.processes.get(&id).map(|known| &known.track)
    }

    /// The clock went back by so much: nobody starts anew by that.
    pub(crate) fn set_back(&mut self, by: Span) {
        self.set_back_counted(by);
        for scope in &mut self.groups {
            scope.start.seen_at = scope.start.seen_at.map(|at| at.before(by));
        }
    }

    /// After a kill that worked, growth before it says nothing about growth after it.
    pub(crate) fn restart_growth(&mut self) {
        self.node.restart();
        self.groups.iter_mut().for_each(Scope::restart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 3 MiB a second for two minutes, and then somebody ends.
    #[test]
    fn a_climb_begins_anew_where_growth_before_says_nothing_any_more() {
        let mut history = History::default();
        for second in 1..=121 {
            let group = GroupSample {
                id: GroupId(1),
                current: Bytes::mebi(3 * second),
                anon: Bytes::mebi(3 * second),
                ..GroupSample::default()
            };
            let sample = Sample {
                groups: vec![group],
                ..Sample::default()
            };
            history.align(&sample);
            history.push(Moment(second * 1_000_000), &sample, &mut Vec::new());
        }
        let climbed = |history: &History| history.group(GroupId(1)).map(Scope::climbed);
        assert_eq!(climbed(&history), Some(Bytes::mebi(360)));
        history.restart_growth();
        assert_eq!(climbed(&history), Some(Bytes::ZERO));
    }

    #[test]
    fn whoever_outlives_a_crowd_keeps_its_history_and_the_crowds_room_is_given_back() {
        let sample = |ids: &[u64], secs: u64| Sample {
            groups: ids
                .iter()
                .map(|id| GroupSample {
                    id: GroupId(*id),
                    current: Bytes::mebi(id * secs),
                    anon: Bytes::mebi(id * secs),
                    ..GroupSample::default()
                })
                .collect(),
            ..Sample::default()
        };
        let mut history = History::default();
        let mut told = |ids: &[u64], secs: u64| {
            let sample = sample(ids, secs);
            history.align(&sample);
            history.push(Moment(secs * 1_000_000), &sample, &mut Vec::new());
            let risen = |id: u64| {
                history
                    .group(GroupId(id))
                    .map(|scope| scope.risen(Span::secs(60)))
            };
            (
                [risen(300), risen(999)],
                history.groups.capacity(),
                history.counted.capacity(),
            )
        };
        let crowd: Vec<u64> = (1..=1_000).collect();
        told(&crowd, 1);
        told(&crowd, 2);
        let (risen, groups, counted) = told(&[999, 300], 3);
        // 300 and 999 MiB a second, for two seconds.
        assert_eq!(risen, [600, 1_998].map(|mebi: i64| Some(mebi << 20)));
        assert_eq!((groups, counted), (2, 2));
        assert_eq!(
            told(&[999, 300, 7], 4).0,
            [900, 2_997].map(|mebi: i64| Some(mebi << 20))
        );
    }
}
