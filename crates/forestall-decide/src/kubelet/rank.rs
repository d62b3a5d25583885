//! The order in which the kubelet evicts for memory (`rankMemoryPressure`, k/k `pkg/kubelet/eviction/helpers.go`).
//!
//! Pods without statistics first, then those above their request, then lower priority, then the larger excess. Its sort is
//! not stable and starts from a map's order, so among equals anybody may be first: the answer is a set. It refuses to
//! break a tie.

use core::cmp::Reverse;

use super::quantity::Nanobytes;
use crate::pods::{Pod, PodUid};
use crate::units::{Bytes, Span};

/// One active pod as the ranking sees it. Terminating pods stay active until they are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub uid: PodUid,
    /// `spec.priority`; 0 where there is none.
    pub priority: i32,
    /// Its memory request (see [`super::Requests`]).
    pub request: Nanobytes,
    /// Its working set by the kubelet's latest sample; `None` where the kubelet has no statistics of it at all. Statistics
    /// without a memory figure count as nothing used.
    pub working_set: Option<Bytes>,
    /// It is static, a mirror or critical: ranked like any other, and passed over (`IsCriticalPod`).
    pub critical: bool,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace: Span,
}

/// Where a pod stands; the least is evicted first, and equals in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    class: Class,
    priority: i32,
    excess: Reverse<i128>,
}

/// The first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Unknown,
    AboveRequest,
    WithinRequest,
}

impl Standing {
    /// Where a pod of this priority stands that uses `working_set` against `request`.
    pub fn of(priority: i32, request: Nanobytes, working_set: Option<Bytes>) -> Self {
        // The kubelet holds the figure in 63 bits and a sign, so one of 2^63 and more is negative to it.
        let used = working_set.map(|bytes| i128::from(bytes.0.cast_signed()) * 1_000_000_000);
        let excess = used.map_or(0, |used| used.saturating_sub(request.0));
        let class = match used {
            None => Class::Unknown,
            Some(_) if excess > 0 => Class::AboveRequest,
            Some(_) => Class::WithinRequest,
        };
        Self {
            class,
            priority,
            excess: Reverse(excess),
        }
    }
}

impl Candidate {
    /// A pod with this working set in the kubelet's figures.
    pub fn of(pod: &Pod, working_set: Option<Bytes>) -> Self {
        Self {
            uid: pod.uid,
            priority: pod.priority,
            request: pod.request.into(),
            working_set,
            critical: pod.is_critical(),
            grace: pod.grace,
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        Standing::of(self.priority, self.request, self.working_set)
    }
}

/// Puts into `first` the indices of every pod that may be the first to be evicted: the least of those that are not
/// passed over. Allocates only to grow `first`.
pub fn first_victims(candidates: &[Candidate], first: &mut Vec<usize>) {
    first.clear();
    let mut least = None;
    for (index, candidate) in candidates.iter().enumerate() {
        if candidate.critical {
            continue;
        }
        let standing = candidate.standing();
        if least.is_none_or(|least| standing < least) {
            least = Some(standing);
            first.clear();
        }
        if least == Some(standing) {
            first.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn pod(uid: u128, priority: i32, request_mebi: u64, working_set_mebi: Option<u64>) -> Candidate {
        Candidate {
            uid: PodUid(uid),
            priority,
            request: Bytes::mebi(request_mebi).into(),
            working_set: working_set_mebi.map(Bytes::mebi),
            critical: false,
            grace: Span::secs(30),
        }
    }

    fn first(candidates: &[Candidate]) -> Vec<usize> {
        let mut first = Vec::new();
        first_victims(candidates, &mut first);
        first
    }

    #[test]
    fn a_pod_of_100_over_its_request_goes_before_one_of_2000_within_it() {
        assert_eq!(
            first(&[pod(1, 0, 4000, Some(2000)), pod(2, 0, 0, Some(100))]),
            [1]
        );
    }

    #[test]
    fn priority_counts_only_among_those_above_their_request() {
        let pods = [
            pod(1, 1000, 0, Some(1)),
            pod(2, -5, 100, Some(100)),
            pod(3, 900, 10, Some(12)),
        ];
        assert_eq!(first(&pods), [2]);
    }

    #[test]
    fn the_larger_excess_goes_first_and_equals_go_in_any_order() {
        let pods = [
            pod(1, 0, 50, Some(80)),
            pod(2, 0, 10, Some(60)),
            pod(3, 0, 0, Some(50)),
            pod(4, 0, 900, Some(930)),
        ];
        assert_eq!(first(&pods), [1, 2]);
    }

    #[test]
    fn who_has_no_statistics_goes_first_and_who_is_critical_is_passed_over() {
        let mut pods = [
            pod(1, 0, 0, Some(4000)),
            pod(2, 5, 100, None),
            pod(3, 2_000_001_000, 0, Some(5000)),
        ];
        pods[2].critical = true;
        assert_eq!(first(&pods), [1]);
        pods[1].critical = true;
        assert_eq!(first(&pods), [0]);
        pods[0].critical = true;
        assert_eq!(first(&pods), Vec::<usize>::new());
    }

    #[test]
    fn the_slow_experiment_names_the_pod_that_is_200_mebibytes_over() {
        // The eviction article: pods without requests at about 200 MiB beside one of 4.13 GiB.
        let pods = [
            pod(1, 0, 0, Some(200)),
            pod(2, 0, 0, Some(4229)),
            pod(3, 0, 70, Some(120)),
        ];
        assert_eq!(first(&pods), [1]);
        // A working set that is exactly the request is not above it.
        let even = Standing::of(0, Bytes(MIB).into(), Some(Bytes(MIB)));
        assert!(even > Standing::of(0, Bytes(MIB - 1).into(), Some(Bytes(MIB))));
    }
}
