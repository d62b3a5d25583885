//! A guest that times reactions while it thrashes, for `cargo xtask bench`: no scenario, and nothing is judged here.
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::{Lru, Plan, Share, Work};
use forestall_lab_init::reaction::Reactions;
use forestall_lab_init::report::{Reactor, Report};

use super::draw::Dice;
use super::guest::{self, Outcome, Parts};
use super::kernels::Kernel;
use super::{cast, job};

const KERNEL: &str = "6.1";
const MEMORY_MIB: u32 = 1024;

/// What a thrashing guest showed.
pub(crate) struct Thrash {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// How long the agent took.
    pub(crate) agent: Reactions,
    /// How long the bare loop took.
    pub(crate) bare_loop: Reactions,
    /// Pages of files read again, a second.
    pub(crate) refaults_per_second: u64,
    /// Share of the time in which somebody waited for memory, percent.
    pub(crate) stalled_percent: u64,
    /// The agent's memory that was locked, bytes.
    pub(crate) agent_locked_bytes: u64,
}

/// Boots the guest with the agent `binary` and has `rounds` reactions timed of each. Fails where there is no emulator or
/// kernel to be had, and where the guest did not thrash.
pub(crate) fn measure(binary: &Path, rounds: u32) -> Result<Thrash> {
    let (init, target) = super::build_init()?;
    let folder = target.join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let parts = Parts {
        init,
        agent: Some(binary.to_owned()),
        qemu: super::emulator()?,
        folder,
        logs: None,
        counted_clock: false,
    };
    let kernel = Kernel::named(KERNEL).with_context(|| format!("no kernel is called {KERNEL}"))?;
    let image = kernel.fetch()?;
    let plan = plan(rounds);
    let label = format!("{KERNEL}-reactions");
    let (outcome, _) = job::boot(&label, || guest::run(&parts, &image, &plan, MEMORY_MIB, &label))?;
    read(&outcome)
}

/// The bystanders hold so much that about a tenth of the machine is left for the cache, and two readers go through four
/// times as much: what is read has left the cache when it is read again, and so have the programs that are not in use.
fn plan(rounds: u32) -> Plan {
    let mut dice = Dice::new(1, "reactions");
    let mut plan = cast::node(&mut dice, "reactions", 1);
    plan.kubepods_limit = None;
    plan.lru = Lru::AsBooted;
    plan.disk = true;
    plan.reactions = Some(rounds);
    cast::hold(&mut plan, [240, 240, 240]);
    for name in ["reader", "other-reader"] {
        let work = Work::Reread {
            size: Share(200),
            rate: Share(0),
        };
        let pod = cast::culprit(&mut dice, name, work);
        plan.pods.push(pod);
    }
    plan.calm_millis = 20_000;
    plan.deadline_millis = 300_000;
    plan
}

fn read(outcome: &Outcome) -> Result<Thrash> {
    let reports = &outcome.reports;
    if let Some(why) = reports.iter().find_map(|report| match report {
        Report::Unable { why } => Some(why),
        _ => None,
    }) {
        bail!("the guest is unable: {why}");
    }
    let reactions = |of: Reactor| {
        reports.iter().find_map(|report| match report {
            Report::Reacted { who, micros } if *who == of => Some(Reactions::new(
                micros.iter().copied().map(Duration::from_micros).collect(),
            )),
            _ => None,
        })
    };
    let kernel = reports.iter().find_map(|report| match report {
        Report::Booted { kernel, .. } => Some(kernel.clone()),
        _ => None,
    });
    let thrashed = reports.iter().find_map(|report| match report {
        Report::Thrashed {
            span_millis,
            refaulted_pages,
            stall_micros,
            agent_locked_bytes,
            ..
        } => Some((
            (*span_millis).max(1),
            *refaulted_pages,
            *stall_micros,
            *agent_locked_bytes,
        )),
        _ => None,
    });
    let (Some(agent), Some(bare_loop), Some(kernel), Some(thrashed)) = (
        reactions(Reactor::Agent),
        reactions(Reactor::BareLoop),
        kernel,
        thrashed,
    ) else {
        bail!(
            "the guest did not come to its end; its console says:\n{}",
            outcome.console_tail
        )
    };
    let (span_millis, refaulted_pages, stall_micros, agent_locked_bytes) = thrashed;
    Ok(Thrash {
        kernel,
        agent,
        bare_loop,
        refaults_per_second: refaulted_pages.saturating_mul(1000) / span_millis,
        stalled_percent: stall_micros / span_millis.saturating_mul(10),
        agent_locked_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reports: Vec<Report>) -> Outcome {
        Outcome {
            stuck: false,
            reports,
            console_tail: "the tail".into(),
        }
    }

    fn booted() -> Report {
        Report::Booted {
            at_millis: 1,
            kernel: "6.1.0".into(),
            memory_bytes: 1,
            kubepods_limit_bytes: None,
            lru_gen: None,
        }
    }

    // By hand: 9,000 pages in 20 s are 450 a second, and 5 s of stalls in 20 s are 25 %.
    #[test]
    fn a_guest_that_came_to_its_end_is_read() {
        let reacted = |who, micros: &[u64]| Report::Reacted {
            who,
            micros: micros.to_vec(),
        };
        let thrash = read(&outcome(vec![
            booted(),
            Report::Thrashed {
                span_millis: 20_000,
                refaulted_pages: 9000,
                stall_micros: 5_000_000,
                available_bytes: 1,
                agent_locked_bytes: 4096,
            },
            reacted(Reactor::Agent, &[3000, 1000]),
            reacted(Reactor::BareLoop, &[500]),
        ]))
        .unwrap();
        assert_eq!((thrash.refaults_per_second, thrash.stalled_percent), (450, 25));
        assert_eq!(thrash.agent.longest(), Duration::from_millis(3));
        assert_eq!(thrash.bare_loop.longest(), Duration::from_micros(500));
    }

    #[test]
    fn a_guest_that_did_not_is_no_measurement() {
        let why = "no disk".to_owned();
        let error = |reports| read(&outcome(reports)).err().map(|error| error.to_string());
        assert!(error(vec![booted(), Report::Unable { why }]).is_some_and(|text| text.contains("no disk")));
        assert!(error(vec![booted()]).is_some_and(|text| text.contains("the tail")));
    }

    #[test]
    fn the_guest_holds_more_than_fits_beside_what_it_reads() {
        let plan = plan(10);
        let sum = |pick: fn(&Work) -> u32| plan.pods.iter().map(|pod| pick(&pod.work)).sum::<u32>();
        let held = sum(|work| match work {
            Work::Hold { hold } => hold.0,
            _ => 0,
        });
        let read = sum(|work| match work {
            Work::Reread { size, .. } => size.0,
            _ => 0,
        });
        assert!(held < 800, "the kernel and the initramfs take about 120: {held}");
        assert!(held + read > 1000, "{held} and {read} fit");
    }
}
