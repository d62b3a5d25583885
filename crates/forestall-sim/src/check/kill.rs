//! Rules about orders that end something, and about the looks before them.

use std::collections::BTreeMap;

use forestall_decide::{
    ActionId, Bytes, GroupId, Limit, Mode, Moment, OutcomeKind, Preset, Protection, Rung, Rungs, Span,
    WallKind, WhyNot,
};

use super::Checker;
use crate::event::{Aim, AimKind, Event, Leaving, Look, Order, Passed, Victim, WallTruth, What};

/// A rung that ends something. Anything that is not known to be mild counts as one.
pub(super) fn harms(rung: Rung) -> bool {
    !matches!(rung, Rung::Reclaim | Rung::Brake | Rung::Warn | Rung::Grow)
}

pub(super) fn order(event: &Event) -> Option<&Order> {
    match &event.what {
        What::Ordered(order) => Some(order),
        _ => None,
    }
}

/// An order that harms and is a new one.
pub(super) fn harmful(event: &Event) -> Option<&Order> {
    order(event).filter(|order| harms(order.rung) && !order.escalate)
}

/// What `MemAvailable` holds back of the machine that the kernel gives out (permille): its higher watermarks, and a low one of page
/// cache.
pub(super) const fn held_back_permille(wall: WallKind) -> u64 {
    match wall {
        WallKind::Kernel => 90,
        _ => 0,
    }
}

/// It is for kills that were, and for no wall.
pub(super) fn follows_kills(order: &Order) -> bool {
    matches!(order.rule, "killed-twice" | "outlives-a-kill")
}

pub(super) fn name(order: &Order) -> &str {
    order.target.as_ref().map_or("nobody", |aim| &aim.victim.name)
}

pub(super) struct OwnLimit;

impl Checker for OwnLimit {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = harmful(event)?;
        matches!(order.wall, WallKind::Pod | WallKind::Container).then(|| {
            format!(
                "{} of {} at a {} limit",
                order.rung.label(),
                name(order),
                order.wall.label()
            )
        })
    }
}

pub(super) struct Sight;

impl Checker for Sight {
    fn see(&mut self, event: &Event) -> Option<String> {
        let What::Looked(look) = &event.what else {
            return None;
        };
        let quarter = |wall: &WallTruth| {
            let rate = forestall_decide::BytesPerSecond(look.fill_rate);
            Span(Span::to_cover(wall.left, rate).0 / 4)
        };
        let wall = look.walls.iter().flatten().min_by_key(|wall| quarter(wall))?;
        // Each part of a cgroup is counted in whole bytes, and a millisecond is no look of its own.
        let bound = quarter(wall).max(look.floor) + Span::millis(1);
        (look.wake_in > bound).then(|| {
            format!(
                "the next look comes in {} ms with {} left before {}, at most {} ms",
                look.wake_in.as_millis(),
                wall.left,
                wall.wall.label(),
                bound.as_millis()
            )
        })
    }
}

/// Until when stalls on a node may be our own doing.
#[derive(Default)]
pub(super) struct OwnStalls(BTreeMap<u32, Moment>);

impl Checker for OwnStalls {
    fn see(&mut self, event: &Event) -> Option<String> {
        let window = Span::secs(1);
        match &event.what {
            What::Ordered(order) if order.rung == Rung::Reclaim => {
                self.0.insert(event.node, event.at + window);
                None
            }
            What::Landed {
                rung: Rung::Reclaim, ..
            } => {
                self.0.insert(event.node, event.at + window);
                None
            }
            What::Ordered(order) if harms(order.rung) && order.rule == "thrash" => {
                let ours = self.0.get(&event.node).is_some_and(|until| event.at <= *until);
                ours.then(|| format!("{} for stalls that are our own", name(order)))
            }
            _ => None,
        }
    }
}

pub(super) struct NeverTouched;

impl Checker for NeverTouched {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = order(event)?;
        let aim = order.target.as_ref()?;
        let never = matches!(aim.spared, Some(WhyNot::OptedOut | WhyNot::Critical));
        // That a pod would come straight back, or never, is no reason to leave it its cache.
        let spared = never || aim.spared.is_some() && order.rung != Rung::Reclaim;
        // A score is about who ends: what a pod has asked for helps it.
        let is_help = matches!(order.rung, Rung::Grow | Rung::Warn);
        let by_score = aim.victim.protection == Some(Protection::OomScoreAdj);
        let protected = aim.victim.protection.is_some() && !(by_score && is_help);
        (protected || spared).then(|| {
            format!(
                "{} of {}, which is protected: {:?}, {:?}",
                order.rung.label(),
                name(order),
                aim.victim.protection,
                aim.spared
            )
        })
    }
}

pub(super) struct Modesty;

impl Checker for Modesty {
    fn see(&mut self, event: &Event) -> Option<String> {
        let braked = || order(event).filter(|order| order.rung == Rung::Brake);
        let order = harmful(event).or_else(braked)?;
        let enough = order.share_permille.is_some_and(|share| share >= 800);
        (!order.pods_known && !enough && order.target.is_some()).then(|| {
            format!(
                "{} of {} that explains {:?} permille, pods unknown",
                order.rung.label(),
                name(order),
                order.share_permille
            )
        })
    }
}

pub(super) struct Smallest;

impl Checker for Smallest {
    fn see(&mut self, event: &Event) -> Option<String> {
        let order = harmful(event)?;
        let aim = order.target.as_ref()?;
        let fits = match order.rung {
            Rung::Kill => matches!(aim.kind, AimKind::Container | AimKind::Process),
            _ => aim.kind != AimKind::Other,
        };
        (!fits).then(|| format!("{} of {}, a {:?}", order.rung.label(), name(order), aim.kind))
    }
}

