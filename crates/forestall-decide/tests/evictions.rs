//! Whose eviction it comes to, and when, in a small world whose pods Kubernetes knows.

mod world;

use forestall_decide::{
    Bytes, Elsewhere, Engine, GroupId, Mode, OutcomeKind, PassedOver, Policy, Rung, Rungs, Span, Target,
    WhyNot,
};
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

#[test]
fn a_culprit_that_matters_more_than_most_is_braked_longer_and_evicted_later() {
    let run = |priority, weight| {
        let mut world = World::leaking(20);
        world.brakes_hold = true;
        let leaker = &mut world.pods.list[1];
        (leaker.priority, leaker.standing.weight) = (priority, weight);
        world.run(
            &mut engine(&[Rung::Brake, Rung::Evict, Rung::Kill]),
            Span::secs(600),
            |_| (),
        );
        assert_eq!((world.kernel_kills, world.killed()), (0, vec![]));
        assert_eq!(world.targets_of(Rung::Evict), [pod(2)]);
        let of_evictions = |(_, action): &&(_, forestall_decide::Action)| action.rung == Rung::Evict;
        let (_, eviction) = world.ordered.iter().find(of_evictions).expect("evicted");
        (
            world.targets_of(Rung::Brake).len(),
            eviction.evidence.reading.runway.p50,
        )
    };
    // Half a minute of grace and five seconds: at twice that, or at one and a half times. Each brake holds for half a minute, and what grows on after it
    // has to do so for some seconds before it counts that far ahead.
    for (priority, weight) in [(0, 0), (-1, 0), (100, 1)] {
        let (brakes, runway) = run(priority, weight);
        assert!(
            brakes <= 3 && runway > Span::secs(53),
            "{brakes} brakes, {runway:?}"
        );
    }
    for (priority, weight) in [(100, 0), (0, -1)] {
        let (brakes, runway) = run(priority, weight);
        assert!(
            brakes > 3 && runway <= Span::secs(53),
            "{brakes} brakes, {runway:?}"
        );
    }
}

#[test]
fn whose_memory_outlives_its_container_is_evicted_after_the_first_kill() {
    let run = |volumes| {
        let mut world = World::leaking(400);
        world.of(2).in_volume = true;
        world.pods.list[1].memory_volumes = volumes;
        world.run(&mut engine(&EVICT), Span::secs(60), |_| ());
        assert_eq!(world.kernel_kills, 0);
        assert_eq!(world.killed(), [Target::Group(GroupId(2))]);
        world.targets_of(Rung::Evict)
    };
    assert_eq!(run(Bytes::mebi(8_000)), [pod(2)]);
    assert_eq!(run(Bytes::mebi(1)), [], "it lies elsewhere");
}

#[test]
fn a_pod_goes_only_where_what_it_holds_has_room() {
    for (room, evicted) in [(600, vec![]), (4_000, vec![pod(2)])] {
        let mut world = World::leaking(20);
        world.pods.list[1].request = Bytes::mebi(500);
        world.pods.cluster.elsewhere = Elsewhere::Room(Bytes::mebi(room));
        world.run(&mut engine(&EVICT), Span::secs(400), |_| ());
        assert_eq!(world.kernel_kills, 0);
        assert_eq!(world.targets_of(Rung::Evict), evicted, "{room}");
        let nowhere = |it: &forestall_decide::PassedOver| it.why == WhyNot::NowhereToGo;
        assert_eq!(world.passed_over.iter().any(nowhere), evicted.is_empty());
    }
}

/// One that grows by 20 MiB/s to what it needs, where 3,500 MiB are left, with this request. Whom it came to, and what was left then.
fn grows_beside_its_request(request_mebi: u64, needs_mebi: u64) -> (World, Vec<(Rung, Bytes)>) {
    let mut world = World::leaking(20);
    world.brakes_hold = true;
    world.pods.list[1].request = Bytes::mebi(request_mebi);
    world.pods.list[1].grace = Span::secs(5);
    let rungs = [Rung::Brake, Rung::Evict, Rung::Kill];
    world.run(&mut engine(&rungs), Span::secs(300), |world| {
        if world.containers.iter().any(|it| it.id == GroupId(2)) && world.of(2).anon >= needs_mebi * MIB {
            world.of(2).rate = 0;
        }
    });
    assert_eq!(world.kernel_kills, 0);
    let ordered = world.ordered.iter();
    let ordered = ordered.map(|(_, action)| (action.rung, action.evidence.reading.distance));
    let ordered = ordered.collect();
    (world, ordered)
}

