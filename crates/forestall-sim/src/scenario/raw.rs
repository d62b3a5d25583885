//! A scenario file as typed: every field that there is, and no other.

use std::collections::BTreeMap;

use forestall_decide::{Bytes, BytesPerSecond, Rung, Span};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::plain::Plain;
use super::text::{Permille, ReclaimText, SignedMillis, ThresholdText, Typed};
use super::words::{
    RawFaultKind, RawLru, RawMode, RawOwner, RawPart, RawPreset, RawReservation, RawSwap, RawVictims,
};

type Size = Option<Typed<Bytes>>;
type Time = Option<Typed<Span>>;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawScenario {
    pub(super) title: String,
    #[serde(default)]
    pub(super) about: String,
    #[serde(default)]
    pub(super) reproduces: Vec<String>,
    #[serde(default)]
    pub(super) does_not_hold: Vec<String>,
    pub(super) seed: Option<Plain<u64>>,
    pub(super) duration: Spanned<Typed<Span>>,
    pub(super) reschedule: Time,
    pub(super) policy: Option<RawPolicy>,
    pub(super) nodes: Spanned<Vec<RawNode>>,
    #[serde(default)]
    pub(super) pods: Vec<RawPod>,
    #[serde(default)]
    pub(super) faults: Vec<RawFault>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPolicy {
    pub(super) mode: Option<RawMode>,
    pub(super) preset: Option<RawPreset>,
    pub(super) victims: Option<RawVictims>,
    pub(super) interval: Option<Spanned<Typed<Span>>>,
    pub(super) idle: Option<Spanned<Typed<Span>>>,
    pub(super) min_available: Option<Spanned<Typed<Bytes>>>,
    pub(super) used: Option<Spanned<Typed<Permille>>>,
    pub(super) cache: Option<Spanned<Typed<Permille>>>,
    #[serde(default)]
    pub(super) rungs: RawRungs,
    #[serde(default)]
    pub(super) preferences: Vec<Spanned<RawPreference>>,
}

/// Whom the operator spares, or prefers to see go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPreference {
    #[serde(default)]
    pub(super) namespaces: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) priority_classes: Vec<String>,
    pub(super) never: Option<Plain<bool>>,
    pub(super) weight: Option<Plain<i32>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawRungs {
    reclaim: Option<Plain<bool>>,
    brake: Option<Plain<bool>>,
    warn: Option<Plain<bool>>,
    grow: Option<Plain<bool>>,
    evict: Option<Plain<bool>>,
    kill: Option<Plain<bool>>,
    sysrq: Option<Plain<bool>>,
}

