//! `forestall leak`: allocates memory in steps, to try out what happens. It shows what a program in its place would see,
//! says what it is going to do, reports after each step, and holds everything until it is stopped.
//!
//! It never allocates more than was asked for, it leaves no file and no process behind, and it is endless only when told so.

mod fill;
mod gauge;
mod hoard;
mod plan;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use self::fill::Fill;
use self::gauge::Gauge;
use self::hoard::{Hoard, Kind, Recipe};
use self::plan::{Cap, Fraction, MEBI, Plan, parse_cap, parse_fraction, parse_rate};
use crate::commands::free;
use crate::commands::free::shown::{human, mebi};
use crate::exit::Exit;

/// What a child process says when its memory is touched.
const READY: &str = "ready";

/// Arguments of `leak`.
#[derive(Args, Debug)]
pub(crate) struct LeakArgs {
    /// Size of a block in MiB [default: 100, or a tenth of a second's worth with --rate]
    #[arg(short = 'm', long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    block: Option<u64>,
    /// How much in all, in MiB; 0 goes on until something ends it
    #[arg(short = 'x', long, value_name = "MIB", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=1_073_741_824))]
    total: u64,
    /// Pause between blocks in milliseconds
    #[arg(short = 'e', long, value_name = "MS", default_value_t = 1000)]
    pause: u64,
    /// What part of each block to touch, from 0 to 1: memory that is not touched is not used
    #[arg(short = 'f', long, value_name = "FRACTION", default_value = "1", value_parser = parse_fraction)]
    touch: Fraction,
    /// Report after so many blocks
    #[arg(short = 'p', long, value_name = "BLOCKS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    report: u64,
    /// Allocate at this rate instead of pausing, such as 10MiB/s
    #[arg(long, value_name = "RATE", conflicts_with = "pause", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Kinds of memory; blocks take turns
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "anon",
        value_name = "KIND"
    )]
    kind: Vec<Kind>,
    /// What to write into it
    #[arg(long, value_enum, default_value = "pattern")]
    fill: Fill,
    /// Makes the content another
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where files of the kind `file` go [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// End like a runtime whose heap is full, at this amount (20Gi) or share of the visible memory (75%)
    #[arg(long, value_name = "CAP", value_parser = parse_cap)]
    cap: Option<Cap>,
    /// Exit code at the cap: 134 as an abort (V8, a crashing JVM, newer .NET), 139 as a fault (older .NET), 3 as a JVM told to
    /// exit, 1 as an error that nobody caught
    #[arg(long, value_name = "CODE", default_value_t = 134, value_parser = clap::value_parser!(u8).range(1..), requires = "cap")]
    cap_exit: u8,
    /// Hold the memory for so many seconds, then exit [default: until Ctrl-C]
    #[arg(long, value_name = "SECONDS")]
    hold: Option<u64>,
    /// Hold until standard input ends, and say only when it is done
    #[arg(long, hide = true)]
    child: bool,
}

/// What a shell says of whoever was ended by SIGPIPE: 128 and the signal's number.
const NOBODY_READS: i32 = 141;

/// Allocates, reports and holds. Where nobody reads the reports any more it ends as other programs do, without a word: what it was
/// started for has not happened, so that this is no success.
pub(crate) fn run(args: &LeakArgs) -> anyhow::Result<Exit> {
    match leak(args) {
        Err(error) if crate::is_broken_pipe(&error) => std::process::exit(NOBODY_READS),
        // Whatever else fails says what it is about; a report that cannot be written is left.
        Err(error) if error.chain().count() == 1 && error.is::<io::Error>() => {
            Err(error.context("cannot write to stdout"))
        }
        ended => ended,
    }
}

