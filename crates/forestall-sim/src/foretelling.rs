//! What the shadow kubelet of each node's agent said first, and what the node's kubelet then did.
//!
//! One check a node: the first announcement against the first eviction. It refuses to count what an agent that acts has
//! prevented as right or wrong; that is told apart.

use forestall_decide::kubelet::{Bounds, Unmended};
use forestall_decide::{Mode, Moment, Span, WallKind};

use crate::event::{Event, What};

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
    /// The first of each node that has one, in order of the nodes' numbers.
    pub first: Vec<(u32, Foretelling)>,
    /// Nodes whose first eviction nobody foretold, though an agent looked on; in order.
    pub untold: Vec<u32>,
}

impl Foretellings {
    /// What was foretold first on a node.
    pub fn of(&self, node: u32) -> Option<&Foretelling> {
        let place = self.place(node).ok()?;
        self.first.get(place).map(|(_, it)| it)
    }

    fn place(&self, node: u32) -> Result<usize, usize> {
        self.first.binary_search_by_key(&node, |(node, _)| *node)
    }

    /// Takes one event.
    pub(crate) fn see(&mut self, event: &Event) {
        let (victim, killed_at) = match &event.what {
            What::Foretold {
                wall,
                acts,
                victims,
                unmended,
            } => {
                let is_new = self.untold.binary_search(&event.node).is_err();
                if let (true, Err(place)) = (is_new, self.place(event.node)) {
                    let foretelling = Foretelling {
                        at: event.at,
                        wall: *wall,
                        acts: *acts,
                        victims: victims.clone(),
                        unmended: unmended.clone(),
                        came: None,
                        acted: false,
                    };
                    self.first.insert(place, (event.node, foretelling));
                }
                return;
            }
            What::Evicting { victim, .. } => {
                if self.place(event.node).is_err()
                    && let Err(place) = self.untold.binary_search(&event.node)
                {
                    self.untold.insert(place, event.node);
                }
                (Some(victim), None)
            }
            What::KernelKilled {
                wall: wall @ (WallKind::Kernel | WallKind::Kubepods),
                victim,
                ..
            } => (Some(victim), Some(*wall)),
            What::Ordered(order) if order.mode == Mode::Enforce => (None, None),
            _ => return,
        };
        let place = self.place(event.node).ok();
        let Some((_, foretelling)) = place.and_then(|place| self.first.get_mut(place)) else {
            return;
        };
        // What came first counts.
        if foretelling.came.is_none() {
            foretelling.acted |= victim.is_none();
            foretelling.came = victim.map(|victim| Came {
                after: event.at.since(foretelling.at),
                victim: victim.name.clone(),
                killed_at,
            });
        }
    }
}
