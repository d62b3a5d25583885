//! The shadow kubelet: remembers since when each threshold is met by our own samples, and says from that and from growth
//! what the kubelet does next ([`KubeletForecast`]).
//!
//! We look more often than the kubelet, so what we saw bounds what it can have seen, and what was before our first look bounds
//! nothing. It refuses to guess the phase of its loop, and to break its ties.

use super::config::{KubeletConfig, Signal, Threshold};
use super::forecast::{Bounds, Crossing, Growth, KubeletForecast, KubeletState, Outlook, Signs};
use super::grace::Grace;
use super::manager::{CLEANUP_MAX, GRACE_MIN, LOOK, LOOK_TAKES_MAX, ROUND_MAX, wait_for};
use crate::units::{Bytes, Moment, Span};
use crate::wall::Line;

/// Silent for longer it is starved, and longer than twice that gone: on a machine whose host leaks, its log was silent for
/// about 30 s and then for more than a minute.
const STARVED_AFTER: Span = Span::secs(30);
/// The shadow's memory between two samples.
#[derive(Clone, Debug)]
pub struct Shadow {
    config: KubeletConfig,
    /// One for each threshold of the configuration.
    graces: Vec<Grace>,
    met_last: Option<Moment>,
    /// When it was told to have evicted, and how long it may wait for that pod from then on.
    evicted: Option<(Moment, Span)>,
    forecast: KubeletForecast,
}

impl Shadow {
    /// The shadow of a kubelet that was told this.
    pub fn new(config: KubeletConfig) -> Self {
        Self {
            graces: vec![Grace::default(); config.thresholds.len()],
            config,
            met_last: None,
            evicted: None,
            forecast: KubeletForecast::default(),
        }
    }

    /// What it was told.
    pub const fn config(&self) -> &KubeletConfig {
        &self.config
    }

    /// The latest forecast.
    pub const fn forecast(&self) -> &KubeletForecast {
        &self.forecast
    }

    /// The thresholds of a signal, each with what is left of its grace period.
    pub(crate) fn lines(&self, now: Moment, signal: Signal) -> impl Iterator<Item = Line> + Clone {
        let thresholds = self.config.thresholds.iter().zip(&self.graces);
        thresholds
            .filter(move |(threshold, _)| threshold.signal == signal)
            .map(move |(threshold, grace)| Line {
                value: threshold.value,
                left: grace.used(now).left(Bounds::exactly(threshold.grace)),
            })
    }

    /// It has just evicted a pod, as Kubernetes tells: until that one is gone, or it has waited in vain, it looks at nothing.
    pub fn note_eviction(&mut self, now: Moment) {
        // For which threshold is not told: for the one that was to act first, or a hard one.
        let hard = wait_for(GRACE_MIN) + CLEANUP_MAX;
        let waits = self
            .forecast
            .crossing
            .map_or(hard, |crossing| crossing.blocked_max);
        self.evicted = Some((now, waits));
    }

    /// Our clock went back by so much, and the kubelet's did not: it has met, waited and felt pressure for as long as before.
    pub(crate) fn set_back(&mut self, by: Span) {
        for grace in &mut self.graces {
            grace.set_back(by);
        }
        self.met_last = self.met_last.map(|at| at.before(by));
        if let Some((at, _)) = &mut self.evicted {
            *at = at.before(by);
        }
    }

    /// Takes a sample's outlook and forecasts. Allocates only where there are more pods than ever.
    pub fn look(&mut self, now: Moment, outlook: &Outlook<'_>) -> &KubeletForecast {
        self.watch(now, outlook, true)
    }

    /// The same, but the pods are ranked anew only where that `is_due`, or another threshold acts first than when they were
    /// ranked: the kubelet's own figures of them are older than ten seconds often enough.
    pub fn watch(&mut self, now: Moment, outlook: &Outlook<'_>, is_due: bool) -> &KubeletForecast {
        self.remember(now, outlook);
        let forecast = &mut self.forecast;
        forecast.state = judge(now, outlook.signs);
        forecast.pressure = self
            .met_last
            .is_some_and(|last| now.since(last) < self.config.pressure_transition);
        forecast.blocked = self.evicted.and_then(|(at, waits)| {
            let left = Span(waits.0.saturating_sub(now.since(at).0));
            (left > Span(0)).then_some(left)
        });
        let blocked = forecast.blocked;
        let crossings = self.config.thresholds.iter().zip(&self.graces);
        let crossings = crossings.filter_map(|(threshold, grace)| {
            let grace_max = self.config.pod_grace_max;
            let crossing = cross(now, threshold, *grace, outlook, forecast.state, grace_max)?;
            Some(held_up(crossing, blocked, forecast.state))
        });
        let ranked_for = forecast.crossing.map(|crossing| crossing.threshold);
        // The earliest by its middle; where both are not in sight at the median, by its earliest.
        forecast.crossing = crossings.min_by_key(|crossing| (crossing.acts.middle, crossing.acts.earliest));
        if is_due || ranked_for != forecast.crossing.map(|crossing| crossing.threshold) {
            forecast.find_victims(outlook);
        }
        forecast.find_unmended(outlook);
        &self.forecast
    }

