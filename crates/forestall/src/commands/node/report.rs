//! The answer of `forestall node`, as one structure that every format is made from.

use std::fmt::Write as _;

use forestall_decide::kubelet::{KubeletConfig, Signal};
use serde::Serialize;

use super::division::Division;
use super::machine::{Pods, Views};
use super::top::Top;
use super::wall::{Wall, WallKind};
use crate::commands::free::shown::mebi;

/// The allocation map of a node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Always `node`.
    pub(crate) kind: &'static str,
    /// Version of this structure: fields may be added, none changes its meaning within a version.
    pub(crate) version: u32,
    /// Whether everything that was looked for on the machine could be read and can be true.
    pub(crate) complete: bool,
    /// Whether a kubelet's rules apply, configured, assumed or asked for.
    pub(crate) kubelet: bool,
    /// Where the figures come from, in words.
    pub(crate) sources: Vec<String>,
    /// How memory is divided.
    pub(crate) division: Division,
    /// Where each figure of the division comes from.
    pub(crate) origins: Origins,
    /// The kubelet's thresholds.
    pub(crate) thresholds: Vec<ThresholdLine>,
    /// For so long the node counts as under pressure after the last threshold was met.
    pub(crate) pressure_transition_seconds: u64,
    /// Where something is killed.
    pub(crate) walls: Vec<Wall>,
    /// The nearest of them.
    pub(crate) next_wall: Option<WallKind>,
    /// Which of the walls that is.
    #[serde(skip)]
    pub(crate) next: Option<usize>,
    /// What `kubectl top node` shows, percent.
    pub(crate) top_node_percent: Option<u64>,
    /// The same, explained.
    pub(crate) top: Option<Top>,
    /// The same memory counted by the kernel and by the kubelet; absent for figures that were given.
    pub(crate) views: Option<Views>,
    /// All pods; absent where there are none.
    pub(crate) pods: Option<Pods>,
    /// Remarks.
    pub(crate) notes: Vec<String>,
}

/// Who said each figure, in words; empty or absent where there is no such figure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Origins {
    /// Of the capacity.
    pub(crate) capacity: String,
    /// Of `kube-reserved`.
    pub(crate) kube_reserved: String,
    /// Of `system-reserved`.
    pub(crate) system_reserved: String,
    /// Of the huge pages.
    pub(crate) hugepages: Option<String>,
    /// Of the hard threshold.
    pub(crate) eviction_hard: Option<String>,
    /// Of the soft one.
    pub(crate) eviction_soft: Option<String>,
    /// Of the limit of `kubepods`; absent where it is reckoned from the others.
    pub(crate) kubepods_limit: Option<String>,
}

/// One threshold as the kubelet holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ThresholdLine {
    /// The kubelet's name of the signal.
    pub(crate) signal: &'static str,
    /// Below this it is met, bytes.
    pub(crate) below_bytes: u64,
    /// For so long it must be met; 0 for a hard one.
    pub(crate) grace_seconds: u64,
    /// So much more must be available for it to be over, bytes.
    pub(crate) minimum_reclaim_bytes: u64,
}

impl ThresholdLine {
    /// All thresholds of a configuration.
    pub(crate) fn list(config: &KubeletConfig) -> Vec<Self> {
        let line = |threshold: &forestall_decide::kubelet::Threshold| Self {
            signal: match threshold.signal {
                Signal::MemoryAvailable => "memory.available",
                Signal::AllocatableMemoryAvailable => "allocatableMemory.available",
            },
            below_bytes: threshold.value.0,
            grace_seconds: threshold.grace.0.div_ceil(1_000_000),
            minimum_reclaim_bytes: threshold.min_reclaim.0,
        };
        config.thresholds.iter().map(line).collect()
    }

    /// When it is met, and when that is over.
    pub(crate) fn sentence(&self) -> String {
        let mut text = format!("{} < {} MiB", self.signal, mebi(self.below_bytes));
        match self.grace_seconds {
            0 => text.push_str(" (hard): the kubelet evicts when it looks"),
            grace => {
                let _ = write!(text, " (soft): the kubelet evicts after {grace} s");
            }
        }
        if self.minimum_reclaim_bytes > 0 {
            let _ = write!(
                text,
                ", until {} MiB more are available",
                mebi(self.minimum_reclaim_bytes)
            );
        }
        text
    }
}

