//! What `memory.min` and `memory.low` keep from reclaim, where the kubelet sets them (`memoryReservationPolicy:
//! TieredReservation`, KEP-2570): requests of guaranteed pods for certain, those of burstable ones as long as there is anything else.
//!
//! They hold against reclaim from above and not at a limit of one's own. Every cgroup on the way has the sum of those below it; what
//! a sibling does not use of its part goes to the others by what they hold beyond theirs (mm/memcontrol.c, `effective_protection`
//! with `memory_recursiveprot`, as systemd mounts cgroups). It refuses to keep what is not page cache or swappable: nothing else
//! is ever taken. Where the policy is not set nothing is reckoned.

use forestall_decide::{Bytes, Moment, Qos};

use crate::cast::Pod;
use crate::kernel::Scope;
use crate::memory::Part;
use crate::node::{HOST, Node};

/// How firmly something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// `memory.low`: while there is something else to take.
    Low,
    /// `memory.min`: always.
    Min,
}

impl Hold {
    /// Whose requests are kept so.
    const fn class(self) -> Qos {
        match self {
            Self::Low => Qos::Burstable,
            Self::Min => Qos::Guaranteed,
        }
    }
}

/// A cgroup as those right below it share what it keeps.
#[derive(Clone, Copy, Debug, Default)]
struct Above {
    keeps: Bytes,
    usage: Bytes,
    /// What those below have set and use of it, together.
    claimed: Bytes,
}

impl Above {
    fn new(keeps: Bytes, below: impl Iterator<Item = (Bytes, Bytes)>) -> Self {
        let nothing = Self {
            keeps,
            ..Self::default()
        };
        below.fold(nothing, |sum, (setting, usage)| Self {
            usage: sum.usage + usage,
            claimed: sum.claimed + setting.min(usage),
            ..sum
        })
    }

    /// What one of those below keeps.
    fn share(&self, setting: Bytes, usage: Bytes) -> Bytes {
        let own = setting.min(usage);
        if self.claimed > self.keeps {
            return part(own, self.keeps, self.claimed);
        }
        own + part(self.keeps - self.claimed, usage - own, self.usage - self.claimed)
    }
}

/// `bytes` × `times` / `over`, rounded down.
fn part(bytes: Bytes, times: Bytes, over: Bytes) -> Bytes {
    let wide = u128::from(bytes.0) * u128::from(times.0) / u128::from(over.0.max(1));
    Bytes(u64::try_from(wide).unwrap_or(u64::MAX))
}

fn setting_of(pod: &Pod, hold: Hold) -> Bytes {
    if pod.qos == hold.class() {
        pod.request
    } else {
        Bytes::ZERO
    }
}

impl Node {
    /// What is kept on this node at the most, whatever happens.
    pub(crate) fn kept_at_most(&self) -> Bytes {
        if self.spec.reserves_requests {
            self.kept_by_pods(Hold::Min)
        } else {
            Bytes::ZERO
        }
    }

    fn kept_by_pods(&self, hold: Hold) -> Bytes {
        let pods = self.pods.iter().skip(HOST + 1);
        pods.map(|pod| setting_of(pod, hold)).sum()
    }

    /// `memory.min` of a pod, and of one of its containers.
    pub(crate) fn pod_min(&self, pod: &Pod) -> Bytes {
        if self.spec.reserves_requests {
            setting_of(pod, Hold::Min)
        } else {
            Bytes::ZERO
        }
    }

    pub(crate) fn container_min(&self, pod: &Pod, index: usize) -> Bytes {
        self.pod_min(pod).min(request_of(pod, index))
    }

