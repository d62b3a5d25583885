//! Faults as a node feels them.
//!
//! What is cluster-wide (the API server, budgets) is a flag here, too: a node only knows what it can reach. It refuses to
//! break memory; that is what the loads are for.

use forestall_decide::{Moment, Span};

use crate::event::What;
use crate::node::Node;
use crate::spec::{Fault, FaultKind};

/// Which faults are on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Those of the node, in the order of the file.
    pub(crate) list: Vec<Fault>,
    pub(crate) api_away: u32,
    pub(crate) agent_away: u32,
    pub(crate) samples_lost: u32,
    pub(crate) pdb_zero: u32,
    pub(crate) kubelet_away: u32,
    /// How long victims take, one for each that is on.
    pub(crate) slow_victims: Vec<Span>,
}

impl Faults {
    /// How much longer a victim takes: by the longest of those that are on.
    pub(crate) fn slow_victim(&self) -> Span {
        self.slow_victims.iter().copied().max().unwrap_or(Span(0))
    }
}

impl FaultKind {
    /// The word used in scenario files and time lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ApiAway => "api-away",
            Self::AgentRestart => "agent-restart",
            Self::ClockJump(_) => "clock-jump",
            Self::SamplesLost => "samples-lost",
            Self::SlowVictim(_) => "slow-victim",
            Self::PdbZero => "pdb-zero",
            Self::KubeletAway => "kubelet-away",
        }
    }
}

fn count(flag: &mut u32, begins: bool) {
    *flag = if begins { *flag + 1 } else { flag.saturating_sub(1) };
}

/// A fault begins or ends on a node.
pub(crate) fn turn(node: &mut Node, index: usize, begins: bool, now: Moment) {
    let Some(fault) = node.faults.list.get(index).copied() else {
        return;
    };
    let name = fault.kind.label();
    node.note(now, What::Fault { name, begins });
    let faults = &mut node.faults;
    match fault.kind {
        FaultKind::ApiAway => {
            count(&mut faults.api_away, begins);
            node.tell_soon(now);
        }
        FaultKind::SamplesLost => count(&mut faults.samples_lost, begins),
        FaultKind::PdbZero => count(&mut faults.pdb_zero, begins),
        FaultKind::KubeletAway => count(&mut faults.kubelet_away, begins),
        FaultKind::SlowVictim(takes) => {
            if begins {
                faults.slow_victims.push(takes);
            } else if let Some(one) = faults.slow_victims.iter().position(|other| *other == takes) {
                faults.slow_victims.swap_remove(one);
            }
        }
        FaultKind::AgentRestart => {
            count(&mut faults.agent_away, begins);
            if !begins && node.faults.agent_away == 0 {
                node.agent_starts(now);
            }
        }
        FaultKind::ClockJump(millis) => {
            if begins && let Some(agent) = &mut node.agent {
                agent.jump_clock(millis);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forestall_decide::ActionId;

    use super::*;
    use crate::{Options, Running, parse_scenario};

    /// A minute with these faults, looked at in the middle of each second.
    fn each_second<R>(faults: &str, look: impl Fn(&Node) -> R) -> Vec<R> {
        let scenario = parse_scenario(&format!(
            "title: faults\nduration: 1m\npolicy: {{}}\nnodes: [{{ name: a, memory: 1Gi }}]\nfaults:\n{faults}"
        ));
        let world = scenario.expect("fine").world;
        let mut running = Running::start(&world, Options::default()).expect("a sound world");
        let node = &mut running.nodes[0];
        let look = |second: u64| {
            let until = Moment(second * 1_000_000 + 500_000);
            node.run_until(until, &mut forestall_decide::Sample::default());
            look(node)
        };
        (0..12).map(look).collect()
    }

    #[test]
    fn the_end_of_one_slow_victim_does_not_end_another() {
        let two = "  - { kind: slow-victim, takes: 20s, from: 1s, for: 8s }\n  - { kind: slow-victim, takes: 3s, from: 3s, for: 2s }\n  - { kind: slow-victim, takes: 9s, from: 8s, for: 3s }\n";
        let takes = each_second(two, |node| node.faults.slow_victim().as_millis() / 1000);
        assert_eq!(takes, [0, 20, 20, 20, 20, 20, 20, 20, 20, 9, 9, 0]);
    }

    #[test]
    fn an_agent_that_two_faults_hold_starts_when_both_are_over() {
        let two = "  - { kind: agent-restart, from: 1s, for: 8s }\n  - { kind: agent-restart, from: 3s, for: 2s }\n";
        let lives = each_second(two, |node| {
            node.agent.as_ref().map(|agent| agent.stamp(ActionId(0)).0 >> 32)
        });
        let lives: Vec<u64> = lives.into_iter().flatten().collect();
        assert_eq!(lives, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    }
}
