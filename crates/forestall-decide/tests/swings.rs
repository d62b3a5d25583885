//! Who is to blame beside a job that takes memory and gives it back by turns, or one that has just taken all it wants.

mod world;

use forestall_decide::{GroupId, Input, Span, Target, WallKind};
use world::{MIB, World, enforcing};

fn leaker(id: u64) -> Target {
    Target::Group(GroupId(id))
}

/// A job that takes 190 MiB, keeps them, gives them back and rests, beside a leak of `rate_mebi` a second.
fn leak_beside_a_job(rate_mebi: u64) -> World {
    let mut world = World::new(1024, 600);
    world.container(1, 50).rate = rate_mebi * MIB;
    world.container(2, 5);
    let begun = world.now;
    world.run(&mut enforcing(), Span::secs(400), |world| {
        let turn = world.now.since(begun).0 % 8_000_000;
        let job = world.of(2);
        job.rate = if turn < 2_000_000 { 95 * MIB } else { 0 };
        if turn >= 5_000_000 {
            job.anon = 5 * MIB;
        }
    });
    world
}

#[test]
fn a_job_that_takes_what_it_had_before_is_not_the_culprit_of_a_leak_beside_it() {
    for rate_mebi in [3, 8, 16] {
        let world = leak_beside_a_job(rate_mebi);
        assert_eq!(
            (world.killed(), world.kernel_kills),
            (vec![leaker(1)], 0),
            "{rate_mebi} MiB/s"
        );
    }
}

/// Two heaps that are collected every second or every seven, long at their plateaus, beside a leak of a mebibyte a second.
#[test]
fn a_heap_that_takes_what_it_had_within_the_minute_is_not_the_culprit_of_a_slow_leak_beside_it() {
    for (period_secs, tooth_mebi) in [(1, 20), (7, 24)] {
        let mut world = World::new(2048, 1200);
        world.container(1, 50).rate = MIB;
        world.container(2, 400);
        world.container(3, 400);
        let begun = world.now;
        world.run(&mut enforcing(), Span::secs(400), |world| {
            let since = world.now.since(begun).0;
            for (id, phase) in [(2, 0), (3, 400_000)] {
                let turn = (since + phase) % (period_secs * 1_000_000);
                world.of(id).anon = 400 * MIB + tooth_mebi * MIB * turn / (period_secs * 1_000_000);
            }
        });
        assert_eq!(
            (world.killed(), world.kernel_kills),
            (vec![leaker(1)], 0),
            "{tooth_mebi} MiB every {period_secs} s"
        );
    }
}

#[test]
fn a_job_beside_nobody_that_grows_is_ended_when_it_comes_back_for_more_than_there_is() {
    let mut world = World::new(1024, 600);
    world.container(1, 50);
    world.container(2, 5);
    let begun = world.now;
    world.run(&mut enforcing(), Span::secs(60), |world| {
        let since = world.now.since(begun).0;
        let (turns, turn) = (since / 8_000_000, since % 8_000_000);
        let has_ended = !world.killed().is_empty();
        let job = world.of(2);
        let takes = if turns < 3 { 2_000_000 } else { 8_000_000 };
        job.rate = if !has_ended && turn < takes { 95 * MIB } else { 0 };
        if turn >= 5_000_000 && turns < 3 {
            job.anon = 5 * MIB;
        }
    });
    assert_eq!((world.killed(), world.kernel_kills), (vec![leaker(2)], 0));
}

#[test]
fn who_has_all_it_wants_is_not_named_for_the_drift_beside_it() {
    let mut world = World::new(2048, 1500);
    world.container(1, 200);
    world.container(2, 100).rate = MIB / 2;
    let mut engine = enforcing();
    let begun = world.now;
    world.run(&mut engine, Span::secs(30), |_| ());
    // 1,000 MiB within five seconds, and then no more.
    world.run(&mut engine, Span::secs(10), |world| {
        let takes = world.of(1).anon < 1200 * MIB;
        world.of(1).rate = if takes { 200 * MIB } else { 0 };
    });
    assert!(world.now.since(begun) < Span::secs(41) && world.of(1).rate == 0);
    // In ten seconds the other one took 5 MiB of a thousand, in one less than counters are off by; in the minute the first took all.
    let sample = world.sample();
    let decision = engine.step(world.now, Input::Sample(&sample));
    let wall = decision.readings.iter();
    let mut wall = wall.filter(|reading| reading.wall == WallKind::Kubepods);
    let culprit = wall.next().expect("it has a limit").culprit;
    assert_eq!(culprit, None);
    assert_eq!(world.ordered, []);
}

/// A leak gives half of what it has back whenever it comes to its next top, which is higher every time. Close to the end
/// somebody begins to warm up beside it, and would stop in time.
#[test]
fn a_leak_that_gives_a_part_back_and_comes_higher_every_time_is_no_job() {
    for (rate, rise, warmth) in [(20, 20, 3), (40, 20, 6), (40, 40, 6), (100, 40, 14), (60, 30, 9)] {
        let mut world = World::new(2048, 900);
        world.container(1, 20);
        world.container(2, 40);
        world.container(3, 240);
        let mut top = 200;
        world.run(&mut enforcing(), Span::secs(400), |world| {
            let has_ended = !world.killed().is_empty();
            let leak = world.of(1);
            leak.rate = if has_ended { 0 } else { rate * MIB };
            if leak.anon > top * MIB {
                leak.anon = top / 2 * MIB;
                top += rise;
            }
            let warms = top > 540 && !has_ended;
            let other = world.of(2);
            other.rate = if warms && other.anon < 120 * MIB {
                warmth * MIB
            } else {
                0
            };
        });
        assert_eq!(
            (world.killed(), world.kernel_kills),
            (vec![leaker(1)], 0),
            "{rate}, {rise}, {warmth}"
        );
    }
}

/// A process of the host that was ended and is started again in its cgroup leaks again; a pod warms up beside it.
#[test]
fn what_a_kill_of_ours_gave_back_makes_no_job() {
    let mut world = World::new(1024, 4000);
    world.container(2, 40);
    world.container(3, 240);
    world.host_rate = 40 * MIB;
    let begun = world.now;
    world.run(&mut enforcing(), Span::secs(90), |world| {
        let (ended, since) = (world.killed().len(), world.now.since(begun));
        if ended == 1 && since >= Span::secs(25) {
            world.host_rate = 40 * MIB;
        }
        let is_near = world.host_anon > 400 * MIB;
        let pod = world.of(2);
        pod.rate = if ended == 1 && is_near && pod.anon < 130 * MIB {
            6 * MIB
        } else {
            0
        };
    });
    let process = world.killed().first().copied();
    assert!(matches!(process, Some(Target::Process(_))), "{process:?}");
    assert_eq!(
        (world.killed(), world.kernel_kills),
        (vec![process.unwrap(); 2], 0)
    );
}
