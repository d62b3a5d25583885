//! The thread that kills. It drives every kill on its way a little further, never waits for a victim, and makes sure
//! that a dip or a brake is put back in time. It blocks in `poll(2)` only.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use forestall_decide::{Action, Bytes, Moment, OutcomeKind, Rung, Span};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::actor::{Shared, Stamped, report, silence};
use crate::clock;
use crate::inspect::Refusal;
use crate::kill::{Course, Next};
use crate::order::{BrakeEnd, CgroupPlace, Note, Place, Report};
use crate::protect::raise_priority;
use crate::sysrq::Call;
use crate::victim::{Hands, Victim};

/// Kills on their way at most; further ones are answered with `EBUSY`.
pub(crate) const FLIGHTS_MAX: usize = 16;
/// How often the effect is looked at: two reads of a few bytes for each victim.
const TICK: Span = Span::millis(10);
/// Orders that one kill answers: the first, and those that joined it.
pub(crate) const JOINED_MAX: usize = 4;

/// One kill on its way, with every order that asked for it.
pub(crate) struct Flight {
    actions: [Option<Action>; JOINED_MAX],
    victim: Victim,
    course: Course,
    due: Moment,
    called_off: u64,
}

pub(crate) struct KillWorker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Receiver<Stamped>,
    pub(crate) hands: Hands,
    /// `None` where `process_mrelease` may not be called.
    pub(crate) releases: Option<SyncSender<OwnedFd>>,
    pub(crate) flights: Vec<Flight>,
    /// The kernel's own OOM killer was called, one call at a time.
    pub(crate) call: Option<Call>,
    /// Reports that found no room; none but `Progress` is ever lost.
    pub(crate) backlog: VecDeque<Report>,
    /// As of the last round.
    pub(crate) called_off: u64,
}

impl KillWorker {
    /// Works until the handle is gone.
    pub(crate) fn run(mut self) {
        // Without the right to it the thread works all the same; the self-test has said so.
        let _ = raise_priority();
        self.hands.warm_up();
        loop {
            silence(self.shared.wake_kill());
            if self.shared.is_over() {
                self.shared.let_go(BrakeEnd::Stopped, |_| true);
                return;
            }
            self.call_off();
            while let Ok(stamped) = self.orders.try_recv() {
                self.accept(&stamped);
            }
            let now = clock::now();
            self.drive_all(now);
            self.judge_call(now);
            while let Some(report) = self.backlog.pop_front() {
                if let Err(report) = self.shared.try_report(report) {
                    self.backlog.push_front(report);
                    break;
                }
            }
            let lowered_at = self.shared.restore_due(now, TICK);
            self.sleep(lowered_at);
        }
    }

    /// Sleeps until something is due or somebody rings.
    fn sleep(&self, lowered_at: Option<Moment>) {
        let is_waiting = !self.backlog.is_empty() || self.call.is_some();
        let retry = is_waiting.then(|| clock::now() + TICK);
        let due = self
            .flights
            .iter()
            .map(|flight| flight.due)
            .chain(lowered_at)
            .chain(retry)
            .min();
        let timeout = due.map(|due| clock::timespec(due.since(clock::now())));
        let wake = self.shared.wake_kill();
        // Woken by a signal or refused: the next round looks at everything anyway.
        let _ = poll(&mut [PollFd::new(&wake, PollFlags::IN)], timeout.as_ref());
    }

    /// Puts back what gives way to what is done there, `None` for the whole machine: before any signal.
    fn make_way(&self, place: Option<&CgroupPlace>) {
        // The worker restores once more and reports what failed.
        self.shared
            .let_go(BrakeEnd::Harsher, |lowered| lowered.gives_way_to(place));
    }

    fn tell(&mut self, action: &Action, kind: OutcomeKind, freed: Bytes, took: Span, note: Note) {
        let report = report(action, kind, freed, took, note);
        let kept = if self.backlog.is_empty() {
            self.shared.try_report(report)
        } else {
            Err(report)
        };
        if let Err(report) = kept
            && kind != OutcomeKind::Progress
        {
            self.backlog.push_back(report);
        }
    }

    /// Lets go of kills that are not wanted any more: whoever has got TERM keeps it, and KILL does not follow. Where KILL was sent
    /// it is carried through, to whoever forked away from it too, and its outcome is told.
    fn call_off(&mut self) {
        let called_off = self.shared.called_off();
        if called_off != self.called_off {
            self.called_off = called_off;
            self.shared.let_go(BrakeEnd::Stopped, |_| true);
        }
        while let Some(index) = self
            .flights
            .iter()
            .position(|flight| flight.called_off != called_off && !flight.course.is_killed())
        {
            let flight = self.flights.swap_remove(index);
            for action in flight.actions.iter().flatten() {
                self.refuse(action, Refusal::Failed(Errno::CANCELED), clock::now());
            }
        }
    }

