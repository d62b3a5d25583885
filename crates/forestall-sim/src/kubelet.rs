//! The kubelet of a node: its own eviction manager, fed with the world's figures, and its orders carried out.
//!
//! Its ten-second looks are not made where nothing would be seen: between two events every signal is a straight line, so
//! the first look that finds a threshold crossed is known beforehand. It refuses to decide anything: that is the manager's.

use forestall_decide::kubelet::{
    Candidate, Eviction, KubeletConfig, LOOK, Manager, Observation, Reading, Signal, Verdict, Victim,
};
use forestall_decide::{Bytes, Moment, PodUid, Span, WallKind};

use crate::cast::{Container, NEVER};
use crate::event::What;
use crate::memory::{Line, Part};
use crate::node::{HOST, Node};
use crate::spec::Accounting;

/// How old the pods' own figures are that the ranking goes by: cAdvisor reads them every ten seconds and more
/// (`POD_FIGURES_AGE_MAX` of the shadow kubelet). The first are read as soon as there is a cgroup, so nobody is ever unknown:
/// whoever is younger is known by what it used at its start.
const FIGURES_AGE: Span = Span::secs(10);

/// One node's kubelet.
#[derive(Clone, Debug)]
pub(crate) struct Kubelet {
    pub(crate) config: KubeletConfig,
    manager: Manager,
    /// Visit it at every look, as a clock would.
    pub(crate) every_look: bool,
    pub(crate) due: Moment,
    /// Whom it waits for, and what has become of it.
    waits_for: Option<(PodUid, Victim)>,
    /// At the last look some threshold was met.
    met: bool,
    /// Its pressure ends then, if no threshold is met any more.
    pressed_until: Moment,
    /// It was away at the last look.
    away_until: Moment,
}

impl Kubelet {
    pub(crate) fn new(config: KubeletConfig, first: Moment) -> Self {
        Self {
            manager: Manager::new(config.clone(), first),
            config,
            every_look: false,
            due: first,
            waits_for: None,
            met: false,
            pressed_until: Moment(0),
            away_until: Moment(0),
        }
    }

    /// Memory is short, as it says.
    pub(crate) fn is_pressed(&self) -> bool {
        self.manager.pressure()
    }

    /// It waits for nobody, and saw no threshold met at its last look.
    pub(crate) fn is_calm(&self) -> bool {
        !self.met && !self.is_pressed() && !self.manager.is_blocked()
    }

    /// The first of its looks that is not before `moment`.
    fn look_from(&self, moment: Moment) -> Moment {
        let base = self.manager.wakes_at();
        let looks = moment.max(self.away_until).since(base).0.div_ceil(LOOK.0);
        base + LOOK.times(looks)
    }
}

/// A signal in thousandths of a byte, so that shares of cache stay exact: what is used, and the size it is held against.
struct Seen {
    used: Line,
    size: Bytes,
}

impl Seen {
    /// What is available falls below `value` when what is used reaches this.
    fn level(&self, value: Bytes) -> Bytes {
        if value > self.size {
            return Bytes::ZERO;
        }
        let used = (self.size - value).0.saturating_add(1);
        Bytes(used.saturating_mul(1000))
    }

    fn reading(&self, now: Moment) -> Reading {
        Reading {
            available: self.size - Bytes(self.used.bytes(now).0 / 1000),
            capacity: self.size,
            at: now,
        }
    }
}

impl Node {
    fn signal(&self, config: &KubeletConfig, signal: Signal) -> Option<Seen> {
        match signal {
            Signal::MemoryAvailable => {
                let of = |parts: &[Part]| self.pods_sum.line(parts).plus(&self.host_sum.line(parts));
                let used = match self.spec.accounting {
                    Accounting::Kubelet => of(&Part::ROOT_WORKING_SET).times(1000),
                    Accounting::CachePermille(permille) => {
                        let hard = of(&[Part::Anon, Part::Shmem]).times(1000);
                        hard.plus(&of(&Part::CACHE).times(permille))
                    }
                };
                Some(Seen {
                    used,
                    size: config.capacity,
                })
            }
            Signal::AllocatableMemoryAvailable => config.enforces_pods.then(|| Seen {
                used: self.pods_sum.line(&Part::WORKING_SET).times(1000),
                size: config.kubepods_limit(),
            }),
        }
    }

    /// What is left by a signal at `now`, if there is a kubelet that has it.
    pub(crate) fn signal_available(&self, signal: Signal, now: Moment) -> Option<Bytes> {
        let config = &self.kubelet.as_ref()?.config;
        Some(self.signal(config, signal)?.reading(now).available)
    }

    /// Finds out when the kubelet's next look is that sees something.
    pub(crate) fn kubelet_refresh(&mut self, now: Moment) {
        let Some(kubelet) = &self.kubelet else { return };
        let mut due = NEVER;
        if kubelet.manager.is_blocked() {
            // Who is away asks nobody about the victim it waits for.
            due = kubelet.manager.wakes_at().max(kubelet.away_until);
        } else if kubelet.every_look || kubelet.met {
            due = kubelet.look_from(now);
        } else {
            for threshold in &kubelet.config.thresholds {
                if let Some(seen) = self.signal(&kubelet.config, threshold.signal)
                    && threshold.value > Bytes::ZERO
                    && let Some(at) = seen.used.reaches(seen.level(threshold.value), now)
                {
                    due = due.min(kubelet.look_from(at));
                }
            }
            if kubelet.is_pressed() {
                due = due.min(kubelet.look_from(kubelet.pressed_until.max(now)));
            }
        }
        if let Some(kubelet) = &mut self.kubelet {
            kubelet.due = due;
        }
    }

