//! How one reclaim proceeds: in steps of at most 16 MiB, and what ends it between two of them. Pure, like the course of
//! a kill; the worker in `reclaim_worker` does the writing, and `book` remembers what earlier reclaims cost.
//!
//! The price list: at most 1 % of a core (configurable) over ten seconds unless the deadline is near or half the way is gone; the
//! step halves when more than a quarter of what was gained within ten seconds was taken and read again, and the cgroup is left
//! alone for five minutes at more than half, unless it is the kubelet that would evict and its tasks get on with their work, and says until when; a
//! reclaim that makes the cgroup's own tasks wait for more than a tenth of the time ends, and until it has kept the kubelet from acting for more than half.
//!
//! What is gained is counted as the wall's keeper counts it. Against a kubelet wall that is the working set, which falls by
//! far more than is freed when reclaim deactivates pages; there the steps begin small, since a small one may do it all.

mod book;

use forestall_decide::{Action, Bytes, GroupId, Moment, OutcomeKind, Span, WallKind};

pub(crate) use self::book::Book;
use self::book::{Effect, Verdict};
use crate::order::{Price, ReclaimEnd};

/// The largest single write: it reclaims in the caller, so its size bounds how long nothing else is looked at.
pub(crate) const STEP_MAX: Bytes = Bytes::mebi(16);
/// Below this a step is not worth its system call.
const STEP_MIN: Bytes = Bytes(1 << 20);
/// The first step against a kubelet wall.
const STEP_FIRST: Bytes = Bytes::mebi(2);
/// A reclaim whose deadline is nearer than this does not wait for its processor budget.
const DEADLINE_NEAR: Span = Span::secs(1);
/// Stall is not judged before this much time has passed: a single wait for the disk at the start would decide.
const STALL_LOOK_MIN: Span = Span::millis(100);
/// Less than this share of what was asked for is no effect.
const EFFECT_SHARE: u64 = 16;

/// What is seen between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Somebody wants the reclaim to end.
    pub(crate) stop: bool,
    /// `some total` of the cgroup's memory pressure, microseconds; `None` where there is none.
    pub(crate) stall_some_micros: Option<u64>,
    /// File pages of the cgroup that came back after they had been reclaimed, in bytes since it was made.
    pub(crate) refaulted: Bytes,
    /// The cgroup's working set as the kubelet counts it: usage less inactive file.
    pub(crate) working_set: Bytes,
    /// Processor time this thread has used.
    pub(crate) cpu: Span,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It got this much; `short` when the kernel says that it got less than asked.
    Got {
        /// Bytes.
        freed: Bytes,
        /// `EAGAIN`.
        short: bool,
    },
    /// The cgroup was removed meanwhile.
    Gone,
    /// The write failed otherwise.
    Failed(i32),
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Reclaim this much, then report to `Reclaim::stepped`.
    Step(Bytes),
    /// Wait this long: the processor budget is used up.
    Wait(Span),
    /// It is over.
    Finish(OutcomeKind, Option<ReclaimEnd>),
}

/// One reclaim on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reclaim {
    group: GroupId,
    asked: Bytes,
    freed: Bytes,
    taken: Bytes,
    step: Bytes,
    started_at: Moment,
    deadline: Moment,
    stall_at_start: Option<u64>,
    /// How far the wall was when it was ordered.
    distance: Bytes,
    /// The working set before the next step, where it is what counts.
    working_set: Option<Bytes>,
    ended: Option<Next>,
    /// For so long the cgroup is left alone, whoever orders it.
    rest: Span,
}

impl Reclaim {
    pub(crate) fn new(action: &Action, group: GroupId, now: Moment, view: View) -> Self {
        let wall = action.evidence.reading.wall;
        let by_working_set = matches!(wall, WallKind::KubeletNode | WallKind::KubeletAllocatable);
        Self {
            group,
            asked: action.bytes,
            freed: Bytes::ZERO,
            taken: Bytes::ZERO,
            step: if by_working_set { STEP_FIRST } else { STEP_MAX },
            distance: action.evidence.reading.distance,
            working_set: by_working_set.then_some(view.working_set),
            started_at: now,
            deadline: now + action.deadline,
            stall_at_start: view.stall_some_micros,
            ended: None,
            rest: Span::default(),
        }
    }

    /// Decides on the next step. `book` is the worker's memory over all its reclaims.
    pub(crate) fn next(&mut self, now: Moment, view: View, book: &mut Book) -> Next {
        if let Some(ended) = self.ended {
            return ended;
        }
        let left = self.asked - self.freed;
        if left == Bytes::ZERO {
            return self.finish(None);
        }
        if view.stop {
            return self.finish(Some(ReclaimEnd::Stopped));
        }
        if now >= self.deadline {
            return self.finish(Some(ReclaimEnd::Deadline));
        }
        if self.stalls(now, view) {
            return self.finish(Some(ReclaimEnd::Stall));
        }
        // When the kubelet is about to evict, what counts is whether the cgroup's own tasks get on: an eviction takes all of its cache
        // and ends them besides. Nor is it in vain, for what comes back makes the kernel deactivate at the next step.
        let against_kubelet = self.working_set.is_some();
        let step_max = match book.judge(self.group, now, view.refaulted, view.stall_some_micros) {
            Verdict::LeaveAlone { felt_until: None, .. } if against_kubelet => Bytes(STEP_MAX.0 / 2),
            Verdict::LeaveAlone { until, felt_until } => {
                let until = felt_until.filter(|_| against_kubelet).unwrap_or(until);
                self.rest = until.since(now);
                return self.finish(Some(ReclaimEnd::Refaults));
            }
            Verdict::Halve => Bytes(STEP_MAX.0 / 2),
            Verdict::Go => STEP_MAX,
        };
        let near = self.deadline.since(now) <= DEADLINE_NEAR || self.half_the_way_is_gone(view);
        if let Some(wait) = book.cpu.wait(now, view.cpu).filter(|_| !near) {
            let until_near = Span(self.deadline.since(now).0.saturating_sub(DEADLINE_NEAR.0));
            return Next::Wait(wait.min(until_near));
        }
        Next::Step(self.step.min(step_max).min(left))
    }

