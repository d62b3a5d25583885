//! Who is certain to keep to itself: a node that nobody leaves for a while, and whose room for others stays as it is.
//!
//! Memory has no surprises where every load has a peak: if all of a node's peaks together stay clear of every threshold of
//! its kubelet and every wall of its kernel, nobody is evicted and pressure stays off, whatever happens below that. An agent
//! that does nothing but reclaim and kill changes nothing about it. It refuses to be clever: where any of this may fail,
//! the node is restless, and is only ever slower for it.

use forestall_decide::kubelet::Signal;
use forestall_decide::{Bytes, Moment, Rung, Span};

use crate::cast::Pod;
use crate::effect::Effect;
use crate::kubelet::Kubelet;
use crate::levels::LEVELS;
use crate::memory::Part;
use crate::node::{HOST, Node};
use crate::spec::Accounting;

/// Rungs by which a pod leaves, by which nobody may be left, and whose end lets old slopes go on.
const UNSETTLING: [Rung; 3] = [Rung::Evict, Rung::Sysrq, Rung::Brake];

impl Node {
    /// From `now` until `until` nobody leaves this node, and what it has room for, its pressure included, does not change;
    /// as long as nobody is sent here.
    pub(crate) fn keeps_to_itself(&self, now: Moment, until: Moment) -> bool {
        if self.lost {
            return true;
        }
        let settled = !self.effects.list().iter().any(|(at, effect)| {
            *at < until
                && !matches!(
                    effect,
                    Effect::Restart { .. }
                        | Effect::KillContainer { .. }
                        | Effect::ContainerEnds { .. }
                        | Effect::Reclaim { .. }
                        | Effect::Grow { .. }
                        | Effect::Answer(_)
                )
        });
        // What one process of several held is filled again faster than its load's peak allows for.
        settled
            && !self.spec.kills_one_process
            && self.pods.iter().all(|pod| pod.terminating.is_none())
            && self
                .agent
                .as_ref()
                .is_none_or(|agent| !UNSETTLING.iter().any(|rung| agent.may(*rung)))
            && self.kubelet.as_ref().is_none_or(Kubelet::is_calm)
            && self.stays_clear(now, until.since(now))
    }

    /// All peaks together stay clear of everything that kills or evicts.
    fn stays_clear(&self, now: Moment, over: Span) -> bool {
        let mut pods = Bytes::ZERO;
        let mut levels = LEVELS.map(|level| (level, Bytes::ZERO));
        for pod in self.pods.iter().skip(HOST + 1) {
            let Some(peak) = peak_of_pod(pod, now, over) else {
                return false;
            };
            pods += peak;
            for (level, sum) in &mut levels {
                *sum += if pod.qos == *level { peak } else { Bytes::ZERO };
            }
        }
        let Some(host) = self.pods.first().and_then(|host| peak_of_pod(host, now, over)) else {
            return false;
        };
        let all = pods + host;
        let room = self.spec.memory - self.spec.set_aside() - self.kernel.watermark_low;
        all < room
            && self.kubepods_limit().is_none_or(|limit| pods < limit)
            && levels
                .iter()
                .all(|(level, sum)| self.level_limit(*level).is_none_or(|limit| *sum < limit))
            && self.kubelet.as_ref().is_none_or(|kubelet| {
                kubelet.config.thresholds.iter().all(|threshold| {
                    let (used, size) = match threshold.signal {
                        Signal::AllocatableMemoryAvailable => (pods, kubelet.config.kubepods_limit()),
                        Signal::MemoryAvailable => (self.counted(all), kubelet.config.capacity),
                    };
                    threshold.value == Bytes::ZERO || used + threshold.value <= size
                })
            })
    }

    /// The most that the kubelet counts of the machine where so much is held.
    fn counted(&self, all: Bytes) -> Bytes {
        match self.spec.accounting {
            Accounting::Kubelet => all,
            Accounting::CachePermille(permille) => all.max(all.permille(permille)),
        }
    }
}

