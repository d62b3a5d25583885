//! Orders and looks as facts: beside what the engine says stands what the world knows to be true.
//!
//! Of Kubernetes it counts what the agent was told, since nobody can keep a rule about what he does not know. It refuses to
//! judge; checkers do.

use forestall_decide::kubelet::Signal;
use forestall_decide::{
    Action, Bytes, CRITICAL_PRIORITY, Elsewhere, Moment, Owner, Policy, Preset, Rung, Sample, Span, Target,
    WallKind, WhyNot,
};

use crate::cast::Pod;
use crate::event::{Aim, AimKind, Leaving, Look, Order, Passed, Victim, WallTruth};
use crate::kernel::Scope;
use crate::levels::LEVELS;
use crate::memory::Part;
use crate::node::{HOST, Node};
use crate::sample::{KUBEPODS, process_id};

/// Kubernetes' grace period where a pod names none.
const USUAL_GRACE: Span = Span::secs(30);

impl Node {
    pub(crate) fn look(&self, policy: &Policy, wake_in: Span, sample: &Sample, now: Moment) -> Look {
        let cost = sample.node.sample_processor.unwrap_or(sample.node.sample_cost);
        // A preset looks when its document says, and of what cannot be true, such as more held than there is, nothing is concluded.
        let own = policy.preset == Preset::Forestall && sample.node.impossible().is_none();
        let wall = |wall| self.truth(wall, now).filter(|_| own);
        Look {
            wake_in,
            fill_rate: policy.fill_rate.0,
            floor: policy.tick_min.max(cost.times(8)),
            walls: [wall(WallKind::Kernel), wall(WallKind::Kubepods)],
        }
    }

    fn truth(&self, wall: WallKind, now: Moment) -> Option<WallTruth> {
        match wall {
            WallKind::Kernel | WallKind::KubeletNode => {
                let size = self.spec.memory;
                let hard = self.held(&Part::HARD, now) + self.spec.set_aside();
                Some(WallTruth {
                    wall: WallKind::Kernel,
                    size,
                    left: (size - hard - self.kept_cache(Scope::Machine, now) - self.kernel.watermark_min)
                        + self.swappable(Scope::Machine, now),
                    held_back: self.held_back(now),
                })
            }
            WallKind::Kubepods | WallKind::KubeletAllocatable => {
                let size = self.kubepods_limit()?;
                let left =
                    size - self.pods_sum.line(&Part::HARD).bytes(now) - self.kept_cache(Scope::Pods, now);
                let left = left + self.swappable(Scope::Pods, now);
                Some(WallTruth {
                    wall: WallKind::Kubepods,
                    size,
                    left,
                    held_back: Bytes::ZERO,
                })
            }
            WallKind::Pod | WallKind::Container => None,
        }
    }

    /// The same where it is looked at for this wall's sake, which may be one of the kubelet's.
    fn truth_for(&self, wall: WallKind, now: Moment) -> Option<WallTruth> {
        let truth = self.truth(wall, now)?;
        let signal = match wall {
            WallKind::KubeletNode => Signal::MemoryAvailable,
            WallKind::KubeletAllocatable => Signal::AllocatableMemoryAvailable,
            _ => return Some(truth),
        };
        let thresholds = self.spec.kubelet.iter().flat_map(|kubelet| &kubelet.thresholds);
        let own = thresholds.filter(|threshold| threshold.signal == signal);
        let before = own.map(|threshold| threshold.value).max().unwrap_or_default();
        let left = self.signal_available(signal, now).unwrap_or_default() - before;
        Some(WallTruth {
            held_back: truth.held_back.max(truth.left - left),
            ..truth
        })
    }

    /// What is left before the kernel's wall says how far this one is. A kubelet counts no swap: where there is some to be had, its
    /// thresholds are met while the kernel's wall is as far as ever.
    fn is_told_of(&self, wall: WallKind) -> bool {
        let is_kubelets = matches!(wall, WallKind::KubeletNode | WallKind::KubeletAllocatable);
        !is_kubelets || self.spec.swap == Bytes::ZERO
    }

