//! `NodeMemory`: what this node's memory comes to, as an object of the cluster's, so that whoever asks for it needs no way to this node.
//!
//! Here is what stands in it, `course.rs` says when that is worth another write, and [`keep()`] has it written. It refuses to say who fills the memory: every
//! account that may read it reads it of all nodes. What cannot be is cut down to what can, and what is unknown is left out.
//!
//! Its schema is `deploy/kustomize/node-memory/kind.yaml`, why it is as it is `docs/decisions/0015-nodememory.md`.

mod course;
mod keep;
mod others;

use std::time::SystemTime;

use forestall_decide::{Bytes, Moment, Span, WallKind};
use serde_json::{Map, Value, json};

pub(crate) use self::keep::keep;
pub(super) use self::others::{Known, Standing, read_page};
use super::own_node::{OwnNode, Taints};
use super::seen::{Seen, Wall};
use crate::log::time::rfc3339_seconds;

pub(super) const VERSION: &str = "forestall.io/v1alpha1";

/// What takes longer is not in sight: nothing grows in the same way for a day.
const RUNWAY_MAX: Span = Span::secs(86_400);

/// What is told of the machine, each of it at most the machine's size.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figures {
    /// Of the look that saw them.
    at: Moment,
    total: Bytes,
    /// `MemAvailable`.
    available: Bytes,
    /// In use besides page cache.
    actual: Bytes,
    /// What the kubelet counts as used.
    kubelet: Bytes,
    blind: Bytes,
    /// The next one in front.
    walls: Vec<WallFigures>,
    /// `None` where the Node could not be read.
    scheduling: Option<Scheduling>,
}

/// What the scheduler goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scheduling {
    allocatable: Bytes,
    /// By the pods that are here.
    requested: Bytes,
    taints: Taints,
}

/// What is told of one of the machine's walls.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WallFigures {
    wall: WallKind,
    left: Bytes,
    /// p10, p50 and p90, each at least as long as the one before it; `None` from the first that is not in sight.
    runway: [Option<Span>; 3],
    is_alarmed: bool,
}

impl Figures {
    /// `None` of a machine without memory.
    fn of(seen: &Seen) -> Option<Self> {
        let node = &seen.node;
        let total = Some(node.total).filter(|total| *total > Bytes::ZERO)?;
        Some(Self {
            at: seen.at,
            total,
            available: node.available.min(total),
            actual: node.actual().min(total),
            kubelet: node.kubelet_working_set().min(total),
            blind: node.blind().min(total),
            walls: seen
                .walls
                .iter()
                .map(|wall| WallFigures::of(wall, total))
                .collect(),
            scheduling: None,
        })
    }

    /// The same with what this Node and its pods tell the scheduler.
    fn with(self, node: Option<&OwnNode>, requested: Option<Bytes>) -> Self {
        let scheduling = node.and_then(|node| {
            Some(Scheduling {
                allocatable: node.allocatable?.min(self.total),
                requested: requested?,
                taints: node.taints.clone(),
            })
        });
        Self { scheduling, ..self }
    }

    /// As it is written, owned by the Node so that it goes with it.
    fn object(&self, node: &str, node_uid: Option<&str>, seen_at: SystemTime) -> Value {
        let mut metadata = json!({ "name": node });
        if let Some(uid) = node_uid {
            metadata["ownerReferences"] =
                json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }]);
        }
        let mut object = json!({
            "apiVersion": VERSION,
            "kind": "NodeMemory",
            "metadata": metadata,
            "seenAt": rfc3339_seconds(seen_at),
            "memory": {
                "total": quantity(self.total),
                "available": quantity(self.available),
                "actual": quantity(self.actual),
                "kubelet": quantity(self.kubelet),
                "blind": quantity(self.blind),
            },
            "walls": self.walls.iter().map(WallFigures::object).collect::<Vec<_>>(),
        });
        if let Some(scheduling) = &self.scheduling {
            object["scheduling"] = json!({
                "allocatable": quantity(scheduling.allocatable),
                "requested": quantity(scheduling.requested),
                "taints": scheduling.taints.0,
            });
        }
        object
    }
}

impl WallFigures {
    fn of(wall: &Wall, total: Bytes) -> Self {
        let reading = &wall.reading;
        let bounds = reading.runway;
        let mut shortest = Span(0);
        let runway = [bounds.p10, bounds.p50, bounds.p90].map(|bound| {
            shortest = shortest.max(bound);
            Some(shortest).filter(|bound| *bound <= RUNWAY_MAX)
        });
        Self {
            wall: reading.wall,
            left: reading.distance.min(total),
            runway,
            is_alarmed: reading.alarmed,
        }
    }

    fn object(&self) -> Value {
        let mut object = json!({
            "name": self.wall.label(),
            "left": quantity(self.left),
            "alarm": self.is_alarmed,
        });
        let bounds = ["p10Seconds", "p50Seconds", "p90Seconds"]
            .into_iter()
            .zip(self.runway);
        let runway: Map<String, Value> = bounds
            .filter_map(|(name, bound)| Some((name.to_owned(), (bound?.as_millis() / 1_000).into())))
            .collect();
        if !runway.is_empty() {
            object["runway"] = runway.into();
        }
        object
    }
}

/// `resource.Quantity` in whole mebibytes, rounded down: no reader acts on less.
fn quantity(bytes: Bytes) -> String {
    format!("{}Mi", bytes.0 >> 20)
}

#[cfg(test)]
mod tests;
