//! What the talk thread knows of the API server, for the pages to show.

use forestall_decide::kubelet::Signal;
use forestall_decide::{Bytes, Moment};

use crate::cluster::Skew;

/// The line to the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Api {
    /// Why it is away; `None` while it answers.
    pub(crate) away: Option<String>,
    /// Pods of this node that are known.
    pub(crate) pods: u64,
    /// Pods that are not followed because there are too many or they are too large.
    pub(crate) left_out: u64,
    /// When all of them were last known to be so; `None` before the first list.
    pub(crate) told_at: Option<Moment>,
    /// How far its clock is from ours, where its answers say.
    pub(crate) skew: Option<Skew>,
    /// Why the kubelet does not say what it runs with and believes, where it was asked.
    pub(crate) kubelet_silent: Option<String>,
    /// Why the Node does not bear this agent's conditions.
    pub(crate) conditions_refused: Option<String>,
    /// Why the cluster has no figures of this node, or old ones.
    pub(crate) node_memory_refused: Option<String>,
    /// Why the Node's taint is not as it should be.
    pub(crate) taint_refused: Option<String>,
    /// What it believes beside what its own rules make of our figures.
    pub(crate) compared: Vec<Compared>,
}

/// One signal of the kubelet's, twice. Its own figure is some ten seconds older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Which.
    pub(crate) signal: Signal,
    /// Available, by the kubelet's word.
    pub(crate) believed: Bytes,
    /// Available, by its rules and our figures.
    pub(crate) counted: Bytes,
    /// Of so much.
    pub(crate) size: Bytes,
}
