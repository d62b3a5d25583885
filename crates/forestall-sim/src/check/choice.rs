//! Rules about who ends, and whether anybody has to: the culprit, nobody while enough is on its way.

use std::collections::{BTreeMap, BTreeSet};

use forestall_decide::{ActionId, Bytes, GroupId, Limit, Mode, Moment, OutcomeKind, Rung, Span, WallKind};

use super::Checker;
use super::kill::{follows_kills, harmful, held_back_permille, name, on, ordered, sound};
use super::lasting::victim;
use super::seen::Seen;
use super::timing::calm_look;
use crate::event::{AimKind, BrakeState, Event, Grower, Leaving, Order, What};

/// Who has grown alone for so long is the culprit in everybody's eyes.
const KNOWN_FOR: Span = Span::secs(15);
/// Growth slower than this share of the wall a second (permille) is nobody's doing yet.
const SLOW_PERMILLE: u64 = 1;
/// So much of a wall (permille) is room enough; the engine itself is content with 80, by counters that see a little less.
const ROOM_PERMILLE: u64 = 130;
/// The memory of a victim of the kernel's is waited for for so long.
const WAITED: Span = Span::millis(1900);
/// Kills within so long count together.
const TOGETHER: Span = Span::secs(600);
/// With so much of it in a volume (permille), a kill gives back next to nothing of what somebody holds.
const KEPT_PERMILLE: u64 = 900;
/// Growth that ends at an own limit is an excuse where so much more than that (permille), and what counters swing by, fits.
const EXCUSED_PERMILLE: u64 = 1500;
const NOISE: Bytes = Bytes(4 << 20);
/// So little is nothing: less than any growth that counts.
const NOTHING: Bytes = Bytes(128 << 10);
/// An eviction that follows a second kill is asked for within this.
const FOLLOWS: Span = Span::secs(5);

pub(super) fn is_kernels(wall: WallKind) -> bool {
    matches!(wall, WallKind::Kernel | WallKind::Kubepods)
}

/// What was left, to know whether somebody grew alone; when whom a brake let go, until when he did not grow; and when the kernel killed last on a node: while
/// its victims end, and begin again, nobody can be seen to have grown alone.
#[derive(Default)]
pub(super) struct CulpritFirst {
    seen: Seen,
    let_go: BTreeMap<(u32, GroupId), Moment>,
    killed: BTreeMap<u32, Moment>,
}

impl Checker for CulpritFirst {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.seen.see(event);
        if let What::Brake {
            group,
            state: BrakeState::Lifted,
        } = event.what
        {
            self.let_go.insert((event.node, group), event.at);
        }
        if let What::KernelKilled { .. } = event.what {
            self.killed.insert(event.node, event.at);
        }
        let order = harmful(event).filter(|order| is_kernels(order.wall) && !follows_kills(order))?;
        let killed = self.killed.get(&event.node);
        if killed.is_some_and(|at| event.at.since(*at) < KNOWN_FOR) {
            return None;
        }
        let (grower, aim, truth) = (order.grower?, order.target.as_ref()?, order.truth?);
        let let_go = self.let_go.get(&(event.node, grower.group));
        let known = grower.growing_for >= KNOWN_FOR
            && let_go.is_none_or(|at| event.at.since(*at) >= KNOWN_FOR)
            // Whom the kernel takes a process at a time, and who fills it again, does not grow at all.
            && grower.grown >= forestall_decide::BytesPerSecond(grower.rate).over(KNOWN_FOR)
            && grower.rate > truth.size.permille(SLOW_PERMILLE).0
            && self.seen.was_alone(event, truth.wall, truth.left, grower.rate);
        let it = grower.group == aim.victim.group || grower.pod == aim.pod;
        // There was room for what a job takes again: who has grown since left it none.
        let is_jobs = grower.takes_again && aim.rate > 0;
        // Who keeps what he was promised goes after one who does not.
        let is_breakers = grower.left_of_request.is_some() && aim.beyond_request > Bytes::ZERO;
        (known && !it && !is_jobs && !is_breakers).then(|| {
            format!(
                "{} of {} though {:?} has grown alone for {} s",
                order.rung.label(),
                name(order),
                grower.group,
                grower.growing_for.as_millis() / 1000
            )
        })
    }
}

