//! The rungs that need to know the pods, in a small world whose pods Kubernetes knows.

mod world;

use forestall_decide::{
    AlarmVerdict, Bytes, CRITICAL_PRIORITY, Elsewhere, Engine, GroupId, Input, Limit, Mode, Moment,
    OutcomeKind, Owner, Policy, Preference, Preferred, RefusalReason, Rung, Rungs, Span, Standing, Target,
    Victims, WallKind, WhyNot,
};
use world::{MIB, World};

fn container(id: u64) -> Target {
    Target::Group(GroupId(id))
}

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

const GRACEFUL: [Rung; 3] = [Rung::Reclaim, Rung::Evict, Rung::Kill];

#[test]
fn a_leak_that_leaves_time_is_evicted_with_its_grace_period_and_nobody_is_killed() {
    // 3,500 MiB at 20 MiB/s are 175 s; an eviction takes 30 s of grace and some seconds.
    let mut world = World::leaking(20);
    world.run(&mut engine(&GRACEFUL), Span::secs(400), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![]));
    assert_eq!(world.targets_of(Rung::Evict), [pod(2)]);
    let (_, eviction) = world.ordered.first().expect("evicted");
    assert_eq!(eviction.grace, Span::secs(30));
    let runway = eviction.evidence.reading.runway;
    assert!(runway.p10 >= Span::secs(35), "it fits: {runway:?}");
    assert!(runway.p50 <= Span::secs(70), "and it is late: {runway:?}");
    let verdict = world.verdicts.iter().find_map(|event| event.verdict);
    assert_eq!(verdict, Some(AlarmVerdict::Intervened));
}

#[test]
fn a_leak_too_fast_for_its_grace_period_is_killed_and_the_reason_is_given() {
    let mut world = World::leaking(400);
    world.run(&mut engine(&GRACEFUL), Span::secs(60), |_| ());
    assert_eq!(world.kernel_kills, 0);
    assert_eq!(world.targets_of(Rung::Evict), []);
    assert_eq!(world.killed(), [container(2)]);
}

#[test]
fn whoever_may_not_be_touched_is_named_and_neither_evicted_nor_killed() {
    type Change = fn(&mut forestall_decide::Pod);
    let cases: [(Change, WhyNot); 4] = [
        (|pod| pod.standing.vetoed = true, WhyNot::OptedOut),
        (|pod| pod.priority = CRITICAL_PRIORITY, WhyNot::Critical),
        (|pod| pod.owner = Owner::DaemonSet, WhyNot::DaemonSet),
        (|pod| pod.owner = Owner::Nobody, WhyNot::NobodyBringsItBack),
    ];
    for (change, why) in cases {
        let mut world = World::leaking(20);
        change(&mut world.pods.list[1]);
        world.run(&mut engine(&GRACEFUL), Span::secs(400), |_| ());
        assert_eq!(world.kernel_kills, 1, "{why:?}: the kernel is left to it");
        assert!(world.ordered.is_empty(), "{why:?}: {:?}", world.ordered);
        assert!(
            world
                .passed_over
                .iter()
                .any(|it| it.target == pod(2) && it.why == why),
            "{why:?}"
        );
        assert!(
            world
                .refused
                .iter()
                .any(|refusal| refusal.reason == RefusalReason::Spared(why)),
            "{why:?}"
        );
    }
}

#[test]
fn a_pod_without_an_owner_is_evicted_where_it_has_agreed_to_that() {
    let mut world = World::leaking(20);
    world.pods.list[1].owner = Owner::Nobody;
    world.pods.list[1].asks.final_eviction = true;
    world.run(&mut engine(&GRACEFUL), Span::secs(400), |_| ());
    assert_eq!(
        (world.kernel_kills, world.targets_of(Rung::Evict)),
        (0, vec![pod(2)])
    );
}

