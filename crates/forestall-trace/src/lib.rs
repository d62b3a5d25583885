//! A recording of the engine's inputs. Replaying one reproduces every decision, byte for byte.
//!
//! The format is described in `docs/reference/trace-format.md`: frames with a length and a chained CRC, key frames from
//! which a reader can begin, columns named in the header so that fields can be added later. [`Encoder`] turns inputs into
//! bytes, [`Reader`] turns bytes back into inputs and says what was lost. [`frame`] and [`record`] serve whoever else keeps something in a file that grows. What it refuses to do: open files, read a clock,
//! or guess. A frame that does not hold what was written is reported, never interpreted.
#![forbid(unsafe_code)]

mod code;
mod column;
mod damage;
pub mod describe;
mod encoder;
mod error;
pub mod frame;
mod header;
mod item;
mod kubelet;
mod names;
mod outcome;
mod pods;
mod policy;
mod reader;
pub mod record;
mod recording;
mod room;
mod sample;
mod state;
mod table;
pub mod tap;
mod varint;

pub use encoder::Encoder;
pub use error::Error;
pub use header::{MAGIC, Origin, VERSION, Version};
pub use item::{Begin, Cause, Item};
pub use names::Names;
pub use reader::Reader;
pub use recording::Recording;