/// What was left, to know whether somebody grew alone, and who begins anew: of whom a limit ended a part, which excuses nobody who
/// goes on, and whom a brake let go, until when he did not grow.
#[derive(Default)]
pub(super) struct Excused {
    seen: Seen,
    anew_at: BTreeMap<(u32, GroupId), Moment>,
}

impl Checker for Excused {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.seen.see(event);
        if let What::KernelKilled {
            scope: Some(_),
            victim,
            ..
        } = &event.what
        {
            self.anew_at.insert((event.node, victim.group), event.at);
        }
        if let What::Brake {
            group,
            state: BrakeState::Lifted,
        } = event.what
        {
            self.anew_at.insert((event.node, group), event.at);
        }
        let order = harmful(event).filter(|order| is_kernels(order.wall) && !follows_kills(order))?;
        let (grower, aim, truth) = (order.grower?, order.target.as_ref()?, order.truth?);
        let is_alone = grower.group == aim.victim.group
            && grower.growing_for >= KNOWN_FOR
            && self.seen.was_alone(event, truth.wall, truth.left, grower.rate);
        let anew_at = self.anew_at.get(&(event.node, grower.group));
        let is_alone = is_alone && anew_at.is_none_or(|at| event.at.since(*at) >= KNOWN_FOR);
        let left = aim.limit.bytes()? - (aim.victim.held - aim.swapped);
        let is_excused = left > Bytes::ZERO && left.permille(EXCUSED_PERMILLE) + NOISE <= truth.told();
        (order.rung == Rung::Kill && is_alone && is_excused).then(|| {
            format!(
                "{} of {}, which meets a limit of its own after {left}, with {} left",
                order.rung.label(),
                name(order),
                truth.told()
            )
        })
    }
}

pub(super) struct HostsOwn;

impl Checker for HostsOwn {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = harmful(event).filter(|order| is_kernels(order.wall) && !follows_kills(order))?;
        let (steady, aim) = (order.host_leaks_for?, order.target.as_ref()?);
        let is_pods = matches!(aim.kind, AimKind::Container | AimKind::Pod);
        (is_pods && steady >= KNOWN_FOR).then(|| {
            format!(
                "{} of {} though all growth of {} s is outside the pods",
                order.rung.label(),
                name(order),
                steady.as_millis() / 1000
            )
        })
    }
}

pub(super) struct OnItsWay;

impl Checker for OnItsWay {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = harmful(event).filter(|order| is_kernels(order.wall))?;
        let (truth, _) = (order.truth?, order.target.as_ref()?);
        let enough = truth.left + order.coming
            >= truth
                .size
                .permille(ROOM_PERMILLE + held_back_permille(truth.wall));
        // Whoever was killed twice goes for that and for no wall, whatever is on its way there.
        let for_wall = order.rule != "one-look" && !follows_kills(order);
        let waits = order.pods_known && order.coming > Bytes::ZERO && for_wall;
        (waits && enough).then(|| {
            format!(
                "{} of {} with {} on its way and {} left",
                order.rung.label(),
                name(order),
                order.coming,
                truth.left
            )
        })
    }
}

/// When the kernel killed last, by node.
#[derive(Default)]
pub(super) struct KernelsVictim {
    killed: BTreeMap<u32, Moment>,
    /// Whoever looks for the first time finds a count, and knows of none that was added to it.
    looked: BTreeSet<u32>,
}

