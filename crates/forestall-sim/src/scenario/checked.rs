//! What a scenario file means, once checked.

use std::collections::BTreeSet;

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, SwapBehavior, ThresholdTexts, ThresholdsError};
use forestall_decide::{Bytes, Limit, Lru, Moment, Span};
use serde_saphyr::Spanned;

use super::Scenario;
use super::bounds::{Sum, refuse_long, refuse_many_faults};
use super::load::containers;
use super::plain;
use super::pod::pods;
use super::policy::policy;
use super::raw::{RawFault, RawKubelet, RawNode, RawScenario};
use super::room::refuse_what_does_not_fit;
use super::text::{Permille, Typed};
use super::words::{RawFaultKind, RawLru, RawReservation, RawSwap};
use crate::error::SimError;
use crate::spec::{Accounting, Fault, FaultKind, NodeSpec, World};

/// What a machine needs beside what its kernel and huge pages take, or it ends where it begins.
const NODE_MIN: Bytes = Bytes::mebi(64);

/// A place in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(u64, u64);

impl Place {
    pub(super) fn of<T>(value: &Spanned<T>) -> Self {
        Self(value.referenced.line(), value.referenced.column())
    }
}

/// An error at a place.
pub(super) fn at(place: Place, why: &str) -> SimError {
    SimError::Scenario(format!("{}:{}: {why}", place.0, place.1))
}

/// A name that nobody else has; `known` is whoever has one already.
pub(super) fn unique<N: Ord>(
    name: N,
    known: &mut BTreeSet<N>,
    typed: &Spanned<String>,
    what: &str,
) -> Result<(), SimError> {
    if typed.value.is_empty() {
        return Err(at(
            Place::of(typed),
            &format!("the name is empty; give the {what} one"),
        ));
    }
    refuse_long(typed)?;
    if !known.insert(name) {
        let why = format!("a second {what} is named {:?}; name them apart", typed.value);
        return Err(at(Place::of(typed), &why));
    }
    Ok(())
}

pub(super) fn inner<T>(typed: Typed<T>) -> T {
    typed.0
}

pub(super) fn check(raw: &RawScenario) -> Result<Scenario, SimError> {
    if raw.duration.value.0 == Span(0) {
        return Err(at(
            Place::of(&raw.duration),
            "a duration of nothing shows nothing; such as 10m",
        ));
    }
    let mut sum = Sum::default();
    let nodes = nodes(raw, &mut sum)?;
    let pods = pods(raw, nodes.len(), &mut sum)?;
    refuse_what_does_not_fit(raw, &nodes, &pods)?;
    refuse_many_faults(&raw.faults, nodes.len())?;
    let policy = raw.policy.as_ref().map(|raw| policy(raw, &nodes)).transpose()?;
    let world = World {
        title: raw.title.clone(),
        seed: raw.seed.map_or(1, plain::inner),
        duration: raw.duration.value.0,
        pods,
        faults: raw
            .faults
            .iter()
            .map(|one| fault(one, nodes.len(), raw.duration.value.0))
            .collect::<Result<_, _>>()?,
        nodes,
        policy,
        reschedule: raw.reschedule.map_or(Span::secs(3), inner),
    };
    Ok(Scenario {
        about: raw.about.clone(),
        reproduces: raw.reproduces.clone(),
        does_not_hold: raw.does_not_hold.clone(),
        world,
    })
}

/// A limit as written; none where nothing is.
pub(super) fn limit(raw: Option<&Spanned<Typed<Bytes>>>) -> Result<Limit, SimError> {
    match raw {
        Some(typed) if typed.value.0 == Bytes::ZERO => Err(at(
            Place::of(typed),
            "Kubernetes takes a limit of 0 for none; leave it out for no limit, or write one such as 64Mi",
        )),
        Some(typed) => Ok(Limit::Bytes(typed.value.0)),
        None => Ok(Limit::Max),
    }
}

fn nodes(raw: &RawScenario, sum: &mut Sum) -> Result<Vec<NodeSpec>, SimError> {
    let mut nodes = Vec::new();
    let mut names = BTreeSet::new();
    for one in &raw.nodes.value {
        let memory = one.memory.value.0;
        if memory < NODE_MIN {
            return Err(at(Place::of(&one.memory), "a node needs 64Mi at least"));
        }
        let count = one.count.as_ref().map_or(1, |count| count.value.0);
        sum.add_nodes(count.into(), &one.name, &one.host)?;
        let spec = node(one, memory)?;
        for number in 0..count {
            let name = if count > 1 {
                format!("{}-{number}", one.name.value)
            } else {
                one.name.value.clone()
            };
            unique(name.clone(), &mut names, &one.name, "node")?;
            nodes.push(NodeSpec {
                name: name.into(),
                ..spec.clone()
            });
        }
    }
    if nodes.is_empty() {
        return Err(at(Place::of(&raw.nodes), "there are no nodes; name at least one"));
    }
    Ok(nodes)
}

