//! What the guard has seen of the whole machine, as far as the cluster is told of it: its figures and its own walls.
//!
//! It refuses to look: whatever is told is what the guard needed for itself, and is on the page of metrics as well.

use forestall_decide::{Moment, NodeSample, WallReading};

use crate::agent::shared::{Board, Snapshot};
use crate::log::escape;

/// One wall of the machine's.
#[derive(Clone, Debug)]
pub(super) struct Wall {
    pub(super) reading: WallReading,
    /// Who explains its growth, escaped; empty for nobody.
    pub(super) culprit: String,
}

/// What was seen last.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// When.
    pub(super) at: Moment,
    /// The machine; none of its figures cannot be.
    pub(super) node: NodeSample,
    /// At most four, the one that is reached first in front: by the fastest credible growth, and where none is in sight by what is left.
    pub(super) walls: Vec<Wall>,
}

impl Seen {
    /// `None` before the first look, and where its figures cannot be.
    pub(super) fn on(board: &Board) -> Option<Self> {
        board.see(Self::of)
    }

    fn of(snapshot: &Snapshot) -> Option<Self> {
        let at = snapshot.at.filter(|_| snapshot.impossible.is_none())?;
        let own = snapshot.rows().filter(crate::agent::shared::Row::is_machines);
        let walls = own.map(|row| Wall {
            reading: *row.reading,
            culprit: escape::bytes(row.culprit),
        });
        Some(Self::new(at, &snapshot.node, walls.collect()))
    }

    pub(super) fn new(at: Moment, node: &NodeSample, mut walls: Vec<Wall>) -> Self {
        walls.sort_by_key(|wall| (wall.reading.runway.p10, wall.reading.distance));
        Self {
            at,
            node: *node,
            walls,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use forestall_decide::{
        Bytes, BytesPerSecond, Confidence, Decision, GroupId, Limit, NodeSample, ProcessId, Runway, Sample,
        Span, WallKind,
    };

    use super::*;
    use crate::agent::shared::{Ends, Names, Tick};

    /// Cgroups with a name that no terminal should get.
    struct Named;

    impl Names for Named {
        fn group(&self, _: GroupId) -> Option<&[u8]> {
            Some(b"/kubepods/pod\x1b1")
        }
        fn process(&self, _: ProcessId) -> Option<&[u8]> {
            None
        }
    }

    /// A machine of 1,000 MiB.
    pub(in crate::cluster) fn node() -> NodeSample {
        NodeSample {
            total: Bytes::mebi(1000),
            free: Bytes::mebi(300),
            available: Bytes::mebi(450),
            cached: Bytes::mebi(200),
            anon: Bytes::mebi(400),
            inactive_file: Bytes::mebi(150),
            slab_unreclaimable: Bytes::mebi(60),
            page_tables: Bytes::mebi(15),
            ..NodeSample::default()
        }
    }

    /// So much is left of it, and it lasts for so long at least.
    pub(in crate::cluster) fn reading(wall: WallKind, left_mebi: u64, p10: Span) -> WallReading {
        WallReading {
            wall,
            scope: None,
            limit: Limit::Bytes(Bytes::mebi(900)),
            distance: Bytes::mebi(left_mebi),
            growth: BytesPerSecond(1 << 20),
            growth_fast: BytesPerSecond(2 << 20),
            runway: Runway {
                p10,
                p50: p10.times(2),
                p90: p10.times(4),
            },
            stall_some_permille: 0,
            stall_full_permille: 0,
            confidence: Confidence::High,
            culprit: None,
            alarmed: false,
        }
    }

    /// Has a guard that has just looked show this.
    pub(in crate::cluster) fn publish(ends: &mut Ends, node: &NodeSample, readings: &[WallReading]) {
        let sample = Sample {
            node: *node,
            ..Sample::default()
        };
        let decision = Decision {
            readings,
            alarms: &[],
            endings: &[],
            actions: &[],
            refusals: &[],
            passed_over: &[],
            ignored: &[],
            kubelet: None,
            wake_in: Span::secs(1),
        };
        let tick = Tick {
            now: crate::agent::clock::now(),
            took: Span(1),
            followed: 0,
            left_out: 0,
            lost: &[],
        };
        ends.post.show_next();
        ends.post.publish(&tick, &sample, &decision, &Named);
    }

    #[test]
    fn what_is_seen_are_the_machines_own_walls_the_next_one_first() {
        let mut ends = crate::agent::shared::open().expect("an eventfd");
        assert!(Seen::on(&ends.board).is_none(), "nobody has looked");
        let readings = [
            reading(WallKind::Kernel, 500, Span::FOREVER),
            reading(WallKind::Kubepods, 400, Span::secs(90)),
            reading(WallKind::KubeletNode, 300, Span::FOREVER),
            reading(WallKind::Container, 1, Span::secs(1)),
        ];
        publish(&mut ends, &node(), &readings);
        let seen = Seen::on(&ends.board).expect("a look");
        let walls: Vec<&str> = seen.walls.iter().map(|wall| wall.reading.wall.label()).collect();
        assert_eq!(walls, ["kubepods", "kubelet-node", "kernel"]);
        // More that is free than there is.
        let absurd = NodeSample {
            free: Bytes::mebi(2000),
            ..node()
        };
        publish(&mut ends, &absurd, &readings);
        assert!(Seen::on(&ends.board).is_none());
    }
}
