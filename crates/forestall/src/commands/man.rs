//! `forestall man`: the manual page in roff, generated from the same types as the parser.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::exit::Exit;

/// Arguments of `man`.
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write one page per command into this directory instead of the main page to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes the page.
pub(crate) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    if let Some(dir) = &args.dir {
        clap_mangen::generate_to(Cli::command(), dir).with_context(|| {
            format!(
                "cannot write the manual pages to {}; does the directory exist?",
                dir.display()
            )
        })?;
        return Ok(Exit::Clean);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .context("cannot render the manual page")?;
    super::print(&page)?;
    Ok(Exit::Clean)
}
