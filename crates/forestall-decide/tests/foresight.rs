//! The shadow kubelet as the engine runs it: whether, when and on whom the kubelet acts, at every step, by hand arithmetic.

mod world;

use forestall_decide::kubelet::{
    Bounds, Crossing, KubeletConfig, KubeletForecast, KubeletState, Signal, Threshold, Unmended,
};
use forestall_decide::{Bytes, Engine, GroupId, Input, Mode, Moment, Policy, Rungs, Sample, Span, WallKind};
use world::{MIB, World};

fn hard(signal: Signal, mebi: u64) -> Threshold {
    Threshold {
        signal,
        value: Bytes::mebi(mebi),
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    }
}

fn told(thresholds: Vec<Threshold>) -> KubeletConfig {
    KubeletConfig {
        source: forestall_decide::kubelet::ConfigSource::Configz,
        thresholds,
        ..KubeletConfig::default()
    }
}

/// One that does nothing itself, and whose kubelet was told this.
fn watching(config: &KubeletConfig) -> Engine {
    let mut engine = Engine::new(Policy {
        mode: Mode::Shadow,
        rungs: Rungs::NONE,
        ..Policy::default()
    });
    engine.step(Moment(1), Input::KubeletConfig(config));
    engine
}

/// 8,192 MiB with 20 of them the host's, `kubepods` with 6,000: a pod of 3,000 MiB and one of 100, of which all is known.
fn node() -> World {
    let mut world = World::new(8192, 6000);
    world.kubelet = true;
    world.container(1, 3000);
    world.container(2, 100);
    world.pod(1);
    world.pod(2);
    world
}

fn forecast_of(engine: &mut Engine, world: &World, sample: &Sample) -> KubeletForecast {
    let decision = engine.step(world.now, Input::Sample(sample));
    decision.kubelet.cloned().expect("it was told")
}

/// Looks once a second for so long, and says what it sees last.
fn watch(engine: &mut Engine, world: &mut World, secs: u64) -> KubeletForecast {
    for _ in 1..secs {
        world.tell_in_time(engine);
        forecast_of(engine, world, &world.sample());
        world.grow(Span::secs(1));
    }
    world.tell_in_time(engine);
    let last = forecast_of(engine, world, &world.sample());
    world.grow(Span::secs(1));
    last
}

fn crossing(forecast: &KubeletForecast) -> Crossing {
    forecast.crossing.expect("it is in sight")
}

fn secs(bounds: Bounds) -> [u64; 3] {
    [bounds.earliest, bounds.middle, bounds.latest].map(|span| span.0 / 1_000_000)
}

fn victims(forecast: &KubeletForecast) -> Vec<u128> {
    forecast.victims.iter().map(|victim| victim.uid.0).collect()
}

#[test]
fn the_decision_says_when_the_kubelet_evicts_whom_and_that_this_ends_it() {
    let config = told(vec![
        hard(Signal::MemoryAvailable, 500),
        hard(Signal::AllocatableMemoryAvailable, 500),
    ]);
    let (mut engine, mut world) = (watching(&config), node());
    world.of(1).rate = 10 * MIB;
    let seen = watch(&mut engine, &mut world, 61);
    // 3,600 and 100 MiB after a minute: 1,800 to the threshold of kubepods at 10 a second; the machine's is 3,972 away.
    let first = crossing(&seen);
    assert_eq!(first.threshold.signal, Signal::AllocatableMemoryAvailable);
    assert_eq!(first.distance, Bytes::mebi(6000 - 3700 - 500));
    assert_eq!(secs(first.crosses), [180, 180, 180]);
    // Its look comes within ten seconds, and up to one late.
    assert_eq!(secs(first.acts), [180, 185, 191]);
    assert_eq!((seen.state, seen.pressure), (KubeletState::Running, false));
    assert_eq!(victims(&seen), [1]);
    assert_eq!(seen.unmended, []);

    // Ninety seconds on it is 900 MiB away, and the pod that grows holds 4,500: it is known who grows, and it goes.
    let later = watch(&mut engine, &mut world, 90);
    assert_eq!(crossing(&later).distance, Bytes::mebi(900));
    assert_eq!(secs(crossing(&later).acts), [90, 95, 101]);
    assert_eq!((victims(&later), &later.unmended[..]), (vec![1], &[][..]));
    // Figures of the last ranking, which is at most ten seconds old.
    assert!((Bytes::mebi(4400)..=Bytes::mebi(4500)).contains(&later.frees_min));
}

