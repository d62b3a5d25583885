//! `forestall kills`: the out-of-memory kills of this machine's kernel or of a log, one a line, as they are read.
//!
//! Nothing is kept, so that a log may be of any size. What was lost is said below the list: a list that looks whole and is not is
//! worse than none.

mod list;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use self::list::List;
use crate::commands::explain::Output;
use crate::exit::Exit;
use crate::forensics::source;

/// Arguments of `kills`.
#[derive(Args, Debug)]
pub(crate) struct KillsArgs {
    /// Read this log instead of this machine's kernel: kern.log, or what dmesg, journalctl -k (-o json, too) or kubectl get events
    /// printed; `-` is stdin
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Leave out the line of column names, and the notes below the list
    #[arg(long)]
    no_headers: bool,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Reads and lists. Where records were lost the list is a partial answer.
pub(crate) fn run(args: &KillsArgs) -> anyhow::Result<Exit> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let log = args.log.as_deref();
    let mut list = List::new(&mut out, args.output, !args.no_headers, log);
    let read = source::read(log, &mut list)?;
    let is_whole = list
        .finish(&read)
        .and_then(|is_whole| out.flush().map(|()| is_whole))
        .context("cannot write to stdout")?;
    Ok(if is_whole { Exit::Clean } else { Exit::Stale })
}
