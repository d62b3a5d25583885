//! Swap: anonymous memory that reclaim writes out where no page cache is left, what may go there, and what that costs.
//!
//! Who may swap is what the kubelet writes as `memory.swap.max` (KEP-2400): nobody in a pod under `NoSwap`, burstable containers their
//! share under `LimitedSwap`. What lies in swap is read back as soon as there is room for it, and until then its holder waits for it:
//! of what it holds it touches everything evenly, so that a part in swap costs it the same part of its pace. That is a rule of thumb,
//! between a leak, which never looks back, and a heap that is walked all the time. It refuses to swap shared memory and
//! while there is page cache to take; a kernel does both a little.

use forestall_decide::kubelet::SwapBehavior;
use forestall_decide::{Bytes, Limit, Moment, Qos, Span};

use crate::cast::{Container, State};
use crate::effect::Effect;
use crate::keep::Hold;
use crate::kernel::Scope;
use crate::memory::Part;
use crate::node::{HOST, Node};
use crate::reclaim::kept_of;
use crate::spec::{ContainerSpec, NodeSpec};

/// So little is not worth a look: what the kernel finds last is in use.
const LEAST: Bytes = Bytes::mebi(1);
/// A second's reading back, from a disk of the slower kind.
const BACK_A_SECOND: Bytes = Bytes::mebi(100);
/// From one look for room to the next.
const BACK_EVERY: Span = Span::secs(1);

impl NodeSpec {
    /// `memory.swap.max` of a pod's container (k/k `pkg/kubelet/kuberuntime`, `configureContainerSwapResources`): under
    /// `LimitedSwap` the share of all swap that its request is of all memory, for burstable pods that are not critical and
    /// containers that request something other than their limit; else nothing. No limit is written where there is no swap.
    pub(crate) fn swap_limit(&self, container: &ContainerSpec, qos: Qos, critical: bool) -> Limit {
        if self.swap == Bytes::ZERO {
            return Limit::Max;
        }
        let limited = self.kubelet.as_ref().map(|kubelet| kubelet.swap);
        let request = container.request;
        let share = match limited {
            None => return Limit::Max,
            Some(SwapBehavior::LimitedSwap)
                if qos == Qos::Burstable && !critical && container.limit != Limit::Bytes(request) =>
            {
                u128::from(self.swap.0) * u128::from(request.0) / u128::from(self.memory.0.max(1))
            }
            Some(_) => 0,
        };
        Limit::Bytes(Bytes(u64::try_from(share).unwrap_or(u64::MAX)))
    }
}

impl Container {
    /// All that it holds is in its lines, for whoever changes them.
    pub(crate) fn bring_back(&mut self) {
        if self.swapped > Bytes::ZERO {
            self.memory.put(Part::Anon, self.swapped);
        }
    }

    /// What lies in swap is out of its lines again; what it gave up meanwhile is not there either.
    pub(crate) fn put_away(&mut self) {
        if self.swapped > Bytes::ZERO {
            self.swapped = self.memory.take(Part::Anon, self.swapped);
        }
    }

    /// How much of its anonymous memory lies in swap, permille.
    pub(crate) fn swapped_permille(&self, now: Moment) -> u64 {
        let resident = self.memory.bytes(Part::Anon, now);
        self.swapped.permille_of(resident + self.swapped)
    }
}

impl Node {
    /// How much reclaim in this scope could still write out.
    pub(crate) fn swappable(&self, scope: Scope, now: Moment) -> Bytes {
        let free = self.spec.swap - self.kernel.swapped;
        if free == Bytes::ZERO {
            return Bytes::ZERO;
        }
        let kept = self.kept(scope, Hold::Min, now);
        let places = self.places(scope).into_iter();
        let all: Bytes = places
            .map(|(at, index)| self.movable(at, index, kept_of(&kept, at, index), now))
            .sum();
        all.min(free)
    }

    /// What may be written out of one container.
    fn movable(&self, at: usize, index: usize, kept: Bytes, now: Moment) -> Bytes {
        let container = &self.pods[at].containers[index];
        // Who was killed is written out as anybody, until it is gone.
        if !matches!(container.state, State::Running | State::Ending) {
            return Bytes::ZERO;
        }
        let allowance = match container.swap_limit {
            Limit::Max => self.spec.swap,
            Limit::Bytes(limit) => limit - container.swapped,
        };
        let beyond = container.memory.sum(&Part::ALL, now) - kept;
        container.memory.bytes(Part::Anon, now).min(allowance).min(beyond)
    }

    /// Writes out as much, from each by its share; false where there is nothing to speak of.
    pub(crate) fn swap_out(&mut self, scope: Scope, batch: Bytes, now: Moment) -> bool {
        let there = self.swappable(scope, now);
        if there < LEAST {
            return false;
        }
        let want = batch.max(LEAST).min(there);
        let kept = self.kept(scope, Hold::Min, now);
        let movable = |node: &Self, (at, index): (usize, usize)| {
            node.movable(at, index, kept_of(&kept, at, index), now)
        };
        let places = self.places(scope);
        let all: Bytes = places.iter().map(|place| movable(self, *place)).sum();
        let mut moved = Bytes::ZERO;
        for place in places {
            let own = movable(self, place);
            let share = u128::from(want.0) * u128::from(own.0) / u128::from(all.0.max(1));
            let share = Bytes(u64::try_from(share).unwrap_or(u64::MAX)) + Bytes(1);
            let bytes = share.min(own).min(want - moved);
            if bytes > Bytes::ZERO {
                self.change(place.0, place.1, now, |container| container.swapped += bytes);
                moved += bytes;
            }
        }
        self.kernel.stall_for_swap(moved);
        self.look_for_room(now);
        true
    }

