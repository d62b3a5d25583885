//! What the shadow kubelet of each node's agent said first, and what the node's kubelet then did.
//!
//! One check a node: the first announcement against the first eviction. It refuses to count what an agent that acts has
//! prevented as right or wrong; that is told apart.

use std::collections::{BTreeMap, BTreeSet};

use forestall_decide::kubelet::{Bounds, Unmended};
use forestall_decide::{Mode, Moment, Span, WallKind};

use crate::event::{Event, Victim, What};

/// An eviction that was foretold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foretelling {
    /// When it was said.
    pub at: Moment,
    /// At which wall.
    pub wall: WallKind,
    /// In what time from then.
    pub acts: Bounds,
    /// Whom it may hit.
    pub victims: Vec<Box<str>>,
    /// What that leaves as it is.
    pub unmended: Vec<Unmended>,
    /// What came; nothing if nobody was evicted, and nobody killed by the kernel at a wall of the machine's or of all pods.
    pub came: Option<Came>,
    /// The agent acted before anything came.
    pub acted: bool,
}

/// What followed first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// After what time.
    pub after: Span,
    /// Whom it hit.
    pub victim: Box<str>,
    /// The kernel killed before the kubelet evicted, at this wall.
    pub killed_at: Option<WallKind>,
}

/// Those of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foretellings {
    /// The first of each node.
    pub first: BTreeMap<u32, Foretelling>,
    /// Nodes whose first eviction nobody foretold, though an agent looked on.
    pub untold: BTreeSet<u32>,
}

impl Foretellings {
    /// Takes one event.
    pub(crate) fn see(&mut self, event: &Event) {
        match &event.what {
            What::Foretold {
                wall,
                acts,
                victims,
                unmended,
            } if !self.untold.contains(&event.node) => {
                self.first.entry(event.node).or_insert_with(|| Foretelling {
                    at: event.at,
                    wall: *wall,
                    acts: *acts,
                    victims: victims.clone(),
                    unmended: unmended.clone(),
                    came: None,
                    acted: false,
                });
            }
            What::Evicting { victim, .. } => {
                if !self.first.contains_key(&event.node) {
                    self.untold.insert(event.node);
                }
                self.note(event, victim, None);
            }
            What::KernelKilled {
                wall: wall @ (WallKind::Kernel | WallKind::Kubepods),
                victim,
                ..
            } => self.note(event, victim, Some(*wall)),
            What::Ordered(order) if order.mode == Mode::Enforce => {
                if let Some(foretelling) = self.first.get_mut(&event.node) {
                    foretelling.acted |= foretelling.came.is_none();
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, event: &Event, victim: &Victim, killed_at: Option<WallKind>) {
        if let Some(foretelling) = self.first.get_mut(&event.node) {
            let after = event.at.since(foretelling.at);
            foretelling.came.get_or_insert_with(|| Came {
                after,
                victim: victim.name.clone(),
                killed_at,
            });
        }
    }
}
