//! Rules about brakes: bounded in time, known to the engine to their end, and nobody's death warrant.

use std::collections::BTreeMap;

use forestall_decide::{ActionId, Bytes, GroupId, Moment, OutcomeKind, Rung, Span};

use super::Checker;
use super::kill::{harmful, name, on, order, sound};
use super::seen::Seen;
use crate::event::{BrakeState, Event, What};

/// A brake is lifted no later than this.
const BRAKE_MAX: Span = Span::secs(60);
/// What became of a brake is told within this.
const TOLD_WITHIN: Span = Span::secs(1);
/// So little is nothing: less than any growth that counts.
const NOTHING: Bytes = Bytes(128 << 10);
/// What a brake comes to shows within this.
const SEEN_WITHIN: Span = Span::secs(1);

/// Brakes that are on.
#[derive(Default)]
pub(super) struct NothingLeftBehind(BTreeMap<(u32, GroupId), Moment>);

impl Checker for NothingLeftBehind {
    fn see(&mut self, event: &Event) -> Option<String> {
        let (group, state) = match &event.what {
            What::Brake { group, state } => (group, state),
            What::NodeLost => {
                self.0.retain(|(node, _), _| *node != event.node);
                return None;
            }
            _ => return None,
        };
        let key = (event.node, *group);
        if *state == BrakeState::On {
            self.0.entry(key).or_insert(event.at);
            return None;
        }
        let since = self.0.remove(&key)?;
        let lasted = event.at.since(since);
        (lasted > BRAKE_MAX).then(|| format!("a brake lasted {} s", lasted.as_millis() / 1000))
    }

    fn finish(&mut self, end: Moment) -> Option<String> {
        let late = self
            .0
            .values()
            .filter(|since| end.since(**since) > BRAKE_MAX)
            .count();
        (late > 0).then(|| format!("{late} brakes are still on"))
    }
}

/// A brake that was ordered: on whom, and how it ended, as far as it has.
struct Ordered {
    group: GroupId,
    ended: Option<(BrakeState, Moment)>,
}

/// Brakes of which the engine has not been told the end, by node and order.
#[derive(Default)]
pub(super) struct Known(BTreeMap<(u32, ActionId), Ordered>);

impl Checker for Known {
    fn see(&mut self, event: &Event) -> Option<String> {
        let node = event.node;
        match &event.what {
            What::Ordered(order) if order.rung == Rung::Brake => {
                let group = order.target.as_ref()?.victim.group;
                let ordered = Ordered { group, ended: None };
                self.0.insert((node, order.id), ordered);
                None
            }
            What::Brake { group, state } if *state != BrakeState::On => {
                let of_it = |((at, _), ordered): &(&(u32, ActionId), &mut Ordered)| {
                    *at == node && ordered.group == *group
                };
                for (_, ordered) in self.0.iter_mut().filter(of_it) {
                    ordered.ended.get_or_insert((*state, event.at));
                }
                None
            }
            What::Landed { id, kind, .. } if *kind != OutcomeKind::Progress => {
                let ended = self.0.remove(&(node, *id))?.ended.map(|(state, _)| state);
                let fits = match kind {
                    OutcomeKind::Done => ended == Some(BrakeState::Lifted),
                    // It never came, or went with its cgroup.
                    _ => ended != Some(BrakeState::Lifted),
                };
                (!fits).then(|| format!("a brake of which {kind:?} was told, and that was {ended:?}"))
            }
            // Nobody is told what the agent before had ordered.
            What::Fault { .. } | What::NodeLost => {
                self.0.retain(|(other, _), _| *other != node);
                None
            }
            _ => None,
        }
    }

    fn finish(&mut self, end: Moment) -> Option<String> {
        let late = |it: &&Ordered| matches!(it.ended, Some((_, ended)) if end.since(ended) > TOLD_WITHIN);
        let late = self.0.values().filter(late).count();
        (late > 0).then(|| format!("{late} brakes ended and nobody was told"))
    }
}

pub(super) struct RoomToGoOn;

impl Checker for RoomToGoOn {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = order(event).filter(|order| order.rung == Rung::Brake)?;
        let held = order.target.as_ref()?.victim.held;
        (order.bytes < held).then(|| {
            format!(
                "{} may have {} and holds {held}, none of it cache",
                name(order),
                order.bytes
            )
        })
    }
}

