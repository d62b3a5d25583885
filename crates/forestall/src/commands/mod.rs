//! The commands other than `agent`, one file each: its arguments and its `run`.

use std::io::{self, Write};

use anyhow::Context;

pub(crate) mod check_config;
pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod foretold;
pub(crate) mod free;
pub(crate) mod kills;
pub(crate) mod leak;
pub(crate) mod man;
pub(crate) mod node;
pub(crate) mod replay;
pub(crate) mod simulate;
pub(crate) mod terminal;
pub(crate) mod trace;
mod why_not;

/// Writes a whole answer to stdout. Flushed here, because what is left to the end of the process fails unheard.
pub(crate) fn print(answer: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(answer)
        .and_then(|()| out.flush())
        .context("cannot write to stdout")
}
