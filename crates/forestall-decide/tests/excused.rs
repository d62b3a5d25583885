//! Whose growth is his own affair: it ends at a limit of his own, or at what he was promised, before the wall is reached.

mod world;

use forestall_decide::{Bytes, Engine, Limit, Mode, Policy, Rung, Rungs, Span, Target, WhyNot};
use world::{MIB, World};

/// `kubepods` of 12,000 MiB, a still container (1) of 8,300, and one (2) of 500.
fn two() -> World {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 8_300);
    world.container(2, 500);
    world
}

/// Kubernetes knows both, and has promised the first one what it holds and the second one `request_mebi`.
fn promised(request_mebi: u64) -> World {
    let mut world = two();
    world.pod(1).request = Bytes::mebi(8_300);
    world.pod(2).request = Bytes::mebi(request_mebi);
    world
}

/// After a quiet minute the second one grows by `rate_mebi` a second until it holds `until_mebi`.
fn fill(world: &mut World, rate_mebi: u64, until_mebi: u64) {
    let begin = world.now + Span::secs(60);
    let mut engine = Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Kill]),
        ..Policy::default()
    });
    world.run(&mut engine, Span::secs(180), |world| {
        let (now, it) = (world.now, world.of(2));
        let grows = now >= begin && it.anon < until_mebi * MIB;
        it.rate = if grows { rate_mebi * MIB } else { 0 };
    });
}

fn was_passed_over(world: &World, why: WhyNot) -> bool {
    let mut over = world.passed_over.iter();
    over.any(|it| (it.rung, it.target, it.why) == (Rung::Kill, container(2), why))
}

fn container(id: u64) -> Target {
    Target::Group(forestall_decide::GroupId(id))
}

// 300 MiB are left where it stops, three seconds before the wall, and 50 of its request.
#[test]
fn who_grows_within_its_request_is_not_killed_where_that_is_no_further_than_the_wall() {
    let mut world = promised(3_450);
    fill(&mut world, 100, 3_400);
    assert_eq!((world.killed(), world.kernel_kills), (vec![], 0));
    assert!(was_passed_over(&world, WhyNot::WithinRequest));
}

#[test]
fn who_goes_on_beyond_its_request_or_was_promised_more_than_there_is_is_killed_in_time() {
    for request in [3_000, 3_450, 3_700] {
        let mut world = promised(request);
        fill(&mut world, 100, 9_000);
        let first = world.killed().first().copied();
        assert_eq!((first, world.kernel_kills), (Some(container(2)), 0), "{request}");
    }
}

// Each has room for what it was promised alone: 400 MiB are left when a kill is due, 250 of one request and 250 of the other.
#[test]
fn the_promises_of_all_who_grow_count_together() {
    let mut world = promised(3_550);
    world.container(3, 0);
    world.pod(3).request = Bytes::mebi(1_350);
    world.of(1).anon -= 1_100 * MIB;
    let begin = world.now + Span::secs(60);
    let mut engine = Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Kill]),
        ..Policy::default()
    });
    world.run(&mut engine, Span::secs(100), |world| {
        let rate = if world.now >= begin { 30 * MIB } else { 0 };
        (world.of(2).rate, world.of(3).rate) = (3 * rate, rate);
    });
    let (_, kill) = world.ordered.first().expect("a kill");
    assert_eq!((kill.target, world.kernel_kills), (container(2), 0));
    assert!(kill.evidence.reading.distance > Bytes::mebi(300), "{kill:?}");
}

// At 1,000 MiB a second one look is enough, and its own limit is 250 MiB nearer than the wall.
#[test]
fn whose_own_limit_comes_first_is_left_to_it_however_fast_it_grows() {
    let mut world = two();
    world.of(2).limit = Limit::Bytes(Bytes::mebi(3_450));
    fill(&mut world, 1_000, 3_300);
    assert_eq!((world.killed(), world.kernel_kills), (vec![], 0));
    assert!(was_passed_over(&world, WhyNot::OwnLimitFirst));
}

#[test]
fn a_limit_that_lies_behind_the_wall_excuses_nobody() {
    let mut world = two();
    world.of(2).limit = Limit::Bytes(Bytes::mebi(3_750));
    fill(&mut world, 200, 9_000);
    let first = world.killed().first().copied();
    assert_eq!((first, world.kernel_kills), (Some(container(2)), 0));
}

// A burst that has just begun has no part in ten seconds of growth, but in the last second it has: it has no limit, so the other one's helps nobody.
#[test]
fn a_burst_that_has_just_begun_leaves_no_room_for_excuses() {
    let mut world = two();
    world.of(2).limit = Limit::Bytes(Bytes::mebi(3_450));
    world.container(3, 0);
    let begin = world.now + Span::secs(60);
    let mut engine = Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Kill]),
        ..Policy::default()
    });
    world.run(&mut engine, Span::secs(70), |world| {
        let rate = if world.now >= begin { 400 * MIB } else { 0 };
        let it = world.of(2);
        it.rate = if it.anon < 3_450 * MIB { rate } else { 0 };
        let is_full = it.anon >= 3_200 * MIB;
        world.of(3).rate = if is_full { rate } else { 0 };
    });
    let (_, kill) = world.ordered.first().expect("a kill");
    assert_eq!((kill.target, world.kernel_kills), (container(2), 0));
    assert!(kill.evidence.reading.distance > Bytes::mebi(300), "{kill:?}");
}

/// The first one has leaked 8,300 MiB from 300 on a request of 300; the second one fills 3,900 that it was promised, which is more than is left.
#[test]
fn who_took_what_is_missing_beyond_his_request_goes_before_one_who_keeps_within_his_own() {
    for (request, goes) in [(300, 1), (8_400, 2)] {
        let mut world = World::new(16_384, 12_000);
        world.container(1, 300);
        world.container(2, 500);
        world.pod(1).request = Bytes::mebi(request);
        world.pod(2).request = Bytes::mebi(3_900);
        let begin = world.now;
        let mut engine = Engine::new(Policy {
            mode: Mode::Enforce,
            rungs: Rungs::of(&[Rung::Kill]),
            ..Policy::default()
        });
        world.run(&mut engine, Span::secs(400), |world| {
            let since = world.now.since(begin);
            let is_still = world.killed().is_empty();
            let leaks = is_still && since >= Span::secs(40) && world.of(1).anon < 8_300 * MIB;
            world.of(1).rate = if leaks { 40 * MIB } else { 0 };
            let fills = is_still && since >= Span::secs(300) && world.of(2).anon < 3_850 * MIB;
            world.of(2).rate = if fills { 100 * MIB } else { 0 };
        });
        let killed: Vec<Target> = world.killed();
        assert_eq!(
            (killed, world.kernel_kills),
            (vec![container(goes)], 0),
            "{request}"
        );
    }
}

// On a loaded machine, where looks come 300 ms late, one look is enough far from the wall: 1,000 MiB are left, and of the request 50. A third
// one was promised nothing, holds 700, and does nothing.
#[test]
fn nobody_else_ends_for_a_culprit_who_lacks_nothing_of_what_he_was_promised() {
    let mut world = promised(2_050);
    world.wake_late = Span::millis(300);
    world.container(3, 700);
    world.pod(3);
    fill(&mut world, 2_000, 2_000);
    assert_eq!((world.killed(), world.kernel_kills), (vec![container(2)], 0));
}
