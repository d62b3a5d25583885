//! `forestall free`: free(1) that tells the truth inside a cgroup.
//!
//! `/proc/meminfo` shows the machine wherever it is read, also in a container with a limit of its own. This command finds
//! the limit that really applies and what is left below it. It only reads.

pub(crate) mod level;
pub(crate) mod locate;
pub(crate) mod meminfo;
pub(crate) mod report;
pub(crate) mod shown;
mod table;

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};

use self::level::{Level, Most};
use self::locate::Located;
pub(crate) use self::meminfo::read_meminfo;
use self::report::Report;
use self::table::Unit;
use crate::exit::Exit;

/// Arguments of `free`.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one flag of free(1), whose command line this is"
)]
pub(crate) struct FreeArgs {
    /// Show bytes
    #[arg(short = 'b', long, group = "unit")]
    bytes: bool,
    /// Show kibibytes (the default)
    #[arg(short = 'k', long = "kibi", group = "unit")]
    kibi: bool,
    /// Show mebibytes
    #[arg(short = 'm', long = "mebi", group = "unit")]
    mebi: bool,
    /// Show gibibytes
    #[arg(short = 'g', long = "gibi", group = "unit")]
    gibi: bool,
    /// Show each figure in the unit that fits
    #[arg(short = 'h', long, group = "unit")]
    human: bool,
    /// Show buffers and cache apart
    #[arg(short = 'w', long)]
    wide: bool,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    /// Of this process instead of the own one
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Look for /proc and /sys below this directory, such as a host's file system mounted in a container
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For people, with buffers and cache apart
    Wide,
    /// For programs: figures in bytes
    Json,
}

/// Reads, and prints. A cgroup that cannot be seen is a partial answer, and so is a figure that cannot be read or be true.
pub(crate) fn run(args: &FreeArgs) -> anyhow::Result<Exit> {
    let report = survey(&args.root, args.pid)?;
    let text = match args.output {
        Output::Json => table::json(&report)?,
        Output::Table | Output::Wide => {
            let unit = match (args.bytes, args.mebi, args.gibi, args.human) {
                (true, ..) => Unit::Bytes,
                (_, true, ..) => Unit::Mebi,
                (_, _, true, _) => Unit::Gibi,
                (.., true) => Unit::Human,
                _ => Unit::Kibi,
            };
            table::table(&report, unit, args.wide || args.output == Output::Wide)
        }
    };
    super::print(text.as_bytes())?;
    Ok(if report.complete { Exit::Clean } else { Exit::Stale })
}

/// The answer for process `pid` or for this one.
pub(crate) fn survey(root: &Path, pid: Option<u32>) -> anyhow::Result<Report> {
    let believed = read_meminfo(root)?;
    let located = locate::locate(root, pid)?;
    let levels = match &located {
        Located::At(place) => Level::chain(place, Most::of(&believed.meminfo)),
        Located::Hidden(_) => Vec::new(),
    };
    Ok(report::assess(&believed, &located, &levels))
}
