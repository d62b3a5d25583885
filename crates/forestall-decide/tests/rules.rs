//! The rules that keep the engine harmless, each with its test, on a node of a few containers.

mod world;

use forestall_decide::{
    AlarmVerdict, Bytes, Engine, GroupId, Input, Limit, Mode, Moment, Policy, ProcessId, Protection,
    RefusalReason, Rung, Rungs, Span, Target,
};
use world::{MIB, World, enforcing};

fn leaker(id: u64) -> Target {
    Target::Group(GroupId(id))
}

#[test]
fn a_leak_is_ended_by_killing_the_culprit_alone_at_any_rate() {
    for rate_mebi in [1, 4, 16, 64, 256, 1024, 4096] {
        let mut world = World::new(16_384, 12_000);
        world.container(1, 500);
        world.container(2, 500).rate = rate_mebi * MIB;
        world.container(3, 4000);
        let mut engine = enforcing();
        let span = Span::secs(8_000 / rate_mebi + 30);
        world.run(&mut engine, span, |_| ());
        assert_eq!(
            world.kernel_kills, 0,
            "at {rate_mebi} MiB/s; longest gap {}",
            world.gap_max
        );
        assert_eq!(world.killed(), [leaker(2)], "at {rate_mebi} MiB/s");
    }
}

#[test]
fn the_kill_waits_for_the_last_moment() {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 500).rate = 64 * MIB;
    world.run(&mut enforcing(), Span::secs(300), |_| ());
    let (_, kill) = world
        .ordered
        .iter()
        .find(|(_, action)| action.rung == Rung::Kill)
        .expect("it leaked");
    let left = kill.evidence.reading.distance;
    assert!(left <= Bytes::mebi(12_000).permille(40), "{left} left");
    assert!(
        kill.grace > Span::millis(500),
        "a leak this slow leaves time for TERM, {}",
        kill.grace
    );
}

#[test]
fn a_heap_that_grows_to_its_plateau_is_left_alone() {
    for (rate_mebi, plateau_mebi) in [(2, 330), (20, 360), (80, 355), (160, 350)] {
        let mut world = World::new(512, 400);
        world.container(1, 20);
        world.container(2, 0).rate = rate_mebi * MIB;
        let mut engine = enforcing();
        world.run(&mut engine, Span::secs(400), |world| {
            let heap = world.of(2);
            if heap.anon >= plateau_mebi * MIB {
                heap.rate = 0;
            }
        });
        assert_eq!(
            (world.killed(), world.kernel_kills),
            (vec![], 0),
            "{rate_mebi} MiB/s to {plateau_mebi} MiB"
        );
    }
}

#[test]
fn page_cache_alone_kills_nobody() {
    let mut world = World::new(1280, 972);
    world.container(1, 101);
    world.container(2, 10);
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(120), |world| {
        let room = 972 * MIB - 111 * MIB;
        let reader = world.of(2);
        reader.file = (reader.file + 20 * MIB).min(room);
    });
    assert_eq!(world.killed(), vec![]);
}

/// Rule 1.
#[test]
fn nothing_is_killed_at_a_containers_own_limit() {
    let mut world = World::new(4096, 3000);
    world.container(1, 50);
    let own = world.container(2, 50);
    own.limit = Limit::Bytes(Bytes::mebi(200));
    own.rate = 10 * MIB;
    world.run(&mut enforcing(), Span::secs(60), |world| {
        let own = world.of(2);
        if own.anon >= 199 * MIB {
            own.rate = 0;
        }
    });
    assert_eq!(world.killed(), vec![]);
    assert!(
        world.verdicts.iter().any(|event| event.verdict.is_none()),
        "but it is announced"
    );
}

/// Rule 2.
#[test]
fn the_next_look_comes_within_a_quarter_of_the_fastest_credible_fill() {
    let mut world = World::new(1024, 600);
    world.container(1, 100);
    let fill_rate = forestall_decide::BytesPerSecond(400 * MIB);
    let policy = Policy {
        mode: Mode::Enforce,
        fill_rate,
        tick_idle: Span::secs(10),
        ..Policy::default()
    };
    let mut engine = Engine::new(policy);
    let sample = world.sample();
    let wake = engine.step(world.now, Input::Sample(&sample)).wake_in;
    // 500 MiB at 400 MiB/s is 1.25 s; a quarter of it is 312 ms.
    assert!(wake <= Span::millis(313), "{wake:?}");
}

