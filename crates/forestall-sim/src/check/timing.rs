//! Rules about when: not for cache, not on one signal, not before the last moment, and not when it is too late.

use std::collections::BTreeMap;

use forestall_decide::{Bytes, Moment, Rung, Span, WallKind};

use super::Checker;
use super::kill::{follows_kills, harmful, held_back_permille, name, on, order, ordered, sound};
use super::seen::Seen;
use crate::event::{BrakeState, Event, Grower, Look, Order, WallTruth, What};

/// An ending for a wall that growth takes longer than this to reach is one for nothing, or for cache.
const IN_SIGHT: Span = Span::secs(240);
/// What an ending takes at the most, its own grace period apart.
const ENDING: Span = Span::secs(60);
/// Growth that began no longer ago than this is one signal.
const YOUNG: Span = Span::secs(2);
/// Growth is looked for in so long a time.
const WINDOW: Span = Span::secs(9);
/// Who has grown alone for so long is known to.
const KNOWN_FOR: Span = Span::secs(10);

/// It goes by a rule that looks at growth over a while, at a wall that many share.
fn goes_by_growth(order: &Order) -> bool {
    let by_rule = !matches!(order.rule, "one-look" | "at-the-wall") && !follows_kills(order);
    by_rule && !matches!(order.wall, WallKind::Pod | WallKind::Container)
}

/// How long the fastest growth seen takes for what is left; nothing where too little was seen.
fn runway(seen: &Seen, event: &Event, truth: WallTruth) -> Option<Span> {
    let fastest = seen.fastest(event.node, truth.wall, event.at, truth.left)?;
    Some(Span::to_cover(truth.left, fastest))
}

#[derive(Default)]
pub(super) struct CacheFirst(Seen);

impl Checker for CacheFirst {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.0.see(event);
        let order = harmful(event)?;
        let truth = order.truth?;
        // A pod's own time to end is no reason to wait for the last quarter; growth that comes to nothing is no reason to end it.
        let in_sight = order.rung == Rung::Evict
            && runway(&self.0, event, truth).is_none_or(|runway| runway <= IN_SIGHT + order.grace.times(2));
        let far =
            truth.left > truth.size.permille(250 + held_back_permille(truth.wall)) && !follows_kills(order);
        (far && !in_sight).then(|| {
            format!(
                "{} of {} with {} of {} left before {}, cache counted",
                order.rung.label(),
                name(order),
                truth.left,
                truth.size,
                truth.wall.label()
            )
        })
    }
}

#[derive(Default)]
pub(super) struct LastMoment(Seen);

impl Checker for LastMoment {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.0.see(event);
        let order = harmful(event).filter(|order| goes_by_growth(order))?;
        let kernels = matches!(order.wall, WallKind::Kernel | WallKind::Kubepods);
        let truth = order.truth?;
        let fastest = self.0.fastest(event.node, truth.wall, event.at, truth.left)?;
        let runway = Span::to_cover(truth.told(), fastest);
        let early = kernels && runway > (order.grace + ENDING).times(2);
        early.then(|| {
            format!(
                "{} of {} with {} s to go",
                order.rung.label(),
                name(order),
                runway.as_millis() / 1000
            )
        })
    }
}

/// Growth to come may be so many times what there was of who makes up half of it, where somebody is evicted and where he is braked.
const EVICTED_FOR: u64 = 4;
const BRAKED_FOR: u64 = 6;
/// A kill with TERM is due below this share of a wall (permille).
const KILLED_PERMILLE: u64 = 40;

pub(super) struct Lasting;

impl Checker for Lasting {
    fn see(&mut self, event: &Event) -> Option<String> {
        // Whom the kubelet would choose goes for everybody's growth and not for his own.
        let for_its_own = |order: &&Order| {
            !matches!(
                order.rule,
                "nobody-explains-it" | "the-kubelets-choice" | "after-a-refusal"
            )
        };
        let by_growth = |order: &&Order| goes_by_growth(order) && !order.escalate;
        let order = order(event).filter(by_growth).filter(for_its_own)?;
        let its_own = |grower: &Grower| order.target.as_ref().is_some_and(|aim| aim.pod == grower.pod);
        let grower = order.grower.filter(its_own)?;
        let truth = order.truth?;
        let to_come = truth.told();
        // So near the wall a kill may be due, and an eviction that fits is due instead, whatever was seen.
        let is_near = to_come <= truth.size.permille(KILLED_PERMILLE);
        let times = match order.rung {
            Rung::Evict if is_near => return None,
            Rung::Evict => EVICTED_FOR,
            Rung::Brake => BRAKED_FOR,
            _ => return None,
        };
        let rate = forestall_decide::BytesPerSecond(grower.rate);
        // With something for the looks in between.
        let believed = Bytes(grower.grown.0.saturating_mul(times)) + rate.over(KNOWN_FOR);
        (to_come > believed).then(|| {
            format!(
                "{} of {} with {to_come} to go, after {} of growth",
                order.rung.label(),
                name(order),
                grower.grown
            )
        })
    }
}

#[derive(Default)]
pub(super) struct TwoKeys(Seen);