    fn remember(&mut self, now: Moment, outlook: &Outlook<'_>) {
        for (threshold, grace) in self.config.thresholds.iter().zip(&mut self.graces) {
            let Some(reading) = outlook.observed.of(threshold.signal) else {
                *grace = Grace::Unseen;
                continue;
            };
            // It has counted in the kubelet if it was met for its grace and one whole round.
            let counts = |since| now.since(since) > threshold.grace + LOOK;
            let reclaim = if grace.met_since().is_some_and(counts) {
                threshold.min_reclaim
            } else {
                Bytes::ZERO
            };
            *grace = grace.look(now, reading.available < threshold.value + reclaim);
        }
        if self.graces.iter().any(|grace| grace.met_since().is_some()) {
            self.met_last = Some(now);
        }
        self.evicted = self.evicted.filter(|(at, _)| *at <= now);
        self.met_last = self.met_last.filter(|last| *last <= now);
    }
}

fn judge(now: Moment, signs: Signs) -> KubeletState {
    let silent = signs.heard_at.map_or(Span(0), |heard| now.since(heard));
    match (signs.present, silent) {
        (false, _) => KubeletState::Absent,
        (_, silent) if silent > STARVED_AFTER.times(2) => KubeletState::Gone,
        (_, silent) if silent > STARVED_AFTER => KubeletState::Starved,
        _ => KubeletState::Running,
    }
}

fn growth(outlook: &Outlook<'_>, signal: Signal) -> Growth {
    match signal {
        Signal::MemoryAvailable => outlook.node_growth,
        Signal::AllocatableMemoryAvailable => outlook.pods_growth,
    }
}

/// When this threshold acts; `None` where its signal is not known or nothing comes nearer to it.
fn cross(
    now: Moment,
    threshold: &Threshold,
    grace: Grace,
    outlook: &Outlook<'_>,
    state: KubeletState,
    pod_grace_max: Span,
) -> Option<Crossing> {
    let reading = outlook.observed.of(threshold.signal)?;
    let distance = reading.available - threshold.value;
    let used = grace.met_since().map(|_| grace.used(now));
    let crosses = match used {
        Some(_) => Bounds::PAST,
        // At the threshold itself nothing is met yet.
        None => Bounds::to_cover(distance + Bytes(1), growth(outlook, threshold.signal)),
    };
    if crosses.earliest == Span::FOREVER {
        return None;
    }
    let met_for = used.map(|used| used.least);
    let takes = from_crossing(threshold.grace);
    let overdue = met_for.is_some_and(|met_for| met_for > takes.latest);
    let blocked = block_max(threshold, outlook, pod_grace_max);
    let acts = match used {
        Some(_) if overdue => Bounds {
            earliest: Span(0),
            middle: ROUND_MAX,
            // It waits for a victim, at most until that is cleaned up.
            latest: blocked + ROUND_MAX,
        },
        Some(used) => used.left(takes),
        None => Bounds {
            earliest: crosses.earliest + takes.earliest,
            middle: crosses.middle + takes.middle,
            latest: crosses.latest + takes.latest,
        },
    };
    Some(Crossing {
        threshold: *threshold,
        distance,
        met_for,
        crosses,
        acts: delayed(acts, state),
        overdue,
        blocked_max: blocked,
    })
}

/// From the crossing to the kubelet's act. The first look at or after the crossing is within one round; the grace counts from that
/// look to another. Late looks may let one round fewer suffice.
fn from_crossing(grace: Span) -> Bounds {
    let rounds = grace.0.div_ceil(LOOK.0);
    Bounds {
        earliest: LOOK.times(grace.0.div_ceil(ROUND_MAX.0)).max(grace),
        middle: LOOK.times(rounds) + Span(LOOK.0 / 2),
        latest: ROUND_MAX + ROUND_MAX.times(rounds).min(grace + ROUND_MAX),
    }
}

/// How long the kubelet may wait for a victim of this threshold.
fn block_max(threshold: &Threshold, outlook: &Outlook<'_>, pod_grace_max: Span) -> Span {
    let grace = if threshold.grace == Span(0) {
        GRACE_MIN
    } else {
        let graces = outlook.pods.iter().map(|pod| pod.pod.grace);
        pod_grace_max.min(graces.max().unwrap_or(Span(0)))
    };
    wait_for(grace) + CLEANUP_MAX
}

/// What it does while it waits for a pod comes after that. It looks again as soon as the pod is gone, which may be any moment,
/// and at the latest when it has waited in vain.
fn held_up(crossing: Crossing, blocked: Option<Span>, state: KubeletState) -> Crossing {
    let able = matches!(state, KubeletState::Running | KubeletState::Starved);
    let Some(left) = blocked.filter(|_| able) else {
        return crossing;
    };
    let free = Bounds {
        earliest: Span(0),
        middle: Span(left.0 / 2),
        latest: left + LOOK_TAKES_MAX,
    };
    let acts = if crossing.overdue {
        // That is what it waited for.
        delayed(free, state)
    } else {
        Bounds {
            earliest: crossing.acts.earliest,
            middle: crossing.acts.middle.max(free.middle),
            latest: crossing.acts.latest.max(free.latest),
        }
    };
    Crossing {
        acts,
        overdue: false,
        ..crossing
    }
}

fn delayed(acts: Bounds, state: KubeletState) -> Bounds {
    match state {
        KubeletState::Running => acts,
        KubeletState::Starved => Bounds {
            latest: acts.latest + STARVED_AFTER.times(2),
            middle: acts.middle + STARVED_AFTER,
            ..acts
        },
        KubeletState::Absent | KubeletState::Gone => Bounds::NEVER,
    }
}

#[cfg(test)]
mod tests;
