//! The guard's end: tells what it saw and decided. Never blocks, never allocates.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use forestall_act::{Note, ORDERS_UNDER_WAY_MAX};
use forestall_decide::{
    Action, ActionId, Bytes, Decision, GroupId, Mode, Moment, NodeSample, Outcome, OutcomeKind, Policy,
    Preset, ProcessId, Refusal, RefusalReason, Rung, Sample, Span, Target, WallKind, WallReading,
};

use super::blamed::{Blamed, culprit_at};
use super::board::Board;
use super::event::{Bell, Event, EventKind, Name, Trouble};
use super::label::{ActionOutcome, AlarmStage, IgnoredKind};
use super::reasons::{Lists, PassedKey};
use super::snapshot::name_of;
use crate::agent::OpenGroup;

/// A scrape comes every few seconds and the live view once a second: more copies than this serve nobody.
const SNAPSHOT_SPACING: Span = Span::millis(200);
/// The same refusal, the same trouble, and the same action in a mode that does not act, are told again after this.
pub(super) const REPEAT_SPACING: Span = Span::secs(60);
/// Refusals that are remembered, and actions that were told and not done.
const REMEMBERED: usize = 16;

/// Looks up the names of what the engine knows by number. The sensor can do it.
pub(crate) trait Names {
    /// The path of a cgroup below the hierarchy's root, as bytes.
    fn group(&self, id: GroupId) -> Option<&[u8]>;
    /// The name of a process (`comm`), as bytes.
    fn process(&self, id: ProcessId) -> Option<&[u8]>;
}

/// One look of the guard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick<'a> {
    /// When it began; on the clock that [`crate::agent::clock::now`] reads.
    pub(crate) now: Moment,
    /// What sensing and deciding took.
    pub(crate) took: Span,
    /// Cgroups that are followed.
    pub(crate) followed: usize,
    /// Cgroups that are not followed because there are too many.
    pub(crate) left_out: usize,
    /// Of the actions decided now, in their order, those that could not be handed over, and why.
    pub(crate) lost: &'a [Outcome],
}

#[cfg(test)]
impl Tick<'static> {
    /// One that nothing but its decision is told of.
    pub(crate) const fn plain(now: Moment) -> Self {
        Self {
            now,
            took: Span(1),
            followed: 0,
            left_out: 0,
            lost: &[],
        }
    }
}

/// The guard's end.
pub(crate) struct Post {
    pub(super) board: Arc<Board>,
    sender: SyncSender<Event>,
    bell: Arc<Bell>,
    mode: Mode,
    preset: Preset,
    copied: Option<Moment>,
    is_asked: bool,
    glanced: Option<Moment>,
    kernel_kills: Option<u64>,
    refused: [Option<Refused>; REMEMBERED],
    blamed: Blamed,
    /// The act threads have no more orders than there is room for, and answer every one. Memory that was never needed is never
    /// touched, so that it is not there.
    pub(super) in_flight: Vec<InFlight>,
    troubles: [Option<(Trouble, Moment)>; 4],
    untried: [Option<(Rung, Target, Moment)>; REMEMBERED],
    pub(super) ignored_looks: Lists<IgnoredKind>,
    pub(super) ignored_answers: Lists<IgnoredKind>,
    pub(super) passed_endings: Lists<PassedKey>,
    pub(super) passed_others: Lists<PassedKey>,
}

#[derive(Clone, Copy)]
struct Refused {
    wall: WallKind,
    scope: Option<GroupId>,
    reason: RefusalReason,
    at: Moment,
}

#[derive(Clone, Copy)]
pub(super) struct InFlight {
    id: ActionId,
    /// So many outcomes are to come: an order that is made more urgent keeps its number, and each is answered.
    unanswered: u32,
    scope: Name,
    target: Name,
}

impl Post {
    pub(super) fn new(board: Arc<Board>, sender: SyncSender<Event>, bell: Arc<Bell>) -> Self {
        Self {
            board,
            sender,
            bell,
            mode: Mode::default(),
            preset: Preset::default(),
            copied: None,
            is_asked: false,
            glanced: None,
            kernel_kills: None,
            refused: [None; REMEMBERED],
            blamed: Blamed::default(),
            in_flight: Vec::with_capacity(ORDERS_UNDER_WAY_MAX),
            troubles: [None; 4],
            untried: [None; REMEMBERED],
            ignored_looks: Lists::default(),
            ignored_answers: Lists::default(),
            passed_endings: Lists::default(),
            passed_others: Lists::default(),
        }
    }

    /// The policy that holds from now on. Call it before the first look and after every change.
    pub(crate) fn policy(&mut self, now: Moment, policy: &Policy) {
        (self.mode, self.preset) = (policy.mode, policy.preset);
        self.board.set_mode(policy.mode);
        self.board.set_askable(policy.preset == Preset::Forestall);
        if self.copied.is_some() {
            self.send(now, &EventKind::PolicyTaken, Name::NONE, Name::NONE);
        }
    }