fn leak(args: &LeakArgs) -> anyhow::Result<Exit> {
    if !args.child {
        end_on_signals()?;
    }
    if args.kind.contains(&Kind::PageTables) {
        // One huge page of zeros would stand for 512 small ones and their table.
        rustix::thread::disable_transparent_huge_pages(true)
            .context("cannot switch huge pages off for this process")?;
    }
    let plan = plan(args);
    let memory = free::survey(Path::new("/"), None)?;
    let visible = memory
        .limit
        .as_ref()
        .map_or(memory.node.total_bytes, |limit| limit.bytes);
    let cap = args.cap.map(|cap| cap.bytes(visible));
    if !args.child {
        introduce(args, &plan, &memory, visible, cap)?;
    }
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let recipe = Recipe {
        touch: args.touch,
        fill: args.fill,
        seed: args.seed,
        dir,
    };
    let mut hoard = Hoard::new(recipe)?;
    let allocated = match climb(args, &plan, cap, &mut hoard)? {
        Climb::Done(allocated) => allocated,
        Climb::Capped(allocated) => {
            let cap = cap.unwrap_or(0);
            // A runtime ends with its code whether or not anybody hears of it.
            let _ = writeln!(
                io::stderr(),
                "out of memory: the cap of {} MiB leaves no room for another block beside {} MiB; ending as a runtime would, with {}",
                mebi(cap),
                mebi(allocated),
                args.cap_exit
            );
            // Not by returning: every destructor would give memory back first, and a runtime that aborts does not.
            std::process::exit(i32::from(args.cap_exit));
        }
    };
    hold(args, allocated)?;
    drop(hoard);
    Ok(Exit::Clean)
}

/// The schedule that the arguments describe.
fn plan(args: &LeakArgs) -> Plan {
    let tenth = args.rate.map(|rate| (rate / 10 / MEBI).max(1));
    Plan {
        block: args.block.or(tenth).unwrap_or(100).saturating_mul(MEBI),
        total: (args.total > 0).then(|| args.total.saturating_mul(MEBI)),
        touch: args.touch,
        pause: Duration::from_millis(args.pause),
        rate: args.rate,
    }
}

/// Says what is seen and what will be done.
fn introduce(
    args: &LeakArgs,
    plan: &Plan,
    memory: &free::report::Report,
    visible: u64,
    cap: Option<u64>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let source = memory
        .limit
        .as_ref()
        .map_or("the machine, no limit below it", |limit| limit.file.as_str());
    writeln!(out, "visible    {} MiB ({source})", mebi(visible))?;
    writeln!(
        out,
        "75 % of it {} MiB, what many runtimes take at most",
        mebi(visible / 4 * 3 + visible % 4 * 3 / 4)
    )?;
    let left = memory
        .limited
        .map_or(memory.node.available_bytes, |row| row.available_bytes);
    writeln!(out, "available  {} MiB", mebi(left))?;
    let names: Vec<String> = args
        .kind
        .iter()
        .filter_map(clap::ValueEnum::to_possible_value)
        .map(|kind| kind.get_name().to_owned())
        .collect();
    let pace = match plan.rate {
        Some(rate) => format!("at {}/s", human(rate)),
        None => format!("{} ms apart", plan.pause.as_millis()),
    };
    let extent = match (plan.total, plan.blocks(), plan.duration()) {
        (Some(total), Some(blocks), Some(duration)) => {
            let plural = if blocks == 1 { "" } else { "s" };
            format!(
                "{blocks} block{plural}, {} MiB in all, in about {:.1} s",
                mebi(total),
                duration.as_secs_f64()
            )
        }
        _ => "without end".to_owned(),
    };
    writeln!(
        out,
        "plan       blocks of {} MiB {}{}, {} MiB of each touched, {pace}: {extent}",
        mebi(plan.block),
        names.join(", "),
        if names.len() > 1 { " in turn" } else { "" },
        mebi(plan.touch.of(plan.block))
    )?;
    if let Some(cap) = cap {
        writeln!(out, "cap        {} MiB, then exit {}", mebi(cap), args.cap_exit)?;
    }
    let touched = plan
        .total
        .map(|total| plan.touch.of(total).min(cap.unwrap_or(u64::MAX)));
    if touched.or(cap).is_none_or(|touched| touched > left) {
        writeln!(out, "warning: this is more than is available; expect a kill")?;
    }
    let tables = if args.kind.contains(&Kind::PageTables) {
        format!("{:>12}", "TABLES")
    } else {
        String::new()
    };
    writeln!(
        out,
        "\n{:>7}{:>12}{:>12}{:>12}{:>12}{tables}{:>12}{:>9}",
        "BLOCK", "ALLOCATED", "TOUCHED", "RSS", "PRIVATE", "CGROUP", "TIME"
    )
}