    pub(crate) fn order(
        &self,
        action: &Action,
        policy: &Policy,
        leak_is_near: bool,
        passed_over: Passed,
        now: Moment,
    ) -> Order {
        let reading = &action.evidence.reading;
        Order {
            id: action.id,
            rung: action.rung,
            wall: reading.wall,
            scope: reading.scope,
            runway: reading.runway.p50,
            // Of a QoS level's wall nothing is looked at beside: it is judged by what comes of it.
            truth: self
                .truth_for(reading.wall, now)
                .filter(|_| !crate::levels::is_one(reading.scope) && self.is_told_of(reading.wall)),
            bytes: action.bytes,
            room: self.room(now),
            coming: self.coming(action, now),
            beside: Bytes::ZERO,
            grower: self.grower(now),
            breaker: self.breaker(action.target, now),
            host_leaks_for: self.host_leaks_for(now),
            target: self.aim(action.target, policy, now).map(Box::new),
            grace: action.grace,
            deadline: action.deadline,
            escalate: action.escalate,
            mode: policy.mode,
            preset: policy.preset,
            rungs: policy.rungs,
            rule: action.evidence.rule,
            share_permille: reading
                .culprit
                .filter(|culprit| self.is_at(action.target, culprit.target))
                .map(|culprit| culprit.share_permille),
            leak_is_near,
            pods_known: self.agent_knows_pods(now) || !self.has_pods(),
            pods_age: self.told_at.map_or(Span::FOREVER, |told| now.since(told)),
            passed_over,
        }
    }

    /// The target is the culprit itself or, where it is evicted, the culprit's pod.
    fn is_at(&self, target: Target, culprit: Target) -> bool {
        let pod = |group| self.find(group).map(|(at, _)| Target::Group(self.pods[at].group));
        let of_pod = match culprit {
            Target::Group(group) => pod(group),
            Target::Process(_) | Target::Node => None,
        };
        target == culprit || of_pod == Some(target)
    }

    /// The least that is left before the walls at which the kernel kills across pods.
    fn room(&self, now: Moment) -> Bytes {
        let walls = [WallKind::Kernel, WallKind::Kubepods];
        let left = walls.into_iter().filter_map(|wall| self.truth(wall, now));
        let levels = LEVELS.into_iter().filter_map(|level| {
            let held = self.level_line(level, &Part::HARD, now).bytes(now);
            Some(self.level_limit(level)? - held)
        });
        let left = left.map(|truth| truth.left).chain(levels);
        left.min().unwrap_or_default()
    }

    /// What others hold whose eviction was decided together with this one's.
    pub(crate) fn beside(&self, action: &Action, all: &[Action], policy: &Policy, now: Moment) -> Bytes {
        let wall = |of: &Action| (of.rung, of.evidence.reading.wall, of.evidence.reading.scope);
        let others = all.iter().filter(|other| {
            other.id != action.id && action.rung == Rung::Evict && wall(other) == wall(action)
        });
        let aims = others.filter_map(|other| self.aim(other.target, policy, now));
        aims.map(|aim| aim.victim.held).sum()
    }

    /// What pods that were told to end, and are known to the agent to be, still hold of what an end gives back, and that in time: before
    /// the wall for an eviction, which takes long itself, and within the usual half minute for a kill.
    fn coming(&self, action: &Action, now: Moment) -> Bytes {
        let reading = &action.evidence.reading;
        if matches!(reading.wall, WallKind::Pod | WallKind::Container) {
            return Bytes::ZERO;
        }
        let within = match action.rung {
            Rung::Evict => reading.runway.p50,
            _ => reading.runway.p50.max(USUAL_GRACE),
        };
        let is_known = |pod: &&Pod| {
            pod.terminating.is_some_and(|since| {
                let ends_at = since + pod.spec.grace;
                self.told_at >= Some(since) && now <= ends_at && ends_at.since(now) <= within
            })
        };
        let pods = self.pods.iter().skip(HOST + 1).filter(is_known);
        pods.map(|pod| pod.used(&[Part::Anon, Part::Shmem], now)).sum()
    }

