//! The shadow kubelet's outlook, from the engine's own tracks: at every sample the kubelet's next step as data.
//!
//! Only a kubelet whose configuration was told has a forecast. When it acts is reckoned at every look, and whom it hits
//! every ten seconds, as often as the kubelet itself would know. It refuses to decide anything: what ought to be done about
//! the forecast is the ladder's business.

use crate::culprit::find_culprit;
use crate::decision::{Target, WallKind, WallReading};
use crate::forecast::forecast;
use crate::history::History;
use crate::input::{GroupId, Sample};
use crate::kubelet::{
    Blind, Bounds, Candidate, Extremes, Grower, Growth, KubeletConfig, KubeletForecast, LOOK, Observation,
    Outlook, PodOutlook, Reading, Shadow, Signal, Signs,
};
use crate::pods::Pods;
use crate::ring::Lapse;
use crate::units::{Bytes, BytesPerSecond, Moment, Span};
use crate::wall::{Approach, noise};
use crate::window::{Track, WINDOWS};

/// Who grows is asked where the kubelet may act within this time; before that nobody has done anything.
const GROWER_WITHIN: Span = Span::secs(120);

/// What is remembered of one pod's working set.
#[derive(Clone, Debug)]
struct Followed {
    group: Option<GroupId>,
    /// Where it stands in the sample, while the order of the groups is the same.
    place: Option<usize>,
    extremes: Extremes,
    lapse: Lapse,
}

/// The shadow kubelet and what its outlook is made of.
#[derive(Clone, Debug)]
pub(crate) struct Foresight {
    shadow: Option<Shadow>,
    blind: Lapse,
    /// In order of the pods' list.
    followed: Vec<Followed>,
    outlooks: Vec<PodOutlook>,
    ranked_at: Option<Moment>,
    /// The order of groups that the places are of.
    order: Option<u64>,
    grower: Grower,
    was_near: bool,
    pods_known: bool,
}

/// What the engine knows at one sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) history: &'a History,
    pub(crate) pods: &'a Pods,
    pub(crate) readings: &'a [WallReading],
    pub(crate) approach: Approach,
    /// The share of growth that makes a culprit, permille.
    pub(crate) share: u64,
}

impl Default for Foresight {
    fn default() -> Self {
        Self {
            shadow: None,
            blind: Lapse::within(WINDOWS[1]),
            followed: Vec::new(),
            outlooks: Vec::new(),
            ranked_at: None,
            order: None,
            grower: Grower::Unknown,
            was_near: false,
            pods_known: false,
        }
    }
}

impl Foresight {
    /// The kubelet was told this.
    pub(crate) fn configure(&mut self, config: &KubeletConfig) {
        if self
            .shadow
            .as_ref()
            .is_none_or(|shadow| shadow.config() != config)
        {
            self.shadow = Some(Shadow::new(config.clone()));
            self.ranked_at = None;
        }
    }

    /// Other pods are known now; what is remembered of those that stay is kept.
    pub(crate) fn take_pods(&mut self, pods: &Pods) {
        let mut before = core::mem::take(&mut self.followed);
        before.sort_unstable_by_key(|followed| followed.group);
        self.followed.extend(pods.list.iter().map(|pod| {
            let at = before.binary_search_by_key(&pod.group, |followed| followed.group);
            let kept = at
                .ok()
                .filter(|_| pod.group.is_some())
                .map(|at| before[at].clone());
            kept.unwrap_or_else(|| Followed {
                group: pod.group,
                place: None,
                extremes: Extremes::default(),
                lapse: Lapse::within(WINDOWS[1]),
            })
        }));
        self.order = None;
        self.ranked_at = None;
    }

    /// The kubelet has evicted, as Kubernetes tells.
    pub(crate) fn note_eviction(&mut self, now: Moment) {
        if let Some(shadow) = &mut self.shadow {
            shadow.note_eviction(now);
        }
    }

    /// The clock went back by so much; what is remembered in tracks begins anew by itself.
    pub(crate) fn set_back(&mut self, by: Span) {
        self.ranked_at = None;
        if let Some(shadow) = &mut self.shadow {
            shadow.set_back(by);
        }
    }

