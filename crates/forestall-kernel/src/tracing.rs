//! What the kernel's own tracing tells of kills: whom its OOM killer marked (`oom:mark_victim`), and who was sent SIGKILL by
//! whom (`signal:signal_generate`).
//!
//! Read are the binary pages of an instance of its own (`instances/NAME`), processor by processor. In the text of `trace_pipe` a process may call itself
//! anything, a line's end and `code=0` included; in a record its name has sixteen bytes and cannot leave them. Where a field lies in
//! a record is said by the event's `format` file, and never by the kernel's version.
//!
//! An instance is made, set up and removed by whoever may change the machine. What this refuses to do: it makes none, it switches
//! nothing on, and it does not say what a signal means beyond what the record holds.
//!
//! Sources: `include/trace/events/oom.h`, `include/trace/events/signal.h`, `Documentation/trace/ring-buffer-design.rst`,
//! `kernel/trace/ring_buffer.c`.

mod format;
mod page;
mod reader;
mod record;
mod root;
#[cfg(test)]
mod tests;

pub use reader::TraceReader;
pub use record::{Comm, KillSignal, MarkedVictim, TraceEvent, VictimMemory};
pub use root::find_tracefs;
