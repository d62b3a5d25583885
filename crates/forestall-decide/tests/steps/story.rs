//! What bytes mean in a story: every byte means something, so that no change of one is lost on the fuzzer.

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, SwapBehavior, Threshold};
use forestall_decide::{
    ActionId, Asks, Bytes, BytesPerSecond, Cluster, Elsewhere, GroupId, GroupKind, GroupSample, Limit,
    LimitHits, Mode, Moment, NodeSample, Origin, Outcome, OutcomeKind, Owner, Pod, PodContainer, PodUid,
    Pods, Policy, Preset, ProcessId, ProcessSample, Protection, Qos, Rung, Rungs, Sample, Span, Stall,
    Standing, Victims,
};

/// Cgroups and processes of one machine, and pods.
const MANY: usize = 12;

/// What is told next. The clock has gone on already.
pub(super) enum Told {
    Look,
    Growth {
        group: usize,
        by: Bytes,
        every: Span,
        looks: u8,
    },
    Pods(Pods),
    Kubelet(KubeletConfig),
    Outcome(Outcome),
    Policy(Policy),
}

/// The rest of the bytes. After the last one there are zeros, and then the story is over.
pub(super) struct Story<'a>(&'a [u8]);

impl<'a> Story<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next step: changes of the machine and of the clock until somebody is told something. `None` at the end.
    pub(super) fn next(&mut self, sample: &mut Sample, now: &mut Moment) -> Option<Told> {
        while !self.0.is_empty() {
            match self.byte() % 16 {
                0..=3 => {
                    *now = *now + self.span();
                    return Some(Told::Look);
                }
                4 | 5 => {
                    let (group, by, every) = (usize::from(self.byte()), self.bytes(), self.span());
                    let looks = self.byte() % 40;
                    let group = group % MANY;
                    return Some(Told::Growth {
                        group,
                        by,
                        every,
                        looks,
                    });
                }
                6 | 7 => return Some(Told::Outcome(self.outcome())),
                8 => return Some(Told::Pods(self.pods(*now))),
                9 => return Some(Told::Policy(self.policy())),
                10 => return Some(Told::Kubelet(self.kubelet())),
                11 => self.change_node(&mut sample.node),
                12 => self.change_groups(&mut sample.groups),
                13 => self.change_processes(&mut sample.processes, *now),
                14 => *now = Moment(now.0.saturating_sub(self.span().0)),
                _ => *now = Moment(self.long()),
            }
        }
        None
    }

    /// A machine of 4 GiB with a pod of two containers in it, to begin with.
    pub(super) fn sample() -> Sample {
        let total = Bytes::mebi(4096);
        let node = NodeSample {
            total,
            free: Bytes::mebi(2048),
            available: Bytes::mebi(3072),
            anon: Bytes::mebi(700),
            cached: Bytes::mebi(1024),
            kubelet_present: true,
            cpus: 2,
            stall: Some(Stall::default()),
            ..NodeSample::default()
        };
        let group = |id, parent, kind, limit| GroupSample {
            id: GroupId(id),
            parent,
            kind,
            limit,
            leaf: matches!(kind, GroupKind::Container(_)),
            populated: true,
            current: Bytes::mebi(300),
            anon: Bytes::mebi(250),
            stall: Some(Stall::default()),
            ..GroupSample::default()
        };
        let qos = Qos::Burstable;
        let groups = vec![
            group(1, None, GroupKind::Kubepods, Limit::Bytes(Bytes::mebi(3500))),
            group(2, Some(0), GroupKind::Pod(qos), Limit::Max),
            group(3, Some(1), GroupKind::Container(qos), Limit::Max),
            group(
                4,
                Some(1),
                GroupKind::Container(qos),
                Limit::Bytes(Bytes::mebi(1000)),
            ),
        ];
        Sample {
            node,
            groups,
            processes: Vec::new(),
        }
    }

    pub(super) fn policy(&mut self) -> Policy {
        let shared = Policy::default();
        let own = self.byte();
        let rungs = self.byte();
        let rungs: Vec<Rung> = Rung::ALL
            .into_iter()
            .enumerate()
            .filter(|(nth, _)| rungs >> nth & 1 == 1)
            .map(|(_, rung)| rung)
            .collect();
        let mut policy = Policy {
            mode: [Mode::Enforce, Mode::Enforce, Mode::Shadow, Mode::Observe][usize::from(own & 3)],
            preset: [
                Preset::Forestall,
                Preset::Forestall,
                Preset::WarStoryA,
                Preset::Gist,
            ][usize::from(own >> 2 & 3)],
            victims: [
                Victims::Culprit,
                Victims::Kubelet,
                Victims::Priority,
                Victims::Culprit,
            ][usize::from(own >> 4 & 3)],
            rungs: Rungs::of(&rungs),
            ..shared
        };
        // Whatever figures come: who checks a configuration stands elsewhere.
        if own >> 6 == 3 {
            policy.culprit_share_permille = self.long();
            policy.term_grace = self.span();
            policy.effect_deadline = self.span();
            policy.kill_cooldown = self.span();
            policy.tick_calm = self.span();
            policy.tick_idle = self.span();
            policy.fill_rate = BytesPerSecond(self.bytes().0);
            policy.tick_near = self.span();
            policy.tick_min = self.span();
            policy.kubelet_eviction_hard = self.bytes();
            policy.war_story_used_permille = self.long();
            policy.war_story_cache_permille = self.long();
            policy.gist_available_bytes_min = self.bytes();
        }
        policy
    }

    fn change_node(&mut self, node: &mut NodeSample) {
        match self.byte() % 24 {
            0 => node.total = self.bytes(),
            1 => node.free = self.bytes(),
            2 | 3 => node.available = self.bytes(),
            4 => node.cached = self.bytes(),
            5 => node.anon = self.bytes(),
            6 => node.shmem = self.bytes(),
            7 => node.active_file = self.bytes(),
            8 => node.inactive_file = self.bytes(),
            9 => node.slab_reclaimable = self.bytes(),
            10 => node.slab_unreclaimable = self.bytes(),
            11 => node.hugetlb = self.bytes(),
            12 => node.swap_total = self.bytes(),
            13 => node.swap_free = self.bytes(),
            14 => node.swap_is_zram = self.bit(),
            15 => node.stall = self.stall(),
            16 => node.refault_file_pages = self.long(),
            17 => node.oom_kills = self.count(node.oom_kills),
            18 => node.kubelet_present = self.bit(),
            19 => node.kubelet_heard_at = Moment(self.long()),
            20 => node.zswap_room = self.bytes(),
            21 => node.cpus = u32::from(self.byte()),
            22 => node.wake_late = self.span(),
            _ => {
                node.sample_cost = self.span();
                node.sample_processor = self.bit().then(|| self.span());
            }
        }
    }

    fn change_groups(&mut self, groups: &mut Vec<GroupSample>) {
        let at = usize::from(self.byte()) % MANY;
        if at >= groups.len() {
            let group = GroupSample {
                id: GroupId(u64::from(self.byte() % 16)),
                ..GroupSample::default()
            };
            return groups.push(group);
        }
        let what = self.byte() % 24;
        if what == 0 {
            groups.remove(at);
            return;
        }
        let Some(group) = groups.get_mut(at) else { return };
        match what {
            1 => group.id = GroupId(u64::from(self.byte() % 16)),
            2 => group.parent = self.bit().then(|| u32::from(self.byte() % 16)),
            3 => group.kind = self.kind(),
            4 => group.leaf = self.bit(),
            5 => group.populated = self.bit(),
            6 => group.protection = self.protection(),
            7 | 8 => group.limit = self.limit(),
            9 => group.min = self.bytes(),
            10 | 11 => group.current = self.bytes(),
            12 | 13 => group.anon = self.bytes(),
            14 => group.shmem = self.bytes(),
            15 => group.active_file = self.bytes(),
            16 => group.inactive_file = self.bytes(),
            17 => group.swap_current = self.bytes(),
            18 => group.swap_limit = self.limit(),
            19 => group.stall = self.stall(),
            20 => group.refault_file_pages = self.long(),
            21 => group.oom_kills = self.count(group.oom_kills),
            22 => group.slab_reclaimable = self.bytes(),
            _ => {
                group.limit_hits = match self.byte() % 3 {
                    0 => LimitHits::Unknown,
                    1 => LimitHits::Ooms {
                        own: self.long(),
                        within: self.long(),
                    },
                    _ => LimitHits::Failures(self.long()),
                }
            }
        }
    }

    fn change_processes(&mut self, processes: &mut Vec<ProcessSample>, now: Moment) {
        let at = usize::from(self.byte()) % MANY;
        let changed = ProcessSample {
            id: ProcessId {
                pid: u32::from(self.byte() % 8),
                start_ticks: u64::from(self.byte() % 4),
            },
            group: self.bit().then(|| GroupId(u64::from(self.byte() % 16))),
            unreclaimable: self.bytes(),
            read_at: if self.bit() { now } else { Moment(self.long()) },
            protection: self.protection(),
        };
        match processes.get_mut(at) {
            Some(process) => *process = changed,
            None => processes.push(changed),
        }
    }

    fn pods(&mut self, now: Moment) -> Pods {
        let count = usize::from(self.byte()) % MANY;
        let list = (0..count).map(|_| self.pod(now)).collect();
        let elsewhere = match self.byte() % 3 {
            0 => Elsewhere::Unknown,
            1 => Elsewhere::Room(self.bytes()),
            _ => Elsewhere::Nowhere,
        };
        let cluster = Cluster {
            api: self.bit(),
            eviction_tokens: self.bit().then(|| u32::from(self.byte() % 4)),
            elsewhere,
        };
        Pods {
            told_at: now,
            list,
            cluster,
            kubelet_evictions: self.count(0),
        }
    }

    fn pod(&mut self, now: Moment) -> Pod {
        let bits = self.byte();
        let containers = (0..bits % 3)
            .map(|_| PodContainer {
                group: GroupId(u64::from(self.byte() % 16)),
                request: self.bytes(),
                limit: self.limit(),
                restarts: u32::from(self.byte()),
            })
            .collect();
        Pod {
            uid: PodUid(u128::from(self.byte() % 16)),
            group: self.bit().then(|| GroupId(u64::from(self.byte() % 16))),
            priority: [0, -1, 1000, i32::MIN, i32::MAX, 2_000_000_000][usize::from(self.byte() % 6)],
            request: self.bytes(),
            owner: [
                Owner::Controller,
                Owner::Nobody,
                Owner::DaemonSet,
                Owner::Controller,
            ][usize::from(bits >> 2 & 3)],
            origin: if bits >> 4 == 15 {
                Origin::Static
            } else {
                Origin::Api
            },
            grace: self.span(),
            terminating_since: (bits >> 4 == 3).then_some(now),
            memory_volumes: self.bytes(),
            asks: Asks {
                opted_out: bits >> 4 == 7,
                final_eviction: self.bit(),
                warning: self.bit().then(|| self.span()),
                growth: self.bit().then(|| self.bytes()),
                preference: i32::from(self.byte()) - 128,
            },
            standing: Standing {
                vetoed: bits >> 4 == 9,
                weight: i32::from(self.byte()) - 128,
            },
            containers,
            ..Pod::default()
        }
    }

    fn kubelet(&mut self) -> KubeletConfig {
        let thresholds = (0..self.byte() % 5)
            .map(|_| Threshold {
                signal: if self.bit() {
                    Signal::MemoryAvailable
                } else {
                    Signal::AllocatableMemoryAvailable
                },
                value: self.bytes(),
                grace: self.span(),
                min_reclaim: self.bytes(),
            })
            .collect();
        KubeletConfig {
            source: if self.bit() {
                ConfigSource::Configz
            } else {
                ConfigSource::File
            },
            capacity: self.bytes(),
            kube_reserved: self.bytes(),
            system_reserved: self.bytes(),
            hugepages: self.bytes(),
            enforces_pods: self.bit(),
            thresholds,
            pressure_transition: self.span(),
            pod_grace_max: self.span(),
            single_process_oom_kill: self.bit(),
            swap: if self.bit() {
                SwapBehavior::LimitedSwap
            } else {
                SwapBehavior::NoSwap
            },
        }
    }

    /// Of an order that was given, mostly: they are numbered from one on.
    fn outcome(&mut self) -> Outcome {
        let kind = match self.byte() % 7 {
            0 => OutcomeKind::Progress,
            1 => OutcomeKind::Done,
            2 => OutcomeKind::NoEffect,
            3 => OutcomeKind::Blocked,
            4 => OutcomeKind::Gone,
            5 => OutcomeKind::Vetoed,
            _ => OutcomeKind::Failed([1, 16, 125, i32::MIN][usize::from(self.byte() % 4)]),
        };
        let rung = Rung::ALL[usize::from(self.byte()) % Rung::ALL.len()];
        Outcome {
            action: ActionId(u64::from(self.byte() % 32)),
            rung,
            kind,
            freed: self.bytes(),
            took: self.span(),
            rest: self.span(),
        }
    }

    fn kind(&mut self) -> GroupKind {
        let byte = self.byte();
        let qos = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort][usize::from(byte >> 4) % 3];
        match byte % 8 {
            0 => GroupKind::Kubepods,
            1 => GroupKind::Qos(qos),
            2 => GroupKind::Pod(qos),
            3 => GroupKind::Host,
            _ => GroupKind::Container(qos),
        }
    }

    fn protection(&mut self) -> Option<Protection> {
        match self.byte() % 16 {
            0 => Some(Protection::Essential),
            1 => Some(Protection::NodeAgent),
            2 => Some(Protection::StaticPod),
            3 => Some(Protection::Pause),
            4 => Some(Protection::Shared),
            _ => None,
        }
    }

    fn stall(&mut self) -> Option<Stall> {
        let some_micros = self.long();
        self.bit().then_some(Stall {
            some_micros,
            full_micros: some_micros / 2,
        })
    }

    fn limit(&mut self) -> Limit {
        if self.byte().is_multiple_of(4) {
            Limit::Max
        } else {
            Limit::Bytes(self.bytes())
        }
    }

    /// A few more than before, or anything.
    fn count(&mut self, before: u64) -> u64 {
        match self.byte() {
            255 => self.long(),
            more => before.wrapping_add(u64::from(more % 4)),
        }
    }

    /// Steps of 16 MiB up to 4 GiB mostly; else powers of two, and anything.
    fn bytes(&mut self) -> Bytes {
        match self.byte() {
            byte @ 0..=191 => Bytes::mebi(u64::from(byte) * 16),
            byte @ 192..=254 => Bytes(1 << (byte - 192)),
            255 => Bytes(self.long()),
        }
    }

    /// Milliseconds, seconds, powers of two of microseconds, and anything.
    fn span(&mut self) -> Span {
        match self.byte() {
            byte @ 0..=99 => Span::millis(u64::from(byte) * 20),
            byte @ 100..=191 => Span::secs(u64::from(byte) - 99),
            byte @ 192..=254 => Span(1 << (byte - 192)),
            255 => Span(self.long()),
        }
    }

    fn long(&mut self) -> u64 {
        (0..8).fold(0, |long, _| long << 8 | u64::from(self.byte()))
    }

    fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }
}
