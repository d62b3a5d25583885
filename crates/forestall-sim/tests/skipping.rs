//! Calm time is skipped, and nothing is lost by it: the same facts come out when every look of every kubelet is made.

use forestall_decide::Span;
use forestall_sim::{Event, Options, Running, World, fleet, swarm};

fn facts(world: &World, every_look: bool) -> Vec<Event> {
    let options = Options {
        every_look,
        ..Options::default()
    };
    let mut running = Running::start(world, options).expect("a sound world");
    let mut events = Vec::new();
    while running.go_on(&mut |event| events.push(event.clone())) {}
    events
}

#[test]
fn a_hundred_random_worlds_are_the_same_when_every_look_is_made() {
    let mut happened = 0;
    for seed in 0..100 {
        let mut world = swarm(seed, None);
        world.duration = Span::secs(300);
        let skipped = facts(&world, false);
        assert_eq!(skipped, facts(&world, true), "seed {seed}");
        happened += skipped.len();
    }
    assert!(happened > 1000, "only {happened} facts in all");
}

#[test]
fn a_fleet_is_the_same_when_every_look_is_made() {
    let world = fleet(9, 2, Span::secs(2 * 86_400 + 43_200), None);
    let skipped = facts(&world, false);
    assert_eq!(skipped, facts(&world, true));
    // A leak of 100 KiB/s fills what the others leave, about 20 GiB, in some two days.
    assert!(
        skipped
            .iter()
            .any(|event| matches!(event.what, forestall_sim::What::Evicting { .. }))
    );
}

#[test]
fn threads_change_nothing() {
    let mut world = fleet(5, 600, Span::secs(600), None);
    // All start at once, so that there is something to share.
    for pod in &mut world.pods {
        pod.spread = Span(0);
    }
    let with = |threads| {
        let options = Options {
            threads,
            ..Options::default()
        };
        let mut running = Running::start(&world, options).expect("a sound world");
        let mut events = Vec::new();
        while running.go_on(&mut |event| events.push(event.clone())) {}
        events
    };
    assert_eq!(with(1), with(3));
}
