//! That no brake of ours holds whoever has something to do: to save its state, or to end.

use std::collections::BTreeMap;

use forestall_decide::{ActionId, GroupId, Mode, Moment, OutcomeKind, Rung, Span};

use super::Checker;
use super::kill::{name, on, order, sound};
use crate::event::{BrakeState, Event, What};

/// Somebody who has just been told to do something.
struct Told {
    node: u32,
    at: Moment,
    /// By what.
    rung: Rung,
    /// A container's cgroup where it is killed, else a pod's.
    group: GroupId,
}

/// Brakes by node and cgroup, with the pod's cgroup, and whether they are on; who has just been told, and who has its time after a
/// warning.
#[derive(Default)]
pub(super) struct LetGo {
    brakes: BTreeMap<(u32, GroupId), (GroupId, bool)>,
    told: Vec<Told>,
    warned: BTreeMap<(u32, ActionId), (GroupId, Moment)>,
}

impl LetGo {
    /// A brake that is on although more has come since its holder was told: letting go takes no time.
    fn held(&mut self, event: &Event) -> Option<String> {
        let brakes = &self.brakes;
        let is_held = |told: &Told| {
            brakes.iter().any(|((node, group), (pod, is_on))| {
                *is_on && *node == told.node && (*group == told.group || *pod == told.group)
            })
        };
        let since = |told: &Told| told.node == event.node && event.at > told.at;
        let held = self.told.iter().find(|told| since(told) && is_held(told));
        let said = held.map(|told| format!("{} of one whom a brake holds", told.rung.label()));
        self.told.retain(|told| !since(told));
        said
    }

    fn tell(&mut self, event: &Event, rung: Rung, group: GroupId) {
        self.told.push(Told {
            node: event.node,
            at: event.at,
            rung,
            group,
        });
    }
}

impl Checker for LetGo {
    fn see(&mut self, event: &Event) -> Option<String> {
        let node = event.node;
        let held = self.held(event);
        match &event.what {
            What::Brake { group, state } => {
                if let Some((_, is_on)) = self.brakes.get_mut(&(node, *group)) {
                    *is_on = *state == BrakeState::On;
                }
            }
            What::AgentEvicted { victim, .. } => self.tell(event, Rung::Evict, victim.group),
            What::Landed { id, kind, .. } if *kind != OutcomeKind::Progress => {
                self.warned.remove(&(node, *id));
            }
            // The engine has forgotten whom it warned.
            What::Fault { .. } | What::NodeLost => self.warned.retain(|(other, _), _| *other != node),
            _ => {}
        }
        let Some(order) = order(event).filter(|order| order.mode == Mode::Enforce) else {
            return held;
        };
        let aim = order.target.as_ref()?;
        match order.rung {
            Rung::Warn => {
                self.tell(event, Rung::Warn, aim.pod);
                let warned = (aim.pod, event.at + order.grace);
                self.warned.insert((node, order.id), warned);
            }
            Rung::Kill => self.tell(event, Rung::Kill, aim.victim.group),
            Rung::Brake => {
                let brake = self.brakes.entry((node, aim.victim.group));
                brake.or_insert((aim.pod, false));
                let mut warned = self.warned.iter();
                let has_time =
                    warned.any(|((at, _), (pod, until))| *at == node && *pod == aim.pod && event.at < *until);
                return has_time.then(|| format!("{}, which has its time after a warning", name(order)));
            }
            _ => {}
        }
        held
    }
}

pub(super) fn braked_while_warned() -> Vec<Event> {
    let aimed = |id, rung| {
        let mut order = sound();
        (order.id, order.rung, order.grace) = (ActionId(id), rung, Span::secs(30));
        if let Some(aim) = &mut order.target {
            aim.wants_warning = true;
        }
        What::Ordered(order)
    };
    vec![on(1, aimed(1, Rung::Warn)), on(20, aimed(2, Rung::Brake))]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A brake of the container is on, somebody is told at 5 s, and something happens at 6 s.
    fn judge(told: What, is_let_go: bool) -> bool {
        let brake = |state| What::Brake {
            group: GroupId(5),
            state,
        };
        let mut order = sound();
        order.rung = Rung::Brake;
        let mut events = vec![
            on(1, What::Ordered(order)),
            on(1, brake(BrakeState::On)),
            on(5, told),
        ];
        events.extend(is_let_go.then(|| on(5, brake(BrakeState::Lifted))));
        events.push(on(6, What::Pressure(true)));
        let mut checker = LetGo::default();
        let found: Vec<String> = events.iter().filter_map(|event| checker.see(event)).collect();
        found.is_empty()
    }

    #[test]
    fn whom_a_brake_holds_is_let_go_before_it_is_told_anything() {
        let order = |rung| {
            let mut order = sound();
            (order.id, order.rung) = (ActionId(2), rung);
            What::Ordered(order)
        };
        let evicted = || {
            let victim = sound().target.map(|aim| aim.victim);
            let mut victim = victim.expect("somebody");
            victim.group = GroupId(4);
            What::AgentEvicted { victim, tokens: None }
        };
        for is_let_go in [true, false] {
            assert_eq!(judge(order(Rung::Warn), is_let_go), is_let_go);
            assert_eq!(judge(order(Rung::Kill), is_let_go), is_let_go);
            assert_eq!(judge(evicted(), is_let_go), is_let_go);
        }
        // An eviction has to reach its pod first.
        assert!(judge(order(Rung::Evict), false));
    }
}