fn node(raw: &RawNode, memory: Bytes) -> Result<NodeSpec, SimError> {
    let place = Place::of(&raw.memory);
    let default = RawKubelet::default();
    let typed = raw.kubelet.as_ref().map_or(&default, |kubelet| &kubelet.value);
    let kubelet = kubelet(typed, memory, place)?;
    if kubelet.kubepods_limit() == Bytes::ZERO {
        return Err(at(
            place,
            "the reservations leave no memory for pods; make them smaller",
        ));
    }
    refuse_too_little_left(raw, typed, memory)?;
    let kubernetes = raw.kubernetes.is_none_or(plain::inner);
    if let Some(kubelet) = raw.kubelet.as_ref().filter(|_| !kubernetes) {
        return Err(at(
            Place::of(kubelet),
            "without kubernetes there is no kubelet; leave this out, or kubernetes: false",
        ));
    }
    if kubernetes {
        let place = typed.eviction_hard.as_ref().map_or(place, Place::of);
        kubelet
            .validate()
            .map_err(|misfit| at(place, &misfit.to_string()))?;
    }
    Ok(NodeSpec {
        cpus: cpus(raw)?,
        lru: match raw.lru {
            None | Some(RawLru::Classic) => Lru::Classic,
            Some(RawLru::MultiGen) => Lru::MultiGen,
        },
        kubelet: kubernetes.then_some(kubelet),
        accounting: accounting(typed)?,
        throttling_permille: throttling(typed)?,
        qos_reserved_permille: reserved(typed)?,
        reserves_requests: typed.memory_reservation_policy == Some(RawReservation::TieredReservation),
        kills_one_process: typed.single_process_oom_kill.is_some_and(plain::inner),
        swap: raw.swap.map(inner).unwrap_or_default(),
        kernel: size(raw.kernel.as_ref()),
        agent: raw.agent.is_none_or(plain::inner),
        eviction_tokens: raw.eviction_tokens.map(plain::inner),
        host: containers(&raw.host)?,
        ..NodeSpec::plain(&raw.name.value, memory)
    })
}

fn size(raw: Option<&Spanned<Typed<Bytes>>>) -> Bytes {
    raw.map_or(Bytes::ZERO, |size| size.value.0)
}

fn cpus(raw: &RawNode) -> Result<u32, SimError> {
    match &raw.cpus {
        Some(typed) if typed.value.0 == 0 => Err(at(
            Place::of(typed),
            "no machine has no processor; write 1 or more, or leave it out for 2",
        )),
        typed => Ok(typed.as_ref().map_or(2, |cpus| cpus.value.0)),
    }
}

/// What the kernel and huge pages take is nobody's memory, from the first moment on.
fn refuse_too_little_left(raw: &RawNode, kubelet: &RawKubelet, memory: Bytes) -> Result<(), SimError> {
    let mut left = memory;
    for (name, typed) in [("kernel", &raw.kernel), ("hugepages", &kubelet.hugepages)] {
        let Some(typed) = typed else { continue };
        left = left - typed.value.0;
        if left < NODE_MIN {
            let why = format!(
                "{name} leaves less than 64Mi of the node's memory, which it would not live on for a moment; make it smaller"
            );
            return Err(at(Place::of(typed), &why));
        }
    }
    Ok(())
}

fn accounting(raw: &RawKubelet) -> Result<Accounting, SimError> {
    let counted = share_at_most_all(raw.cache_counted.as_ref(), "cacheCounted")?;
    Ok(counted.map_or(Accounting::Kubelet, Accounting::CachePermille))
}

/// A share that cannot be more than the whole, in permille.
pub(super) fn share_at_most_all(
    raw: Option<&Spanned<Typed<Permille>>>,
    name: &str,
) -> Result<Option<u64>, SimError> {
    match raw {
        Some(typed) if typed.value.0.0 > 1000 => Err(at(
            Place::of(typed),
            &format!("{name} is at most 100%; write less"),
        )),
        typed => Ok(typed.map(|typed| typed.value.0.0)),
    }
}

/// The kubelet takes a factor above 0 and up to 1.
fn throttling(raw: &RawKubelet) -> Result<Option<u64>, SimError> {
    match &raw.memory_throttling_factor {
        Some(typed) if !(1..=1000).contains(&typed.value.0.0) => Err(at(
            Place::of(typed),
            "the factor is more than 0% and at most 100%, such as 90%; leave it out for no memory.high",
        )),
        typed => Ok(typed.as_ref().map(|typed| typed.value.0.0)),
    }
}

