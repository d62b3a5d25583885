//! `forestall agent`.

mod args;
pub(crate) mod clock;
pub(crate) mod shared;

pub(crate) use self::args::AgentArgs;
use crate::exit::Exit;

/// Runs the agent until it is told to stop.
pub(crate) fn run(args: AgentArgs) -> anyhow::Result<Exit> {
    let _settings = crate::config::load(&args)?;
    Ok(Exit::Clean)
}