/// A line of the division as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// What it is, with the sign of the sum.
    pub(crate) name: &'static str,
    /// How much; `None` where there is none.
    pub(crate) bytes: Option<u64>,
    /// Whether it is what the lines above it come to.
    pub(crate) is_result: bool,
    /// Who said so.
    pub(crate) source: &'a str,
}

impl Report {
    /// What all pods use, by the kubelet's count where there is one.
    pub(crate) fn pods_used(&self) -> Option<u64> {
        let of_pods = |wall: &&Wall| matches!(wall.kind, WallKind::KubeletAllocatable | WallKind::Kubepods);
        self.walls.iter().find(of_pods)?.used_bytes
    }

    /// From this figure on the kubelet evicts because all pods use too much; where it does not, the end of their part.
    pub(crate) fn pods_line(&self) -> u64 {
        let mut walls = self.walls.iter();
        let line = walls.find(|wall| wall.kind == WallKind::KubeletAllocatable);
        line.map_or(self.division.pods_end(), |wall| wall.at_bytes)
    }

    /// The division as a sum, line by line.
    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        let (division, origins) = (&self.division, &self.origins);
        let line = |name, bytes, is_result, source| Line {
            name,
            bytes,
            is_result,
            source,
        };
        let mut lines = vec![
            line(
                "capacity",
                Some(division.capacity_bytes),
                false,
                origins.capacity.as_str(),
            ),
            line(
                "- kube-reserved",
                Some(division.kube_reserved_bytes),
                false,
                &origins.kube_reserved,
            ),
            line(
                "- system-reserved",
                Some(division.system_reserved_bytes),
                false,
                &origins.system_reserved,
            ),
        ];
        let source = origins.kubepods_limit.as_deref().unwrap_or_default();
        lines.push(line(
            "= kubepods limit",
            division.kubepods_limit_bytes,
            true,
            source,
        ));
        let source = origins.eviction_hard.as_deref().unwrap_or_default();
        lines.push(line(
            "- eviction-hard",
            Some(division.eviction_hard_bytes),
            false,
            source,
        ));
        if division.hugepages_bytes > 0 {
            let source = origins.hugepages.as_deref().unwrap_or_default();
            lines.push(line(
                "- huge pages",
                Some(division.hugepages_bytes),
                false,
                source,
            ));
        }
        lines.push(line("= allocatable", Some(division.allocatable_bytes), true, ""));
        if let Some(bytes) = division.eviction_soft_bytes {
            let source = origins.eviction_soft.as_deref().unwrap_or_default();
            lines.push(line("  eviction-soft", Some(bytes), false, source));
        }
        lines
    }
}

/// A report as YAML: the JSON of it in block style, with every text quoted as JSON quotes it, which YAML 1.2 reads alike.
pub(crate) fn yaml(value: &serde_json::Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

fn block(text: &mut String, value: &serde_json::Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let _ = write!(text, "{pad}{name}:");
                nested(text, value, depth);
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                block(&mut inner, item, depth + 1);
                // The dash takes the place of the first line's last indentation.
                let body = inner.get(2 * (depth + 1)..).unwrap_or_default();
                let _ = write!(text, "{pad}- {body}");
            }
        }
        scalar => {
            let _ = writeln!(text, "{pad}{scalar}");
        }
    }
}

fn nested(text: &mut String, value: &serde_json::Value, depth: usize) {
    let empty = match value {
        serde_json::Value::Object(fields) => fields.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        let _ = writeln!(text, " {value}");
    } else {
        text.push('\n');
        let is_map = value.is_object();
        block(text, value, if is_map { depth + 1 } else { depth });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_read_back_as_what_was_written() {
        let value = serde_json::json!({
            "kind": "node", "list": [{"a": 1, "b": [true, null]}, {"a": 2, "b": []}], "text": "a: \"b\"\n- #c", "none": null,
        });
        let text = yaml(&value);
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect(&text);
        assert_eq!(read, value, "{text}");
    }
}