#[test]
fn the_wall_and_the_forecast_count_alike() {
    let config = told(vec![
        hard(Signal::MemoryAvailable, 700),
        hard(Signal::AllocatableMemoryAvailable, 600),
    ]);
    let (mut engine, mut world) = (watching(&config), node());
    world.of(2).rate = 30 * MIB;
    watch(&mut engine, &mut world, 30);
    let sample = world.sample();
    let decision = engine.step(world.now, Input::Sample(&sample));
    let first = decision.kubelet.and_then(|seen| seen.crossing).expect("in sight");
    let of_kubepods = |reading: &&forestall_decide::WallReading| reading.wall == WallKind::KubeletAllocatable;
    let wall = decision.readings.iter().find(of_kubepods).expect("a wall");
    assert_eq!(first.distance, wall.distance);
    assert_eq!((first.crosses.earliest, first.crosses.middle), {
        // At the threshold itself nothing is met yet: a byte more.
        let past = wall.distance + Bytes(1);
        (
            Span::to_cover(past, wall.growth_fast),
            Span::to_cover(past, wall.growth),
        )
    });
}

#[test]
fn without_a_configuration_or_a_sample_there_is_no_forecast() {
    let mut world = node();
    let mut engine = Engine::new(Policy::default());
    let sample = world.sample();
    assert_eq!(engine.step(world.now, Input::Sample(&sample)).kubelet, None);
    let config = told(vec![hard(Signal::MemoryAvailable, 500)]);
    world.now = world.now + Span::secs(1);
    let config = Input::KubeletConfig(&config);
    assert_eq!(engine.step(world.now, config).kubelet, None);
    assert!(engine.step(world.now, Input::Sample(&sample)).kubelet.is_some());
    assert_eq!(engine.step(world.now, Input::Pods(&world.pods)).kubelet, None);
    // A second sample of the same moment is not believed, and nothing is forecast from it.
    assert_eq!(engine.step(world.now, Input::Sample(&sample)).kubelet, None);
}

#[test]
fn a_kubelet_that_falls_silent_is_starved_and_then_gone() {
    let (mut engine, world) = (watching(&told(vec![hard(Signal::MemoryAvailable, 6000)])), node());
    let mut at = |secs_later: u64, present: bool| {
        let mut sample = world.sample();
        sample.node.kubelet_present = present;
        sample.node.kubelet_heard_at = world.now;
        let now = world.now + Span::secs(secs_later);
        let decision = engine.step(now, Input::Sample(&sample));
        decision.kubelet.cloned().expect("it was told")
    };
    // 5,072 MiB available of 6,000: met from the first look on. A hard one acts at the next of the kubelet's looks.
    let heard = at(0, true);
    assert_eq!(heard.state, KubeletState::Running);
    assert_eq!(secs(crossing(&heard).acts), [0, 5, 11]);
    assert!(heard.pressure);
    // Silent for 31 s it may come back within the minute: 30 s later at the middle, 60 at the latest, and it is overdue.
    let starved = at(31, true);
    assert_eq!(starved.state, KubeletState::Starved);
    assert!(crossing(&starved).overdue);
    assert_eq!(secs(crossing(&starved).acts), [0, 41, 111]);
    assert!(starved.unmended.contains(&Unmended::Silent));
    let gone = at(61, true);
    assert_eq!(
        (gone.state, crossing(&gone).acts),
        (KubeletState::Gone, Bounds::NEVER)
    );
    assert_eq!(at(62, false).state, KubeletState::Absent);
}

