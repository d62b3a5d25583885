//! The course of one kill, as a machine that is told what is seen and the time, and says what to do next. It sends
//! nothing itself, so that every course can be tested without killing anybody.
//!
//! TERM, then after a *time* (never after a level of memory) KILL, then the effect: nobody left. A victim that neither
//! ends nor can be ended (D state) stays pending until the deadline and is then reported as no effect, once.

use forestall_decide::{Action, Bytes, Moment, OutcomeKind, Span};

/// After KILL a victim gets at least this long to end, whatever the order's deadline says: a large one takes some
/// 100 ms per GiB to give its memory back.
pub(crate) const SETTLE: Span = Span::millis(500);

/// Where KILL goes to each process by itself, a fork may slip through; it is repeated at most this often.
const ROUNDS_MAX: u32 = 100;

/// What is seen of the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Somebody of it lives.
    pub(crate) populated: bool,
    /// What it holds, by its own counter; `None` where that counter is gone with it.
    pub(crate) current: Option<Bytes>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look again at this moment or earlier.
    Wait(Moment),
    /// Send TERM to everybody, then report the result to `Course::signalled`.
    Term,
    /// Send KILL, then report the result to `Course::signalled`.
    Kill,
    /// It is over.
    Finish(OutcomeKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent yet.
    Ordered,
    /// TERM was sent; KILL follows at this moment.
    Grace { kill_at: Moment },
    /// KILL was sent.
    Killed { at: Moment },
}

/// One kill on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    ordered_at: Moment,
    grace: Span,
    judged_at: Moment,
    phase: Phase,
    rounds: u32,
    repeat: bool,
    peak: Bytes,
    last: Option<Bytes>,
    /// What of the victim's memory may outlive it.
    lasting: Bytes,
}

impl Course {
    /// A kill ordered at `now`. `lasting`: bytes that may outlive the victim (shared memory).
    pub(crate) fn new(action: &Action, now: Moment, seen: Seen, lasting: Bytes) -> Self {
        let current = seen.current.unwrap_or_default();
        Self {
            ordered_at: now,
            grace: if action.escalate {
                Span::default()
            } else {
                action.grace.min(action.deadline)
            },
            judged_at: now + action.deadline,
            phase: Phase::Ordered,
            rounds: 0,
            repeat: false,
            peak: current,
            last: seen.current,
            lasting,
        }
    }

    /// A further order for the same victim.
    pub(crate) fn reorder(&mut self, action: &Action, now: Moment) {
        self.judged_at = self.judged_at.max(now + action.deadline);
        if action.escalate {
            self.grace = Span::default();
            if let Phase::Grace { kill_at } = &mut self.phase {
                *kill_at = now;
            }
        }
    }

    /// What to do, given what is seen now.
    pub(crate) fn next(&mut self, now: Moment, seen: Seen, tick: Span) -> Next {
        self.last = seen.current;
        self.peak = self.peak.max(seen.current.unwrap_or_default());
        if !seen.populated {
            return Next::Finish(if self.is_untouched() {
                OutcomeKind::Gone
            } else {
                OutcomeKind::Done
            });
        }
        match self.phase {
            Phase::Ordered if self.grace > Span::default() => Next::Term,
            Phase::Ordered => Next::Kill,
            Phase::Grace { kill_at } if now >= kill_at => Next::Kill,
            Phase::Grace { kill_at } => Next::Wait(kill_at.min(now + tick)),
            Phase::Killed { at } if now >= self.judged_at.max(at + SETTLE) => {
                Next::Finish(OutcomeKind::NoEffect)
            }
            Phase::Killed { .. } if self.repeat && self.rounds < ROUNDS_MAX => Next::Kill,
            Phase::Killed { .. } => Next::Wait(now + tick),
        }
    }

    /// TERM was sent: KILL follows when the grace is over.
    pub(crate) fn termed(&mut self) {
        self.phase = Phase::Grace {
            kill_at: self.ordered_at + self.grace,
        };
    }

    /// TERM may not be sent (no `CAP_KILL`), while `cgroup.kill` needs no capability. Waiting for somebody who was told
    /// nothing helps nobody, so KILL follows at once.
    pub(crate) fn term_refused(&mut self) {
        self.phase = Phase::Grace {
            kill_at: self.ordered_at,
        };
    }

    /// KILL was sent. `repeat`: to each process by itself, so that somebody may have forked away.
    pub(crate) fn killed(&mut self, now: Moment, repeat: bool) {
        if !self.is_killed() {
            self.phase = Phase::Killed { at: now };
        }
        self.rounds = self.rounds.saturating_add(1);
        self.repeat = repeat;
    }

    /// Whether KILL was sent. It cannot be taken back, and a victim that is left half killed helps nobody.
    pub(crate) fn is_killed(&self) -> bool {
        matches!(self.phase, Phase::Killed { .. })
    }

    /// Whether nothing was sent so far.
    pub(crate) fn is_untouched(&self) -> bool {
        self.phase == Phase::Ordered
    }

    /// Bytes that came back: what it held at most, less what it holds. Where its counter went with it, less what may
    /// have outlived it.
    pub(crate) fn freed(&self) -> Bytes {
        self.peak - self.last.unwrap_or(self.lasting)
    }

    /// Time since the order.
    pub(crate) fn took(&self, now: Moment) -> Span {
        now.since(self.ordered_at)
    }
}

#[cfg(test)]
pub(crate) mod tests;