impl RawRungs {
    /// Each rung with what was said of it.
    pub(super) fn typed(self) -> [(Rung, Option<Plain<bool>>); 7] {
        [
            (Rung::Reclaim, self.reclaim),
            (Rung::Brake, self.brake),
            (Rung::Warn, self.warn),
            (Rung::Grow, self.grow),
            (Rung::Evict, self.evict),
            (Rung::Kill, self.kill),
            (Rung::Sysrq, self.sysrq),
        ]
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawNode {
    pub(super) name: Spanned<String>,
    pub(super) count: Option<Spanned<Plain<u32>>>,
    pub(super) memory: Spanned<Typed<Bytes>>,
    pub(super) cpus: Option<Spanned<Plain<u32>>>,
    pub(super) lru: Option<RawLru>,
    pub(super) swap: Size,
    pub(super) kernel: Option<Spanned<Typed<Bytes>>>,
    pub(super) agent: Option<Plain<bool>>,
    pub(super) eviction_tokens: Option<Plain<u32>>,
    /// Absent: the kubelet's own defaults.
    pub(super) kubelet: Option<Spanned<RawKubelet>>,
    /// `false`: no kubelet at all.
    pub(super) kubernetes: Option<Plain<bool>>,
    #[serde(default)]
    pub(super) host: Vec<RawContainer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawKubelet {
    pub(super) kube_reserved: Size,
    pub(super) system_reserved: Size,
    pub(super) hugepages: Option<Spanned<Typed<Bytes>>>,
    pub(super) eviction_hard: Option<Spanned<Typed<ThresholdText>>>,
    pub(super) eviction_soft: Option<Spanned<Typed<ThresholdText>>>,
    pub(super) eviction_soft_grace: Time,
    pub(super) eviction_max_pod_grace: Time,
    pub(super) minimum_reclaim: Option<Typed<ReclaimText>>,
    pub(super) pressure_transition: Time,
    pub(super) enforce_pods: Option<Plain<bool>>,
    pub(super) cache_counted: Option<Spanned<Typed<Permille>>>,
    pub(super) memory_throttling_factor: Option<Spanned<Typed<Permille>>>,
    pub(super) swap_behavior: Option<RawSwap>,
    pub(super) memory_reservation_policy: Option<RawReservation>,
    pub(super) qos_reserved: Option<Spanned<Typed<Permille>>>,
    #[serde(rename = "singleProcessOOMKill")]
    pub(super) single_process_oom_kill: Option<Plain<bool>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPod {
    pub(super) name: Spanned<String>,
    pub(super) namespace: Option<String>,
    pub(super) node: Option<Spanned<RawPlace>>,
    pub(super) count: Option<Spanned<Plain<u32>>>,
    pub(super) start: Time,
    pub(super) spread: Time,
    pub(super) priority: Option<Plain<i32>>,
    pub(super) owner: Option<RawOwner>,
    #[serde(rename = "static")]
    pub(super) is_static: Option<Plain<bool>>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) priority_class: Option<String>,
    pub(super) opted_out: Option<Plain<bool>>,
    pub(super) final_eviction: Option<Plain<bool>>,
    pub(super) before_oom: Option<Spanned<Typed<Span>>>,
    pub(super) grow: Option<Spanned<Typed<Bytes>>>,
    pub(super) preference: Option<Plain<i32>>,
    pub(super) grace: Time,
    pub(super) term: Time,
    pub(super) request: Option<Spanned<Typed<Bytes>>>,
    pub(super) limit: Option<Spanned<Typed<Bytes>>>,
    pub(super) containers: Spanned<Vec<RawContainer>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawPlace {
    Number(u32),
    Word(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawContainer {
    pub(super) name: Spanned<String>,
    pub(super) request: Option<Spanned<Typed<Bytes>>>,
    pub(super) limit: Option<Spanned<Typed<Bytes>>>,
    pub(super) base: Option<Spanned<Typed<Bytes>>>,
    pub(super) largest_process: Option<Spanned<Typed<Bytes>>>,
    pub(super) volume: Option<Plain<bool>>,
    pub(super) restarts: Option<Plain<bool>>,
    pub(super) oom_score_adj: Option<Spanned<Plain<i32>>>,
    pub(super) protected: Option<Plain<bool>>,
    pub(super) jitter: Option<Spanned<Typed<Permille>>>,
    pub(super) load: Option<Spanned<RawLoad>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawLoad {
    Leak(RawLeak),
    Steps(RawSteps),
    Burst(RawBurst),
    Periodic(RawPeriodic),
    Heap(RawHeap),
    Reader(RawReader),
    Follow(RawFollow),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawLeak {
    pub(super) rate: Typed<BytesPerSecond>,
    pub(super) total: Size,
    pub(super) delay: Time,
    pub(super) of: Option<RawPart>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawSteps {
    pub(super) block: Typed<Bytes>,
    pub(super) interval: Typed<Span>,
    pub(super) total: Size,
    pub(super) aborts: Option<Plain<bool>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawBurst {
    pub(super) size: Typed<Bytes>,
    pub(super) rise: Typed<Span>,
    pub(super) hold: Typed<Span>,
    pub(super) every: Typed<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPeriodic {
    pub(super) size: Typed<Bytes>,
    pub(super) period: Typed<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawHeap {
    pub(super) step: Typed<Bytes>,
    pub(super) interval: Typed<Span>,
    pub(super) freed: Typed<Permille>,
    pub(super) plateau: Typed<Bytes>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawReader {
    pub(super) file: Typed<Bytes>,
    pub(super) rate: Typed<BytesPerSecond>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawFollow {
    pub(super) container: Spanned<String>,
    pub(super) share: Typed<Permille>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawFault {
    pub(super) kind: Spanned<RawFaultKind>,
    pub(super) node: Option<Spanned<Plain<u32>>>,
    pub(super) from: Typed<Span>,
    #[serde(rename = "for")]
    pub(super) lasts: Time,
    pub(super) by: Option<Typed<SignedMillis>>,
    pub(super) takes: Time,
}
