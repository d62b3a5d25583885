//! Whether the node that the agent is told to be on is this machine.
//!
//! `NODE_NAME` says whose pods are followed, and where somebody wrote another node's into a manifest, this machine would be guarded by what that one's pods ask
//! for. The kubelet writes into its Node which boot of a kernel it runs on, and that can be compared; the other identities of a machine it may hide from a
//! container, or give twice. What it refuses to do: take silence for a proof. Who cannot compare says so, and goes on; nodes that share one kernel (kind) look alike.
//!
//! Source: k/k `pkg/kubelet/nodestatus/setters.go` (`MachineInfo`), cadvisor `machine/info.go` (`boot_id_file`), Linux `drivers/char/random.c` (`boot_id`).

use super::link::Link;
use super::own_node::{self, OwnNode};

/// What was asked for once, and is told of two things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) identity: Identity,
    /// The Node, where it could be read.
    pub(super) node: Option<OwnNode>,
}

/// What a comparison has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The node and this machine run on one kernel, since it was started last.
    Same,
    /// They cannot be compared.
    Untold(String),
    /// They do not.
    Other(String),
}

/// Compares the node of this name with this machine, whose boot this is.
///
/// Whatever keeps the node from being read says nothing of the pods, which are known by then: where the connection itself is gone, the watch ends as well.
pub(super) async fn compare(link: &Link, node: &str, boot: Option<&str>) -> Compared {
    let node = match own_node::read(link, node).await {
        Ok(node) => node,
        Err(why) => {
            return Compared {
                identity: Identity::Untold(why.to_string()),
                node: None,
            };
        }
    };
    let theirs = &node.boot;
    let identity = match boot {
        None => Identity::Untold("this machine has no /proc/sys/kernel/random/boot_id".to_owned()),
        Some(_) if theirs.is_empty() => {
            Identity::Untold("its kubelet has not said which boot it runs on".to_owned())
        }
        Some(ours) if ours.eq_ignore_ascii_case(theirs) => Identity::Same,
        Some(ours) => Identity::Other(format!(
            "boot {}, and this machine on {ours}",
            crate::log::escape::bytes(theirs.as_bytes())
        )),
    };
    Compared {
        identity,
        node: Some(node),
    }
}
