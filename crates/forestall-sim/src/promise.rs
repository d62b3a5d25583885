//! What pods were promised, against what they hold: who keeps within his request, and who has taken beyond his own.
//!
//! It refuses to count what an agent cannot have seen: growth of such as have just started, or take again what they gave back.

use forestall_decide::{Bytes, Moment, Span, Target};

use crate::cast::{Container, State};
use crate::memory::Part;
use crate::node::{HOST, Node};

/// Whoever has run for so long was measured from near its start.
const KNOWN_FOR: Span = Span::secs(120);

impl Node {
    /// What a pod requests beyond what it holds; nothing where it holds more.
    pub(crate) fn left_of_request(&self, at: usize, now: Moment) -> Option<Bytes> {
        let (used, request) = (self.pods[at].working_set(now), self.pods[at].request);
        (at != HOST && used <= request).then(|| request - used)
    }

    /// The most that a pod, beside the target's, holds beyond its request, took in the last minutes and has kept for half of one,
    /// where it never had as much before and may be touched.
    pub(crate) fn breaker(&self, target: Target, now: Moment) -> Bytes {
        let of = |at: usize| {
            let pod = &self.pods[at];
            let one = |container: &Container| {
                let is_target = target == Target::Group(container.id) || target == Target::Group(pod.group);
                let counts = container.state == State::Running
                    && now.since(container.started) >= KNOWN_FOR
                    && !container.takes_again(now)
                    && !is_target;
                let taken = container
                    .grown_and_kept(now)
                    .min(container.memory.bytes(Part::Anon, now));
                if counts {
                    taken.min(pod.working_set(now) - pod.request)
                } else {
                    Bytes::ZERO
                }
            };
            let containers = 0..pod.containers.len();
            let free = containers.filter(|index| self.protection(at, *index).is_none());
            free.map(|index| one(&pod.containers[index]))
                .max()
                .unwrap_or_default()
        };
        let pods = (HOST + 1..self.pods.len()).filter(|at| {
            let pod = &self.pods[*at];
            self.is_told(pod) && self.spared(pod).is_none() && pod.terminating.is_none()
        });
        pods.map(of).max().unwrap_or_default()
    }
}
