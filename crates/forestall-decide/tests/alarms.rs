//! What becomes of an alarm: at a wall that is reached twice, of growth in steps, under reclaim after reclaim, and where another
//! wall came first.

mod world;

use forestall_decide::{
    AlarmEvent, AlarmVerdict, Bytes, Engine, GroupId, Input, Limit, Mode, Moment, Policy, Rung, Rungs, Span,
    WallKind,
};
use world::{MIB, World};

fn engine(mode: Mode, rungs: &[Rung]) -> Engine {
    Engine::new(Policy {
        mode,
        rungs: Rungs::of(rungs),
        ..Policy::default()
    })
}

/// The verdicts at one kind of wall, in order.
fn verdicts(world: &World, wall: WallKind) -> Vec<AlarmVerdict> {
    let at = |event: &&AlarmEvent| event.reading.wall == wall;
    world
        .verdicts
        .iter()
        .filter(at)
        .filter_map(|event| event.verdict)
        .collect()
}

/// 100 MiB every six seconds, as the articles' leaks go.
fn in_steps(world: &mut World) {
    let blocks = world.now.0 / 6_000_000;
    world.of(2).anon = (100 + blocks * 100) * MIB;
}

/// A machine of 8 GiB with one leak in steps and a quiet neighbour.
fn stepping() -> World {
    let mut world = World::new(8_192, 4_000);
    world.container(1, 500);
    world.container(2, 100);
    world
}

#[test]
fn a_leak_in_steps_is_foretold_once_and_in_time() {
    // 3,400 MiB are 34 blocks: the wall of `kubepods` is reached after 204 s, and the kernel kills.
    let mut world = stepping();
    world.run(&mut engine(Mode::Shadow, &[]), Span::secs(400), in_steps);
    assert_eq!(world.kernel_kills, 1);
    let raised: Vec<&AlarmEvent> = world
        .verdicts
        .iter()
        .filter(|event| event.reading.wall == WallKind::Kubepods && event.verdict.is_none())
        .collect();
    let [raised] = raised[..] else {
        panic!("{raised:?}")
    };
    assert_eq!(verdicts(&world, WallKind::Kubepods), [], "it is still up");
    // At 100 MiB in 6 s what was left then takes so long.
    let left = Span(raised.reading.distance.0 / (100 * MIB) * 6_000_000);
    let runway = raised.reading.runway;
    assert!(
        runway.p10 <= left && left <= raised.horizon,
        "{left} within {runway:?}, {}",
        raised.horizon
    );
    assert!(
        (Span::secs(50)..=Span::secs(120)).contains(&left),
        "{left} before the kill"
    );
}

#[test]
fn one_step_that_is_not_repeated_raises_no_alarm() {
    let mut world = stepping();
    world.run(&mut engine(Mode::Shadow, &[]), Span::secs(120), |world| {
        if world.now > Moment(60_000_000) {
            world.of(2).anon = 1_500 * MIB;
        }
    });
    assert_eq!(world.verdicts, []);
}

#[test]
fn no_alarm_answers_longer_because_the_clock_went_back() {
    let mut world = stepping();
    let mut engine = engine(Mode::Shadow, &[]);
    world.now = Moment(10_000_000_000);
    world.of(2).rate = 20 * MIB;
    // 3,400 MiB to the wall at 20 MiB/s: 170 s.
    world.run(&mut engine, Span::secs(130), |_| ());
    let raised = |event: &AlarmEvent| event.reading.wall == WallKind::Kubepods && event.verdict.is_none();
    assert_eq!(world.verdicts.iter().filter(|event| raised(event)).count(), 1);
    world.of(2).rate = 0;
    world.now = Moment(1_000_000_000);
    // No horizon at that wall is longer than two minutes.
    world.run(&mut engine, Span::secs(121), |_| ());
    assert_eq!(verdicts(&world, WallKind::Kubepods), [AlarmVerdict::False]);
}

/// The kubelet has evicted so many by now.
fn evicted(world: &mut World, engine: &mut Engine, count: u64) {
    world.pods.kubelet_evictions = count;
    world.tell_once(engine);
}

