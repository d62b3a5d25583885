//! Whether pods that are pinned to a node have room there. No scheduler is asked for them, but the kubelet admits none whose request does
//! not fit beside those of the others (k/k `pkg/kubelet/lifecycle/predicate.go`, `OutOfmemory`).
//!
//! It refuses the scenario instead of the pod: whoever pins one wants to see it run. It goes by what all of them request,
//! whenever they start, and by no pod that the scheduler places.

use forestall_decide::Bytes;
use forestall_decide::kubelet::KubeletConfig;

use super::checked::{Place, at};
use super::raw::RawScenario;
use crate::error::SimError;
use crate::spec::{NodeSpec, Place as Where, PodSpec};

/// Pods that no kubelet would take.
pub(super) fn refuse_what_does_not_fit(
    raw: &RawScenario,
    nodes: &[NodeSpec],
    pods: &[PodSpec],
) -> Result<(), SimError> {
    let allocatable = |node: &NodeSpec| node.kubelet.as_ref().map(KubeletConfig::allocatable);
    let mut left: Vec<Option<Bytes>> = nodes.iter().map(allocatable).collect();
    for (typed, pod) in raw.pods.iter().zip(pods) {
        let asked = Bytes(pod.requested().0.saturating_mul(u64::from(pod.count)));
        let own = match pod.place {
            Where::Anywhere => continue,
            Where::Each => 0..nodes.len(),
            Where::Node(node) => node as usize..(node as usize).saturating_add(1),
        };
        let rooms = left.iter_mut().zip(nodes).take(own.end).skip(own.start);
        for (room, node) in rooms.filter(|_| asked > Bytes::ZERO) {
            // Where there is no kubelet nobody asks.
            let Some(room) = room else { continue };
            if asked > *room {
                let why = format!(
                    "with this more is requested by the pods that are pinned to node {:?} than the {} allocatable there, so that its kubelet \
                     would refuse it (OutOfmemory); request less, or write node: anywhere",
                    node.name,
                    allocatable(node).unwrap_or_default()
                );
                let place = typed.node.as_ref().map_or(Place::of(&typed.name), Place::of);
                return Err(at(place, &why));
            }
            *room = *room - asked;
        }
    }
    Ok(())
}
