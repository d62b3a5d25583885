//! What the talk thread knows of the API server, for the pages to show.

use forestall_decide::Moment;

/// The line to the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Api {
    /// Why it is away; `None` while it answers.
    pub(crate) away: Option<String>,
    /// Pods of this node that are known.
    pub(crate) pods: u64,
    /// Pods that are not followed because there are too many.
    pub(crate) left_out: u64,
    /// When all of them were last known to be so; `None` before the first list.
    pub(crate) told_at: Option<Moment>,
}
