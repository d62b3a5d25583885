//! Counters, the last look and the guard's health, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use forestall_act::Price;
use forestall_decide::{Bytes, Decision, Mode, Moment, NodeSample, Rung, Sample, Span, WallKind};

use super::api::Api;
use super::desk::Desk;
use super::label::{ActionOutcome, AlarmStage, IgnoredKind, RUNGS, WALLS, mode_index};
use super::post::Names;
use super::snapshot::Snapshot;
use crate::agent::OpenGroup;
use crate::notify::Told;

/// Upper bounds of the time histograms, in microseconds: from a quiet look to a kill that took its whole grace.
pub(crate) const BUCKET_BOUNDS: [u64; 12] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

/// A look may be this much later than three times its promise before the guard counts as late: a machine that swaps
/// delays everybody, and a probe that restarts the guard then does the harm itself.
const LATE_MARGIN: Span = Span::secs(5);
/// How long the first look may take.
const START_MARGIN: Span = Span::secs(30);

/// Something this agent cannot do here, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Degraded {
    /// What: a rung (`kill`), a source (`PSI`), a right (`lock memory`).
    pub(crate) what: String,
    /// Why, and what takes its place.
    pub(crate) why: String,
}

impl Degraded {
    /// Something that is missing.
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
        }
    }
}

/// What the flight recorder does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Nothing, by choice.
    #[default]
    Off,
    /// It records.
    On,
    /// It should and cannot, for this reason.
    Failed(String),
}

/// How the guard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It has not looked yet, and there is still time for that.
    Starting,
    /// It looked when it said it would.
    Running,
    /// It should have looked this long ago.
    Late(Span),
}

/// Sums over all walls, rungs and modes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Actions that were tried and ended.
    pub(crate) actions: u64,
    /// Actions that were decided in a mode that does not act.
    pub(crate) actions_not_tried: u64,
    /// Alarms raised.
    pub(crate) alarms: u64,
}

/// A histogram of times.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BUCKET_BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Span) {
        let at = BUCKET_BOUNDS
            .iter()
            .position(|bound| time.0 <= *bound)
            .unwrap_or(BUCKET_BOUNDS.len());
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_micros.fetch_add(time.0, Relaxed);
    }

    /// Counts per bucket (not cumulated, the last one without bound), and the sum of all times in microseconds.
    pub(crate) fn read(&self) -> ([u64; BUCKET_BOUNDS.len() + 1], u64) {
        (
            std::array::from_fn(|at| self.counts.get(at).map_or(0, |count| count.load(Relaxed))),
            self.sum_micros.load(Relaxed),
        )
    }
}

/// What everybody may read.
#[derive(Debug)]
pub(crate) struct Board {
    opened: Moment,
    tick_at: AtomicU64,
    promised: AtomicU64,
    gap_max: AtomicU64,
    copied_at: AtomicU64,
    /// What looks took.
    pub(crate) ticks: Histogram,
    /// From order to effect of the actions that worked.
    pub(crate) reactions: Histogram,
    actions: [AtomicU64; RUNGS.len() * ActionOutcome::ALL.len()],
    /// What reclaims gained, took and saw come back, in bytes.
    reclaimed: [AtomicU64; 3],
    alarms: [AtomicU64; WALLS.len() * AlarmStage::ALL.len()],
    refusals: [AtomicU64; WALLS.len()],
    ignored: [AtomicU64; IgnoredKind::ALL.len()],
    events_dropped: AtomicU64,
    troubles: AtomicU64,
    cgroups_followed: AtomicU64,
    cgroups_left_out: AtomicU64,
    mode: AtomicU64,
    is_askable: AtomicBool,
    degraded: Mutex<Vec<Degraded>>,
    recording: Mutex<Recording>,
    /// Why the policy in force is not the one that the configuration's file has.
    configuration: Mutex<Option<String>>,
    snapshot: Mutex<Snapshot>,
    kubepods: Mutex<Option<OpenGroup>>,
    api: Mutex<Option<Api>>,
    /// What the ledger's thread has heard; never the guard's to touch.
    pub(crate) kills: Desk,
    /// What was told to others.
    pub(crate) told: Arc<Told>,
}

fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// A panic of the talk thread while it held a lock leaves only plain data behind; it is used as it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn action_at(rung: Rung, outcome: ActionOutcome) -> usize {
    rung as usize * ActionOutcome::ALL.len() + outcome as usize
}

fn read(counters: &[AtomicU64], at: usize) -> u64 {
    counters.get(at).map_or(0, |counter| counter.load(Relaxed))
}

fn count(counters: &[AtomicU64], at: usize) {
    if let Some(counter) = counters.get(at) {
        counter.fetch_add(1, Relaxed);
    }
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            opened: crate::agent::clock::now(),
            tick_at: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            gap_max: AtomicU64::new(0),
            copied_at: AtomicU64::new(0),
            ticks: Histogram::default(),
            reactions: Histogram::default(),
            actions: zeros(),
            reclaimed: zeros(),
            alarms: zeros(),
            refusals: zeros(),
            ignored: zeros(),
            events_dropped: AtomicU64::new(0),
            troubles: AtomicU64::new(0),
            cgroups_followed: AtomicU64::new(0),
            cgroups_left_out: AtomicU64::new(0),
            mode: AtomicU64::new(mode_index(Mode::default()) as u64),
            is_askable: AtomicBool::new(false),
            degraded: Mutex::new(Vec::new()),
            recording: Mutex::default(),
            configuration: Mutex::default(),
            snapshot: Mutex::new(Snapshot::new()),
            kubepods: Mutex::default(),
            api: Mutex::default(),
            kills: Desk::default(),
            told: Arc::default(),
        }
    }

    /// False when somebody is just reading it.
    pub(super) fn set_kubepods(&self, group: OpenGroup) -> bool {
        let Ok(mut kept) = self.kubepods.try_lock() else {
            return false;
        };
        *kept = Some(group);
        true
    }

    /// Where the pods live; `None` while there is no such cgroup.
    pub(crate) fn kubepods(&self) -> Option<OpenGroup> {
        lock(&self.kubepods).clone()
    }

    pub(super) fn tick(&self, now: Moment, took: Span, wake_in: Span) {
        let before = self.tick_at.swap(now.0, Relaxed);
        if before != 0 {
            self.gap_max.fetch_max(now.0.saturating_sub(before), Relaxed);
        }
        self.promised.store(wake_in.0, Relaxed);
        self.ticks.add(took);
    }

    pub(super) fn count_cgroups(&self, followed: u64, left_out: u64) {
        self.cgroups_followed.store(followed, Relaxed);
        self.cgroups_left_out.store(left_out, Relaxed);
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode_index(mode) as u64, Relaxed);
    }

    pub(super) fn set_askable(&self, is_askable: bool) {
        self.is_askable.store(is_askable, Relaxed);
    }

    pub(super) fn reacted(&self, took: Span) {
        self.reactions.add(took);
    }

    pub(super) fn count_action(&self, rung: Rung, outcome: ActionOutcome) {
        count(&self.actions, action_at(rung, outcome));
    }

    pub(super) fn count_reclaimed(&self, gained: Bytes, price: Price) {
        for (counter, bytes) in self.reclaimed.iter().zip([gained, price.taken, price.came_back]) {
            counter.fetch_add(bytes.0, Relaxed);
        }
    }

    pub(super) fn count_alarm(&self, wall: WallKind, stage: AlarmStage) {
        count(
            &self.alarms,
            wall as usize * AlarmStage::ALL.len() + stage as usize,
        );
    }

    pub(super) fn count_refusal(&self, wall: WallKind) {
        count(&self.refusals, wall as usize);
    }

    pub(super) fn count_ignored(&self, kind: IgnoredKind, inputs: u64) {
        if let Some(counter) = self.ignored.get(kind as usize) {
            counter.fetch_add(inputs, Relaxed);
        }
    }

    pub(super) fn count_event_dropped(&self) {
        self.events_dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn count_trouble(&self) {
        self.troubles.fetch_add(1, Relaxed);
    }

    /// False when somebody is just reading it.
    pub(super) fn copy_snapshot(
        &self,
        now: Moment,
        sample: &Sample,
        decision: &Decision<'_>,
        names: &dyn Names,
    ) -> bool {
        let Some(mut kept) = self.try_keep() else {
            return false;
        };
        kept.copy_from(now, sample, decision, names);
        self.copied_at.store(now.0, Relaxed);
        true
    }

    /// Brings the machine's part of it up to date; false when somebody is just reading it.
    pub(super) fn refresh_snapshot(&self, now: Moment, node: &NodeSample, distance: Bytes) -> bool {
        let Some(mut kept) = self.try_keep() else {
            return false;
        };
        kept.refresh(now, node, distance);
        true
    }

    fn try_keep(&self) -> Option<MutexGuard<'_, Snapshot>> {
        match self.snapshot.try_lock() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// When everything in the snapshot was read; the epoch before the first look.
    pub(crate) fn copied_at(&self) -> Moment {
        Moment(self.copied_at.load(Relaxed))
    }

    /// Copies the last look out, so that the lock is held for that long only.
    pub(crate) fn read_snapshot(&self, into: &mut Snapshot) {
        lock(&self.snapshot).clone_to(into);
    }

    /// Has the last look read where it lies. Whoever does holds it for that long, and is quick.
    pub(crate) fn see<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(&lock(&self.snapshot))
    }

    /// Holds the snapshot while `body` runs, as a reader does.
    #[cfg(test)]
    pub(crate) fn hold_snapshot(&self, body: impl FnOnce()) {
        let _held = lock(&self.snapshot);
        body();
    }

    /// An empty snapshot, to read into.
    pub(crate) fn empty_snapshot() -> Snapshot {
        Snapshot::new()
    }

    /// Looks so far.
    pub(crate) fn ticks_total(&self) -> u64 {
        self.ticks.read().0.iter().sum()
    }

    /// Whether the guard is in this mode.
    pub(crate) fn is_in(&self, mode: Mode) -> bool {
        self.mode.load(Relaxed) == mode_index(mode) as u64
    }

    /// Whether the guard may be asked for a look. The rules of others go by the looks they take at their own pace.
    pub(crate) fn is_askable(&self) -> bool {
        self.is_askable.load(Relaxed)
    }

    /// The longest time between two looks.
    pub(crate) fn tick_gap_max(&self) -> Span {
        Span(self.gap_max.load(Relaxed))
    }

    /// Actions that ended this way, in the mode in which they do.
    pub(crate) fn actions(&self, rung: Rung, outcome: ActionOutcome) -> u64 {
        read(&self.actions, action_at(rung, outcome))
    }

    /// Bytes that reclaims gained, as the wall's keeper counts them, took, and saw come back.
    pub(crate) fn reclaimed(&self) -> [u64; 3] {
        std::array::from_fn(|at| read(&self.reclaimed, at))
    }

    /// What the last line of the log tells.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for rung in RUNGS {
            for outcome in ActionOutcome::ALL {
                let count = self.actions(rung, outcome);
                if outcome == ActionOutcome::NotTried {
                    tally.actions_not_tried += count;
                } else {
                    tally.actions += count;
                }
            }
        }
        tally.alarms = WALLS
            .iter()
            .map(|wall| self.alarms(*wall, AlarmStage::Raised))
            .sum();
        tally
    }

    /// Alarms that came to this stage.
    pub(crate) fn alarms(&self, wall: WallKind, stage: AlarmStage) -> u64 {
        read(
            &self.alarms,
            wall as usize * AlarmStage::ALL.len() + stage as usize,
        )
    }

    /// Refusals that were told.
    pub(crate) fn refusals(&self, wall: WallKind) -> u64 {
        read(&self.refusals, wall as usize)
    }

    /// Inputs of this kind that were not believed.
    pub(crate) fn ignored(&self, kind: IgnoredKind) -> u64 {
        read(&self.ignored, kind as usize)
    }

    /// Events that found the channel full.
    pub(crate) fn events_dropped(&self) -> u64 {
        self.events_dropped.load(Relaxed)
    }

    /// Troubles the guard told of.
    pub(crate) fn troubles(&self) -> u64 {
        self.troubles.load(Relaxed)
    }

    /// Notes all that the agent cannot do here, in place of what was noted before. Not for the guard: it allocates.
    pub(crate) fn set_degraded(&self, degraded: Vec<Degraded>) {
        *lock(&self.degraded) = degraded;
    }

    /// Cgroups that are followed, and those that are not because there are too many.
    pub(crate) fn cgroups(&self) -> (u64, u64) {
        (
            self.cgroups_followed.load(Relaxed),
            self.cgroups_left_out.load(Relaxed),
        )
    }

    /// What the agent cannot do here.
    pub(crate) fn degraded(&self) -> Vec<Degraded> {
        let mut degraded = lock(&self.degraded).clone();
        if let Recording::Failed(why) = &*lock(&self.recording) {
            degraded.push(Degraded::new("recorder", why.as_str()));
        }
        let unread = lock(&self.configuration).clone();
        degraded.extend(unread.map(|why| Degraded::new("configuration", why)));
        degraded.extend(self.kills.missing().map(|why| Degraded::new("ledger", why)));
        let api = self.api().unwrap_or_default();
        degraded.extend(api.away.map(|why| Degraded::new("api", why)));
        degraded.extend(api.kubelet_silent.map(|why| Degraded::new("kubelet", why)));
        degraded.extend(api.conditions_refused.map(|why| Degraded::new("conditions", why)));
        degraded.extend(
            api.node_memory_refused
                .map(|why| Degraded::new("node_memory", why)),
        );
        degraded.extend(api.taint_refused.map(|why| Degraded::new("taint", why)));
        degraded
    }

    /// Changes what is known of the API server. Not for the guard: it allocates.
    pub(crate) fn note_api(&self, change: impl FnOnce(&mut Api)) {
        change(lock(&self.api).get_or_insert_default());
    }

    /// What is known of the API server; `None` where this node is in no cluster.
    pub(crate) fn api(&self) -> Option<Api> {
        lock(&self.api).clone()
    }

    /// Notes what the recorder does. Not for the guard: it allocates.
    pub(crate) fn set_recording(&self, recording: Recording) {
        *lock(&self.recording) = recording;
    }

    /// Notes why the policy in force is not the one that the configuration's file has; `None` where it is. Not for the guard: it allocates.
    pub(crate) fn set_configuration(&self, wrong: Option<String>) {
        *lock(&self.configuration) = wrong;
    }

    /// Whether what the guard sees is being recorded.
    pub(crate) fn is_recording(&self) -> bool {
        *lock(&self.recording) == Recording::On
    }

    /// Has the guard looked when it said it would?
    pub(crate) fn health(&self, now: Moment) -> Health {
        let tick_at = self.tick_at.load(Relaxed);
        let (since, allowed) = if tick_at == 0 {
            (now.since(self.opened), START_MARGIN)
        } else {
            (
                now.since(Moment(tick_at)),
                Span(self.promised.load(Relaxed)).times(3) + LATE_MARGIN,
            )
        };
        if since > allowed {
            Health::Late(Span(since.0 - allowed.0))
        } else if tick_at == 0 {
            Health::Starting
        } else {
            Health::Running
        }
    }
}
