//! The shadow kubelet: remembers since when each threshold is met by our own samples, and says from that and from growth
//! what the kubelet does next ([`KubeletForecast`]).
//!
//! We look more often than the kubelet, so what we saw bounds what it can have seen. It refuses to guess the phase of its
//! loop, and to break its ties.

use super::config::{KubeletConfig, Signal, Threshold};
use super::forecast::{Bounds, Crossing, Growth, KubeletForecast, KubeletState, Outlook, Signs};
use super::manager::{CLEANUP_MAX, GRACE_MIN, LOOK, wait_for};
use crate::units::{Bytes, Moment, Span};
use crate::wall::Line;

/// One look takes up to so long by itself, so that each comes so much later than ten seconds after the last.
const LOOK_TAKES_MAX: Span = Span::secs(1);
/// Silent for longer it is starved, and longer than twice that gone: on a machine whose host leaks, its log was silent for
/// about 30 s and then for more than a minute.
const STARVED_AFTER: Span = Span::secs(30);
/// The shadow's memory between two samples.
#[derive(Clone, Debug)]
pub struct Shadow {
    config: KubeletConfig,
    met_since: Vec<Option<Moment>>,
    met_last: Option<Moment>,
    /// When it was told to have evicted, and how long it may wait for that pod from then on.
    evicted: Option<(Moment, Span)>,
    forecast: KubeletForecast,
}

impl Shadow {
    /// The shadow of a kubelet that was told this.
    pub fn new(config: KubeletConfig) -> Self {
        Self {
            met_since: vec![None; config.thresholds.len()],
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

    /// The thresholds of a signal, each with what is left of its grace period by our own samples, and hence at the least.
    pub(crate) fn lines(&self, now: Moment, signal: Signal) -> impl Iterator<Item = Line> + Clone {
        let thresholds = self.config.thresholds.iter().zip(&self.met_since);
        thresholds
            .filter(move |(threshold, _)| threshold.signal == signal)
            .map(move |(threshold, since)| {
                let met_for = since.map_or(Span(0), |since| now.since(since));
                Line {
                    value: threshold.value,
                    left: Span(threshold.grace.0.saturating_sub(met_for.0)),
                }
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
        let since = self.met_since.iter_mut().chain([&mut self.met_last]);
        for at in since.flatten() {
            *at = at.before(by);
        }
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
        let crossings =
            self.config
                .thresholds
                .iter()
                .zip(&self.met_since)
                .filter_map(|(threshold, since)| {
                    let grace_max = self.config.pod_grace_max;
                    let crossing = cross(now, threshold, *since, outlook, forecast.state, grace_max)?;
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
        for (threshold, since) in self.config.thresholds.iter().zip(&mut self.met_since) {
            // A clock that went back says nothing of how long it is met.
            let before = since.filter(|since| *since <= now);
            // It has counted in the kubelet if it was met for its grace and one whole round.
            let counted = before.is_some_and(|since| now.since(since) > threshold.grace + LOOK);
            let reclaim = if counted {
                threshold.min_reclaim
            } else {
                Bytes::ZERO
            };
            let reading = outlook.observed.of(threshold.signal);
            let met = reading.is_some_and(|reading| reading.available < threshold.value + reclaim);
            *since = met.then_some(before.unwrap_or(now));
        }
        if self.met_since.iter().any(Option::is_some) {
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
    since: Option<Moment>,
    outlook: &Outlook<'_>,
    state: KubeletState,
    pod_grace_max: Span,
) -> Option<Crossing> {
    let reading = outlook.observed.of(threshold.signal)?;
    let distance = reading.available - threshold.value;
    let crosses = match since {
        Some(_) => Bounds::PAST,
        // At the threshold itself nothing is met yet.
        None => Bounds::to_cover(distance + Bytes(1), growth(outlook, threshold.signal)),
    };
    if crosses.earliest == Span::FOREVER {
        return None;
    }
    let met_for = since.map(|since| now.since(since));
    // The first look at or after the crossing is within one round; the grace counts from that look to another. Late looks
    // may let one round fewer suffice.
    let round_max = LOOK + LOOK_TAKES_MAX;
    let grace = threshold.grace;
    let rounds = grace.0.div_ceil(LOOK.0);
    let soonest = LOOK.times(grace.0.div_ceil(round_max.0)).max(grace);
    let likely = LOOK.times(rounds) + Span(LOOK.0 / 2);
    let last = round_max + round_max.times(rounds).min(grace + round_max);
    let passed = met_for.unwrap_or(Span(0));
    let overdue = met_for.is_some_and(|met_for| met_for > last);
    let blocked = block_max(threshold, outlook, pod_grace_max);
    let acts = if overdue {
        Bounds {
            earliest: Span(0),
            middle: round_max,
            // It waits for a victim, at most until that is cleaned up.
            latest: blocked + round_max,
        }
    } else {
        let after = |crossing: Span, delay: Span| match crossing {
            Span::FOREVER => Span::FOREVER,
            crossing => Span((crossing + delay).0.saturating_sub(passed.0)),
        };
        Bounds {
            earliest: after(crosses.earliest, soonest),
            middle: after(crosses.middle, likely),
            latest: after(crosses.latest, last),
        }
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
