//! A rule about promises: who keeps within his request goes after who does not.

use std::collections::BTreeMap;

use forestall_decide::{Bytes, Moment, Rung, Span, WallKind};

use super::Checker;
use super::kill::{aimed, follows_kills, harmful, name};
use crate::event::{Event, What};

/// So much of a wall (permille) is asked for at the least, twice what the engine asks for.
const ROOM_PERMILLE: u64 = 80;
/// News of the pods count for a minute, and so long before its end by whatever clock.
const TOLD_WITHIN: Span = Span::secs(50);
/// What was taken by the last minutes counts.
const SEEN_FOR: Span = Span::secs(300);

/// When the agent of a node was started anew: what somebody took before, it has not seen.
#[derive(Default)]
pub(super) struct BreakerFirst(BTreeMap<u32, Moment>);

impl Checker for BreakerFirst {
    fn see(&mut self, event: &Event) -> Option<String> {
        if let What::Fault {
            name: "agent-restart",
            ..
        } = event.what
        {
            self.0.insert(event.node, event.at);
        }
        let has_seen = |since: &Moment| event.at.since(*since) > SEEN_FOR;
        let order =
            harmful(event).filter(|order| order.rung == Rung::Kill && order.pods_age <= TOLD_WITHIN)?;
        if !self.0.get(&event.node).is_none_or(has_seen) {
            return None;
        }
        let (aim, truth) = (order.target.as_ref()?, order.truth?);
        let is_kernels = matches!(order.wall, WallKind::Kernel | WallKind::Kubepods);
        let left = aim.left_of_request?;
        let room = truth.size.permille(ROOM_PERMILLE);
        // Twice what is missing: counters see a little less, and it was not measured from its very start. Nothing is missing, and somebody has to
        // end all the same: then it is the room.
        let missing = match Bytes((left.max(room) - truth.told()).0.saturating_mul(2)) {
            Bytes::ZERO => room,
            missing => missing,
        };
        let is_named = order.share_permille.is_some() && is_kernels && !follows_kills(order);
        (is_named && order.breaker > missing).then(|| {
            format!(
                "kill of {}, which keeps within its request, though somebody else took {} beyond his",
                name(order),
                order.breaker
            )
        })
    }
}

pub(super) fn killed_who_kept_within_its_request() -> Vec<Event> {
    let mut events = aimed(|aim| aim.left_of_request = Some(Bytes::mebi(100)));
    for event in &mut events {
        if let What::Ordered(order) = &mut event.what {
            order.breaker = Bytes::mebi(500);
        }
    }
    events
}
