//! What the reclaim worker remembers between reclaims: what each cgroup gave and took back within ten seconds, and the
//! processor time all of it cost.
//!
//! A reclaim has a gain, which is what the wall's keeper sees of it, and a price, which is what left memory: no more than that can come
//! back because of us. The kernel's counter of refaults goes further, by what others took and by what the cgroup takes from itself.

use forestall_decide::{Bytes, GroupId, Moment, Span};

use super::{Patience, STEP_MAX};

/// The time over which refaults and processor time are reckoned.
const WINDOW: Span = Span::secs(10);
/// How long a cgroup is left alone whose cache is read again.
const LEFT_ALONE: Span = Span::secs(300);

/// What refaults say about a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Halve,
    LeaveAlone {
        until: Moment,
        /// Since it began its tasks have waited for memory for longer than even an eviction is worth, or it is not known how long: so it will be until
        /// then, though they wait no more.
        felt_until: Option<Moment>,
    },
}

/// What a step did, as the wall's keeper sees it and as the cgroup feels it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) gained: Bytes,
    pub(super) taken: Bytes,
}

/// Cgroups remembered at once; the one that was reclaimed from longest ago makes room.
const GROUPS_MAX: usize = 64;
/// The window in slots of one second.
const SLOTS: usize = 10;
const SLOT: Span = Span(WINDOW.0 / SLOTS as u64);
/// Seconds remembered of a cgroup: the window, and what a burst that reaches into it has from before.
const SLOTS_KEPT: usize = 2 * SLOTS;

/// What one second of reclaim brought, and where the refault counter stood when it began.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: u64,
    gained: Bytes,
    taken: Bytes,
    refaulted_before: Bytes,
}

/// What the reclaims of the window brought and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Recent {
    gained: Bytes,
    came_back: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Page {
    group: GroupId,
    used_at: Moment,
    alone_until: Moment,
    /// What was taken and has not come back, and what has and was not told yet, when the refault counter stood there.
    owed: Bytes,
    came_back: Bytes,
    settled_at: Bytes,
    /// When it began to be left alone, and its stall then, where that is known.
    rest: Option<(Moment, u64)>,
    slots: [Slot; SLOTS_KEPT],
}

impl Page {
    fn settle(&mut self, refaulted: Bytes) {
        let came_back = (refaulted - self.settled_at).min(self.owed);
        self.owed = self.owed - came_back;
        self.came_back += came_back;
        self.settled_at = refaulted;
    }

    /// What was gained in the window, and how much of what was taken has come back. What comes back is not told apart by when it
    /// was taken, so a burst counts as a whole as long as any of it is in the window.
    fn recent(&self, now: Moment, refaulted: Bytes) -> Recent {
        let at = |number: u64| {
            let index = usize::try_from(number % SLOTS_KEPT as u64).unwrap_or(0);
            let slot = self.slots.get(index);
            slot.filter(|slot| slot.number == number && slot.gained > Bytes::ZERO)
        };
        let newest = slot_number(now);
        let mut window = newest.saturating_sub(SLOTS as u64 - 1)..=newest;
        let Some(mut first) = window.find_map(at) else {
            return Recent::default();
        };
        while let Some(earlier) = at(first.number - 1) {
            first = earlier;
        }
        let burst = || (first.number..=newest).filter_map(at);
        let taken: Bytes = burst().map(|slot| slot.taken).sum();
        Recent {
            gained: burst().map(|slot| slot.gained).sum(),
            came_back: (refaulted - first.refaulted_before).min(taken),
        }
    }
}

/// What the worker remembers between reclaims: each cgroup's last ten seconds, and its own processor time.
#[derive(Debug)]
pub(crate) struct Book {
    pages: Vec<Page>,
    pub(crate) cpu: CpuBudget,
}

impl Book {
    /// `cpu_permille`: the share of a core that may be used, parts of a thousand.
    pub(crate) fn new(cpu_permille: u64) -> Self {
        Self {
            pages: Vec::with_capacity(GROUPS_MAX),
            cpu: CpuBudget::new(cpu_permille),
        }
    }

