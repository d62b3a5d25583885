//! What a pod asks for: at its own level (`spec.resources`, since Kubernetes 1.34) where it says anything there, else by its
//! containers. Its class, what scheduler and eviction count, and each container's `oom_score_adj` follow from it.
//!
//! Memory alone stands for all resources here. It refuses to speak of what the kubelet writes by a container's own figures
//! whatever its pod says: `memory.high`, a container's `memory.min` and its share of swap.

use forestall_decide::{Bytes, Limit, Qos};

use crate::spec::{ContainerSpec, PodSpec};

/// Of the priority class system-node-critical.
const NODE_CRITICAL: i32 = 2_000_001_000;

impl PodSpec {
    /// What its containers request together.
    pub(crate) fn requested_by_containers(&self) -> Bytes {
        self.containers.iter().map(|container| container.request).sum()
    }

    /// Its own level's request; `None` where it says nothing there. With a limit alone the API server fills it in: what its
    /// containers request, or that limit where they request nothing (k/k `pkg/apis/core/v1/defaults.go`, `defaultPodRequests`).
    fn own_request(&self) -> Option<Bytes> {
        let filled_in = |limit| match self.requested_by_containers() {
            Bytes::ZERO => limit,
            request => request,
        };
        self.request.or_else(|| self.limit.bytes().map(filled_in))
    }

    /// What the scheduler, the kubelet's eviction and the levels' cgroups count (`k8s.io/component-helpers/resource`,
    /// `PodRequests`).
    pub(crate) fn requested(&self) -> Bytes {
        self.own_request()
            .unwrap_or_else(|| self.requested_by_containers())
    }

    /// What the scheduler counts when it compares nodes: whoever asks for nothing takes some room all the same, or all of them would go where the first one is
    /// (k/k `pkg/scheduler/util/pod_resources.go`, `DefaultMemoryRequest`).
    pub(crate) fn scored(&self) -> Bytes {
        const UNASKED: Bytes = Bytes::mebi(200);
        let filled_in = |container: &ContainerSpec| match container.request {
            Bytes::ZERO => UNASKED,
            request => request,
        };
        self.own_request()
            .unwrap_or_else(|| self.containers.iter().map(filled_in).sum())
    }

    /// `memory.max` of one of its containers: without a limit of its own the pod's stands there as well (k/k
    /// `pkg/kubelet/kuberuntime`, `getMemoryLimit`). It is met at the pod first, which has the pause process beside it.
    pub(crate) const fn limit_written(&self, own: Limit) -> Limit {
        match own {
            Limit::Max => self.limit,
            Limit::Bytes(_) => own,
        }
    }
}

