//! Any bytes as a story for the engine: samples, pods, outcomes, policies, and a clock to and fro. It never panics and does nothing for
//! what it ignores. A test of forestall-decide tells the same stories of fixed bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/forestall-decide/tests/steps/mod.rs"]
mod steps;

fuzz_target!(|content: &[u8]| steps::tell(content));