#[test]
fn what_the_cluster_refuses_is_not_evicted_and_the_culprit_is_killed_as_late_as_without_a_cluster() {
    type Change = fn(&mut World);
    let cases: [(Change, WhyNot); 5] = [
        (|world| world.pods.cluster.api = false, WhyNot::ApiAway),
        (
            |world| world.pods.cluster.eviction_tokens = Some(0),
            WhyNot::NoToken,
        ),
        (
            |world| world.pods.cluster.elsewhere = Elsewhere::Nowhere,
            WhyNot::NowhereToGo,
        ),
        (
            |world| {
                world.pods.list[1].request = Bytes::mebi(2);
                world.pods.cluster.elsewhere = Elsewhere::Room(Bytes::mebi(1));
            },
            WhyNot::NowhereToGo,
        ),
        (
            |world| world.eviction_answer = OutcomeKind::Blocked,
            WhyNot::Blocked,
        ),
    ];
    let mut alone = World::leaking(20);
    alone.pods.list.clear();
    alone.run(&mut engine(&GRACEFUL), Span::secs(400), |_| ());
    let killed_at = |world: &World| {
        let kill = world.ordered.iter().find(|(_, action)| action.rung == Rung::Kill);
        kill.map(|(at, action)| (*at, action.evidence.reading.distance))
    };
    let (_, left_alone) = killed_at(&alone).expect("killed");
    for (change, why) in cases {
        let mut world = World::leaking(20);
        change(&mut world);
        world.run(&mut engine(&GRACEFUL), Span::secs(400), |_| ());
        assert_eq!(
            (world.kernel_kills, world.killed()),
            (0, vec![container(2)]),
            "{why:?}"
        );
        assert!(
            world
                .passed_over
                .iter()
                .any(|it| it.target == pod(2) && it.why == why),
            "{why:?}"
        );
        let (_, left) = killed_at(&world).expect("killed");
        assert!(
            left <= left_alone + Bytes::mebi(50),
            "{why:?}: killed with {left} left, alone with {left_alone}"
        );
    }
}

#[test]
fn a_disruption_budget_is_not_asked_more_often_than_every_ten_seconds() {
    let mut world = World::leaking(20);
    world.eviction_answer = OutcomeKind::Blocked;
    world.run(&mut engine(&GRACEFUL), Span::secs(400), |_| ());
    let asked: Vec<_> = world
        .ordered
        .iter()
        .filter(|(_, action)| action.rung == Rung::Evict)
        .map(|(at, _)| *at)
        .collect();
    assert!(asked.len() > 1, "asked again");
    assert!(
        asked
            .windows(2)
            .all(|pair| pair[1].since(pair[0]) >= Span::secs(10))
    );
}

#[test]
fn of_two_equal_leaks_both_go_where_pods_are_known_and_none_where_they_are_not() {
    for known in [true, false] {
        let mut world = World::new(16_384, 12_000);
        for id in 1..=3 {
            world.container(id, 2_000);
            if known {
                world.pod(id);
            }
        }
        (world.of(1).rate, world.of(2).rate) = (200 * MIB, 200 * MIB);
        world.run(&mut engine(&GRACEFUL), Span::secs(120), |_| ());
        if known {
            let mut killed = world.killed();
            killed.sort();
            assert_eq!(
                (world.kernel_kills, killed),
                (0, vec![container(1), container(2)])
            );
        } else {
            assert_eq!((world.kernel_kills, world.killed()), (1, vec![]));
            assert!(
                world
                    .refused
                    .iter()
                    .any(|refusal| refusal.reason == RefusalReason::NoCulprit)
            );
        }
    }
}

/// Twelve containers that all grow alike: nobody explains it.
fn crowd() -> World {
    let mut world = World::new(16_384, 12_000);
    for id in 31..=42 {
        world.container(id, 800).rate = 4 * MIB;
        let known = world.pod(id);
        known.request = Bytes::mebi(2_000);
        known.grace = Span::secs(1);
    }
    world
}

#[test]
fn where_nobody_explains_it_the_kubelets_order_is_kept() {
    let mut world = crowd();
    // Over its request before anybody within it, whatever their priority.
    world.pods.list[4].request = Bytes::mebi(100);
    world.pods.list[7].priority = -5;
    world.run(&mut engine(&GRACEFUL), Span::secs(600), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![]));
    assert_eq!(world.targets_of(Rung::Evict).first(), Some(&pod(35)));
    let others = |it: &&forestall_decide::PassedOver| it.why == WhyNot::OthersFirst;
    assert!(
        world.passed_over.iter().filter(others).count() >= 11,
        "everybody else has a reason"
    );
}

#[test]
fn lower_priority_goes_first_by_that_policy_and_preferences_go_before_all() {
    for (weight, first) in [(0, 38), (10, 33)] {
        let mut world = crowd();
        world.pods.list[4].request = Bytes::mebi(100);
        world.pods.list[7].priority = -5;
        world.pods.list[2].namespace = "batch".into();
        world.pods.weigh(&[Preference {
            namespaces: vec!["batch".into()],
            verdict: Preferred::Weight(weight),
            ..Preference::default()
        }]);
        let mut engine = Engine::new(Policy {
            mode: Mode::Enforce,
            rungs: Rungs::of(&GRACEFUL),
            victims: Victims::Priority,
            ..Policy::default()
        });
        world.run(&mut engine, Span::secs(600), |_| ());
        assert_eq!(world.targets_of(Rung::Evict).first(), Some(&pod(first)));
    }
}

