//! `forestall check-config FILE`: is this configuration sound, and what does it result in?

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use forestall_decide::Rung;

use crate::agent::{NO_HAND, has_hand};
use crate::config::{self, Settings, render::render};
use crate::exit::Exit;
use crate::log::escape;

/// Arguments of `check-config`.
#[derive(Args, Debug)]
pub(crate) struct CheckConfigArgs {
    /// The configuration file to check; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints the settings that result, defaults included, as YAML that can be read back. What is sound and will not be done is a
/// warning.
pub(crate) fn run(args: &CheckConfigArgs) -> anyhow::Result<Exit> {
    let settings = config::load_once(&args.file)?;
    for warning in warnings(&settings) {
        let line = format!("{}: {warning}", args.file.display());
        // What is asked for goes to stdout; a warning that nobody can be told does not keep it back.
        let _ = writeln!(io::stderr(), "forestall: warning: {}", escape::message(&line));
    }
    let text = render(&settings, false);
    super::print(text.as_bytes())?;
    Ok(Exit::Clean)
}

/// What the agent will go on without, and what it will not start with. `simulate` and `replay` read the same file and can do it.
fn warnings(settings: &Settings) -> impl Iterator<Item = String> {
    let asked = Rung::ALL
        .into_iter()
        .filter(|rung| settings.policy.rungs.has(*rung) && !has_hand(*rung))
        .map(|rung| format!("rungs.{}: {NO_HAND}", rung.label()));
    let required = settings
        .require
        .iter()
        .filter(|rung| !has_hand(**rung))
        .map(|rung| {
            format!(
                "require: {} cannot be used, so that the agent refuses to start",
                rung.label()
            )
        });
    asked.chain(required)
}