    pub(crate) fn aim(&self, target: Target, policy: &Policy, now: Moment) -> Option<Aim> {
        match target {
            Target::Node => None,
            Target::Group(group) if group == KUBEPODS || crate::levels::is_one(Some(group)) => Some(Aim {
                victim: Victim {
                    name: "kubepods".into(),
                    group,
                    innocent: true,
                    protection: None,
                    held: Bytes::ZERO,
                    limited: true,
                },
                ..self.aim_at(HOST, AimKind::Other, policy, now)
            }),
            Target::Group(group) => {
                if let Some((at, index)) = self.find(group) {
                    let kind = if at == HOST {
                        AimKind::Other
                    } else {
                        AimKind::Container
                    };
                    return Some(Aim {
                        victim: self.victim(at, index, now),
                        rate: crate::kernel::rate(&self.pods[at].containers[index]),
                        limit: self.pods[at].containers[index].limit,
                        swapped: self.pods[at].containers[index].swapped,
                        ..self.aim_at(at, kind, policy, now)
                    });
                }
                let at = self.pods.iter().position(|pod| pod.group == group)?;
                Some(self.aim_at(at, AimKind::Pod, policy, now))
            }
            Target::Process(id) => {
                let host = &self.pods[HOST].containers;
                let index = host.iter().position(|container| process_id(container) == id)?;
                Some(Aim {
                    victim: self.victim(HOST, index, now),
                    rate: crate::kernel::rate(&host[index]),
                    ..self.aim_at(HOST, AimKind::Process, policy, now)
                })
            }
        }
    }

    /// A pod as a target, or the host.
    fn aim_at(&self, at: usize, kind: AimKind, policy: &Policy, now: Moment) -> Aim {
        let pod = &self.pods[at];
        let working_set = pod.working_set(now);
        let has_place = match self.told_elsewhere {
            Elsewhere::Unknown => true,
            Elsewhere::Room(room) => pod.request.max(working_set) <= room,
            Elsewhere::Nowhere => false,
        };
        let spared = self.spared(pod);
        let free = at != HOST
            && spared.is_none()
            && pod.protection().is_none()
            && pod.terminating.is_none()
            && policy.rungs.has(Rung::Evict)
            && self.faults.pdb_zero == 0
            && self.faults.api_away == 0
            && self.tokens_left(now).is_none_or(|left| left > 0)
            && self.told_tokens.is_none_or(|told| told > 0);
        Aim {
            victim: self.pod_victim(at, now),
            kind,
            pod: pod.group,
            spared,
            rate: pod.containers.iter().map(crate::kernel::rate).sum(),
            limit: pod.spec.limit,
            swapped: pod.containers.iter().map(|container| container.swapped).sum(),
            beyond_request: working_set - pod.request,
            left_of_request: self.left_of_request(at, now).filter(|_| self.is_told(pod)),
            wants_warning: pod.spec.warning.is_some(),
            may_grow: pod.spec.grow_max.is_some(),
            in_volumes: pod.in_volumes(now),
            leaving: match (has_place, free) {
                (false, _) => Leaving::Nowhere,
                (true, true) => Leaving::Free,
                (true, false) => Leaving::Held,
            },
            terminating: pod.terminating.is_some_and(|since| self.told_at >= Some(since)),
        }
    }

    /// The agent was told that there is such a pod.
    pub(crate) fn is_told(&self, pod: &Pod) -> bool {
        let started = pod.containers.iter().map(|container| container.started).min();
        pod.kind.is_some() && self.told_at.is_some() && self.told_at >= started
    }

    /// Why a pod may not be touched by what Kubernetes says of it, if the agent knows.
    pub(crate) fn spared(&self, pod: &Pod) -> Option<WhyNot> {
        let spec = &pod.spec;
        if !self.is_told(pod) {
            return None;
        }
        match spec.owner {
            _ if spec.opted_out || spec.preferred.vetoed => Some(WhyNot::OptedOut),
            _ if spec.is_static || spec.priority >= CRITICAL_PRIORITY => Some(WhyNot::Critical),
            Owner::DaemonSet => Some(WhyNot::DaemonSet),
            Owner::Nobody if !spec.final_eviction => Some(WhyNot::NobodyBringsItBack),
            Owner::Nobody | Owner::Controller => None,
        }
    }
}
