//! What the engine answers: readings of every wall, alarms, actions and refusals, each with its evidence, and when it
//! wants to look again. Borrowed from the engine's own buffers, so that a steady tick allocates nothing.

use crate::input::{GroupId, ProcessId, Protection};
use crate::kubelet::KubeletForecast;
use crate::rung::Rung;
use crate::units::{Bytes, BytesPerSecond, Limit, Span};

/// A limit whose crossing kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WallKind {
    /// The whole machine.
    Kernel,
    /// The limit of the `kubepods` cgroup.
    Kubepods,
    /// The kubelet's eviction threshold on the node, its own accounting.
    KubeletNode,
    /// The kubelet's eviction threshold on `kubepods`, its own accounting.
    KubeletAllocatable,
    /// A pod's limit.
    Pod,
    /// A container's limit.
    Container,
}

impl WallKind {
    /// The word used in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Kubepods => "kubepods",
            Self::KubeletNode => "kubelet-node",
            Self::KubeletAllocatable => "kubelet-allocatable",
            Self::Pod => "pod",
            Self::Container => "container",
        }
    }
}

/// Time left to a wall, always with bounds; `Span::FOREVER` means it is not in sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runway {
    /// One in ten runs is shorter: the fastest credible growth.
    pub p10: Span,
    /// The median growth.
    pub p50: Span,
    /// Nine in ten are shorter: the slowest growth.
    pub p90: Span,
}

impl Runway {
    /// Nothing grows.
    pub const FOREVER: Self = Self {
        p10: Span::FOREVER,
        p50: Span::FOREVER,
        p90: Span::FOREVER,
    };
}

/// How well the growth is established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// No growth worth the name.
    None,
    /// One window shows it, or it is slowing.
    Low,
    /// Two windows agree on growth of memory that reclaim cannot free.
    High,
}

/// Whom an action is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A cgroup with everything below it.
    Group(GroupId),
    /// One process (outside `kubepods`).
    Process(ProcessId),
    /// Nobody in particular (`sysrq`).
    Node,
}

/// Who explains the growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// The cgroup, or the process where the growth is the host's.
    pub target: Target,
    /// Its share of the growth, permille.
    pub share_permille: u64,
    /// What it grew by within the window that named it.
    pub grown: Bytes,
    /// That window.
    pub window: Span,
    /// Why it may not be touched, if so.
    pub protection: Option<Protection>,
}

/// One wall as seen at this step. `scope` is the cgroup whose limit it is, `None` for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallReading {
    /// Which wall.
    pub wall: WallKind,
    /// Whose limit.
    pub scope: Option<GroupId>,
    /// The limit itself, as the wall's keeper has it.
    pub limit: Limit,
    /// Bytes left, as the wall's keeper counts them.
    pub distance: Bytes,
    /// Median growth of what that keeper cannot free.
    pub growth: BytesPerSecond,
    /// The fastest credible growth.
    pub growth_fast: BytesPerSecond,
    /// Time left.
    pub runway: Runway,
    /// Share of the last second in which some task of the scope waited for memory, permille.
    pub stall_some_permille: u64,
    /// The same for all tasks at once.
    pub stall_full_permille: u64,
    /// How well the growth is established.
    pub confidence: Confidence,
    /// Who explains it, if anyone does.
    pub culprit: Option<Culprit>,
    /// Both keys hold.
    pub alarmed: bool,
}

/// An action's number, unique within one engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionId(pub u64);

/// The numbers a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The wall it is about.
    pub reading: WallReading,
    /// Time from the decision to its effect that was reckoned with.
    pub time_to_effect: Span,
    /// Which rule spoke.
    pub rule: &'static str,
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its number; the outcome carries it.
    pub id: ActionId,
    /// What kind.
    pub rung: Rung,
    /// At whom.
    pub target: Target,
    /// `reclaim`: how many bytes at the most. `brake`: `memory.high`. `grow`: the new limit. Else what is expected to come
    /// back.
    pub bytes: Bytes,
    /// `kill`: time between TERM and KILL; nothing means KILL at once. `evict`: the pod's grace period. `warn`: the time it
    /// needs. `brake`: how long it lasts.
    pub grace: Span,
    /// How long until it is judged.
    pub deadline: Span,
    /// An earlier kill of the same target: skip what is left of its grace.
    pub escalate: bool,
    /// Why.
    pub evidence: Evidence,
}

/// Why nothing was done where something might have been expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalReason {
    /// Nobody explains enough of the growth.
    NoCulprit,
    /// The culprit may not be touched.
    Protected(Protection),
    /// The culprit's pod may not be touched.
    Spared(WhyNot),
    /// The culprit shows no process that may be ended: its memory outlives it, or it is out of sight, or no container.
    NothingToKill,
    /// The culprit's figures cannot be true.
    Impossible,
    /// An action is in flight or has just ended.
    Waiting,
    /// Enough memory is on its way already: pods that are terminating.
    OnItsWay,
    /// The kernel has just killed; its victim's memory is on its way.
    KernelKilled,
    /// The rung is switched off or its right is missing.
    RungOff,
}

/// A refusal with its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The numbers.
    pub evidence: Evidence,
}

