//! A pod's memory request as the kubelet's eviction counts it (`GetResourceRequestQuantity`, k/k
//! `pkg/api/v1/resource/helpers.go`, and `AggregateContainerRequests` of `k8s.io/component-helpers`).
//!
//! A pod that sets anything at its own level is judged by that level alone, even where it says nothing of memory there. It
//! refuses to look at what the kubelet has actuated during a resize: the ranking does not either.

use super::quantity::Nanobytes;

/// The requests in a pod's specification; a container without one counts as nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requests<'a> {
    /// `spec.containers`.
    pub containers: &'a [Nanobytes],
    /// `spec.initContainers`, in their order.
    pub init: &'a [InitRequest],
    /// `spec.overhead`, counted only where the rest is not nothing.
    pub overhead: Nanobytes,
    /// `spec.resources`.
    pub pod_level: PodLevel,
}

/// One init container's request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InitRequest {
    /// Its memory request.
    pub request: Nanobytes,
    /// `restartPolicy: Always`: it runs on beside the others.
    pub sidecar: bool,
}

/// What `spec.resources` says (beta in 1.34, general in 1.37).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodLevel {
    /// Nothing at all, or the kubelet is older: the containers count.
    #[default]
    Unset,
    /// Something of processors, memory or huge pages, a limit perhaps, and no request of memory: that request is nothing.
    WithoutRequest,
    /// This request.
    Request(Nanobytes),
}

impl Requests<'_> {
    /// The request that the ranking compares with.
    pub fn total(&self) -> Nanobytes {
        let total = match self.pod_level {
            PodLevel::Request(request) => request,
            PodLevel::WithoutRequest => Nanobytes::default(),
            PodLevel::Unset => self.of_containers(),
        };
        if total == Nanobytes::default() {
            return total;
        }
        sum(total, self.overhead)
    }

    fn of_containers(&self) -> Nanobytes {
        let mut running = self.containers.iter().copied().fold(Nanobytes::default(), sum);
        // The most that any moment of the start needs: an init container with the sidecars that stand before it.
        let (mut sidecars, mut starting) = (Nanobytes::default(), Nanobytes::default());
        for init in self.init {
            if init.sidecar {
                running = sum(running, init.request);
                sidecars = sum(sidecars, init.request);
                starting = starting.max(sidecars);
            } else {
                starting = starting.max(sum(init.request, sidecars));
            }
        }
        running.max(starting)
    }
}

fn sum(left: Nanobytes, right: Nanobytes) -> Nanobytes {
    Nanobytes(left.0.saturating_add(right.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn mebi(count: u64) -> Nanobytes {
        Bytes::mebi(count).into()
    }

    #[test]
    fn an_init_container_counts_where_it_needs_more_than_all_that_run() {
        let init = |request, sidecar| InitRequest {
            request: mebi(request),
            sidecar,
        };
        let requests = Requests {
            containers: &[mebi(100), mebi(50)],
            init: &[init(30, true), init(200, false), init(10, true)],
            ..Requests::default()
        };
        // Running: 100 + 50 + 30 + 10 = 190; starting: 200 with the sidecar before it = 230.
        assert_eq!(requests.total(), mebi(230));
        let smaller = Requests {
            init: &[init(30, true), init(90, false), init(10, true)],
            ..requests
        };
        assert_eq!(smaller.total(), mebi(190));
    }

    #[test]
    fn the_pods_own_level_counts_alone_and_overhead_is_never_the_whole() {
        let requests = Requests {
            containers: &[mebi(100)],
            overhead: mebi(20),
            ..Requests::default()
        };
        assert_eq!(requests.total(), mebi(120));
        let at = |pod_level| {
            Requests {
                pod_level,
                ..requests
            }
            .total()
        };
        assert_eq!(at(PodLevel::Request(mebi(64))), mebi(84));
        assert_eq!(at(PodLevel::WithoutRequest), mebi(0));
    }
}
