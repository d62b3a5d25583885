//! The kubelet of a node: when it looks, what it sees then, and whom it evicts.
//!
//! Its ten-second looks are not made where nothing would be seen: between two events every signal is a straight line, so
//! the first look that finds a threshold crossed is known beforehand. It refuses to be cleverer than the kubelet.

use forestall_decide::kubelet::{KubeletConfig, Signal};
use forestall_decide::{Bytes, Moment, Span, WallKind};

use crate::cast::{NEVER, Pod};
use crate::event::What;
use crate::memory::{Line, Part};
use crate::node::{HOST, Node};
use crate::spec::Accounting;

/// From one look to the next (`evictionMonitoringPeriod`, k/k `pkg/kubelet/kubelet.go`).
pub(crate) const LOOK: Span = Span::secs(10);
/// How old the pods' own figures are that the ranking goes by: cAdvisor's samples are up to ten seconds old.
const STATS_AGE: Span = Span::secs(5);
/// After an eviction it waits for the pod to be cleaned up, asking every second.
const CLEAN_UP: Span = Span::secs(1);
/// A hard eviction leaves a pod so much (k/k #115819).
const HARD_GRACE: Span = Span::secs(1);
/// It waits no longer than this for a victim: ten seconds for the kill, thirty for the clean-up.
const WAIT_MAX: Span = Span::secs(40);

/// One node's kubelet.
#[derive(Clone, Debug)]
pub(crate) struct Kubelet {
    pub(crate) config: KubeletConfig,
    /// Visit it at every look, as a clock would.
    pub(crate) every_look: bool,
    /// When it looks next if there is something to see.
    next: Moment,
    pub(crate) due: Moment,
    first_met: Vec<Option<Moment>>,
    waits_for: Option<u64>,
    pressure_until: Option<Moment>,
}

impl Kubelet {
    pub(crate) fn new(config: KubeletConfig, first: Moment) -> Self {
        Self {
            first_met: vec![None; config.thresholds.len()],
            config,
            every_look: false,
            next: first,
            due: first,
            waits_for: None,
            pressure_until: None,
        }
    }

    /// Memory is short, as it says.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressure_until.is_some()
    }

    /// The first of its looks that is not before `moment`.
    fn look_from(&self, moment: Moment) -> Moment {
        let looks = moment.since(self.next).0.div_ceil(LOOK.0);
        self.next + LOOK.times(looks)
    }
}

/// A signal, times a thousand so that shares of cache stay exact: what is used, and the size it is held against.
struct Seen {
    used: Line,
    size: Bytes,
}

impl Seen {
    /// It falls below `value` when what is used is more than this.
    fn level(&self, value: Bytes) -> Bytes {
        Bytes((self.size - value).0.saturating_mul(1000).saturating_add(1))
    }
}

fn thousandfold(line: &Line, times: u64) -> Line {
    Line {
        at: line.at,
        base: line.base * i128::from(times),
        slope: line.slope * i128::from(times),
    }
}

impl Node {
    fn signal(&self, config: &KubeletConfig, signal: Signal) -> Option<Seen> {
        match signal {
            Signal::MemoryAvailable => {
                let of = |parts: &[Part]| self.pods_sum.line(parts).plus(&self.host_sum.line(parts));
                let used = match self.spec.accounting {
                    Accounting::Kubelet => thousandfold(&of(&Part::ROOT_WORKING_SET), 1000),
                    Accounting::CachePermille(permille) => {
                        let hard = thousandfold(&of(&[Part::Anon, Part::Shmem]), 1000);
                        hard.plus(&thousandfold(&of(&Part::CACHE), permille))
                    }
                };
                Some(Seen {
                    used,
                    size: config.capacity,
                })
            }
            Signal::AllocatableMemoryAvailable => config.enforces_pods.then(|| Seen {
                used: thousandfold(&self.pods_sum.line(&Part::WORKING_SET), 1000),
                size: config.kubepods_limit(),
            }),
        }
    }

    /// Finds out when the kubelet's next look is that sees something.
    pub(crate) fn kubelet_refresh(&mut self, now: Moment) {
        let Some(kubelet) = &self.kubelet else { return };
        let mut due = NEVER;
        if kubelet.waits_for.is_some() {
            due = kubelet.next;
        } else if kubelet.every_look || kubelet.first_met.iter().any(Option::is_some) {
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
            if let Some(until) = kubelet.pressure_until {
                due = due.min(kubelet.look_from(until.max(now)));
            }
        }
        if let Some(kubelet) = &mut self.kubelet {
            kubelet.due = due;
        }
    }

