//! `forestall replay TRACE --policy P [--against Q]`: what another policy would have decided on what was recorded.
//!
//! It runs the agent's own engine on the recorded inputs, so the same trace and policy give the same bytes. What it refuses
//! to do: pretend. A recording is one course of events; from the first deed on that one policy does and the recording does
//! not hold, the figures of whoever it touched are no longer those that policy would have seen. What rests on such figures is
//! counted apart.

mod compare;
mod foretold;
mod kills;
mod lane;
mod play;
mod report;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use forestall_decide::Policy;

use self::play::play;
use self::report::Report;
use crate::agent::AgentArgs;
use crate::commands::trace::source::Source;
use crate::config;
use crate::config::choice::Preset;
use crate::exit::Exit;

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// A trace, or a directory with the segments of a recorder
    trace: PathBuf,
    /// The policy to try: `recorded`, a preset (forestall, war-story-a, gist), or a configuration file
    #[arg(long, value_name = "POLICY", value_parser = parse_choice)]
    policy: Choice,
    /// The policy to compare it with, likewise
    #[arg(long, value_name = "POLICY", default_value = "recorded", value_parser = parse_choice)]
    against: Choice,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// A policy as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Recorded,
    Preset(Preset),
    File(PathBuf),
}

fn parse_choice(text: &str) -> Result<Choice, String> {
    if text == "recorded" {
        return Ok(Choice::Recorded);
    }
    if let Ok(preset) = Preset::from_str(text, false) {
        return Ok(Choice::Preset(preset));
    }
    if text.contains(['/', '.']) {
        return Ok(Choice::File(PathBuf::from(text)));
    }
    Err(format!(
        "{text:?} is neither `recorded` nor a preset (forestall, war-story-a, gist); name a file with its extension"
    ))
}

impl Choice {
    /// The policy, or `None` for whichever was in force when it was recorded.
    fn load(&self) -> anyhow::Result<Option<Policy>> {
        let args = match self {
            Self::Recorded => return Ok(None),
            Self::Preset(preset) => AgentArgs {
                preset: Some(*preset),
                ..AgentArgs::default()
            },
            Self::File(path) => AgentArgs {
                config: Some(path.clone()),
                ..AgentArgs::default()
            },
        };
        Ok(Some(config::load(&args)?.policy))
    }

    fn name(&self) -> String {
        match self {
            Self::Recorded => "recorded".to_owned(),
            Self::Preset(preset) => preset
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned()),
            Self::File(path) => crate::log::escape::text(&path.display().to_string()),
        }
    }
}

/// Replays and compares.
pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let source = Source::load(&args.trace)?;
    let policies = [args.policy.load()?, args.against.load()?];
    let played = play(&source, policies)?;
    let names = [args.policy.name(), args.against.name()];
    let report = Report::new(&played, names).context("the trace was not played for both policies")?;
    let text = match args.output {
        Output::Table => table::render(&report),
        Output::Json => {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            text
        }
    };
    super::print(text.as_bytes())?;
    Ok(if report.is_exact() {
        Exit::Clean
    } else {
        Exit::Stale
    })
}

#[cfg(test)]
mod tests;
