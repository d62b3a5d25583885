//! `forestall kills`: the out-of-memory kills of this machine's kernel or of a log, one a line, as they are read.
//!
//! Nothing is kept, so that a log may be of any size. What was lost is said below the list: a list that looks whole and is not is
//! worse than none.

mod filter;
mod follow;
mod list;
mod proof;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use self::filter::Filter;
use self::follow::Stream;
use self::list::List;
use crate::commands::explain::Output;
use crate::exit::Exit;
use crate::forensics::source::{self, Read};
use crate::ledger::{self, Book, Pages};
use crate::log::escape;

/// Arguments of `kills`.
#[derive(Args, Debug)]
pub(crate) struct KillsArgs {
    /// Read this log instead of the ledger of this machine's agent, or of its kernel where no agent keeps one: kern.log, or what dmesg, journalctl -k (-o json, too) or kubectl get events
    /// printed; `-` is stdin
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Keep what this machine's kernel tells in a ledger in this directory, which has to be there, each kill once over restarts and boots, and list all that
    /// it holds
    #[arg(long, value_name = "DIR", conflicts_with = "log")]
    ledger: Option<PathBuf>,
    /// Go on with what comes, until the reader of it ends; as JSON a line for each report
    #[arg(short, long, conflicts_with = "log")]
    follow: bool,
    #[command(flatten)]
    filter: Filter,
    /// Leave out the line of column names, and the notes below the list
    #[arg(long)]
    no_headers: bool,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Where an agent keeps its ledger.
pub(crate) const AGENTS_LEDGER: &str = "/var/lib/forestall/ledger";

/// Reads and lists. Where records were lost the list is a partial answer.
pub(crate) fn run(args: &KillsArgs) -> anyhow::Result<Exit> {
    if let Some(directory) = &args.ledger {
        return list_ledger(args, directory, true);
    }
    let agents = Path::new(AGENTS_LEDGER);
    if args.log.is_none() && ledger::is_there(agents) {
        return list_ledger(args, agents, false);
    }
    if args.follow || args.filter.is_set() {
        let mut pages = Pages::default();
        let taken = if args.follow {
            Ok(())
        } else {
            ledger::look_now(&mut pages)
        };
        return list_pages(args, None, &pages, taken);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    list_log(args.log.as_deref(), args.output, !args.no_headers, &mut out)
}

/// What a log tells, or this machine's kernel.
pub(crate) fn list_log(
    log: Option<&Path>,
    output: Output,
    has_headers: bool,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let mut list = List::new(&mut *out, output, has_headers, log);
    let read = source::read(log, &mut list)?;
    let is_whole = list
        .finish(&read, None)
        .and_then(|is_whole| out.flush().map(|()| is_whole))
        .context("cannot write to stdout")?;
    Ok(if is_whole { Exit::Clean } else { Exit::Stale })
}

/// Takes in what is new, if that is wanted, and lists what there is. A ledger that an agent keeps is only read: it takes in what is new by
/// itself.
fn list_ledger(args: &KillsArgs, directory: &Path, is_kept: bool) -> anyhow::Result<Exit> {
    // A slip of the pen would make a ledger that nobody looks into.
    if is_kept && !directory.is_dir() {
        let shown = directory.display();
        bail!("{shown}: there is no such directory; name the ledger's, or make it first: mkdir -p {shown}");
    }
    let book = is_kept.then(|| Book::open(directory));
    let (pages, taken) = match book {
        Some(Ok(mut book)) => {
            let taken = ledger::take_in_now(&mut book).map(drop);
            let mut pages = Pages::read(directory)?;
            pages.notes.append(&mut book.notes);
            (pages, taken)
        }
        // Somebody keeps it, or it is another's.
        Some(Err(error)) if !ledger::is_there(directory) => return Err(error),
        Some(Err(_)) | None => {
            let mut pages = Pages::read(directory)?;
            let taken = ledger::look_now(&mut pages);
            (pages, taken)
        }
    };
    list_pages(args, Some(directory), &pages, taken)
}

/// Lists. Where nothing could be taken in, and where the kernel counted more than it told of, the list is a partial answer.
fn list_pages(
    args: &KillsArgs,
    directory: Option<&Path>,
    pages: &Pages,
    taken: anyhow::Result<()>,
) -> anyhow::Result<Exit> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut list = List::new(&mut out, args.output, !args.no_headers, directory);
    if args.follow {
        return follow(args, directory, &mut list);
    }
    for entry in args.filter.choose(&pages.entries) {
        list.hear_entry(entry);
    }
    let is_whole = list
        .finish(&Read::default(), Some(&pages.tallies))
        .and_then(|is_whole| out.flush().map(|()| is_whole))
        .context("cannot write to stdout")?;
    // Notes of a list for programs would not be read there.
    let shown = directory.unwrap_or(Path::new("kernel")).display().to_string();
    for note in &pages.notes {
        complain(&format!("{shown}: {note}"));
    }
    if let Err(error) = taken {
        let error = error.context("nothing new was taken in, and this is what the ledger held");
        complain(&format!("{error:#}"));
        return Ok(Exit::Stale);
    }
    Ok(if is_whole { Exit::Clean } else { Exit::Stale })
}

/// Lists what there is, and then what comes, until nobody reads it.
fn follow(args: &KillsArgs, directory: Option<&Path>, list: &mut List<'_>) -> anyhow::Result<Exit> {
    let mut stream = match directory {
        Some(directory) => Stream::of_ledger(directory)?,
        None => Stream::of_kernel()?,
    };
    list.follow().context("cannot write to stdout")?;
    let first = stream.read()?;
    for entry in args.filter.choose(&first) {
        list.hear_entry(entry);
    }
    loop {
        if list.flush().is_err() || !stream.wait()? {
            return Ok(Exit::Clean);
        }
        for entry in stream.read()?.iter().filter(|entry| args.filter.takes(entry)) {
            list.hear_entry(entry);
        }
    }
}

fn complain(what: &str) {
    // Nothing is left to tell it to if stderr is gone as well.
    let _ = writeln!(io::stderr(), "forestall: {}", escape::message(what));
}
