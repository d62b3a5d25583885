//! Rules about who has to wait, and for what: for an end that is on its way, for news, for a warning to be heard.

use std::collections::BTreeMap;

use forestall_decide::{ActionId, GroupId, Mode, Moment, OutcomeKind, Rung, Rungs, Span};

use super::Checker;
use super::kill::{aimed, harmful, name, on, order, ordered, sound};
use crate::event::{Event, Order, What};

/// Who was warned has so long.
const WARNED: Span = Span::secs(600);
pub(super) struct Terminating;

impl Checker for Terminating {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = order(event).filter(|order| order.rung == Rung::Evict)?;
        let aim = order.target.as_ref()?;
        aim.terminating
            .then(|| format!("eviction of {}, which is on the way out", name(order)))
    }
}

/// Who is ending by an order.
struct Ending {
    rung: Rung,
    since: Moment,
    /// Its grace is over.
    ends_at: Moment,
    /// It is waited for until then.
    until: Moment,
}

/// All of them, by node and order.
#[derive(Default)]
pub(super) struct OneEviction(BTreeMap<(u32, ActionId), Ending>);

impl Checker for OneEviction {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Landed { id, kind, .. } if *kind != OutcomeKind::Progress => {
                self.0.remove(&(event.node, *id));
                None
            }
            What::Fault { .. } => {
                self.0.retain(|(node, _), _| *node != event.node);
                None
            }
            _ => {
                let order = harmful(event).filter(|order| order.mode == Mode::Enforce)?;
                self.0.retain(|_, ending| event.at <= ending.until);
                let by = event.at + order.runway;
                // Several may go at once, of whom none alone is enough.
                let waits = |ending: &Ending| {
                    ending.rung != Rung::Evict || ending.ends_at <= by && ending.since < event.at
                };
                let mut others = self.0.iter().filter(|((node, _), _)| *node == event.node);
                let other = others.any(|(_, ending)| waits(ending));
                let ending = Ending {
                    rung: order.rung,
                    since: event.at,
                    ends_at: event.at + order.grace,
                    until: event.at + order.deadline,
                };
                self.0.insert((event.node, order.id), ending);
                (other && order.rung == Rung::Evict)
                    .then(|| format!("eviction of {} while somebody else is ending", name(order)))
            }
        }
    }
}

/// When somebody was warned, by node and pod.
#[derive(Default)]
pub(super) struct WarnedOnce(BTreeMap<(u32, GroupId), Moment>);

impl Checker for WarnedOnce {
    fn see(&mut self, event: &Event) -> Option<String> {
        if let What::Fault { .. } = event.what {
            self.0.retain(|(node, _), _| *node != event.node);
        }
        let order = order(event).filter(|order| order.rung == Rung::Warn && order.mode == Mode::Enforce)?;
        let pod = order.target.as_ref()?.pod;
        let before = self.0.insert((event.node, pod), event.at)?;
        let since = event.at.since(before);
        (since <= WARNED).then(|| format!("{} again after {} ms", name(order), since.as_millis()))
    }
}

pub(super) struct FreshNews;

impl Checker for FreshNews {
    fn see(&mut self, event: &Event) -> Option<String> {
        let needs = |order: &&Order| matches!(order.rung, Rung::Warn | Rung::Grow | Rung::Evict);
        let order = order(event).filter(needs).filter(|order| !order.pods_known)?;
        Some(format!(
            "{} of {} on old news of the pods",
            order.rung.label(),
            name(order)
        ))
    }
}

pub(super) struct RungOff;

impl Checker for RungOff {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = order(event).filter(|order| !order.rungs.has(order.rung))?;
        Some(format!("{} of {}", order.rung.label(), name(order)))
    }
}

pub(super) fn evicted_twice() -> Vec<Event> {
    let mut events = aimed(|aim| aim.terminating = true);
    for event in &mut events {
        if let What::Ordered(order) = &mut event.what {
            order.rung = Rung::Evict;
        }
    }
    events
}

pub(super) fn evicted_while_another_ends() -> Vec<Event> {
    let mut evict = sound();
    evict.id = ActionId(2);
    evict.rung = Rung::Evict;
    evict.rule = "killed-twice";
    vec![ordered(|_| ()), on(2, What::Ordered(evict))]
}

fn warning(id: u64) -> What {
    let mut order = sound();
    order.id = ActionId(id);
    order.rung = Rung::Warn;
    if let Some(aim) = &mut order.target {
        aim.wants_warning = true;
    }
    What::Ordered(order)
}

pub(super) fn warned_twice() -> Vec<Event> {
    vec![on(1, warning(1)), on(20, warning(2))]
}

pub(super) fn warned_on_old_news() -> Vec<Event> {
    let mut it = warning(1);
    if let What::Ordered(order) = &mut it {
        order.pods_known = false;
    }
    vec![on(1, it)]
}

pub(super) fn did_what_is_off() -> Vec<Event> {
    vec![ordered(|order| order.rungs = Rungs::of(&[Rung::Reclaim]))]
}
