//! A guard that is kept from looking again and again acts sooner, by as much as it was kept; one hiccup changes nothing.

mod world;

use forestall_decide::{Bytes, Input, Span, WallKind};
use world::{MIB, World, enforcing};

/// What is left of `kubepods` when a leak of 40 MiB/s is ended by a guard every `every`th look of which comes a second late.
fn left_at_the_kill(every: u32) -> Bytes {
    let mut world = World::new(1024, 800);
    world.container(1, 100).rate = 40 * MIB;
    let mut engine = enforcing();
    for look in 1..1000_u32 {
        let late = if look % every == 0 {
            Span::secs(1)
        } else {
            Span(500)
        };
        let mut sample = world.sample();
        sample.node.wake_late = late;
        let decision = engine.step(world.now, Input::Sample(&sample));
        if let Some(action) = decision.actions.first() {
            assert_eq!(action.evidence.reading.wall, WallKind::Kubepods);
            return action.evidence.reading.distance;
        }
        let wake = decision.wake_in;
        world.of(1).anon += world.of(1).rate * wake.0 / 1_000_000;
        world.now = world.now + wake;
    }
    panic!("nobody was ended");
}

#[test]
fn who_is_kept_from_looking_twice_in_sixteen_looks_acts_so_much_sooner() {
    // A second at 40 MiB/s, and as much again because the next look comes when part of the runway is used up.
    assert!(left_at_the_kill(8) >= Bytes::mebi(80));
}

#[test]
fn one_late_look_in_many_is_no_starvation() {
    // TERM starts below 4 % of 800 MiB.
    assert!(left_at_the_kill(40) <= Bytes::mebi(32));
}
