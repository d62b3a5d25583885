//! Rules about alarms.

use std::collections::{BTreeMap, BTreeSet};

use forestall_decide::{AlarmVerdict, GroupId, Mode, Moment, Rung, Span, WallKind};

use super::Checker;
use super::kill::{on, sound};
use super::lasting::victim;
use super::timing::calm_look;
use crate::event::{Event, What};

/// An alarm's horizon is at most two minutes and two looks of the kubelet; this long after it was raised, or after something was
/// last done against it, it has a verdict.
const SCORED_BY: Span = Span::secs(180);

type Wall = (u32, WallKind, Option<GroupId>);

/// Alarms that are up, and whose nodes' samples are lost, by how many faults: who sees nothing scores nothing.
#[derive(Default)]
pub(super) struct ScoredOnce(BTreeMap<Wall, Moment>, BTreeMap<u32, u32>);

impl ScoredOnce {
    /// The alarms of this node have time again.
    fn start_anew(&mut self, node: u32, at: Moment) {
        let alarms = self.0.iter_mut().filter(|((other, ..), _)| *other == node);
        alarms.for_each(|(_, since)| *since = at);
    }

    /// Those that should have a verdict by then and have none.
    fn forgotten(&self, end: Moment) -> impl Iterator<Item = (&Wall, &Moment)> {
        let sees = |node: &u32| self.1.get(node).is_none_or(|faults| *faults == 0);
        let late = move |raised: Moment| end.since(raised) > SCORED_BY;
        let alarms = self.0.iter();
        alarms.filter(move |((node, ..), raised)| late(**raised) && sees(node))
    }
}

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
            What::Fault {
                name: "samples-lost",
                begins,
            } => {
                let faults = self.1.entry(event.node).or_default();
                *faults = if *begins {
                    *faults + 1
                } else {
                    faults.saturating_sub(1)
                };
                self.start_anew(event.node, event.at);
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
            What::Ordered(_) | What::Landed { .. } => {
                self.start_anew(event.node, event.at);
                None
            }
            _ => None,
        }
    }

    fn finish(&mut self, end: Moment) -> Option<String> {
        let forgotten = self.forgotten(end).count();
        let ((node, wall, _), raised) = self.forgotten(end).next()?;
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
                if order.mode == Mode::Enforce
                    && let Some(acted) = self.0.get_mut(&(event.node, order.wall, order.scope))
                {
                    *acted = true;
                }
                None
            }
            _ => None,
        }
    }
}

/// Alarms that are up, or that have come true and speak of their wall until a moment; and a kill that had none, by node.
#[derive(Default)]
pub(super) struct Misses {
    spoken: BTreeMap<Wall, Option<Moment>>,
    looked: BTreeSet<u32>,
    /// The last look at all, and whether the clock has jumped since.
    last: BTreeMap<u32, (Moment, bool)>,
    unwarned: BTreeMap<u32, (Moment, Option<Moment>)>,
}

impl Misses {
    /// How much time passed while its clock jumped an agent cannot know, so its alarms may speak for longer by that.
    fn lengthen(&mut self, node: u32, by: Span) {
        for ((other, _, _), until) in &mut self.spoken {
            if *other == node {
                *until = until.map(|until| until + by);
            }
        }
    }

    /// An agent knows no more than that it was killed after the look before.
    fn is_foretold(&self, node: u32, at: Moment) -> bool {
        let at = self.last.get(&node).map_or(at, |(look, _)| at.min(*look));
        let kernels = |wall: &WallKind| matches!(wall, WallKind::Kernel | WallKind::Kubepods);
        self.spoken.iter().any(|((other, wall, _), until)| {
            *other == node && kernels(wall) && until.is_none_or(|until| at <= until)
        })
    }
}

