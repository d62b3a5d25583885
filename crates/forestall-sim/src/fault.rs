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
    pub(crate) list: Vec<Fault>,
    pub(crate) api_away: u32,
    pub(crate) agent_away: u32,
    pub(crate) samples_lost: u32,
    pub(crate) pdb_zero: u32,
    pub(crate) kubelet_away: u32,
    pub(crate) slow_victim: Span,
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
            faults.slow_victim = if begins { takes } else { Span(0) };
        }
        FaultKind::AgentRestart => {
            count(&mut faults.agent_away, begins);
            if !begins {
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
