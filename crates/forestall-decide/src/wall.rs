//! Where every wall stands: its limit, the distance as its own keeper counts it, and the forecast.

use crate::decision::{Runway, WallKind, WallReading};
use crate::forecast::{FAR, Forecast, NEAR, forecast, forecast_within};
use crate::history::{History, Scope};
use crate::input::{GroupId, NodeSample, Sample};
use crate::keep::kept_below;
use crate::kubelet::{
    Bounds, Growth, KubeletConfig, Shadow, Signal, allocatable_available, memory_available,
};
use crate::policy::Policy;
use crate::swap::swap_room;
use crate::units::{Bytes, Limit, Moment, Span};
use crate::window::Track;

/// Pages that one processor may charge before the memcg's counter shows it (`MEMCG_CHARGE_BATCH`, mm/memcontrol.c).
const CHARGE_BATCH_PAGES: u64 = 64;
/// The smallest page size forestall runs on; noise only grows with larger pages, and then so does everything else.
const PAGE: u64 = 4096;

/// What a counter may be off by: a batch of pages on every processor, for charging and again for statistics.
pub(crate) fn noise(node: &NodeSample) -> Bytes {
    Bytes(2 * CHARGE_BATCH_PAGES * PAGE * u64::from(node.cpus.max(1)))
}

/// One of the kubelet's thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Below this it is met.
    pub(crate) value: Bytes,
    /// So much longer it has to be met before the kubelet acts: what is left of its grace period.
    pub(crate) left: Bounds,
}

/// The kubelet's thresholds, hard and soft; none where it has none, and then there is no such wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines<'a> {
    /// As the kubelet itself was told; `None` while that is not known.
    pub(crate) told: Option<&'a Shadow>,
    /// What the policy assumes then.
    pub(crate) assumed: Bytes,
    pub(crate) now: Moment,
}

impl<'a> Lines<'a> {
    /// Those of one signal.
    pub(crate) fn of(self, signal: Signal) -> impl Iterator<Item = Line> + Clone + 'a {
        let told = self
            .told
            .into_iter()
            .flat_map(move |shadow| shadow.lines(self.now, signal));
        let assumed = self.told.is_none().then_some(Line {
            value: self.assumed,
            left: Bounds::PAST,
        });
        told.filter(|line| line.value > Bytes::ZERO).chain(assumed)
    }
}

/// The signal whose thresholds a wall of the kubelet's stands for.
pub(crate) const fn signal_of(wall: WallKind) -> Option<Signal> {
    match wall {
        WallKind::KubeletNode => Some(Signal::MemoryAvailable),
        WallKind::KubeletAllocatable => Some(Signal::AllocatableMemoryAvailable),
        WallKind::Kernel | WallKind::Kubepods | WallKind::Pod | WallKind::Container => None,
    }
}

/// So much is kept free before a threshold of this signal: what the kubelet keeps to itself by its hard one, or what the policy
/// takes for that. A soft one lies where its operator wants to be told in time, and says nothing of how much room that takes.
pub(crate) fn room_before(signal: Signal, kubelet: &KubeletConfig, policy: &Policy) -> Bytes {
    let told = Some(kubelet.hard(signal)).filter(|bytes| kubelet.is_known() && *bytes > Bytes::ZERO);
    told.unwrap_or(policy.kubelet_eviction_hard)
}

/// Reads all walls into `out`, in order of kind and then of the sample, which the history is aligned with.
/// Returns how fast the kubelet's walls are approached.
pub(crate) fn read_walls(
    sample: &Sample,
    history: &History,
    lines: Lines<'_>,
    out: &mut Vec<WallReading>,
) -> Approach {
    let mut approach = Approach::default();
    let roster = &history.roster;
    let limits = |kind, places: &[u32], out: &mut Vec<WallReading>| {
        for at in places {
            read_limit(kind, *at as usize, sample, history, out);
        }
    };
    out.clear();
    read_kernel(sample, history, out);
    // A limit on a QoS level kills across its pods as the one on `kubepods` does.
    limits(WallKind::Kubepods, &roster.shared, out);
    if sample.node.kubelet_present {
        approach.node = read_kubelet_node(&sample.node, history, lines, out);
        for at in &roster.kubepods {
            let seen = read_kubelet_allocatable(*at as usize, sample, history, lines, out);
            approach.pods = approach.pods.or(seen);
        }
    }
    limits(WallKind::Pod, &roster.pods, out);
    limits(WallKind::Container, &roster.containers, out);
    approach
}

/// Distance and growth at the thresholds for which the kubelet acts first, where it has any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Approach {
    pub(crate) node: Option<(Bytes, Growth)>,
    pub(crate) pods: Option<(Bytes, Growth)>,
}

/// The machine: MemAvailable (mm/page_alloc.c `si_mem_available`) and what swap can still take, less what MemAvailable
/// counts though `memory.min` keeps it. Huge pages are nobody's memory: neither left nor to be had.
fn read_kernel(sample: &Sample, history: &History, out: &mut Vec<WallReading>) {
    let node = &sample.node;
    let wall = Wall {
        kind: WallKind::Kernel,
        scope: None,
        limit: node.ordinary(),
        distance: (node.available - kept_below(sample, history, None)) + swap_room(sample, None),
        beyond: held_back(node),
    };
    out.push(wall.read(&history.node, &history.node.unreclaimable, noise(node)));
}

