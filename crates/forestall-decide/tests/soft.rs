//! A soft threshold of the kubelet's that is met already when we begin to look: how much of its grace period is used up nobody
//! knows. Expected values follow from the world by hand.

mod world;

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, Threshold};
use forestall_decide::{
    AlarmEvent, AlarmVerdict, Bytes, Engine, GroupId, Input, Mode, Outcome, OutcomeKind, PassedOver, Policy,
    Rung, Rungs, Runway, Span, Target, WallKind, WallReading, WhyNot,
};
use world::{MIB, World};

/// Below 5,500 MiB for so long, or below 100.
fn told(grace: Span) -> KubeletConfig {
    let threshold = |mebi, grace| Threshold {
        signal: Signal::MemoryAvailable,
        value: Bytes::mebi(mebi),
        grace,
        min_reclaim: Bytes::ZERO,
    };
    KubeletConfig {
        source: ConfigSource::Configz,
        thresholds: vec![threshold(5500, grace), threshold(100, Span(0))],
        pod_grace_max: Span::secs(60),
        ..KubeletConfig::default()
    }
}

fn engine(mode: Mode, rungs: &[Rung]) -> Engine {
    Engine::new(Policy {
        mode,
        rungs: Rungs::of(rungs),
        ..Policy::default()
    })
}

/// 8,192 MiB, 3,120 of them used: 5,072 are available.
fn node() -> World {
    let mut world = World::new(8192, 8000);
    world.kubelet = true;
    world.container(1, 3000);
    world.container(2, 100);
    world.pod(1);
    world.pod(2);
    world
}

fn tell(engine: &mut Engine, world: &World, config: &KubeletConfig) {
    engine.step(world.now, Input::KubeletConfig(config));
}

/// One look. What it says of the machine's wall by the kubelet's rules, and when the next one is due.
fn look(engine: &mut Engine, world: &mut World) -> (WallReading, Span) {
    let sample = world.sample();
    let decision = engine.step(world.now, Input::Sample(&sample));
    world.verdicts.extend_from_slice(decision.alarms);
    let of_kubelet = |reading: &&WallReading| reading.wall == WallKind::KubeletNode;
    let reading = decision.readings.iter().find(of_kubelet).copied();
    let wake = decision.wake_in;
    world.grow(wake);
    (reading.expect("a wall"), wake)
}

fn bounds(reading: &WallReading) -> [u64; 3] {
    let Runway { p10, p50, p90 } = reading.runway;
    [p10, p50, p90].map(|bound| bound.0 / 1_000_000)
}

fn raised(world: &World) -> Vec<AlarmEvent> {
    let all = world.verdicts.iter().filter(|event| event.verdict.is_none());
    all.copied().collect()
}

#[test]
fn an_eviction_that_nobody_could_see_coming_has_its_alarm() {
    let (mut engine, mut world) = (engine(Mode::Shadow, &[]), node());
    tell(&mut engine, &world, &told(Span::secs(300)));
    let (first, _) = look(&mut engine, &mut world);
    assert_eq!((bounds(&first), first.alarmed), ([0, 150, 300], true));
    // The whole of it, and two looks of the kubelet's.
    let [alarm] = raised(&world)[..] else {
        panic!("{:?}", world.verdicts)
    };
    assert_eq!(alarm.horizon, Span::secs(320));
    world.run(&mut engine, Span::secs(100), |_| ());
    world.pods.kubelet_evictions = 1;
    world.tell_once(&mut engine);
    look(&mut engine, &mut world);
    let said: Vec<_> = world.verdicts.iter().filter_map(|event| event.verdict).collect();
    assert_eq!(said, [AlarmVerdict::True]);
}

#[test]
fn so_has_one_after_its_configuration_came_late_or_is_another_one_now() {
    let (mut engine, mut world) = (engine(Mode::Shadow, &[]), node());
    // Until then it may have its hard threshold at 100 MiB.
    let (assumed, _) = look(&mut engine, &mut world);
    assert!(!assumed.alarmed);
    world.run(&mut engine, Span::secs(30), |_| ());
    tell(&mut engine, &world, &told(Span::secs(300)));
    let (late, _) = look(&mut engine, &mut world);
    assert_eq!((bounds(&late), late.alarmed), ([0, 150, 300], true));
    world.run(&mut engine, Span::secs(99), |_| ());
    let (later, _) = look(&mut engine, &mut world);
    assert_eq!(bounds(&later), [0, 100, 200]);
    tell(&mut engine, &world, &told(Span::secs(600)));
    let (other, _) = look(&mut engine, &mut world);
    assert_eq!(bounds(&other), [0, 300, 600]);
}