impl Checker for Misses {
    fn see(&mut self, event: &Event) -> Option<String> {
        let node = event.node;
        // The look after the kill says so at once, or never.
        let late = |(_, looked): &(Moment, Option<Moment>)| looked.is_some_and(|at| at < event.at);
        let silent = self.unwarned.get(&node).copied().filter(late);
        if silent.is_some() {
            self.unwarned.remove(&node);
        }
        match &event.what {
            What::Fault { name, .. } => {
                // Whoever starts again knows of no alarm, and after any fault only the next look counts.
                if *name == "agent-restart" {
                    self.spoken.retain(|(other, _, _), _| *other != node);
                }
                if *name == "clock-jump"
                    && let Some((_, jumped)) = self.last.get_mut(&node)
                {
                    *jumped = true;
                }
                self.looked.remove(&node);
                self.unwarned.remove(&node);
                return None;
            }
            What::Looked(_) => {
                if let Some((at, true)) = self.last.insert(node, (event.at, false)) {
                    self.lengthen(node, event.at.since(at));
                }
                self.looked.insert(node);
                if let Some((_, looked)) = self.unwarned.get_mut(&node) {
                    looked.get_or_insert(event.at);
                }
            }
            What::Alarm {
                wall,
                scope,
                verdict,
                age,
                horizon,
            } => {
                let key = (node, *wall, *scope);
                match verdict {
                    None => {
                        self.spoken.insert(key, None);
                    }
                    Some(AlarmVerdict::Missed) => {
                        self.unwarned.remove(&node);
                    }
                    Some(AlarmVerdict::False) => {
                        self.spoken.remove(&key);
                    }
                    Some(AlarmVerdict::True | AlarmVerdict::Intervened) => {
                        let left = Span(horizon.0.saturating_sub(age.0));
                        self.spoken.insert(key, Some(event.at + left));
                    }
                }
            }
            // Whoever has a limit of its own may have been hit there, as far as an agent can tell.
            What::KernelKilled {
                wall: WallKind::Kernel | WallKind::Kubepods,
                victim,
                ..
            } if !victim.limited && self.looked.contains(&node) && !self.is_foretold(node, event.at) => {
                self.unwarned.entry(node).or_insert((event.at, None));
            }
            _ => {}
        }
        silent.map(|(at, _)| {
            format!(
                "the kernel killed at {} s, and no miss was counted",
                at.0 / 1_000_000
            )
        })
    }
}

fn alarm(verdict: Option<AlarmVerdict>) -> What {
    What::Alarm {
        wall: WallKind::Kubepods,
        scope: Some(GroupId(1)),
        verdict,
        age: Span(0),
        horizon: Span(0),
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

pub(super) fn missed_in_silence() -> Vec<Event> {
    let killed = What::KernelKilled {
        wall: WallKind::Kernel,
        scope: None,
        victim: victim(),
        grower: None,
    };
    let look = |secs| on(secs, What::Looked(calm_look(500)));
    vec![look(1), on(2, killed), look(3), look(4)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_nothing_scores_nothing() {
        let forgets = |lost: &[(u64, bool)]| {
            let mut checker = ScoredOnce::default();
            assert!(checker.see(&on(1, alarm(None))).is_none());
            for (secs, begins) in lost {
                let name = "samples-lost";
                let begins = *begins;
                assert!(checker.see(&on(*secs, What::Fault { name, begins })).is_none());
            }
            checker.finish(Moment(300_000_000)).is_some()
        };
        assert!(forgets(&[]));
        assert!(!forgets(&[(10, true)]));
        assert!(!forgets(&[(10, true), (200, false)]));
        assert!(forgets(&[(10, true), (100, false)]));
        assert!(!forgets(&[(10, true), (20, true), (100, false)]));
    }

    #[test]
    fn an_alarm_may_answer_for_longer_by_what_passed_while_the_clock_jumped() {
        let is_broken = |name| {
            // An alarm that has come true and speaks of its wall until the first second.
            let fault = What::Fault { name, begins: true };
            let told = [alarm(None), alarm(Some(AlarmVerdict::True)), fault];
            let mut events = missed_in_silence();
            let later = events.split_off(1);
            events.extend(told.map(|what| on(1, what)));
            events.push(on(5, What::Looked(calm_look(500))));
            events.extend(
                later
                    .into_iter()
                    .zip(5..)
                    .map(|(event, secs)| on(secs, event.what)),
            );
            let mut checker = Misses::default();
            events.iter().any(|event| checker.see(event).is_some())
        };
        assert!(!is_broken("clock-jump"));
        assert!(is_broken("pdb-zero"));
    }
}
