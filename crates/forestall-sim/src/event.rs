//! What happens in a world, as facts: the time line, the tally and the checkers read nothing else.
//!
//! What the engine claims and what is true stand side by side: an order carries the target as the world knows it, so that
//! a checker need not believe anybody. It refuses to carry opinions, except one word: `innocent`, which is whoever the
//! scenario did not make grow beyond what it requests (`blame`).

use forestall_decide::kubelet::{Bounds, Unmended};
use forestall_decide::{
    ActionId, AlarmVerdict, Bytes, GroupId, Limit, Mode, Moment, OutcomeKind, Preset, Protection,
    RefusalReason, Rung, Rungs, Span, WallKind, WhyNot,
};

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// On which node.
    pub node: u32,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The agent looked.
    Looked(Look),
    /// The agent ordered something.
    Ordered(Order),
    /// What became of an order, as the agent was told.
    Landed {
        /// Which order.
        id: ActionId,
        /// Its rung.
        rung: Rung,
        /// What came of it.
        kind: OutcomeKind,
        /// What came back.
        freed: Bytes,
    },
    /// Something was due, and the agent ended nobody for it. One that goes on from look to look is one fact.
    Refused {
        /// Why; `None`: everybody was passed over.
        reason: Option<RefusalReason>,
        /// At which wall.
        wall: WallKind,
        /// Somebody explains the growth there.
        has_culprit: bool,
        /// How far the agent may go.
        mode: Mode,
        /// Who was passed over there.
        passed_over: Passed,
    },
    /// An alarm was raised (`None`) or resolved.
    Alarm {
        /// About which wall.
        wall: WallKind,
        /// Whose.
        scope: Option<GroupId>,
        /// What came of it.
        verdict: Option<AlarmVerdict>,
        /// How old it is.
        age: Span,
        /// From when it was raised to when it no longer speaks of its wall.
        horizon: Span,
    },
    /// The agent's engine says that the kubelet will act.
    Foretold {
        /// At which of its walls.
        wall: WallKind,
        /// When.
        acts: Bounds,
        /// Whom it may evict.
        victims: Vec<Box<str>>,
        /// What that leaves as it is.
        unmended: Vec<Unmended>,
    },
    /// The kernel killed.
    KernelKilled {
        /// At which wall.
        wall: WallKind,
        /// The pod or container whose own limit that is; `None`: the machine's or that of `kubepods`.
        scope: Option<GroupId>,
        /// Whom.
        victim: Victim,
        /// Whether one container, not protected, made up nearly all growth of the last minute, and how fast.
        grower: Option<Grower>,
    },
    /// The kubelet decided to evict.
    Evicting {
        /// At which wall.
        wall: WallKind,
        /// Whom.
        victim: Victim,
        /// The wall would have stood off without a byte of page cache.
        for_cache: bool,
    },
    /// The agent evicted a pod through the API.
    AgentEvicted {
        /// Whom.
        victim: Victim,
        /// The tokens that were left before.
        tokens: Option<u32>,
    },
    /// A pod is gone.
    PodEnded {
        /// Which.
        pod: Box<str>,
    },
    /// A pod started, here for the first time or again.
    PodStarted {
        /// Which.
        pod: Box<str>,
    },
    /// No node has room for a pod.
    PodPending {
        /// Which.
        pod: Box<str>,
    },
    /// A container ended: by a kill of the agent, or by itself.
    ContainerEnded {
        /// Who.
        victim: Victim,
        /// The agent did it.
        by_agent: bool,
    },
    /// A container started again.
    ContainerRestarted {
        /// The pod and the container.
        name: Box<str>,
        /// How often by now.
        restarts: u32,
    },
    /// The kubelet says that memory is short (`true`), or no longer.
    Pressure(bool),
    /// A fault begins (`true`) or is over.
    Fault {
        /// Its name.
        name: &'static str,
        /// It begins.
        begins: bool,
    },
    /// Nobody was left to kill: the machine is gone.
    NodeLost,
    /// A brake of the agent's.
    Brake {
        /// On whom.
        group: GroupId,
        /// What has just become of it.
        state: BrakeState,
    },
}

/// What becomes of a brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrakeState {
    /// It is on.
    On,
    /// What was there before is back.
    Lifted,
    /// Its cgroup was removed, and it with that.
    Gone,
}

/// Someone who dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// The pod and the container, or the process.
    pub name: Box<str>,
    /// The pod it belongs to; its cgroup.
    pub group: GroupId,
    /// It did not cause it.
    pub innocent: bool,
    /// It may not be touched by us, for this reason.
    pub protection: Option<Protection>,
    /// What it held.
    pub held: Bytes,
    /// It, or its pod, has a limit of its own.
    pub limited: bool,
}

/// Who was passed over at a wall where something had to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The first few: for which rung, who, and why.
    pub first: Vec<(Rung, Box<str>, WhyNot)>,
    /// How many in all.
    pub count: usize,
}