#[test]
fn whoever_is_killed_a_second_time_within_ten_minutes_is_evicted() {
    killed_twice(None);
}

#[test]
fn who_was_killed_is_remembered_though_the_clock_went_back() {
    killed_twice(Some(Moment(2_000_000)));
}

/// `back`: the clock jumps to there between the two kills.
fn killed_twice(back: Option<Moment>) {
    let mut world = World::leaking(400);
    // The kubelet restarts what was killed after its back-off, until the pod has to go.
    let mut ended_at = None;
    let restart = |world: &mut World| {
        if world.pods.list.iter().any(|pod| pod.terminating_since.is_some()) {
            return;
        }
        let leaker = world
            .containers
            .iter_mut()
            .find(|container| container.id == GroupId(2));
        if let Some(leaker) = leaker
            && leaker.anon == 0
        {
            let ended = *ended_at.get_or_insert(world.now);
            if world.now.since(ended) >= Span::secs(10) {
                (leaker.anon, leaker.rate, ended_at) = (100 * MIB, 400 * MIB, None);
            }
        }
    };
    let mut engine = engine(&GRACEFUL);
    if let Some(back) = back {
        world.run(&mut engine, Span::secs(14), |_| ());
        assert_eq!(world.killed(), [container(2)]);
        world.now = back;
        world.tell_once(&mut engine);
    }
    world.run(&mut engine, Span::secs(120), restart);
    assert_eq!(world.kernel_kills, 0);
    assert_eq!(
        world.killed(),
        [container(2), container(2)],
        "twice and no third time"
    );
    assert_eq!(world.targets_of(Rung::Evict), [pod(2)]);
}

#[test]
fn while_enough_is_on_its_way_nobody_else_ends() {
    let mut world = World::leaking(20);
    let going = |world: &mut World| {
        let now = world.now;
        if let Some(pod) = world
            .pods
            .list
            .iter_mut()
            .find(|pod| pod.group == Some(GroupId(1003)))
            && pod.terminating_since.is_none()
        {
            (pod.terminating_since, pod.grace) = (Some(now), Span::secs(150));
        }
    };
    // 3,500 MiB at 20 MiB/s are reached after 175 s; the going pod's 4,000 MiB are there before that, whatever it does.
    world.run(&mut engine(&GRACEFUL), Span::secs(160), going);
    assert_eq!((world.kernel_kills, world.ordered.len()), (0, 0));
    assert!(
        world
            .refused
            .iter()
            .any(|refusal| refusal.reason == RefusalReason::OnItsWay)
    );
}

#[test]
fn a_pod_that_asks_for_a_warning_is_warned_once_before_it_is_evicted() {
    let mut world = World::leaking(20);
    world.pods.list[1].asks.warning = Some(Span::secs(10));
    let mut engine = engine(&[Rung::Warn, Rung::Evict, Rung::Kill]);
    world.run(&mut engine, Span::secs(400), |_| ());
    let rungs: Vec<Rung> = world.ordered.iter().map(|(_, action)| action.rung).collect();
    assert_eq!(rungs, [Rung::Warn, Rung::Evict]);
    let mut silent = World::leaking(20);
    silent.run(&mut Engine::new(*engine.policy()), Span::secs(400), |_| ());
    assert_eq!(
        silent.targets_of(Rung::Warn),
        [],
        "who has not asked is not warned"
    );
}

#[test]
fn a_brake_comes_before_anything_that_ends_somebody() {
    let mut world = World::leaking(20);
    world.run(
        &mut engine(&[Rung::Brake, Rung::Evict, Rung::Kill]),
        Span::secs(400),
        |_| (),
    );
    let first = &world.ordered.first().expect("braked").1;
    assert_eq!((first.rung, first.target), (Rung::Brake, container(2)));
    assert_eq!(
        world.targets_of(Rung::Evict),
        [pod(2)],
        "it leaked on, so the next rung took over"
    );
}

