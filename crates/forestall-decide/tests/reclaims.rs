//! Cache before the kubelet's threshold: whose is taken, and whose is left.

mod world;

use forestall_decide::{
    Action, Bytes, Engine, GroupId, Input, Outcome, OutcomeKind, Protection, Rung, Span, Target, WhyNot,
};
use world::{MIB, World, enforcing};

const fn leaker(id: u64) -> Target {
    Target::Group(GroupId(id))
}

#[test]
fn an_active_cache_that_the_kubelet_would_evict_for_is_reclaimed_instead() {
    let mut world = World::new(1280, 972);
    world.container(1, 101);
    world.container(2, 10).file = 740 * MIB;
    world.kubelet = true;
    world.run(&mut enforcing(), Span::secs(5), |_| ());
    let reclaims: Vec<_> = world
        .ordered
        .iter()
        .filter(|(_, action)| action.rung == Rung::Reclaim)
        .collect();
    assert!(!reclaims.is_empty());
    assert!(reclaims.iter().all(|(_, action)| action.target == leaker(2)));
    assert_eq!(world.killed(), vec![]);
}

/// Rule 11: the act crate counts what is read again, and says how long it refuses.
#[test]
fn whose_cache_is_read_again_at_once_is_asked_no_more_until_it_is_time_and_others_are() {
    let mut world = World::new(1280, 972);
    world.container(1, 10).file = 300 * MIB;
    world.container(2, 10).file = 540 * MIB;
    world.kubelet = true;
    let mut engine = enforcing();
    let order = |world: &World| *world.ordered.last().expect("it is due");
    world.run(&mut engine, Span::millis(100), |_| ());
    let (_, action) = order(&world);
    assert_eq!((action.rung, action.target), (Rung::Reclaim, leaker(2)));
    let answer = |engine: &mut Engine, world: &World, action: &Action, rest| {
        let outcome = Outcome {
            action: action.id,
            rung: Rung::Reclaim,
            kind: OutcomeKind::NoEffect,
            freed: Bytes::ZERO,
            took: Span(0),
            rest,
        };
        engine.step(world.now, Input::Outcome(&outcome));
    };
    answer(&mut engine, &world, &action, Span::secs(30));
    let (told_at, mut asked) = (world.now, world.ordered.len());
    world.passed_over.clear();
    while world.now < told_at + Span::millis(29_500) {
        world.run(&mut engine, Span::millis(10), |_| ());
        if world.ordered.len() > asked {
            asked = world.ordered.len();
            let (_, action) = order(&world);
            assert_eq!(action.target, leaker(1), "{:?}", world.now);
            answer(&mut engine, &world, &action, Span(0));
        }
    }
    let alone: Vec<_> = world
        .passed_over
        .iter()
        .filter(|passed| passed.rung == Rung::Reclaim)
        .map(|passed| (passed.target, passed.why))
        .collect();
    assert!(!alone.is_empty());
    let expected = (leaker(2), WhyNot::LeftAlone);
    assert!(alone.iter().all(|passed| *passed == expected), "{alone:?}");
    // The other one is asked every second; then it is this one's turn again.
    world.run(&mut engine, Span::secs(3), |_| ());
    assert_eq!(order(&world).1.target, leaker(2));
}

/// Rule 5.
#[test]
fn no_cache_is_taken_from_who_is_protected_or_critical() {
    for why in [Some(Protection::NodeAgent), Some(Protection::StaticPod), None] {
        let mut world = World::new(1280, 972);
        world.container(1, 101);
        world.container(2, 10).file = 740 * MIB;
        world.of(2).protection = why;
        world.pod(2).priority = forestall_decide::CRITICAL_PRIORITY;
        world.kubelet = true;
        world.run(&mut enforcing(), Span::secs(5), |_| ());
        assert_eq!(world.targets_of(Rung::Reclaim), [], "{why:?}");
    }
}
