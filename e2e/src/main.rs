//! A real Kubernetes on one machine without KVM: a control plane in a network of its own and nodes as emulated machines, built from pinned
//! sources; and scenarios on it.
//!
//! It is started by `cargo xtask e2e`. It refuses to touch a cluster that it did not start, to judge by times, to retry a verdict, and to
//! leave anything behind but logs.
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};

mod agent;
mod caller;
mod child;
mod cluster;
mod course;
mod disk;
mod folder;
mod interrupt;
mod kernel;
mod kubectl;
mod kubelet;
mod memory;
mod network;
mod node;
mod parts;
mod pki;
mod plane;
mod pod;
mod scenario;
mod tally;
mod wait;

use cluster::Cluster;
use parts::{Parts, Wanted};
use tally::Tally;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (paths, wanted) = parts::parse(std::env::args().skip(1))?;
    let scenarios = scenario::choose(wanted.all, &wanted.names)?;
    if wanted.list {
        for scenario in scenario::ALL {
            println!("{:16}  {}", scenario.name, scenario.shows);
        }
        return Ok(());
    }
    ensure!(
        !scenarios.is_empty() || wanted.keep,
        "no scenario is a gate yet; name some, or say --all"
    );
    // Whoever hands in no part only asks whether the rest is understood.
    if paths.is_empty() {
        return Ok(());
    }
    let parts = Parts::take(paths)?;
    interrupt::listen()?;
    network::set_up(&parts.busybox)?;
    let _logs = folder::Logs::make(&parts.logs)?;
    let folder = folder::Folder::make(&parts.cache)?;
    let mut cluster = Cluster::start(&parts, folder.path())?;
    eprintln!("e2e: the control plane answers");
    let tally = run_all(&mut cluster, &scenarios, &wanted)?;
    if wanted.keep {
        keep(&mut cluster)?;
    }
    tally.finish()
}

fn run_all(cluster: &mut Cluster, scenarios: &[scenario::Scenario], wanted: &Wanted) -> Result<Tally> {
    let mut tally = Tally::default();
    for scenario in scenarios {
        for _ in 0..wanted.times {
            interrupt::check()?;
            eprintln!("e2e: {}: {}", scenario.name, scenario.shows);
            let mut courses = Vec::new();
            let failure = tally.note(scenario.name, || {
                cluster.serve(scenario.impersonation)?;
                let mut stage = cluster.stage(scenario.node)?;
                let shown = (scenario.run)(&mut stage);
                courses.extend(stage.into_courses());
                shown
            });
            tally.tell(scenario.name, courses);
            if failure {
                let folder = cluster.gather(scenario.name)?;
                eprintln!("e2e: what tells of it is in {}", folder.display());
                // What a failed scenario leaves is nothing for another to start from.
                cluster.end_node();
            }
        }
    }
    Ok(tally)
}

/// Leaves it up until somebody wants it to end.
fn keep(cluster: &mut Cluster) -> Result<()> {
    cluster.stage(scenario::NODE)?;
    eprintln!(
        "e2e: kept until Ctrl-C; from another terminal, as root:\n  {} get pods -A",
        cluster.line_for_a_person()
    );
    while !interrupt::is_wanted() {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
