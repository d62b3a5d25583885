//! A brake: `memory.high` of one container held near what it holds now, for a bounded time, so that whoever allocates there gets on
//! slowly. Pure: how low, how long, and what came of it; `brake_worker` does it.
//!
//! It refuses to loosen what is there already, to hold anybody below what `memory.min` or `memory.low` guarantee, and to go below
//! what is held now: that would take from the container what it has, and not only keep it from more.

use forestall_decide::{Action, Bytes, Span};

/// No brake lasts longer, whatever was asked for. The kubelet restarts a container when its liveness probe has failed three times in a
/// row, ten seconds apart, and one second passes before a probe without an answer counts as failed, unless the pod says otherwise
/// (`failureThreshold`, `periodSeconds`, `timeoutSeconds`): that takes 21 s from the first of them. So a brake of 20 s alone
/// cannot bring it about, however little of the container gets on.
pub(crate) const HOLD_MAX: Span = Span::secs(20);

/// A brake that is not on this soon after it was ordered is none any more: by then the engine does not wait for it.
pub(crate) const ON_WITHIN: Span = Span::secs(1);

/// What the cgroup's own files say when a brake is put on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// `memory.current`.
    pub(crate) current: u64,
    /// `memory.min` or `memory.low`, whichever is more; `u64::MAX` where that is everything.
    pub(crate) guaranteed: u64,
}

/// Where to hold it, in whole pages, because only a value that reads back as it was written can be known as ours. `asked`: what it held
/// when that was decided, and some room; what it has grown by since is part of that room. `None`: all of it is guaranteed.
pub(crate) fn aim(asked: Bytes, held: Held, page: u64) -> Option<u64> {
    let least = asked.0.max(held.current).max(held.guaranteed);
    let up = least.checked_next_multiple_of(page)?;
    (held.guaranteed < u64::MAX).then_some(up)
}

/// How long it lasts.
pub(crate) fn hold(action: &Action) -> Span {
    action.grace.min(HOLD_MAX)
}

/// What a cgroup shows while it is braked, for the reckoning afterwards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// `memory.current`.
    pub(crate) current: Bytes,
    /// Time in which some task of it waited for memory, microseconds, as far as that is counted here.
    pub(crate) stall_micros: Option<u64>,
}

/// What would have been allocated in this time at the pace that named the culprit, less what it grew by all the same.
pub(crate) fn held_back(action: &Action, lasted: Span, grew: Bytes) -> Bytes {
    let foreseen = action.evidence.reading.culprit.map_or(Bytes::ZERO, |culprit| {
        let (grown, window) = (u128::from(culprit.grown.0), u128::from(culprit.window.0.max(1)));
        Bytes(u64::try_from(grown * u128::from(lasted.0) / window).unwrap_or(u64::MAX))
    });
    foreseen - grew
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::tests::action;
    use forestall_decide::{Culprit, GroupId, Target};

    const PAGE: u64 = 4096;

    fn aim_at(asked: u64, current: u64, guaranteed: u64) -> Option<u64> {
        aim(Bytes(asked), Held { current, guaranteed }, PAGE)
    }

    #[test]
    fn it_is_held_where_it_was_asked_for_and_in_whole_pages() {
        assert_eq!(aim_at(10_000, 5_000, 0), Some(12_288));
        assert_eq!(aim_at(8_192, 5_000, 0), Some(8_192));
    }

    #[test]
    fn nobody_is_held_below_what_he_holds_or_was_guaranteed() {
        // It has outgrown what was asked for.
        assert_eq!(aim_at(8_192, 40_960, 0), Some(40_960));
        assert_eq!(aim_at(8_192, 5_000, 81_920), Some(81_920));
        // `memory.low: max` guarantees everything, and no figure is so large that it is rounded up to none.
        assert_eq!(aim_at(8_192, 5_000, u64::MAX), None);
        assert_eq!(aim_at(u64::MAX, 5_000, 0), None);
    }

    #[test]
    fn no_brake_outlasts_three_failures_of_a_probe() {
        // failureThreshold 3, periodSeconds 10, timeoutSeconds 1: the third failure is known 2 × 10 + 1 s after the first probe was sent.
        assert!(hold(&action(Span::secs(3600), Span::secs(1))) < Span::secs(21));
        assert_eq!(hold(&action(Span::secs(3), Span::secs(1))), Span::secs(3));
    }

    #[test]
    fn what_was_held_back_is_its_own_pace_less_what_it_grew_by() {
        let mut order = action(Span::secs(10), Span::secs(1));
        assert_eq!(held_back(&order, Span::secs(10), Bytes::ZERO), Bytes::ZERO);
        order.evidence.reading.culprit = Some(Culprit {
            target: Target::Group(GroupId(1)),
            share_permille: 900,
            grown: Bytes::mebi(30),
            window: Span::millis(1500),
            protection: None,
        });
        // 20 MiB/s for ten seconds.
        assert_eq!(
            held_back(&order, Span::secs(10), Bytes::mebi(8)),
            Bytes::mebi(192)
        );
        assert_eq!(held_back(&order, Span::secs(10), Bytes::mebi(300)), Bytes::ZERO);
    }
}