impl Checker for TwoKeys {
    fn see(&mut self, event: &Event) -> Option<String> {
        self.0.see(event);
        // Where all wait for memory beside somebody who takes it, that is the second key: what is left shrinks only once swap runs short.
        let takes =
            |order: &Order| order.grower.is_some() || order.target.as_ref().is_some_and(|aim| aim.rate > 0);
        let waits = |order: &Order| order.rule == "thrash" && takes(order);
        let order = harmful(event).filter(|order| goes_by_growth(order) && !waits(order))?;
        let wall = order.truth?.wall;
        let before = |ago| self.0.left_before(event.node, wall, event.at, ago);
        let (then, lately) = (before(WINDOW)?, before(YOUNG)?);
        // What was held up in between had begun to grow before.
        let most = self.0.most_left(event.node, wall, event.at)?;
        (lately >= then && lately >= most).then(|| {
            format!(
                "{} of {} for growth that began within two seconds",
                order.rung.label(),
                name(order)
            )
        })
    }
}

/// An eviction that comes too late to help. When a brake was lifted last, by node: nobody was seen to grow under it.
#[derive(Default)]
pub(super) struct GraceFits(BTreeMap<u32, Moment>);

impl Checker for GraceFits {
    fn see(&mut self, event: &Event) -> Option<String> {
        if let What::Brake {
            state: BrakeState::Lifted,
            ..
        } = event.what
        {
            self.0.insert(event.node, event.at);
        }
        let lifted = self.0.get(&event.node).map(|at| event.at.since(*at));
        let order = harmful(event).filter(|order| order.rung == Rung::Evict && goes_by_growth(order))?;
        let kernels = matches!(order.wall, WallKind::Kernel | WallKind::Kubepods);
        let known = |grower: &Grower| grower.growing_for >= KNOWN_FOR;
        let seen = lifted.is_none_or(|ago| ago >= KNOWN_FOR);
        let grower = order.grower.filter(|grower| kernels && seen && known(grower))?;
        let left = Span::to_cover(order.truth?.left, forestall_decide::BytesPerSecond(grower.rate));
        (left < order.grace).then(|| {
            format!(
                "eviction of {}, which has {} s to end, with {} s to go",
                name(order),
                order.grace.as_millis() / 1000,
                left.as_millis() / 1000
            )
        })
    }
}

fn with_left(order: &mut Order, mebi: u64) {
    order.truth = order.truth.map(|truth| WallTruth {
        left: Bytes::mebi(mebi),
        ..truth
    });
}

/// A look with so much left in `kubepods`, and the next one soon.
pub(super) fn calm_look(mebi: u64) -> Look {
    let wall = WallTruth {
        wall: WallKind::Kubepods,
        size: Bytes::mebi(1000),
        left: Bytes::mebi(mebi),
        held_back: Bytes::ZERO,
    };
    Look {
        wake_in: Span::millis(10),
        fill_rate: 1 << 30,
        floor: Span::millis(10),
        walls: [None, Some(wall)],
    }
}

/// Looks at every half second, with so much left at each.
pub(super) fn looks(left_mebi: impl Iterator<Item = u64>) -> Vec<Event> {
    let look = |(index, left): (u64, u64)| Event {
        at: Moment(index * 500_000),
        ..on(0, What::Looked(calm_look(left)))
    };
    (0..).zip(left_mebi).map(look).collect()
}

fn after(mut looks: Vec<Event>, order: Order) -> Vec<Event> {
    let at = looks.last().map_or(Moment(0), |look| look.at);
    looks.push(Event {
        at,
        ..on(0, What::Ordered(order))
    });
    looks
}

pub(super) fn killed_for_cache() -> Vec<Event> {
    vec![ordered(|order| {
        order.rule = "one-look";
        with_left(order, 600);
    })]
}

pub(super) fn killed_early() -> Vec<Event> {
    let mut order = sound();
    // Half a mebibyte a second.
    with_left(&mut order, 236);
    after(looks((0..100).map(|tick| 260 - tick / 4)), order)
}

pub(super) fn killed_on_one_signal() -> Vec<Event> {
    let mut order = sound();
    with_left(&mut order, 20);
    after(
        looks((0..130).map(|tick| if tick < 128 { 60 } else { 188 - tick })),
        order,
    )
}

fn evicted_beside(mebi: u64, rate: u64, growing_for: Span) -> Vec<Event> {
    vec![ordered(|order| {
        with_left(order, mebi);
        order.rung = Rung::Evict;
        order.grace = Span::secs(30);
        order.grower = Some(Grower {
            group: forestall_decide::GroupId(5),
            pod: forestall_decide::GroupId(4),
            rate,
            growing_for,
            grown: forestall_decide::BytesPerSecond(rate).over(growing_for),
            takes_again: false,
            left_of_request: None,
            protected: false,
            guarded: true,
        });
    })]
}

/// With ten seconds to go.
pub(super) fn evicted_too_late() -> Vec<Event> {
    evicted_beside(20, 2 << 20, Span::secs(60))
}

/// With four minutes.
pub(super) fn evicted_at_its_start() -> Vec<Event> {
    evicted_beside(60, 256 << 10, Span::secs(2))
}
