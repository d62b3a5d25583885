//! What once went wrong, in the lab or before a reviewer, each kept as a test on the same small node.

mod world;

use forestall_decide::{
    Action, Bytes, Engine, GroupId, Input, Limit, Mode, Moment, Outcome, OutcomeKind, Policy, ProcessId,
    ProcessSample, RefusalReason, Rung, Rungs, Span, Target,
};
use world::{MIB, World, enforcing};

fn leaker(id: u64) -> Target {
    Target::Group(GroupId(id))
}

#[test]
fn whoever_grows_next_is_not_killed_for_a_directory_that_outlived_its_writer() {
    let mut world = World::new(1024, 760);
    world.container(1, 110);
    world.container(2, 1).rate = 60 * MIB;
    world.container(3, 20);
    let mut engine = enforcing();
    let end = world.now + Span::secs(120);
    while world.now < end {
        let mut sample = world.sample();
        // The writer has ended, and what it wrote stays charged to its empty container.
        let filled = world.of(2).anon >= 540 * MIB;
        for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(2)) {
            group.populated = !filled;
        }
        let decision = engine.step(world.now, Input::Sample(&sample));
        let killed: Vec<_> = decision.actions.iter().map(|action| action.target).collect();
        assert_eq!(killed, vec![]);
        world.refused.extend_from_slice(decision.refusals);
        let wake = decision.wake_in;
        if filled {
            (world.of(2).rate, world.of(3).rate) = (0, 3 * MIB);
        }
        for id in [2, 3] {
            world.of(id).anon += world.of(id).rate * wake.0 / 1_000_000;
        }
        world.now = world.now + wake;
        if world.of(3).anon > 105 * MIB {
            break;
        }
    }
    let named = world.refused.iter().any(|refusal| {
        refusal.reason == RefusalReason::NothingToKill
            && refusal
                .evidence
                .reading
                .culprit
                .is_some_and(|culprit| culprit.target == leaker(2))
    });
    assert!(named, "{:?}", world.refused.last());
}

#[test]
fn kills_at_a_containers_own_limit_do_not_hold_up_the_guard() {
    let mut world = World::new(1024, 800);
    world.container(1, 100).rate = 20 * MIB;
    world.container(2, 95).limit = Limit::Bytes(Bytes::mebi(100));
    let mut engine = enforcing();
    let mut kills = 0;
    let end = world.now + Span::secs(60);
    while world.now < end && world.ordered.is_empty() {
        // The kernel ends a worker of container 2 every second and a half, at that container's own limit.
        kills = (world.now.0 - 1_000_000) / 1_500_000;
        let mut sample = world.sample();
        sample.node.oom_kills = kills;
        for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(2)) {
            group.oom_kills = kills;
        }
        let decision = engine.step(world.now, Input::Sample(&sample));
        world
            .ordered
            .extend(decision.actions.iter().map(|action| (world.now, *action)));
        let wake = decision.wake_in;
        world.of(1).anon += world.of(1).rate * wake.0 / 1_000_000;
        world.now = world.now + wake;
        let held: u64 = world.containers.iter().map(|container| container.anon).sum();
        assert!(held < 800 * MIB, "kubepods is full after {kills} kills");
    }
    assert!(kills > 5);
    assert_eq!(world.killed(), [leaker(1)]);
}

#[test]
fn a_directory_filled_long_ago_does_not_shield_a_leak() {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 6_000);
    world.container(2, 100);
    let mut engine = enforcing();
    let start = world.now;
    while world.ordered.is_empty() && world.now < start + Span::secs(300) {
        let filled = world.now.since(start) > Span::secs(20);
        world.of(1).anon = if filled {
            6_000 * MIB
        } else {
            world.now.since(start).0 * 300
        };
        world.of(2).rate = if world.now.since(start) > Span::secs(60) {
            64 * MIB
        } else {
            0
        };
        let mut sample = world.sample();
        for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(1)) {
            group.populated = !filled;
        }
        let decision = engine.step(world.now, Input::Sample(&sample));
        world
            .ordered
            .extend(decision.actions.iter().map(|action| (world.now, *action)));
        let wake = decision.wake_in;
        world.of(2).anon += world.of(2).rate * wake.0 / 1_000_000;
        world.now = world.now + wake;
        assert!(world.of(2).anon < 5_990 * MIB, "kubepods is full");
    }
    assert_eq!(world.killed(), [leaker(2)]);
}