impl Checker for KernelsVictim {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            // Whoever has a limit of its own may have been hit there, as far as an agent can tell.
            What::KernelKilled { wall, victim, .. }
                if is_kernels(*wall) && !victim.limited && self.looked.contains(&event.node) =>
            {
                self.killed.insert(event.node, event.at);
                None
            }
            What::Looked(_) => {
                self.looked.insert(event.node);
                None
            }
            What::Fault { .. } => {
                self.killed.remove(&event.node);
                self.looked.remove(&event.node);
                None
            }
            _ => {
                let order = harmful(event).filter(|order| order.rung == Rung::Kill)?;
                let since = event.at.since(*self.killed.get(&event.node)?);
                (since <= WAITED).then(|| {
                    format!(
                        "{} {} ms after a kill by the kernel",
                        name(order),
                        since.as_millis()
                    )
                })
            }
        }
    }
}

/// Kills by node and pod: those that did it, and those that are on their way, since a victim may end by another's hand before.
#[derive(Default)]
pub(super) struct SecondKill {
    done: BTreeMap<(u32, GroupId), Vec<Moment>>,
    ordered: BTreeMap<(u32, ActionId), GroupId>,
    /// When the last eviction of each node was done: who has to wait for another's has that time from its end.
    evicted: BTreeMap<u32, Moment>,
}

impl Checker for SecondKill {
    fn see(&mut self, event: &Event) -> Option<String> {
        match &event.what {
            What::Fault { .. } => {
                self.done.retain(|(node, _), _| *node != event.node);
                self.ordered.retain(|(node, _), _| *node != event.node);
            }
            What::Landed { id, rung, kind, .. } if *kind != OutcomeKind::Progress => {
                let pod = self.ordered.remove(&(event.node, *id));
                if let (Some(pod), OutcomeKind::Done) = (pod, kind) {
                    self.done.entry((event.node, pod)).or_default().push(event.at);
                }
                if *rung == Rung::Evict {
                    self.evicted.insert(event.node, event.at);
                }
            }
            _ => {}
        }
        // In shadow nobody was killed.
        let order = harmful(event).filter(|order| order.rung == Rung::Kill && order.mode == Mode::Enforce)?;
        let aim = order.target.as_ref()?;
        self.ordered.insert((event.node, order.id), aim.pod);
        let kills = self.done.entry((event.node, aim.pod)).or_default();
        kills.retain(|at| event.at.since(*at) <= TOGETHER);
        let second = kills.iter().rev().nth(1).and(kills.last()).copied();
        let since = second.max(second.and(self.evicted.get(&event.node).copied()));
        let late = since.is_some_and(|at| event.at.since(at) > FOLLOWS);
        // While somebody else is on the way out no eviction begins.
        let is_first = order.coming == Bytes::ZERO;
        (late && is_first && order.pods_known && aim.leaving == Leaving::Free)
            .then(|| format!("a third kill of {}, which could have been evicted", name(order)))
    }
}

/// Kills that gave nothing back, of victims whose memory lay in a volume nearly all of it, by node and pod: of these a second one is of
/// no use.
#[derive(Default)]
pub(super) struct Outlives {
    done: BTreeMap<(u32, GroupId), Moment>,
    ordered: BTreeMap<(u32, ActionId), GroupId>,
}

impl Checker for Outlives {
    fn see(&mut self, event: &Event) -> Option<String> {
        let node = event.node;
        match &event.what {
            What::Fault { .. } => {
                self.done.retain(|(other, _), _| *other != node);
                self.ordered.retain(|(other, _), _| *other != node);
            }
            What::Landed { id, kind, freed, .. } if *kind != OutcomeKind::Progress => {
                let pod = self.ordered.remove(&(node, *id)).filter(|_| *freed <= NOTHING);
                if let (Some(pod), OutcomeKind::Done) = (pod, kind) {
                    self.done.insert((node, pod), event.at);
                }
            }
            _ => {}
        }
        let order = harmful(event).filter(|order| order.rung == Rung::Kill && order.mode == Mode::Enforce)?;
        let aim = order.target.as_ref()?;
        let is_kept = aim.in_volumes >= aim.victim.held.permille(KEPT_PERMILLE);
        let before = self.done.remove(&(node, aim.pod));
        if is_kept && order.share_permille.is_some() {
            self.ordered.insert((node, order.id), aim.pod);
        }
        let late = before.is_some_and(|at| event.at.since(at) > FOLLOWS);
        (late && is_kept && order.pods_known && aim.leaving == Leaving::Free).then(|| {
            format!(
                "a second kill of {}, of whose memory {} outlive it",
                name(order),
                aim.in_volumes
            )
        })
    }
}