/// What `MemAvailable` holds back and the kernel gives out before it kills: the marks above the lowest, and half of the page
/// cache or a low mark of it (mm/show_mem.c, `si_mem_available`).
fn held_back(node: &NodeSample) -> Bytes {
    let cache = Bytes((node.active_file + node.inactive_file).0 / 2);
    (node.watermark_high - node.watermark_min) + cache.min(node.watermark_high)
}

/// A cgroup's own limit: reached when what reclaim cannot free fills it.
fn read_limit(
    kind: WallKind,
    at: usize,
    sample: &Sample,
    history: &History,
    out: &mut Vec<WallReading>,
) -> Option<()> {
    let group = sample.groups.get(at)?;
    let limit = group.limit.bytes()?;
    // A limit above the machine's memory cannot be reached before the machine's own wall.
    if limit >= sample.node.ordinary() {
        return None;
    }
    let reclaimable = group.reclaimable() - kept_below(sample, history, Some(at));
    let scope = history.at(at)?;
    let wall = Wall {
        kind,
        scope: Some(group.id),
        limit,
        distance: (limit - (group.current - reclaimable)) + swap_room(sample, Some(at)),
        beyond: noise(&sample.node),
    };
    out.push(wall.read(scope, &scope.unreclaimable, noise(&sample.node)));
    Some(())
}

/// The kubelet's `memory.available` against its thresholds
/// (pkg/kubelet/eviction/helpers.go).
fn read_kubelet_node(
    node: &NodeSample,
    history: &History,
    lines: Lines<'_>,
    out: &mut Vec<WallReading>,
) -> Option<(Bytes, Growth)> {
    let bounds = Bounded {
        kind: WallKind::KubeletNode,
        scope: None,
        size: node.total,
        available: memory_available(node),
        noise: noise(node),
    };
    let lines = lines.of(Signal::MemoryAvailable);
    bounds.read(lines, &history.node, out)
}

/// The kubelet's `allocatableMemory.available` against its own.
fn read_kubelet_allocatable(
    at: usize,
    sample: &Sample,
    history: &History,
    lines: Lines<'_>,
    out: &mut Vec<WallReading>,
) -> Option<(Bytes, Growth)> {
    let group = sample.groups.get(at)?;
    let limit = group.limit.bytes()?;
    let bounds = Bounded {
        kind: WallKind::KubeletAllocatable,
        scope: Some(group.id),
        size: limit,
        available: allocatable_available(limit, group),
        noise: noise(&sample.node),
    };
    let lines = lines.of(Signal::AllocatableMemoryAvailable);
    bounds.read(lines, history.at(at)?, out)
}

/// A signal of the kubelet's, and what it is about.
struct Bounded {
    kind: WallKind,
    scope: Option<GroupId>,
    size: Bytes,
    available: Bytes,
    noise: Bytes,
}

impl Bounded {
    /// The wall stands at the threshold that is met first, and is reached when the kubelet acts, for whichever it does so
    /// first. Returns its distance and growth.
    fn read(
        &self,
        lines: impl Iterator<Item = Line> + Clone,
        scope: &Scope,
        out: &mut Vec<WallReading>,
    ) -> Option<(Bytes, Growth)> {
        let first = lines.clone().map(|line| line.value).max()?;
        let wall = Wall {
            kind: self.kind,
            scope: self.scope,
            limit: self.size - first,
            distance: self.available - first,
            beyond: self.noise,
        };
        let seen = forecast(scope.working_set()?, wall.distance, self.noise);
        let mut reading = wall.reading(scope, &seen);
        let mut runway = Runway::FOREVER;
        for line in lines {
            let distance = self.available - line.value;
            let acts = |beyond, rate, left| match distance {
                // Met: nothing but time is needed.
                Bytes::ZERO => left,
                distance => Span::to_cover(distance + beyond, rate) + left,
            };
            let Bounds {
                earliest,
                middle,
                latest,
            } = line.left;
            runway = Runway {
                p10: runway.p10.min(acts(Bytes::ZERO, seen.growth_fast, earliest)),
                p50: runway.p50.min(acts(Bytes::ZERO, seen.growth, middle)),
                p90: runway.p90.min(acts(self.noise, seen.growth_slow, latest)),
            };
        }
        reading.runway = runway;
        out.push(reading);
        Some((wall.distance, seen.as_growth()))
    }
}

/// What is known of a wall before its history is asked.
struct Wall {
    kind: WallKind,
    scope: Option<GroupId>,
    limit: Bytes,
    distance: Bytes,
    /// Its keeper may let so much more pass.
    beyond: Bytes,
}

impl Wall {
    fn read(&self, scope: &Scope, track: &Track, noise: Bytes) -> WallReading {
        let is_own = matches!(self.kind, WallKind::Pod | WallKind::Container);
        let horizon = if is_own { NEAR } else { FAR };
        self.reading(scope, &forecast_within(horizon, track, self.distance, noise))
    }

    fn reading(&self, scope: &Scope, seen: &Forecast) -> WallReading {
        let (some, full) = scope.stalled_permille();
        WallReading {
            wall: self.kind,
            scope: self.scope,
            limit: Limit::Bytes(self.limit),
            distance: self.distance,
            growth: seen.growth,
            growth_fast: seen.growth_fast,
            runway: Runway {
                p90: Span::to_cover(self.distance + self.beyond, seen.growth_slow),
                ..seen.runway
            },
            stall_some_permille: some,
            stall_full_permille: full,
            confidence: seen.confidence,
            culprit: None,
            alarmed: false,
        }
    }
}