    /// How many cgroups are remembered.
    #[cfg(test)]
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.pages.iter().map(|page| page.group)
    }

    fn page(&mut self, group: GroupId, now: Moment) -> Option<&mut Page> {
        let fresh = Page {
            group,
            used_at: now,
            alone_until: Moment(0),
            owed: Bytes::ZERO,
            came_back: Bytes::ZERO,
            settled_at: Bytes::ZERO,
            rest: None,
            slots: [Slot::default(); SLOTS_KEPT],
        };
        let index = match self.pages.iter().position(|page| page.group == group) {
            Some(index) => index,
            None if self.pages.len() < GROUPS_MAX => {
                self.pages.push(fresh);
                self.pages.len() - 1
            }
            None => {
                let oldest = self
                    .pages
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, page)| page.used_at)?;
                let index = oldest.0;
                *self.pages.get_mut(index)? = fresh;
                index
            }
        };
        let page = self.pages.get_mut(index)?;
        page.used_at = now;
        Some(page)
    }

    /// `stall_some_micros` and `refaulted` are the cgroup's counters now.
    pub(super) fn judge(
        &mut self,
        group: GroupId,
        now: Moment,
        refaulted: Bytes,
        stall_some_micros: Option<u64>,
    ) -> Verdict {
        let Some(page) = self.page(group, now) else {
            return Verdict::Go;
        };
        page.settle(refaulted);
        if now < page.alone_until {
            let until = page.alone_until;
            let patience = Patience::BEFORE_AN_EVICTION;
            let felt_until = match page.rest.zip(stall_some_micros) {
                None => Some(until),
                Some(((since, then), stall)) if patience.ends(now.since(since), then, stall) => {
                    Some(until.min(since + patience.is_at_an_end_for(then, stall)))
                }
                Some(_) => None,
            };
            return Verdict::LeaveAlone { until, felt_until };
        }
        let Recent { gained, came_back } = page.recent(now, refaulted);
        // What comes back of less than one whole step says nothing: a reader that runs beside the first small step reads some of it
        // again at once, while the next steps may lower the working set by many times what they take.
        let gained = gained.max(STEP_MAX);
        if came_back.0 > gained.0 / 2 {
            page.alone_until = now + LEFT_ALONE;
            page.rest = stall_some_micros.map(|stall| (now, stall));
            let until = page.alone_until;
            return Verdict::LeaveAlone {
                until,
                felt_until: stall_some_micros.is_none().then_some(until),
            };
        }
        if came_back.0 > gained.0 / 4 {
            Verdict::Halve
        } else {
            Verdict::Go
        }
    }

    /// `step` is what one step gained and took, and `refaulted` the kernel's counter after it.
    pub(super) fn enter(&mut self, group: GroupId, now: Moment, step: Effect, refaulted: Bytes) {
        let number = slot_number(now);
        let Some(page) = self.page(group, now) else { return };
        let index = usize::try_from(number % SLOTS_KEPT as u64).unwrap_or(0);
        if let Some(slot) = page.slots.get_mut(index) {
            if slot.number != number {
                *slot = Slot {
                    number,
                    refaulted_before: refaulted,
                    ..Slot::default()
                };
            }
            slot.gained += step.gained;
            slot.taken += step.taken;
        }
        page.owed += step.taken;
    }

    /// What came back since this was asked last, of all that was taken from a cgroup and had not come back by then.
    pub(super) fn take_what_came_back(&mut self, group: GroupId, refaulted: Bytes) -> Bytes {
        let Some(page) = self.pages.iter_mut().find(|page| page.group == group) else {
            return Bytes::ZERO;
        };
        page.settle(refaulted);
        std::mem::take(&mut page.came_back)
    }
}

/// Slots are numbered from 1, so that an empty one (0) never looks recent.
fn slot_number(now: Moment) -> u64 {
    now.0 / SLOT.0 + 1 + SLOTS_KEPT as u64
}

/// Processor time of the last ten seconds, in slots of one second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuBudget {
    most: Span,
    slots: [(u64, Span); SLOTS],
    seen: Option<Span>,
}

impl CpuBudget {
    fn new(permille: u64) -> Self {
        let most = Span(WINDOW.0.saturating_mul(permille) / 1000);
        Self {
            most,
            slots: Default::default(),
            seen: None,
        }
    }

    /// Books what the thread has used since the last call and says how long to wait, if the budget is used up.
    pub(super) fn wait(&mut self, now: Moment, cpu: Span) -> Option<Span> {
        let number = slot_number(now);
        let used = Span(cpu.0.saturating_sub(self.seen.unwrap_or(cpu).0));
        self.seen = Some(cpu);
        let index = usize::try_from(number % SLOTS as u64).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(index) {
            let kept = if slot.0 == number { slot.1 } else { Span::default() };
            *slot = (number, kept + used);
        }
        let oldest = number.saturating_sub(SLOTS as u64 - 1);
        let recent = self.slots.iter().filter(|slot| slot.0 >= oldest);
        let total = recent.fold(Span::default(), |total, slot| total + slot.1);
        // The oldest slot leaves the window when the next second begins.
        (total > self.most).then(|| Span(SLOT.0 - now.0 % SLOT.0))
    }
}
