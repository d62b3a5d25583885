//! The last look, copied for those who ask: the machine's figures and every wall, with the names they are known by.

use std::ops::Range;

use forestall_decide::{
    Bytes, Confidence, Decision, Moment, NodeSample, Runway, Sample, Span, Target, WallKind, WallReading,
};

use super::post::Names;

/// Walls that are shown. The order of readings puts the machine, `kubepods` and the kubelet's walls first.
const ROWS_MAX: usize = 512;
/// Room for their names.
const NAME_BYTES_MAX: usize = 128 << 10;

/// A copy of the last look. All its memory is reserved at start.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// When the machine's figures were read, and with them what is left of its own wall; `None` before the first look.
    pub(crate) at: Option<Moment>,
    /// When all other figures of walls were: up to a minute before, while every wall is far away and nothing changes.
    walls_at: Option<Moment>,
    /// The machine, as it was believed last.
    pub(crate) node: NodeSample,
    /// The figure, by the kernel's name, for which the last look was not believed.
    pub(crate) impossible: Option<&'static str>,
    /// Walls for which there was no room.
    pub(crate) rows_left_out: usize,
    rows: Vec<Stored>,
    names: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Stored {
    reading: WallReading,
    scope: Range<usize>,
    culprit: Range<usize>,
}

/// How old the figures of a wall are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// What is left of it.
    pub(crate) left: Span,
    /// Its growth, runway, stall and culprit.
    pub(crate) rest: Span,
}

/// One wall with its names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// The wall as the engine reads it.
    pub(crate) reading: &'a WallReading,
    /// The path of the cgroup whose limit it is; empty for the machine.
    pub(crate) scope: &'a [u8],
    /// Who explains the growth, by path or process name; empty for nobody.
    pub(crate) culprit: &'a [u8],
}

impl Snapshot {
    pub(super) fn new() -> Self {
        Self {
            at: None,
            walls_at: None,
            node: NodeSample::default(),
            impossible: None,
            rows_left_out: 0,
            rows: Vec::with_capacity(ROWS_MAX),
            names: Vec::with_capacity(NAME_BYTES_MAX),
        }
    }

    /// Overwrites it without allocating.
    pub(super) fn copy_from(
        &mut self,
        now: Moment,
        sample: &Sample,
        decision: &Decision<'_>,
        names: &dyn Names,
    ) {
        (self.at, self.walls_at) = (Some(now), Some(now));
        self.take_node(&sample.node);
        self.rows.clear();
        self.names.clear();
        for reading in decision.readings.iter().take(ROWS_MAX) {
            let scope = self.keep(reading.scope.and_then(|id| names.group(id)));
            let culprit = self.keep(reading.culprit.and_then(|culprit| name_of(culprit.target, names)));
            self.rows.push(Stored {
                reading: *reading,
                scope,
                culprit,
            });
        }
        self.rows_left_out = decision.readings.len().saturating_sub(ROWS_MAX);
    }

    /// Brings the machine's figures and the distance of its own wall up to date; the rest stays as it was.
    pub(super) fn refresh(&mut self, now: Moment, node: &NodeSample, distance: Bytes) {
        self.at = Some(now);
        self.take_node(node);
        let own = self.rows.first_mut();
        if let Some(own) = own.filter(|stored| stored.reading.wall == WallKind::Kernel) {
            own.reading.distance = distance;
        }
    }

    /// Figures that cannot be are shown to nobody.
    fn take_node(&mut self, node: &NodeSample) {
        self.impossible = node.impossible();
        if self.impossible.is_none() {
            self.node = *node;
        } else {
            self.node.oom_kills = node.oom_kills;
            self.node.kubelet_present = node.kubelet_present;
        }
    }

    /// Overwrites it with another one, allocating at most once.
    pub(super) fn clone_to(&self, other: &mut Self) {
        (other.at, other.walls_at) = (self.at, self.walls_at);
        other.node = self.node;
        other.impossible = self.impossible;
        other.rows_left_out = self.rows_left_out;
        other.rows.clone_from(&self.rows);
        other.names.clone_from(&self.names);
    }

    /// The walls, in the engine's order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|stored| Row {
            reading: &stored.reading,
            scope: self.names.get(stored.scope.clone()).unwrap_or_default(),
            culprit: self.names.get(stored.culprit.clone()).unwrap_or_default(),
        })
    }

    /// How old the figures of a wall are at `now`.
    pub(crate) fn age(&self, row: &Row<'_>, now: Moment) -> Age {
        let since = |at: Option<Moment>| at.map_or(Span(0), |at| now.since(at));
        let rest = since(self.walls_at);
        let left = if row.reading.wall == WallKind::Kernel {
            since(self.at)
        } else {
            rest
        };
        Age { left, rest }
    }

    fn keep(&mut self, name: Option<&[u8]>) -> Range<usize> {
        let from = self.names.len();
        if let Some(name) = name
            && from + name.len() <= NAME_BYTES_MAX
        {
            self.names.extend_from_slice(name);
        }
        from..self.names.len()
    }
}

/// The name of whoever an action is aimed at.
pub(super) fn name_of(target: Target, names: &dyn Names) -> Option<&[u8]> {
    match target {
        Target::Group(id) => names.group(id),
        Target::Process(id) => names.process(id),
        Target::Node => None,
    }
}

impl Row<'_> {
    /// One of the machine's own walls, of which there are at most four.
    pub(crate) fn is_machines(&self) -> bool {
        !matches!(self.reading.wall, WallKind::Pod | WallKind::Container)
    }

    /// Worth a place in a short list: it grows, it alarms, or some task waits.
    pub(crate) fn is_lively(&self) -> bool {
        self.reading.alarmed
            || self.reading.confidence > Confidence::None
            || self.reading.runway != Runway::FOREVER
            || self.reading.stall_some_permille > 0
    }
}
