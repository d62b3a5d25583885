//! The labels that counters are kept by: every value of each, in the order of the counters.

use forestall_decide::{AlarmVerdict, Ignored, Mode, OutcomeKind, Rung, WallKind};

/// How an action ended, as a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionOutcome {
    /// It did what it should.
    Done,
    /// The victim lives, or nothing came back.
    NoEffect,
    /// The target was gone.
    Gone,
    /// A last check found a protected process.
    Vetoed,
    /// The API server refused it for now.
    Blocked,
    /// A right is missing or the system call failed.
    Failed,
    /// Decided in a mode that does not act.
    NotTried,
}

impl ActionOutcome {
    /// All of them, in the order of the counters.
    pub(crate) const ALL: [Self; 7] = [
        Self::Done,
        Self::NoEffect,
        Self::Gone,
        Self::Vetoed,
        Self::Blocked,
        Self::Failed,
        Self::NotTried,
    ];

    /// The end that an outcome tells; `None` while it goes on.
    pub(crate) const fn of(kind: OutcomeKind) -> Option<Self> {
        match kind {
            OutcomeKind::Progress => None,
            OutcomeKind::Done => Some(Self::Done),
            OutcomeKind::NoEffect => Some(Self::NoEffect),
            OutcomeKind::Gone => Some(Self::Gone),
            OutcomeKind::Vetoed => Some(Self::Vetoed),
            OutcomeKind::Blocked => Some(Self::Blocked),
            OutcomeKind::Failed(_) => Some(Self::Failed),
        }
    }

    /// The word used in logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NoEffect => "no-effect",
            Self::Gone => "gone",
            Self::Vetoed => "vetoed",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
            Self::NotTried => "not-tried",
        }
    }
}

/// What happened to an alarm, as a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlarmStage {
    /// Raised.
    Raised,
    /// The wall was reached, unprevented.
    True,
    /// The horizon passed and it was not.
    False,
    /// We acted.
    Intervened,
    /// Somebody ended without an alarm.
    Missed,
}

impl AlarmStage {
    /// All of them, in the order of the counters.
    pub(crate) const ALL: [Self; 5] = [
        Self::Raised,
        Self::True,
        Self::False,
        Self::Intervened,
        Self::Missed,
    ];

    /// The stage an alarm event tells.
    pub(crate) const fn of(verdict: Option<AlarmVerdict>) -> Self {
        match verdict {
            None => Self::Raised,
            Some(AlarmVerdict::True) => Self::True,
            Some(AlarmVerdict::False) => Self::False,
            Some(AlarmVerdict::Intervened) => Self::Intervened,
            Some(AlarmVerdict::Missed) => Self::Missed,
        }
    }

    /// The word used in logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::True => "true",
            Self::False => "false",
            Self::Intervened => "intervened",
            Self::Missed => "missed",
        }
    }
}

/// What of the inputs was not believed, as a metric's label: the kind alone, so that there are no more series than kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IgnoredKind {
    /// A second sample of the same moment.
    SameMoment,
    /// The clock went back.
    ClockBack,
    /// A machine without memory.
    NoMachine,
    /// A cgroup's number that stands in a sample twice.
    Repeated,
    /// A cgroup that holds more than the machine has.
    TooLarge,
    /// The outcome of an action that nobody knows.
    UnknownAction,
    /// A pod without a UID.
    PodWithoutUid,
}

impl IgnoredKind {
    /// All of them, in the order of the counters.
    pub(crate) const ALL: [Self; 7] = [
        Self::SameMoment,
        Self::ClockBack,
        Self::NoMachine,
        Self::Repeated,
        Self::TooLarge,
        Self::UnknownAction,
        Self::PodWithoutUid,
    ];

    /// The kind of an ignored input.
    pub(crate) const fn of(ignored: Ignored) -> Self {
        match ignored {
            Ignored::SameMoment => Self::SameMoment,
            Ignored::ClockBack(_) => Self::ClockBack,
            Ignored::NoMachine => Self::NoMachine,
            Ignored::Repeated(_) => Self::Repeated,
            Ignored::TooLarge(_) => Self::TooLarge,
            Ignored::UnknownAction(_) => Self::UnknownAction,
            Ignored::PodsWithoutUid(_) => Self::PodWithoutUid,
        }
    }

    /// The word used in logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::SameMoment => "same-moment",
            Self::ClockBack => "clock-back",
            Self::NoMachine => "no-machine",
            Self::Repeated => "repeated",
            Self::TooLarge => "too-large",
            Self::UnknownAction => "unknown-action",
            Self::PodWithoutUid => "pod-without-uid",
        }
    }
}

/// The walls, rungs and modes in the order of the counters.
pub(crate) const WALLS: [WallKind; 6] = [
    WallKind::Kernel,
    WallKind::Kubepods,
    WallKind::KubeletNode,
    WallKind::KubeletAllocatable,
    WallKind::Pod,
    WallKind::Container,
];
/// See [`WALLS`].
pub(crate) const RUNGS: [Rung; 7] = Rung::ALL;
/// See [`WALLS`].
pub(crate) const MODES: [Mode; 3] = [Mode::Observe, Mode::Shadow, Mode::Enforce];

/// A mode's place in [`MODES`].
pub(super) const fn mode_index(mode: Mode) -> usize {
    match mode {
        Mode::Observe => 0,
        Mode::Shadow => 1,
        Mode::Enforce => 2,
    }
}
