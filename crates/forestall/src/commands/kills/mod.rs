//! `forestall kills`: the out-of-memory kills of this machine's kernel or of a log, one a line, as they are read.
//!
//! Nothing is kept, so that a log may be of any size. What was lost is said below the list: a list that looks whole and is not is
//! worse than none.

mod list;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use self::list::List;
use crate::commands::explain::Output;
use crate::exit::Exit;
use crate::forensics::source::{self, Listener, Read};
use crate::ledger::{self, Book, Pages};
use crate::log::escape;

/// Arguments of `kills`.
#[derive(Args, Debug)]
pub(crate) struct KillsArgs {
    /// Read this log instead of this machine's kernel: kern.log, or what dmesg, journalctl -k (-o json, too) or kubectl get events
    /// printed; `-` is stdin
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Keep what this machine's kernel tells in a ledger in this directory, each kill once over restarts and boots, and list all that
    /// it holds
    #[arg(long, value_name = "DIR", conflicts_with = "log")]
    ledger: Option<PathBuf>,
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
    if let Some(directory) = &args.ledger {
        return list_ledger(args, directory);
    }
    let log = args.log.as_deref();
    let mut list = List::new(&mut out, args.output, !args.no_headers, log);
    let read = source::read(log, &mut list)?;
    let is_whole = list
        .finish(&read, None)
        .and_then(|is_whole| out.flush().map(|()| is_whole))
        .context("cannot write to stdout")?;
    Ok(if is_whole { Exit::Clean } else { Exit::Stale })
}

/// Takes in what is new, and lists what there is. A ledger that an agent keeps is only read: it takes in what is new by itself. Where
/// nothing could be taken in, and where the kernel counted more than it told of, the list is a partial answer.
fn list_ledger(args: &KillsArgs, directory: &Path) -> anyhow::Result<Exit> {
    let (pages, taken) = match Book::open(directory) {
        Ok(mut book) => {
            let taken = ledger::take_in_now(&mut book).map(drop);
            let mut pages = Pages::read(directory)?;
            pages.notes.append(&mut book.notes);
            (pages, taken)
        }
        // Somebody keeps it, or it is another's.
        Err(error) if !ledger::is_there(directory) => return Err(error),
        Err(_) => {
            let mut pages = Pages::read(directory)?;
            let taken = ledger::look_now(&mut pages);
            (pages, taken)
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut list = List::new(&mut out, args.output, !args.no_headers, Some(directory));
    for entry in &pages.entries {
        list.hear(entry.dated());
    }
    let is_whole = list
        .finish(&Read::default(), Some(&pages.tallies))
        .and_then(|is_whole| out.flush().map(|()| is_whole))
        .context("cannot write to stdout")?;
    // Notes of a list for programs would not be read there.
    for note in &pages.notes {
        let _ = writeln!(
            io::stderr(),
            "forestall: {}: {}",
            escape::message(&directory.display().to_string()),
            escape::message(note)
        );
    }
    if let Err(error) = taken {
        let error = error.context("nothing new was taken in, and this is what the ledger held");
        let _ = writeln!(
            io::stderr(),
            "forestall: {}",
            escape::message(&format!("{error:#}"))
        );
        return Ok(Exit::Stale);
    }
    Ok(if is_whole { Exit::Clean } else { Exit::Stale })
}