/// The most that a pod holds; `None` where it may come to a limit of its own at which there may be nobody to kill.
fn peak_of_pod(pod: &Pod, now: Moment, over: Span) -> Option<Bytes> {
    let mut sum = Bytes::ZERO;
    for (index, container) in pod.containers.iter().enumerate() {
        let peak = peak_of(pod, index, now, over, pod.containers.len());
        let killable = container.oom_score_adj > -1000;
        if !killable && container.limit.bytes().is_some_and(|limit| peak >= limit) {
            return None;
        }
        sum += peak;
    }
    let full = pod.spec.limit.bytes().is_some_and(|limit| sum >= limit);
    (!full).then_some(sum)
}

/// The most that a container holds, what its leaders hand down included. `depth` bounds a circle, which no sound world has.
fn peak_of(pod: &Pod, index: usize, now: Moment, over: Span, depth: usize) -> Bytes {
    let Some(container) = pod.containers.get(index) else {
        return Bytes::ZERO;
    };
    let held = container.memory.sum(&Part::ALL, now);
    let kept = container.memory.bytes(Part::Shmem, now);
    let own = container.running.peak(held, kept, over);
    match container.follows {
        Some((of, permille)) if depth > 0 => own + peak_of(pod, of, now, over, depth - 1).permille(permille),
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::fleet;
    use crate::world::{Options, Running};
    use forestall_decide::{Mode, Policy};

    const MINUTE: Moment = Moment(60_000_000);

    /// A node of the fleet a minute after all its pods came.
    fn running(policy: Policy) -> Running {
        let mut world = fleet(1, 1, Span::secs(3600), Some(policy));
        for pod in &mut world.pods {
            pod.spread = Span(0);
        }
        let mut running = Running::start(&world, Options::default()).expect("a sound world");
        while running.now() < MINUTE {
            running.go_on(&mut |_| ());
        }
        running
    }

    fn is_calm(node: &Node) -> bool {
        node.keeps_to_itself(MINUTE, MINUTE + Span::secs(600))
    }

    #[test]
    fn a_node_with_room_for_all_peaks_is_calm_until_its_threshold_comes_between() {
        let mut running = running(Policy::default());
        let node = &mut running.nodes[0];
        assert!(is_calm(node));
        let held = node.held(&Part::ALL, MINUTE);
        let Some(kubelet) = &mut node.kubelet else {
            panic!("it has a kubelet");
        };
        // 60 GiB for pods, and not a tenth more than what they hold above the threshold.
        kubelet.config.thresholds[1].value = Bytes::mebi(60 << 10) - held - Bytes(held.0 / 10);
        assert!(!is_calm(node));
    }

    #[test]
    fn an_agent_that_may_evict_makes_no_promises_and_one_that_only_says_so_does() {
        for (mode, calm) in [(Mode::Shadow, true), (Mode::Enforce, false)] {
            let policy = Policy {
                mode,
                rungs: Policy::default().rungs.with(Rung::Evict, true),
                ..Policy::default()
            };
            assert_eq!(is_calm(&running(policy).nodes[0]), calm, "{mode:?}");
        }
    }

    #[test]
    fn who_is_on_his_way_out_or_in_makes_a_node_restless() {
        let mut running = running(Policy::default());
        let node = &mut running.nodes[0];
        node.terminate_pod(1, Span::secs(30), MINUTE);
        assert!(!is_calm(node));
        node.pods[1].terminating = None;
        assert!(!is_calm(node), "its end is under way");
    }

    #[test]
    fn a_follower_has_its_share_of_what_its_leader_may_hold() {
        let mut running = running(Policy::default());
        let node = &mut running.nodes[0];
        let before = peak_of_pod(&node.pods[1], MINUTE, Span::secs(60)).expect("no limit of its own");
        let mut follower = node.pods[1].containers[0].clone();
        follower.follows = Some((0, 500));
        node.pods[1].containers.push(follower);
        let both = peak_of_pod(&node.pods[1], MINUTE, Span::secs(60)).expect("no limit of its own");
        assert_eq!(both, before + before + before.permille(500));
    }
}
