//! Resting: while every wall is far away, what only matters near a wall is read once a minute instead of at every
//! sample, and every five minutes where there are no pods. The engine is then told once a minute, too.
//!
//! The machine's memory and everything in `kubepods` are read at every sample all the same, the machine's pressure every
//! five seconds; processes and
//! cgroups outside `kubepods` wait. Rest ends at once when memory is used or waited for: growth is then seen as it is now.
//! It refuses to judge how far the walls are: whoever takes the samples says so.

use forestall_decide::{Bytes, Moment, NodeSample, Span};

/// Whatever rests is read this often.
const FULL_EVERY: Span = Span::secs(60);
/// And this often where nobody but the host's own cgroups is followed. That pods have come is noticed sooner.
const FULL_EVERY_WITHOUT_PODS: Span = Span::secs(300);
/// What only glances have seen is told this often.
pub(crate) const TELL_EVERY: Span = Span::secs(60);
/// So small a part of the machine's memory may be taken before everything is read again, and taken or given back before the
/// engine is told: 256 MiB of 16 GiB.
const TAKEN_SHARE: u64 = 64;
/// Tasks may have waited for memory so long before everything is read again: the shortest stall that wakes by a trigger.
const STALLED_MICROS: u64 = 25_000;

/// What one sample reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// Everything that is due.
    #[default]
    Everything,
    /// Everything, and what hardly ever changes more seldom: every wall is far away.
    Seldom,
    /// Only what matters at any time.
    Least,
}

/// What the machine said when everything was read last.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Moment,
    available: Bytes,
    stalled_micros: u64,
}

/// When everything is read, and when only what matters at any time.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    allowed: bool,
    has_pods: bool,
    mark: Option<Mark>,
}

impl Rest {
    /// Every wall is far away, or no longer.
    pub(crate) const fn allow(&mut self, allowed: bool) {
        self.allowed = allowed;
    }

    /// Every wall was far away at the last sample.
    pub(crate) const fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// How much this sample reads. Where that is not the least, the machine's figures are the new mark.
    pub(crate) fn breadth(&mut self, node: &NodeSample, now: Moment, has_pods: bool) -> Breadth {
        self.has_pods = has_pods;
        if self.rests(node, now) {
            return Breadth::Least;
        }
        self.mark = Some(Mark {
            at: now,
            available: node.available,
            stalled_micros: stalled_micros(node),
        });
        if self.allowed {
            Breadth::Seldom
        } else {
            Breadth::Everything
        }
    }

    /// Whether what was just `seen` of the machine may be kept from the engine, which was `told` of an earlier state: it
    /// rests, and hardly anything has been taken or given back since.
    pub(crate) fn may_be_kept(&self, told: &NodeSample, seen: &NodeSample, now: Moment) -> bool {
        let moved = taken(told, seen).max(taken(seen, told));
        told.total == seen.total && moved <= Bytes(told.total.0 / TAKEN_SHARE) && self.rests(seen, now)
    }

    fn rests(&self, node: &NodeSample, now: Moment) -> bool {
        let full_every = if self.has_pods {
            FULL_EVERY
        } else {
            FULL_EVERY_WITHOUT_PODS
        };
        self.allowed
            && self.mark.is_some_and(|mark| {
                now.since(mark.at) < full_every
                    && mark.available - node.available <= Bytes(node.total.0 / TAKEN_SHARE)
                    && stalled_micros(node).saturating_sub(mark.stalled_micros) < STALLED_MICROS
            })
    }
}

fn stalled_micros(node: &NodeSample) -> u64 {
    node.stall.map_or(0, |stall| stall.some_micros)
}

/// How much less there is left, of memory and of swap: one does not make up for the other.
pub(crate) fn taken(before: &NodeSample, after: &NodeSample) -> Bytes {
    (before.available - after.available) + (before.swap_free - after.swap_free)
}

#[cfg(test)]
mod tests {
    use forestall_decide::Stall;

    use super::*;

    fn node(available_mib: u64, some_micros: u64) -> NodeSample {
        NodeSample {
            total: Bytes::mebi(16_384),
            available: Bytes::mebi(available_mib),
            stall: Some(Stall {
                some_micros,
                full_micros: 0,
            }),
            ..NodeSample::default()
        }
    }

    fn at(secs: u64) -> Moment {
        Moment(0) + Span::secs(secs)
    }

