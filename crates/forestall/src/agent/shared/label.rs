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

    /// The one mode in which actions end so: what is only announced is not tried, and whatever else becomes of one was ordered in
    /// `enforce`, although it may be heard of after the mode was changed.
    pub(crate) const fn mode(self) -> Mode {
        match self {
            Self::NotTried => Mode::Shadow,
            Self::Done | Self::NoEffect | Self::Gone | Self::Vetoed | Self::Blocked | Self::Failed => {
                Mode::Enforce
            }
        }
    }

    /// Whether an action of this rung can end so. The kernel's own killer is given no target that could be gone or protected, and
    /// only the API server blocks anything.
    pub(crate) const fn is_of(self, rung: Rung) -> bool {
        match self {
            Self::Gone | Self::Vetoed => !matches!(rung, Rung::Sysrq),
            Self::Blocked => matches!(rung, Rung::Grow | Rung::Evict),
            Self::Done | Self::NoEffect | Self::Failed | Self::NotTried => true,
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
    /// A machine that has more left than it has.
    ImpossibleMachine,
    /// A cgroup whose parent does not stand before it.
    Misplaced,
    /// A counter that went back, or stood up by more than time allows.
    CounterJumped,
    /// A cgroup that holds more than the machine has.
    TooLarge,
    /// A process that holds more than the machine has.
    ProcessTooLarge,
    /// The outcome of an action that nobody knows.
    UnknownAction,
    /// A pod without a UID.
    PodWithoutUid,
    /// A pod whose UID or cgroup was told already.
    PodRepeated,
    /// An outcome whose action took longer than it is known.
    TookTooLong,
    /// A kill by the kernel at nobody knows which wall.
    KillUnplaced,
}

impl IgnoredKind {
    /// All of them, in the order of the counters.
    pub(crate) const ALL: [Self; 14] = [
        Self::SameMoment,
        Self::ClockBack,
        Self::NoMachine,
        Self::Repeated,
        Self::ImpossibleMachine,
        Self::Misplaced,
        Self::CounterJumped,
        Self::TooLarge,
        Self::ProcessTooLarge,
        Self::UnknownAction,
        Self::PodWithoutUid,
        Self::PodRepeated,
        Self::TookTooLong,
        Self::KillUnplaced,
    ];

    /// The kind of an ignored input.
    pub(crate) const fn of(ignored: Ignored) -> Self {
        match ignored {
            Ignored::SameMoment => Self::SameMoment,
            Ignored::ClockBack(_) => Self::ClockBack,
            Ignored::NoMachine => Self::NoMachine,
            Ignored::Repeated(_) => Self::Repeated,
            Ignored::ImpossibleMachine(_) => Self::ImpossibleMachine,
            Ignored::Misplaced(_) => Self::Misplaced,
            Ignored::CounterJumped(_) => Self::CounterJumped,
            Ignored::TooLarge(_) => Self::TooLarge,
            Ignored::ProcessTooLarge(_) => Self::ProcessTooLarge,
            Ignored::UnknownAction(_) => Self::UnknownAction,
            Ignored::PodsWithoutUid(_) => Self::PodWithoutUid,
            Ignored::PodsRepeated(_) => Self::PodRepeated,
            Ignored::TookTooLong(_) => Self::TookTooLong,
            Ignored::KillUnplaced(_) => Self::KillUnplaced,
        }
    }

    /// The word used in logs and metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::SameMoment => "same-moment",
            Self::ClockBack => "clock-back",
            Self::NoMachine => "no-machine",
            Self::Repeated => "repeated",
            Self::ImpossibleMachine => "impossible-machine",
            Self::Misplaced => "misplaced",
            Self::CounterJumped => "counter-jumped",
            Self::TooLarge => "too-large",
            Self::ProcessTooLarge => "process-too-large",
            Self::UnknownAction => "unknown-action",
            Self::PodWithoutUid => "pod-without-uid",
            Self::PodRepeated => "pod-repeated",
            Self::TookTooLong => "took-too-long",
            Self::KillUnplaced => "kill-unplaced",
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