/// Kills in flight by node.
#[derive(Default)]
pub(super) struct OneAtATime(BTreeMap<u32, Vec<InFlight>>);

struct InFlight {
    id: ActionId,
    wall: (WallKind, Option<GroupId>),
    /// An eviction of this moment, of which several may begin at once.
    evicted_at: Option<Moment>,
    until: Moment,
}

impl Checker for OneAtATime {
    fn see(&mut self, event: &Event) -> Option<String> {
        let flights = self.0.entry(event.node).or_default();
        match &event.what {
            What::Landed { id, kind, .. } if *kind != OutcomeKind::Progress => {
                flights.retain(|flight| flight.id != *id);
                None
            }
            // What an agent had in flight is forgotten with it, and a clock that jumps makes any deadline worthless.
            What::Fault { .. } => {
                flights.clear();
                None
            }
            _ => {
                // Whoever was killed twice goes for that and for no wall.
                let order = harmful(event).filter(|order| !follows_kills(order))?;
                let wall = (order.wall, order.scope);
                flights.retain(|flight| event.at <= flight.until);
                let waits = order.rule != "one-look" || order.grace > Span(0);
                let evicted_at = (order.rung == Rung::Evict).then_some(event.at);
                let is_beside = |flight: &InFlight| evicted_at.is_some() && flight.evicted_at == evicted_at;
                let mut others = flights.iter().filter(|flight| flight.wall == wall);
                let other = others.any(|flight| !is_beside(flight));
                let wrong = other && waits;
                let say = format!(
                    "{} while another one is in flight at {}",
                    name(order),
                    order.wall.label()
                );
                flights.push(InFlight {
                    id: order.id,
                    wall,
                    evicted_at,
                    until: event.at + order.deadline,
                });
                wrong.then_some(say)
            }
        }
    }
}

/// An order that is in order: a kill of a culprit's container near the wall of `kubepods`.
pub(super) fn sound() -> Order {
    Order {
        id: ActionId(1),
        rung: Rung::Kill,
        wall: WallKind::Kubepods,
        scope: Some(GroupId(1)),
        truth: Some(WallTruth {
            wall: WallKind::Kubepods,
            size: Bytes::mebi(1000),
            left: Bytes::mebi(20),
            held_back: Bytes::ZERO,
        }),
        target: Some(Box::new(Aim {
            victim: Victim {
                name: "leak-0/app".into(),
                group: GroupId(5),
                innocent: false,
                protection: None,
                held: Bytes::mebi(700),
                limited: false,
            },
            kind: AimKind::Container,
            pod: GroupId(4),
            spared: None,
            rate: 0,
            limit: Limit::Max,
            swapped: Bytes::ZERO,
            beyond_request: Bytes::ZERO,
            left_of_request: None,
            wants_warning: false,
            may_grow: false,
            in_volumes: Bytes::ZERO,
            leaving: Leaving::Held,
            terminating: false,
        })),
        bytes: Bytes::mebi(700),
        room: Bytes::mebi(20),
        coming: Bytes::ZERO,
        beside: Bytes::ZERO,
        runway: Span::secs(60),
        grower: None,
        breaker: Bytes::ZERO,
        host_leaks_for: None,
        grace: Span(0),
        deadline: Span::secs(10),
        escalate: false,
        mode: Mode::Enforce,
        preset: Preset::Forestall,
        rungs: Rungs::all(),
        rule: "last-moment",
        share_permille: Some(990),
        leak_is_near: true,
        pods_known: true,
        pods_age: Span(0),
        passed_over: Passed::default(),
    }
}

/// One event on the first node.
pub(super) fn on(secs: u64, what: What) -> Event {
    Event {
        at: Moment(secs * 1_000_000),
        node: 0,
        what,
    }
}

pub(super) fn ordered(change: impl FnOnce(&mut Order)) -> Event {
    let mut order = sound();
    change(&mut order);
    on(1, What::Ordered(order))
}

pub(super) fn aimed(change: impl FnOnce(&mut Aim)) -> Vec<Event> {
    vec![ordered(|order| {
        if let Some(aim) = &mut order.target {
            change(aim);
        }
    })]
}

pub(super) fn at_own_limit() -> Vec<Event> {
    vec![ordered(|order| order.wall = WallKind::Container)]
}

pub(super) fn touched_protected() -> Vec<Event> {
    aimed(|aim| aim.victim.protection = Some(Protection::StaticPod))
}

pub(super) fn killed_without_culprit() -> Vec<Event> {
    vec![ordered(|order| {
        order.share_permille = None;
        order.pods_known = false;
    })]
}

pub(super) fn killed_a_pod() -> Vec<Event> {
    aimed(|aim| aim.kind = AimKind::Pod)
}

pub(super) fn killed_twice() -> Vec<Event> {
    vec![ordered(|_| ()), ordered(|order| order.id = ActionId(2))]
}

pub(super) fn believed_own_stalls() -> Vec<Event> {
    vec![
        ordered(|order| order.rung = Rung::Reclaim),
        ordered(|order| {
            order.id = ActionId(2);
            order.rule = "thrash";
        }),
    ]
}

pub(super) fn looked_too_late() -> Vec<Event> {
    let wall = WallTruth {
        wall: WallKind::Kernel,
        size: Bytes::mebi(1000),
        left: Bytes::mebi(100),
        held_back: Bytes::ZERO,
    };
    vec![on(
        1,
        What::Looked(Look {
            wake_in: Span::secs(1),
            fill_rate: 1 << 30,
            floor: Span::millis(10),
            walls: [Some(wall), None],
        }),
    )]
}