    /// Takes note of what a step did.
    pub(crate) fn stepped(&mut self, now: Moment, asked: Bytes, step: Step, view: View, book: &mut Book) {
        match step {
            Step::Got { freed, short } => {
                let gained = self.gain(freed, asked, view);
                self.freed += gained;
                self.taken += freed;
                let effect = Effect { gained, taken: freed };
                book.enter(self.group, now, effect, view.refaulted);
                if short {
                    self.step = Bytes(asked.0 / 2);
                    // An eighth of what was asked is scraping the barrel: what is left is hot or cannot be reclaimed.
                    if self.step < STEP_MIN || gained.0 < asked.0 / 8 {
                        self.ended = Some(self.finish(Some(ReclaimEnd::Exhausted)));
                    }
                }
            }
            Step::Gone => {
                let kind = if self.freed > Bytes::ZERO {
                    OutcomeKind::Done
                } else {
                    OutcomeKind::Gone
                };
                self.ended = Some(Next::Finish(kind, None));
            }
            Step::Failed(errno) => self.ended = Some(Next::Finish(OutcomeKind::Failed(errno), None)),
        }
    }

    /// Bytes that came back so far.
    pub(crate) fn freed(&self) -> Bytes {
        self.freed
    }

    /// What it cost, once it is over.
    pub(crate) fn price(&self, ended: Option<ReclaimEnd>, view: View, book: &mut Book) -> Price {
        Price {
            ended,
            taken: self.taken,
            came_back: book.take_what_came_back(self.group, view.refaulted),
            rest: self.rest,
        }
    }

    fn finish(&self, end: Option<ReclaimEnd>) -> Next {
        let effect = self.freed > Bytes::ZERO && self.freed.0 >= self.asked.0 / EFFECT_SHARE;
        Next::Finish(
            if effect {
                OutcomeKind::Done
            } else {
                OutcomeKind::NoEffect
            },
            end,
        )
    }

    /// What a step gained. One that has not even deactivated what it freed is followed by a larger one.
    fn gain(&mut self, freed: Bytes, asked: Bytes, view: View) -> Bytes {
        let Some(before) = self.working_set else {
            return freed;
        };
        self.working_set = Some(view.working_set);
        let gained = before - view.working_set;
        if gained < asked {
            self.step = Bytes(self.step.0.saturating_mul(2)).min(STEP_MAX);
        }
        gained
    }

    /// The deadline was reckoned from a growth that included what an earlier reclaim took away: what grew since tells better.
    fn half_the_way_is_gone(&self, view: View) -> bool {
        self.working_set
            .is_some_and(|before| view.working_set - before > Bytes(self.distance.0 / 2))
    }

    fn stalls(&self, now: Moment, view: View) -> bool {
        let (Some(start), Some(current)) = (self.stall_at_start, view.stall_some_micros) else {
            return false;
        };
        // The first half of what was asked for keeps the kubelet from acting; with the second it is asked less often.
        let saves = self.working_set.is_some() && self.freed < Bytes(self.asked.0 / 2);
        let patience = if saves {
            Patience::BEFORE_AN_EVICTION
        } else {
            Patience::ELSEWHERE
        };
        patience.ends(now.since(self.started_at), start, current)
    }
}

/// How much of the time a cgroup's own tasks may wait for memory because of us, in thousandths.
#[derive(Clone, Copy, Debug)]
struct Patience(u64);

impl Patience {
    /// Where nobody is evicted otherwise, next to none.
    const ELSEWHERE: Self = Self(100);
    /// Where a pod is evicted otherwise: one that gets half of its work done does more than one that has ended, and one that does less is
    /// better off elsewhere.
    const BEFORE_AN_EVICTION: Self = Self(500);

    /// Whether it is at an end. `then` and `now` are `some total`, microseconds.
    fn ends(self, elapsed: Span, then: u64, now: u64) -> bool {
        let waited = u128::from(now.saturating_sub(then)) * 1000;
        elapsed >= STALL_LOOK_MIN && waited > u128::from(elapsed.0) * u128::from(self.0)
    }

    /// From `then` on it is at an end for so long, where they wait no more.
    const fn is_at_an_end_for(self, then: u64, now: u64) -> Span {
        Span(now.saturating_sub(then).saturating_mul(1000) / self.0)
    }
}

#[cfg(test)]
mod tests;
