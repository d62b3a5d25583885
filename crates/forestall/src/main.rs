//! forestall: one binary, one command line. What each command does stands in its own module.
//!
//! This file only dispatches and turns results into exit codes. An error is one line per cause on stderr; a reader who
//! has gone away (a closed pipe) is no error.

mod agent;
mod cli;
mod cluster;
mod commands;
mod config;
mod exit;
mod forensics;
mod input;
mod ledger;
mod log;
mod notify;
mod supervise;
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
            let invalid = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<config::Invalid>());
            if invalid.is_some_and(config::Invalid::is_usage) {
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
    if said.use_stderr() {
        // Nothing is left to tell it to if stderr is gone as well.
        let _ = match read_escaped(std::env::args_os()) {
            None => said.print(),
            Some(Err(said)) if said.use_stderr() => said.print(),
            Some(_) => writeln!(io::stderr(), "{}", log::escape::message(&said.to_string())),
        };
        return Exit::Usage.into();
    }
    match said.print().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "forestall: cannot write to stdout: {error}");
            Exit::Error.into()
        }
        _ => Exit::Clean.into(),
    }
}

/// The same command line with everything spelled out that moves a cursor or forges a line, for the parser to quote instead: it quotes
/// parts of arguments, too, and nobody has to know which. `None` where there is nothing to spell out.
fn read_escaped(args: impl Iterator<Item = std::ffi::OsString>) -> Option<Result<Cli, clap::Error>> {
    let raw: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let escaped: Vec<String> = raw.iter().map(|arg| log::escape::message(arg)).collect();
    (escaped != raw).then(|| Cli::try_parse_from(escaped))
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Agent(args) => agent::run(args),
        Command::Node(args) => commands::node::run(&args),
        Command::Free(args) => commands::free::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Kills(args) => commands::kills::run(&args),
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
