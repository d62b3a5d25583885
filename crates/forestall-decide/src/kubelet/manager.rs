//! The kubelet's eviction manager as a state machine (`managerImpl.synchronize` and `Start`, k/k
//! `pkg/kubelet/eviction/eviction_manager.go`): one look every ten seconds, at most one pod a look, and no look while it
//! waits for a victim.
//!
//! It has no clock: whoever drives it says what time it is, and looks that would see nothing new may be left out. Where the
//! kubelet leaves something to chance (equal pods, two thresholds at once) it asks `pick`. It refuses to act itself.

use super::config::{KubeletConfig, Threshold};
use super::rank::{Candidate, first_victims};
use super::signal::Observation;
use crate::input::Qos;
use crate::pods::PodUid;
use crate::units::{Moment, Span};

/// From the end of one look to the next (`evictionMonitoringPeriod`, k/k `pkg/kubelet/kubelet.go`).
pub const LOOK: Span = Span::secs(10);
/// One look takes up to so long by itself, and the next comes so much later.
pub(super) const LOOK_TAKES_MAX: Span = Span::secs(1);
/// From one look to the next at the most, while it waits for nobody.
pub(super) const ROUND_MAX: Span = Span(LOOK.0 + LOOK_TAKES_MAX.0);
/// How old a pod's figures may be at a look: cAdvisor's housekeeping every ten seconds, with up to as much again of jitter
/// (`nextHousekeepingInterval`; less often where nothing changes). The first is read as soon as the pod's cgroup appears: a
/// new pod is not unknown, it is known by what it used at its start.
pub const POD_FIGURES_AGE_MAX: Span = Span::secs(20);
/// What a hard threshold leaves a pod (`immediateEvictionGracePeriodSeconds`), and the least that any pod is left
/// (`calculateEffectiveGracePeriod`, k/k `pkg/kubelet/pod_workers.go`).
pub const GRACE_MIN: Span = Span::secs(1);
/// It waits at least this long for the end of a victim's containers (`killPodNow`).
const KILL_WAIT_MIN: Span = Span::secs(10);
/// Then it asks so often whether the pod is cleaned up (`podCleanupPollFreq`) …
const CLEANUP_POLL: Span = Span::secs(1);
/// … and no longer than this (`podCleanupTimeout`).
pub(super) const CLEANUP_MAX: Span = Span::secs(30);

/// The manager's memory between two looks.
#[derive(Clone, Debug)]
pub struct Manager {
    config: KubeletConfig,
    /// One for each threshold of the configuration.
    marks: Vec<Mark>,
    last: Observation,
    pressure_seen: Option<Moment>,
    pressure: bool,
    phase: Phase,
    first: Vec<usize>,
}

/// What is remembered of a threshold.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Since when it has been met at every look.
    first_met: Option<Moment>,
    /// At the last look it was met for its grace period: its minimum reclaim holds.
    counts: bool,
    /// It counts, and its signal is newer than at the look before.
    actionable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sleeping { until: Moment },
    Killing { until: Moment },
    Cleaning { poll: Moment, until: Moment },
}

/// What has become of the pod the manager waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// Its containers run.
    Running,
    /// Its containers have ended.
    Ended,
    /// Its cgroup and volumes are gone as well (`PodIsFinished`).
    Cleaned,
}

/// What one look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The MemoryPressure condition.
    pub pressure: bool,
    /// What is done.
    pub verdict: Verdict,
}

/// What a look does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No threshold is met.
    Calm,
    /// One is met, and not yet for its grace period, or by a reading that was acted upon before.
    Waiting,
    /// Nobody may be evicted.
    Nobody(Threshold),
    /// A pod is evicted.
    Evict(Eviction),
}

/// One eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The threshold it is for.
    pub threshold: Threshold,
    /// Whom it hits.
    pub victim: PodUid,
    /// Its place among the candidates.
    pub candidate: usize,
    /// How many pods might as well have been hit, this one included.
    pub equals: usize,
    /// From the signal to terminate to the one to kill.
    pub grace: Span,
    /// Until then, and no longer, the kubelet waits for the end of its containers.
    pub waits_until: Moment,
}

impl Manager {
    /// A manager whose first look is at `first`.
    pub fn new(config: KubeletConfig, first: Moment) -> Self {
        Self {
            marks: vec![Mark::default(); config.thresholds.len()],
            config,
            last: Observation::default(),
            pressure_seen: None,
            pressure: false,
            phase: Phase::Sleeping { until: first },
            first: Vec::new(),
        }
    }

    /// What it was told.
    pub const fn config(&self) -> &KubeletConfig {
        &self.config
    }

    /// The MemoryPressure condition as of the last look.
    pub const fn pressure(&self) -> bool {
        self.pressure
    }

    /// When `advance` has something to do at the latest; at the end of a victim it may be earlier.
    pub const fn wakes_at(&self) -> Moment {
        match self.phase {
            Phase::Sleeping { until } | Phase::Killing { until } => until,
            Phase::Cleaning { poll, .. } => poll,
        }
    }

    /// It waits for a victim and looks at nothing, not even at a hard threshold (k/k #123872).
    pub const fn is_blocked(&self) -> bool {
        !matches!(self.phase, Phase::Sleeping { .. })
    }

    /// The latest moment at which it looks next, whatever becomes of its victim.
    pub fn looks_by(&self) -> Moment {
        match self.phase {
            Phase::Sleeping { until } | Phase::Cleaning { until, .. } => until,
            Phase::Killing { until } => until + CLEANUP_MAX,
        }
    }

