//! Who lives on a node: pods with their containers, and the processes outside of `kubepods`, which are kept as the
//! containers of a pod that is none.
//!
//! It refuses to decide who dies; it knows what the kernel's OOM killer goes by (`oom_score_adj`) and what a restart takes.

use std::sync::Arc;

use forestall_decide::{Bytes, GroupId, Limit, Lru, Moment, Owner, Protection, Qos, Span};

use crate::blame::Reach;
use crate::load::{Running, Turn};
use crate::lows::Lows;
use crate::memory::{Memory, Part};
use crate::random::Random;
use crate::spec::{ContainerSpec, Load, PodSpec};
use crate::throttle::Throttle;

/// The first restart comes at once, later ones double from ten seconds up to five minutes (k/k
/// `pkg/kubelet/kuberuntime`, `backOffPeriod`), and what ran for ten minutes starts from the beginning.
const FIRST_RESTART: Span = Span::secs(1);
const BACK_OFF_MIN: Span = Span::secs(10);
const BACK_OFF_MAX: Span = Span::secs(300);
const BACK_OFF_RESET: Span = Span::secs(600);

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs.
    Running,
    /// It was sent KILL and is ending.
    Ending,
    /// It waits to be started again.
    Waiting,
    /// It will not run again.
    Gone,
}

/// One container, or one process outside of `kubepods`.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: GroupId,
    pub(crate) name: Box<str>,
    pub(crate) memory: Memory,
    /// Its lines before the last change, for those who look at old samples.
    pub(crate) earlier: Memory,
    /// The least that it held lately, and what it held at its last change.
    lows: Lows,
    changed: (Moment, Bytes),
    /// The most that it held at any change since its start.
    peak: Bytes,
    /// What of its anonymous memory lies in swap, and in none of its lines.
    pub(crate) swapped: Bytes,
    /// Its `memory.swap.max`.
    pub(crate) swap_limit: Limit,
    pub(crate) running: Running,
    pub(crate) state: State,
    pub(crate) limit: Limit,
    pub(crate) oom_score_adj: i32,
    pub(crate) protection: Option<Protection>,
    pub(crate) restarts: bool,
    pub(crate) volume: bool,
    pub(crate) largest_process: Option<Bytes>,
    /// Which container of the pod it follows, by how many permille.
    pub(crate) follows: Option<(usize, u64)>,
    /// What it may come to by itself.
    pub(crate) reach: Reach,
    /// Whether it is to blame for what the node lacks, once that is settled.
    pub(crate) is_culprit: bool,
    pub(crate) started: Moment,
    pub(crate) restarted: u32,
    /// Restarts in a row, for the back-off.
    pub(crate) in_a_row: u32,
    pub(crate) oom_kills: u64,
    /// How often its limit led to one.
    pub(crate) hits: u64,
    /// When its load has its next turn.
    pub(crate) turn: Option<Moment>,
    /// When it reaches its own limit.
    pub(crate) contact: Option<Moment>,
    /// Its `memory.high`.
    pub(crate) high: Option<Bytes>,
    /// What being above that does to it.
    pub(crate) throttle: Option<Box<Throttle>>,
    /// When it reaches its `memory.high`, or is slowed down further.
    pub(crate) high_contact: Option<Moment>,
    /// Its lines and its next turn, while a brake holds it, and since when.
    paused: Option<(Memory, Option<Moment>, Moment)>,
}

impl Container {
    pub(crate) fn new(spec: &ContainerSpec, id: GroupId, adj: i32, lru: Lru, random: &mut Random) -> Self {
        let load = spec.load.jittered(random, spec.jitter_permille);
        let base = Bytes(random.around(spec.base.0, spec.jitter_permille));
        Self {
            id,
            name: spec.name.clone(),
            memory: Memory::default(),
            earlier: Memory::default(),
            lows: Lows::default(),
            changed: (Moment(0), Bytes::ZERO),
            peak: Bytes::ZERO,
            swapped: Bytes::ZERO,
            swap_limit: Limit::Max,
            running: Running::new(load, base, lru),
            state: State::Waiting,
            limit: spec.limit,
            oom_score_adj: adj,
            protection: spec.protection,
            restarts: spec.restarts,
            volume: spec.volume,
            largest_process: spec.largest_process,
            follows: match spec.load {
                Load::Follow { of, permille } => Some((of, permille)),
                _ => None,
            },
            reach: Reach::of(&load, base, spec.volume),
            is_culprit: false,
            started: Moment(0),
            restarted: 0,
            in_a_row: 0,
            oom_kills: 0,
            hits: 0,
            turn: None,
            contact: None,
            high: None,
            throttle: None,
            high_contact: None,
            paused: None,
        }
    }

    /// Its time stands still.
    pub(crate) fn pause(&mut self, now: Moment) {
        if self.paused.is_none() && self.state == State::Running {
            self.paused = Some((self.memory, self.turn, now));
            self.memory.freeze();
            self.turn = None;
        }
    }

    /// Whether it does.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Its time goes on; says how long it stood.
    pub(crate) fn resume(&mut self, now: Moment) -> Span {
        let Some((before, turn, since)) = self.paused.take() else {
            return Span(0);
        };
        let stood = now.since(since);
        if self.state == State::Running {
            self.memory.take_slopes(&before);
            self.turn = turn.map(|turn| turn + stood);
        }
        stood
    }

    /// Its memory at `now`, which may lie a little back.
    pub(crate) fn memory_at(&self, now: Moment) -> (&Memory, Moment) {
        if now >= self.memory.at {
            (&self.memory, now)
        } else {
            (&self.earlier, now.max(self.earlier.at))
        }
    }

    /// What reclaim cannot free, wherever it lies.
    fn held(&self, now: Moment) -> Bytes {
        self.memory.sum(&Part::HARD, now) + self.swapped
    }