/// Why somebody was passed over, or a rung, when something had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
    /// It may never be touched.
    Protected(Protection),
    /// A static, mirror or critical pod.
    Critical,
    /// The operator, or the pod itself, said never.
    OptedOut,
    /// A DaemonSet brings it straight back.
    DaemonSet,
    /// Nobody brings it back, and it has not agreed to that.
    NobodyBringsItBack,
    /// It is on its way out already.
    Terminating,
    /// Its grace period does not fit into the runway.
    GraceTooLong,
    /// It would not give back enough.
    FreesTooLittle,
    /// It does not grow, and would be started again with what it holds.
    ComesBack,
    /// It keeps within its request, and that fits before the wall.
    WithinRequest,
    /// It reaches a limit of its own before this wall.
    OwnLimitFirst,
    /// Others come before it.
    OthersFirst,
    /// It was tried lately, or is being tried.
    Tried,
    /// It read again at once what was taken of its cache, and is left alone for a while.
    LeftAlone,
    /// A disruption budget refused it a moment ago.
    Blocked,
    /// The cluster's budget has no token left for this node.
    NoToken,
    /// No other node has room for it.
    NowhereToGo,
    /// The API server does not answer, or is too busy to decide.
    ApiAway,
    /// The pod has not asked for it.
    NotAsked,
    /// Its limit is as high already as the pod wants it.
    AtItsMost,
    /// The node has no room for it.
    NoRoom,
    /// No cgroup of it is known.
    Unseen,
}

/// Somebody who was passed over for one rung, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// At which wall.
    pub wall: WallKind,
    /// Whose limit that is.
    pub scope: Option<GroupId>,
    /// Which rung.
    pub rung: Rung,
    /// Who.
    pub target: Target,
    /// Why not.
    pub why: WhyNot,
}

/// How an alarm ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmVerdict {
    /// The wall was reached within the horizon, unprevented.
    True,
    /// The horizon passed and the wall was not reached.
    False,
    /// We acted, or somebody ended at another wall that shares its memory, and this one was not reached; never counted as right.
    Intervened,
    /// Somebody was killed or evicted at a wall that no alarm spoke of.
    Missed,
}

/// An alarm that was raised or resolved at this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmEvent {
    /// The reading that raised it, or the one at which it was resolved.
    pub reading: WallReading,
    /// `None`: raised now.
    pub verdict: Option<AlarmVerdict>,
    /// Time since it was raised.
    pub age: Span,
    /// Its wall was to be reached within this of when it was raised; fixed then. Nothing for a miss.
    pub horizon: Span,
}

/// Somebody was killed by the kernel or evicted by the kubelet since the sample before. One whose wall cannot be known is none; one
/// that may have been at either of two walls is told for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// At which wall.
    pub wall: WallKind,
    /// Whose limit that is.
    pub scope: Option<GroupId>,
    /// How long before this look the first alarm was raised that answers for it; none: it is scored as missed.
    pub foretold: Option<Span>,
}

/// An input, or a part of it, that was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// A second sample of the same moment.
    SameMoment,
    /// The clock went back by so much: growth from before it says nothing.
    ClockBack(Span),
    /// A sample without a machine: it has no memory at all.
    NoMachine,
    /// The cgroup's number stands in the sample twice: the second one has no history and no wall.
    Repeated(GroupId),
    /// The cgroup holds more than the machine and its swap have; it is never acted upon.
    TooLarge(GroupId),
    /// The machine has more of this, by the kernel's name, than it has in all. The whole sample is left out.
    ImpossibleMachine(&'static str),
    /// The process holds more than the machine and its swap have; it is never acted upon.
    ProcessTooLarge(ProcessId),
    /// The parent of the cgroup does not stand before it: it counts as standing at the top.
    Misplaced(GroupId),
    /// A counter of the cgroup's (`None`: the machine's) went back, or stood up by more than time allows: it is counted from
    /// here.
    CounterJumped(Option<GroupId>),
    /// So many kills by the kernel of which nobody can say at which wall they were: no alarm is scored by them.
    KillUnplaced(u32),
    /// An outcome of an action that is not known, or not any more, or of another rung, or one that has been told already.
    UnknownAction(ActionId),
    /// An outcome says that its action took longer than it is known: nothing is learnt from its time.
    TookTooLong(ActionId),
    /// So many pods without a UID.
    PodsWithoutUid(u32),
    /// So many pods whose UID stood before them in the list, or who claim a cgroup that one before them does: if one of these may
    /// not be touched, none of them is.
    PodsRepeated(u32),
}

/// The answer to one input.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Every wall, in order of kind and scope. Empty unless the input was a sample.
    pub readings: &'a [WallReading],
    /// Alarms raised or resolved.
    pub alarms: &'a [AlarmEvent],
    /// Who ended, and whether that was foretold. Empty unless the input was a sample.
    pub endings: &'a [Ending],
    /// What to do. In modes other than `enforce` the caller records them and answers with no outcome.
    pub actions: &'a [Action],
    /// What was not done, and why.
    pub refusals: &'a [Refusal],
    /// Who was passed over at a wall where something had to be done, and why. Whole at every such step.
    pub passed_over: &'a [PassedOver],
    /// What of the input was not believed.
    pub ignored: &'a [Ignored],
    /// What the kubelet is about to do. `None` unless the input was a sample, and where nobody told what the kubelet was
    /// told.
    pub kubelet: Option<&'a KubeletForecast>,
    /// Look again no later than this.
    pub wake_in: Span,
}
