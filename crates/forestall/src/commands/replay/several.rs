//! Several recordings, each replayed for itself, and what they come to together.

use std::fmt::Write as _;

use serde::Serialize;

use super::report::{Report, Summary};
use super::table;

/// The answer where a trace holds more than one recording. Version 1: fields may be added, none changes its meaning.
#[derive(Debug, Serialize)]
pub(super) struct Several {
    kind: &'static str,
    version: u32,
    /// Each as it would be told alone.
    recordings: Vec<Report>,
    summary: Summary,
    /// Evictions by the kubelets, in all recordings.
    kubelet_evictions: u64,
    notes: Vec<String>,
}

impl Several {
    pub(super) fn new(recordings: Vec<Report>, notes: Vec<String>) -> Self {
        let summary = Summary::of(
            recordings.iter().flat_map(|report| &report.actions),
            recordings.iter().flat_map(|report| &report.kernel_kills),
        );
        let evictions = recordings.iter().map(|report| report.trace.kubelet_evictions);
        Self {
            kind: "replay-list",
            version: 1,
            summary,
            kubelet_evictions: evictions.sum(),
            recordings,
            notes,
        }
    }
}

/// For people: one after the other, each under its heading, and the sum of all.
pub(super) fn render(all: &Several) -> String {
    let mut text = String::new();
    let count = all.recordings.len();
    for (number, report) in (1..).zip(&all.recordings) {
        let boot = match &*report.trace.boot {
            "" => "not told",
            told => told,
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "RECORDING {number} OF {count}: {}, boot {boot}",
            report.trace.node
        );
        text.push_str(&table::render(report));
        text.push('\n');
    }
    let _ = writeln!(text, "ALL {count} RECORDINGS");
    table::summary(&mut text, &all.summary, all.kubelet_evictions);
    table::notes(&mut text, &all.notes);
    text
}