    /// Tells one look and what was decided on it, or what was decided later on a glance.
    pub(crate) fn publish(
        &mut self,
        tick: &Tick<'_>,
        sample: &Sample,
        decision: &Decision<'_>,
        names: &dyn Names,
    ) {
        let now = tick.now;
        // A glance that the engine was told of later has been counted.
        if self.glanced.is_none_or(|glanced| now > glanced) {
            self.board.tick(now, tick.took, decision.wake_in);
        }
        self.board
            .count_cgroups(tick.followed as u64, tick.left_out as u64);
        self.count_kernel_kills(now, sample.node.oom_kills);
        for alarm in decision.alarms {
            self.board
                .count_alarm(alarm.reading.wall, AlarmStage::of(alarm.verdict));
            let mut alarm = *alarm;
            alarm.reading.culprit = culprit_at(&alarm.reading, decision.readings);
            self.blamed.note(now, &alarm);
            self.tell_alarm(now, &alarm.reading, &EventKind::Alarm(alarm), names);
        }
        while let Some(alarm) = self.blamed.next(now, decision.readings) {
            self.tell_alarm(now, &alarm.reading, &EventKind::Named(alarm), names);
        }
        let mut told = 0_u64;
        let mut lost = tick.lost.iter().peekable();
        for (nth, action) in decision.actions.iter().enumerate() {
            let lost = lost.next_if(|outcome| outcome.action == action.id);
            let is_told = self.act(now, action, lost, names);
            let bit = u32::try_from(nth).ok().and_then(|nth| 1_u64.checked_shl(nth));
            told |= bit.filter(|_| is_told).unwrap_or(0);
        }
        for refusal in decision.refusals {
            self.refuse(now, refusal, names);
        }
        self.give_reasons(now, decision, told, names);
        if self.preset == Preset::WarStoryA && sample.node.impossible().is_none() {
            self.send(now, &EventKind::Poll(sample.node), Name::NONE, Name::NONE);
        }
        let due = self.is_asked || self.is_copy_due(now) || !decision.alarms.is_empty();
        if due && self.board.copy_snapshot(now, sample, decision, names) {
            self.copied = Some(now);
            self.is_asked = false;
        }
    }

    fn tell_alarm(&self, now: Moment, reading: &WallReading, kind: &EventKind, names: &dyn Names) {
        let culprit = reading.culprit.and_then(|culprit| name_of(culprit.target, names));
        self.send(now, kind, group_name(reading.scope, names), given(culprit));
    }

    /// Tells a look that found hardly anything changed and was not decided upon. `distance` is what is left of the
    /// machine's own wall.
    pub(crate) fn glance(
        &mut self,
        now: Moment,
        took: Span,
        wake_in: Span,
        node: &NodeSample,
        distance: Bytes,
    ) {
        self.glanced = Some(now);
        self.board.tick(now, took, wake_in);
        if self.is_copy_due(now) && self.board.refresh_snapshot(now, node, distance) {
            self.copied = Some(now);
        }
    }

    /// Hands over where the pods live; false when somebody is just reading that.
    pub(crate) fn kubepods(&self, group: OpenGroup) -> bool {
        self.board.set_kubepods(group)
    }

    /// Somebody waits for the next look, however soon it comes.
    pub(crate) const fn show_next(&mut self) {
        self.is_asked = true;
    }

    fn is_copy_due(&self, now: Moment) -> bool {
        self.copied
            .is_none_or(|copied| now.since(copied) >= SNAPSHOT_SPACING)
    }

    /// Tells what became of an action, and what the act threads say of it. Its names are those it was published with.
    pub(crate) fn outcome(&mut self, now: Moment, outcome: &Outcome, note: Note) {
        let found = self.in_flight.iter().position(|kept| kept.id == outcome.action);
        let (mut scope, mut target) = (Name::NONE, Name::NONE);
        if let Some((index, kept)) = found.and_then(|index| Some((index, self.in_flight.get_mut(index)?))) {
            (scope, target) = (kept.scope, kept.target);
            if outcome.kind != OutcomeKind::Progress {
                kept.unanswered -= 1;
                if kept.unanswered == 0 {
                    self.in_flight.swap_remove(index);
                }
            }
        }
        self.end(now, outcome, note, scope, target);
    }

    fn end(&self, now: Moment, outcome: &Outcome, note: Note, scope: Name, target: Name) {
        if let Some(ended) = ActionOutcome::of(outcome.kind) {
            self.board.count_action(outcome.rung, ended);
        }
        // A brake shows its effect once it is on; until it is done it only lasts.
        let shows = match outcome.rung {
            Rung::Brake => OutcomeKind::Progress,
            _ => OutcomeKind::Done,
        };
        if outcome.kind == shows {
            self.board.reacted(outcome.took);
        }
        if let Note::Reclaimed(price) = note {
            self.board.count_reclaimed(outcome.freed, price);
        }
        self.send(now, &EventKind::Outcome(*outcome, note), scope, target);
    }

