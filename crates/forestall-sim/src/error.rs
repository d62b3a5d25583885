//! What can be wrong before a world starts, or with the file that describes it.

/// Why a world cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// The file is no scenario; the message starts with `line:column` where there is one.
    #[error("{0}")]
    Scenario(String),
    /// Containers follow each other round in a circle.
    #[error("pod {pod}: container {container} follows itself; let one of them have a load of its own")]
    Cycle {
        /// Which pod.
        pod: String,
        /// One of the circle.
        container: String,
    },
    /// A pod is to start on a node that there is not.
    #[error("pod {pod}: there is no node number {node}; there are {nodes}")]
    NoSuchNode {
        /// Which pod.
        pod: String,
        /// The number.
        node: u32,
        /// How many there are.
        nodes: usize,
    },
    /// A container follows one that its pod does not have.
    #[error("pod {pod}: container {container} follows one that the pod does not have")]
    NoLeader {
        /// Which pod.
        pod: String,
        /// Which container.
        container: String,
    },
    /// There is nothing to simulate.
    #[error("there are no nodes; name at least one")]
    NoNodes,
}