    #[test]
    fn nothing_rests_that_was_not_allowed_to() {
        let mut rest = Rest::default();
        assert_eq!(rest.breadth(&node(9_000, 0), at(0), true), Breadth::Everything);
        assert_eq!(rest.breadth(&node(9_000, 0), at(1), true), Breadth::Everything);
        rest.allow(true);
        assert_eq!(rest.breadth(&node(9_000, 0), at(2), true), Breadth::Least);
        rest.allow(false);
        assert_eq!(rest.breadth(&node(9_000, 0), at(3), true), Breadth::Everything);
    }

    #[test]
    fn everything_is_read_once_a_minute() {
        let mut rest = Rest::default();
        rest.allow(true);
        let full: Vec<u64> = (0..130)
            .filter(|secs| rest.breadth(&node(9_000, 0), at(*secs), true) == Breadth::Seldom)
            .collect();
        assert_eq!(full, [0, 60, 120]);
    }

    #[test]
    fn without_pods_everything_is_read_every_five_minutes_and_at_once_when_they_come() {
        let mut rest = Rest::default();
        rest.allow(true);
        let mut full =
            |secs: u64, has_pods| rest.breadth(&node(9_000, 0), at(secs), has_pods) == Breadth::Seldom;
        let without: Vec<u64> = (0..=700).filter(|secs| full(*secs, false)).collect();
        assert_eq!(without, [0, 300, 600]);
        assert!(full(701, true));
        assert!(!full(702, true));
    }

    #[test]
    fn memory_taken_ends_the_rest_however_slowly_it_goes() {
        let mut rest = Rest::default();
        rest.allow(true);
        // A 64th of 16 GiB is 256 MiB, counted from when everything was read.
        let full: Vec<u64> = (0..9)
            .filter(|secs| rest.breadth(&node(9_000 - 80 * secs, 0), at(*secs), true) == Breadth::Seldom)
            .collect();
        assert_eq!(full, [0, 4, 8]);
    }

    #[test]
    fn waiting_for_memory_ends_the_rest() {
        let mut rest = Rest::default();
        rest.allow(true);
        assert_eq!(rest.breadth(&node(9_000, 1_000), at(0), true), Breadth::Seldom);
        assert_eq!(rest.breadth(&node(9_000, 25_999), at(1), true), Breadth::Least);
        assert_eq!(rest.breadth(&node(9_000, 26_000), at(2), true), Breadth::Seldom);
    }

    #[test]
    fn what_hardly_differs_is_kept_from_the_engine() {
        let mut rest = Rest::default();
        let told = node(9_000, 0);
        assert!(!rest.may_be_kept(&told, &told, at(0)), "not allowed");
        rest.allow(true);
        assert!(!rest.may_be_kept(&told, &told, at(0)), "never read");
        rest.breadth(&told, at(0), true);
        let kept = |seen: NodeSample, secs| rest.may_be_kept(&told, &seen, at(secs));
        assert!(kept(told, 59) && !kept(told, 60), "everything is due");
        // A 64th of 16 GiB is 256 MiB, taken or given back.
        assert!(kept(node(8_744, 0), 1) && !kept(node(8_743, 0), 1));
        assert!(kept(node(9_256, 0), 1) && !kept(node(9_257, 0), 1));
        assert!(kept(node(9_000, 24_999), 1) && !kept(node(9_000, 25_000), 1));
        let other = NodeSample {
            total: Bytes::mebi(8_192),
            ..told
        };
        assert!(!kept(other, 1), "memory was unplugged");
    }

    #[test]
    fn memory_that_went_to_swap_is_not_kept_from_the_engine() {
        let with_swap = |available, free| NodeSample {
            swap_total: Bytes::mebi(1_024),
            swap_free: Bytes::mebi(free),
            ..node(available, 0)
        };
        let told = with_swap(9_000, 1_024);
        let mut rest = Rest::default();
        rest.allow(true);
        rest.breadth(&told, at(0), true);
        assert!(rest.may_be_kept(&told, &with_swap(9_250, 774), at(1)));
        assert!(!rest.may_be_kept(&told, &with_swap(9_000, 767), at(1)));
        // One does not make up for the other, and what is taken of both adds up.
        assert!(!rest.may_be_kept(&told, &with_swap(9_200, 764), at(1)));
        assert!(!rest.may_be_kept(&told, &with_swap(8_860, 904), at(1)));
    }
}