    /// Something is due: a look, or a question about the victim.
    pub(crate) fn kubelet_looks(&mut self, now: Moment) {
        let Some(mut kubelet) = self.kubelet.take() else {
            return;
        };
        let victim = kubelet.waits_for.map_or(Victim::Cleaned, |(_, victim)| victim);
        if self.faults.kubelet_away > 0 {
            kubelet.away_until = now + LOOK;
        } else if kubelet.manager.advance(now, victim) {
            kubelet.waits_for = None;
            self.look_as_kubelet(&mut kubelet, now);
        }
        self.kubelet = Some(kubelet);
    }

    fn look_as_kubelet(&mut self, kubelet: &mut Kubelet, now: Moment) {
        let read = |signal| Some(self.signal(&kubelet.config, signal)?.reading(now));
        let observed = Observation {
            memory: read(Signal::MemoryAvailable),
            allocatable: read(Signal::AllocatableMemoryAvailable),
        };
        let candidates = self.candidates(now);
        let before = kubelet.manager.clone();
        let random = &mut self.random;
        let pick = |equals: &[usize]| {
            let many = u64::try_from(equals.len()).unwrap_or(u64::MAX);
            usize::try_from(random.below(many)).unwrap_or(0)
        };
        let sync = kubelet.manager.sync(now, &observed, &candidates, pick);
        kubelet.met = sync.verdict != Verdict::Calm;
        if kubelet.met {
            kubelet.pressed_until = now + kubelet.config.pressure_transition;
        }
        if sync.pressure != before.pressure() {
            self.note(now, What::Pressure(sync.pressure));
        }
        if let Verdict::Evict(eviction) = sync.verdict {
            self.evict(kubelet, before, &eviction, now);
        }
    }

    /// Every active pod with the figures that the kubelet has of it; in the order of the node's pods.
    fn candidates(&self, now: Moment) -> Vec<Candidate> {
        let then = Moment(now.0.saturating_sub(FIGURES_AGE.0));
        let figures = |container: &Container| {
            let (memory, at) = container.memory_at(then.max(container.started));
            memory.sum(&Part::WORKING_SET, at)
        };
        let candidate = |pod: &crate::cast::Pod| Candidate {
            uid: PodUid(u128::from(pod.id)),
            priority: pod.spec.priority,
            request: pod.request.into(),
            working_set: Some(pod.containers.iter().map(figures).sum()),
            critical: pod.is_critical(),
            grace: pod.spec.grace,
        };
        self.pods.iter().skip(HOST + 1).map(candidate).collect()
    }

    fn evict(&mut self, kubelet: &mut Kubelet, before: Manager, eviction: &Eviction, now: Moment) {
        let at = HOST + 1 + eviction.candidate;
        let signal = eviction.threshold.signal;
        let wall = match signal {
            Signal::MemoryAvailable => WallKind::KubeletNode,
            Signal::AllocatableMemoryAvailable => WallKind::KubeletAllocatable,
        };
        let for_cache = self.is_for_cache(before, signal, now);
        let victim = self.pod_victim(at, now);
        self.note(
            now,
            What::Evicting {
                wall,
                victim,
                for_cache,
            },
        );
        self.kubelet_evictions += 1;
        kubelet.waits_for = Some((eviction.victim, Victim::Running));
        self.terminate_pod(at, eviction.grace, now);
    }

    /// Without a byte of page cache the same look would have evicted nobody at this signal. `before` is the manager as it was
    /// before that look: which thresholds counted already, with their minimum reclaim, is known to it alone.
    fn is_for_cache(&self, mut before: Manager, signal: Signal, now: Moment) -> bool {
        let (hard, capacity) = match signal {
            Signal::MemoryAvailable => (
                self.held(&[Part::Anon, Part::Shmem], now),
                before.config().capacity,
            ),
            Signal::AllocatableMemoryAvailable => (
                self.pods_sum.line(&Part::HARD).bytes(now),
                before.config().kubepods_limit(),
            ),
        };
        let reading = Some(Reading {
            available: capacity - hard,
            capacity,
            at: now,
        });
        let mut observed = Observation::default();
        match signal {
            Signal::MemoryAvailable => observed.memory = reading,
            Signal::AllocatableMemoryAvailable => observed.allocatable = reading,
        }
        // Where nobody can be chosen, a threshold to choose for is told by name.
        let sync = before.sync(now, &observed, &[], |_| 0);
        !matches!(sync.verdict, Verdict::Nobody(_))
    }

    /// A pod is gone, with everything it had; the kubelet may have waited for it.
    pub(crate) fn kubelet_saw_end(&mut self, pod: u64, now: Moment) {
        let uid = PodUid(u128::from(pod));
        if let Some(kubelet) = &mut self.kubelet
            && kubelet.waits_for.is_some_and(|(waited, _)| waited == uid)
        {
            kubelet.waits_for = Some((uid, Victim::Cleaned));
            // From here on it asks every second, and is told at the first question.
            kubelet.manager.advance(now, Victim::Cleaned);
        }
    }
}