/// Who grew, in the world's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grower {
    /// Its cgroup.
    pub group: GroupId,
    /// Its pod's.
    pub pod: GroupId,
    /// Bytes a second.
    pub rate: u64,
    /// How long ago it began to grow as it does now.
    pub growing_for: Span,
    /// What it holds beyond the least that it held in the last minutes, since its start at the longest.
    pub grown: Bytes,
    /// It has held as much before, since its start.
    pub takes_again: bool,
    /// What its pod requests beyond what it holds, if the agent knows of it; nothing where it holds more.
    pub left_of_request: Option<Bytes>,
    /// Nobody may touch it.
    pub protected: bool,
    /// An agent that may act runs on this node.
    pub guarded: bool,
}

/// The two walls at which a kill may happen, as the kernel keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTruth {
    /// Which.
    pub wall: WallKind,
    /// Its size.
    pub size: Bytes,
    /// What is left before it, cache counted as left.
    pub left: Bytes,
    /// What of that the kernel holds back in what it tells (`MemAvailable`): its higher watermarks, and some page cache. For the sake of
    /// a wall of the kubelet's: what lies beyond that one.
    pub held_back: Bytes,
}

impl WallTruth {
    /// What an agent can know to be left.
    pub fn told(&self) -> Bytes {
        self.left - self.held_back
    }
}

/// One look of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it wants to look again.
    pub wake_in: Span,
    /// The fastest that this machine can fill memory, as its policy says.
    pub fill_rate: u64,
    /// The shortest time between two looks, costs included.
    pub floor: Span,
    /// The walls.
    pub walls: [Option<WallTruth>; 2],
}

/// An order and its target as it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub id: ActionId,
    /// Its rung.
    pub rung: Rung,
    /// At which wall.
    pub wall: WallKind,
    /// Whose wall; `None`: the machine's.
    pub scope: Option<GroupId>,
    /// How long it takes to the wall, as the engine says: the median.
    pub runway: Span,
    /// What is left, cache counted as left, and its size: before that wall, or before the kernel's own of the same scope where
    /// it is one of the kubelet's. `None` for a pod's or container's own limit.
    pub truth: Option<WallTruth>,
    /// `reclaim`: how much; `grow`: the new limit; else what is expected to come back.
    pub bytes: Bytes,
    /// The least that is left before the machine's wall and that of `kubepods`.
    pub room: Bytes,
    /// What terminating pods, as far as it was told of them, give back there in time.
    pub coming: Bytes,
    /// What others hold who are evicted at the same moment for the same wall.
    pub beside: Bytes,
    /// Whether one container makes up nearly all growth, and how fast.
    pub grower: Option<Grower>,
    /// The most that somebody else's pod holds beyond its request, which it took in the last minutes and never had before; of such as may be
    /// touched.
    pub breaker: Bytes,
    /// Nearly all growth is outside the pods, and nobody's growth has changed for so long.
    pub host_leaks_for: Option<Span>,
    /// The target, if there is such a thing.
    pub target: Option<Box<Aim>>,
    /// Time between TERM and KILL.
    pub grace: Span,
    /// How long until it is judged.
    pub deadline: Span,
    /// It makes an earlier one final.
    pub escalate: bool,
    /// Only where it may act it is carried out.
    pub mode: Mode,
    /// Whose rules it goes by.
    pub preset: Preset,
    /// What the policy has switched on.
    pub rungs: Rungs,
    /// The rule that spoke.
    pub rule: &'static str,
    /// How much of the growth the engine says that the target explains, permille.
    pub share_permille: Option<u64>,
    /// A kernel or kubepods wall is certain to be reached within a minute, by the same look.
    pub leak_is_near: bool,
    /// The pods were told no longer than a minute ago, or there are none.
    pub pods_known: bool,
    /// How long ago it was told of its pods; for ever where it never was.
    pub pods_age: Span,
    /// Who was passed over at the wall, where this one ends somebody.
    pub passed_over: Passed,
}

/// What an order is aimed at, as the world knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Who would die, or be asked.
    pub victim: Victim,
    /// What kind of thing it is.
    pub kind: AimKind,
    /// The cgroup of its pod, or its own where it has none.
    pub pod: GroupId,
    /// Why its pod may not be touched, as far as the agent was told.
    pub spared: Option<WhyNot>,
    /// How fast what reclaim cannot free grows in it, bytes a second.
    pub rate: u64,
    /// Its own limit.
    pub limit: Limit,
    /// What of it lies in swap, where that limit does not count it.
    pub swapped: Bytes,
    /// What its pod holds beyond what it requests.
    pub beyond_request: Bytes,
    /// What its pod requests beyond what it holds, if the agent knows of it; nothing where it holds more.
    pub left_of_request: Option<Bytes>,
    /// It asked to be warned.
    pub wants_warning: bool,
    /// Its limit may be raised.
    pub may_grow: bool,
    /// What its pod holds in memory-backed volumes.
    pub in_volumes: Bytes,
    /// Whether it could be evicted.
    pub leaving: Leaving,
    /// Its pod is on the way out, as far as the agent was told.
    pub terminating: bool,
}

/// Whether a pod could be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It could, and the agent may.
    Free,
    /// No other node has room for it, as the agent was told.
    Nowhere,
    /// Something else is in the way.
    Held,
}

/// What kind of thing an order is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AimKind {
    /// A container's own cgroup.
    Container,
    /// A pod with its containers.
    Pod,
    /// One process outside of `kubepods`.
    Process,
    /// Anything above or beside these.
    Other,
}