#[test]
fn a_wall_that_is_reached_twice_within_the_horizon_was_foretold_both_times() {
    let mut world = stepping();
    let mut engine = engine(Mode::Shadow, &[]);
    world.kubelet = true;
    world.pod(1);
    world.of(2).rate = 10 * MIB;
    // 3,300 MiB to the kubelet's threshold at 10 MiB/s: 330 s. It evicts bystanders of no size after that, twice.
    world.run(&mut engine, Span::secs(331), |_| ());
    for count in 1..=2 {
        evicted(&mut world, &mut engine, count);
        world.run(&mut engine, Span::secs(4), |_| ());
    }
    assert_eq!(
        verdicts(&world, WallKind::KubeletAllocatable),
        [AlarmVerdict::True]
    );
    let missed = |event: &AlarmEvent| event.verdict == Some(AlarmVerdict::Missed);
    assert!(!world.verdicts.iter().any(missed), "{:?}", world.verdicts);
}

#[test]
fn after_its_horizon_a_wall_that_is_still_near_has_an_alarm_again() {
    let mut world = stepping();
    let mut engine = engine(Mode::Shadow, &[]);
    world.kubelet = true;
    world.pod(1);
    world.of(2).rate = 10 * MIB;
    world.run(&mut engine, Span::secs(335), |_| ());
    evicted(&mut world, &mut engine, 1);
    // What the eviction gave back lasts for a while, and the leak goes on: 500 MiB at 10 MiB/s.
    world.of(2).anon -= 500 * MIB;
    world.run(&mut engine, Span::secs(50), |_| ());
    evicted(&mut world, &mut engine, 2);
    world.run(&mut engine, Span::secs(1), |_| ());
    assert_eq!(
        verdicts(&world, WallKind::KubeletAllocatable),
        [AlarmVerdict::True; 2],
        "{:?}",
        world.verdicts
    );
}

#[test]
fn reclaim_after_reclaim_is_one_alarm() {
    let mut world = World::new(16_384, 1_000);
    world.kubelet = true;
    world.container(2, 100).file = 790 * MIB;
    let mut engine = engine(Mode::Enforce, &[Rung::Reclaim]);
    // What is reclaimed is read again: a reclaim every few seconds for two minutes.
    world.run(&mut engine, Span::secs(120), |world| {
        world.of(2).file = (world.of(2).file + MIB).min(795 * MIB);
    });
    let reclaims = world.targets_of(Rung::Reclaim).len();
    let raised = world
        .verdicts
        .iter()
        .filter(|event| event.verdict.is_none() && event.reading.wall == WallKind::KubeletAllocatable)
        .count();
    assert!(
        reclaims >= 5 && raised == 1,
        "{reclaims} reclaims, {raised} alarms"
    );
}

#[test]
fn an_alarm_at_a_wall_that_another_ending_kept_away_is_neither_right_nor_wrong() {
    let mut world = stepping();
    world.kubelet = true;
    world.pod(1);
    let mut engine = engine(Mode::Shadow, &[]);
    world.of(2).rate = 20 * MIB;
    world.run(&mut engine, Span::secs(166), |_| ());
    // The kubelet evicts the leak itself.
    world.of(2).rate = 0;
    world.of(2).anon = 0;
    evicted(&mut world, &mut engine, 1);
    world.run(&mut engine, Span::secs(200), |_| ());
    assert_eq!(
        verdicts(&world, WallKind::KubeletAllocatable),
        [AlarmVerdict::True]
    );
    assert_eq!(
        verdicts(&world, WallKind::Kubepods),
        [AlarmVerdict::Intervened],
        "{:?}",
        world.verdicts
    );
}

#[test]
fn a_kill_at_a_containers_own_limit_is_told_to_its_wall_though_the_container_is_gone() {
    let mut world = World::new(8_192, 4_000);
    world.container(1, 500);
    let leaker = world.container(2, 10);
    (leaker.rate, leaker.limit) = (10 * MIB, Limit::Bytes(Bytes::mebi(300)));
    let mut engine = engine(Mode::Shadow, &[]);
    world.run(&mut engine, Span::secs(28), |_| ());
    let mut sample = world.sample();
    let gone = sample.groups.iter().position(|group| group.id == GroupId(2));
    sample.groups.remove(gone.expect("it was there"));
    sample.node.oom_kills += 1;
    for group in &mut sample.groups {
        let above = group.id == GroupId(1002) || group.parent.is_none();
        group.oom_kills += u64::from(above);
    }
    let decision = engine.step(world.now, Input::Sample(&sample));
    let told: Vec<_> = decision
        .alarms
        .iter()
        .filter_map(|event| Some((event.reading.wall, event.verdict?)))
        .collect();
    assert_eq!(told, [(WallKind::Container, AlarmVerdict::True)]);
}
