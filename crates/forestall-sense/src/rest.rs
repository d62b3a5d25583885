//! Resting: while every wall is far away, what only matters near a wall is read once a minute instead of at every
//! sample.
//!
//! The machine's memory and everything in `kubepods` are read at every sample all the same, the machine's pressure every
//! five seconds; processes and
//! cgroups outside `kubepods` wait. Rest ends at once when memory is used or waited for: growth is then seen as it is now.
//! It refuses to judge how far the walls are: whoever takes the samples says so.

use forestall_decide::{Bytes, Moment, NodeSample, Span};

/// Whatever rests is read this often.
const FULL_EVERY: Span = Span::secs(60);
/// So small a part of the machine's memory may be taken before everything is read again: 256 MiB of 16 GiB.
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
    pub(crate) fn breadth(&mut self, node: &NodeSample, now: Moment) -> Breadth {
        let stalled_micros = node.stall.map_or(0, |stall| stall.some_micros);
        let rests = self.allowed
            && self.mark.is_some_and(|mark| {
                now.since(mark.at) < FULL_EVERY
                    && mark.available - node.available <= Bytes(node.total.0 / TAKEN_SHARE)
                    && stalled_micros.saturating_sub(mark.stalled_micros) < STALLED_MICROS
            });
        if rests {
            return Breadth::Least;
        }
        self.mark = Some(Mark {
            at: now,
            available: node.available,
            stalled_micros,
        });
        if self.allowed {
            Breadth::Seldom
        } else {
            Breadth::Everything
        }
    }
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
        assert_eq!(rest.breadth(&node(9_000, 0), at(0)), Breadth::Everything);
        assert_eq!(rest.breadth(&node(9_000, 0), at(1)), Breadth::Everything);
        rest.allow(true);
        assert_eq!(rest.breadth(&node(9_000, 0), at(2)), Breadth::Least);
        rest.allow(false);
        assert_eq!(rest.breadth(&node(9_000, 0), at(3)), Breadth::Everything);
    }

    #[test]
    fn everything_is_read_once_a_minute() {
        let mut rest = Rest::default();
        rest.allow(true);
        let full: Vec<u64> = (0..130)
            .filter(|secs| rest.breadth(&node(9_000, 0), at(*secs)) == Breadth::Seldom)
            .collect();
        assert_eq!(full, [0, 60, 120]);
    }

    #[test]
    fn memory_taken_ends_the_rest_however_slowly_it_goes() {
        let mut rest = Rest::default();
        rest.allow(true);
        // A 64th of 16 GiB is 256 MiB, counted from when everything was read.
        let full: Vec<u64> = (0..9)
            .filter(|secs| rest.breadth(&node(9_000 - 80 * secs, 0), at(*secs)) == Breadth::Seldom)
            .collect();
        assert_eq!(full, [0, 4, 8]);
    }

    #[test]
    fn waiting_for_memory_ends_the_rest() {
        let mut rest = Rest::default();
        rest.allow(true);
        assert_eq!(rest.breadth(&node(9_000, 1_000), at(0)), Breadth::Seldom);
        assert_eq!(rest.breadth(&node(9_000, 25_999), at(1)), Breadth::Least);
        assert_eq!(rest.breadth(&node(9_000, 26_000), at(2)), Breadth::Seldom);
    }
}