    fn accept(&mut self, stamped: &Stamped) {
        let Stamped {
            order, called_off, ..
        } = stamped;
        match &order.place {
            Place::Cgroup(place) => self.make_way(Some(place)),
            Place::Process { home: Some(home), .. } => self.make_way(Some(home)),
            Place::Process { home: None, .. } | Place::Node => self.make_way(None),
        }
        let (action, now): (&Action, Moment) = (&order.action, clock::now());
        if *called_off != self.shared.called_off() {
            return self.refuse(action, Refusal::Failed(Errno::CANCELED), now);
        }
        if action.rung == Rung::Sysrq {
            let call = match (&order.place, &self.call) {
                (Place::Node, None) => Call::place(self.hands.proc_root(), action, now),
                (Place::Node, Some(_)) => Err(Errno::BUSY),
                _ => return self.refuse(action, Refusal::Misplaced, now),
            };
            match call {
                Ok(call) => self.call = Some(call),
                Err(errno) => self.refuse(action, Refusal::Failed(errno), now),
            }
            return;
        }
        if let Some(flight) = self
            .flights
            .iter_mut()
            .find(|flight| is_same(&flight.victim, &order.place))
        {
            // One that escalates has an answer to come already, and gets no second one.
            let is_its = |slot: &Option<Action>| slot.is_none_or(|known| known.id == action.id);
            if let Some(slot) = flight.actions.iter_mut().find(|slot| is_its(slot)) {
                *slot = Some(*action);
                flight.course.reorder(action, now);
                flight.due = now;
                return;
            }
            return self.refuse(action, Refusal::Failed(Errno::BUSY), now);
        }
        if self.flights.len() >= FLIGHTS_MAX {
            return self.refuse(action, Refusal::Failed(Errno::BUSY), now);
        }
        match self.hands.seize(&order.place) {
            Ok((victim, seen, lasting)) => {
                let course = Course::new(action, now, seen, lasting);
                let mut actions = [None; JOINED_MAX];
                actions[0] = Some(*action);
                self.flights.push(Flight {
                    actions,
                    victim,
                    course,
                    due: now,
                    called_off: *called_off,
                });
            }
            Err(refusal) => self.refuse(action, refusal, now),
        }
    }

    fn refuse(&mut self, action: &Action, refusal: Refusal, ordered_at: Moment) {
        let (kind, note) = refusal.outcome();
        self.tell(action, kind, Bytes::ZERO, clock::now().since(ordered_at), note);
    }

    fn drive_all(&mut self, now: Moment) {
        let mut index = 0;
        while let Some(mut flight) = (index < self.flights.len()).then(|| self.flights.swap_remove(index)) {
            let over = if flight.due <= now {
                self.drive(&mut flight)
            } else {
                None
            };
            if let Some((kind, note)) = over {
                let took = flight.course.took(clock::now());
                for action in flight.actions.iter().flatten() {
                    self.tell(action, kind, flight.course.freed(), took, note);
                }
            } else {
                // Back to where it came from, in the place of the one that was moved there.
                self.flights.push(flight);
                let last = self.flights.len() - 1;
                self.flights.swap(index, last);
                index += 1;
            }
        }
    }

    /// A call cannot be taken back, so that it is judged even where everything else was called off.
    fn judge_call(&mut self, now: Moment) {
        let judged = self
            .call
            .and_then(|call| Some((call, call.judge(self.hands.proc_root(), now)?)));
        if let Some((call, kind)) = judged {
            self.call = None;
            self.tell(&call.action, kind, Bytes::ZERO, call.took(now), Note::None);
        }
    }

    /// Drives one kill as far as it goes now. Returns its outcome when it is over.
    fn drive(&mut self, flight: &mut Flight) -> Option<(OutcomeKind, Note)> {
        loop {
            let now = clock::now();
            let seen = self.hands.look(&flight.victim);
            match flight.course.next(now, seen, TICK) {
                Next::Wait(until) => {
                    flight.due = until;
                    return None;
                }
                Next::Finish(kind) => return Some((kind, Note::None)),
                Next::Term => {
                    let note = match self.hands.term(&flight.victim) {
                        Ok(()) => {
                            flight.course.termed();
                            Note::None
                        }
                        Err(Refusal::Failed(error)) => {
                            flight.course.term_refused();
                            Note::TermRefused(error.raw_os_error())
                        }
                        Err(refusal) => return after(flight, refusal, now),
                    };
                    let took = flight.course.took(now);
                    for action in flight.actions.iter().flatten() {
                        self.tell(action, OutcomeKind::Progress, Bytes::ZERO, took, note);
                    }
                }
                Next::Kill => {
                    let releases = &self.releases;
                    let sent = self.hands.kill(&flight.victim, &mut |pidfd| {
                        // A full queue only means that this victim gives its memory back by itself.
                        let _ = releases.as_ref().map(|releases| releases.try_send(pidfd));
                    });
                    match sent {
                        Ok(repeat) => flight.course.killed(now, repeat),
                        Err(refusal) => return after(flight, refusal, now),
                    }
                    flight.due = now + TICK;
                    return None;
                }
            }
        }
    }
}

/// A signal could not be sent. A victim that goes once something was sent to it does what was wanted.
fn after(flight: &mut Flight, refusal: Refusal, now: Moment) -> Option<(OutcomeKind, Note)> {
    if refusal != Refusal::Gone || flight.course.is_untouched() {
        return Some(refusal.outcome());
    }
    // Exiting, and perhaps not gone yet: memory on its way. The next look tells.
    flight.course.killed(now, false);
    flight.due = now;
    None
}

fn is_same(victim: &Victim, place: &Place) -> bool {
    match (victim, place) {
        (Victim::Group(victim), Place::Cgroup(place)) => victim.id == place.id,
        (Victim::Process { id, .. }, Place::Process { id: place, .. }) => id == place,
        _ => false,
    }
}
