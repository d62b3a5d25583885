//! What the engine believes: inputs that cannot be true are said and not acted upon, and what the kubelet itself says goes
//! before what is assumed of it.

mod world;

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, Threshold};
use forestall_decide::{
    ActionId, Bytes, Engine, GroupId, Ignored, Input, Limit, Moment, Outcome, OutcomeKind, Pod, Pods,
    ProcessId, Rung, Sample, Span, Stall, WallKind,
};
use world::{MIB, World, enforcing};

#[test]
fn what_cannot_be_true_is_said_and_not_acted_upon() {
    let mut world = World::new(1024, 900);
    world.container(1, 100);
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(5), |_| ());
    let told = |engine: &mut Engine, now, input: Input<'_>| -> Vec<Ignored> {
        let decision = engine.step(now, input);
        assert!(decision.actions.is_empty());
        decision.ignored.to_vec()
    };
    let mut sample = world.sample();
    assert_eq!(told(&mut engine, world.now, Input::Sample(&sample)), []);
    assert_eq!(
        told(&mut engine, world.now, Input::Sample(&sample)),
        [Ignored::SameMoment]
    );
    let earlier = Moment(world.now.0 - 3_000_000);
    assert_eq!(
        told(&mut engine, earlier, Input::Sample(&sample)),
        [Ignored::ClockBack(Span::secs(3))]
    );
    sample.groups[2].current = Bytes(1 << 63);
    assert_eq!(
        told(&mut engine, world.now, Input::Sample(&sample)),
        [Ignored::TooLarge(GroupId(1))]
    );
    sample.node.total = Bytes::ZERO;
    let later = world.now + Span::secs(1);
    assert_eq!(
        told(&mut engine, later, Input::Sample(&sample)),
        [Ignored::NoMachine]
    );
    let outcome = Outcome {
        action: ActionId(99),
        rung: Rung::Kill,
        kind: OutcomeKind::Done,
        freed: Bytes::ZERO,
        took: Span(1),
        rest: Span(0),
    };
    assert_eq!(
        told(&mut engine, later, Input::Outcome(&outcome)),
        [Ignored::UnknownAction(ActionId(99))]
    );
    let pods = Pods {
        list: vec![Pod::default(), Pod::default()],
        ..Pods::default()
    };
    assert_eq!(
        told(&mut engine, later, Input::Pods(&pods)),
        [Ignored::PodsWithoutUid(2)]
    );
}

/// What of a sample that was changed like this is not believed, one look after the world's own.
fn unbelieved(change: impl FnOnce(&mut Sample)) -> Vec<Ignored> {
    let mut world = World::new(1024, 900);
    world.container(1, 100);
    world.container(2, 100);
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(5), |_| ());
    let mut sample = world.sample();
    change(&mut sample);
    let decision = engine.step(world.now, Input::Sample(&sample));
    assert!(decision.actions.is_empty());
    decision.ignored.to_vec()
}

#[test]
fn a_machine_that_has_more_left_than_it_has_is_not_believed_at_all() {
    let more = Bytes::mebi(1025);
    let figures = ["MemFree", "MemAvailable", "Cached", "AnonPages", "SwapFree"];
    let changes: [fn(&mut Sample, Bytes); 5] = [
        |sample, more| sample.node.free = more,
        |sample, more| sample.node.available = more,
        |sample, more| sample.node.cached = more,
        |sample, more| sample.node.anon = more,
        |sample, more| sample.node.swap_free = more,
    ];
    for (figure, change) in figures.into_iter().zip(changes) {
        let said = unbelieved(|sample| change(sample, more));
        assert_eq!(said, [Ignored::ImpossibleMachine(figure)]);
    }
    let mut engine = enforcing();
    let mut sample = World::new(1024, 900).sample();
    sample.node.free = Bytes(1 << 63);
    let decision = engine.step(Moment(1), Input::Sample(&sample));
    assert!(decision.readings.is_empty());
}

