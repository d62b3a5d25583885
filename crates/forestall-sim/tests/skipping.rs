//! Calm time is skipped, and nothing is lost by it: the same facts come out when every look of every kubelet is made and nodes
//! wait for each other at every round.

use forestall_decide::{Bytes, BytesPerSecond, Mode, Policy, Rung, Span};
use forestall_sim::{Event, Load, Options, Running, What, World, fleet, swarm};

/// The facts, and into how many pieces the run was cut.
fn run(world: &World, options: Options) -> (Vec<Event>, usize) {
    let mut running = Running::start(world, options).expect("a sound world");
    let (mut events, mut pieces) = (Vec::new(), 1);
    while running.go_on(&mut |event| events.push(event.clone())) {
        pieces += 1;
    }
    (events, pieces)
}

fn facts(world: &World, every_look: bool) -> Vec<Event> {
    let options = Options {
        every_look,
        ..Options::default()
    };
    run(world, options).0
}

/// An agent that looks every ten seconds where nothing is near.
fn agent(mode: Mode) -> Policy {
    Policy {
        mode,
        tick_idle: Span::secs(10),
        ..Policy::default()
    }
}

/// Four nodes on which half of the leaks fill what is left within two hours; all pods start at once.
fn crowded(policy: Policy) -> World {
    let mut world = fleet(4, 4, Span::secs(3 * 3600), Some(policy));
    for pod in &mut world.pods {
        pod.spread = Span(0);
        for container in &mut pod.containers {
            if let Load::Leak { rate, delay, .. } = &mut container.load {
                (*rate, *delay) = (BytesPerSecond(4 << 20), Span::secs(3600));
                container.jitter_permille = 900;
            }
        }
    }
    world
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
        run(&world, options).0
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn nodes_with_engines_run_apart_for_minutes_and_every_look_is_the_same() {
    for mode in [Mode::Shadow, Mode::Enforce] {
        let world = crowded(agent(mode));
        let with = |every_look, threads| {
            let options = Options {
                every_look,
                watch_looks: true,
                threads,
            };
            run(&world, options)
        };
        let (skipped, pieces) = with(false, 1);
        let (stepped, rounds) = with(true, 1);
        // Compared one by one: a difference among twenty thousand facts is otherwise hard to read.
        for (one, other) in skipped.iter().zip(&stepped) {
            assert_eq!(one, other, "{mode:?}");
        }
        assert_eq!(skipped.len(), stepped.len(), "{mode:?}");
        assert!(pieces * 3 < rounds, "{pieces} pieces, {rounds} rounds");
        let many = |is: fn(&What) -> bool| skipped.iter().filter(|event| is(&event.what)).count();
        match mode {
            // Pods are evicted, and places are found for them on nodes that had promised to keep to themselves.
            Mode::Shadow => {
                assert!(many(|what| matches!(what, What::Evicting { .. })) > 0);
                assert_eq!(with(false, 3).0, skipped, "three threads");
            }
            _ => assert!(many(|what| matches!(what, What::Ordered(_))) > 0),
        }
    }
}

/// Each on a thread of its own as far as there are processors: of all looks of a hundred worlds none is skipped.
#[test]
fn a_hundred_random_worlds_with_engines_are_the_same_when_every_look_is_made() {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for first in 0..threads as u64 {
            scope.spawn(move || (first..100).step_by(threads).for_each(compare_with_engines));
        }
    });
}

fn compare_with_engines(seed: u64) {
    let evicts = agent(Mode::Enforce).rungs.with(Rung::Evict, true);
    let policy = Policy {
        rungs: if seed.is_multiple_of(2) {
            evicts
        } else {
            agent(Mode::Enforce).rungs
        },
        ..agent(Mode::Enforce)
    };
    let mut world = swarm(seed, Some(policy));
    world.duration = Span::secs(300);
    // Room for everybody, on every other one: otherwise no node is ever calm.
    if seed % 4 < 2 {
        for node in &mut world.nodes {
            node.memory = Bytes(node.memory.0 * 8);
            if let Some(kubelet) = &mut node.kubelet {
                kubelet.capacity = node.memory;
            }
        }
    }
    assert_eq!(facts(&world, false), facts(&world, true), "seed {seed}");
}
