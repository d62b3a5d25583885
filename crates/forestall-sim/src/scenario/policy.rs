//! What agents are told, checked. A preset is a public rule kept runnable, and brings its own rungs and pace.

use forestall_decide::{Bytes, Mode, Policy, Preset, Rung, Rungs, Span, Victims};
use serde_saphyr::Spanned;

use super::checked::{Place, at};
use super::load::INTERVAL_MIN;
use super::plain::Plain;
use super::raw::RawPolicy;
use super::text::{Permille, Typed};
use super::words::{RawMode, RawPreset, RawVictims};
use crate::error::SimError;
use crate::spec::NodeSpec;

/// The policy of the agents on these nodes.
pub(super) fn policy(raw: &RawPolicy, nodes: &[NodeSpec]) -> Result<Policy, SimError> {
    let mut policy = Policy {
        mode: match raw.mode {
            Some(RawMode::Observe) => Mode::Observe,
            Some(RawMode::Shadow) => Mode::Shadow,
            // Whoever writes a policy into a scenario wants to see it act.
            None | Some(RawMode::Enforce) => Mode::Enforce,
        },
        preset: match raw.preset {
            None | Some(RawPreset::Forestall) => Preset::Forestall,
            Some(RawPreset::WarStoryA) => Preset::WarStoryA,
            Some(RawPreset::Gist) => Preset::Gist,
        },
        ..Policy::default()
    };
    match policy.preset {
        Preset::Forestall => {}
        Preset::WarStoryA => {
            policy.rungs = Rungs::of(&[Rung::Kill]);
            policy.victims = Victims::Priority;
            policy.tick_calm = Span::secs(2);
        }
        Preset::Gist => {
            policy.rungs = Rungs::of(&[Rung::Sysrq]);
            policy.tick_calm = Span::secs(60);
        }
    }
    match raw.victims {
        Some(RawVictims::Culprit) => policy.victims = Victims::Culprit,
        Some(RawVictims::Kubelet) => policy.victims = Victims::Kubelet,
        Some(RawVictims::Priority) => policy.victims = Victims::Priority,
        None => {}
    }
    set(&mut policy.tick_calm, often(raw.interval.as_ref(), "interval")?);
    policy.tick_idle = often(raw.idle.as_ref(), "idle")?.unwrap_or(policy.tick_calm);
    let min_available = raw.min_available.as_ref().map(|size| size.value.0);
    set(&mut policy.gist_available_bytes_min, min_available);
    let permille = |share: &Spanned<Typed<Permille>>| share.value.0.0;
    set(
        &mut policy.war_story_used_permille,
        raw.used.as_ref().map(permille),
    );
    set(
        &mut policy.war_story_cache_permille,
        raw.cache.as_ref().map(permille),
    );
    for (rung, typed) in raw.rungs.typed() {
        if let Some(Plain(on)) = typed {
            policy.rungs = policy.rungs.with(rung, on);
        }
    }
    refuse_nonsense(raw, &policy, nodes)?;
    Ok(policy)
}

/// Thresholds of a public preset that are always or never crossed, or that belong to another one and would do nothing.
fn refuse_nonsense(raw: &RawPolicy, policy: &Policy, nodes: &[NodeSpec]) -> Result<(), SimError> {
    if let Some(typed) = &raw.min_available {
        let place = Place::of(typed);
        if policy.preset != Preset::Gist {
            return Err(at(
                place,
                "minAvailable belongs to preset: gist; leave it out, or name that",
            ));
        }
        if typed.value.0 == Bytes::ZERO {
            return Err(at(place, "0 bytes would never act; write more, such as 350Mi"));
        }
        if nodes.iter().any(|node| typed.value.0 >= node.memory) {
            return Err(at(
                place,
                "this is all that a node has or more, so that it would always act; write less",
            ));
        }
    }
    for (typed, name, usual) in [(&raw.used, "used", "85%"), (&raw.cache, "cache", "15%")] {
        let Some(typed) = typed else { continue };
        let place = Place::of(typed);
        if policy.preset != Preset::WarStoryA {
            let why = format!("{name} belongs to preset: war-story-a; leave it out, or name that");
            return Err(at(place, &why));
        }
        if !(1..=1000).contains(&typed.value.0.0) {
            let why =
                format!("{name} is more than 0% and at most 100% of the node's memory, such as {usual}");
            return Err(at(place, &why));
        }
    }
    let never = (policy.war_story_used_permille, policy.war_story_cache_permille) == (1000, 1000);
    match raw.used.as_ref().or(raw.cache.as_ref()) {
        Some(typed) if never => Err(at(
            Place::of(typed),
            "100% used, like 100% of cache, would never act; write less, such as 85% used",
        )),
        _ => Ok(()),
    }
}

/// How often an agent looks, which is bounded as loads are.
fn often(raw: Option<&Spanned<Typed<Span>>>, name: &str) -> Result<Option<Span>, SimError> {
    match raw {
        Some(typed) if typed.value.0 < INTERVAL_MIN => Err(at(
            Place::of(typed),
            &format!("{name} is shorter than 1ms, the shortest there is"),
        )),
        _ => Ok(raw.map(|typed| typed.value.0)),
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
