//! `forestall node`: the allocation map of a node. What the kubelet gives to pods, where something is killed, what is in
//! use as the kernel and as the kubelet count it, and which of the walls is next.
//!
//! It reads this machine, or reckons with figures that are given, or both (a what-if on this machine). It changes nothing
//! and asks no API server.

pub(crate) mod amount;
mod bar;
pub(crate) mod configure;
pub(crate) mod division;
mod given;
pub(crate) mod kubelet;
pub(crate) mod machine;
mod provider;
pub(crate) mod report;
pub(crate) mod setting;
mod survey;
mod svg;
mod table;
mod top;
mod wall;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::given::GivenArgs;
use self::table::Style;
use crate::commands::terminal::Terminal;
use crate::exit::Exit;

/// Arguments of `node`.
#[derive(Args, Debug)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    given: Box<GivenArgs>,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Look for /proc, /sys and the kubelet's files below this directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For people, with every part of the blind bytes
    Wide,
    /// For programs: figures in bytes
    Json,
    /// The same as YAML
    Yaml,
    /// A drawing for a page: no script, readable in light and dark
    Svg,
}

/// Reads or reckons, and prints. A machine of which something cannot be read is a partial answer.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<Exit> {
    let kubelet_config = args.given.kubelet_config.as_deref();
    let report = survey::survey(args.given.given(), &args.root, kubelet_config)?;
    let text = match args.output {
        Output::Json => {
            let mut text = serde_json::to_string_pretty(&report)?;
            text.push('\n');
            text
        }
        Output::Yaml => report::yaml(&serde_json::to_value(&report)?),
        Output::Svg => svg::drawing(&report),
        Output::Table | Output::Wide => {
            let style = style(args.output == Output::Wide, args.given.explains_top());
            table::table(&report, style)
        }
    };
    super::print(text.as_bytes())?;
    Ok(if report.complete { Exit::Clean } else { Exit::Stale })
}

fn style(wide: bool, explains_top: bool) -> Style {
    let Terminal { columns, colour } = Terminal::of_stdout();
    Style {
        columns,
        colour,
        wide,
        explains_top: explains_top || wide,
    }
}
