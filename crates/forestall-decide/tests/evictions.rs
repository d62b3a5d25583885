//! Whose eviction it comes to, and when, in a small world whose pods Kubernetes knows.

mod world;

use forestall_decide::{Engine, GroupId, Mode, Policy, Rung, Rungs, Span, Target};
use world::{MIB, World};

fn pod(id: u64) -> Target {
    Target::Group(GroupId(id + 1000))
}

fn engine(rungs: &[Rung]) -> Engine {
    Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(rungs),
        ..Policy::default()
    })
}

const EVICT: [Rung; 2] = [Rung::Evict, Rung::Kill];

#[test]
fn a_heap_at_its_plateau_is_not_evicted_for_what_another_one_takes_right_after() {
    let mut world = World::new(4_096, 3_600);
    world.container(1, 50).rate = 10 * MIB;
    world.container(2, 250);
    for id in [1, 2] {
        world.pod(id);
    }
    let (stops, jumps, ends) = (Span::secs(60), Span::millis(61_500), Span::millis(62_500));
    let start = world.now;
    world.run(&mut engine(&EVICT), Span::secs(100), |world| {
        let passed = world.now.since(start);
        world.of(1).rate = if passed < stops { 10 * MIB } else { 0 };
        world.of(2).rate = if (jumps..ends).contains(&passed) {
            60 * MIB
        } else {
            0
        };
    });
    assert_eq!(world.targets_of(Rung::Evict), [], "{:?}", world.ordered.first());
    // One that goes on is.
    let mut world = World::new(4_096, 3_600);
    world.container(1, 50).rate = 10 * MIB;
    world.pod(1);
    world.run(&mut engine(&EVICT), Span::secs(400), |_| ());
    assert_eq!(world.targets_of(Rung::Evict), [pod(1)]);
}
