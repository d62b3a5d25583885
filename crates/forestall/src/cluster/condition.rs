//! Two conditions of the own Node: `MemoryRunwayLow` and `KernelOOM`, for whoever looks at nodes and knows nothing of this agent.
//!
//! `runway.rs` and `kill.rs` say what is so, [`keep()`] has it stand on the Node, here is how it is written there. It refuses to touch any other condition, and
//! to write where nothing has changed, but for a sign of life.
//!
//! Sources: `k8s.io/api/core/v1/types.go` (`NodeCondition`; conditions are merged by their type), k/k `pkg/kubelet/nodestatus/setters.go`.

mod keep;
mod kill;
mod runway;

use serde_json::{Value, json};

pub(crate) use self::keep::{NodeSources, keep};

/// No message is longer: `kubectl describe node` shows it in one line.
const MESSAGE_BYTES_MAX: usize = 512;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MemoryRunwayLow,
    KernelOom,
}

impl Kind {
    const ALL: [Self; 2] = [Self::MemoryRunwayLow, Self::KernelOom];

    const fn label(self) -> &'static str {
        match self {
            Self::MemoryRunwayLow => "MemoryRunwayLow",
            Self::KernelOom => "KernelOOM",
        }
    }
}

/// `v1.ConditionStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    True,
    False,
    /// Nobody looks.
    Unknown,
}

impl Status {
    const fn label(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    kind: Kind,
    status: Status,
    /// A word in the API's spelling.
    reason: &'static str,
    /// Names in it are escaped.
    message: String,
}

impl Condition {
    fn new(kind: Kind, status: Status, reason: &'static str, mut message: String) -> Self {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self {
            kind,
            status,
            reason,
            message,
        }
    }

    /// This agent looks no more. Neither True nor False could be taken back, and what nobody knows is Unknown, as the node controller says of a kubelet that is gone.
    fn of_nobody(kind: Kind) -> Self {
        Self::new(
            kind,
            Status::Unknown,
            "AgentEnded",
            "the forestall agent of this node has ended".to_owned(),
        )
    }

    /// Memory runs low, by more than growth that may be over in a moment, as when pods start.
    fn is_grave(&self) -> bool {
        self.kind == Kind::MemoryRunwayLow && self.status == Status::True && self.reason != runway::SHORT
    }

    /// As it stands on the Node: since when it has had this status, and when it was said last.
    fn object(&self, since: &str, said: &str) -> Value {
        json!({
            "type": self.kind.label(),
            "status": self.status.label(),
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": since,
            "lastHeartbeatTime": said,
        })
    }
}

#[cfg(test)]
pub(in crate::cluster) mod tests;
