//! When to look again: no later than a quarter of the time in which the fastest credible growth could reach a wall.

use crate::alarm::may_act_now;
use crate::decision::{WallKind, WallReading};
use crate::input::NodeSample;
use crate::policy::Policy;
use crate::rule::{Rule, holds};
use crate::units::{Bytes, BytesPerSecond, Span};

/// Looks fit so many times into the shortest runway.
const LOOKS_PER_RUNWAY: u64 = 4;
/// A wall whose fast runway is shorter than this is near.
const NEAR: Span = Span::secs(30);
/// Looking may take at most one part in this many of a processor, and in the last second before a wall half of it.
const COST_SHARE: u64 = 8;
const COST_SHARE_NEAR: u64 = 2;
/// So near is the last second before a wall.
const LAST: Span = Span::secs(1);

/// The time until the next look, from one at which so much was left of the machine's own wall and everything was as the
/// engine was told last: a quarter of the time in which the fastest fill could take that, as for every look. What else the
/// engine knows does not shorten it; where its own `wake_in` is shorter, it has to be asked.
pub fn next_glance(distance: Bytes, policy: &Policy) -> Span {
    sight(distance, policy.fill_rate)
        .min(policy.tick_idle)
        .max(policy.tick_min)
}

/// A part of the time in which so much is filled.
fn sight(distance: Bytes, fastest: BytesPerSecond) -> Span {
    if !holds(Rule::Sight) {
        return Span::FOREVER;
    }
    Span(Span::to_cover(distance, fastest).0 / LOOKS_PER_RUNWAY)
}

/// What the look took from others, which bounds how often it is done: time on a processor. Time that it waited, for a
/// processor, a lock or a page, costs nobody else anything, and a guard that then waited eight times as long would be
/// blindest on a machine that starves right before a wall. Where only the whole is known, that counts.
fn taken_from_others(node: &NodeSample) -> Span {
    node.sample_processor.unwrap_or(node.sample_cost)
}

/// The time until the next look after one that saw `node`. `busy`: an action is in flight and its effect is waited for.
pub(crate) fn next_look(readings: &[WallReading], node: &NodeSample, policy: &Policy, busy: bool) -> Span {
    let cost = taken_from_others(node);
    let mut wake = policy.tick_idle;
    let mut cost_share = COST_SHARE;
    for reading in readings {
        let killing = matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods);
        if killing && reading.runway.p10 <= LAST.max(cost.times(COST_SHARE)) {
            cost_share = COST_SHARE_NEAR;
        }
        let bound = if killing {
            let fastest = reading.growth_fast.max(policy.fill_rate);
            let is_calm = reading.growth_fast == BytesPerSecond(0) || reading.runway.p10 > NEAR.times(10);
            let pace = if is_calm {
                policy.tick_idle
            } else {
                policy.tick_calm
            };
            let pace = if reading.runway.p10 <= NEAR {
                policy.tick_near
            } else {
                pace
            };
            sight(reading.distance, fastest).min(pace)
        } else if is_left_to_time(reading) {
            policy.tick_calm
        } else if reading.runway.p10 <= NEAR {
            // Nothing is killed here, so nothing is gained by more than the usual near rate.
            Span((reading.runway.p10.0 / LOOKS_PER_RUNWAY).max(policy.tick_near.0)).min(policy.tick_calm)
        } else if reading.distance
            < reading
                .limit
                .bytes()
                .map_or(Bytes::ZERO, |limit| limit.permille(200))
        {
            policy.tick_calm
        } else {
            policy.tick_idle
        };
        wake = wake.min(bound);
    }
    if busy {
        wake = wake.min(policy.tick_near);
    }
    wake.max(policy.tick_min).max(cost.times(cost_share))
}

/// A threshold of the kubelet's is met and stays so, or may have been met for long enough: when the kubelet acts for it now is told by
/// no look of ours.
fn is_left_to_time(reading: &WallReading) -> bool {
    let stays = reading.distance == Bytes::ZERO && reading.growth_fast == BytesPerSecond(0);
    stays || may_act_now(reading) && reading.runway.p50 > NEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_too_is_followed_within_a_quarter_of_the_fastest_fill() {
        let policy = Policy {
            fill_rate: BytesPerSecond(1 << 30),
            tick_idle: Span::secs(10),
            tick_min: Span::millis(10),
            ..Policy::default()
        };
        // 4 GiB at 1 GiB/s take 4 s, and 80 GiB more than there is patience for.
        assert_eq!(next_glance(Bytes::mebi(4096), &policy), Span::secs(1));
        assert_eq!(next_glance(Bytes::mebi(80 << 10), &policy), Span::secs(10));
        assert_eq!(next_glance(Bytes::mebi(1), &policy), Span::millis(10));
    }
}