/// Brakes that were ordered and of which nothing was told yet, by node; what was left, to know whether there was time.
#[derive(Default)]
pub(super) struct SeenFirst {
    seen: Seen,
    ordered: BTreeMap<u32, (ActionId, Moment)>,
}

impl Checker for SeenFirst {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.seen.see(event);
        match &event.what {
            What::Ordered(order) if order.rung == Rung::Brake => {
                self.ordered.insert(event.node, (order.id, event.at));
                None
            }
            What::Landed { id, .. } => {
                self.ordered
                    .retain(|node, (own, _)| *node != event.node || own != id);
                None
            }
            What::Fault { .. } => {
                self.ordered.remove(&event.node);
                None
            }
            _ => {
                let order = harmful(event).filter(|order| order.rung == Rung::Kill)?;
                let (_, at) = self.ordered.get(&event.node)?;
                let truth = order.truth?;
                let (node, wall, left) = (event.node, truth.wall, truth.left);
                let fastest = self.seen.fastest(node, wall, event.at, left)?;
                let fastest = fastest.max(self.seen.speed_now(node, wall, event.at, left));
                let waits = Span::to_cover(truth.told(), fastest) > SEEN_WITHIN;
                (waits && event.at.since(*at) <= SEEN_WITHIN).then(|| {
                    format!(
                        "{} right after a brake of which nothing is known yet",
                        name(order)
                    )
                })
            }
        }
    }
}

/// What was left when a brake came on, by node and cgroup.
#[derive(Default)]
pub(super) struct StoppedGrowth {
    seen: Seen,
    on: BTreeMap<(u32, GroupId), Moment>,
}

impl Checker for StoppedGrowth {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.seen.see(event);
        if let What::Brake { group, state } = &event.what {
            let key = (event.node, *group);
            if *state == BrakeState::On {
                self.on.entry(key).or_insert(event.at);
            } else {
                self.on.remove(&key);
            }
        }
        let order = harmful(event).filter(|order| order.rung == Rung::Kill)?;
        let (aim, truth) = (order.target.as_ref()?, order.truth?);
        let since = *self.on.get(&(event.node, aim.victim.group))?;
        // Where somebody else grows memory has to come from somewhere, and be it from whom a brake holds. What another one gave
        // back in the meantime was taken, too.
        let most = self.seen.most_left_since(event.node, truth.wall, since)?;
        let grew = most - truth.left;
        (grew <= NOTHING).then(|| {
            format!(
                "{}, whom a brake holds, with {grew} taken since by anybody",
                name(order)
            )
        })
    }
}

fn braked(state: BrakeState) -> What {
    What::Brake {
        group: GroupId(5),
        state,
    }
}

fn brake() -> What {
    let mut order = sound();
    order.rung = Rung::Brake;
    What::Ordered(order)
}

pub(super) fn left_a_brake() -> Vec<Event> {
    // Something else happens, so that time goes on.
    vec![on(1, braked(BrakeState::On)), on(200, What::Pressure(true))]
}

pub(super) fn told_wrong() -> Vec<Event> {
    let landed = What::Landed {
        id: ActionId(1),
        rung: Rung::Brake,
        kind: OutcomeKind::Done,
        freed: Bytes::ZERO,
    };
    vec![
        on(1, brake()),
        on(2, braked(BrakeState::On)),
        on(3, braked(BrakeState::Gone)),
        on(3, landed),
    ]
}

pub(super) fn braked_too_hard() -> Vec<Event> {
    let mut event = on(1, brake());
    if let What::Ordered(order) = &mut event.what {
        order.bytes = Bytes::mebi(300);
    }
    vec![event]
}

pub(super) fn killed_whom_it_had_braked() -> Vec<Event> {
    let mut kill = sound();
    kill.id = ActionId(2);
    let looks = super::timing::looks((0..20).map(|tick| 30 - tick / 2));
    let mut events: Vec<Event> = looks;
    events.push(on(10, brake()));
    events.push(on(10, What::Ordered(kill)));
    events
}

pub(super) fn killed_whom_it_holds() -> Vec<Event> {
    let mut kill = sound();
    kill.id = ActionId(2);
    kill.rule = "one-look";
    let mut events = super::timing::looks((0..24).map(|_| 20));
    events.insert(8, on(4, braked(BrakeState::On)));
    events.push(on(12, What::Ordered(kill)));
    events
}
