//! Rules about what goes on for a while: reclaim that hides a leak, budgets, and that something happens at all.

use std::collections::BTreeMap;

use forestall_decide::{Bytes, GroupId, Moment, Rung, Span, WallKind};

use super::Checker;
use super::kill::{on, sound};
use super::seen::Seen;
use crate::event::{Event, Grower, Victim, What};

pub(super) struct NoHiding;

impl Checker for NoHiding {
    fn see(&mut self, event: &Event) -> Option<String> {
        let What::Ordered(order) = &event.what else {
            return None;
        };
        let kubelets = matches!(order.wall, WallKind::KubeletNode | WallKind::KubeletAllocatable);
        (order.rung == Rung::Reclaim && kubelets && order.leak_is_near)
            .then(|| format!("reclaim at {} while a leak is near", order.wall.label()))
    }
}

pub(super) struct Budget;

impl Checker for Budget {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::AgentEvicted {
                victim,
                tokens: Some(0),
            } => Some(format!("{} without a token", victim.name)),
            _ => None,
        }
    }
}

/// So long after the last fault nothing is asked.
const HEALED: Span = Span::secs(60);
/// A leak is slow enough to see when it takes this long for the last quarter of a wall, and has grown for so long.
const SLOW: Span = Span::secs(4);
const GROWN_FOR: Span = Span::secs(15);

/// So long after somebody was told to end, what it held is on its way and worth waiting for.
const ON_ITS_WAY: Span = Span::secs(5);

/// Which faults are on, and when the last one ended, by node.
#[derive(Default)]
pub(super) struct Liveness {
    seen: Seen,
    on: BTreeMap<u32, u32>,
    ended: BTreeMap<u32, Moment>,
    healed: BTreeMap<u32, Moment>,
}

impl Checker for Liveness {
    fn see(&mut self, event: &Event) -> Option<String> {
        let found = self.judge(event);
        self.seen.see(event);
        found
    }
}

impl Liveness {
    fn judge(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Fault { begins, .. } => {
                let on = self.on.entry(event.node).or_default();
                *on = if *begins { *on + 1 } else { on.saturating_sub(1) };
                self.healed.insert(event.node, event.at);
                None
            }
            What::Evicting { .. } | What::AgentEvicted { .. } => {
                self.ended.insert(event.node, event.at);
                None
            }
            What::KernelKilled {
                wall: wall @ (WallKind::Kernel | WallKind::Kubepods),
                victim,
                grower: Some(grower),
                ..
            } => {
                let waits = self
                    .ended
                    .insert(event.node, event.at)
                    .is_some_and(|ended| event.at.since(ended) <= ON_ITS_WAY);
                let well = !waits
                    && self.on.get(&event.node).is_none_or(|on| *on == 0)
                    && self
                        .healed
                        .get(&event.node)
                        .is_none_or(|healed| event.at.since(*healed) > HEALED);
                // The last quarter of the wall is at least as large as a quarter of the victim was.
                let quarter = Bytes(victim.held.0 / 4);
                let slow = Span::to_cover(quarter, forestall_decide::BytesPerSecond(grower.rate)) >= SLOW;
                let asked = well
                    && slow
                    && grower.guarded
                    && !grower.protected
                    && grower.growing_for >= GROWN_FOR
                    && self.seen.was_alone(event, *wall, Bytes::ZERO, grower.rate);
                asked.then(|| {
                    format!(
                        "the kernel killed {} though {:?} grew alone at {} KiB/s for {} s",
                        victim.name,
                        grower.group,
                        grower.rate / 1024,
                        grower.growing_for.as_millis() / 1000
                    )
                })
            }
            _ => None,
        }
    }
}

pub(super) fn hid_a_leak() -> Vec<Event> {
    let mut order = sound();
    order.rung = Rung::Reclaim;
    order.wall = WallKind::KubeletNode;
    order.leak_is_near = true;
    vec![on(1, What::Ordered(order))]
}

pub(super) fn victim() -> Victim {
    Victim {
        name: "leak-0/app".into(),
        group: GroupId(5),
        innocent: false,
        protection: None,
        held: Bytes::mebi(800),
        limited: false,
    }
}

pub(super) fn evicted_without_token() -> Vec<Event> {
    vec![on(
        1,
        What::AgentEvicted {
            victim: victim(),
            tokens: Some(0),
        },
    )]
}

pub(super) fn slept_through_a_leak() -> Vec<Event> {
    vec![on(
        100,
        What::KernelKilled {
            wall: WallKind::Kubepods,
            scope: None,
            victim: victim(),
            grower: Some(Grower {
                group: GroupId(5),
                pod: GroupId(4),
                rate: 8 << 20,
                growing_for: Span::secs(90),
                grown: Bytes::mebi(720),
                takes_again: false,
                left_of_request: None,
                protected: false,
                guarded: true,
            }),
        },
    )]
}
