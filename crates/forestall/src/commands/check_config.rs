//! `forestall check-config FILE`: is this configuration sound, and what does it result in?

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::agent::AgentArgs;
use crate::config::{self, render::render};
use crate::exit::Exit;

/// Arguments of `check-config`.
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// The configuration file to check
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the settings that result, defaults included, as YAML that can be read back.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<Exit> {
    let settings = config::load(&AgentArgs {
        config: Some(args.file.clone()),
        ..AgentArgs::default()
    })?;
    let text = render(&settings, false);
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    Ok(Exit::Clean)
}
