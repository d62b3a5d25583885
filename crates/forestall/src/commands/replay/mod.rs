//! `forestall replay TRACE --policy P [--against Q]`: what another policy would have decided on what was recorded.
//!
//! It runs the agent's own engine on the recorded inputs, so the same trace and policy give the same bytes. What it refuses
//! to do: pretend. A recording is one course of events; from the first deed on that one policy does and the recording does
//! not hold, the figures of whoever it touched are no longer those that policy would have seen. What rests on such figures is
//! counted apart. Nor to make one story of several: of recordings of different machines, or of one machine before and after it was
//! started again, each is played for itself.

mod compare;
mod foretold;
mod kills;
mod lane;
mod play;
mod report;
mod several;
mod table;
mod undone;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use forestall_decide::{Policy, Preference};
use forestall_trace::Reader;
use serde::Serialize;

use self::play::play;
use self::report::Report;
use self::several::Several;
use crate::agent::AgentArgs;
use crate::commands::trace::source::Source;
use crate::config;
use crate::config::choice::Preset;
use crate::exit::Exit;

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// A trace, or a directory of traces: each recording in it (one boot of one machine) is replayed for itself
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

/// A policy that was asked for.
#[derive(Clone, Debug)]
struct Asked {
    policy: Policy,
    /// Whom to spare, and who goes sooner; `None`: as it was when it was recorded.
    preferences: Option<Vec<Preference>>,
}

impl Choice {
    /// The policy, or `None` for whichever was in force when it was recorded.
    fn load(&self) -> anyhow::Result<Option<Asked>> {
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
        let settings = config::load(&args)?;
        Ok(Some(Asked {
            policy: settings.policy,
            // A preset says nothing of anybody's pods.
            preferences: matches!(self, Self::File(_)).then_some(settings.preferences),
        }))
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
    let (text, exit) = answer(args)?;
    super::print(text.as_bytes())?;
    Ok(exit)
}

fn answer(args: &ReplayArgs) -> anyhow::Result<(String, Exit)> {
    let source = Source::load(&args.trace)?;
    let policies = [args.policy.load()?, args.against.load()?];
    let names = [args.policy.name(), args.against.name()];
    let mut reports = Vec::new();
    let recordings = source
        .recordings()
        .with_context(|| args.trace.display().to_string())?;
    for bytes in recordings {
        let played = play(Reader::open(&bytes)?, policies.each_ref().map(Option::as_ref));
        let report = Report::new(&played, &names).context("the trace was not played for both policies")?;
        reports.push(report);
    }
    let is_exact = source.notes.is_empty() && reports.iter().all(Report::is_exact);
    let text = match <[Report; 1]>::try_from(reports) {
        Ok([mut report]) => {
            report.notes.splice(0..0, source.notes);
            write(args.output, &report, table::render)?
        }
        Err(reports) => write(args.output, &Several::new(reports, source.notes), several::render)?,
    };
    Ok((text, if is_exact { Exit::Clean } else { Exit::Stale }))
}

fn write<R: Serialize>(output: Output, report: &R, table: fn(&R) -> String) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => table(report),
        Output::Json => serde_json::to_string_pretty(report)? + "\n",
    })
}

#[cfg(test)]
mod tests;