#[test]
fn going_to_enforce_does_not_wait_for_what_was_announced_in_shadow() {
    let mut world = World::new(512, 400);
    world.container(1, 100).rate = 4 * MIB;
    let mut engine = Engine::new(Policy::default());
    world.run(&mut engine, Span::secs(400), |world| {
        if !world.ordered.is_empty() {
            world.of(1).rate = 0;
        }
        if world.ordered.len() == 1 && world.now > world.ordered[0].0 + Span::secs(5) {
            world.of(1).rate = 4 * MIB;
        }
        // It stops here as soon as the shadow has spoken and some time has passed.
        if world.of(1).rate > 0 && !world.ordered.is_empty() {
            world.kernel_kills = 1;
        }
    });
    assert_eq!(world.killed(), [leaker(1)]);
    world.kernel_kills = 0;
    world.ordered.clear();
    let enforce = Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    };
    engine.step(world.now, Input::Policy(&enforce));
    world.run(&mut engine, Span::secs(30), |_| ());
    assert_eq!((world.killed(), world.kernel_kills), (vec![leaker(1)], 0));
}

#[test]
fn whoever_is_ending_is_not_ended_again_when_the_mode_changes_to_and_fro() {
    let mut world = World::new(512, 400);
    world.container(1, 100).rate = 4 * MIB;
    // Its memory takes that long to come back.
    world.kill_takes = Span::secs(1);
    let mut engine = enforcing();
    while world.ordered.is_empty() {
        world.run(&mut engine, Span::millis(1), |_| ());
    }
    assert_eq!(world.killed(), [leaker(1)]);
    let enforce = engine.policy().to_owned();
    for mode in [Mode::Shadow, Mode::Enforce] {
        engine.step(world.now, Input::Policy(&Policy { mode, ..enforce }));
    }
    world.run(&mut engine, Span::secs(3), |_| ());
    let again: Vec<_> = world.ordered.iter().skip(1).map(|(_, action)| *action).collect();
    assert!(again.iter().all(|action| action.escalate), "{again:?}");
    assert_eq!(world.kernel_kills, 0);
}

/// A leaker that was sent TERM, with its order, and beside it somebody who does not grow. The leaker ignores TERM; the act threads
/// let go of it as soon as the mode changes, so that nothing ends it here.
fn termed() -> (World, Engine, Moment, Action) {
    let mut world = World::new(512, 400);
    world.container(1, 100).rate = 4 * MIB;
    world.container(2, 220);
    let mut engine = enforcing();
    while world.ordered.is_empty() {
        world.run(&mut engine, Span::millis(1), |_| ());
    }
    world.of(1).killed_at = None;
    let (at, order) = world.ordered.remove(0);
    assert!(
        order.target == leaker(1) && order.grace > Span::secs(1),
        "{order:?}"
    );
    (world, engine, at, order)
}

fn answer(engine: &mut Engine, now: Moment, order: &Action, kind: OutcomeKind) {
    let outcome = Outcome {
        action: order.id,
        rung: order.rung,
        kind,
        freed: Bytes::ZERO,
        took: Span(0),
        rest: Span(0),
    };
    engine.step(now, Input::Outcome(&outcome));
}

fn change_mode(engine: &mut Engine, now: Moment, mode: Mode) {
    let policy = Policy {
        mode,
        ..*engine.policy()
    };
    engine.step(now, Input::Policy(&policy));
}

/// What the act threads answer when the mode leaves enforce: `ECANCELED`, asm-generic/errno.h.
const CALLED_OFF: OutcomeKind = OutcomeKind::Failed(125);

/// When that is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    BeforeTheLook,
    AfterTheLook,
    BackInEnforce,
}

#[test]
fn a_kill_that_a_change_of_the_mode_called_off_is_taken_up_again_without_a_second_term() {
    for (told, times, had_term) in [
        (Told::BeforeTheLook, 1, true),
        (Told::AfterTheLook, 1, true),
        (Told::BackInEnforce, 1, true),
        (Told::AfterTheLook, 5, true),
        (Told::BackInEnforce, 5, true),
        // Called off before anything was sent: it is ordered again as if nothing had been.
        (Told::BeforeTheLook, 1, false),
        (Told::BackInEnforce, 1, false),
    ] {
        let case = format!("{told:?}, {times} times, TERM {had_term}");
        let (mut world, mut engine, ordered_at, first) = termed();
        if had_term {
            answer(&mut engine, world.now, &first, OutcomeKind::Progress);
        }
        for time in 0..times {
            let tell = |engine: &mut Engine, world: &World, at| {
                if time == 0 && told == at {
                    answer(engine, world.now, &first, CALLED_OFF);
                }
            };
            change_mode(&mut engine, world.now, Mode::Shadow);
            tell(&mut engine, &world, Told::BeforeTheLook);
            if told != Told::BackInEnforce {
                world.run(&mut engine, Span::millis(150), |_| ());
            }
            tell(&mut engine, &world, Told::AfterTheLook);
            // What was announced is no order.
            world.ordered.clear();
            change_mode(&mut engine, world.now, Mode::Enforce);
            tell(&mut engine, &world, Told::BackInEnforce);
            if time + 1 < times {
                world.run(&mut engine, Span::millis(150), |_| ());
            }
        }
        world.run(&mut engine, Span::secs(30), |_| ());
        assert_eq!(
            (world.kernel_kills, world.killed()),
            (0, vec![leaker(1)]),
            "{case}"
        );
        let (at, again) = world.ordered[0];
        assert_eq!(again.grace == Span(0), had_term, "{case}");
        if had_term {
            // The time that its TERM was given is over, and KILL is not long in coming.
            let promised = ordered_at + first.grace;
            assert!(at > promised, "{case}");
            assert!(at.since(promised) <= Span::millis(200), "{case}");
        }
    }
}