// It stops at 3,800 MiB, with 200 left: nothing that Kubernetes has not promised it.
#[test]
fn who_grows_within_its_request_is_neither_braked_nor_evicted_where_that_is_no_further_than_the_wall() {
    let (world, ordered) = grows_beside_its_request(3_900, 3_800);
    assert_eq!(ordered, []);
    for rung in [Rung::Brake, Rung::Evict] {
        let within = |it: &forestall_decide::PassedOver| (it.rung, it.why) == (rung, WhyNot::WithinRequest);
        assert!(world.passed_over.iter().any(within), "{rung:?}");
    }
}

// With 3,400 MiB requested 600 are left when it is beyond that; of 5,000 it takes no more than there are.
#[test]
fn who_leaks_beyond_its_request_or_has_a_larger_one_than_there_is_room_for_is_stopped_in_time() {
    let (world, ordered) = grows_beside_its_request(3_400, u64::MAX / MIB);
    assert!(world.targets_of(Rung::Evict).contains(&pod(2)), "{ordered:?}");
    assert!(
        ordered.iter().all(|(_, left)| *left <= Bytes::mebi(600)),
        "{ordered:?}"
    );
    let (world, ordered) = grows_beside_its_request(5_000, u64::MAX / MIB);
    assert_eq!(world.targets_of(Rung::Evict), [pod(2)], "{ordered:?}");
}

#[test]
fn whoever_came_and_stands_still_is_not_killed_for_one_who_grows_on() {
    let mut world = World::new(4_096, 4_096);
    world.container(1, 2_990);
    world.container(2, 345);
    for id in [1, 2] {
        world.pod(id);
    }
    let (begins, start) = (Span::secs(30), world.now);
    world.run(&mut engine(&[Rung::Kill]), Span::secs(34), |world| {
        if world.now.since(start) >= begins && world.killed().is_empty() {
            world.of(1).rate = 200 * MIB;
            world.of(2).anon = (345 + 330) * MIB;
        }
    });
    assert_eq!(world.killed(), [Target::Group(GroupId(1))]);
}

/// The first one leaks beyond its request, and has not all that the second one, which was promised 5,500 MiB, still lacks (its own grace is that of a pod).
#[test]
fn who_is_beyond_his_request_is_evicted_before_one_who_keeps_within_his_own() {
    for (request, goes) in [(64, 1), (4_000, 2)] {
        let mut world = World::new(8_192, 7_000);
        world.container(1, 2_000);
        world.container(2, 100);
        world.pod(1).request = Bytes::mebi(request);
        world.pod(2).request = Bytes::mebi(5_500);
        let start = world.now;
        world.run(&mut engine(&EVICT), Span::secs(240), |world| {
            if world.ordered.is_empty() {
                let fills = world.now.since(start) >= Span::secs(120);
                world.of(1).rate = 5 * MIB;
                world.of(2).rate = if fills { 30 * MIB } else { 0 };
            }
        });
        assert_eq!(
            world.targets_of(Rung::Evict).first(),
            Some(&pod(goes)),
            "{request}"
        );
        assert!(world.killed().is_empty(), "{request}");
    }
}

#[test]
fn where_a_budget_spares_the_culprit_another_one_who_grows_goes_before_the_kubelet_evicts() {
    let run = |second_mebi| {
        let mut world = World::leaking(40);
        world.kubelet = true;
        world.of(3).rate = second_mebi * MIB;
        world.spared_by_budget = vec![GroupId(1002)];
        for pod in &mut world.pods.list {
            pod.grace = Span::secs(5);
        }
        world.run(&mut engine(&[Rung::Evict]), Span::secs(170), |_| ());
        world
    };
    let world = run(8);
    let mut evicted = world.targets_of(Rung::Evict);
    evicted.dedup();
    assert_eq!(evicted.get(..2), Some(&[pod(2), pod(3)][..]), "{evicted:?}");
    // Nobody who stands still pays for it.
    let alone = run(0);
    assert!(
        alone
            .targets_of(Rung::Evict)
            .iter()
            .all(|target| *target == pod(2))
    );
    let is_still = |it: &PassedOver| it.target == pod(3) && it.why == WhyNot::ComesBack;
    assert!(alone.passed_over.iter().any(is_still), "{:?}", alone.passed_over);
}