    /// Its lines are about to change.
    pub(crate) fn note_end_of_line(&mut self, now: Moment) {
        let held = self.held(now);
        self.lows.note(self.changed, (now, held));
        self.peak = self.peak.max(held);
    }

    /// They have. What it holds when it starts it has not grown by.
    pub(crate) fn note_new_line(&mut self, now: Moment) {
        self.changed = (now, self.held(now));
        if self.started == now {
            self.lows = Lows::default();
            self.peak = Bytes::ZERO;
        }
    }

    /// It has held as much before, since its start: a job that takes again what it had given back.
    pub(crate) fn takes_again(&self, now: Moment) -> bool {
        self.held(now) <= self.peak
    }

    /// What it has come to hold in the last minutes beyond the least that it held.
    pub(crate) fn grown(&self, now: Moment) -> Bytes {
        let (held, mut lows) = (self.held(now), self.lows);
        lows.note(self.changed, (now, held));
        held - lows.least(now).unwrap_or(held)
    }

    /// What of that it held all the last half minute.
    pub(crate) fn grown_and_kept(&self, now: Moment) -> Bytes {
        let mut lows = self.lows;
        lows.note(self.changed, (now, self.held(now)));
        lows.least_lately(now).unwrap_or_default() - lows.least(now).unwrap_or_default()
    }

    /// What ends with it: all but what lies in a volume. Its cache goes along, which a kernel would keep a little longer.
    pub(crate) fn empty(&mut self) {
        let kept = if self.volume {
            self.memory.bytes(Part::Shmem, self.memory.at)
        } else {
            Bytes::ZERO
        };
        let at = self.memory.at;
        self.memory = Memory::at(at);
        self.memory.set(Part::Shmem, kept);
        self.turn = None;
        self.throttle = None;
        self.paused = None;
    }

    /// What a turn of its load said.
    pub(crate) fn expect(&mut self, turn: Turn) -> Turn {
        if let Turn::Next(next) = turn {
            self.turn = next;
        }
        turn
    }

    /// How long after its end it starts again.
    pub(crate) fn back_off(&mut self, now: Moment) -> Span {
        if now.since(self.started) > BACK_OFF_RESET {
            self.in_a_row = 0;
        }
        let wait = match self.in_a_row {
            0 => FIRST_RESTART,
            row => Span(BACK_OFF_MIN.0 << (row - 1).min(5)).min(BACK_OFF_MAX),
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        wait
    }
}

/// How often a limit led to a kill by the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hits {
    /// The cgroup's own.
    pub(crate) own: u64,
    /// That, or one of all that were ever below it.
    pub(crate) within: u64,
}

/// A pod on a node; the first one of each node is the host.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) id: u64,
    pub(crate) name: Box<str>,
    pub(crate) group: GroupId,
    /// Which entry of the world's pods; `None` for the host.
    pub(crate) kind: Option<usize>,
    pub(crate) spec: Arc<PodSpec>,
    pub(crate) qos: Qos,
    pub(crate) request: Bytes,
    pub(crate) containers: Vec<Container>,
    pub(crate) terminating: Option<Moment>,
    /// The kernel's kills of all containers that were ever in it.
    pub(crate) oom_kills: u64,
    pub(crate) hits: Hits,
    /// It is being evicted, and its controller puts it somewhere else.
    pub(crate) leaves: bool,
    /// The earliest of all that is due in it.
    pub(crate) due: Moment,
}

/// Never.
pub(crate) const NEVER: Moment = Moment(u64::MAX);

impl Pod {
    /// Its protection: what nobody may touch by the rules that are known off-cluster.
    pub(crate) fn protection(&self) -> Option<Protection> {
        if self.spec.is_static {
            Some(Protection::StaticPod)
        } else if self.spec.opted_out {
            Some(Protection::OptedOut)
        } else {
            None
        }
    }

    /// The kubelet never evicts it.
    pub(crate) fn is_critical(&self) -> bool {
        self.spec.is_static || self.spec.priority >= forestall_decide::CRITICAL_PRIORITY
    }

    /// Some container of it is.
    pub(crate) fn is_culprit(&self) -> bool {
        self.containers.iter().any(|container| container.is_culprit)
    }

    /// Whether somebody brings it back elsewhere.
    pub(crate) fn is_replaced(&self) -> bool {
        self.spec.owner != Owner::Nobody
    }

    /// What lies in memory-backed volumes, and goes with the pod alone.
    pub(crate) fn in_volumes(&self, now: Moment) -> Bytes {
        let one = |container: &Container| {
            let (memory, at) = container.memory_at(now);
            memory.bytes(Part::Shmem, at)
        };
        self.containers
            .iter()
            .filter(|container| container.volume)
            .map(one)
            .sum()
    }

    /// What its containers hold, as the kubelet counts it.
    pub(crate) fn working_set(&self, now: Moment) -> Bytes {
        self.used(&Part::ALL, now) - self.used(&[Part::Inactive], now)
    }

    /// What its containers hold in such parts.
    pub(crate) fn used(&self, parts: &[Part], now: Moment) -> Bytes {
        let one = |container: &Container| {
            let (memory, at) = container.memory_at(now);
            memory.sum(parts, at)
        };
        self.containers.iter().map(one).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_back_off_as_the_kubelet_does() {
        let spec = ContainerSpec::plain("app");
        let mut container = Container::new(&spec, GroupId(1), 0, Lru::Classic, &mut Random::new(1));
        let waits: Vec<u64> = (0..8)
            .map(|_| container.back_off(Moment(1_000_000)).as_millis() / 1000)
            .collect();
        assert_eq!(waits, [1, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(container.back_off(Moment(700_000_000)), FIRST_RESTART);
    }
}
