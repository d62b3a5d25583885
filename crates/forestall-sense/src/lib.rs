//! From the kernel's files to the engine's [`Sample`](forestall_decide::Sample).
//!
//! [`Sensor::open`] finds out what this machine offers and opens it; [`Sensor::sample`] reads it once more. It works
//! with what is there: on a machine without memory cgroups the sample has the node's figures alone, and
//! [`Capabilities`] says so. What it refuses to do: act, decide, sleep, or keep a clock (time is handed in); and a steady
//! sample allocates nothing, so that it can be taken when memory has run out.
#![forbid(unsafe_code)]

mod agents;
mod capabilities;
mod config;
mod error;
mod essentials;
mod failures;
mod glances;
mod groups;
mod node;
mod processes;
mod pulse;
mod rest;
mod roster;
mod sensor;
mod stopwatch;
mod traits;
mod zswap;

pub use capabilities::Capabilities;
pub use config::SenseConfig;
pub use error::Error;
pub use roster::{Member, Roster};
pub use sensor::{Glance, Sensor};
