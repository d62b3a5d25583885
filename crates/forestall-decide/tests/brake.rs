//! A brake never leads to a kill by itself: what was seen before it, and before it was lifted, is no growth after it.

mod world;

use forestall_decide::{
    Engine, GroupId, Mode, PassedOver, Policy, Protection, Rung, Rungs, Span, Target, WhyNot,
};
use world::{MIB, World};

fn container(id: u64) -> Target {
    Target::Group(GroupId(id))
}

fn engine(mode: Mode) -> Engine {
    Engine::new(Policy {
        mode,
        rungs: Rungs::of(&[Rung::Brake, Rung::Kill]),
        ..Policy::default()
    })
}

/// `kubepods` of 12,000 MiB of which `left` are left to two still containers and one that may leak.
fn braked(left: u64) -> World {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 5_000);
    world.container(2, 500);
    world.container(3, 6_500 - left);
    for id in 1..=3 {
        world.pod(id);
    }
    world.brakes_hold = true;
    world
}

#[test]
fn who_has_just_been_braked_is_not_killed_for_its_growth_before() {
    // It begins so near the wall that brake and kill are due at the same look.
    let mut world = braked(174);
    let mut engine = engine(Mode::Enforce);
    world.run(&mut engine, Span::secs(30), |_| ());
    world.of(2).rate = 25 * MIB;
    world.run(&mut engine, Span::secs(20), |_| ());
    let rungs: Vec<Rung> = world.ordered.iter().map(|(_, action)| action.rung).collect();
    assert_eq!((rungs, world.kernel_kills), (vec![Rung::Brake], 0));
}

#[test]
fn not_even_where_it_goes_on_right_up_to_the_brake_and_one_look_would_be_enough() {
    // What it takes in the tenth of a second until the brake is on would, at that speed, reach the wall within the next look.
    let mut world = braked(700);
    let mut engine = engine(Mode::Enforce);
    world.run(&mut engine, Span::secs(30), |_| ());
    world.of(2).rate = 25 * MIB;
    while world.ordered.is_empty() {
        world.run(&mut engine, Span::millis(1), |_| ());
    }
    let (_, brake) = world.ordered[0];
    assert_eq!(brake.rung, Rung::Brake);
    let held: u64 = (1..=3).map(|id| world.of(id).anon).sum();
    world.of(2).anon += (12_000 - 40) * MIB - held;
    world.run(&mut engine, Span::secs(20), |_| ());
    assert_eq!((world.ordered.len(), world.kernel_kills), (1, 0));
}

#[test]
fn without_news_of_the_pods_who_explains_nearly_all_is_braked_before_he_is_killed() {
    let alone = |others: u64| {
        let mut world = braked(1_700);
        world.pods.list.clear();
        world.of(2).rate = 40 * MIB;
        for id in 4..=6 {
            world.container(id, 20).rate = others * MIB;
        }
        world.run(&mut engine(Mode::Enforce), Span::secs(42), |_| ());
        let rungs: Vec<Rung> = world.ordered.iter().map(|(_, action)| action.rung).collect();
        (
            rungs.first().copied(),
            world.ordered.first().map(|(_, it)| it.target),
        )
    };
    assert_eq!(alone(0), (Some(Rung::Brake), Some(container(2))));
    // 40 of 85 MiB/s are no four fifths: without news that is nobody's.
    assert_ne!(alone(15).0, Some(Rung::Brake));
}

#[test]
fn who_may_not_be_touched_is_not_braked_either() {
    let mut world = braked(1_700);
    world.of(2).protection = Some(Protection::OomScoreAdj);
    world.of(2).rate = 40 * MIB;
    world.run(&mut engine(Mode::Enforce), Span::secs(42), |_| ());
    assert_eq!(world.ordered, []);
    let why = WhyNot::Protected(Protection::OomScoreAdj);
    let is_passed = |it: &PassedOver| (it.rung, it.target, it.why) == (Rung::Brake, container(2), why);
    assert!(world.passed_over.iter().any(is_passed));
}

#[test]
fn a_brake_that_is_only_announced_is_given_the_time_of_one_that_is_put_on() {
    let mut world = braked(174);
    let mut engine = engine(Mode::Shadow);
    world.run(&mut engine, Span::secs(30), |_| ());
    world.of(2).rate = 25 * MIB;
    world.run(&mut engine, Span::secs(30), |_| ());
    let [(braked_at, brake), (killed_at, kill)] = world.ordered[..] else {
        panic!("{:?}", world.ordered)
    };
    assert_eq!([brake.rung, kill.rung], [Rung::Brake, Rung::Kill]);
    // What it comes to shows within a second, and more than that is left.
    assert!(killed_at.since(braked_at) > Span::secs(1), "{kill:?}");
}

#[test]
fn when_a_brake_is_lifted_nobody_ends_for_what_others_did_meanwhile() {
    // Three neighbours of whom none explains half go on while the one that leaks stands still. When it is let go, what they
    // did is not yet reason enough for a kill, and what it does has just begun.
    let mut world = braked(1_700);
    for id in 4..=6 {
        world.container(id, 20).rate = 15 * MIB;
        world.pod(id);
    }
    world.of(2).rate = 60 * MIB;
    world.run(&mut engine(Mode::Enforce), Span::secs(32), |_| ());
    let rungs: Vec<Rung> = world.ordered.iter().map(|(_, action)| action.rung).collect();
    assert_eq!(rungs, [Rung::Brake, Rung::Kill]);
    assert_eq!(world.killed(), [container(2)]);
}

#[test]
fn who_gave_back_all_that_it_was_braked_for_is_not_braked_for_a_new_start() {
    let mut world = braked(1_700);
    let mut engine = engine(Mode::Enforce);
    world.of(2).rate = 40 * MIB;
    let brakes = |world: &World| world.ordered.len();
    while brakes(&world) == 0 {
        world.run(&mut engine, Span::millis(100), |_| ());
    }
    // It is let go after twenty seconds, and its turn is over.
    world.run(&mut engine, Span::secs(1), |_| ());
    while world.of(2).rate == 0 {
        world.run(&mut engine, Span::millis(100), |_| ());
    }
    (world.of(2).rate, world.of(2).anon) = (0, 500 * MIB);
    world.run(&mut engine, Span::secs(60), |_| ());
    assert_eq!(brakes(&world), 1);
    // Of 1,700 MiB its next turn takes 80 a second: after four seconds four times that are still left, after six less than three times.
    world.of(2).rate = 80 * MIB;
    world.run(&mut engine, Span::secs(4), |_| ());
    assert_eq!(brakes(&world), 1);
    world.run(&mut engine, Span::secs(2), |_| ());
    assert_eq!(brakes(&world), 2);
}
