//! What a run can be about: how a node runs out of memory, or only looks as if it did, and what has to come of it.
//!
//! All sizes are shares of the guest's memory, drawn within bounds that keep a scenario what its name says. Each draw
//! notes why its bounds are where they are; the arithmetic is in thousandths of `MemTotal`.
use std::sync::LazyLock;

use forestall_lab_init::plan::Plan;

use super::cast::node;
use super::draw::Dice;

mod healthy;
mod hidden;
mod host;
mod leaks;
mod mixed;
mod swap;

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) about: &'static str,
    /// What has to happen without the agent; otherwise the scenario is not what it claims to be.
    pub(crate) without: Without,
    /// What has to happen with it.
    pub(crate) with: With,
    /// The guest's memory, where the scenario needs a certain amount (it is about an absolute threshold, say).
    pub(crate) memory_mib: Option<u32>,
    draw: fn(&mut Dice, &mut Plan),
}

/// What has to happen without the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The kernel kills somebody.
    KernelKills,
    /// The stand-in for the kubelet evicts somebody.
    KubeletEvicts,
    /// Nobody ends.
    NobodyEnds,
}

/// What has to happen with the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// The culprit ends and nobody else, and the kernel kills nobody.
    CulpritEnds,
    /// Nobody ends at all.
    NobodyEnds,
    /// The culprit ends by its own limit, and nobody else ends.
    OwnLimit,
    /// Nothing on this machine can save it: the agent ends no innocent, and its log names the culprit.
    CulpritNamed,
}

impl Scenario {
    /// Draws a run.
    pub(crate) fn plan(&self, seed: u64, agent_args: &[String], full_caps: bool) -> Plan {
        let mut dice = Dice::new(seed, self.name);
        let mut plan = node(&mut dice, self.name, seed);
        (self.draw)(&mut dice, &mut plan);
        if let Some(agent) = &mut plan.agent {
            agent.args.extend_from_slice(agent_args);
            agent.full_caps = full_caps;
        }
        plan
    }
}

/// The scenario of that name.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Every scenario.
pub(crate) static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    leaks::ALL
        .into_iter()
        .chain(hidden::ALL)
        .chain(mixed::ALL)
        .chain(swap::ALL)
        .chain(host::ALL)
        .chain(healthy::ALL)
        .collect()
});

#[cfg(test)]
mod tests {
    use forestall_lab_init::plan::{Role, Work};

    use super::*;

    #[test]
    fn a_seed_draws_the_same_plan_and_another_seed_another() {
        for scenario in ALL.iter() {
            assert_eq!(
                scenario.plan(3, &[], false),
                scenario.plan(3, &[], false),
                "{}",
                scenario.name
            );
            assert_ne!(
                scenario.plan(3, &[], false),
                scenario.plan(4, &[], false),
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for scenario in ALL.iter() {
            assert_eq!(ALL.iter().filter(|other| other.name == scenario.name).count(), 1);
            assert!(named(scenario.name).is_some());
        }
    }

    #[test]
    fn what_must_end_somebody_has_a_culprit() {
        for scenario in ALL
            .iter()
            .filter(|scenario| scenario.without != Without::NobodyEnds)
        {
            let plan = scenario.plan(1, &[], false);
            let pods = plan.pods.iter().filter(|pod| pod.role == Role::Culprit).count();
            let services = plan
                .services
                .iter()
                .filter(|service| service.role == Role::Culprit)
                .count();
            assert!(pods + services >= 1, "{}", scenario.name);
        }
    }

    #[test]
    fn bystanders_alone_never_come_near_a_wall() {
        for scenario in ALL.iter() {
            for seed in 0..50 {
                let plan = scenario.plan(seed, &[], false);
                let held: u32 = plan
                    .pods
                    .iter()
                    .filter(|pod| pod.role == Role::Innocent)
                    .map(|pod| {
                        if let Work::Hold { hold } = pod.work {
                            hold.0
                        } else {
                            0
                        }
                    })
                    .sum();
                // 105 thousandths stand for the kubelet's 100 MiB of a guest of 1 GiB.
                let wall = plan.kubepods_limit.map_or(900, |limit| limit.0);
                assert!(
                    held + 105 + 20 < wall,
                    "{} seed {seed}: {held} of {wall}",
                    scenario.name
                );
            }
        }
    }
}