    /// Tells that something did not work and the guard goes on. Every one counts; the same one is told once a minute, with the
    /// file at `path` that it was about then.
    pub(crate) fn trouble(&mut self, now: Moment, trouble: Trouble, path: Name) {
        self.board.count_trouble();
        let known = self
            .troubles
            .iter_mut()
            .flatten()
            .find(|(kept, _)| *kept == trouble);
        if let Some((_, told)) = known {
            if now.since(*told) < REPEAT_SPACING {
                return;
            }
            *told = now;
        } else if let Some(slot) = self
            .troubles
            .iter_mut()
            .min_by_key(|slot| slot.map(|(_, told)| told))
        {
            *slot = Some((trouble, now));
        }
        self.send(now, &EventKind::Trouble(trouble), Name::NONE, path);
    }

    /// Tells that what was tried in vain works again. Should it fail once more, that is told at once.
    pub(crate) fn mended(&mut self, now: Moment, what: &'static str) {
        for slot in &mut self.troubles {
            slot.take_if(|(trouble, _)| trouble.what == what);
        }
        self.send(now, &EventKind::Mended(what), Name::NONE, Name::NONE);
    }

    /// True if it was told, and not only done. `lost`: what came of it where it could not be handed over.
    fn act(&mut self, now: Moment, action: &Action, lost: Option<&Outcome>, names: &dyn Names) -> bool {
        let scope = group_name(action.evidence.reading.scope, names);
        let target = given(name_of(action.target, names));
        if self.mode != Mode::Enforce {
            if self.is_repeated(now, action) {
                return false;
            }
            self.board.count_action(action.rung, ActionOutcome::NotTried);
        }
        self.send(now, &EventKind::Action(*action), scope, target);
        if let Some(outcome) = lost {
            self.end(now, outcome, Note::None, scope, target);
        } else if self.mode == Mode::Enforce {
            self.await_outcome(action.id, scope, target);
        }
        true
    }

    fn await_outcome(&mut self, id: ActionId, scope: Name, target: Name) {
        if let Some(kept) = self.in_flight.iter_mut().find(|kept| kept.id == id) {
            kept.unanswered += 1;
        } else if self.in_flight.len() < self.in_flight.capacity() {
            self.in_flight.push(InFlight {
                id,
                unanswered: 1,
                scope,
                target,
            });
        }
    }

    /// What is not done changes nothing, so the same action is decided again at the next look: that is one decision.
    fn is_repeated(&mut self, now: Moment, action: &Action) -> bool {
        let same = |(rung, target, _): &&mut (Rung, Target, Moment)| {
            *rung == action.rung && *target == action.target
        };
        if let Some((_, _, told)) = self.untried.iter_mut().flatten().find(same) {
            if now.since(*told) < REPEAT_SPACING {
                return true;
            }
            *told = now;
        } else if let Some(slot) = self
            .untried
            .iter_mut()
            .min_by_key(|slot| slot.map(|(_, _, told)| told))
        {
            *slot = Some((action.rung, action.target, now));
        }
        false
    }

    fn refuse(&mut self, now: Moment, refusal: &Refusal, names: &dyn Names) {
        let reading = &refusal.evidence.reading;
        let same = |kept: &Refused| {
            kept.wall == reading.wall && kept.scope == reading.scope && kept.reason == refusal.reason
        };
        let known = self.refused.iter_mut().flatten().find(|kept| same(kept));
        if let Some(kept) = known {
            if now.since(kept.at) < REPEAT_SPACING {
                return;
            }
            kept.at = now;
        } else if let Some(slot) = self
            .refused
            .iter_mut()
            .min_by_key(|slot| slot.map(|kept| kept.at))
        {
            *slot = Some(Refused {
                wall: reading.wall,
                scope: reading.scope,
                reason: refusal.reason,
                at: now,
            });
        }
        self.board.count_refusal(reading.wall);
        let culprit = reading.culprit.and_then(|culprit| name_of(culprit.target, names));
        self.send(
            now,
            &EventKind::Refusal(*refusal),
            group_name(reading.scope, names),
            given(culprit),
        );
    }

    fn count_kernel_kills(&mut self, now: Moment, total: u64) {
        // What was killed before the first look is unknown to us: it counts in the total and is no event.
        let fresh = self.kernel_kills.map_or(0, |known| total.saturating_sub(known));
        self.kernel_kills = Some(total);
        if fresh > 0 {
            self.send(now, &EventKind::KernelKills(fresh), Name::NONE, Name::NONE);
        }
    }

    pub(super) fn send(&self, at: Moment, kind: &EventKind, scope: Name, target: Name) {
        if self
            .sender
            .try_send(Event {
                at,
                mode: self.mode,
                kind: *kind,
                scope,
                target,
            })
            .is_err()
        {
            self.board.count_event_dropped();
        }
        self.bell.ring();
    }
}

pub(super) fn group_name(id: Option<GroupId>, names: &dyn Names) -> Name {
    given(id.and_then(|id| names.group(id)))
}

fn given(name: Option<&[u8]>) -> Name {
    name.map_or(Name::NONE, Name::new)
}