    fn look_for_room(&mut self, now: Moment) {
        if !self.kernel.swap_returns && self.kernel.swapped > Bytes::ZERO {
            self.kernel.swap_returns = true;
            self.effects.push(now + BACK_EVERY, Effect::SwapIn);
        }
    }

    /// What there is room for comes back, in the order of the node's pods.
    pub(crate) fn swap_in(&mut self, now: Moment) {
        self.kernel.swap_returns = false;
        let mut budget = BACK_A_SECOND;
        for (at, index) in self.places(Scope::Machine) {
            let container = &self.pods[at].containers[index];
            if container.swapped > Bytes::ZERO && container.state == State::Running {
                let bytes = container.swapped.min(budget).min(self.room_for(at, index, now));
                if bytes >= LEAST || bytes == container.swapped {
                    self.change(at, index, now, |container| {
                        // It is in its lines as long as they are changed.
                        container.swapped = container.swapped - bytes;
                    });
                    budget = budget - bytes;
                }
            }
        }
        self.look_for_room(now);
    }

    /// What one container may take back without being written out again at once: two batches of each limit stay free.
    fn room_for(&self, at: usize, index: usize, now: Moment) -> Bytes {
        let spare = |limit: Bytes, held: Bytes, batch: u64| limit - held - Bytes(limit.0 / batch * 2);
        let pod = &self.pods[at];
        let container = &pod.containers[index];
        let mut room = self.machine_spare(now);
        let mut narrow = |limit: Option<Bytes>, held: &dyn Fn() -> Bytes, batch| {
            if let Some(limit) = limit {
                room = room.min(spare(limit, held(), batch));
            }
        };
        narrow(
            container.limit.bytes(),
            &|| container.memory.sum(&Part::ALL, now),
            16,
        );
        if at != HOST {
            narrow(pod.spec.limit.bytes(), &|| pod.used(&Part::ALL, now), 16);
            narrow(
                self.level_limit(pod.qos),
                &|| self.level_line(pod.qos, &Part::ALL, now).bytes(now),
                256,
            );
            narrow(
                self.kubepods_limit(),
                &|| self.pods_sum.line(&Part::ALL).bytes(now),
                256,
            );
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forestall_decide::kubelet::KubeletConfig;

    #[test]
    fn who_was_killed_is_written_out_as_anybody_until_its_memory_is_back() {
        let scenario = crate::parse_scenario(
            "title: victim\nduration: 5m\nnodes: [{ name: a, memory: 1Gi, kubernetes: false, swap: 512Mi }]\npods:\n  - { name: victim, node: 0, containers: [{ name: app, base: 400Mi }] }\n",
        )
        .expect("fine");
        let mut running =
            crate::Running::start(&scenario.world, crate::Options::default()).expect("a sound world");
        while running.now() < Moment(1_000_000) {
            running.go_on(&mut |_| ());
        }
        let (node, now) = (&mut running.nodes[0], Moment(301_000_000));
        assert_eq!(node.swappable(Scope::Machine, now), Bytes::mebi(400));
        node.pods[1].containers[0].state = State::Ending;
        assert_eq!(node.swappable(Scope::Machine, now), Bytes::mebi(400));
        assert!(node.swap_out(Scope::Machine, Bytes::mebi(100), now));
        assert_eq!(node.kernel.swapped, Bytes::mebi(100));
        // Of who is gone nothing is left to write out.
        node.end_container(1, 0, now);
        assert_eq!(
            (node.swappable(Scope::Machine, now), node.kernel.swapped),
            (Bytes::ZERO, Bytes::ZERO)
        );
    }

    // The first three are the kubelet's own cases (k/k `TestCalcSwapForBurstablePods`).
    #[test]
    fn a_burstable_container_gets_the_share_of_swap_that_it_requests_of_memory() {
        let gibi = |units: u64| Bytes(units << 30);
        let node = |memory, swap| NodeSpec {
            swap,
            kubelet: Some(KubeletConfig {
                swap: SwapBehavior::LimitedSwap,
                ..KubeletConfig::default()
            }),
            ..NodeSpec::plain("a", memory)
        };
        let asking = |request| ContainerSpec {
            request,
            ..ContainerSpec::plain("app")
        };
        for (request, memory, swap, expected) in [
            (1, 80, 4, 53_687_091),
            (2, 40, 2, 107_374_182),
            (5, 150, 40, 1_431_655_765),
            (0, 150, 40, 0),
        ] {
            let limit =
                node(gibi(memory), gibi(swap)).swap_limit(&asking(gibi(request)), Qos::Burstable, false);
            assert_eq!(limit, Limit::Bytes(Bytes(expected)));
        }
        let node = node(gibi(4), gibi(2));
        let none = Limit::Bytes(Bytes::ZERO);
        let app = asking(gibi(1));
        assert_eq!(node.swap_limit(&app, Qos::Burstable, true), none);
        assert_eq!(node.swap_limit(&app, Qos::Guaranteed, false), none);
        assert_eq!(node.swap_limit(&app, Qos::BestEffort, false), none);
        let even = ContainerSpec {
            limit: Limit::Bytes(gibi(1)),
            ..app.clone()
        };
        assert_eq!(node.swap_limit(&even, Qos::Burstable, false), none);
        let never = NodeSpec {
            kubelet: Some(KubeletConfig::default()),
            ..node.clone()
        };
        assert_eq!(never.swap_limit(&app, Qos::Burstable, false), none);
        let bare = NodeSpec {
            kubelet: None,
            ..node
        };
        assert_eq!(bare.swap_limit(&app, Qos::Burstable, false), Limit::Max);
    }
}
