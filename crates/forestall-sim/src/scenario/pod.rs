//! Pods of a scenario, checked, and whom its operator spares or prefers to see go.

use std::collections::BTreeSet;

use forestall_decide::{Moment, Owner, Preference, Preferred, Span};
use serde_saphyr::Spanned;

use super::bounds::{Sum, refuse_long_text, refuse_many_preferences, text_of};
use super::checked::{Place, at, inner, limit, unique};
use super::load::containers;
use super::plain;
use super::raw::{RawPlace, RawPod, RawPreference, RawScenario};
use super::words::RawOwner;
use crate::error::SimError;
use crate::spec::{ContainerSpec, Place as Where, PodSpec};

pub(super) fn pods(raw: &RawScenario, nodes: usize, sum: &mut Sum) -> Result<Vec<PodSpec>, SimError> {
    let preferences = match &raw.policy {
        Some(policy) => {
            refuse_many_preferences(&policy.preferences)?;
            let read = policy.preferences.iter().map(preference);
            read.collect::<Result<Vec<_>, _>>()?
        }
        None => Vec::new(),
    };
    let mut pods = Vec::with_capacity(raw.pods.len());
    let mut names = BTreeSet::new();
    for one in &raw.pods {
        let mut spec = pod(one, nodes)?;
        if spec.start >= Moment(0) + raw.duration.value.0 {
            return Err(at(
                Place::of(&one.name),
                "the pod starts when the run is over; let `start` be less than `duration`",
            ));
        }
        unique(
            (spec.namespace.clone(), spec.name.clone()),
            &mut names,
            &one.name,
            "pod of this namespace",
        )?;
        spec.prefer(&preferences);
        let places = if spec.place == Where::Each {
            u64::try_from(nodes).unwrap_or(u64::MAX)
        } else {
            1
        };
        let copies = u64::from(spec.count).saturating_mul(places);
        let words = spec.namespace.len() + spec.priority_class.len();
        let text = text_of(&one.labels).saturating_add(words as u64);
        sum.add_pods(copies, &one.name, &one.containers, text)?;
        pods.push(spec);
    }
    Ok(pods)
}

fn preference(raw: &Spanned<RawPreference>) -> Result<Preference, SimError> {
    let it = &raw.value;
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let verdict = Preferred::read(it.never.map(plain::inner), it.weight.map(plain::inner))
        .map_err(|why| at(Place::of(raw), why))?;
    Ok(Preference {
        namespaces: boxed(&it.namespaces),
        labels: it
            .labels
            .iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        priority_classes: boxed(&it.priority_classes),
        verdict,
    })
}

fn pod(raw: &RawPod, nodes: usize) -> Result<PodSpec, SimError> {
    let place = match &raw.node {
        None => Where::Anywhere,
        Some(typed) => match &typed.value {
            RawPlace::Number(number) if (*number as usize) < nodes => Where::Node(*number),
            RawPlace::Word(word) if word == "each" => Where::Each,
            RawPlace::Word(word) if word == "anywhere" => Where::Anywhere,
            RawPlace::Number(_) | RawPlace::Word(_) => {
                return Err(at(
                    Place::of(typed),
                    &format!(
                        "there is no such node; write 0 to {}, each or anywhere",
                        nodes.saturating_sub(1)
                    ),
                ));
            }
        },
    };
    if raw.containers.value.is_empty() {
        return Err(at(Place::of(&raw.containers), "a pod needs a container"));
    }
    for (text, what) in [
        (&raw.namespace, "a namespace"),
        (&raw.priority_class, "a priority class"),
    ] {
        refuse_long_text(text.as_deref().unwrap_or_default(), what, Place::of(&raw.name))?;
    }
    let containers = containers(&raw.containers.value)?;
    if let Some(adj) = raw
        .containers
        .value
        .iter()
        .find_map(|one| one.oom_score_adj.as_ref())
    {
        return Err(at(
            Place::of(adj),
            "the kubelet gives a pod's containers their oom_score_adj, by class and request; leave it out",
        ));
    }
    if let Some(grow) = &raw.grow {
        let has_room =
            |container: &ContainerSpec| container.limit.bytes().is_some_and(|limit| limit < grow.value.0);
        if !containers.iter().any(has_room) {
            return Err(at(
                Place::of(grow),
                "no container has a limit below this that could be raised to it",
            ));
        }
    }
    if let Some(warning) = &raw.before_oom
        && warning.value.0 == Span(0)
    {
        return Err(at(
            Place::of(warning),
            "a warning takes time to be of use, such as 5s; leave it out for none",
        ));
    }
    let spec = PodSpec {
        namespace: raw
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned())
            .into(),
        place,
        count: raw.count.as_ref().map_or(1, |count| count.value.0),
        start: Moment(0) + raw.start.map_or(Span(0), inner),
        spread: raw.spread.map_or(Span(0), inner),
        priority: raw.priority.map_or(0, plain::inner),
        owner: match raw.owner {
            None | Some(RawOwner::Controller) => Owner::Controller,
            Some(RawOwner::Daemonset) => Owner::DaemonSet,
            Some(RawOwner::Nobody) => Owner::Nobody,
        },
        is_static: raw.is_static.is_some_and(plain::inner),
        opted_out: raw.opted_out.is_some_and(plain::inner),
        labels: raw
            .labels
            .iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        priority_class: raw.priority_class.as_deref().unwrap_or_default().into(),
        final_eviction: raw.final_eviction.is_some_and(plain::inner),
        warning: raw.before_oom.as_ref().map(|warning| warning.value.0),
        grow_max: raw.grow.as_ref().map(|grow| grow.value.0),
        preference: raw.preference.map_or(0, plain::inner),
        grace: raw.grace.map_or(Span::secs(30), inner),
        term: raw.term.map_or(Span::secs(1), inner),
        request: raw.request.as_ref().map(|request| request.value.0),
        limit: limit(raw.limit.as_ref())?,
        ..PodSpec::plain(&raw.name.value, containers)
    };
    refuse_what_kubernetes_does(raw, &spec)?;
    Ok(spec)
}

/// What a pod has of its own bounds its containers (k/k `pkg/apis/core/validation`, `validatePodResourceConsistency`).
fn refuse_what_kubernetes_does(raw: &RawPod, spec: &PodSpec) -> Result<(), SimError> {
    if let Some(request) = &raw.request
        && request.value.0 < spec.requested_by_containers()
    {
        return Err(at(
            Place::of(request),
            "the containers request more than this together, which Kubernetes refuses; make it more",
        ));
    }
    let Some(limit) = &raw.limit else {
        return Ok(());
    };
    if spec.requested() > limit.value.0 {
        return Err(at(
            Place::of(limit),
            "the pod requests more than this, by itself or by its containers, which Kubernetes refuses; raise the limit",
        ));
    }
    for container in &raw.containers.value {
        if let Some(own) = &container.limit
            && own.value.0 > limit.value.0
        {
            return Err(at(
                Place::of(own),
                "the limit is above the pod's own, which Kubernetes refuses; lower it, or raise the pod's",
            ));
        }
    }
    Ok(())
}
