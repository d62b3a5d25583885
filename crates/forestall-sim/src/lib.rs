//! A seeded world: nodes with pods that use memory, a kernel that reclaims and kills, a kubelet that evicts, a scheduler
//! that puts what was evicted somewhere else, and the real engine on every node that has an agent.
//!
//! Time is skipped from one event to the next: every line of memory is straight between two events, so the moment at which
//! it reaches a limit is known and nobody has to look on the way. Integers only; a seed gives the same run everywhere. What
//! it refuses to do: read a clock, a file or the environment; and judge itself: checkers see events alone and know nothing
//! of the world's insides.
#![forbid(unsafe_code)]

mod agent;
mod blame;
mod calm;
mod cast;
mod check;
mod chronicle;
mod crowd;
mod curve;
mod effect;
mod error;
mod event;
mod fault;
mod fleet;
mod foretelling;
mod hands;
mod keep;
mod kernel;
mod kubelet;
mod levels;
mod load;
mod lows;
mod memory;
mod node;
mod order;
mod process;
mod promise;
mod random;
mod reclaim;
mod refusal;
mod report;
mod resources;
mod rounds;
mod sample;
mod scenario;
mod scheduler;
mod spec;
mod start;
mod swap;
mod swarm;
mod tally;
mod throttle;
mod told;
mod world;

pub use check::{Checker, Checkers, Otherwise, RULES, Rule, Violation};
pub use chronicle::{LeftOut, is_minor};
pub use curve::{CurveRow, Curves, FleetRow, KINDS_MAX, NodeCurve};
pub use error::SimError;
pub use event::{
    Aim, AimKind, BrakeState, Event, Grower, Leaving, Look, Order, Passed, Victim, WallTruth, What,
};
pub use fleet::fleet;
pub use foretelling::{Came, Foretelling, Foretellings};
pub use memory::Part;
pub use random::Random;
pub use report::{Report, RunOptions, is_notable};
pub use scenario::{Scenario, parse_scenario};
pub use spec::{Accounting, ContainerSpec, Fault, FaultKind, Load, NodeSpec, Place, PodSpec, World};
pub use swarm::{swarm, swarm_policy};
pub use tally::Tally;
pub use world::{Options, Running};
