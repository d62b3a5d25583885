//! Actions on their way: what is in flight, what has just ended, and what may therefore not be started.

use crate::decision::{Action, ActionId, Evidence, Target};
use crate::input::{GroupId, Outcome, OutcomeKind};
use crate::policy::{Mode, Policy};
use crate::rung::Rung;
use crate::units::{Bytes, Moment, Span};
use crate::victim::FRESH;

/// How many actions may be known at once; more than a ladder ever has in flight.
const FLIGHTS_MAX: usize = 32;
/// A cgroup from which reclaim gave nothing is not asked again before this.
const ASKED_AGAIN: Span = Span::secs(1);
/// One that reads it all back is left alone as long as the act crate says, which counts the refaults (rule 11); no longer than its five minutes.
const REST_MAX: Span = Span::secs(300);
/// A reclaim that this kernel refuses is not tried again before this.
const REFUSED: Span = Span::secs(300);
/// A disruption budget that has just refused is not asked again before this; it says not when (no Retry-After on its 429).
const BLOCKED: Span = Span::secs(10);
/// A pod is warned once; then it is given this long to do something about it.
const WARNED: Span = Span::secs(600);
/// A brake is on, or known to have failed, within this.
const BRAKES_WITHIN: Span = Span::secs(1);
/// What somebody grew by before a brake counts for so long after it.
const BRAKED: Span = Span::secs(300);
/// In shadow the same action is not announced again before this: nothing it would have changed has changed.
const SHADOW_REPEAT: Span = Span::secs(60);
/// We called it off ourselves, since the mode left enforce: `ECANCELED` (asm-generic/errno.h).
const CALLED_OFF: OutcomeKind = OutcomeKind::Failed(125);

/// One action and its state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    pub(crate) id: ActionId,
    pub(crate) rung: Rung,
    pub(crate) target: Target,
    /// The cgroup of the pod that it concerns.
    pub(crate) pod: Option<GroupId>,
    pub(crate) grace: Span,
    /// Why it was ordered.
    pub(crate) evidence: Evidence,
    /// KILL has been asked for: at once, or by an escalation.
    pub(crate) is_final: bool,
    /// It was announced and not done.
    is_shadow: bool,
    launched_at: Moment,
    judged_at: Moment,
    /// Set when it is over: nothing new of this rung at this wall (or target) before then.
    quiet_until: Option<Moment>,
    /// It was a reclaim, and its target is to be left alone for so long from its end on.
    rest: Span,
    /// What has been heard of it last; once it is done, nothing more is to be told of it.
    heard: Option<OutcomeKind>,
    /// That was before the look before this one: all growth since that one is growth after it.
    is_looked_at: bool,
}

impl Flight {
    /// What was called off is over when the time is that its TERM was given.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        let until = if self.is_called_off() {
            self.launched_at + self.grace
        } else {
            self.judged_at
        };
        self.quiet_until.is_some() || now > until
    }

    /// Its victim got TERM, and KILL does not follow by itself any more.
    pub(crate) fn is_called_off(&self) -> bool {
        self.heard == Some(CALLED_OFF)
    }

    /// Its victim's time is out by then, so that nobody else is evicted meanwhile. A pod may have hours for its end; a kill has none. How long the
    /// server may take for its answer does not count: so near a wall one pod after the other would go, each as if nobody were going.
    pub(crate) fn is_awaited(&self, by: Moment) -> bool {
        self.rung != Rung::Evict || self.launched_at + self.grace <= by
    }

    fn hear(&mut self, kind: OutcomeKind) {
        if self.heard != Some(OutcomeKind::Done) {
            self.heard = Some(kind);
            self.is_looked_at = false;
        }
    }

    /// The API server refused it.
    fn is_blocked(&self) -> bool {
        self.heard == Some(OutcomeKind::Blocked)
    }
}

