//! Curves of memory over a run: a bounded number of moments of a node that keep every extreme.
//!
//! A run is cut into slices of time. Of each slice the first and the last moment are kept, and those at which one of four
//! figures was lowest or highest; between two moments of a node every line is straight, so nothing that a page could show is
//! lost. It refuses to change a run: with and without curves the same facts come out.

use forestall_decide::kubelet::Signal;
use forestall_decide::{Bytes, Moment, Span};

use crate::memory::Part;
use crate::node::{HOST, Node};
use crate::spec::World;
use crate::tally::Tally;
use crate::world::Running;

/// So many slices.
const SLICES: u64 = 200;
/// First, last, and two extremes of each of four figures.
const KEPT: usize = 10;
/// More kinds of pods than this are not told apart: nobody could, in a picture.
pub const KINDS_MAX: usize = 6;

/// The curves of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Curves {
    /// Of the nodes that were watched, in order of their numbers.
    pub nodes: Vec<NodeCurve>,
    /// Of all nodes together; empty where there is one alone.
    pub fleet: Vec<FleetRow>,
}

/// The curves of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCurve {
    /// Its number.
    pub node: u32,
    /// The kinds of pods that are told apart, as [`CurveRow::by_kind`] has them; empty where there are too many.
    pub kinds: Vec<Box<str>>,
    /// At most 2,010 moments in order; two rows of the same moment are before and after what happened then.
    pub rows: Vec<CurveRow>,
}

/// One moment of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurveRow {
    /// When.
    pub at: Moment,
    /// The kernel's MemAvailable.
    pub kernel_available: Bytes,
    /// The kubelet's `memory.available`; `None`: there is no kubelet.
    pub kubelet_available: Option<Bytes>,
    /// What the kubelet counts of all pods.
    pub pods_working_set: Bytes,
    /// What the kernel charges to `kubepods`, page cache included.
    pub pods_charged: Bytes,
    /// The working set of each kind of pods.
    pub by_kind: [Bytes; KINDS_MAX],
}

/// One moment of all nodes: what is available by the kubelets' count, or the kernel's where there is no kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetRow {
    /// When.
    pub at: Moment,
    /// On the node that has least.
    pub lowest: Bytes,
    /// On the one in the middle.
    pub median: Bytes,
    /// On the node that has most.
    pub highest: Bytes,
    /// The least that any kernel has available.
    pub kernel_lowest: Bytes,
    /// How many pods, containers and processes have died until then.
    pub deaths: u64,
}

impl CurveRow {
    fn figures(&self) -> [u64; 4] {
        let kubelet = self.kubelet_available.unwrap_or_default();
        [
            self.kernel_available.0,
            kubelet.0,
            self.pods_working_set.0,
            self.pods_charged.0,
        ]
    }
}

/// Who writes down one node's moments.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    slice: Span,
    kinds: usize,
    /// The slice that is not over.
    current: u64,
    seen: u64,
    kept: [Option<(u64, CurveRow)>; KEPT],
    rows: Vec<CurveRow>,
}

impl Recorder {
    fn new(duration: Span, kinds: usize) -> Self {
        Self {
            slice: slice(duration),
            kinds,
            current: 0,
            seen: 0,
            kept: [None; KEPT],
            rows: Vec::new(),
        }
    }

    fn see(&mut self, row: CurveRow) {
        let slice = row.at.0 / self.slice.0;
        if slice != self.current {
            self.close();
            self.current = slice;
        }
        let this = Some((self.seen, row));
        self.seen += 1;
        let figures = row.figures();
        let [first, last, extremes @ ..] = &mut self.kept;
        first.get_or_insert((self.seen - 1, row));
        *last = this;
        for (pair, figure) in extremes.chunks_exact_mut(2).zip(0..) {
            let of = |row: &CurveRow| row.figures().get(figure).copied().unwrap_or(0);
            let value = figures.get(figure).copied().unwrap_or(0);
            if let [lowest, highest] = pair {
                if lowest.is_none_or(|(_, row)| value < of(&row)) {
                    *lowest = this;
                }
                if highest.is_none_or(|(_, row)| value > of(&row)) {
                    *highest = this;
                }
            }
        }
    }

    /// The slice is over.
    fn close(&mut self) {
        let mut kept: Vec<(u64, CurveRow)> = self.kept.iter_mut().filter_map(Option::take).collect();
        kept.sort_unstable_by_key(|(number, _)| *number);
        kept.dedup_by_key(|(number, _)| *number);
        for (_, row) in kept {
            if self.rows.last() != Some(&row) {
                self.rows.push(row);
            }
        }
    }
}

fn slice(duration: Span) -> Span {
    Span(duration.0.div_ceil(SLICES).max(1))
}

impl Node {
    /// Writes down this moment, if anybody wants it.
    #[inline]
    pub(crate) fn record(&mut self, now: Moment) {
        // Asked before and after whatever happens on a node, and almost always in vain.
        if self.recorder.is_some() {
            self.record_row(now);
        }
    }

    fn record_row(&mut self, now: Moment) {
        if let Some(mut recorder) = self.recorder.take() {
            recorder.see(self.row(recorder.kinds, now));
            self.recorder = Some(recorder);
        }
    }

