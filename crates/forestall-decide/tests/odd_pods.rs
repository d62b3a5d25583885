//! What is told of pods is told seldom, late and sometimes wrongly: what that must not lead to.

mod world;

use forestall_decide::{
    Engine, GroupId, Ignored, Input, Mode, Owner, Pod, PodUid, Policy, Rung, Rungs, Span,
};
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

/// Rules 7 and 8: two pods whose containers are started again each time.
#[test]
fn of_two_that_were_killed_twice_one_is_evicted_at_a_time() {
    let mut world = World::new(4096, 2000);
    for id in [1, 2] {
        world.container(id, 100);
        // It leaves no time for an eviction while it leaks.
        world.pod(id).grace = Span::secs(40);
    }
    world.pods.cluster.api = false;
    let mut engine = evicting();
    for round in 0..4 {
        let id = 1 + round % 2;
        world.of(id).rate = 400 * MIB;
        let kills = world.killed().len();
        world.run(&mut engine, Span::secs(20), |_| ());
        assert_eq!(world.killed().len(), kills + 1);
        world.of(id).anon = 100 * MIB;
    }
    // Both were killed twice by now, and the API server is back.
    world.pods.cluster.api = true;
    world.tell_once(&mut engine);
    let mut first = None;
    world.run(&mut engine, Span::secs(120), |world| {
        first = first.or(world
            .ordered
            .iter()
            .find(|(_, it)| it.rung == Rung::Evict)
            .map(|(at, _)| *at));
        let evictions = world.targets_of(Rung::Evict).len();
        assert!(evictions < 2 || first.is_some_and(|at| world.now.since(at) > Span::secs(40)));
    });
    assert_eq!(world.targets_of(Rung::Evict).len(), 2);
}

/// Kubernetes' deletion timestamp lies ahead by the grace period; further ahead is a clock that is wrong.
#[test]
fn a_pod_that_ends_tomorrow_is_nobodys_relief_today() {
    for (ahead, rule) in [(Span::secs(25), "one-look"), (Span::secs(86_400), "last-moment")] {
        let mut world = World::new(4096, 2000);
        world.container(1, 1400).rate = 20 * MIB;
        world.container(2, 300);
        world.pod(1);
        world.pod(2);
        let since = world.now + ahead;
        world.pods.list[1].terminating_since = Some(since);
        let policy = Policy {
            mode: Mode::Enforce,
            ..Policy::default()
        };
        world.run(&mut Engine::new(policy), Span::secs(60), |_| ());
        let first = world.ordered.first().map(|(_, it)| it.evidence.rule);
        assert_eq!(first, Some(rule), "{ahead}");
    }
}

/// A leak of pod 2 beside another.
fn leak_of_the_second() -> World {
    let mut world = World::new(4096, 2000);
    world.container(1, 500);
    world.container(2, 100).rate = 30 * MIB;
    for id in [1, 2] {
        world.pod(id).grace = Span::secs(1);
    }
    world
}

fn ends(mut world: World) -> usize {
    world.run(&mut evicting(), Span::secs(120), |_| ());
    world
        .ordered
        .iter()
        .filter(|(_, it)| it.rung.ends_somebody())
        .count()
}

#[test]
fn a_veto_wins_where_two_pods_claim_one_cgroup() {
    let changes: [fn(&mut Pod); 3] = [
        |pod| pod.standing.vetoed = true,
        |pod| pod.owner = Owner::DaemonSet,
        // It names the container alone.
        |pod| (pod.group, pod.standing.vetoed) = (None, true),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut world = leak_of_the_second();
        let mut other = world.pods.list[1].clone();
        other.uid = PodUid(99);
        change(&mut other);
        world.pods.list.push(other);
        let mut engine = evicting();
        let decision = engine.step(world.now, Input::Pods(&world.pods));
        assert_eq!(decision.ignored, [Ignored::PodsRepeated(1)]);
        assert_eq!(ends(world), 0, "{nth}");
    }
    assert_eq!(ends(leak_of_the_second()), 1);
}

#[test]
fn a_veto_holds_where_only_the_containers_are_known() {
    for (vetoed, expected) in [(true, 0), (false, 1)] {
        let mut world = leak_of_the_second();
        let pod = &mut world.pods.list[1];
        (pod.group, pod.standing.vetoed) = (None, vetoed);
        assert_eq!(ends(world), expected);
    }
}