#[test]
fn who_saw_it_begin_knows_when_it_ends_and_says_nothing_for_hours() {
    let (mut engine, mut world) = (engine(Mode::Shadow, &[]), node());
    tell(&mut engine, &world, &told(Span::secs(7200)));
    world.of(1).anon = 2000 * MIB;
    look(&mut engine, &mut world);
    world.of(1).anon = 3000 * MIB;
    look(&mut engine, &mut world);
    world.run(&mut engine, Span::secs(29), |_| ());
    let (seen, _) = look(&mut engine, &mut world);
    assert_eq!((bounds(&seen), seen.alarmed), ([7170; 3], false));
    assert_eq!(raised(&world), []);
}

#[test]
fn an_alarm_for_a_grace_period_ends_with_what_it_rests_on_and_costs_no_looks() {
    let (mut engine, mut world) = (engine(Mode::Shadow, &[]), node());
    tell(&mut engine, &world, &told(Span::secs(7200)));
    // Something always grows a little.
    world.of(2).rate = MIB / 10;
    for _ in 0..30 {
        let (reading, wake) = look(&mut engine, &mut world);
        assert!(reading.alarmed);
        assert_eq!(wake, engine.policy().tick_calm);
    }
    world.of(1).anon = 2000 * MIB;
    // News of an eviction are up to a minute old. Two looks come after that.
    world.run(&mut engine, Span::secs(60), |_| ());
    assert!(world.verdicts.iter().all(|event| event.verdict.is_none()));
    world.run(&mut engine, Span::secs(3), |_| ());
    let said: Vec<_> = world.verdicts.iter().filter_map(|event| event.verdict).collect();
    assert_eq!(said, [AlarmVerdict::False]);
    let (after, _) = look(&mut engine, &mut world);
    assert!(!after.alarmed);
}

#[test]
fn page_cache_is_taken_at_once_and_until_the_kubelet_has_seen_it() {
    let (mut engine, mut world) = (engine(Mode::Enforce, &[Rung::Reclaim]), node());
    tell(&mut engine, &world, &told(Span::secs(300)));
    // 4,172 MiB are available.
    world.of(2).file = 900 * MIB;
    let orders = |engine: &mut Engine, world: &mut World, span, file: u64| {
        world.of(2).file = file * MIB;
        world.ordered.clear();
        world.run(engine, span, |_| ());
        // Each is done at once, and what it took is read again.
        let orders = core::mem::take(&mut world.ordered);
        for (_, action) in &orders {
            let outcome = Outcome {
                action: action.id,
                rung: action.rung,
                kind: OutcomeKind::Done,
                freed: action.bytes,
                took: Span(0),
                rest: Span(0),
            };
            engine.step(world.now, Input::Outcome(&outcome));
        }
        orders.len()
    };
    let look = Span(1);
    world.of(1).anon = 2500 * MIB;
    assert_eq!(orders(&mut engine, &mut world, look, 900), 1);
    // For five seconds it is not met: the kubelet may not have looked, so that it is taken at once again.
    assert_eq!(orders(&mut engine, &mut world, Span::secs(5), 0), 0);
    assert_eq!(orders(&mut engine, &mut world, look, 900), 1);
    // After a whole round it has, and all of its grace period is to come.
    assert_eq!(orders(&mut engine, &mut world, Span::secs(13), 0), 0);
    assert_eq!(orders(&mut engine, &mut world, Span::secs(270), 900), 0);
    assert!(orders(&mut engine, &mut world, Span::secs(10), 900) > 0);
}

#[test]
fn nobody_is_evicted_by_us_whose_own_time_may_not_fit() {
    // 40 MiB/s, a minute and more before the kernel's wall is near.
    let leaking = |anon_mebi| {
        let (mut engine, mut world) = (engine(Mode::Enforce, &[Rung::Evict]), node());
        tell(&mut engine, &world, &told(Span::secs(90)));
        world.of(1).anon = anon_mebi * MIB;
        world.of(2).rate = 40 * MIB;
        world.run(&mut engine, Span::secs(40), |_| ());
        world
    };
    let pod = Target::Group(GroupId(1002));
    // Met two seconds later it is known when the 30 s of the pod's fit into what is left.
    assert_eq!(leaking(2500).targets_of(Rung::Evict), [pod]);
    let unseen = leaking(3000);
    assert_eq!(unseen.targets_of(Rung::Evict), []);
    let too_long = |it: &PassedOver| it.target == pod && it.why == WhyNot::GraceTooLong;
    assert!(unseen.passed_over.iter().any(too_long));
}
