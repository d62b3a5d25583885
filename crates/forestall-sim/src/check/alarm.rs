//! Rules about alarms.

use std::collections::BTreeMap;

use forestall_decide::{AlarmVerdict, GroupId, Moment, Rung, Span, WallKind};

use super::Checker;
use super::kill::{on, sound};
use crate::event::{Event, What};

/// An alarm's horizon is at most twice its longest lead of a minute; this long after it was raised it has a verdict.
const SCORED_BY: Span = Span::secs(180);

type Wall = (u32, WallKind, Option<GroupId>);

/// Alarms that are up.
#[derive(Default)]
pub(super) struct ScoredOnce(BTreeMap<Wall, Moment>);

impl Checker for ScoredOnce {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            // An agent that starts again knows of no alarm.
            What::Fault {
                name: "agent-restart",
                ..
            }
            | What::NodeLost => {
                self.0.retain(|(node, _, _), _| *node != event.node);
                None
            }
            What::Alarm {
                wall, scope, verdict, ..
            } => {
                let key = (event.node, *wall, *scope);
                let known = match verdict {
                    Some(AlarmVerdict::Missed) => None,
                    None => self.0.insert(key, event.at),
                    Some(_) => self.0.remove(&key),
                };
                match (verdict, known) {
                    (None, Some(_)) => Some(format!("raised again at {} without a verdict", wall.label())),
                    // Nobody raised an alarm for what was missed.
                    (Some(verdict), None) if *verdict != AlarmVerdict::Missed => {
                        Some(format!("{verdict:?} at {} for no alarm", wall.label()))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn finish(&mut self, end: Moment) -> Option<String> {
        let forgotten = self
            .0
            .iter()
            .filter(|(_, raised)| end.since(**raised) > SCORED_BY)
            .count();
        let first = self
            .0
            .iter()
            .find(|(_, raised)| end.since(**raised) > SCORED_BY)?;
        let ((node, wall, _), raised) = first;
        Some(format!(
            "{forgotten} alarms have no verdict; the first is of node {node} at {}, raised at {} s",
            wall.label(),
            raised.0 / 1_000_000
        ))
    }
}

/// Walls at which we acted since their alarm was raised.
#[derive(Default)]
pub(super) struct HonestScores(BTreeMap<Wall, bool>);

impl Checker for HonestScores {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Alarm {
                wall, scope, verdict, ..
            } => {
                let key = (event.node, *wall, *scope);
                let acted = match verdict {
                    Some(AlarmVerdict::Missed) => None,
                    None => self.0.insert(key, false),
                    Some(_) => self.0.remove(&key),
                };
                (*verdict == Some(AlarmVerdict::True) && acted == Some(true))
                    .then(|| format!("{} at an alarm that was acted upon", wall.label()))
            }
            What::Ordered(order) => {
                if let Some(acted) = self.0.get_mut(&(event.node, order.wall, order.scope)) {
                    *acted = true;
                }
                None
            }
            _ => None,
        }
    }
}

fn alarm(verdict: Option<AlarmVerdict>) -> What {
    What::Alarm {
        wall: WallKind::Kubepods,
        scope: Some(GroupId(1)),
        verdict,
        age: Span(0),
    }
}

pub(super) fn scored_twice() -> Vec<Event> {
    [None, Some(AlarmVerdict::False), Some(AlarmVerdict::True)]
        .into_iter()
        .zip(1..)
        .map(|(verdict, secs)| on(secs, alarm(verdict)))
        .collect()
}

pub(super) fn counted_as_right() -> Vec<Event> {
    let mut order = sound();
    order.rung = Rung::Kill;
    vec![
        on(1, alarm(None)),
        on(2, What::Ordered(order)),
        on(3, alarm(Some(AlarmVerdict::True))),
    ]
}
