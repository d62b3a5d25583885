//! The figures of a sample by the names of their columns, for whoever shows them.

use forestall_decide::{GroupSample, NodeSample, ProcessSample};

use crate::column::{Column, GROUP, NODE, PROCESS};

/// The machine's figures.
pub fn node(node: &NodeSample) -> impl Iterator<Item = (&'static str, u64)> {
    figures(node, NODE)
}

/// A cgroup's. The parent is its position plus one; 0 for none.
pub fn group(group: &GroupSample) -> impl Iterator<Item = (&'static str, u64)> {
    figures(group, GROUP)
}

/// A process's.
pub fn process(process: &ProcessSample) -> impl Iterator<Item = (&'static str, u64)> {
    figures(process, PROCESS)
}

fn figures<'a, T>(
    row: &'a T,
    columns: &'static [Column<T>],
) -> impl Iterator<Item = (&'static str, u64)> + use<'a, T> {
    columns.iter().map(move |column| (column.name, (column.get)(row)))
}
