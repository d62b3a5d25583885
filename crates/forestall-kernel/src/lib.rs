//! Reading Linux: held files of `/proc` and of cgroup directories, pressure-stall triggers, the kernel's log, and pure parsers
//! over byte slices.
//!
//! What it refuses to do: it writes nothing but a pressure trigger into its own file handle, so nothing on the machine
//! changes by reading it; it opens no file whose reading can wait for a process under pressure (`cmdline`, `maps`,
//! `smaps`, `environ` all take that process's `mmap_lock`); and it knows nothing of what the figures mean.
//!
//! Fields differ from kernel to kernel. An absent field is 0 or `None` and an unknown one is passed over: both are
//! normal, on every supported kernel from 5.10 on. Logs may be of older ones.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod error;
pub mod file;
pub mod kmsg;
pub mod machine;
pub mod oom;
pub mod parse;
pub mod proc;
pub mod process;
pub mod psi_trigger;
pub mod tracing;

pub use error::Error;
