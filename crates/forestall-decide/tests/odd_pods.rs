//! What is told of pods is told seldom, late and sometimes wrongly: what that must not lead to.

mod world;

use forestall_decide::{Engine, GroupId, Mode, Policy, Rung, Rungs, Span};
use world::{MIB, World};

fn evicting() -> Engine {
    Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Evict, Rung::Kill]),
        ..Policy::default()
    })
}

/// Two that leak one after the other, with a second of grace each.
fn two_leaks() -> World {
    let mut world = World::new(4096, 2000);
    world.container(1, 1600).rate = 20 * MIB;
    world.container(2, 100);
    for id in [1, 2] {
        world.pod(id).grace = Span::secs(1);
    }
    world
}

/// Rule 7 of the design: the pods are told once, with one token.
#[test]
fn one_token_is_one_eviction_until_the_budget_is_told_again() {
    for (tokens, expected) in [(1, 1), (2, 2)] {
        let mut world = two_leaks();
        world.pods.cluster.eviction_tokens = Some(tokens);
        let mut engine = evicting();
        world.tell_in_time(&mut engine);
        let (told, list) = (world.now, core::mem::take(&mut world.pods.list));
        world.run(&mut engine, Span::secs(50), |world| {
            if let Some((at, _)) = world.ordered.first()
                && world.now.since(*at) > Span::secs(4)
            {
                // What the first one held is somebody else's a moment later.
                let second = world.containers.iter_mut().find(|one| one.id == GroupId(2));
                if let Some(leak) = second {
                    leak.rate = 80 * MIB;
                }
            }
        });
        assert!(world.now.since(told) <= Span::secs(55) && list.len() == 2);
        assert_eq!(world.targets_of(Rung::Evict).len(), expected, "{tokens} tokens");
    }
}
