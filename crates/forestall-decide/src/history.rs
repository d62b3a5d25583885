//! The tracks of everything that is followed: the machine, each cgroup, each process outside `kubepods`.
//!
//! Tracks come and go with what they follow. A cgroup is known by its inode and a process by its start time, so a
//! recycled PID or a recreated container starts a track of its own.

use std::collections::BTreeMap;

use crate::decision::WallKind;
use crate::input::{GroupId, GroupKind, GroupSample, ProcessId, Sample, Stall};
use crate::tree::lineage;
use crate::units::{Bytes, Moment, Span};
use crate::window::{Rise, Track, WINDOWS};

/// A wall: which, and whose limit.
pub(crate) type Wall = (WallKind, Option<GroupId>);

/// The history of one cgroup or of the machine. It is kept small: a step walks through all of them.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Memory that reclaim cannot free, swap in use included.
    pub(crate) unreclaimable: Track,
    filled: Rise,
    stall: Stalls,
    /// Only for what the kubelet has a wall at, or may have to end somebody in.
    shared: Option<Box<Shared>>,
    oom_kills: u64,
    first_seen: Option<Moment>,
    last_seen: Moment,
}

/// What matters only where many share a limit.
#[derive(Clone, Debug)]
struct Shared {
    working_set: Track,
    stall: Stalls,
}

/// `some` and `full` stall time within a second, as bytes are tracked: only differences matter.
#[derive(Clone, Copy, Debug)]
struct Stalls {
    some: Rise,
    full: Rise,
}

impl Stalls {
    fn within(window: Span) -> Self {
        Self {
            some: Rise::within(window),
            full: Rise::within(window),
        }
    }

    fn push(&mut self, now: Moment, stall: Stall) {
        self.some.push(now, Bytes(stall.some_micros));
        self.full.push(now, Bytes(stall.full_micros));
    }

    /// The share of the window in which some, and in which all, tasks waited; permille.
    fn permille(&self) -> (u64, u64) {
        let share = |track: &Rise| {
            let (rise, over) = track.rise();
            rise.permille_of(Bytes(over.0)).min(1000)
        };
        (share(&self.some), share(&self.full))
    }
}

impl Scope {
    /// `is_shared`: the machine, `kubepods`, a QoS level.
    fn new(is_shared: bool) -> Self {
        let shared = || Shared {
            working_set: Track::default(),
            stall: Stalls::within(WINDOWS[1]),
        };
        Self {
            unreclaimable: Track::default(),
            filled: Rise::within(WINDOWS[2]),
            stall: Stalls::within(WINDOWS[0]),
            shared: is_shared.then(|| Box::new(shared())),
            oom_kills: 0,
            first_seen: None,
            last_seen: Moment::default(),
        }
    }

    fn push(&mut self, now: Moment, unreclaimable: Bytes, working_set: Bytes, stall: Option<Stall>) {
        self.unreclaimable.push(now, unreclaimable);
        self.filled.push(now, unreclaimable);
        if let Some(stall) = stall {
            self.stall.push(now, stall);
        }
        if let Some(shared) = &mut self.shared {
            shared.working_set.push(now, working_set);
            if let Some(stall) = stall {
                shared.stall.push(now, stall);
            }
        }
        self.first_seen.get_or_insert(now);
        self.last_seen = now;
    }

    /// The kubelet's working set; where the kubelet has no wall, nothing is remembered of it.
    pub(crate) fn working_set(&self) -> Option<&Track> {
        self.shared.as_ref().map(|shared| &shared.working_set)
    }

    /// What it filled within the last minute, as seen from something that is known since `since`: all it holds, if
    /// it came later.
    pub(crate) fn filled_since(&self, since: Option<Moment>) -> Bytes {
        if self.first_seen > since {
            self.unreclaimable.latest()
        } else {
            self.filled.rise().0
        }
    }

    /// When it was first seen.
    pub(crate) const fn first_seen(&self) -> Option<Moment> {
        self.first_seen
    }

    /// The share of the last second in which some, and in which all, tasks waited for memory; permille.
    pub(crate) fn stalled_permille(&self) -> (u64, u64) {
        self.stall.permille()
    }

