//! `forestall check-config FILE`: is this configuration sound, and what does it result in?

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, render::render};
use crate::exit::Exit;

/// Arguments of `check-config`.
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// The configuration file to check; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the settings that result, defaults included, as YAML that can be read back.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<Exit> {
    let settings = config::load_once(&args.file)?;
    let text = render(&settings, false);
    super::print(text.as_bytes())?;
    Ok(Exit::Clean)
}