/// A leak whose eviction comes to nothing ends by itself; a minute later another one leaks, and no server answers any more.
#[test]
fn an_eviction_without_effect_costs_nobody_else_the_orderly_end() {
    for answer in [OutcomeKind::Failed(5), OutcomeKind::NoEffect, OutcomeKind::Gone] {
        let mut world = World::leaking(20);
        for pod in &mut world.pods.list {
            pod.grace = Span::secs(10);
        }
        world.eviction_answer = answer;
        let mut engine = engine(&[Rung::Evict, Rung::Kill]);
        world.run(&mut engine, Span::secs(150), |_| ());
        world.of(2).rate = 0;
        let before = world.ordered.len();
        assert!(
            world.targets_of(Rung::Evict).len() <= 6,
            "{answer:?}: {:?}",
            world.ordered.len()
        );
        // EHOSTUNREACH.
        world.eviction_answer = OutcomeKind::Failed(113);
        world.run(&mut engine, Span::secs(20), |_| ());
        world.of(3).rate = 8 * MIB;
        world.run(&mut engine, Span::secs(200), |_| ());
        let mut later = world.ordered.iter().skip(before).map(|(_, action)| action);
        let kill = later
            .find(|action| action.rung == Rung::Kill)
            .expect("a last resort");
        assert!(
            kill.grace > Span(0) && kill.evidence.reading.distance >= Bytes::mebi(50),
            "{answer:?}: {kill:?}"
        );
        assert_eq!(world.kernel_kills, 0);
    }
}

/// A neighbour was deleted with an hour of grace, and holds its memory meanwhile: whoever leaks goes as gracefully as beside one with five seconds.
#[test]
fn a_neighbour_with_hours_of_grace_does_not_cost_the_leaker_its_own() {
    let left = [5, 3600].map(|grace| {
        let mut world = World::leaking(20);
        world.pods.list[1].grace = Span::secs(10);
        world.pods.list[0].grace = Span::secs(grace);
        world.pods.list[0].terminating_since = Some(world.now);
        let mut engine = engine(&[Rung::Evict, Rung::Kill]);
        world.run(&mut engine, Span::secs(400), |_| ());
        assert_eq!(world.targets_of(Rung::Evict), [pod(2)], "grace {grace}");
        assert_eq!(
            (world.killed().len(), world.kernel_kills),
            (0, 0),
            "grace {grace}"
        );
        world
            .ordered
            .first()
            .map(|(_, action)| action.evidence.reading.distance)
    });
    assert_eq!(left[0], left[1]);
}

/// The same where a disruption budget keeps the leaker: it gets its TERM before the KILL, as beside nobody.
#[test]
fn a_neighbour_with_hours_of_grace_does_not_cost_the_leaker_its_term() {
    let graces = [None, Some(3600)].map(|grace| {
        let mut world = World::leaking(20);
        if let Some(grace) = grace {
            world.pods.list[0].grace = Span::secs(grace);
            world.pods.list[0].terminating_since = Some(world.now);
        }
        let mut engine = engine(&[Rung::Kill]);
        world.run(&mut engine, Span::secs(400), |_| ());
        world
            .ordered
            .first()
            .map(|(_, action)| (action.rung, action.grace))
    });
    assert!(graces[0].is_some_and(|(rung, grace)| rung == Rung::Kill && grace > Span(0)));
    assert_eq!(graces[0], graces[1]);
}