#[test]
fn a_soft_threshold_waits_for_its_grace_and_then_blocks_the_hard_one() {
    let soft = Threshold {
        grace: Span::secs(90),
        ..hard(Signal::MemoryAvailable, 5500)
    };
    let mut config = told(vec![soft, hard(Signal::MemoryAvailable, 100)]);
    config.pod_grace_max = Span::secs(60);
    let (mut engine, mut world) = (watching(&config), node());
    world.pods.list[0].grace = Span::secs(40);
    world.of(1).anon = 2560 * MIB;
    watch(&mut engine, &mut world, 1);
    // 5,472 MiB available of 5,500: the condition is there at once, the eviction nine looks after the one that finds it.
    world.of(1).anon = 2600 * MIB;
    let first = watch(&mut engine, &mut world, 1);
    assert!(first.pressure);
    assert_eq!(secs(crossing(&first).acts), [90, 95, 110]);
    // 40 s and half as long again, and 30 s of cleaning up.
    assert_eq!(crossing(&first).blocked_max, Span::secs(90));
    assert!(first.unmended.contains(&Unmended::BlocksHard));
    let later = watch(&mut engine, &mut world, 30);
    assert_eq!(crossing(&later).met_for, Some(Span::secs(30)));
    assert_eq!(secs(crossing(&later).acts), [60, 65, 80]);
}

#[test]
fn what_was_met_before_we_looked_may_be_acted_upon_at_any_moment_of_its_grace() {
    let soft = Threshold {
        grace: Span::secs(90),
        ..hard(Signal::MemoryAvailable, 5500)
    };
    let config = told(vec![soft, hard(Signal::MemoryAvailable, 100)]);
    let (mut engine, mut world) = (watching(&config), node());
    // 110 s after the crossing at the latest, and nobody knows when that was.
    let first = watch(&mut engine, &mut world, 1);
    assert_eq!(secs(crossing(&first).acts), [0, 55, 110]);
    let later = watch(&mut engine, &mut world, 30);
    assert_eq!(crossing(&later).met_for, Some(Span::secs(30)));
    assert_eq!(secs(crossing(&later).acts), [0, 40, 80]);
    // Told the same again it remembers; told something else the kubelet has begun anew, some time ago.
    engine.step(world.now, Input::KubeletConfig(&config));
    let same = watch(&mut engine, &mut world, 10);
    assert_eq!(secs(crossing(&same).acts), [0, 35, 70]);
    let other = KubeletConfig {
        pod_grace_max: Span::secs(60),
        ..config
    };
    engine.step(world.now, Input::KubeletConfig(&other));
    let anew = watch(&mut engine, &mut world, 1);
    assert_eq!(secs(crossing(&anew).acts), [0, 55, 110]);
}

#[test]
fn once_met_it_stays_met_until_its_minimum_is_reclaimed_and_pressure_outlasts_it() {
    let threshold = Threshold {
        min_reclaim: Bytes::mebi(100),
        ..hard(Signal::MemoryAvailable, 5100)
    };
    let (mut engine, mut world) = (watching(&told(vec![threshold])), node());
    // 5,072 available: met. Eleven seconds on the kubelet has found it, so that 5,200 are needed to end it.
    assert_eq!(
        crossing(&watch(&mut engine, &mut world, 12)).crosses,
        Bounds::PAST
    );
    world.of(1).anon = 2900 * MIB;
    let held = watch(&mut engine, &mut world, 1);
    assert_eq!(
        (crossing(&held).crosses, crossing(&held).distance),
        (Bounds::PAST, Bytes::mebi(72))
    );
    world.of(1).anon = 2800 * MIB;
    assert_eq!(watch(&mut engine, &mut world, 1).crossing, None);
    // Met for the last time at 12 s; five minutes later the condition goes.
    assert!(watch(&mut engine, &mut world, 298).pressure);
    assert!(!watch(&mut engine, &mut world, 1).pressure);
}