pub(super) fn killed_somebody_else() -> Vec<Event> {
    vec![ordered(|order| {
        order.grower = Some(Grower {
            group: GroupId(7),
            pod: GroupId(6),
            rate: 8 << 20,
            growing_for: Span::secs(60),
            grown: Bytes::mebi(480),
            takes_again: false,
            left_of_request: None,
            protected: false,
            guarded: true,
        });
    })]
}

pub(super) fn killed_for_its_own_limit() -> Vec<Event> {
    vec![ordered(|order| {
        order.grower = Some(Grower {
            group: GroupId(5),
            pod: GroupId(4),
            rate: 8 << 20,
            growing_for: Span::secs(60),
            grown: Bytes::mebi(480),
            takes_again: false,
            left_of_request: None,
            protected: false,
            guarded: true,
        });
        if let Some(aim) = &mut order.target {
            aim.limit = Limit::Bytes(Bytes::mebi(710));
        }
    })]
}

pub(super) fn killed_a_pod_for_the_host() -> Vec<Event> {
    vec![ordered(|order| order.host_leaks_for = Some(Span::secs(60)))]
}

pub(super) fn killed_while_enough_comes() -> Vec<Event> {
    vec![ordered(|order| {
        order.coming = Bytes::mebi(300);
    })]
}

pub(super) fn killed_after_the_kernel() -> Vec<Event> {
    let killed = What::KernelKilled {
        wall: WallKind::Kubepods,
        scope: None,
        victim: victim(),
        grower: None,
    };
    // It had been seen to miss that one, so that no other rule is broken.
    vec![
        on(0, What::Looked(calm_look(500))),
        on(1, killed),
        on(2, What::Ordered(sound())),
    ]
}

#[cfg(test)]
#[test]
fn of_a_kill_before_its_first_look_nobody_knows() {
    let breaks = |events: &[Event]| {
        let mut checker = KernelsVictim::default();
        events.iter().any(|event| checker.see(event).is_some())
    };
    let events = killed_after_the_kernel();
    assert!(breaks(&events));
    assert!(!breaks(&events[1..]));
}

pub(super) fn killed_for_what_outlives_it() -> Vec<Event> {
    killed_again(2, Bytes::mebi(700))
}

pub(super) fn killed_three_times() -> Vec<Event> {
    killed_again(3, Bytes::ZERO)
}

/// So many kills of one who could be evicted, with so much of it in volumes.
fn killed_again(times: u64, in_volumes: Bytes) -> Vec<Event> {
    let order = |secs, id| {
        let mut order: Order = sound();
        order.id = ActionId(id);
        if let Some(aim) = &mut order.target {
            aim.leaving = Leaving::Free;
            aim.in_volumes = in_volumes;
        }
        on(secs, What::Ordered(order))
    };
    let landed = |secs, id| {
        let landed = What::Landed {
            id: ActionId(id),
            rung: Rung::Kill,
            kind: OutcomeKind::Done,
            freed: Bytes::mebi(700) - in_volumes,
        };
        on(secs, landed)
    };
    (1..=times)
        .flat_map(|nth| [order(nth * 30, nth), landed(nth * 30 + 1, nth)])
        .collect()
}