/// Eight pods grow by 2 MiB/s each, which takes four minutes to the wall: the one that goes has its thirty seconds before that.
#[test]
fn where_nobody_explains_it_there_is_room_for_a_default_grace() {
    for kubelet in [false, true] {
        let mut world = World::new(16_384, 12_000);
        for id in 1..=8 {
            world.container(id, 1_000).rate = 2 * MIB;
            world.pod(id).grace = Span::secs(30);
        }
        world.kubelet = kubelet;
        let mut engine = engine(&[Rung::Evict, Rung::Kill]);
        world.run(&mut engine, Span::secs(280), |_| ());
        let (_, first) = world.ordered.first().expect("somebody goes");
        assert_eq!(first.rung, Rung::Evict, "kubelet {kubelet}: {first:?}");
        assert!(world.killed().is_empty(), "kubelet {kubelet}");
        // And no sooner than at twice what it takes: 16 MiB/s for 2 x (30 + 10) s at the most.
        assert!(
            first.evidence.reading.distance <= Bytes::mebi(16 * 80),
            "kubelet {kubelet}: {first:?}"
        );
    }
}

/// Six pods grow together, and beside them there are twenty of 5 MiB whose priority is lower: their ends would move no wall, and whoever goes gives back more than
/// what grows meanwhile.
#[test]
fn nobody_goes_whose_end_moves_no_wall() {
    for (rate, grace) in [(4, 30), (6, 30), (8, 5), (20, 1)] {
        let mut world = World::new(16_384, 14_000);
        for id in 1..=6 {
            world.container(id, 1_000).rate = rate * MIB;
            world.pod(id).priority = 100;
        }
        for id in 7..=26 {
            world.container(id, 5);
            world.pod(id).grace = Span::secs(grace);
        }
        let mut engine = engine(&[Rung::Evict, Rung::Kill]);
        world.run(&mut engine, Span::secs(700), |_| ());
        let small: Vec<_> = (7..=26).map(pod).collect();
        let went = world.targets_of(Rung::Evict);
        assert!(
            !went.iter().any(|target| small.contains(target)),
            "{rate}: {went:?}"
        );
    }
}

/// Who takes five minutes to end is let be where nobody explains the growth: it would have to go with half of the memory free.
#[test]
fn nobody_goes_minutes_before_a_wall_for_growth_that_he_does_not_explain() {
    let mut world = World::new(65_536, 62_000);
    for id in 1..=6 {
        world.container(id, 4_000).rate = 8 * MIB;
        world.pod(id).priority = 100;
    }
    for id in 7..=9 {
        world.container(id, 3_000);
        world.pod(id).grace = Span::secs(300);
    }
    let mut engine = engine(&[Rung::Evict]);
    // 29,000 MiB at 48 MiB/s are ten minutes.
    world.run(&mut engine, Span::secs(460), |_| ());
    assert_eq!(world.targets_of(Rung::Evict), []);
}

/// A pod that was killed twice is evicted and takes an hour of grace; another one leaks meanwhile, and does not pay for that.
#[test]
fn one_with_hours_of_grace_keeps_nobody_else_from_an_orderly_end() {
    let left = [5, 3600].map(|grace| {
        let mut world = World::leaking(400);
        world.pods.list[1].grace = Span::secs(grace);
        world.pods.list[2].grace = Span::secs(10);
        let mut engine = engine(&[Rung::Evict, Rung::Kill]);
        world.run(&mut engine, Span::secs(40), |_| ());
        if world
            .containers
            .iter()
            .any(|container| container.id == GroupId(2))
        {
            world.of(2).rate = 400 * MIB;
        }
        world.run(&mut engine, Span::secs(60), |_| ());
        let before = world.ordered.len();
        if world
            .containers
            .iter()
            .any(|container| container.id == GroupId(2))
        {
            world.of(2).rate = 0;
        }
        world.of(3).rate = 20 * MIB;
        world.run(&mut engine, Span::secs(400), |_| ());
        let (_, action) = world.ordered.get(before).expect("somebody goes");
        assert_eq!(
            (action.rung, action.target),
            (Rung::Evict, pod(3)),
            "grace {grace}: {action:?}"
        );
        action.evidence.reading.distance
    });
    assert!(left[1] >= Bytes::mebi(400), "{left:?}");
}