/// The kubelet takes whole percentages up to 100.
fn reserved(raw: &RawKubelet) -> Result<Option<u64>, SimError> {
    match &raw.qos_reserved {
        Some(typed) if typed.value.0.0 > 1000 || typed.value.0.0 % 10 > 0 => Err(at(
            Place::of(typed),
            "the share is a whole percentage of at most 100%, such as 50%; leave it out for no limits of QoS levels",
        )),
        typed => Ok(typed.as_ref().map(|typed| typed.value.0.0)),
    }
}

fn kubelet(raw: &RawKubelet, capacity: Bytes, place: Place) -> Result<KubeletConfig, SimError> {
    let defaults = KubeletConfig::default();
    let mut config = KubeletConfig {
        source: ConfigSource::Given,
        capacity,
        kube_reserved: raw.kube_reserved.map(inner).unwrap_or_default(),
        system_reserved: raw.system_reserved.map(inner).unwrap_or_default(),
        hugepages: size(raw.hugepages.as_ref()),
        enforces_pods: raw.enforce_pods.is_none_or(plain::inner),
        pressure_transition: raw
            .pressure_transition
            .map_or(defaults.pressure_transition, inner),
        swap: match raw.swap_behavior {
            None | Some(RawSwap::NoSwap) => SwapBehavior::NoSwap,
            Some(RawSwap::LimitedSwap) => SwapBehavior::LimitedSwap,
        },
        pod_grace_max: raw.eviction_max_pod_grace.map_or(Span(0), inner),
        ..defaults
    };
    let texts = ThresholdTexts {
        hard: Some(raw.eviction_hard.as_ref().map_or("100Mi", |hard| &hard.value.0.0)),
        soft: raw.eviction_soft.as_ref().map(|soft| &*soft.value.0.0),
        soft_grace: raw.eviction_soft_grace.map(inner),
        min_reclaim: raw.minimum_reclaim.as_ref().map(|reclaim| &*reclaim.0.0),
    };
    // Every text was read at its own place; what is left is what they have to do with one another.
    config.set_thresholds(&texts).map_err(|error| match error {
        ThresholdsError::NoGrace => at(
            raw.eviction_soft.as_ref().map_or(place, Place::of),
            "a soft threshold has no grace period, and such a kubelet does not start; add evictionSoftGrace, such as 90s",
        ),
        error @ ThresholdsError::Value { .. } => at(place, &error.to_string()),
    })?;
    Ok(config)
}

fn fault(raw: &RawFault, nodes: usize, duration: Span) -> Result<Fault, SimError> {
    let place = Place::of(&raw.kind);
    let kind = match (raw.kind.value, raw.by, raw.takes) {
        (RawFaultKind::ClockJump, Some(by), None) => FaultKind::ClockJump(by.0.0),
        (RawFaultKind::ClockJump, ..) => return Err(at(place, "a clock-jump needs `by`, such as by: -20s")),
        (RawFaultKind::SlowVictim, None, Some(takes)) => FaultKind::SlowVictim(takes.0),
        (RawFaultKind::SlowVictim, ..) => {
            return Err(at(place, "a slow-victim needs `takes`, such as takes: 30s"));
        }
        (_, Some(_), _) | (_, _, Some(_)) => {
            return Err(at(
                place,
                "`by` belongs to clock-jump and `takes` to slow-victim alone",
            ));
        }
        (RawFaultKind::ApiAway, ..) => FaultKind::ApiAway,
        (RawFaultKind::AgentRestart, ..) => FaultKind::AgentRestart,
        (RawFaultKind::SamplesLost, ..) => FaultKind::SamplesLost,
        (RawFaultKind::PdbZero, ..) => FaultKind::PdbZero,
        (RawFaultKind::KubeletAway, ..) => FaultKind::KubeletAway,
    };
    if raw.from.0 >= duration {
        return Err(at(
            place,
            "the fault begins when the run is over; let `from` be less than `duration`",
        ));
    }
    // A node's clock does not go below nothing: it would stand still instead of having jumped.
    if let FaultKind::ClockJump(millis) = kind
        && millis < 0
        && millis.unsigned_abs() > raw.from.0.as_millis()
    {
        return Err(at(
            place,
            "the clock would jump back to before the run began; jump at most as far as `from`",
        ));
    }
    if let Some(node) = &raw.node
        && node.value.0 as usize >= nodes
    {
        return Err(at(
            Place::of(node),
            &format!("there is no such node; there are {nodes}"),
        ));
    }
    Ok(Fault {
        kind,
        node: raw.node.as_ref().map(|node| node.value.0),
        from: Moment(0) + raw.from.0,
        lasts: raw.lasts.map_or(Span(0), inner),
    })
}