/// Rule 6: by a clock that went back, news that are an hour old may be of a moment ago.
#[test]
fn after_a_clock_that_went_back_the_pods_are_not_known_until_they_are_told_anew() {
    let killed = |goes_back, is_told_anew| {
        let mut world = World::new(1024, 900);
        let mut engine = enforcing();
        for (id, rate) in [(1, 12), (2, 8)] {
            world.container(id, 100).rate = rate * MIB / 8;
            world.pod(id);
        }
        world.tell_once(&mut engine);
        let pods = core::mem::take(&mut world.pods);
        world.run(&mut engine, Span::secs(30), |_| ());
        if goes_back {
            world.now = Moment(world.now.0 - 25_000_000);
        }
        let again = world.now + Span::secs(6);
        let mut is_repeated = !goes_back;
        if is_told_anew {
            world.pods = pods.clone();
        }
        for container in &mut world.containers {
            container.rate *= 8;
        }
        let end = again + Span::secs(54);
        while world.now < end && world.killed().is_empty() && world.kernel_kills == 0 {
            if !is_told_anew && !is_repeated && world.now >= again {
                is_repeated = true;
                engine.step(world.now, Input::Pods(&pods));
            }
            world.run(&mut engine, Span::secs(1), |_| ());
        }
        world.killed()
    };
    let most = forestall_decide::Target::Group(GroupId(1));
    assert_eq!(killed(false, false), [most]);
    assert_eq!(killed(true, true), [most]);
    assert_eq!(killed(true, false), []);
}

#[test]
fn counters_that_went_back_or_stand_up_are_counted_anew_and_said() {
    // The machine's kills and stalls, and a container's.
    let mut world = World::new(1024, 900);
    world.container(1, 100);
    let mut engine = enforcing();
    let mut told = |kills: u64, stall: u64| {
        world.now = world.now + Span::secs(1);
        let mut sample = world.sample();
        sample.node.oom_kills = kills;
        sample.groups[2].oom_kills = kills;
        let stall = Stall {
            some_micros: stall,
            full_micros: stall,
        };
        (sample.node.stall, sample.groups[2].stall) = (Some(stall), Some(stall));
        let decision = engine.step(world.now, Input::Sample(&sample));
        assert!(decision.actions.is_empty());
        let waited: Vec<u64> = decision
            .readings
            .iter()
            .map(|it| it.stall_full_permille)
            .collect();
        (decision.ignored.to_vec(), waited[0])
    };
    assert_eq!(told(7, 5_000_000), (vec![], 0));
    let both = vec![
        Ignored::CounterJumped(None),
        Ignored::CounterJumped(Some(GroupId(1))),
    ];
    assert_eq!(told(3, 5_000_000), (both.clone(), 0));
    // Nobody can have waited for 2^63 µs within a second, and nobody for less than nothing.
    assert_eq!(told(3, 1 << 63), (both.clone(), 0));
    assert_eq!(told(3, 5_000_000), (both, 0));
    // Half a second can be.
    assert_eq!(told(3, 5_500_000), (vec![], 500));
}

#[test]
fn a_number_twice_a_parent_behind_and_a_process_beyond_the_machine_are_said() {
    let twice = unbelieved(|sample| sample.groups[4].id = GroupId(1));
    assert_eq!(twice, [Ignored::Repeated(GroupId(1))]);
    let behind = unbelieved(|sample| sample.groups[2].parent = Some(2));
    assert_eq!(behind, [Ignored::Misplaced(GroupId(1))]);
    let beyond = unbelieved(|sample| sample.processes[0].unreclaimable = Bytes(u64::MAX));
    let id = ProcessId {
        pid: 77,
        start_ticks: 5,
    };
    assert_eq!(beyond, [Ignored::ProcessTooLarge(id)]);
}

#[test]
fn a_host_process_whose_figures_cannot_be_true_is_left_to_the_kernel() {
    let mut world = World::new(1024, 900);
    world.host_rate = 20 * MIB;
    let mut engine = enforcing();
    while world.now < Moment(45_000_000) {
        let mut sample = world.sample();
        sample.processes[0].unreclaimable = Bytes(1 << 63);
        let decision = engine.step(world.now, Input::Sample(&sample));
        assert!(decision.actions.is_empty());
        let wake = decision.wake_in;
        world.grow(wake);
    }
}

#[test]
fn an_outcome_told_twice_or_of_another_rung_or_from_before_its_order_teaches_nothing() {
    let mut world = World::new(1024, 900);
    world.container(1, 100).rate = 20 * MIB;
    world.kill_takes = Span::secs(3600);
    let mut engine = enforcing();
    while world.ordered.is_empty() {
        world.run(&mut engine, Span::millis(200), |_| ());
    }
    let action = world.ordered.last().map(|(_, action)| action.id).expect("a kill");
    let mut told = |rung, kind, took| -> Vec<Ignored> {
        let outcome = Outcome {
            action,
            rung,
            kind,
            freed: Bytes::ZERO,
            took,
            rest: Span(0),
        };
        let decision = engine.step(world.now, Input::Outcome(&outcome));
        assert!(decision.actions.is_empty());
        decision.ignored.to_vec()
    };
    let unknown = vec![Ignored::UnknownAction(action)];
    assert_eq!(told(Rung::Evict, OutcomeKind::Done, Span(1)), unknown);
    let forever = told(Rung::Kill, OutcomeKind::Progress, Span(1 << 63));
    assert_eq!(forever, [Ignored::TookTooLong(action)]);
    assert_eq!(told(Rung::Kill, OutcomeKind::Done, Span(1)), []);
    assert_eq!(told(Rung::Kill, OutcomeKind::Done, Span(1)), unknown);
}

