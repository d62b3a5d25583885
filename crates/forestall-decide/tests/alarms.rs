//! What becomes of an alarm: at a wall that is reached right at its end, or twice, of growth in steps, under reclaim after reclaim, and where another
//! wall came first.

mod world;

use forestall_decide::{
    AlarmEvent, AlarmVerdict, Bytes, Engine, GroupId, Input, Limit, Mode, Moment, Policy, Protection, Rung,
    Rungs, Span, WallKind,
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

/// The API server goes away 200 s before the kubelet evicts, and says so when it is back: the alarm was neither right nor wrong, and nobody was missed.
#[test]
fn what_the_kubelet_did_while_nobody_told_of_it_is_no_score() {
    for silent in [true, false] {
        let mut world = stepping();
        let mut engine = engine(Mode::Shadow, &[]);
        world.kubelet = true;
        world.pod(1);
        world.of(2).rate = 10 * MIB;
        world.run(&mut engine, Span::secs(130), |_| ());
        world.silent_until = Moment(if silent { u64::MAX } else { 0 });
        world.run(&mut engine, Span::secs(201), |_| ());
        world.of(2).rate = 0;
        world.of(2).anon = 100 * MIB;
        world.run(&mut engine, Span::secs(300), |_| ());
        world.silent_until = Moment(0);
        evicted(&mut world, &mut engine, 1);
        world.run(&mut engine, Span::secs(5), |_| ());
        let missed = |event: &&AlarmEvent| event.verdict == Some(AlarmVerdict::Missed);
        let missed = world.verdicts.iter().filter(missed).count();
        let (alarm, misses) = if silent {
            (AlarmVerdict::Intervened, 0)
        } else {
            // News of five minutes ago are no news: what is told while it is heard is so.
            (AlarmVerdict::False, 1)
        };
        let alarms = verdicts(&world, WallKind::KubeletAllocatable);
        assert_eq!(
            (alarms.first(), missed),
            (Some(&alarm), misses),
            "{silent}: {:?}",
            world.verdicts
        );
    }
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

/// One alarm at a container's limit, and what else is known of it.
struct AtLimit {
    events: Vec<AlarmEvent>,
    /// How long before it was raised the look before was.
    look_before: Span,
    /// The longest time between two looks from then on.
    looks: Span,
}

/// 10 MiB/s from 10 to 300 MiB, exactly; the kill is counted so long after the limit is met, or never.
fn leak_to_its_limit(counted_after: Option<Span>) -> AtLimit {
    let mut world = World::new(8_192, 4_000);
    world.container(1, 500);
    let limit = 300 * MIB;
    let leaker = world.container(2, 10);
    (leaker.rate, leaker.limit) = (10 * MIB, Limit::Bytes(Bytes(limit)));
    let mut engine = engine(Mode::Shadow, &[]);
    let (mut events, mut met_at) = (Vec::new(), None);
    let (mut last, mut look_before, mut looks) = (world.now, None, Span(0));
    while world.now < Moment(60_000_000) {
        if world.of(2).anon >= limit {
            (world.of(2).anon, world.of(2).rate) = (limit, 0);
            met_at.get_or_insert(world.now);
        }
        let is_counted = counted_after
            .zip(met_at)
            .is_some_and(|(after, met)| world.now.since(met) > after);
        if is_counted {
            world.of(2).anon = MIB;
        }
        let mut sample = world.sample();
        for group in &mut sample.groups {
            let theirs = [GroupId(2), GroupId(1002), world::KUBEPODS].contains(&group.id);
            group.oom_kills = u64::from(is_counted && theirs);
        }
        sample.node.oom_kills = u64::from(is_counted);
        let decision = engine.step(world.now, Input::Sample(&sample));
        let of_limit = |event: &&AlarmEvent| event.reading.wall == WallKind::Container;
        events.extend(decision.alarms.iter().filter(of_limit).copied());
        let took = world.now.since(last);
        if !events.is_empty() {
            look_before.get_or_insert(took);
            looks = looks.max(took);
        }
        last = world.now;
        let wake = decision.wake_in;
        world.grow(wake);
    }
    let look_before = look_before.expect("it was foretold");
    AtLimit {
        events,
        look_before,
        looks,
    }
}

#[test]
fn an_exact_forecast_whose_kill_is_counted_some_looks_later_was_right() {
    // The kernel counts a kill when its report is written, on a slow console seconds later.
    for millis in [0, 90, 300, 1_000, 4_500] {
        let seen = leak_to_its_limit(Some(Span::millis(millis)));
        let told: Vec<_> = seen.events.iter().map(|event| event.verdict).collect();
        assert_eq!(told, [None, Some(AlarmVerdict::True)], "after {millis} ms");
        let raised = seen.events[0];
        assert_eq!(raised.horizon, raised.reading.runway.p90 + seen.look_before);
    }
}

#[test]
fn a_wall_that_is_met_and_nobody_is_killed_was_foretold_in_vain() {
    let seen = leak_to_its_limit(None);
    let told: Vec<_> = seen.events.iter().map(|event| event.verdict).collect();
    assert_eq!(told, [None, Some(AlarmVerdict::False)]);
    // A report takes no longer than five seconds.
    let over = Span(seen.events[1].age.0 - seen.events[1].horizon.0);
    let most = Span::secs(5) + seen.looks.times(2);
    assert!(over <= most, "{over} of {most}");
}

#[test]
fn a_verdict_waits_for_the_second_look_after_the_horizon() {
    let mut world = stepping();
    let mut engine = engine(Mode::Shadow, &[]);
    world.kubelet = true;
    world.pod(1);
    world.of(2).rate = 10 * MIB;
    let (look, mut end) = (Span(1), None);
    while end.is_none_or(|end| world.now <= end) {
        let now = world.now;
        world.run(&mut engine, look, |_| ());
        let its = |event: &&AlarmEvent| event.reading.wall == WallKind::KubeletAllocatable;
        if let (None, Some(raised)) = (end, world.verdicts.iter().find(its)) {
            end = Some(now + raised.horizon);
            // It stands still before the threshold.
            world.of(2).rate = 0;
        }
    }
    // The first look after the end, and what came right before that end is told by the next one.
    world.run(&mut engine, look, |_| ());
    assert_eq!(verdicts(&world, WallKind::KubeletAllocatable), []);
    evicted(&mut world, &mut engine, 1);
    world.run(&mut engine, look, |_| ());
    assert_eq!(
        verdicts(&world, WallKind::KubeletAllocatable),
        [AlarmVerdict::True]
    );
}

#[test]
fn a_wall_that_is_near_at_the_end_of_a_horizon_is_at_no_look_without_an_alarm() {
    let mut world = stepping();
    let mut engine = engine(Mode::Shadow, &[]);
    world.kubelet = true;
    world.pod(1);
    world.of(2).rate = 10 * MIB;
    world.run(&mut engine, Span::secs(331), |_| ());
    evicted(&mut world, &mut engine, 1);
    // It stays over its threshold, so that there is an alarm again when the first one is over, and whatever look tells of the next
    // eviction, it was foretold.
    world.of(2).rate = 0;
    for count in 2..1_000 {
        world.run(&mut engine, Span(1), |_| ());
        evicted(&mut world, &mut engine, count);
    }
    let missed = |event: &&AlarmEvent| event.verdict == Some(AlarmVerdict::Missed);
    assert_eq!(world.verdicts.iter().find(missed), None);
    assert!(verdicts(&world, WallKind::KubeletAllocatable).len() > 1);
}

#[test]
fn what_a_look_tells_of_may_have_come_right_after_the_look_before() {
    let mut world = stepping();
    let mut engine = engine(Mode::Shadow, &[]);
    world.kubelet = true;
    world.pod(1);
    world.of(2).rate = 10 * MIB;
    world.run(&mut engine, Span::secs(331), |_| ());
    let judged_at = world.now;
    evicted(&mut world, &mut engine, 1);
    let look = Span(1);
    world.run(&mut engine, look, |_| ());
    let is_right = |event: &&AlarmEvent| event.verdict == Some(AlarmVerdict::True);
    let right = *world.verdicts.iter().find(is_right).expect("it was foretold");
    let end = judged_at + Span(right.horizon.0 - right.age.0);
    // The leak has given back and pauses, so that nothing else is to be foretold.
    world.of(2).anon -= 500 * MIB;
    world.of(2).rate = 0;
    let mut looked_at = judged_at;
    while world.now <= end {
        looked_at = world.now;
        world.run(&mut engine, look, |_| ());
    }
    assert!(looked_at <= end && end < world.now);
    evicted(&mut world, &mut engine, 2);
    world.run(&mut engine, look, |_| ());
    // And one that came after that look was not foretold.
    evicted(&mut world, &mut engine, 3);
    world.run(&mut engine, look, |_| ());
    let missed = |event: &&AlarmEvent| event.verdict == Some(AlarmVerdict::Missed);
    assert_eq!(
        world.verdicts.iter().filter(missed).count(),
        1,
        "{:?}",
        world.verdicts
    );
}

#[test]
fn an_alarm_for_which_an_older_kill_is_hurried_was_acted_upon() {
    let mut world = stepping();
    let mut engine = Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Kill]),
        effect_deadline: Span::secs(60),
        ..Policy::default()
    });
    world.of(1).protection = Some(Protection::OptedOut);
    world.of(2).rate = 100 * MIB;
    while world.ordered.is_empty() {
        world.run(&mut engine, Span(1), |_| ());
    }
    let (_, order) = world.ordered.remove(0);
    assert!(order.rung == Rung::Kill && order.grace > Span(0), "{order:?}");
    // Its cgroup goes, and nobody says what became of it. The alarm's time is over when the other one comes near the wall.
    world.containers.retain(|one| one.id == GroupId(1));
    world.of(1).rate = 80 * MIB;
    world.run(&mut engine, Span::secs(60), |world| {
        if world.ordered.iter().any(|(_, action)| action.escalate) {
            world.of(1).rate = 0;
        }
    });
    let hurried: Vec<_> = world.ordered.iter().map(|(_, action)| action.escalate).collect();
    assert_eq!((hurried, world.kernel_kills), (vec![true], 0));
    let raised = world.verdicts.iter().filter(|event| event.verdict.is_none());
    let raised = raised.filter(|event| event.reading.wall == WallKind::Kubepods);
    assert_eq!(raised.count(), 2);
    world.run(&mut engine, Span::secs(60), |_| ());
    assert_eq!(
        verdicts(&world, WallKind::Kubepods),
        [AlarmVerdict::Intervened; 2]
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
    // However many ended there: the alarm's age is the lead.
    let [ending] = decision.endings else {
        panic!("{:?}", decision.endings)
    };
    let age = decision.alarms.first().map(|event| event.age);
    assert_eq!((ending.wall, ending.foretold), (WallKind::Container, age));
}
