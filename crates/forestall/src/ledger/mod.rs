//! The ledger: every out-of-memory kill that a machine's kernel told of, kept on disk, each once, over restarts and boots.
//!
//! The kernel's own log is a ring that is soon overwritten. Whoever follows it, or looks into it now and then, and keeps what is new, loses
//! nothing in between; and because the kernel counts its kills in `/proc/vmstat`, too, what was lost all the same shows as a number.
//!
//! It refuses to guess: what the kernel counted and no line told of stays unattributed. It keeps no more than so many bytes.

mod book;
mod entry;
mod intake;
mod look;
mod pages;
mod recent;
mod signals;
mod tail;
mod totals;

pub(crate) use self::book::Book;
pub(crate) use self::entry::{Entry, Home, Levels, Missed, Sender, Signal, Tally};
pub(crate) use self::intake::Intake;
pub(crate) use self::look::{boot_id, look_now, take_in_now};
pub(crate) use self::pages::{Pages, is_there};
pub(crate) use self::signals::{Signals, read_signals};
pub(crate) use self::tail::Tail;
pub(crate) use self::totals::{Totals, Whom};
