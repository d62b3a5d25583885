//! Parsers of the kernel's text files: pure functions over byte slices.
//!
//! They never fail on what they do not know, never allocate and never panic, whatever the bytes: a line that makes no
//! sense is passed over, a number too large for its type becomes the largest one. Whether a figure that must be there
//! was there is for the caller to check (`Meminfo::total` of 0, say).

mod cpu_list;
mod cursor;
mod find;
mod keyed;
mod limit;
mod lru_gen;
mod meminfo;
mod memory_events;
mod memory_stat;
mod mountinfo;
mod number;
mod pressure;
mod proc_cgroup;
mod proc_stat;
mod proc_status;
mod swaps;
mod vmstat;
mod zoneinfo;

pub use cpu_list::count_cpus;
pub(crate) use cursor::Cursor;
pub use find::find;
pub(crate) use find::{find_all, rfind};
pub use keyed::{Entries, Entry, Lines, entries, lines};
pub use limit::Limit;
pub use lru_gen::lru_gen_enabled;
pub use meminfo::Meminfo;
pub use memory_events::MemoryEvents;
pub use memory_stat::MemoryStat;
pub use mountinfo::{Mount, mounts, unescape};
pub(crate) use number::{hexadecimal, unsigned_32, words};
pub use number::{signed, unsigned};
pub use pressure::{Pressure, PressureLine};
pub use proc_cgroup::{Membership, memberships, memory_path, unified_path};
pub use proc_stat::ProcStat;
pub use proc_status::ProcStatus;
pub use swaps::Swaps;
pub use vmstat::Vmstat;
pub use zoneinfo::Zoneinfo;