    /// What reclaim in this scope must leave of everybody in it, in the order of the node's pods and their containers. Empty where
    /// nothing is kept.
    pub(crate) fn kept(&self, scope: Scope, hold: Hold, now: Moment) -> Vec<Vec<Bytes>> {
        if !self.spec.reserves_requests || matches!(scope, Scope::Container(..)) {
            return Vec::new();
        }
        let used = |pod: &Pod| pod.used(&Part::ALL, now);
        let pods = || self.pods.iter().skip(HOST + 1);
        let one = |pod: &Pod| (setting_of(pod, hold), used(pod));
        let in_level = |level| pods().filter(move |pod| pod.qos == level);
        // The burstable level has the sum of its pods' settings, the best-effort one nothing.
        let level = |level| {
            Above::new(
                in_level(level).map(|pod| setting_of(pod, hold)).sum(),
                in_level(level).map(one),
            )
        };
        let levels = [Qos::Burstable, Qos::BestEffort].map(|qos| (qos, level(qos)));
        let tops = levels.iter().map(|(_, level)| (level.keeps, level.usage));
        let kubepods = Above::new(
            self.kept_by_pods(hold),
            in_level(Qos::Guaranteed).map(one).chain(tops),
        );
        let of_pod = |pod: &Pod| {
            let (setting, usage) = one(pod);
            let level = levels.iter().find(|(qos, _)| *qos == pod.qos);
            match (scope, level) {
                (Scope::Machine, None) => kubepods.share(setting, usage),
                (Scope::Machine, Some((_, level))) => Above {
                    keeps: kubepods.share(level.keeps, level.usage),
                    ..*level
                }
                .share(setting, usage),
                (Scope::Pods, Some((_, level))) => level.share(setting, usage),
                // Right below where reclaim begins everybody keeps its own setting.
                _ => setting,
            }
        };
        let of_containers = |(at, pod): (usize, &Pod)| {
            let containers = || {
                let usages = pod
                    .containers
                    .iter()
                    .map(|container| container.memory.sum(&Part::ALL, now));
                let own = move |index| {
                    if pod.qos == hold.class() {
                        request_of(pod, index)
                    } else {
                        Bytes::ZERO
                    }
                };
                usages.enumerate().map(move |(index, usage)| (own(index), usage))
            };
            if at == HOST {
                return Vec::new();
            }
            if let Scope::Pod(_) = scope {
                return containers().map(|(setting, _)| setting).collect();
            }
            let above = Above::new(of_pod(pod), containers());
            let share = |(setting, usage)| above.share(setting, usage);
            containers().map(share).collect()
        };
        self.pods.iter().enumerate().map(of_containers).collect()
    }
}

fn request_of(pod: &Pod, index: usize) -> Bytes {
    let container = pod.spec.containers.get(index);
    container.map(|container| container.request).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The kernel's own example of unclaimed protection (mm/memcontrol.c, above `effective_protection`): a parent keeps 4 of what
    // two children use, who claim 1 and 1 and hold 2 and 4 more; the other 2 go to them by 2 to 4.
    #[test]
    fn what_nobody_claims_goes_to_those_who_hold_more_by_what_they_hold() {
        let gibi = |units: u64| Bytes(units << 30);
        let below = [(gibi(1), gibi(3)), (gibi(1), gibi(5))];
        let above = Above::new(gibi(4), below.into_iter());
        assert_eq!(above.share(gibi(1), gibi(3)), gibi(1) + Bytes((2 << 30) / 3));
        assert_eq!(above.share(gibi(1), gibi(5)), gibi(1) + Bytes((4 << 30) / 3));
        // Who uses less than its part leaves it to the others; where more is claimed than is kept everybody has its share.
        let below = [(gibi(3), gibi(1)), (gibi(0), gibi(4))];
        let above = Above::new(gibi(3), below.into_iter());
        assert_eq!(above.share(gibi(0), gibi(4)), gibi(2));
        let below = [(gibi(4), gibi(4)), (gibi(2), gibi(2))];
        let above = Above::new(gibi(3), below.into_iter());
        assert_eq!(above.share(gibi(4), gibi(4)), gibi(2));
        assert_eq!(above.share(gibi(2), gibi(2)), gibi(1));
    }
}
