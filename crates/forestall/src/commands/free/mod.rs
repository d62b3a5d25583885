//! `forestall free`: free(1) that tells the truth inside a cgroup.
//!
//! `/proc/meminfo` shows the machine wherever it is read, also in a container with a limit of its own. This command finds
//! the limit that really applies and what is left below it. It only reads.

pub(crate) mod level;
pub(crate) mod locate;
pub(crate) mod report;
pub(crate) mod shown;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{ArgAction, Args, ValueEnum};
use forestall_kernel::parse::Meminfo;

use self::level::Level;
use self::locate::Located;
use self::report::Report;
use self::table::Unit;
use crate::exit::Exit;
use crate::input;

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

/// Reads, and prints. A cgroup that cannot be seen is a partial answer.
pub(crate) fn run(args: &FreeArgs) -> anyhow::Result<Exit> {
    let (report, complete) = survey(&args.root, args.pid)?;
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
    Ok(if complete { Exit::Clean } else { Exit::Stale })
}

/// The answer for process `pid` or for this one, and whether its cgroup could be seen.
pub(crate) fn survey(root: &Path, pid: Option<u32>) -> anyhow::Result<(Report, bool)> {
    let meminfo = read_meminfo(root)?;
    let located = locate::locate(root, pid)?;
    let levels = match &located {
        Located::At(place) => Level::chain(place),
        Located::Hidden(_) => Vec::new(),
    };
    Ok((
        report::assess(&meminfo, &located, &levels),
        matches!(located, Located::At(_)),
    ))
}

/// `/proc/meminfo` below `root`.
pub(crate) fn read_meminfo(root: &Path) -> anyhow::Result<Meminfo> {
    let path = root.join("proc/meminfo");
    let content = input::read_system(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let meminfo = Meminfo::parse(&content);
    let path = path.display();
    if meminfo.total == 0 {
        bail!("{path} has no MemTotal that can be read; is a proc file system mounted there?");
    }
    // Where the kernel's kB come to more than 64 bits of bytes hold, what was read stops there.
    if meminfo.total == u64::MAX {
        bail!("MemTotal in {path} is 16 EiB or more, which no machine has; is the file damaged?");
    }
    Ok(meminfo)
}