#[test]
fn a_limit_grows_where_it_is_asked_for_and_the_node_has_room() {
    for (most_mebi, quiet_mebi, expected) in [
        (Some(2_000), 1_000, Ok(750)),
        (Some(700), 1_000, Ok(700)),
        (Some(600), 1_000, Err(WhyNot::AtItsMost)),
        (Some(500), 1_000, Err(WhyNot::AtItsMost)),
        (None, 1_000, Err(WhyNot::NotAsked)),
        (Some(2_000), 11_000, Err(WhyNot::NoRoom)),
    ] {
        let mut world = World::new(16_384, 12_000);
        world.container(1, quiet_mebi);
        let leaker = world.container(2, 300);
        (leaker.rate, leaker.limit) = (4 * MIB, Limit::Bytes(Bytes::mebi(600)));
        world.pod(1);
        world.pod(2).asks.growth = most_mebi.map(Bytes::mebi);
        world.run(&mut engine(&[Rung::Grow, Rung::Kill]), Span::secs(73), |_| ());
        match expected {
            Ok(mebi) => {
                let (_, growth) = world.ordered.first().expect("grown");
                assert_eq!(
                    (growth.rung, growth.target, growth.bytes),
                    (Rung::Grow, container(2), Bytes::mebi(mebi))
                );
            }
            Err(why) => {
                assert!(world.ordered.is_empty(), "{why:?}");
                assert!(
                    world
                        .passed_over
                        .iter()
                        .any(|it| it.why == why && it.wall == WallKind::Container),
                    "{why:?}"
                );
            }
        }
    }
}

#[test]
fn pods_that_nobody_has_spoken_of_for_a_minute_are_no_knowledge() {
    let mut world = World::leaking(20);
    let mut engine = engine(&GRACEFUL);
    world.run(&mut engine, Span::secs(10), |_| ());
    let vetoed = Standing {
        vetoed: true,
        weight: 0,
    };
    world.pods.list[1].standing = vetoed;
    world.tell_once(&mut engine);
    let list = core::mem::take(&mut world.pods.list);
    world.run(&mut engine, Span::secs(400), |_| ());
    assert_eq!(world.targets_of(Rung::Evict), []);
    assert_eq!(
        world.killed(),
        [],
        "what was vetoed stays vetoed, however old the news"
    );
    assert_eq!(list.len(), 3);
}

#[test]
fn an_alarm_whose_cgroup_goes_away_has_a_verdict_and_one_acted_upon_is_never_true() {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 1_000);
    let leaker = world.container(2, 300);
    (leaker.rate, leaker.limit) = (4 * MIB, Limit::Bytes(Bytes::mebi(600)));
    let mut engine = engine(&GRACEFUL);
    world.run(&mut engine, Span::secs(60), |_| ());
    assert!(
        world.verdicts.iter().any(|event| event.verdict.is_none()),
        "raised"
    );
    world.containers.retain(|container| container.id != GroupId(2));
    world.run(&mut engine, Span::secs(2), |_| ());
    let verdicts: Vec<_> = world.verdicts.iter().filter_map(|event| event.verdict).collect();
    assert_eq!(verdicts, [AlarmVerdict::False]);

    // The kernel kills although a pod is being evicted.
    let mut world = World::leaking(20);
    let mut engine = self::engine(&[Rung::Evict]);
    world.run(&mut engine, Span::secs(400), |world| {
        if world.pods.list.iter().any(|pod| pod.terminating_since.is_some()) {
            world.of(2).rate = 4_000 * MIB;
        }
    });
    assert_eq!(
        (world.kernel_kills, world.targets_of(Rung::Evict)),
        (1, vec![pod(2)])
    );
    let sample = world.sample();
    let decision = engine.step(world.now, Input::Sample(&sample));
    let verdicts: Vec<_> = decision.alarms.iter().filter_map(|event| event.verdict).collect();
    assert!(!verdicts.contains(&AlarmVerdict::True), "{verdicts:?}");
}

#[test]
fn the_cache_of_a_pod_that_opted_out_is_left_alone() {
    for vetoed in [false, true] {
        let mut world = World::new(16_384, 1_000);
        world.kubelet = true;
        let reader = world.container(2, 100);
        reader.file = 790 * MIB;
        world.pod(2).standing.vetoed = vetoed;
        world.run(&mut engine(&GRACEFUL), Span::secs(3), |world| {
            world.of(2).file += MIB;
        });
        assert_eq!(world.targets_of(Rung::Reclaim).is_empty(), vetoed);
    }
}

#[test]
fn an_ending_without_an_alarm_is_a_miss() {
    // The kubelet has evicted somebody while everything was calm.
    let mut world = World::leaking(0);
    world.kubelet = true;
    let mut engine = engine(&GRACEFUL);
    world.run(&mut engine, Span::secs(20), |_| ());
    world.pods.kubelet_evictions = 1;
    world.run(&mut engine, Span::secs(20), |_| ());
    let missed: Vec<WallKind> = world
        .verdicts
        .iter()
        .filter(|event| event.verdict == Some(AlarmVerdict::Missed))
        .map(|event| event.reading.wall)
        .collect();
    assert_eq!(
        missed,
        [WallKind::KubeletNode],
        "once, though it may have been either of its walls"
    );
}
