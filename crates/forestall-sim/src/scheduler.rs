//! The scheduler: where a pod that has no node goes.
//!
//! Room for its request, no memory pressure, and then the least requested share, as Kubernetes' own default has it for one
//! resource. It refuses to know what pods really use; so does the real one.

use forestall_decide::{Bytes, Moment, Owner, Span};

use crate::event::{Event, What};
use crate::kubelet::Kubelet;
use crate::node::{Leaver, Node};
use crate::spec::FaultKind;
use crate::world::Running;

/// A pod without a place is asked about again after this.
const RETRY: Span = Span::secs(10);
/// From one round to the next; agents are told of room on other nodes as often.
pub(crate) const ROUND: Span = Span::secs(10);
/// The kubelet takes so many pods (`maxPods`).
const PODS_MAX: usize = 110;

/// A pod that waits for a place.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) at: Moment,
    pub(crate) kind: usize,
    /// It must go there.
    pub(crate) node: Option<u32>,
    pub(crate) announced: bool,
}

impl Running {
    /// Finds out where there is room, at even times: what is told must not depend on who happened to be visited.
    pub(crate) fn ask_for_room(&mut self, now: Moment) {
        if self.survey > now {
            return;
        }
        self.survey = round_after(now);
        let rooms: Vec<Bytes> = self.nodes.iter().map(room).collect();
        if rooms == self.rooms {
            return;
        }
        let first = rooms.iter().enumerate().max_by_key(|(_, room)| **room);
        let Some((widest, most)) = first.map(|(index, room)| (index, *room)) else {
            return;
        };
        let others = rooms.iter().enumerate().filter(|(index, _)| *index != widest);
        let second = others.map(|(_, room)| *room).max().unwrap_or_default();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let room = if index == widest { second } else { most };
            node.elsewhere = crate::told::elsewhere(room);
        }
        self.rooms = rooms;
    }

    fn api_is_away(&self, now: Moment) -> bool {
        self.faults.iter().any(|fault| {
            fault.kind == FaultKind::ApiAway
                && fault.node.is_none()
                && (fault.from..fault.from + fault.lasts).contains(&now)
        })
    }

    /// Finds a place for everybody who waits for one now.
    pub(crate) fn place_all(&mut self, now: Moment) {
        let away = self.api_is_away(now);
        let due = |pod: &Waiting| pod.at <= now;
        let (mut ready, later): (Vec<_>, Vec<_>) =
            core::mem::take(&mut self.waiting).into_iter().partition(due);
        self.waiting = later;
        for mut pod in ready.drain(..) {
            let target = if away { None } else { self.find_place(&pod) };
            if let Some(target) = target {
                let (spec, name) = self.copy(pod.kind);
                let node = &mut self.nodes[target];
                node.admit(pod.kind, spec, name, now);
                node.refresh(now);
                self.dues[target] = node.due;
                self.events.append(&mut node.events);
                self.unsettle(target);
                continue;
            }
            if !pod.announced {
                pod.announced = true;
                let name = self.specs[pod.kind].name.clone();
                let what = What::PodPending { pod: name };
                self.events.push(Event {
                    at: now,
                    node: 0,
                    what,
                });
            }
            pod.at = now + RETRY;
            self.waiting.push(pod);
        }
    }

    /// The scheduler's choice: room for the request, no memory pressure, and then the least requested share.
    fn find_place(&self, pod: &Waiting) -> Option<usize> {
        let spec = &self.specs[pod.kind];
        let request = spec.requested();
        if let Some(node) = pod.node {
            return Some(node as usize);
        }
        let fits = |node: &&Node| {
            let pressed = node.kubelet.as_ref().is_some_and(Kubelet::is_pressed);
            let tolerated = spec.owner == Owner::DaemonSet;
            !node.lost
                && (!pressed || tolerated)
                && node.pods.len() <= PODS_MAX
                && requested(node) + request <= allocatable(node)
        };
        let share = |node: &&Node| (node.scored + spec.scored()).permille_of(allocatable(node));
        let found = self
            .nodes
            .iter()
            .filter(fits)
            .min_by_key(|node| (share(node), node.index))?;
        Some(found.index as usize)
    }
}

/// What a node has to offer, as the agents of others are told.
pub(crate) fn room(node: &Node) -> Bytes {
    let pressed = node.kubelet.as_ref().is_some_and(Kubelet::is_pressed);
    if pressed || node.lost {
        Bytes::ZERO
    } else {
        allocatable(node) - requested(node)
    }
}

/// The first round after `now`.
pub(crate) const fn round_after(now: Moment) -> Moment {
    Moment((now.0 / ROUND.0).saturating_add(1).saturating_mul(ROUND.0))
}

/// Someone who left wants a place.
pub(crate) fn wait_for(leaver: Leaver, reschedule: Span) -> Waiting {
    Waiting {
        // At a round itself it is not too late.
        at: round_after(Moment((leaver.at + reschedule).0.saturating_sub(1))),
        kind: leaver.kind,
        node: leaver.stays.then_some(leaver.node),
        announced: false,
    }
}

fn allocatable(node: &Node) -> Bytes {
    node.kubelet
        .as_ref()
        .map_or(node.spec.memory, |kubelet| kubelet.config.allocatable())
}

const fn requested(node: &Node) -> Bytes {
    node.requested
}
