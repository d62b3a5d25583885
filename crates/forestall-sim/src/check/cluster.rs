//! Rules about what is asked of others: the API server, disruption budgets, other nodes, and the pods themselves.

use std::collections::BTreeMap;

use forestall_decide::{ActionId, Bytes, GroupId, Limit, Moment, OutcomeKind, Rung, Span, WallKind};

use super::Checker;
use super::kill::{harmful, name, on, order, ordered, sound};
use crate::event::{Event, Leaving, Order, What};

/// The agent knows after this that the API server is away.
const KNOWN_AFTER: Span = Span::secs(1);
/// A disruption budget that refused is left alone for this long.
const LEFT_ALONE: Span = Span::secs(9);

fn is_asked(event: &Event, rung: Rung) -> Option<&Order> {
    order(event).filter(|order| order.rung == rung)
}

/// A kill where no kernel would have killed.
pub(super) struct KubeletsWall;

impl Checker for KubeletsWall {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = harmful(event).filter(|order| order.rung != Rung::Evict)?;
        matches!(order.wall, WallKind::KubeletNode | WallKind::KubeletAllocatable).then(|| {
            format!(
                "{} of {} at {}",
                order.rung.label(),
                name(order),
                order.wall.label()
            )
        })
    }
}

/// Since when the API server is away, by node, and how often over.
#[derive(Default)]
pub(super) struct ApiAway(BTreeMap<u32, (u32, Moment)>);

impl Checker for ApiAway {
    fn see(&mut self, event: &Event) -> Option<String> {
        if let What::Fault {
            name: "api-away",
            begins,
        } = event.what
        {
            let (times, since) = self.0.entry(event.node).or_insert((0, event.at));
            if *times == 0 {
                *since = event.at;
            }
            *times = if begins {
                *times + 1
            } else {
                times.saturating_sub(1)
            };
        }
        let order = order(event).filter(|order| order.rung.needs_api())?;
        let (times, since) = self.0.get(&event.node)?;
        (*times > 0 && event.at.since(*since) > KNOWN_AFTER).then(|| {
            format!(
                "{} of {} with the API server away",
                order.rung.label(),
                name(order)
            )
        })
    }
}

/// Evictions that were asked for, and pods whose budget refused, by node.
#[derive(Default)]
pub(super) struct NotAskedAgain {
    asked: BTreeMap<(u32, ActionId), GroupId>,
    refused: BTreeMap<(u32, GroupId), Moment>,
}

impl Checker for NotAskedAgain {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Fault { .. } => {
                self.refused.retain(|(node, _), _| *node != event.node);
                None
            }
            What::Landed {
                id,
                kind: OutcomeKind::Blocked,
                ..
            } => {
                let pod = self.asked.remove(&(event.node, *id))?;
                self.refused.insert((event.node, pod), event.at);
                None
            }
            _ => {
                let order = is_asked(event, Rung::Evict)?;
                let pod = order.target.as_ref()?.pod;
                self.asked.insert((event.node, order.id), pod);
                let refused = self.refused.get(&(event.node, pod))?;
                (event.at.since(*refused) <= LEFT_ALONE)
                    .then(|| format!("{} again, right after its budget refused", name(order)))
            }
        }
    }
}

pub(super) struct PlaceToGo;

impl Checker for PlaceToGo {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = is_asked(event, Rung::Evict)?;
        let nowhere = order
            .target
            .as_ref()
            .is_some_and(|aim| aim.leaving == Leaving::Nowhere);
        nowhere.then(|| format!("eviction of {}, for which no other node has room", name(order)))
    }
}

pub(super) struct AskedFor;

impl Checker for AskedFor {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = order(event)?;
        let aim = order.target.as_ref()?;
        let asked = match order.rung {
            Rung::Warn => aim.wants_warning,
            Rung::Grow => aim.may_grow,
            _ => true,
        };
        (!asked).then(|| {
            format!(
                "{} of {}, which has not asked for it",
                order.rung.label(),
                name(order)
            )
        })
    }
}

pub(super) struct RoomToGrow;

impl Checker for RoomToGrow {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = is_asked(event, Rung::Grow)?;
        let Limit::Bytes(limit) = order.target.as_ref()?.limit else {
            return None;
        };
        let added = order.bytes - limit;
        (order.room < added + added).then(|| {
            format!(
                "{added} more for {} with {} left on its node",
                name(order),
                order.room
            )
        })
    }
}

pub(super) fn killed_for_the_kubelet() -> Vec<Event> {
    vec![ordered(|order| order.wall = WallKind::KubeletNode)]
}

fn evict(id: u64) -> Order {
    let mut order = sound();
    order.id = ActionId(id);
    order.rung = Rung::Evict;
    order.grace = Span::secs(1);
    order
}

pub(super) fn asked_nobody() -> Vec<Event> {
    let away = What::Fault {
        name: "api-away",
        begins: true,
    };
    vec![on(1, away), on(10, What::Ordered(evict(1)))]
}

pub(super) fn asked_again() -> Vec<Event> {
    let blocked = What::Landed {
        id: ActionId(1),
        rung: Rung::Evict,
        kind: OutcomeKind::Blocked,
        freed: Bytes::ZERO,
    };
    vec![
        on(1, What::Ordered(evict(1))),
        on(2, blocked),
        on(3, What::Ordered(evict(2))),
    ]
}

pub(super) fn evicted_to_nowhere() -> Vec<Event> {
    let mut order = evict(1);
    if let Some(aim) = &mut order.target {
        aim.leaving = Leaving::Nowhere;
    }
    vec![on(1, What::Ordered(order))]
}

pub(super) fn warned_unasked() -> Vec<Event> {
    vec![ordered(|order| order.rung = Rung::Warn)]
}

pub(super) fn grew_without_room() -> Vec<Event> {
    vec![ordered(|order| {
        order.rung = Rung::Grow;
        order.wall = WallKind::Container;
        order.bytes = Bytes::mebi(125);
        if let Some(aim) = &mut order.target {
            aim.limit = Limit::Bytes(Bytes::mebi(100));
            aim.may_grow = true;
        }
    })]
}
