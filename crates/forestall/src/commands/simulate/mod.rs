//! `forestall simulate SCENARIO`: a policy in a seeded world, before it is trusted with a real one.
//!
//! The same seed gives the same answer, byte for byte. It touches nothing on this machine but the files it is given, and
//! says on stderr how far it is where somebody is there to read it.

mod foretold;
mod json;
mod page;
mod source;
mod sums;
mod table;
mod timeline;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use forestall_decide::{Mode, Moment, Policy};
use forestall_sim::{Report, RunOptions, Tally, World};

use self::source::{Agents, Seeds, Source, parse_seeds};
use self::sums::{EACH_MAX, Sums};
use crate::exit::Exit;

/// Facts that are kept for the time line of one run.
const FACTS: usize = 200;
/// A page tells those of a few nodes out of all, so that more are kept.
const FACTS_FOR_PAGE: usize = 50_000;
/// Up to so many nodes are all watched; of more, those are on which most die, and that takes a second run.
const WATCHED_AT_ONCE: usize = 64;
/// JSON tells each run, so that all are kept until it is written.
const JSON_RUNS_MAX: u64 = 10_000;
/// So many nodes have curves of their own on a page and in JSON.
const CURVES_MAX: usize = 4;

/// Arguments of `simulate`.
#[derive(Args, Debug)]
pub(crate) struct SimulateArgs {
    /// The scenario file, or `random`: a random world of each seed
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Run with this seed instead of the scenario's
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run with every seed from A to B, the last one included
    #[arg(long, value_name = "A..B", value_parser = parse_seeds)]
    seeds: Option<Seeds>,
    /// Put agents with the policy of this configuration file on the nodes
    #[arg(long, value_name = "FILE", conflicts_with = "no_agent")]
    policy: Option<PathBuf>,
    /// Run without agents
    #[arg(long, conflicts_with = "compare")]
    no_agent: bool,
    /// Run without agents and with them, side by side
    #[arg(long)]
    compare: bool,
    /// Check every rule that keeps the engine harmless; a broken one makes the exit code 3
    #[arg(long)]
    checkers: bool,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Output,
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// For programs
    Json,
    /// One self-contained page with the curve of memory; with --compare without and with agents side by side
    Html,
}

/// One way to run the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// What it is called in the table.
    pub(super) name: &'static str,
    /// Its agents.
    agents: Agents,
}

/// One run and what it was.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) variant: &'static str,
    /// How far its agents may go, where there are any.
    pub(super) mode: Option<Mode>,
    /// How many more died than without agents, where both are run.
    pub(super) added_deaths: Option<u64>,
    pub(super) report: Report,
}

/// Runs, and prints what came of it.
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<Exit> {
    let mut source = match Source::read(&args.scenario)? {
        Ok(source) => source,
        Err(why) => {
            // Nothing is left to tell it to if stderr is gone.
            let _ = writeln!(io::stderr(), "forestall: {}", crate::log::escape::message(&why));
            return Ok(Exit::Usage);
        }
    };
    let variants = variants(args, &mut source)?;
    let seeds = args.seeds.unwrap_or_else(|| {
        let seed = args.seed.unwrap_or_else(|| source.seed());
        Seeds {
            first: seed,
            last: seed,
        }
    });
    let single = seeds.first == seeds.last;
    if !single && args.output == Output::Html {
        let _ = writeln!(
            io::stderr(),
            "forestall: a page shows one seed; leave --seeds out, or name the seed with --seed"
        );
        return Ok(Exit::Usage);
    }
    let count = seeds.count().saturating_mul(variants.len() as u64);
    if args.output == Output::Json && count > JSON_RUNS_MAX {
        let _ = writeln!(
            io::stderr(),
            "forestall: JSON tells each run, and these are {count} of at most {JSON_RUNS_MAX}; name fewer seeds, or leave -o json out for their sums"
        );
        return Ok(Exit::Usage);
    }
    let are_summed = args.output == Output::Text && count > EACH_MAX;
    let mut sums = Sums::default();
    let options = RunOptions {
        checkers: args.checkers,
        keep: match args.output {
            Output::Html => FACTS_FOR_PAGE,
            _ if single => FACTS,
            _ => 0,
        },
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ..RunOptions::default()
    };
    let mut progress = Progress::new(seeds, variants.len());
    let mut runs = Vec::new();
    for seed in seeds.first..=seeds.last {
        let mut without: Option<Tally> = None;
        for variant in &variants {
            let world = source.world(seed, variant.agents);
            let watched = watch_at_first(&world, single && args.output != Output::Text);
            progress.begin(seed, variant.name);
            let report = run_one(&world, &watched, options, &mut progress)?;
            let run = Run {
                seed,
                variant: variant.name,
                mode: world.policy.map(|policy| policy.mode),
                added_deaths: without.map(|without| report.tally.deaths_beyond(&without)),
                report,
            };
            without = (variants.len() > 1).then(|| run.report.tally.clone());
            if are_summed {
                sums.add(&run);
            } else {
                runs.push(run);
            }
        }
    }
    let world = source.world(seeds.first, Agents::None);
    let shown = worst(&world, &runs);
    if args.output == Output::Html && world.nodes.len() > WATCHED_AT_ONCE {
        progress.runs = progress.runs.saturating_mul(2);
        for (run, variant) in runs.iter_mut().zip(&variants) {
            progress.begin(run.seed, "the curves");
            let world = source.world(run.seed, variant.agents);
            run.report = run_one(&world, &shown, options, &mut progress)?;
        }
    }
    for run in &mut runs {
        run.report
            .curves
            .nodes
            .retain(|curve| shown.contains(&curve.node));
    }
    progress.end();
    let text = match args.output {
        Output::Text if are_summed => sums.render(&source, args.checkers),
        Output::Text => table::render(&source, &world, &runs, args.checkers),
        Output::Json => json::render(&source, &world, &runs)?,
        Output::Html => page::render(&source, &world, &runs, &shown, args.checkers),
    };
    super::print(text.as_bytes())?;
    let broken = sums.is_broken() || runs.iter().any(|run| !run.report.violations.is_empty());
    Ok(if broken { Exit::Findings } else { Exit::Clean })
}

