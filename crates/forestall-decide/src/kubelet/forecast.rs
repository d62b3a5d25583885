//! What the kubelet is going to do, as data: when it acts, on whom, what that frees and what it leaves unmended.
//!
//! Words of [`super::Shadow`]. Times are spans from now and always have bounds, because nobody knows where in its ten
//! seconds the kubelet is. It refuses to say what ought to be done.

use super::config::Threshold;
use super::rank::Candidate;
use super::signal::Observation;
use crate::pods::PodUid;
use crate::units::{Bytes, BytesPerSecond, Moment, Span};

/// When something happens; `Span::FOREVER` where it is not in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Not before.
    pub earliest: Span,
    /// As likely before as after.
    pub middle: Span,
    /// Not after, as far as growth and the kubelet keep to what was seen of them.
    pub latest: Span,
}

impl Bounds {
    /// It is not in sight.
    pub const NEVER: Self = Self::exactly(Span::FOREVER);
    /// It has happened.
    pub const PAST: Self = Self::exactly(Span(0));

    /// It happens then, no sooner and no later.
    pub(crate) const fn exactly(then: Span) -> Self {
        Self {
            earliest: then,
            middle: then,
            latest: then,
        }
    }

    /// When a counter that grows like this has covered `distance`.
    pub const fn to_cover(distance: Bytes, growth: Growth) -> Self {
        Self {
            earliest: Span::to_cover(distance, growth.fast),
            middle: Span::to_cover(distance, growth.middle),
            latest: Span::to_cover(distance, growth.slow),
        }
    }
}

/// How fast a counter grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// The slowest credible.
    pub slow: BytesPerSecond,
    /// The median.
    pub middle: BytesPerSecond,
    /// The fastest credible.
    pub fast: BytesPerSecond,
}

/// Who explains the growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grower {
    /// Nobody alone.
    #[default]
    Unknown,
    /// A pod.
    Pod(PodUid),
    /// Something outside `kubepods`.
    Host,
}

/// One pod as the forecast sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodOutlook {
    /// The pod with its working set of now.
    pub pod: Candidate,
    /// The least its working set was within [`super::POD_FIGURES_AGE_MAX`]: the kubelet may still believe it.
    pub low: Bytes,
    /// The most it was.
    pub high: Bytes,
    /// The fastest credible growth of it.
    pub growth_fast: BytesPerSecond,
    /// What its end gives back of what the kubelet counts: anonymous memory and shmem that it alone maps, and neither cache
    /// that stays nor volumes that outlive it.
    pub frees: Bytes,
}

/// Signs of life of the kubelet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Its process is there.
    pub present: bool,
    /// When it last showed life: used processor time, renewed its lease, wrote a line. `None`: nobody listens.
    pub heard_at: Option<Moment>,
}

/// Everything a forecast rests on.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// Both signals as the kubelet would read them now.
    pub observed: Observation,
    /// Growth of the root's working set.
    pub node_growth: Growth,
    /// Growth of the working set of `kubepods`.
    pub pods_growth: Growth,
    /// Growth of what `memory.available` does not see (`Blind`).
    pub blind_growth: BytesPerSecond,
    /// Page cache that counts as used on the machine and that reclaim would give back: active file.
    pub node_cache: Bytes,
    /// The same within `kubepods`.
    pub pods_cache: Bytes,
    /// When the kernel runs out of memory.
    pub kernel: Bounds,
    /// When `kubepods` reaches its limit with memory that reclaim cannot free.
    pub kubepods: Bounds,
    /// Who explains the growth.
    pub grower: Grower,
    /// The active pods.
    pub pods: &'a [PodOutlook],
    /// That is all of them; without news of the pods nobody knows whom it hits.
    pub pods_known: bool,
    /// Whether the kubelet lives.
    pub signs: Signs,
}

/// Whether the kubelet is able to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum KubeletState {
    /// There is none on this machine.
    #[default]
    Absent,
    /// As far as is known it works.
    Running,
    /// Silent for more than 30 s: on a machine that fights for memory it may come back within the minute.
    Starved,
    /// Silent for more than a minute: nobody may count on it.
    Gone,
}