#[test]
fn after_its_victim_is_chosen_it_looks_at_nothing_for_as_long_as_it_waits() {
    let (mut engine, mut world) = (watching(&told(vec![hard(Signal::MemoryAvailable, 5100)])), node());
    let before = watch(&mut engine, &mut world, 6);
    // Nobody saw it being met: of the six seconds that are left at the most any is as likely.
    assert_eq!((before.blocked, secs(crossing(&before).acts)), (None, [0, 3, 6]));
    // Kubernetes tells of an eviction. Ten seconds at most for the containers, half a minute for the cleaning up.
    world.pods.kubelet_evictions = 1;
    world.tell_once(&mut engine);
    let chosen = watch(&mut engine, &mut world, 1);
    assert_eq!(chosen.blocked, Some(Span::secs(40)));
    assert_eq!(secs(crossing(&chosen).acts), [0, 20, 41]);
    let later = watch(&mut engine, &mut world, 30);
    assert_eq!(later.blocked, Some(Span::secs(10)));
    // It is met for longer than a look takes, and that is why.
    assert_eq!(secs(crossing(&later).acts), [0, 5, 11]);
    assert!(!crossing(&later).overdue);
    assert_eq!(watch(&mut engine, &mut world, 10).blocked, None);
}

#[test]
fn it_waits_for_its_victim_as_long_as_before_though_our_clock_went_back() {
    let (mut engine, mut world) = (watching(&told(vec![hard(Signal::MemoryAvailable, 5100)])), node());
    world.now = Moment(1_000_000_000);
    watch(&mut engine, &mut world, 6);
    world.pods.kubelet_evictions = 1;
    world.tell_once(&mut engine);
    let before = watch(&mut engine, &mut world, 11);
    assert_eq!((before.blocked, before.pressure), (Some(Span::secs(30)), true));
    world.now = Moment(500_000_000);
    world.tell_once(&mut engine);
    let after = watch(&mut engine, &mut world, 1);
    assert_eq!((after.blocked, after.pressure), (before.blocked, before.pressure));
    assert_eq!(crossing(&after).met_for, crossing(&before).met_for);
}

#[test]
fn who_is_hit_is_asked_every_ten_seconds_with_figures_as_old_as_the_kubelets_may_be() {
    let (mut engine, mut world) = (watching(&told(vec![hard(Signal::MemoryAvailable, 7900)])), node());
    world.of(1).anon = 200 * MIB;
    let seen = |engine: &mut Engine, world: &mut World, secs| victims(&watch(engine, world, secs));
    assert_eq!(seen(&mut engine, &mut world, 45), [1]);
    // Now the other one is larger. The ranking is at most ten seconds old, the kubelet's figures up to twenty.
    (world.of(1).anon, world.of(2).anon) = (100 * MIB, 200 * MIB);
    assert_eq!(seen(&mut engine, &mut world, 1), [1]);
    assert_eq!(seen(&mut engine, &mut world, 11), [1, 2]);
    assert_eq!(seen(&mut engine, &mut world, 60), [2]);
}

#[test]
fn a_leak_of_the_hosts_is_named_and_no_pods_end_stops_it() {
    let (mut engine, mut world) = (watching(&told(vec![hard(Signal::MemoryAvailable, 5000)])), node());
    world.of(1).anon = 30 * MIB;
    world.of(2).anon = 20 * MIB;
    world.host_anon = 2000 * MIB;
    world.host_rate = 40 * MIB;
    // After 26 s 3,090 MiB are used and 5,102 left, and the threshold is within two minutes: who grows is asked.
    watch(&mut engine, &mut world, 25);
    let seen = watch(&mut engine, &mut world, 2);
    assert_eq!(
        crossing(&seen).distance,
        Bytes::mebi(8192 - 50 - 2000 - 26 * 40 - 5000)
    );
    assert_eq!(seen.unmended, [Unmended::HostGrows, Unmended::TooLittle]);
    assert_eq!(seen.frees_max, Bytes::mebi(30));
}

#[test]
fn without_news_of_the_pods_nobody_knows_whom_it_hits() {
    let (mut engine, mut world) = (watching(&told(vec![hard(Signal::MemoryAvailable, 5100)])), node());
    world.pods.list.clear();
    let seen = watch(&mut engine, &mut world, 3);
    assert_eq!(
        (victims(&seen), &seen.unmended[..]),
        (vec![], &[Unmended::VictimUnknown][..])
    );
    assert_eq!(world.sample().groups[2].id, GroupId(1));
}