fn run_one(
    world: &World,
    watched: &[u32],
    options: RunOptions,
    progress: &mut Progress,
) -> anyhow::Result<Report> {
    let end = Moment(0) + world.duration;
    let report = world.run_and_watch(options, watched, &mut |now| progress.tell(now, end))?;
    Ok(report)
}

/// All nodes, where curves are wanted and the nodes are few.
fn watch_at_first(world: &World, wanted: bool) -> Vec<u32> {
    if wanted && world.nodes.len() <= WATCHED_AT_ONCE {
        (0..).take(world.nodes.len()).collect()
    } else {
        Vec::new()
    }
}

/// The nodes on which most died in all runs together, and of equals those that came lowest, in order of their numbers. Where
/// anybody died, nodes without a death are shown only if there is room for all.
fn worst(world: &World, runs: &[Run]) -> Vec<u32> {
    let mut nodes: Vec<(u64, u64, u32)> = (0..)
        .take(world.nodes.len())
        .map(|node| (deaths(runs, node), lowest(runs, node), node))
        .collect();
    nodes.sort_by_key(|(deaths, lowest, node)| (std::cmp::Reverse(*deaths), *lowest, *node));
    let calm = nodes.first().is_none_or(|(deaths, ..)| *deaths == 0);
    if nodes.len() > CURVES_MAX && !calm {
        nodes.retain(|(deaths, ..)| *deaths > 0);
    }
    let mut shown: Vec<u32> = nodes
        .into_iter()
        .take(CURVES_MAX)
        .map(|(.., node)| node)
        .collect();
    shown.sort_unstable();
    shown
}

/// How many died on a node, in all runs.
fn deaths(runs: &[Run], node: u32) -> u64 {
    let of = |run: &Run| run.report.tally.by_node.get(&node).copied().unwrap_or(0);
    runs.iter().map(of).sum()
}

/// The least that was available on a node in any run, as far as it was watched.
fn lowest(runs: &[Run], node: u32) -> u64 {
    let rows = runs
        .iter()
        .flat_map(|run| &run.report.curves.nodes)
        .filter(|curve| curve.node == node)
        .flat_map(|curve| &curve.rows);
    let seen = rows.map(|row| row.kubelet_available.unwrap_or(row.kernel_available).0);
    seen.min().unwrap_or(u64::MAX)
}

fn variants(args: &SimulateArgs, source: &mut Source) -> anyhow::Result<Vec<Variant>> {
    let none = Variant {
        name: "no agent",
        agents: Agents::None,
    };
    if args.no_agent {
        return Ok(vec![none]);
    }
    let own = match &args.policy {
        Some(path) => {
            let given = source::read_policy(path, source.scenario())?;
            source.prefer(&given.preferences);
            Agents::Given(given.policy)
        }
        None => source.agents(),
    };
    if args.compare {
        // To compare is to ask what an agent would do: one that may act, where nothing else is said.
        let enforce = Policy {
            mode: Mode::Enforce,
            ..Policy::default()
        };
        let agents = match own {
            Agents::None => Agents::Given(enforce),
            Agents::OfWorld | Agents::Given(_) => own,
        };
        return Ok(vec![
            none,
            Variant {
                name: "agent",
                agents,
            },
        ]);
    }
    Ok(vec![Variant {
        name: match own {
            Agents::None => "no agent",
            Agents::OfWorld | Agents::Given(_) => "agent",
        },
        agents: own,
    }])
}

/// How far it is, on a terminal's stderr alone.
struct Progress {
    shown: bool,
    runs: u64,
    done: u64,
    what: String,
    last: Option<u64>,
}

impl Progress {
    fn new(seeds: Seeds, variants: usize) -> Self {
        let variants = u64::try_from(variants).unwrap_or(u64::MAX);
        Self {
            shown: io::stderr().is_terminal(),
            runs: seeds.count().saturating_mul(variants),
            done: 0,
            what: String::new(),
            last: None,
        }
    }

    fn begin(&mut self, seed: u64, variant: &str) {
        self.what = format!("seed {seed}, {variant}");
    }

    fn tell(&mut self, now: Moment, end: Moment) {
        if now >= end {
            self.done += 1;
        }
        let part = if now >= end {
            0
        } else {
            now.0 / (end.0 / 1000).max(1)
        };
        let permille = (self.done.saturating_mul(1000).saturating_add(part)) / self.runs.max(1);
        if self.shown && self.last != Some(permille / 10) {
            self.last = Some(permille / 10);
            // Nothing is lost if stderr is gone.
            let _ = write!(io::stderr(), "\r\x1b[K{} %: {}", permille / 10, self.what);
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