    /// Lets time pass. `victim` is the state of the pod it waits for, if it does. True: it is time for `sync`.
    pub fn advance(&mut self, now: Moment, victim: Victim) -> bool {
        if let Phase::Killing { until } = self.phase
            && (victim >= Victim::Ended || now >= until)
        {
            let ended = now.min(until);
            self.phase = Phase::Cleaning {
                poll: ended + CLEANUP_POLL,
                until: ended + CLEANUP_MAX,
            };
        }
        match &mut self.phase {
            Phase::Sleeping { until } => now >= *until,
            Phase::Killing { .. } => false,
            Phase::Cleaning { poll, until } => {
                let polled = now >= *poll;
                while *poll <= now && *poll < *until {
                    *poll = *poll + CLEANUP_POLL;
                }
                polled && victim == Victim::Cleaned || now >= *until
            }
        }
    }

    /// One look. `candidates` are the active pods with the figures the kubelet has of them. `pick` chooses a place in
    /// a slice of equals: of thresholds first, of candidates then. Without an eviction nothing is allocated.
    pub fn sync(
        &mut self,
        now: Moment,
        observed: &Observation,
        candidates: &[Candidate],
        mut pick: impl FnMut(&[usize]) -> usize,
    ) -> Sync {
        self.phase = Phase::Sleeping { until: now + LOOK };
        let met = self.observe(now, observed);
        self.judge_pressure(now, met);
        self.last = *observed;
        let verdict = match self.threshold_to_act_on(&mut pick) {
            Some(threshold) => self.choose(now, threshold, candidates, pick),
            None if met => Verdict::Waiting,
            None => Verdict::Calm,
        };
        Sync {
            pressure: self.pressure,
            verdict,
        }
    }

    /// Marks the thresholds; true if one is met, its grace period passed or not.
    fn observe(&mut self, now: Moment, observed: &Observation) -> bool {
        let mut any = false;
        for (threshold, mark) in self.config.thresholds.iter().zip(&mut self.marks) {
            let reading = observed.of(threshold.signal);
            let met = reading.is_some_and(|reading| {
                // Once a threshold counts, it holds until its minimum reclaim is reached.
                let reclaim = if mark.counts { threshold.min_reclaim.0 } else { 0 };
                reading.available.0 < threshold.value.0.saturating_add(reclaim)
            });
            mark.first_met = met.then(|| mark.first_met.unwrap_or(now));
            mark.counts = mark
                .first_met
                .is_some_and(|first| now.since(first) >= threshold.grace);
            let newer = match (reading, self.last.of(threshold.signal)) {
                (Some(reading), Some(last)) => reading.at > last.at,
                (reading, _) => reading.is_some(),
            };
            mark.actionable = mark.counts && newer;
            any |= met;
        }
        any
    }

    /// Pressure begins with the first crossing, long before a soft threshold acts, and ends a whole period after the last.
    fn judge_pressure(&mut self, now: Moment, met: bool) {
        if met {
            self.pressure_seen = Some(now);
        }
        self.pressure = self
            .pressure_seen
            .is_some_and(|seen| now.since(seen) < self.config.pressure_transition);
    }

    /// Both signals are memory, and the kubelet's sort puts neither before the other.
    fn threshold_to_act_on(&mut self, pick: &mut impl FnMut(&[usize]) -> usize) -> Option<Threshold> {
        if !self.marks.iter().any(|mark| mark.actionable) {
            return None;
        }
        self.first.clear();
        let actionable = self.marks.iter().enumerate().filter(|(_, mark)| mark.actionable);
        self.first.extend(actionable.map(|(index, _)| index));
        let chosen = picked(&self.first, pick)?;
        self.config.thresholds.get(chosen).copied()
    }

    fn choose(
        &mut self,
        now: Moment,
        threshold: Threshold,
        candidates: &[Candidate],
        mut pick: impl FnMut(&[usize]) -> usize,
    ) -> Verdict {
        first_victims(candidates, &mut self.first);
        let chosen = picked(&self.first, &mut pick);
        let Some((index, candidate)) = chosen.and_then(|index| Some((index, candidates.get(index)?))) else {
            return Verdict::Nobody(threshold);
        };
        let asked = if threshold.grace == Span(0) {
            GRACE_MIN
        } else {
            self.config.pod_grace_max.min(candidate.grace)
        };
        let waits_until = now + wait_for(asked);
        self.phase = Phase::Killing { until: waits_until };
        Verdict::Evict(Eviction {
            threshold,
            victim: candidate.uid,
            candidate: index,
            equals: self.first.len(),
            grace: asked.min(candidate.grace).max(GRACE_MIN),
            waits_until,
        })
    }

    /// Whether a pod that is new on this node is let in (`Admit`): under pressure none of best effort, unless it is critical
    /// or tolerates `node.kubernetes.io/memory-pressure`.
    pub fn admits(&self, qos: Qos, critical: bool, tolerates_pressure: bool) -> bool {
        !self.pressure || critical || qos != Qos::BestEffort || tolerates_pressure
    }
}

/// How long it waits for a kill with this grace: half as long again in whole seconds, and ten seconds at least.
pub(super) fn wait_for(grace: Span) -> Span {
    let secs = grace.0 / 1_000_000;
    Span::secs(secs.saturating_add(secs / 2)).max(KILL_WAIT_MIN)
}

fn picked(equals: &[usize], pick: &mut impl FnMut(&[usize]) -> usize) -> Option<usize> {
    let place = if equals.len() > 1 { pick(equals) } else { 0 };
    equals.get(place).or(equals.first()).copied()
}

#[cfg(test)]
mod tests;
