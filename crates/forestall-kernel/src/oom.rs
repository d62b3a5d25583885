//! Reports of out-of-memory kills, from the lines in which the kernel tells them.
//!
//! A [`Collector`] hears line after line, puts together what belongs together, and gives a [`Report`] for each kill. [`LogScanner`] does
//! the same over a file, of which it looks only at the lines that matter. Every form from 3.10 on is told by its own line and
//! never by the kernel's version, because vendors mix them; constraints and columns that nobody knows yet pass through.
//!
//! The kernel limits how often it tells the whole story and never how often it tells the kill: each kill line gives a report, with or without
//! the rest ([`Pieces`] says what there was). What is not known is `None`, and nothing is taken over from a neighbouring report.
//!
//! What it refuses to do: it does not know pods, counts nothing but lines, and believes nobody but the kernel where the line says who
//! spoke. Memory is bounded whatever the input.
//!
//! Sources: `mm/oom_kill.c` (`dump_header`, `oom_kill_process`, `dump_tasks`), `mm/memcontrol.c` (`mem_cgroup_print_oom_context`,
//! `mem_cgroup_print_oom_meminfo`, `mem_cgroup_print_oom_group`), from 3.10 to 7.x.

mod attribution;
mod collector;
mod domain;
mod join;
mod kill;
mod label;
mod level;
mod part;
mod pieces;
mod report;
mod scan;
mod table;
mod unread;
mod verdict;

pub use collector::{Collector, Heard};
pub use domain::{Charge, Domain, MachinePages};
pub use kill::Kill;
pub use level::Level;
pub use part::{Header, Part};
pub use pieces::{Piece, Pieces};
pub use report::{CgroupPath, Reap, Report, Seen, Task, Trigger, Victim};
pub use scan::LogScanner;
pub use table::{Row, TOP_ROWS, Table};
pub use unread::Unread;
pub use verdict::Verdict;