/// The QoS class of a pod (k/k `pkg/apis/core/v1/helper/qos`, `ComputePodQOS`): by its own level alone, if it has one.
pub(crate) fn qos(spec: &PodSpec) -> Qos {
    let of = |container: &ContainerSpec| (container.request, container.limit);
    let asked: Vec<(Bytes, Limit)> = match spec.own_request() {
        Some(request) => vec![(request, spec.limit)],
        None => spec.containers.iter().map(of).collect(),
    };
    if asked.iter().all(|one| *one == (Bytes::ZERO, Limit::Max)) {
        Qos::BestEffort
    } else if asked
        .iter()
        .all(|(request, limit)| *limit == Limit::Bytes(*request))
    {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// `oom_score_adj` of a pod's container that requests so much (k/k `pkg/kubelet/qos/policy.go`, `GetContainerOOMScoreAdjust`):
/// what its pod requests beyond all containers counts for each of them alike.
pub(crate) fn oom_score_adj(spec: &PodSpec, request: Bytes, capacity: Bytes) -> i32 {
    if spec.priority >= NODE_CRITICAL {
        return -997;
    }
    match qos(spec) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let beyond = spec.requested() - spec.requested_by_containers();
            let containers = u64::try_from(spec.containers.len().max(1)).unwrap_or(u64::MAX);
            let counted = request + Bytes(beyond.0 / containers);
            let share = i32::try_from(counted.permille_of(capacity)).unwrap_or(1000);
            (1000 - share).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forestall_decide::{GroupKind, GroupSample, Moment, Sample};

    const NODE: Bytes = Bytes::mebi(1000);

    fn mebi(limit: u64) -> Limit {
        Limit::Bytes(Bytes::mebi(limit))
    }

    /// A pod of two containers, each with its request and limit in mebibytes; 0 is none.
    fn pod(containers: [(u64, u64); 2]) -> PodSpec {
        let container = |(request, limit)| ContainerSpec {
            request: Bytes::mebi(request),
            limit: if limit == 0 { Limit::Max } else { mebi(limit) },
            ..ContainerSpec::plain("app")
        };
        PodSpec::plain("p", containers.map(container).into())
    }

    /// Its class, its request in mebibytes and the scores of both containers.
    fn judged(spec: &PodSpec) -> (Qos, u64, [i32; 2]) {
        let score = |at: usize| oom_score_adj(spec, spec.containers[at].request, NODE);
        (qos(spec), spec.requested().0 >> 20, [score(0), score(1)])
    }

    #[test]
    fn who_asks_for_nothing_is_scored_as_two_hundred_mebibytes_a_container() {
        let scored = |spec: &PodSpec| spec.scored().0 >> 20;
        assert_eq!(scored(&pod([(0, 0), (0, 0)])), 400);
        assert_eq!(scored(&pod([(250, 0), (0, 0)])), 450);
        assert_eq!(scored(&pod([(1, 0), (9, 0)])), 10);
        // What is asked for at the pod's own level stands for all of its containers.
        let mut levelled = pod([(0, 0), (0, 0)]);
        levelled.request = Some(Bytes::mebi(64));
        assert_eq!(scored(&levelled), 64);
    }

    #[test]
    fn without_a_level_of_its_own_containers_decide() {
        let cases = [
            ([(0, 0), (0, 0)], (Qos::BestEffort, 0, [1000, 1000])),
            ([(250, 0), (0, 0)], (Qos::Burstable, 250, [750, 999])),
            ([(1, 0), (999, 0)], (Qos::Burstable, 1000, [999, 3])),
            ([(250, 250), (0, 0)], (Qos::Burstable, 250, [750, 999])),
            ([(250, 250), (50, 50)], (Qos::Guaranteed, 300, [-997, -997])),
        ];
        for (containers, expected) in cases {
            assert_eq!(judged(&pod(containers)), expected, "{containers:?}");
        }
        let critical = PodSpec {
            priority: NODE_CRITICAL,
            ..pod([(0, 0), (0, 0)])
        };
        assert_eq!(judged(&critical), (Qos::BestEffort, 0, [-997, -997]));
    }

    // KEP-2837, "OOM Score Adjustment": 1000 − 1000 × (the container's request + (the pod's − all containers') / how many) / capacity.
    #[test]
    fn a_pods_own_level_decides_alone_and_what_it_requests_beyond_its_containers_is_shared() {
        let own = |request: Option<u64>, limit, containers| PodSpec {
            request: request.map(Bytes::mebi),
            limit,
            ..pod(containers)
        };
        let cases = [
            // (400 − 100) / 2 each: 100 + 150 and 150 of 1000.
            (
                own(Some(400), Limit::Max, [(100, 0), (0, 0)]),
                (Qos::Burstable, 400, [750, 850]),
            ),
            (
                own(Some(400), mebi(600), [(0, 0), (0, 0)]),
                (Qos::Burstable, 400, [800, 800]),
            ),
            // Equal containers make it nothing, and unequal ones neither.
            (
                own(Some(400), Limit::Max, [(200, 200), (200, 200)]),
                (Qos::Burstable, 400, [800, 800]),
            ),
            (
                own(Some(400), mebi(400), [(100, 200), (0, 0)]),
                (Qos::Guaranteed, 400, [-997, -997]),
            ),
            // A limit alone is the request where no container has one, …
            (
                own(None, mebi(400), [(0, 0), (0, 0)]),
                (Qos::Guaranteed, 400, [-997, -997]),
            ),
            // … and else theirs are: nothing is left to be shared.
            (
                own(None, mebi(400), [(100, 0), (0, 0)]),
                (Qos::Burstable, 100, [900, 999]),
            ),
            (
                own(None, mebi(400), [(300, 0), (100, 0)]),
                (Qos::Guaranteed, 400, [-997, -997]),
            ),
            // A request of nothing is no request.
            (
                own(Some(0), Limit::Max, [(0, 0), (0, 0)]),
                (Qos::BestEffort, 0, [1000, 1000]),
            ),
            (
                own(Some(0), mebi(400), [(0, 0), (0, 0)]),
                (Qos::Burstable, 0, [999, 999]),
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(judged(&spec), expected, "{spec:?}");
        }
    }

    #[test]
    fn the_agent_is_told_what_a_pod_asks_for_itself_and_sees_what_the_kubelet_writes_for_it() {
        let scenario = crate::parse_scenario(
            "title: own\nduration: 1m\npolicy: {}\nnodes: [{ name: a, memory: 1Gi, kubelet: { memoryReservationPolicy: TieredReservation } }]\n\
             pods: [{ name: shop, node: 0, limit: 512Mi, containers: [{ name: app, base: 9Mi }, { name: proxy, base: 9Mi }] }]\n",
        )
        .expect("fine");
        let mut running =
            crate::Running::start(&scenario.world, crate::Options::default()).expect("a sound world");
        while running.now() < Moment(1_000_000) {
            running.go_on(&mut |_| ());
        }
        let (node, now) = (&running.nodes[0], Moment(59_000_000));
        let told = &node.agent.as_ref().expect("an agent").pods.list;
        let told: Vec<_> = told.iter().map(|pod| (pod.qos, pod.request)).collect();
        assert_eq!(told, [(Qos::Guaranteed, Bytes::mebi(512))]);
        let mut sample = Sample::default();
        node.fill_sample(&mut sample, now, now);
        // k/k cm/helpers_linux.go, ResourceConfigForPod: the pod's request is its memory.min; its containers request nothing.
        let written = |group: &GroupSample| (group.kind, group.limit, group.min);
        let seen: Vec<_> = sample.groups.iter().skip(1).map(written).collect();
        let container = (GroupKind::Container(Qos::Guaranteed), mebi(512), Bytes::ZERO);
        let pod = (GroupKind::Pod(Qos::Guaranteed), mebi(512), Bytes::mebi(512));
        assert_eq!(seen, [pod, container, container]);
    }

    #[test]
    fn a_container_without_a_limit_has_its_pods_written_down() {
        let spec = PodSpec {
            limit: mebi(400),
            ..pod([(0, 0), (0, 200)])
        };
        let written = |at: usize| spec.limit_written(spec.containers[at].limit);
        assert_eq!((written(0), written(1)), (mebi(400), mebi(200)));
        assert_eq!(pod([(0, 0), (0, 0)]).limit_written(Limit::Max), Limit::Max);
    }
}
