//! `forestall trace`: look into a recording, cut it, take the names out of it.
//!
//! It reads files that others may have made: what is damaged is passed over and said, and nothing of it is executed or
//! believed. It changes no file it reads.

pub(crate) mod date;
mod dump;
mod info;
mod pseudonym;
mod rewrite;
pub(crate) mod source;
pub(crate) mod words;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use self::rewrite::Rewrite;
use self::source::When;
use crate::exit::Exit;

/// Arguments of `trace`.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    command: TraceCommand,
}

#[derive(Debug, Subcommand)]
enum TraceCommand {
    /// Say what a trace holds: when, of which machine, how much, and what is damaged
    Info {
        /// A trace, or a directory with the segments of a recorder
        path: PathBuf,
        /// What to print
        #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// Print every input as one line of JSON
    Dump {
        /// A trace, or a directory with the segments of a recorder
        path: PathBuf,
    },
    /// Write a part of a trace as a trace of its own
    Cut {
        /// A trace, or a directory with the segments of a recorder
        path: PathBuf,
        /// From here on: a time since the beginning (90s), or a date (2026-11-21T10:00:00Z)
        #[arg(long, value_name = "WHEN", value_parser = source::parse_when)]
        from: Option<When>,
        /// Up to here, likewise
        #[arg(long, value_name = "WHEN", value_parser = source::parse_when)]
        to: Option<When>,
        /// Which recording, where there are several (of other machines, or other boots): their numbers are those of `replay`
        #[arg(long, value_name = "NUMBER")]
        recording: Option<usize>,
        /// Where to write it; a file that exists is refused
        #[arg(short = 'o', long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Write a trace with stable pseudonyms in place of every name; all figures stay
    Anonymise {
        /// A trace, or a directory with the segments of a recorder
        path: PathBuf,
        /// Which recording, where there are several (of other machines, or other boots): their numbers are those of `replay`
        #[arg(long, value_name = "NUMBER")]
        recording: Option<usize>,
        /// Where to write it; a file that exists is refused
        #[arg(short = 'o', long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Runs it.
pub(crate) fn run(args: &TraceArgs) -> anyhow::Result<Exit> {
    match &args.command {
        TraceCommand::Info { path, output } => info::run(path, *output == Output::Json),
        TraceCommand::Dump { path } => dump::run(path),
        TraceCommand::Cut {
            path,
            from,
            to,
            recording,
            output,
        } => rewrite::run(
            path,
            output,
            &Rewrite {
                from: *from,
                to: *to,
                recording: *recording,
                anonymous: false,
            },
        ),
        TraceCommand::Anonymise {
            path,
            recording,
            output,
        } => rewrite::run(
            path,
            output,
            &Rewrite {
                from: None,
                to: None,
                recording: *recording,
                anonymous: true,
            },
        ),
    }
}