    fn row(&self, kinds: usize, now: Moment) -> CurveRow {
        let mut by_kind = [Bytes::ZERO; KINDS_MAX];
        if kinds > 0 {
            for pod in self.pods.iter().skip(HOST + 1) {
                if let Some(sum) = pod.kind.and_then(|kind| by_kind.get_mut(kind)) {
                    *sum += pod.used(&Part::WORKING_SET, now);
                }
            }
        }
        CurveRow {
            at: now,
            kernel_available: self.kernel_available(now),
            kubelet_available: self.signal_available(Signal::MemoryAvailable, now),
            pods_working_set: self.pods_sum.line(&Part::WORKING_SET).bytes(now),
            pods_charged: self.pods_sum.line(&Part::ALL).bytes(now),
            by_kind,
        }
    }
}

/// Watches a run: the nodes that are asked for, and all together.
pub(crate) struct Watch {
    kinds: Vec<Box<str>>,
    slice: Span,
    next: Moment,
    fleet: Vec<FleetRow>,
    on: bool,
}

impl Watch {
    /// Begins at the first moment. Nobody is watched where `nodes` is empty.
    pub(crate) fn begin(world: &World, running: &mut Running, nodes: &[u32]) -> Self {
        let kinds: Vec<Box<str>> = if world.pods.len() <= KINDS_MAX {
            world.pods.iter().map(|pod| pod.name.clone()).collect()
        } else {
            Vec::new()
        };
        for node in nodes {
            if let Some(node) = running.nodes.get_mut(*node as usize) {
                node.recorder = Some(Box::new(Recorder::new(world.duration, kinds.len())));
                node.record(Moment(0));
            }
        }
        Self {
            kinds,
            slice: slice(world.duration),
            next: Moment(0),
            fleet: Vec::new(),
            on: !nodes.is_empty() && world.nodes.len() > 1,
        }
    }

    /// All nodes have come to `now`.
    pub(crate) fn look(&mut self, running: &Running, tally: &Tally, now: Moment) {
        if !self.on || now < self.next {
            return;
        }
        self.next = now + self.slice;
        let there = || running.nodes.iter().filter(|node| !node.lost);
        let seen = |node: &Node| {
            node.signal_available(Signal::MemoryAvailable, now)
                .unwrap_or_else(|| node.kernel_available(now))
        };
        let mut all: Vec<Bytes> = there().map(seen).collect();
        all.sort_unstable();
        if let (Some(lowest), Some(median), Some(highest), Some(kernel_lowest)) = (
            all.first(),
            all.get(all.len() / 2),
            all.last(),
            there().map(|node| node.kernel_available(now)).min(),
        ) {
            self.fleet.push(FleetRow {
                at: now,
                lowest: *lowest,
                median: *median,
                highest: *highest,
                kernel_lowest,
                deaths: tally.deaths(),
            });
        }
    }

    /// It is over.
    pub(crate) fn finish(mut self, running: &mut Running, tally: &Tally, end: Moment) -> Curves {
        self.next = end;
        self.look(running, tally, end);
        let kinds = self.kinds;
        let close = |node: &mut Node| {
            if !node.lost {
                node.record(end);
            }
            let mut recorder = node.recorder.take()?;
            recorder.close();
            // A node is never seen empty: the run begins when what is there at first is there.
            let at_first = recorder.rows.iter().take_while(|row| row.at == Moment(0)).count();
            recorder.rows.drain(..at_first.saturating_sub(1));
            Some(NodeCurve {
                node: node.index,
                kinds: kinds.clone(),
                rows: recorder.rows,
            })
        };
        Curves {
            nodes: running.nodes.iter_mut().filter_map(close).collect(),
            fleet: self.fleet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: u64, value: u64) -> CurveRow {
        CurveRow {
            at: Moment(at),
            kernel_available: Bytes(value),
            kubelet_available: None,
            pods_working_set: Bytes::ZERO,
            pods_charged: Bytes(1000 - value),
            by_kind: [Bytes::ZERO; KINDS_MAX],
        }
    }

    #[test]
    fn of_a_hundred_thousand_moments_the_extremes_are_kept_and_no_more_than_fit() {
        let mut recorder = Recorder::new(Span(100_000), 0);
        for at in 0..100_000 {
            // A dent of a single moment, and a peak of one.
            let value = match at {
                33_333 => 1,
                77_777 => 999,
                at => 400 + at * 7 % 100,
            };
            recorder.see(row(at, value));
        }
        recorder.close();
        let rows = recorder.rows;
        assert!(rows.len() <= 2000, "{}", rows.len());
        assert!(rows.contains(&row(33_333, 1)) && rows.contains(&row(77_777, 999)));
        assert!(rows.is_sorted_by_key(|row| row.at));
        assert_eq!(rows.first().map(|row| row.at), Some(Moment(0)));
        assert_eq!(rows.last().map(|row| row.at), Some(Moment(99_999)));
    }

    #[test]
    fn before_and_after_stand_in_their_order() {
        let mut recorder = Recorder::new(Span(1000), 0);
        for (at, value) in [(0, 500), (7, 3), (7, 900), (9, 900)] {
            recorder.see(row(at, value));
        }
        recorder.close();
        let kept: Vec<u64> = recorder.rows.iter().map(|row| row.kernel_available.0).collect();
        assert_eq!(kept, [500, 3, 900, 900]);
    }
}
