//! Any bytes as a configuration file. What has to hold of them stands beside the configuration's tests, which ask it of changed examples.

#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

#[path = "../../crates/forestall/src/config/tests/any_text.rs"]
mod any_text;
#[allow(
    dead_code,
    unused_imports,
    reason = "a part of the binary's modules, as the binary has them"
)]
#[path = "../../crates/forestall/src/agent/args.rs"]
mod args;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../../crates/forestall/src/config/mod.rs"]
mod config;
#[allow(dead_code, reason = "as above")]
#[path = "../../crates/forestall/src/input/mod.rs"]
mod input;

mod agent {
    pub(crate) use crate::args::AgentArgs;
}

/// A file in memory.
fn keep(content: &[u8], read: &mut dyn FnMut(&Path)) {
    let memory = memfd_create(c"config", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(memory);
    file.write_all(content).expect("it takes some bytes");
    read(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())));
}

fuzz_target!(|content: &[u8]| any_text::judge(content, keep));
