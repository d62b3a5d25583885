//! How long a fleet takes: `cargo run --release -p forestall-sim --example fleet -- NODES HOURS [agent]`.

use forestall_decide::{Mode, Policy, Span};
use forestall_sim::{RunOptions, fleet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (Some(nodes), Some(hours)) = (args.first(), args.get(1)) else {
        return Err("write the number of nodes and of hours, and `agent` for an engine on each".into());
    };
    let policy = args.get(2).map(|_| Policy {
        mode: Mode::Enforce,
        // PSI triggers wake the guard where memory is short; else it rests, as an agent on a node does.
        tick_idle: Span::secs(10),
        ..Policy::default()
    });
    let world = fleet(
        1,
        nodes.parse()?,
        Span::secs(hours.parse::<u64>()? * 3600),
        policy,
    );
    // The promise is about two processors.
    let threads = std::thread::available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(2);
    let options = RunOptions {
        threads,
        ..RunOptions::default()
    };
    let report = world.run(options, &mut |_| ())?;
    let tally = &report.tally;
    println!(
        "{} evictions, {} kernel kills, {} kills by agents, {} restarts, {} pending, {} alarms",
        tally.evictions,
        tally.kernel_kills_all(),
        tally.agent_kills,
        tally.restarts,
        tally.pending,
        tally.alarms
    );
    Ok(())
}