/// Rule 5.
#[test]
fn whoever_is_protected_is_named_and_not_touched_and_nobody_pays_for_it() {
    for why in [
        Protection::Essential,
        Protection::NodeAgent,
        Protection::OomScoreAdj,
        Protection::StaticPod,
    ] {
        let mut world = World::new(512, 400);
        world.container(1, 100);
        let culprit = world.container(2, 50);
        culprit.rate = 10 * MIB;
        culprit.protection = Some(why);
        world.run(&mut enforcing(), Span::secs(60), |_| ());
        assert_eq!(world.killed(), vec![]);
        assert!(
            world
                .refused
                .iter()
                .any(|refusal| refusal.reason == RefusalReason::Protected(why)),
            "{why:?}"
        );
    }
}

/// Rule 6.
#[test]
fn where_nobody_explains_most_of_the_growth_nobody_is_killed() {
    let mut world = World::new(512, 400);
    world.container(1, 50).rate = 8 * MIB;
    world.container(2, 50).rate = 8 * MIB;
    world.run(&mut enforcing(), Span::secs(60), |_| ());
    assert_eq!(world.killed(), vec![]);
    assert!(
        world
            .refused
            .iter()
            .any(|refusal| refusal.reason == RefusalReason::NoCulprit)
    );
}

/// Rule 5. The lowest priority and the largest there would be has opted out, is critical, or comes straight back.
#[test]
fn whoever_may_not_be_touched_is_not_chosen_by_priority_either() {
    type Change = fn(&mut forestall_decide::Pod);
    let cases: [Change; 4] = [
        |pod| pod.standing.vetoed = true,
        |pod| pod.priority = forestall_decide::CRITICAL_PRIORITY,
        |pod| pod.owner = forestall_decide::Owner::DaemonSet,
        |pod| pod.owner = forestall_decide::Owner::Nobody,
    ];
    for (case, change) in cases.into_iter().enumerate() {
        for preset in [
            forestall_decide::Preset::Forestall,
            forestall_decide::Preset::WarStoryA,
        ] {
            // Three that grow alike: none of them explains half of it.
            let mut world = World::new(512, 400);
            for id in [1, 2, 4] {
                world.container(id, 40).rate = 6 * MIB;
                world.pod(id);
            }
            world.container(3, 20).qos = forestall_decide::Qos::BestEffort;
            world.pod(3);
            change(world.pods.list.last_mut().expect("pod 3"));
            let policy = Policy {
                mode: Mode::Enforce,
                victims: forestall_decide::Victims::Priority,
                rungs: Rungs::of(&[Rung::Kill]),
                preset,
                war_story_used_permille: 500,
                ..Policy::default()
            };
            world.run(&mut Engine::new(policy), Span::secs(20), |_| ());
            let killed = world.killed();
            assert!(
                !killed.is_empty(),
                "case {case}, {preset:?}: somebody else is left"
            );
            assert!(!killed.contains(&leaker(3)), "case {case}, {preset:?}");
        }
    }
}

#[test]
fn a_neighbour_that_has_stopped_growing_does_not_hide_the_culprit() {
    let mut world = World::new(1024, 600);
    world.container(1, 50).rate = 4 * MIB;
    world.container(2, 50);
    world.run(&mut enforcing(), Span::secs(200), |world| {
        // A burst of 100 MiB that ends when 60 MiB are left.
        let used: u64 = world.containers.iter().map(|container| container.anon).sum();
        let burst = world.of(2);
        burst.rate = if (400 * MIB..540 * MIB).contains(&used) && burst.anon < 150 * MIB {
            50 * MIB
        } else {
            0
        };
    });
    assert_eq!((world.killed(), world.kernel_kills), (vec![leaker(1)], 0));
}

