//! Who is to blame beside a job that takes memory and gives it back by turns.

mod world;

use forestall_decide::{GroupId, Span, Target};
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
