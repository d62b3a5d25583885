//! The kernel's log: records of `/dev/kmsg`, and the same lines as files and commands keep them.
//!
//! [`record`](Record) reads one record, [`KmsgReader`] an open device, and [`Line`] is what both records and the lines of `dmesg`,
//! `journalctl -k`, `kern.log` and events come down to: when, by whom, and what.
//!
//! What it refuses to do: it understands no message. What a line says of an out-of-memory kill is [`oom`](crate::oom)'s to know.
//!
//! Sources: `Documentation/ABI/testing/dev-kmsg`, `kernel/printk/printk.c`.

mod calendar;
mod carrier;
mod escape;
mod form;
mod line;
mod reader;
mod record;

pub use calendar::Calendar;
pub use escape::unescape_into;
pub use line::{Behind, Line, Origin, When};
pub use reader::{KmsgReader, RECORD_BYTES_MAX, Start};
pub use record::{Caller, Fields, Flag, Record};