#[test]
fn who_explains_next_to_nothing_of_what_the_wall_has_lost_is_not_the_culprit() {
    let mut world = World::new(1024, 600);
    world.container(1, 50).rate = 37 * MIB;
    world.container(2, 4);
    world.run(&mut enforcing(), Span::secs(30), |world| {
        // At the wall the one that leaks waits for memory, and one that was swapped out comes back a little.
        let used: u64 = world.containers.iter().map(|container| container.anon).sum();
        let waits = used >= 565 * MIB;
        world.stall_full_permille = if waits { 600 } else { 0 };
        world.of(1).rate = if waits { 0 } else { 37 * MIB };
        let back = world.of(2);
        back.rate = if waits && back.anon < 14 * MIB { 3 * MIB } else { 0 };
    });
    assert!(!world.killed().contains(&leaker(2)), "{:?}", world.killed());
}

#[test]
fn a_leak_on_the_host_costs_its_own_process_and_no_pod() {
    let mut world = World::new(512, 400);
    world.container(1, 100);
    world.host_rate = 10 * MIB;
    world.run(&mut enforcing(), Span::secs(120), |_| ());
    assert_eq!(
        world.killed(),
        [Target::Process(ProcessId {
            pid: 77,
            start_ticks: 5
        })]
    );
    assert_eq!(world.kernel_kills, 0);
}

#[test]
fn a_leak_on_the_host_that_no_process_explains_costs_nobody() {
    let mut world = World::new(512, 400);
    world.container(1, 100);
    world.host_rate = 10 * MIB;
    world.host_process = false;
    world.run(&mut enforcing(), Span::secs(120), |_| ());
    assert_eq!(world.killed(), vec![]);
    assert!(
        world
            .refused
            .iter()
            .any(|refusal| refusal.reason == RefusalReason::NothingToKill)
    );
}

/// Rule 7: the container's leaf, and memory that outlives every container is not killed for.
#[test]
fn memory_that_no_process_holds_any_more_is_not_killed_for() {
    let mut world = World::new(512, 400);
    world.container(1, 100);
    world.container(2, 10).rate = 10 * MIB;
    let mut engine = enforcing();
    let end = world.now + Span::secs(60);
    while world.now < end && world.kernel_kills == 0 {
        let mut sample = world.sample();
        for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(2)) {
            group.populated = false;
        }
        let decision = engine.step(world.now, Input::Sample(&sample));
        assert_eq!(decision.actions.len(), 0);
        world.refused.extend_from_slice(decision.refusals);
        let wake = decision.wake_in;
        world.of(2).anon += world.of(2).rate * wake.0 / 1_000_000;
        world.now = world.now + wake;
        if world.of(2).anon > 300 * MIB {
            break;
        }
    }
    assert!(
        world
            .refused
            .iter()
            .any(|refusal| refusal.reason == RefusalReason::NothingToKill)
    );
}

/// Rule 8.
#[test]
fn one_kill_at_a_time_and_none_while_its_effect_is_on_its_way() {
    let mut world = World::new(512, 400);
    world.container(1, 100);
    world.container(2, 10).rate = 30 * MIB;
    world.container(3, 50);
    world.kill_takes = Span::secs(5);
    world.run(&mut enforcing(), Span::secs(60), |world| {
        // What is killed stops growing at once but gives its memory back late.
        if world
            .ordered
            .iter()
            .any(|(_, action)| action.rung == Rung::Kill && (action.grace == Span(0) || action.escalate))
        {
            world.of(2).rate = 0;
        }
    });
    assert_eq!(world.killed(), [leaker(2)]);
}

#[test]
fn a_victim_that_ignores_term_is_finished_when_the_wall_comes_too_near() {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 5_000).rate = 64 * MIB;
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(200), |world| {
        let termed = world.ordered.iter().any(|(_, action)| action.rung == Rung::Kill);
        let finished = world.ordered.iter().any(|(_, action)| action.escalate);
        world.of(1).rate = if finished {
            0
        } else if termed {
            900 * MIB
        } else {
            64 * MIB
        };
    });
    assert!(world.ordered.iter().any(|(_, action)| action.escalate));
    assert_eq!(world.kernel_kills, 0);
}