#[test]
fn a_pod_told_twice_is_one() {
    let mut world = World::new(1024, 900);
    world.container(1, 100);
    world.pod(1);
    let mut pods = world.pods.clone();
    pods.list.push(pods.list[0].clone());
    let mut engine = enforcing();
    let decision = engine.step(world.now, Input::Pods(&pods));
    assert_eq!(decision.ignored, [Ignored::PodsRepeated(1)]);
    // Out of order as well.
    world.pod(7).group = None;
    world.pod(1);
    let decision = engine.step(world.now, Input::Pods(&world.pods));
    assert_eq!(decision.ignored, [Ignored::PodsRepeated(1)]);
}

#[test]
fn a_leak_whose_figures_cannot_be_true_is_left_to_the_kernel() {
    let mut world = World::new(1024, 900);
    world.container(1, 100).rate = 20 * MIB;
    let mut engine = enforcing();
    while world.now < Moment(45_000_000) {
        let mut sample = world.sample();
        sample.groups[2].current = Bytes(1 << 63);
        let decision = engine.step(world.now, Input::Sample(&sample));
        assert!(decision.actions.is_empty());
        let wake = decision.wake_in;
        world.grow(wake);
    }
}

#[test]
fn the_kubelets_walls_stand_where_the_kubelet_was_told_to_have_them() {
    let mut world = World::new(1024, 900);
    world.kubelet = true;
    world.container(1, 100);
    let mut engine = enforcing();
    let sample = world.sample();
    let walls = |engine: &mut Engine, secs: u64| -> Vec<(WallKind, Limit)> {
        let decision = engine.step(Moment(secs * 1_000_000), Input::Sample(&sample));
        let kubelets = |wall| matches!(wall, WallKind::KubeletNode | WallKind::KubeletAllocatable);
        let of_kubelet = decision.readings.iter().filter(|reading| kubelets(reading.wall));
        of_kubelet.map(|reading| (reading.wall, reading.limit)).collect()
    };
    let at = |wall, mebi| (wall, Limit::Bytes(Bytes::mebi(mebi)));
    // By its defaults 100Mi below the machine's 1,024 and below the 900 of kubepods.
    let assumed = [
        at(WallKind::KubeletNode, 924),
        at(WallKind::KubeletAllocatable, 800),
    ];
    assert_eq!(walls(&mut engine, 10), assumed);
    let config = KubeletConfig {
        source: ConfigSource::Configz,
        thresholds: vec![Threshold {
            signal: Signal::MemoryAvailable,
            value: Bytes::mebi(300),
            grace: Span(0),
            min_reclaim: Bytes::ZERO,
        }],
        ..KubeletConfig::default()
    };
    engine.step(Moment(11_000_000), Input::KubeletConfig(&config));
    assert_eq!(
        walls(&mut engine, 12),
        [at(WallKind::KubeletNode, 724)],
        "and no other"
    );
}

#[test]
fn a_look_that_waited_does_not_put_off_the_next() {
    let mut world = World::new(1024, 900);
    world.container(1, 100);
    let mut engine = enforcing();
    let mut wake_after = |cost: Span, processor: Option<Span>| {
        let mut sample = world.sample();
        (sample.node.sample_cost, sample.node.sample_processor) = (cost, processor);
        let wake = engine.step(world.now, Input::Sample(&sample)).wake_in;
        world.grow(wake);
        wake
    };
    let (brief, long) = (Span(500), Span::secs(2));
    wake_after(brief, Some(brief));
    let calm = wake_after(brief, Some(brief));
    // However many in a row wait for a processor or a lock.
    for _ in 0..5 {
        assert_eq!(wake_after(long, Some(brief)), calm);
    }
    // What looking takes of a processor is one part in eight of the time; unless that is known, all that it takes.
    assert_eq!(wake_after(long, Some(long)), Span::secs(16));
    assert_eq!(wake_after(brief, Some(brief)), calm);
    assert_eq!(wake_after(long, None), Span::secs(16));
}