/// How the allocating ended.
enum Climb {
    /// All that was asked for is held: so many bytes.
    Done(u64),
    /// The next block would exceed the cap.
    Capped(u64),
}

fn climb(args: &LeakArgs, plan: &Plan, cap: Option<u64>, hoard: &mut Hoard) -> anyhow::Result<Climb> {
    let gauge = Gauge::new();
    let start = Instant::now();
    let (mut allocated, mut touched) = (0_u64, 0_u64);
    let kinds = args.kind.iter().cycle();
    for (number, kind) in (1_u64..).zip(kinds) {
        let Some(size) = plan.next_block(allocated) else {
            break;
        };
        if cap.is_some_and(|cap| allocated.saturating_add(size) > cap) {
            return Ok(Climb::Capped(allocated));
        }
        if number > 1 {
            let pause = plan.due(allocated).map(|due| due.saturating_sub(start.elapsed()));
            thread::sleep(pause.unwrap_or(plan.pause));
        }
        let added = hoard.add(*kind, size).with_context(|| {
            format!(
                "block {number} of {} MiB failed after {} MiB were allocated",
                mebi(size),
                mebi(allocated)
            )
        })?;
        for (pid, status) in hoard.ended() {
            writeln!(io::stdout(), "        child process {pid} is gone: {status}")?;
        }
        allocated = allocated.saturating_add(size);
        touched = touched.saturating_add(added);
        let is_last = plan.next_block(allocated).is_none();
        if !args.child && (number.is_multiple_of(args.report) || is_last) {
            let tables = args.kind.contains(&Kind::PageTables);
            line(
                number,
                (allocated, touched),
                &gauge.read(hoard.child_pids()),
                tables,
                start.elapsed(),
            )?;
        }
    }
    Ok(Climb::Done(allocated))
}

fn line(
    number: u64,
    (allocated, touched): (u64, u64),
    reading: &gauge::Reading,
    tables: bool,
    elapsed: Duration,
) -> io::Result<()> {
    let tables = if tables {
        format!("{:>12}", mebi(reading.page_tables))
    } else {
        String::new()
    };
    writeln!(
        io::stdout(),
        "{number:>7}{:>12}{:>12}{:>12}{:>12}{tables}{:>12}{:>7.1} s",
        mebi(allocated),
        mebi(touched),
        mebi(reading.rss),
        mebi(reading.private),
        reading.cgroup.map_or_else(|| "-".to_owned(), mebi),
        elapsed.as_secs_f64()
    )
}

/// Keeps everything until it is time.
fn hold(args: &LeakArgs, allocated: u64) -> anyhow::Result<()> {
    if args.child {
        writeln!(io::stdout(), "{READY}")?;
        // The end of the parent closes the pipe, however it ends.
        io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink())?;
        return Ok(());
    }
    let mut out = io::stdout();
    if let Some(seconds) = args.hold {
        writeln!(out, "holding {} MiB for {seconds} s", mebi(allocated))?;
        thread::sleep(Duration::from_secs(seconds));
    } else {
        writeln!(out, "holding {} MiB until Ctrl-C", mebi(allocated))?;
        loop {
            thread::park();
        }
    }
    Ok(())
}

/// SIGINT and SIGTERM end the process with 130 and 143. As process 1 of a container it would otherwise not notice either:
/// the kernel delivers no signal to it that has no handler.
fn end_on_signals() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot wait for signals")?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let wait = |kind| signal(kind).context("cannot wait for signals");
        (wait(SignalKind::interrupt())?, wait(SignalKind::terminate())?)
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let code = runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => 130,
                    _ = terminate.recv() => 143,
                }
            });
            std::process::exit(code);
        })
        .context("cannot start a thread to wait for signals")?;
    Ok(())
}
