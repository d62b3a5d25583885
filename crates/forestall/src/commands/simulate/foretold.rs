//! The shadow kubelet's check: what it foretold first on each node, and what the node's kubelet then did.

use std::fmt::Write as _;

use forestall_sim::{Foretelling, World};
use serde_json::Value;

use super::Run;
use crate::commands::foretold::{Came, Foretold, error, object};
use crate::log::escape;

/// So many nodes are told one by one.
const NODES_MAX: usize = 4;

/// The first announcement of a node, and what came of it.
pub(super) fn of(it: &Foretelling) -> Foretold {
    Foretold {
        at_micros: it.at.0,
        wall: it.wall.label(),
        acts: it.acts,
        names: it.victims.iter().map(|name| escape::text(name)).collect(),
        unmended: it.unmended.clone(),
        acted: it.acted,
        came: it.came.as_ref().map(|came| Came {
            after: came.after,
            whom: vec![escape::text(&came.victim)],
            by_kernel: came.killed_at.is_some(),
            right_pod: came
                .killed_at
                .is_none()
                .then(|| it.victims.contains(&came.victim)),
        }),
    }
}

/// All nodes of a run in a sentence; nothing where nothing was foretold and nobody was evicted.
pub(super) fn summary(run: &Run) -> Option<String> {
    let all = &run.report.foretellings;
    if all.first.is_empty() && all.untold.is_empty() {
        return None;
    }
    let [
        mut evicted,
        mut right,
        mut in_time,
        mut killed,
        mut warned,
        mut acted,
    ] = [0_usize; 6];
    let mut errors: Vec<i64> = Vec::new();
    for (_, it) in &all.first {
        let told = of(it);
        match &told.came {
            None => acted += usize::from(told.acted),
            Some(came) if came.by_kernel => {
                killed += 1;
                warned += usize::from(told.warns_of_kernel());
            }
            Some(came) => {
                evicted += 1;
                right += usize::from(came.right_pod == Some(true));
                in_time += usize::from(told.is_in_time(came));
                errors.push(told.error_micros(came));
            }
        }
    }
    errors.sort_unstable();
    let mut said = format!(
        "foretold on {}: the kubelet evicted on {evicted}, one that was named on {right}, within the bounds on {in_time}",
        nodes(all.first.len())
    );
    // Writing to a String cannot fail.
    if let Some(median) = errors.get(errors.len() / 2) {
        let _ = write!(said, ", {} than likely in the median", error(*median));
    }
    if killed > 0 {
        let _ = write!(
            said,
            "; the kernel was first on {killed}, as was said on {warned}"
        );
    }
    if acted > 0 {
        let _ = write!(said, "; on {acted} the agent acted and nobody was evicted");
    }
    if !all.untold.is_empty() {
        let _ = write!(
            said,
            "; on {} an eviction was not foretold",
            nodes(all.untold.len())
        );
    }
    Some(said)
}

fn nodes(count: usize) -> String {
    let name = if count == 1 { "node" } else { "nodes" };
    format!("{count} {name}")
}

/// A run's check for people.
pub(super) fn lines(out: &mut String, world: &World, run: &Run) {
    let Some(summary) = summary(run) else { return };
    let _ = writeln!(out, "\nshadow kubelet, {}, seed {}:", run.variant, run.seed);
    let _ = writeln!(out, "{:>14}{summary}", "");
    let first = &run.report.foretellings.first;
    for (node, foretelling) in first.iter().take(NODES_MAX) {
        let spec = world.nodes.get(*node as usize);
        let name = spec.map_or_else(String::new, |spec| escape::text(&spec.name));
        let (at, told) = (super::timeline::seconds(foretelling.at), of(foretelling));
        let _ = writeln!(out, "{at:>12}  {name}: {}", told.said());
        let _ = writeln!(out, "{:>14}{}", "", told.outcome());
    }
    let more = first.len().saturating_sub(NODES_MAX);
    if more > 0 {
        let _ = writeln!(out, "{:>14}and {} more; -o json has all", "", nodes(more));
    }
}

/// A run's check for programs. It has a version of its own, because it follows the shadow kubelet's vocabulary.
pub(super) fn value(run: &Run) -> Value {
    let all = &run.report.foretellings;
    if all.first.is_empty() && all.untold.is_empty() {
        return Value::Null;
    }
    let node = |(node, it): &(u32, Foretelling)| {
        let mut value = of(it).value(0);
        value.insert("node".to_owned(), (*node).into());
        Value::Object(value)
    };
    object([
        ("version", 1.into()),
        ("nodes", all.first.iter().map(node).collect()),
        ("untold_nodes", all.untold.iter().copied().collect()),
    ])
    .into()
}
