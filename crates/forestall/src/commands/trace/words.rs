//! The engine's inputs as JSON: every figure under the name its column has in the trace, words where a word says more.

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, SwapBehavior};
use forestall_decide::{
    Elsewhere, GroupKind, GroupSample, Limit, Lru, NodeSample, Origin, Outcome, OutcomeKind, Owner, Pod,
    Pods, Policy, ProcessSample, Protection, Qos, Rung, Sample, Span,
};
use forestall_trace::{Names, describe};
use serde_json::{Map, Value, json};

use crate::config::choice::{self, word};
use crate::log::{escape, words};

/// A sample with the names that are known.
pub(super) fn sample(sample: &Sample, names: &Names) -> Value {
    let groups = sample.groups.iter().map(|row| group(row, names));
    let processes = sample.processes.iter().map(|row| process(row, names));
    json!({
        "node": node(&sample.node),
        "groups": groups.collect::<Vec<_>>(),
        "processes": processes.collect::<Vec<_>>(),
    })
}

fn figures(figures: impl Iterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    figures
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn node(node: &NodeSample) -> Value {
    let mut fields = figures(describe::node(node));
    let lru = match node.lru {
        Lru::Classic => "classic",
        Lru::MultiGen => "multi-gen",
    };
    fields.insert("lru".to_owned(), lru.into());
    fields.into()
}

fn group(group: &GroupSample, names: &Names) -> Value {
    let mut fields = figures(describe::group(group));
    fields.insert("id".to_owned(), group.id.0.into());
    fields.insert("path".to_owned(), names.group(group.id).map(escape::bytes).into());
    fields.insert("kind".to_owned(), kind(group.kind).into());
    fields.insert("protection".to_owned(), protection(group.protection));
    fields.insert("parent".to_owned(), group.parent.into());
    fields.insert("limit_bytes".to_owned(), limit(group.limit));
    fields.insert("swap_limit_bytes".to_owned(), limit(group.swap_limit));
    fields.into()
}

fn process(process: &ProcessSample, names: &Names) -> Value {
    let mut fields = figures(describe::process(process));
    fields.insert("pid".to_owned(), process.id.pid.into());
    fields.insert("start_ticks".to_owned(), process.id.start_ticks.into());
    fields.insert(
        "name".to_owned(),
        names.process(process.id).map(escape::bytes).into(),
    );
    fields.insert("group".to_owned(), process.group.map(|group| group.0).into());
    fields.insert("protection".to_owned(), protection(process.protection));
    fields.into()
}

fn limit(limit: Limit) -> Value {
    limit.bytes().map_or_else(|| "max".into(), |bytes| bytes.0.into())
}

fn protection(protection: Option<Protection>) -> Value {
    protection.map(words::protection).into()
}

const fn qos(qos: Qos) -> &'static str {
    match qos {
        Qos::Guaranteed => "guaranteed",
        Qos::Burstable => "burstable",
        Qos::BestEffort => "best-effort",
    }
}

fn kind(kind: GroupKind) -> String {
    match kind {
        GroupKind::Kubepods => "kubepods".to_owned(),
        GroupKind::Qos(class) => format!("qos-{}", qos(class)),
        GroupKind::Pod(class) => format!("pod-{}", qos(class)),
        GroupKind::Container(class) => format!("container-{}", qos(class)),
        GroupKind::Host => "host".to_owned(),
    }
}

/// An outcome.
pub(super) fn outcome(outcome: &Outcome) -> Value {
    let errno = match outcome.kind {
        OutcomeKind::Failed(errno) => Some(errno),
        _ => None,
    };
    json!({
        "action": outcome.action.0,
        "rung": outcome.rung.label(),
        "outcome": words::outcome(outcome.kind),
        "errno": errno,
        "freed_bytes": outcome.freed.0,
        "took_micros": outcome.took.0,
        "rest_micros": outcome.rest.0,
    })
}

