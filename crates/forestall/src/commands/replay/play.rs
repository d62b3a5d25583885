//! Every recorded input to every engine, and what happened in the recording itself.

use std::collections::BTreeMap;

use forestall_decide::{GroupId, Input, Mode, Moment, Pods, Rung, Sample, Target};
use forestall_trace::{Cause, Item, Names, Reader, Version};

use super::Asked;
use super::foretold::Watch;
use super::kills::{KernelKill, Kills};
use super::lane::Lane;

/// Everything that a comparison needs.
pub(super) struct Played {
    /// The recorded policy, and beside it those that were asked for and are others.
    lanes: Vec<Lane>,
    /// Where the policy that was asked for is, and the one it is compared with.
    asked: [usize; 2],
    pub(super) kernel_kills: Vec<KernelKill>,
    /// Evictions by the kubelet, as far as Kubernetes told the recorder.
    pub(super) kubelet_evictions: u64,
    /// By whom a recorded deed was done; empty in shadow.
    pub(super) deeds: u64,
    pub(super) names: Names,
    /// Pods by their cgroups, as people call them.
    pub(super) pods: BTreeMap<GroupId, String>,
    pub(super) node: String,
    pub(super) boot: String,
    pub(super) begins: u64,
    pub(super) ends: u64,
    pub(super) samples: u64,
    pub(super) runs: u64,
    pub(super) gaps: u64,
    pub(super) lost: u64,
    pub(super) unknown: u64,
    pub(super) damaged_bytes: u64,
    /// The format of the last segment among them that only a newer program reads.
    pub(super) newer: Option<Version>,
    /// The newest format among the segments that are read.
    pub(super) newest: Version,
    /// Outcomes of orders that this program, under the recorded policy, never gave.
    pub(super) foreign_outcomes: u64,
    pub(super) mode: Mode,
}

/// Plays a recording for both policies and for the recorded one.
pub(super) fn play(mut reader: Reader<'_>, policies: [Option<&Asked>; 2]) -> Played {
    let mut lanes = vec![Lane::new(None)];
    // An engine each, and none twice: they are most of what a replay takes.
    let asked = policies.map(|policy| {
        let Some(policy) = policy else { return 0 };
        lanes.push(Lane::new(Some(policy.clone())));
        lanes.len() - 1
    });
    let mut played = Played {
        lanes,
        asked,
        kernel_kills: Vec::new(),
        kubelet_evictions: 0,
        deeds: 0,
        names: Names::default(),
        pods: BTreeMap::new(),
        node: crate::log::escape::text(&reader.origin().node),
        boot: crate::log::escape::text(&reader.origin().boot),
        begins: 0,
        ends: 0,
        samples: 0,
        runs: 0,
        gaps: 0,
        lost: 0,
        unknown: 0,
        damaged_bytes: 0,
        newer: None,
        newest: reader.version(),
        foreign_outcomes: 0,
        mode: Mode::default(),
    };
    let mut kills = Kills::default();
    let mut evictions = None;
    while reader.advance() {
        played.newest = played.newest.max(reader.version());
        let Some(item) = reader.item() else { break };
        match item {
            Item::Begin(begin) => {
                match begin.cause {
                    Cause::Opening | Cause::Run => played.runs += 1,
                    Cause::Gap => played.gaps += 1,
                }
                if played.begins == 0 {
                    played.begins = reader.unix_micros(begin.at);
                    played.mode = begin.policy.mode;
                }
                kills = Kills::default();
                evictions = begin.pods.map(|pods| pods.kubelet_evictions);
                begin.pods.into_iter().for_each(|pods| played.learn(pods));
                for lane in &mut played.lanes {
                    lane.begin(&begin);
                    let restated = [
                        begin.kubelet.map(Input::KubeletConfig),
                        begin.pods.map(Input::Pods),
                    ];
                    for input in restated.into_iter().flatten() {
                        lane.step(begin.at, input);
                    }
                }
            }
            Item::Input(at, recorded) => {
                let unix_micros = reader.unix_micros(at);
                played.ends = unix_micros;
                if let Input::Sample(sample) = recorded {
                    played.samples += 1;
                    let killed = kills.look(at, unix_micros, sample);
                    if killed.as_ref().is_some_and(|kill| kill.own_limit.is_none()) {
                        for lane in &mut played.lanes {
                            lane.watch.take_kill(at);
                        }
                    }
                    played.take_sample(at, unix_micros, sample);
                    if let Some(kill) = killed {
                        played.kernel_kills.push(kill);
                        played.lanes.iter_mut().for_each(Lane::score_kill);
                    }
                } else {
                    if let Input::Pods(pods) = recorded {
                        let before = evictions.replace(pods.kubelet_evictions);
                        let fresh = before.map_or(0, |before| pods.kubelet_evictions.saturating_sub(before));
                        played.kubelet_evictions += fresh;
                        played.learn(pods);
                    }
                    played.take(at, recorded);
                }
            }
            Item::End => {}
            Item::Lost(count) => played.lost = played.lost.saturating_add(count),
            Item::Unknown(_) => played.unknown += 1,
            Item::Damaged { bytes, newer, .. } | Item::Torn { bytes, newer, .. } => {
                played.damaged_bytes += bytes as u64;
                played.newer = newer.or(played.newer);
            }
        }
    }
    played.names = reader.names().clone();
    played
}

impl Played {
    /// What the shadow kubelet says of the recording as it was.
    pub(super) fn watch(&self) -> Option<&Watch> {
        self.lanes.first().map(|lane| &lane.watch)
    }

    /// The policy that was asked for, and the one it is compared with.
    pub(super) fn asked(&self) -> [Option<&Lane>; 2] {
        self.asked.map(|at| self.lanes.get(at))
    }

    fn learn(&mut self, pods: &Pods) {
        for pod in &pods.list {
            if let Some(group) = pod.group {
                let name = || crate::log::escape::text(&[&*pod.namespace, "/", &*pod.name].concat());
                self.pods.entry(group).or_insert_with(name);
            }
        }
    }

    fn take_sample(&mut self, at: Moment, unix_micros: u64, sample: &Sample) {
        for lane in &mut self.lanes {
            lane.take_sample(at, unix_micros, sample);
        }
        let recorded = self.lanes.first().filter(|recorded| recorded.acts());
        let done: Vec<(Rung, Target)> = recorded.map(|lane| lane.orders.clone()).unwrap_or_default();
        self.deeds += done.len() as u64;
        for lane in &mut self.lanes {
            lane.follow(at, unix_micros, &done, sample);
        }
    }

    fn take(&mut self, at: Moment, recorded: Input<'_>) {
        match recorded {
            Input::Outcome(outcome) => {
                let original = self.lanes.first();
                let Some(order) = original.and_then(|lane| lane.order_of(outcome.action)) else {
                    // The engine of the recorder would have known it; ours gets it as it is.
                    self.foreign_outcomes += 1;
                    for lane in self.lanes.iter_mut().filter(|lane| lane.is_recorded()) {
                        lane.step(at, Input::Outcome(outcome));
                    }
                    return;
                };
                for lane in &mut self.lanes {
                    lane.take_outcome(at, outcome, order);
                }
            }
            Input::Policy(policy) => {
                for lane in &mut self.lanes {
                    lane.take_policy(at, policy);
                }
            }
            Input::Sample(_) | Input::Pods(_) | Input::KubeletConfig(_) => {
                for lane in &mut self.lanes {
                    lane.step(at, recorded);
                }
            }
        }
    }
}
