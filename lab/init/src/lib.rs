//! What the host and a lab guest say to each other: the plan the guest carries out, and the reports it sends back.
//!
//! This library holds no behaviour but how a reaction is timed, which both sides do. The guest's side is the binary of this
//! package, the host's is `cargo xtask lab` and `cargo xtask bench`.
pub mod plan;
pub mod reaction;
pub mod report;
pub mod rights;