    /// The shadow of a kubelet that was told something.
    pub(crate) fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_ref()
    }

    /// The forecast of the last sample; none where nobody told what the kubelet was told.
    pub(crate) fn forecast(&self) -> Option<&KubeletForecast> {
        self.shadow.as_ref().map(Shadow::forecast)
    }

    /// Forecasts at a sample that has been taken into the history.
    pub(crate) fn look(&mut self, now: Moment, known: Known<'_>) {
        let node = &known.sample.node;
        self.blind.push(now, Blind::of(node).total);
        if self.shadow.is_none() {
            return;
        }
        self.follow(now, &known);
        let pods_known = known.pods.is_fresh(now);
        let is_due = self
            .ranked_at
            .is_none_or(|at| now < at || now.since(at) >= LOOK || pods_known != self.pods_known);
        if is_due {
            self.ranked_at = Some(now);
            self.pods_known = pods_known;
            self.fill(&known, pods_known);
        }
        let Some(shadow) = &mut self.shadow else { return };
        let kubepods = known.history.roster.kubepods.first().map(|at| *at as usize);
        let group = kubepods.and_then(|at| known.sample.groups.get(at));
        let observed = Observation::of_machine(node, group, now);
        let nearest = |signal, reading: Option<Reading>| {
            let values = shadow.config().thresholds.iter();
            let values = values.filter(|threshold| threshold.signal == signal);
            let value = values.map(|threshold| threshold.value).max().unwrap_or_default();
            reading.map_or(Bytes::ZERO, |reading| reading.available - value)
        };
        let growth = |signal, reading, seen: Option<(Bytes, Growth)>, track: Option<&Track>| {
            let distance = nearest(signal, reading);
            // At the threshold that acts first, the usual one, the wall has been read already.
            if let Some((_, growth)) = seen.filter(|(at, _)| *at == distance) {
                return growth;
            }
            track.map_or(Growth::default(), |track| {
                forecast(track, distance, noise(node)).as_growth()
            })
        };
        let pods_track = kubepods
            .and_then(|at| known.history.at(at))
            .and_then(|scope| scope.working_set());
        if let Some(grower) = blamed(&known) {
            self.grower = grower;
        } else if is_due {
            let near = shadow
                .forecast()
                .crossing
                .filter(|crossing| crossing.acts.earliest <= GROWER_WITHIN);
            self.grower = near.map_or(Grower::Unknown, |crossing| {
                let scope = match crossing.threshold.signal {
                    Signal::MemoryAvailable => None,
                    Signal::AllocatableMemoryAvailable => group.map(|group| group.id),
                };
                let culprit = find_culprit(known.sample, known.history, scope, known.share, noise(node));
                culprit.map_or(Grower::Unknown, |culprit| whose(&known, culprit.target))
            });
        }
        let outlook = Outlook {
            observed,
            node_growth: growth(
                Signal::MemoryAvailable,
                observed.memory,
                known.approach.node,
                known.history.node.working_set(),
            ),
            pods_growth: growth(
                Signal::AllocatableMemoryAvailable,
                observed.allocatable,
                known.approach.pods,
                pods_track,
            ),
            blind_growth: speed(&self.blind),
            node_cache: node.active_file,
            pods_cache: group.map_or(Bytes::ZERO, |group| group.active_file),
            kernel: soonest(known.readings, WallKind::Kernel),
            kubepods: soonest(known.readings, WallKind::Kubepods),
            grower: self.grower,
            pods: &self.outlooks,
            pods_known,
            signs: Signs {
                present: node.kubelet_present,
                heard_at: Some(node.kubelet_heard_at).filter(|at| *at > Moment(0)),
            },
        };
        let crossing = shadow.watch(now, &outlook, is_due).crossing;
        let is_near = crossing.is_some_and(|crossing| crossing.acts.earliest <= GROWER_WITHIN);
        if is_near && !self.was_near {
            // Who grows was not asked while this was far away.
            self.ranked_at = None;
        }
        self.was_near = is_near;
    }

    /// Takes every pod's working set of this sample.
    fn follow(&mut self, now: Moment, known: &Known<'_>) {
        let roster = &known.history.roster;
        let same = self.order == Some(roster.order());
        self.order = Some(roster.order());
        for followed in &mut self.followed {
            if !same {
                followed.place = followed.group.and_then(|group| roster.place(group));
            }
            let group = followed.place.and_then(|place| known.sample.groups.get(place));
            if let Some(group) = group {
                followed.extremes.push(now, group.working_set());
                followed.lapse.push(now, group.working_set());
            }
        }
    }

    fn fill(&mut self, known: &Known<'_>, pods_known: bool) {
        self.outlooks.clear();
        if !pods_known {
            return;
        }
        let noise = noise(&known.sample.node);
        for (pod, followed) in known.pods.list.iter().zip(&self.followed) {
            let group = followed.place.and_then(|place| known.sample.groups.get(place));
            // A pod that has no cgroup yet has no statistics either, and goes first.
            let working_set = group.map(crate::input::GroupSample::working_set);
            let track = followed.place.and_then(|place| known.history.at(place));
            let fast = track.map_or(BytesPerSecond(0), |scope| scope.held().speed_now(noise));
            self.outlooks.push(PodOutlook {
                pod: Candidate::of(pod, working_set),
                low: followed.extremes.low(),
                high: followed.extremes.high(),
                growth_fast: fast.max(speed(&followed.lapse)),
                frees: group.map_or(Bytes::ZERO, |group| group.anon + group.shmem),
            });
        }
    }
}

/// How fast a counter rose within its window; nothing where it fell.
fn speed(lapse: &Lapse) -> BytesPerSecond {
    lapse.ends().map_or(BytesPerSecond(0), |(from, to, over)| {
        BytesPerSecond::from(to - from, over)
    })
}

/// When the first wall of this kind is reached.
fn soonest(readings: &[WallReading], wall: WallKind) -> Bounds {
    let runways = readings
        .iter()
        .take_while(|reading| reading.wall <= wall)
        .filter(|reading| reading.wall == wall)
        .map(|reading| reading.runway);
    runways
        .min_by_key(|runway| (runway.p50, runway.p10))
        .map_or(Bounds::NEVER, |runway| Bounds {
            earliest: runway.p10,
            middle: runway.p50,
            latest: runway.p90,
        })
}

/// Who explains the growth at the kernel's own walls, if one of these was near enough to ask.
fn blamed(known: &Known<'_>) -> Option<Grower> {
    let walls = known.readings.iter();
    let mut walls = walls.take_while(|reading| reading.wall <= WallKind::Kubepods);
    let culprit = walls.find_map(|reading| reading.culprit)?;
    Some(whose(known, culprit.target))
}

fn whose(known: &Known<'_>, target: Target) -> Grower {
    match known.pods.owning(known.sample, target) {
        Some(it) => Grower::Pod(it.pod.uid),
        // A container of a pod that nobody told of is no process of the host's.
        None => match target {
            Target::Group(id) if !known.history.roster.is_of_host(id) => Grower::Unknown,
            Target::Group(_) | Target::Process(_) | Target::Node => Grower::Host,
        },
    }
}