    /// One look.
    pub(crate) fn kubelet_looks(&mut self, now: Moment) {
        let Some(mut kubelet) = self.kubelet.take() else {
            return;
        };
        kubelet.next = now + LOOK;
        kubelet.waits_for = None;
        if self.faults.kubelet_away == 0 {
            let actionable = self.observe(&mut kubelet, now);
            self.judge_pressure(&mut kubelet, now);
            if let Some(signal) = actionable {
                self.evict(&mut kubelet, signal, now);
            }
        }
        self.kubelet = Some(kubelet);
    }

    /// Which threshold is met for long enough, the machine's first.
    fn observe(&self, kubelet: &mut Kubelet, now: Moment) -> Option<(Signal, Span)> {
        let mut actionable = None;
        for index in 0..kubelet.config.thresholds.len() {
            let threshold = kubelet.config.thresholds[index];
            let wanted = if kubelet.first_met[index].is_some() {
                threshold.value + threshold.min_reclaim
            } else {
                threshold.value
            };
            let met = self
                .signal(&kubelet.config, threshold.signal)
                .is_some_and(|seen| wanted > Bytes::ZERO && seen.used.bytes(now) >= seen.level(wanted));
            let first = kubelet.first_met[index].filter(|_| met).or(met.then_some(now));
            kubelet.first_met[index] = first;
            if first.is_some_and(|first| now.since(first) >= threshold.grace) && actionable.is_none() {
                actionable = Some((threshold.signal, threshold.grace));
            }
        }
        actionable
    }

    fn judge_pressure(&mut self, kubelet: &mut Kubelet, now: Moment) {
        let was = kubelet.pressure_until.is_some();
        if kubelet.first_met.iter().any(Option::is_some) {
            kubelet.pressure_until = Some(now + kubelet.config.pressure_transition);
        } else if kubelet.pressure_until.is_some_and(|until| until <= now) {
            kubelet.pressure_until = None;
        }
        let is = kubelet.pressure_until.is_some();
        if was != is {
            self.note(now, What::Pressure(is));
        }
    }

    /// Over its request first, then the lower priority, then by how much it is over (`rankMemoryPressure`); ties by name,
    /// since the kubelet leaves them to chance.
    fn evict(&mut self, kubelet: &mut Kubelet, (signal, grace): (Signal, Span), now: Moment) {
        let at = now.since(Moment(0));
        let then = Moment(at.0.saturating_sub(STATS_AGE.0));
        let rank = |pod: &Pod| {
            let has_stats = pod.containers.iter().any(|container| container.started <= then);
            let used = if has_stats {
                pod.used(&Part::WORKING_SET, then)
            } else {
                Bytes::ZERO
            };
            let over = i128::from(used.0) - i128::from(pod.request.0);
            (has_stats, used <= pod.request, pod.spec.priority, -over)
        };
        let victim = (0..self.pods.len())
            .filter(|at| *at != HOST && !self.pods[*at].is_critical())
            .min_by(|left, right| {
                let (left, right) = (&self.pods[*left], &self.pods[*right]);
                rank(left)
                    .cmp(&rank(right))
                    .then_with(|| left.name.cmp(&right.name))
            });
        let Some(at) = victim else { return };
        let wall = match signal {
            Signal::MemoryAvailable => WallKind::KubeletNode,
            Signal::AllocatableMemoryAvailable => WallKind::KubeletAllocatable,
        };
        let for_cache = self.is_met_for_cache(&kubelet.config, signal, now);
        let victim = self.pod_victim(at, now);
        self.note(
            now,
            What::Evicting {
                wall,
                victim,
                for_cache,
            },
        );
        let grace = if grace == Span(0) {
            HARD_GRACE
        } else {
            kubelet.config.pod_grace_max.max(HARD_GRACE)
        };
        kubelet.waits_for = Some(self.pods[at].id);
        kubelet.next = now + WAIT_MAX;
        self.terminate_pod(at, grace, now);
    }

    /// Without a byte of page cache the threshold would not be met.
    fn is_met_for_cache(&self, config: &KubeletConfig, signal: Signal, now: Moment) -> bool {
        let hard = match signal {
            Signal::MemoryAvailable => self.held(&[Part::Anon, Part::Shmem], now),
            Signal::AllocatableMemoryAvailable => self.pods_sum.line(&Part::HARD).bytes(now),
        };
        let size = match signal {
            Signal::MemoryAvailable => config.capacity,
            Signal::AllocatableMemoryAvailable => config.kubepods_limit(),
        };
        size - hard >= config.hard(signal)
    }

    /// A pod is gone; the kubelet may have waited for it.
    pub(crate) fn kubelet_saw_end(&mut self, pod: u64, now: Moment) {
        if let Some(kubelet) = &mut self.kubelet
            && kubelet.waits_for == Some(pod)
        {
            kubelet.next = now + CLEAN_UP;
        }
    }
}
