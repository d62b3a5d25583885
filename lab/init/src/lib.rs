//! What the host and a lab guest say to each other: the plan the guest carries out, and the reports it sends back.
//!
//! This library holds no behaviour. The guest's side is the binary of this package, the host's is `cargo xtask lab`.
pub mod plan;
pub mod report;
pub mod rights;