/// A policy.
pub(crate) fn policy(policy: &Policy) -> Value {
    let rungs = Rung::ALL
        .into_iter()
        .filter(|rung| policy.rungs.has(*rung))
        .map(Rung::label);
    json!({
        "mode": words::mode(policy.mode),
        "preset": word::<choice::Preset>(policy.preset),
        "victims": word::<choice::Victims>(policy.victims),
        "rungs": rungs.collect::<Vec<_>>(),
        "culprit_share_permille": policy.culprit_share_permille,
        "term_grace_micros": policy.term_grace.0,
        "effect_deadline_micros": policy.effect_deadline.0,
        "kill_cooldown_micros": policy.kill_cooldown.0,
        "tick_calm_micros": policy.tick_calm.0,
        "tick_idle_micros": policy.tick_idle.0,
        "tick_near_micros": policy.tick_near.0,
        "tick_min_micros": policy.tick_min.0,
        "fill_rate_bytes_per_second": policy.fill_rate.0,
        "kubelet_eviction_hard_bytes": policy.kubelet_eviction_hard.0,
        "war_story_used_permille": policy.war_story_used_permille,
        "war_story_cache_permille": policy.war_story_cache_permille,
        "gist_available_bytes_min": policy.gist_available_bytes_min.0,
    })
}

/// The kubelet's configuration.
pub(super) fn kubelet(config: &KubeletConfig) -> Value {
    let source = match config.source {
        ConfigSource::Default => "default",
        ConfigSource::File => "file",
        ConfigSource::Configz => "configz",
        ConfigSource::Given => "given",
    };
    let swap = match config.swap {
        SwapBehavior::NoSwap => "NoSwap",
        SwapBehavior::LimitedSwap => "LimitedSwap",
    };
    let thresholds = config.thresholds.iter().map(|threshold| {
        let signal = match threshold.signal {
            Signal::MemoryAvailable => "memory.available",
            Signal::AllocatableMemoryAvailable => "allocatableMemory.available",
        };
        json!({
            "signal": signal,
            "value_bytes": threshold.value.0,
            "grace_micros": threshold.grace.0,
            "min_reclaim_bytes": threshold.min_reclaim.0,
        })
    });
    json!({
        "source": source,
        "capacity_bytes": config.capacity.0,
        "kube_reserved_bytes": config.kube_reserved.0,
        "system_reserved_bytes": config.system_reserved.0,
        "hugepages_bytes": config.hugepages.0,
        "enforces_pods": config.enforces_pods,
        "thresholds": thresholds.collect::<Vec<_>>(),
        "pressure_transition_micros": config.pressure_transition.0,
        "pod_grace_max_micros": config.pod_grace_max.0,
        "single_process_oom_kill": config.single_process_oom_kill,
        "swap": swap,
    })
}

/// The pods.
pub(super) fn pods(pods: &Pods) -> Value {
    let elsewhere = match pods.cluster.elsewhere {
        Elsewhere::Unknown => Value::Null,
        Elsewhere::Room(bytes) => bytes.0.into(),
        Elsewhere::Nowhere => 0.into(),
    };
    json!({
        "told_at_micros": pods.told_at.0,
        "api": pods.cluster.api,
        "eviction_tokens": pods.cluster.eviction_tokens,
        "room_elsewhere_bytes": elsewhere,
        "pods": pods.list.iter().map(pod).collect::<Vec<_>>(),
    })
}

fn pod(pod: &Pod) -> Value {
    let owner = match pod.owner {
        Owner::Nobody => Value::Null,
        Owner::DaemonSet => "daemon-set".into(),
        Owner::Controller => "controller".into(),
    };
    let labels: Map<String, Value> = pod
        .labels
        .iter()
        .map(|(key, value)| (escape::text(key), escape::text(value).into()))
        .collect();
    let containers = pod.containers.iter().map(|container| {
        json!({
            "group": container.group.0,
            "request_bytes": container.request.0,
            "limit_bytes": limit(container.limit),
            "restarts": container.restarts,
        })
    });
    json!({
        "uid": format!("{:032x}", pod.uid.0),
        "group": pod.group.map(|group| group.0),
        "namespace": escape::text(&pod.namespace),
        "name": escape::text(&pod.name),
        "labels": labels,
        "qos": qos(pod.qos),
        "priority": pod.priority,
        "priority_class": escape::text(&pod.priority_class),
        "request_bytes": pod.request.0,
        "owner": owner,
        "static": pod.origin == Origin::Static,
        "grace_micros": pod.grace.0,
        "terminating_since_micros": pod.terminating_since.map(|since| since.0),
        "memory_volumes_bytes": pod.memory_volumes.0,
        "opted_out": pod.asks.opted_out,
        "final_eviction": pod.asks.final_eviction,
        "warning_micros": pod.asks.warning.map(|Span(micros)| micros),
        "growth_bytes": pod.asks.growth.map(|most| most.0),
        "preference": pod.asks.preference,
        "vetoed": pod.standing.vetoed,
        "weight": pod.standing.weight,
        "containers": containers.collect::<Vec<_>>(),
    })
}