#[test]
fn a_kill_that_was_called_off_is_finished_at_once_where_the_wall_comes_too_near() {
    let (mut world, mut engine, ordered_at, first) = termed();
    answer(&mut engine, world.now, &first, OutcomeKind::Progress);
    change_mode(&mut engine, world.now, Mode::Shadow);
    answer(&mut engine, world.now, &first, CALLED_OFF);
    world.run(&mut engine, Span::millis(150), |_| ());
    world.ordered.clear();
    change_mode(&mut engine, world.now, Mode::Enforce);
    world.of(1).rate = 40 * MIB;
    world.run(&mut engine, Span::secs(5), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![leaker(1)]));
    let (at, again) = world.ordered[0];
    assert!(again.grace == Span(0) && at < ordered_at + first.grace);
}

#[test]
fn whoever_was_sent_term_long_ago_is_sent_it_again() {
    let (mut world, mut engine, _, first) = termed();
    answer(&mut engine, world.now, &first, OutcomeKind::Progress);
    change_mode(&mut engine, world.now, Mode::Shadow);
    answer(&mut engine, world.now, &first, CALLED_OFF);
    // It stands still for a while, and the operator comes back to it a minute later.
    world.of(1).rate = 0;
    world.run(&mut engine, Span::secs(60), |_| ());
    world.ordered.clear();
    change_mode(&mut engine, world.now, Mode::Enforce);
    world.of(1).rate = 2 * MIB;
    world.run(&mut engine, Span::secs(30), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![leaker(1)]));
    assert!(world.ordered[0].1.grace > Span(0));
}

#[test]
fn a_clock_that_jumps_back_does_not_hold_up_the_guard() {
    let mut world = World::new(512, 400);
    world.container(1, 100);
    let mut engine = enforcing();
    world.now = Moment(10_000_000_000);
    let mut sample = world.sample();
    engine.step(world.now, Input::Sample(&sample));
    sample.node.oom_kills = 1;
    engine.step(world.now + Span::secs(1), Input::Sample(&sample));
    world.now = Moment(1_000_000);
    world.of(1).rate = 10 * MIB;
    world.run(&mut engine, Span::secs(60), |_| ());
    assert_eq!((world.killed(), world.kernel_kills), (vec![leaker(1)], 0));
}

#[test]
fn a_daemon_that_spreads_its_growth_over_its_workers_is_ended_worker_by_worker() {
    const WORKERS: u64 = 5;
    let mut world = World::new(1024, 760);
    world.container(1, 200);
    world.host_rate = 60 * MIB;
    let mut engine = enforcing();
    let end = world.now + Span::secs(60);
    while world.now < end && world.ordered.is_empty() {
        let mut sample = world.sample();
        let whole = sample.processes.pop().expect("the host's process");
        sample.processes.extend((0..WORKERS).map(|worker| ProcessSample {
            id: ProcessId {
                pid: 100 + u32::try_from(worker).expect("few"),
                start_ticks: 5,
            },
            unreclaimable: Bytes(whole.unreclaimable.0 / WORKERS),
            ..whole
        }));
        let decision = engine.step(world.now, Input::Sample(&sample));
        world
            .ordered
            .extend(decision.actions.iter().map(|action| (world.now, *action)));
        let wake = decision.wake_in;
        world.host_anon += world.host_rate * wake.0 / 1_000_000;
        world.now = world.now + wake;
        assert!(world.host_anon < 800 * MIB, "the machine is full");
    }
    let target = world.ordered.first().map(|(_, action)| action.target);
    assert!(matches!(target, Some(Target::Process(_))), "{target:?}");
}