    /// The share of the last ten seconds in which all tasks waited; nothing where no limit is shared.
    pub(crate) fn stalled_long_permille(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.stall.permille().1)
    }

    fn restart(&mut self) {
        self.unreclaimable.restart();
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
    groups: BTreeMap<GroupId, Scope>,
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
            groups: BTreeMap::new(),
            processes: BTreeMap::new(),
        }
    }
}

impl History {
    /// Takes one sample. Allocates only for what is new.
    pub(crate) fn push(&mut self, now: Moment, sample: &Sample) {
        let node = &sample.node;
        self.node
            .push(now, node.unreclaimable(), node.kubelet_working_set(), node.stall);
        self.swap_used.push(now, node.swap_total - node.swap_free);
        for group in &sample.groups {
            let is_shared = matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
            let scope = self
                .groups
                .entry(group.id)
                .or_insert_with(|| Scope::new(is_shared));
            scope.push(now, group.unreclaimable(), group.working_set(), group.stall);
            scope.oom_kills = group.oom_kills;
        }
        for process in &sample.processes {
            let known = self.processes.entry(process.id).or_default();
            // The scan is slower than the tick: the same reading twice is one point.
            if known.last_seen != process.read_at {
                known.track.push(process.read_at, process.unreclaimable);
                known.last_seen = process.read_at;
            }
        }
        if self.groups.len() > sample.groups.len() {
            self.groups.retain(|_, scope| scope.last_seen == now);
        }
        if self.processes.len() > sample.processes.len() {
            let seen = |id: &ProcessId| sample.processes.iter().any(|process| process.id == *id);
            self.processes.retain(|id, _| seen(id));
        }
    }

    /// The kernel's kills since the sample before that a limit below `kubepods` explains: the victim's container, or its
    /// pod, stood near its own limit. Those walls are put into `reached`. To be asked before the sample is taken in.
    pub(crate) fn kills_by_own_limit(&self, sample: &Sample, reached: &mut Vec<Wall>) -> u64 {
        let mut explained = 0;
        let leaves = sample.groups.iter().enumerate().filter(|(_, group)| group.leaf);
        for (index, group) in leaves {
            let fresh = self.fresh_kills(group);
            let near = lineage(sample, index).find(|above| self.stood_near_its_limit(above));
            if let (1.., Some(above)) = (fresh, near) {
                explained += fresh;
                let kind = match above.kind {
                    GroupKind::Pod(_) => WallKind::Pod,
                    _ => WallKind::Container,
                };
                reached.push((kind, Some(above.id)));
            }
        }
        explained
    }

    /// The kernel's kills in a cgroup since the sample before.
    pub(crate) fn fresh_kills(&self, group: &GroupSample) -> u64 {
        self.group(group.id)
            .map_or(0, |known| group.oom_kills.saturating_sub(known.oom_kills))
    }

    fn stood_near_its_limit(&self, group: &GroupSample) -> bool {
        /// A limit is near enough to be the reason from this share of it on (permille): the sample before the kill is a
        /// little older than the kill.
        const NEAR_PERMILLE: u64 = 750;
        let own = !matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
        let held = self.group(group.id).map(|known| known.unreclaimable.latest());
        own && group
            .limit
            .bytes()
            .zip(held)
            .is_some_and(|(limit, held)| held >= limit.permille(NEAR_PERMILLE))
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&Scope> {
        self.groups.get(&id)
    }

    /// The history of a wall's scope: a cgroup's, or the machine's.
    pub(crate) fn scope(&self, id: Option<GroupId>) -> Option<&Scope> {
        id.map_or(Some(&self.node), |id| self.group(id))
    }

    pub(crate) fn process(&self, id: ProcessId) -> Option<&Track> {
        self.processes.get(&id).map(|known| &known.track)
    }

    /// After a kill that worked, growth before it says nothing about growth after it.
    pub(crate) fn restart_growth(&mut self) {
        self.node.restart();
        self.groups.values_mut().for_each(Scope::restart);
    }
}
