//! What waiting for memory confirms, and what it does not: it is one key of two, and only where it is not somebody's own.

mod world;

use forestall_decide::{Bytes, GroupId, Input, Limit, Sample, Span, Stall, Target};
use world::{MIB, World, enforcing};

/// Looks for so long, of 800 MiB of `kubepods`, while all tasks wait for nine tenths of the time. `shape` changes what is
/// seen. Returns by which rule and with how many MiB left there the first order to end somebody came.
fn end_of(
    world: &mut World,
    span: Span,
    mut shape: impl FnMut(&mut Sample),
) -> Option<(&'static str, u64, Target)> {
    let mut engine = enforcing();
    world.stall_full_permille = 900;
    let end = world.now + span;
    while world.now < end {
        world.tell_in_time(&mut engine);
        let mut sample = world.sample();
        shape(&mut sample);
        let decision = engine.step(world.now, Input::Sample(&sample));
        let mut ends = decision.actions.iter().filter(|it| it.rung.ends_somebody());
        if let Some(action) = ends.next() {
            let reading = action.evidence.reading;
            return Some((action.evidence.rule, reading.distance.0 / MIB, action.target));
        }
        let wake = decision.wake_in;
        world.grow(wake);
    }
    None
}

/// `kubepods` of 800 MiB of which so much is held by pod 1, and that grows.
fn world(mebi: u64, rate_kibi: u64) -> World {
    let mut world = World::new(2048, 800);
    world.container(1, mebi).rate = rate_kibi << 10;
    world
}

/// Rules 3 and 6: all is still, next to nothing is left, and everything waits.
#[test]
fn a_stall_without_a_culprit_confirms_nothing() {
    for is_known in [false, true] {
        let mut world = world(500, 0);
        world.container(2, 285);
        if is_known {
            world.pod(1).grace = Span::secs(1);
            world.pod(2).grace = Span::secs(1);
        }
        assert_eq!(end_of(&mut world, Span::secs(90), |_| ()), None, "{is_known}");
    }
}

/// Of a leak that a wall is four seconds away from with a sixteenth of it left, the stall speaks from a twentieth on.
#[test]
fn a_stall_beside_much_memory_confirms_nothing_and_beside_little_a_leak() {
    let mut world = world(560, 12 << 10);
    let (rule, left, target) = end_of(&mut world, Span::secs(60), |_| ()).expect("an end");
    assert_eq!((rule, target), ("thrash", Target::Group(GroupId(1))));
    assert!((33..=40).contains(&left), "{left} MiB");
}

/// Rules 3 and 5: half a minute and more are left for whoever creeps, however long everybody waits.
#[test]
fn a_stall_makes_nobody_end_early() {
    let mut world = world(766, 200);
    assert_eq!(end_of(&mut world, Span::secs(60), |_| ()), None);
}

/// A container that reads again and again what its own limit has no room for makes everything wait that works at all.
#[test]
fn a_pods_own_stall_is_no_key_against_another() {
    for (limit_mebi, expected) in [(100, "last-moment"), (200, "thrash")] {
        let mut world = world(460, 12 << 10);
        world.container(2, 20).limit = Limit::Bytes(Bytes::mebi(limit_mebi));
        world.of(2).file = 79 * MIB;
        let mut waited = 0;
        let end = end_of(&mut world, Span::secs(60), |sample| {
            waited = sample.node.stall.map_or(waited, |stall| stall.full_micros);
            for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(2)) {
                group.stall = Some(Stall {
                    some_micros: waited,
                    full_micros: waited,
                });
            }
        });
        let (rule, _, target) = end.expect("an end");
        assert_eq!(
            (rule, target),
            (expected, Target::Group(GroupId(1))),
            "{limit_mebi}"
        );
    }
}