/// All flights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    list: Vec<Flight>,
    /// When each eviction was ordered, unless it was refused: what is told of the budget is older than a flight may be.
    evictions: Vec<(ActionId, Moment)>,
    /// Who was braked, when, and what it held before the growth that it was braked for.
    braked: Vec<(Target, Moment, Bytes)>,
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
    pub(crate) fn launch(&mut self, now: Moment, action: &Action, pod: Option<GroupId>, policy: &Policy) {
        let shadow = policy.mode != Mode::Enforce;
        if self.list.len() >= FLIGHTS_MAX {
            // What is over goes first; a kill on its way is the last to be forgotten.
            let over = self
                .list
                .iter()
                .position(|flight| !flight.rung.ends_somebody() || flight.is_over(now));
            self.list.remove(over.unwrap_or(0));
        }
        if action.rung == Rung::Evict {
            self.evictions.push((action.id, now));
        }
        self.list.push(Flight {
            id: action.id,
            rung: action.rung,
            target: action.target,
            pod,
            grace: action.grace,
            evidence: action.evidence,
            // What was only announced need not be hurried.
            is_final: shadow || action.grace == Span(0),
            is_shadow: shadow,
            launched_at: now,
            judged_at: now + action.deadline,
            quiet_until: shadow.then(|| now + SHADOW_REPEAT),
            rest: Span(0),
            heard: None,
            is_looked_at: false,
        });
    }

    /// Marks a kill as escalated.
    pub(crate) fn escalate(&mut self, id: ActionId) {
        for flight in self.list.iter_mut().filter(|flight| flight.id == id) {
            flight.is_final = true;
        }
    }

    /// When the action of this outcome was ordered; `None` where there is none, it is of another rung, or it is done already
    /// and told so.
    pub(crate) fn launch_of(&self, outcome: &Outcome) -> Option<Moment> {
        let flight = self.list.iter().find(|flight| flight.id == outcome.action)?;
        let told_again = flight.heard == Some(OutcomeKind::Done) && outcome.kind == OutcomeKind::Done;
        (flight.rung == outcome.rung && !told_again).then_some(flight.launched_at)
    }

    /// Takes an outcome. Answers with the flight that it is of.
    pub(crate) fn land(&mut self, now: Moment, outcome: &Outcome, policy: &Policy) -> Option<Flight> {
        let index = self.list.iter().position(|flight| flight.id == outcome.action)?;
        let flight = self.list.get_mut(index)?;
        if outcome.kind == CALLED_OFF {
            // Nothing has to settle: back in enforce, what is still due is done.
            if flight.rung != Rung::Kill || flight.heard.is_none() {
                return Some(self.list.remove(index));
            }
            if flight.heard == Some(OutcomeKind::Progress) {
                flight.hear(outcome.kind);
            }
            return Some(*flight);
        }
        if outcome.kind == OutcomeKind::Progress {
            // How soon a signal is sent says nothing of how soon a server answers.
            if flight.rung == Rung::Kill {
                self.answer = self.answer.max(outcome.took).min(Span::secs(1));
            }
            flight.hear(outcome.kind);
            return Some(*flight);
        }
        let quiet = match (flight.rung, outcome.kind) {
            (Rung::Reclaim, OutcomeKind::Done) => Span(0),
            (Rung::Reclaim, OutcomeKind::Failed(_)) | (Rung::Evict | Rung::Grow, OutcomeKind::NoEffect) => {
                REFUSED
            }
            (Rung::Reclaim, _) => ASKED_AGAIN,
            (Rung::Warn, _) => WARNED,
            (_, OutcomeKind::Done | OutcomeKind::NoEffect) => policy.kill_cooldown,
            // A pod that is gone for the server is gone for us once the watch has said so, which may lag behind.
            (_, OutcomeKind::Blocked) | (Rung::Evict, OutcomeKind::Gone) => BLOCKED,
            // Nothing was harmed, so nothing has to settle; but the same refusal need not be asked for at every tick.
            (_, OutcomeKind::Gone | OutcomeKind::Progress) => Span::millis(100),
            (_, OutcomeKind::Vetoed | OutcomeKind::Failed(_)) => Span::secs(10),
        };
        if outcome.kind == OutcomeKind::Blocked {
            self.evictions.retain(|(id, _)| *id != outcome.action);
        }
        if flight.rung == Rung::Reclaim {
            flight.rest = outcome.rest.min(REST_MAX);
        }
        flight.quiet_until = Some(now + quiet.max(flight.rest));
        flight.hear(outcome.kind);
        Some(*flight)
    }

    /// Forgets what was only announced: the mode has changed, and it must not keep the same target from being acted upon now.
    /// What was done is done in every mode: its victim may still be ending, and its token is spent.
    pub(crate) fn forget_announced(&mut self) {
        let list = &self.list;
        let is_announced = |id| list.iter().any(|flight| flight.id == id && flight.is_shadow);
        self.evictions.retain(|(id, _)| !is_announced(*id));
        self.list.retain(|flight| !flight.is_shadow);
    }

    /// Forgets all of them: the clock has jumped back and their times mean nothing.
    pub(crate) fn forget(&mut self) {
        self.list.clear();
        self.evictions.clear();
        self.braked.clear();
    }

    /// Drops what is over and quiet.
    pub(crate) fn prune(&mut self, now: Moment, policy: &Policy) {
        self.evictions.retain(|(_, at)| now.since(*at) <= FRESH);
        self.braked.retain(|(_, at, _)| now.since(*at) <= BRAKED);
        self.list.retain(|flight| match flight.quiet_until {
            Some(until) => now < until,
            None if flight.is_called_off() => now <= flight.judged_at,
            None => now <= flight.judged_at + policy.kill_cooldown,
        });
    }

    /// What is still on its way.
    pub(crate) fn in_the_air(&self, now: Moment) -> impl Iterator<Item = &Flight> {
        self.list.iter().filter(move |flight| !flight.is_over(now))
    }

    /// A kill or an eviction that is still on its way. What was only announced counts until it would have been judged: in
    /// shadow, too, there is one ending at a time.
    pub(crate) fn endings(&self, now: Moment) -> impl Iterator<Item = &Flight> {
        self.list.iter().filter(move |flight| {
            let is_coming = !flight.is_over(now) || flight.is_shadow && now <= flight.judged_at;
            is_coming && flight.rung.ends_somebody()
        })
    }

    /// An ending of ours is really on its way.
    pub(crate) fn is_ending(&self, now: Moment) -> bool {
        self.in_the_air(now).any(|flight| flight.rung.ends_somebody())
    }

    /// A brake, a warning or a growth that is still on its way at this target.
    pub(crate) fn is_easing(&self, now: Moment, target: Target) -> bool {
        let eases = |rung| matches!(rung, Rung::Brake | Rung::Warn | Rung::Grow);
        self.list
            .iter()
            .any(|flight| eases(flight.rung) && flight.target == target && !flight.is_over(now))
    }

    /// Brakes that were ordered a moment ago and of which nothing has been heard yet. What was only announced is waited for as well:
    /// shadow says what would be done.
    pub(crate) fn brakes_to_come(&self, now: Moment) -> impl Iterator<Item = &Flight> {
        self.list.iter().filter(move |flight| {
            flight.rung == Rung::Brake
                && flight.heard.is_none()
                && now.since(flight.launched_at) <= BRAKES_WITHIN
        })
    }

    /// A brake that came on this target after the look before this one: what grew between the two may have grown before the brake.
    pub(crate) fn has_just_braked(&self, target: Target) -> bool {
        self.list.iter().any(|flight| {
            let is_on = flight.heard == Some(OutcomeKind::Progress);
            flight.rung == Rung::Brake && flight.target == target && is_on && !flight.is_looked_at
        })
    }

    /// A look is over: what the next one sees grow comes after all that has been heard.
    pub(crate) fn look(&mut self) {
        for flight in &mut self.list {
            flight.is_looked_at = flight.heard.is_some();
        }
    }

    /// Evictions ordered since then, those that were refused not counted.
    pub(crate) fn evictions_since(&self, then: Moment) -> usize {
        self.evictions.iter().filter(|(_, at)| *at >= then).count()
    }

    /// The API server has just refused to evict it.
    pub(crate) fn is_blocked(&self, target: Target) -> bool {
        self.list
            .iter()
            .any(|flight| flight.rung == Rung::Evict && flight.target == target && flight.is_blocked())
    }

    /// The API server has just failed to answer for one pod: it is away, too busy, or believes us no more. That is not said of this pod, so that another one's
    /// eviction would be asked for in vain, or granted a moment later to whoever was only the second choice.
    pub(crate) fn has_server_failed(&self) -> bool {
        self.list
            .iter()
            .any(|flight| flight.rung == Rung::Evict && matches!(flight.heard, Some(OutcomeKind::Failed(_))))
    }

    /// A kill that has ended within its cooldown, or whose target refused it. An eviction that came to nothing ended nobody, and nothing has to settle.
    pub(crate) fn has_just_killed(&self, now: Moment) -> bool {
        let counts = |flight: &Flight| {
            let has_ended = flight.rung != Rung::Evict || flight.heard == Some(OutcomeKind::Done);
            has_ended && !flight.is_called_off()
        };
        self.list
            .iter()
            .any(|flight| flight.rung.ends_somebody() && flight.is_over(now) && counts(flight))
    }

    /// The kill of this target that was called off after its TERM.
    pub(crate) fn called_off(&self, target: Target) -> Option<&Flight> {
        self.list
            .iter()
            .find(|flight| flight.is_called_off() && flight.target == target)
    }

    /// This target was acted upon by this rung and is still in flight or to be left alone.
    pub(crate) fn concerns(&self, rung: Rung, target: Target) -> bool {
        self.list
            .iter()
            .any(|flight| flight.rung == rung && flight.target == target && !flight.is_called_off())
    }

    /// Takes note of a brake of whom so much was held before the growth that it is for. Of one that goes on where the last brake let
    /// it go, all growth counts that was seen before that one.
    pub(crate) fn note_brake(&mut self, now: Moment, target: Target, held_before: Bytes) {
        let known = self
            .braked
            .iter()
            .any(|(braked, _, before)| *braked == target && *before <= held_before);
        if !known {
            self.braked.retain(|(braked, _, _)| *braked != target);
            self.braked.push((target, now, held_before));
        }
    }

    /// What it has grown by since before it was braked in the last minutes, with what it holds now. Nothing where it was not.
    pub(crate) fn grown_since_before_brake(&self, target: Target, held: Bytes) -> Bytes {
        let before = self.braked.iter().find(|(braked, _, _)| *braked == target);
        before.map_or(Bytes::ZERO, |(_, _, before)| held - *before)
    }

    /// This pod was warned and has its time.
    pub(crate) fn is_warned(&self, now: Moment, pod: Target) -> bool {
        self.list.iter().any(|flight| {
            let is_told = flight.heard.is_none_or(|heard| heard == OutcomeKind::Progress);
            let has_time = now < flight.launched_at + flight.grace;
            flight.rung == Rung::Warn && flight.target == pod && is_told && has_time
        })
    }

    /// This cgroup's cache is to be left alone.
    pub(crate) fn rests(&self, target: Target) -> bool {
        let is_its = |flight: &Flight| flight.rest > Span(0) && flight.target == target;
        self.list.iter().any(is_its)
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