#[test]
fn the_kernels_own_kill_is_not_followed_by_one_of_ours() {
    let mut world = World::new(512, 400);
    world.container(1, 100).rate = 20 * MIB;
    let mut engine = enforcing();
    let mut after = 0;
    for tick in 0..400_u64 {
        let mut sample = world.sample();
        // The kernel kills as soon as 5 % are left, before we would; memory stays taken for a while.
        let near = world.of(1).anon > 380 * MIB;
        sample.node.oom_kills = u64::from(near);
        let decision = engine.step(world.now, Input::Sample(&sample));
        if near {
            after += 1;
            assert_eq!(
                decision
                    .actions
                    .iter()
                    .filter(|action| action.rung == Rung::Kill)
                    .count(),
                0
            );
        }
        if after > 10 {
            return;
        }
        world.of(1).anon += 2 * MIB;
        world.now = Moment(1_000_000 + (tick + 1) * 100_000);
    }
    panic!("the wall was never near");
}

#[test]
fn shadow_announces_a_kill_once() {
    let mut world = World::new(512, 400);
    world.container(1, 100).rate = 10 * MIB;
    let mut engine = Engine::new(Policy::default());
    world.run(&mut engine, Span::secs(120), |_| ());
    assert_eq!(world.killed(), [leaker(1)]);
    assert_eq!(world.kernel_kills, 1, "and changes nothing");
}

/// Rule 14.
#[test]
fn an_alarm_that_was_acted_upon_is_never_counted_as_right() {
    let mut world = World::new(512, 400);
    world.container(1, 100).rate = 10 * MIB;
    world.run(&mut enforcing(), Span::secs(120), |_| ());
    let verdicts: Vec<_> = world.verdicts.iter().filter_map(|event| event.verdict).collect();
    assert!(verdicts.contains(&AlarmVerdict::Intervened), "{verdicts:?}");
    assert!(!verdicts.contains(&AlarmVerdict::True), "{verdicts:?}");
}

#[test]
fn equal_inputs_give_equal_decisions() {
    let run = || {
        let mut world = World::new(512, 400);
        world.container(1, 100).rate = 10 * MIB;
        world.container(2, 10).rate = MIB;
        world.run(&mut enforcing(), Span::secs(60), |_| ());
        format!("{:?}{:?}", world.ordered, world.refused)
    };
    assert_eq!(run(), run());
}

#[test]
fn the_gist_asks_for_sysrq_below_its_minimum_and_war_story_a_for_the_lowest_priority() {
    let mut world = World::new(1024, 900);
    world.container(1, 700);
    let policy = Policy {
        mode: Mode::Enforce,
        preset: forestall_decide::Preset::Gist,
        rungs: Rungs::of(&[Rung::Sysrq]),
        tick_calm: Span::secs(60),
        ..Policy::default()
    };
    let mut engine = Engine::new(policy);
    world.run(&mut engine, Span::secs(61), |_| ());
    let orders: Vec<_> = world.ordered.iter().map(|(_, action)| action.rung).collect();
    assert_eq!(
        orders,
        [Rung::Sysrq, Rung::Sysrq],
        "one at the start, one a minute later"
    );
    // Whatever wakes the guard early is no look of the preset's own.
    let sample = world.sample();
    engine.step(world.now, Input::Sample(&sample));
    for early in [1, 1000, 50_000] {
        let decision = engine.step(world.now + Span::millis(early), Input::Sample(&sample));
        assert_eq!(decision.actions.len(), 0, "{early} ms after the last look");
    }

    let mut world = World::new(1024, 900);
    world.container(1, 300);
    world.container(2, 300).qos = forestall_decide::Qos::BestEffort;
    world.container(3, 330).qos = forestall_decide::Qos::Guaranteed;
    let policy = Policy {
        preset: forestall_decide::Preset::WarStoryA,
        rungs: Rungs::of(&[Rung::Kill]),
        tick_calm: Span::secs(2),
        ..policy
    };
    world.run(&mut Engine::new(policy), Span::secs(3), |_| ());
    assert_eq!(world.killed(), [leaker(2)]);
}
