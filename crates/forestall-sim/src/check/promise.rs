//! A rule about promises: who keeps within his request goes after who does not.

use forestall_decide::{Bytes, Rung, WallKind};

use super::Checker;
use super::kill::{aimed, follows_kills, harmful, name};
use crate::event::{Event, What};

/// So much of a wall (permille) is asked for at the least, twice what the engine asks for.
const ROOM_PERMILLE: u64 = 80;

pub(super) struct BreakerFirst;

impl Checker for BreakerFirst {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = harmful(event).filter(|order| order.rung == Rung::Kill && order.pods_known)?;
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