#[test]
fn a_heap_that_went_to_swap_is_spared_once_nobody_waits_any_more() {
    let mut world = World::new(1024, 760);
    world.kubepods_limit = Limit::Max;
    world.container(1, 870).rate = 8 * MIB;
    let mut engine = enforcing();
    let start = world.now;
    while world.now < start + Span::secs(30) {
        let passed = world.now.since(start);
        // It stalls for half of eight seconds with more than 5 % left, and stops growing a second and a half later with less.
        world.stall_full_permille = if passed < Span::secs(8) { 500 } else { 0 };
        world.of(1).rate = if passed < Span::millis(9500) { 8 * MIB } else { 0 };
        let mut sample = world.sample();
        (sample.node.swap_total, sample.node.swap_free) = (Bytes::mebi(1024), Bytes::mebi(900));
        let decision = engine.step(world.now, Input::Sample(&sample));
        let rules: Vec<_> = decision
            .actions
            .iter()
            .map(|action| action.evidence.rule)
            .collect();
        assert_eq!(rules, Vec::<&str>::new(), "after {passed:?}");
        let wake = decision.wake_in;
        world.grow(wake);
    }
    let left = world.sample().node.available;
    assert!(left < Bytes::mebi(1024).permille(50), "{left}");
}

#[test]
fn a_pod_that_is_first_seen_with_its_memory_does_not_shield_a_leak() {
    let mut world = World::new(1024, 760);
    world.container(1, 110).rate = 4 * MIB;
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(10), |_| ());
    // Its container comes with it, and has filled 400 MiB since the look before.
    world.container(2, 400);
    world.run(&mut engine, Span::secs(60), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![leaker(1)]));
}

#[test]
fn where_nobody_explains_it_the_lowest_priority_that_frees_enough_goes_if_the_policy_says_so() {
    for is_known in [true, false] {
        // Four that grow alike. What pod 5 holds would end in vain.
        let mut world = World::new(4096, 2000);
        for (id, mebi, rate, priority) in [
            (1, 600, 6, 0),
            (2, 600, 6, 0),
            (3, 600, 6, 0),
            (4, 20, 6, -5),
            (5, 1, 0, -9),
        ] {
            world.container(id, mebi).rate = rate * MIB;
            if is_known {
                world.pod(id).priority = priority;
            }
        }
        let policy = Policy {
            mode: Mode::Enforce,
            victims: forestall_decide::Victims::Priority,
            ..Policy::default()
        };
        world.run(&mut Engine::new(policy), Span::secs(20), |_| ());
        let first = is_known.then_some(leaker(4));
        assert_eq!(
            world.killed().first().copied(),
            first,
            "rule 6 where pods are unknown"
        );
    }
}

#[test]
fn memory_that_a_pod_comes_with_is_not_taken_for_growth_above_it() {
    let mut world = World::new(1024, 760);
    world.kubepods_limit = Limit::Max;
    world.container(1, 700).rate = 3 * MIB;
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(15), |_| ());
    // 745 MiB by now, 20 of the host's and 10 that the kernel keeps: a second and a half are left.
    world.container(2, 245);
    world.run(&mut engine, Span::secs(20), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![leaker(1)]));
}

#[test]
fn in_shadow_too_one_ending_is_announced_at_a_time() {
    // Twelve that grow alike, so that nobody explains it and anybody may be evicted.
    let mut world = World::new(16_384, 12_000);
    for id in 31..=42 {
        world.container(id, 800).rate = 4 * MIB;
        world.pod(id).grace = Span::secs(1);
    }
    let policy = Policy {
        rungs: Rungs::of(&[Rung::Evict, Rung::Kill]),
        ..Policy::default()
    };
    world.run(&mut Engine::new(policy), Span::secs(600), |_| ());
    assert_eq!(world.kernel_kills, 1, "nothing was done");
    let ends: Vec<_> = world
        .ordered
        .iter()
        .filter(|(_, it)| it.rung.ends_somebody())
        .collect();
    for (first, next) in ends.iter().zip(ends.iter().skip(1)) {
        let (waits, took) = (first.1.deadline, next.0.since(first.0));
        assert!(
            took > waits || next.1.evidence.rule == "one-look",
            "{took} {:?}",
            next.1
        );
    }
    assert!(!ends.is_empty());
}

#[test]
fn a_pod_that_comes_with_its_memory_near_the_wall_costs_nobody_who_creeps_beside_it() {
    let mut world = World::new(1024, 760);
    world.kubepods_limit = Limit::Max;
    world.container(1, 765).rate = 2 * MIB;
    world.pod(1);
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(15), |_| ());
    // At the speed of this one look the wall is reached at the next.
    world.container(2, 90);
    world.pod(2);
    world.run(&mut engine, Span::secs(3), |_| ());
    assert_eq!((world.kernel_kills, world.killed()), (0, vec![]));
}
