//! forestall: one binary, one command line. What each command does stands in its own module.
//!
//! This file only dispatches and turns results into exit codes. An error is one line per cause on stderr; a reader who
//! has gone away (a closed pipe) is no error.

mod agent;
mod cli;
mod commands;
mod config;
mod exit;
mod input;
mod log;
mod systemd;
mod talk;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return say(&said),
    };
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Clean.into(),
        Err(error) => {
            // Nothing is left to tell it to if stderr is gone as well.
            let _ = writeln!(
                io::stderr(),
                "forestall: {}",
                log::escape::message(&describe(&error))
            );
            let usage = error.chain().any(<dyn std::error::Error>::is::<config::Invalid>);
            if usage {
                Exit::Usage.into()
            } else {
                Exit::Error.into()
            }
        }
    }
}

/// What the parser has to say instead of a command: help and version on stdout, which have to arrive, and what is wrong with a
/// command line on stderr.
fn say(said: &clap::Error) -> ExitCode {
    let printed = match escaped(&said.render().ansi().to_string(), std::env::args_os()) {
        Some(plain) if said.use_stderr() => io::stderr().write_all(plain.as_bytes()),
        _ => said.print().and_then(|()| io::stdout().flush()),
    };
    match printed {
        Err(error) if !said.use_stderr() && error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "forestall: cannot write to stdout: {error}");
            Exit::Error.into()
        }
        _ if said.use_stderr() => Exit::Usage.into(),
        _ => Exit::Clean.into(),
    }
}

/// What the parser says (`said`, coloured), without colours, where it might quote an argument that moves a cursor or forges a line; `None` where
/// none does.
fn escaped(said: &str, args: impl Iterator<Item = std::ffi::OsString>) -> Option<String> {
    let hostile: Vec<String> = args
        .map(|arg| arg.to_string_lossy().into_owned())
        .filter(|arg| log::escape::message(arg) != *arg)
        .collect();
    if hostile.is_empty() {
        return None;
    }
    // Lines that an argument brings along are no lines of ours. A part of one is quoted, too: the value behind `=`.
    let parts = hostile
        .iter()
        .flat_map(|arg| [Some(arg.as_str()), arg.split_once('=').map(|(_, value)| value)]);
    let whole = parts.flatten().fold(said.to_owned(), |said, part| {
        said.replace(part, &log::escape::message(part))
    });
    // The parser's own colours, which are the only sequences left.
    let mut parts = whole.split('\x1b');
    let begin = parts.next().unwrap_or_default().to_owned();
    let plain = parts.fold(begin, |plain, part| {
        plain + part.split_once('m').map_or("", |(_, rest)| rest)
    });
    let lines = plain.lines().map(|line| log::escape::message(line) + "\n");
    Some(lines.collect())
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Agent(args) => agent::run(args),
        Command::Node(args) => commands::node::run(&args),
        Command::Free(args) => commands::free::run(&args),
        Command::Leak(args) => commands::leak::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Trace(args) => commands::trace::run(&args),
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::CheckConfig(args) => commands::check_config::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
    }
}

/// The error and its causes. A cause that the error before it has quoted already is not said again.
fn describe(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// The other end of a pipe was closed (`forestall free | head -1`): the reader has what it wanted.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
