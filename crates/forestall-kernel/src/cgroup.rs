//! Control groups: where the memory hierarchy is mounted, what a path says and from where it is told, one open cgroup, and the tree of those that
//! are followed.
//!
//! It refuses to write: nothing here changes a limit or moves a process. It refuses, too, to interpret figures: files
//! come out as bytes for the parsers.

mod dir;
mod ear;
mod hierarchy;
mod identity;
mod kills;
mod tree;
mod vantage;

pub use dir::{CgroupDir, GroupFile};
pub use hierarchy::{Hierarchy, HierarchyError, Layout, Version};
pub use identity::{ContainerIdentity, Identity, PodIdentity, PodUid, Qos, Runtime};
pub use kills::{KillCount, KillCounters, LimitMet, OwnCount};
pub use tree::{Bounds, Hearing, Look, Node, Tree};
pub use vantage::{Home, Vantage};
