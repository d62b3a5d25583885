//! Acting on a Linux machine: the only crate whose code changes anything outside its own files.
//!
//! Orders go in, outcomes come out, and nothing here decides *whether* to act. What it does decide is whether it *may*:
//! before every signal it checks once more who the target is and who lives in it, and refuses without sending anything
//! where a protected process is found. It refuses to kill a cgroup that is not a container, to act by name instead of by
//! open handle, and to wait for a victim.
//!
//! It is also the only crate that may use `unsafe`, and does so in three places: `process_mrelease(2)` and `signal(2)`,
//! which have no safe wrapper, and `madvise(2)`, with `munlock(2)` and `mlock2(2)` around it, of its own code.

mod actor;
mod brake;
mod brake_worker;
mod clock;
#[allow(
    unsafe_code,
    reason = "madvise(2) can lose what is in memory; pages of a file that nobody writes come back from there"
)]
mod code;
mod dip;
mod error;
mod evict;
mod file;
#[allow(
    unsafe_code,
    reason = "signal(2) has no safe wrapper in rustix, and to ignore a signal runs no code of ours"
)]
mod file_size;
mod group;
mod inspect;
mod journal;
mod kill;
mod kill_worker;
mod limit;
mod lowered;
mod namespace;
mod order;
mod process;
mod protect;
mod reclaim;
mod reclaim_worker;
#[allow(
    unsafe_code,
    reason = "process_mrelease(2) has no safe wrapper; nothing else in this crate needs it"
)]
mod release;
mod selftest;
mod sysrq;
mod tracing;
mod veto;
mod victim;

pub use actor::{ActConfig, Actor, ActorHandle, ORDERS_UNDER_WAY_MAX};
pub use code::{ResidentCode, give_back_code, resident_code};
pub use error::ActError;
pub use evict::{Eviction, EvictionDesk};
pub use file_size::ignore_file_size_signal;
pub use journal::{LoweredEnd, Recovered, recover_lowered};
pub use limit::limit_behind;
pub use order::{
    BrakeEnd, Braked, CgroupPlace, CgroupVersion, NoBrake, Note, Order, Place, Price, ProcessName,
    ReclaimEnd, Rejected, Report,
};
pub use protect::{
    Shielded, lock_memory, lower_first_thread, raise_first_thread, shield_from_oom_killer,
    unshield_from_oom_killer,
};
pub use release::Release;
pub use selftest::{Right, SelfTest, self_test};
pub use tracing::TraceInstance;