/// The threshold that acts first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Which one.
    pub threshold: Threshold,
    /// What is left before it; nothing where it is met.
    pub distance: Bytes,
    /// For so long it has been met by our samples; it may have been so for longer where they do not show it being met.
    pub met_for: Option<Span>,
    /// When it is met.
    pub crosses: Bounds,
    /// When the kubelet kills for it.
    pub acts: Bounds,
    /// It should have acted by now: it waits for a victim, or counts otherwise than we do.
    pub overdue: bool,
    /// For so long it may look at nothing once it has acted, hard thresholds included.
    pub blocked_max: Span,
}

/// A pod that may be the first to be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PossibleVictim {
    /// Who.
    pub uid: PodUid,
    /// What its end gives back.
    pub frees: Bytes,
}

/// What an eviction leaves as it is, or why it comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmended {
    /// The kubelet is absent, starved or gone.
    Silent,
    /// The kernel runs out before it acts.
    KernelFirst,
    /// `kubepods` reaches its limit before it acts.
    KubepodsFirst,
    /// What grows is outside `kubepods`: no pod's end stops it.
    HostGrows,
    /// What grows most is kernel memory that its signal does not see.
    BlindGrows,
    /// The pod that grows is not among those it may evict first.
    NotTheGrower,
    /// The pod that grows is among them, and so are others.
    PerhapsNotTheGrower,
    /// Without page cache that reclaim would give back the threshold would not be met: it evicts for cache alone.
    CacheAlone,
    /// Nobody has told who the pods are: whom it evicts, and what that gives back, is not known.
    VictimUnknown,
    /// Every pod is static, a mirror or critical, or there is none.
    Nobody,
    /// No possible victim gives back enough: it takes more than one.
    TooLittle,
    /// While it waits for its soft victim it looks at no hard threshold (k/k #123872).
    BlocksHard,
}

/// The forecast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeletForecast {
    /// Whether it is able to act.
    pub state: KubeletState,
    /// Its MemoryPressure condition, as far as our samples tell: pods of best effort are turned away.
    pub pressure: bool,
    /// It waits for a pod it has evicted, for so long at the most, and looks at nothing meanwhile. `None`: not that we know.
    pub blocked: Option<Span>,
    /// The threshold that acts first; `None` where none is in sight.
    pub crossing: Option<Crossing>,
    /// Whom it may evict first then, in order of the outlook's pods. One: it is certain.
    pub victims: Vec<PossibleVictim>,
    /// Pods that rank before them and are passed over, being critical.
    pub skipped: Vec<PodUid>,
    /// The least that an eviction gives back.
    pub frees_min: Bytes,
    /// The most.
    pub frees_max: Bytes,
    /// How long that lasts if growth goes on at its median, from the least.
    pub lasts: Span,
    /// What it does not mend, in order.
    pub unmended: Vec<Unmended>,
}

/// An eviction is announced when it is as likely as not within this, as an alarm is raised,
const ANNOUNCED_WITHIN: Span = Span::secs(60);
/// and comes within this at the latest: of growth that may end at any moment nothing is announced.
const ANNOUNCED_LATEST: Span = Span::secs(180);

impl KubeletForecast {
    /// It says that the kubelet will evict somebody, and when at the latest.
    pub fn announces(&self) -> bool {
        self.acts_within(ANNOUNCED_WITHIN)
            && !self.unmended.contains(&Unmended::Nobody)
            && self
                .crossing
                .is_some_and(|crossing| crossing.acts.latest <= ANNOUNCED_LATEST)
    }

    /// What it has announced is not in sight any more, not even by the fastest growth: between two steps of a leak the median is.
    pub fn withdraws(&self) -> bool {
        self.crossing
            .is_none_or(|crossing| crossing.acts.earliest > ANNOUNCED_LATEST)
    }

    /// The kubelet acts within `span`, if anything is to be believed.
    pub fn acts_within(&self, span: Span) -> bool {
        self.crossing.is_some_and(|crossing| crossing.acts.middle <= span)
    }
}
