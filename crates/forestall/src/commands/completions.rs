//! `forestall completions SHELL`: a completion script, generated from the same types as the parser.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell to write it for
    shell: Shell,
}

/// Writes the script to stdout. It is rendered into memory first, because the generator panics when its writer fails.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "forestall", &mut script);
    super::print(&script)?;
    Ok(Exit::Clean)
}
