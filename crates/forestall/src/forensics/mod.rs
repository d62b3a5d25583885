//! What became of memory after the fact: logs read from wherever they lie, and what a kernel's report of a kill comes to in words and
//! figures.
//!
//! It only reads, and it says how sure it is: what no line tells is not made up. Names out of a log are escaped before anything shows
//! them.

pub(crate) mod advice;
mod document;
pub(crate) mod ending;
pub(crate) mod evidence;
mod journal;
pub(crate) mod killer;
pub(crate) mod kubelet;
pub(crate) mod place;
mod plain;
pub(crate) mod shape;
pub(crate) mod share;
pub(crate) mod source;
pub(crate) mod time;
mod twice;
pub(crate) mod unread;
pub(crate) mod value;
