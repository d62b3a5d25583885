//! Actions on their way: what is in flight, what has just ended, and what may therefore not be started.

use crate::decision::{Action, ActionId, Rung, Target, WallKind};
use crate::input::{GroupId, Outcome, OutcomeKind};
use crate::policy::{Mode, Policy};
use crate::units::{Moment, Span};

/// How many actions may be known at once; more than a ladder ever has in flight.
const FLIGHTS_MAX: usize = 32;
/// A cgroup from which reclaim gave nothing is not asked again before this. That one which reads it all back is left alone
/// for five minutes is kept by the act crate, which counts the refaults (rule 11).
const ASKED_AGAIN: Span = Span::secs(1);
/// A reclaim that this kernel refuses is not tried again before this.
const REFUSED: Span = Span::secs(300);
/// In shadow the same action is not announced again before this: nothing it would have changed has changed.
const SHADOW_REPEAT: Span = Span::secs(60);

/// One action and its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) id: ActionId,
    pub(crate) rung: Rung,
    pub(crate) wall: WallKind,
    pub(crate) scope: Option<GroupId>,
    pub(crate) target: Target,
    /// KILL has been asked for: at once, or by an escalation.
    pub(crate) is_final: bool,
    judged_at: Moment,
    /// Set when it is over: nothing new of this rung at this wall (or target) before then.
    quiet_until: Option<Moment>,
}

impl Flight {
    fn is_over(&self, now: Moment) -> bool {
        self.quiet_until.is_some() || now > self.judged_at
    }
}

/// All flights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    list: Vec<Flight>,
    last_id: u64,
    /// The slowest answer to an order seen lately: part of every time to effect.
    answer: Span,
}

impl Flights {
    pub(crate) fn next_id(&mut self) -> ActionId {
        self.last_id += 1;
        ActionId(self.last_id)
    }

    /// Takes note of an action that is being ordered.
    pub(crate) fn launch(&mut self, now: Moment, action: &Action, policy: &Policy) {
        let shadow = policy.mode != Mode::Enforce;
        if self.list.len() >= FLIGHTS_MAX {
            // What is over goes first; a kill on its way is the last to be forgotten.
            let over = self
                .list
                .iter()
                .position(|flight| flight.rung == Rung::Reclaim || flight.is_over(now));
            self.list.remove(over.unwrap_or(0));
        }
        self.list.push(Flight {
            id: action.id,
            rung: action.rung,
            wall: action.evidence.reading.wall,
            scope: action.evidence.reading.scope,
            target: action.target,
            is_final: action.grace == Span(0),
            judged_at: now + action.deadline,
            quiet_until: shadow.then(|| now + SHADOW_REPEAT),
        });
    }

    /// Marks a kill as escalated.
    pub(crate) fn escalate(&mut self, id: ActionId) {
        for flight in self.list.iter_mut().filter(|flight| flight.id == id) {
            flight.is_final = true;
        }
    }

    /// Takes an outcome. True if a kill has just been seen to work.
    pub(crate) fn land(&mut self, now: Moment, outcome: &Outcome, policy: &Policy) -> bool {
        if outcome.kind == OutcomeKind::Progress {
            self.answer = self.answer.max(outcome.took).min(Span::secs(1));
            return false;
        }
        let Some(flight) = self.list.iter_mut().find(|flight| flight.id == outcome.action) else {
            return false;
        };
        let quiet = match (flight.rung, outcome.kind) {
            (Rung::Reclaim, OutcomeKind::Done) => Span(0),
            (Rung::Reclaim, OutcomeKind::Failed(_)) => REFUSED,
            (Rung::Reclaim, _) => ASKED_AGAIN,
            (_, OutcomeKind::Done | OutcomeKind::NoEffect) => policy.kill_cooldown,
            // Nothing was harmed, so nothing has to settle; but the same refusal need not be asked for at every tick.
            (_, OutcomeKind::Gone | OutcomeKind::Progress) => Span::millis(100),
            (_, OutcomeKind::Vetoed | OutcomeKind::Failed(_)) => Span::secs(10),
        };
        flight.quiet_until = Some(now + quiet);
        flight.rung == Rung::Kill && outcome.kind == OutcomeKind::Done
    }

    /// Forgets all of them: the mode has changed, or the clock has jumped back and their times mean nothing.
    pub(crate) fn forget(&mut self) {
        self.list.clear();
    }

    /// Drops what is over and quiet.
    pub(crate) fn prune(&mut self, now: Moment, policy: &Policy) {
        self.list.retain(|flight| match flight.quiet_until {
            Some(until) => now < until,
            None => now <= flight.judged_at + policy.kill_cooldown,
        });
    }

    /// A kill that is still on its way.
    pub(crate) fn kills(&self, now: Moment) -> impl Iterator<Item = &Flight> {
        self.list
            .iter()
            .filter(move |flight| flight.rung != Rung::Reclaim && !flight.is_over(now))
    }

    /// A kill that has ended within its cooldown, or whose target refused it.
    pub(crate) fn has_just_killed(&self, now: Moment) -> bool {
        self.list
            .iter()
            .any(|flight| flight.rung != Rung::Reclaim && flight.is_over(now))
    }

    /// This target was acted upon by this rung and is still in flight or to be left alone.
    pub(crate) fn concerns(&self, rung: Rung, target: Target) -> bool {
        self.list
            .iter()
            .any(|flight| flight.rung == rung && flight.target == target)
    }

    pub(crate) fn is_reclaiming(&self, now: Moment) -> bool {
        self.list
            .iter()
            .any(|flight| flight.rung == Rung::Reclaim && !flight.is_over(now))
    }

    pub(crate) const fn answer(&self) -> Span {
        self.answer
    }
}
