//! Whose limit it was, where the kernel has killed below one: a cgroup's own, or the machine's.

mod world;

use forestall_decide::{AlarmVerdict, Bytes, GroupId, GroupSample, Input, Limit, Sample, Span, WallKind};
use world::{MIB, SERVICE, World, enforcing};

const LIMIT: u64 = 256 * MIB;

/// What the engine makes of a service of the host's that leaks at `rate` bytes a second under a limit of its own until the kernel
/// kills it there: the walls that were missed, whether the one at its own limit came true, and whether the guard held back
/// afterwards as after a kill of the machine's. `shape` may change what is seen.
fn walls_of_a_kill(rate: u64, mut shape: impl FnMut(&mut Sample, bool)) -> (Vec<WallKind>, bool) {
    let mut world = World::new(16_384, 12_000);
    world.container(1, 500);
    let mut engine = enforcing();
    let start = world.now;
    let mut killed_at = None;
    let (mut missed, mut is_true) = (Vec::new(), false);
    while world.now.since(start) < Span::secs(400) {
        world.host_rate = match killed_at {
            None if world.now.since(start) > Span::secs(30) => rate,
            _ => 0,
        };
        let mut sample = world.sample();
        sample.processes.clear();
        let kills = u64::from(killed_at.is_some());
        sample.node.oom_kills = kills;
        for service in sample.groups.iter_mut().filter(|group| group.id == SERVICE) {
            service.limit = Limit::Bytes(Bytes(LIMIT));
            service.oom_kills = kills;
        }
        shape(&mut sample, killed_at.is_some());
        let decision = engine.step(world.now, Input::Sample(&sample));
        for event in decision.alarms {
            match event.verdict {
                Some(AlarmVerdict::Missed) => missed.push(event.reading.wall),
                Some(AlarmVerdict::True) => is_true |= event.reading.wall == WallKind::Container,
                _ => {}
            }
        }
        let wake = decision.wake_in;
        world.grow(wake);
        if killed_at.is_none() && world.host_anon >= LIMIT {
            (world.host_anon, killed_at) = (MIB, Some(world.now));
        }
        if killed_at.is_some_and(|at| world.now.since(at) > Span::secs(5)) {
            break;
        }
    }
    assert!(killed_at.is_some());
    (missed, is_true)
}

const RATES: [u64; 8] = [5, 20, 60, 100, 200, 500, 1_000, 3_000];

#[test]
fn a_kill_at_a_limit_of_a_cgroup_of_the_hosts_is_not_the_machines() {
    for rate in RATES {
        let (missed, is_true) = walls_of_a_kill(rate * MIB, |_, _| ());
        // Whoever fills it between two looks is not seen coming, and is missed at the wall that it was.
        let expected: &[WallKind] = if is_true { &[] } else { &[WallKind::Container] };
        assert_eq!(missed, expected, "{rate} MiB/s");
        assert!(is_true || rate >= 100, "{rate} MiB/s");
    }
}

#[test]
fn so_is_one_in_a_service_below_the_slice_that_has_the_limit() {
    for rate in RATES {
        let (missed, _) = walls_of_a_kill(rate * MIB, |sample, _| {
            let at = sample.groups.iter().position(|group| group.id == SERVICE);
            let at = at.expect("the service");
            let (slice, kills) = (&mut sample.groups[at], sample.node.oom_kills);
            slice.leaf = false;
            let below = GroupSample {
                id: GroupId(SERVICE.0 + 1),
                parent: u32::try_from(at).ok(),
                leaf: true,
                limit: Limit::Max,
                oom_kills: kills,
                ..*slice
            };
            sample.groups.push(below);
        });
        assert!(!missed.contains(&WallKind::Kernel), "{rate} MiB/s: {missed:?}");
    }
}

#[test]
fn so_is_one_that_falls_between_the_reading_of_its_cgroup_and_that_of_the_machine() {
    for rate in RATES {
        let mut told_before = 0;
        let (missed, _) = walls_of_a_kill(rate * MIB, |sample, _| {
            let now = core::mem::replace(&mut told_before, sample.node.oom_kills);
            sample.node.oom_kills = now;
        });
        assert!(!missed.contains(&WallKind::Kernel), "{rate} MiB/s: {missed:?}");
    }
}

#[test]
fn a_kill_for_want_of_memory_on_the_machine_is_not_put_down_to_a_limit_that_was_far() {
    // 9 GiB of 16 are left below the limit, and the machine has less than the half of it.
    let (missed, _) = walls_of_a_kill(500 * MIB, |sample, is_killed| {
        for service in sample.groups.iter_mut().filter(|group| group.id == SERVICE) {
            service.limit = Limit::Bytes(Bytes::mebi(9_000));
        }
        if !is_killed {
            sample.node.free = Bytes::mebi(4_000);
            sample.node.available = Bytes::mebi(4_000);
        }
    });
    assert!(missed.contains(&WallKind::Kernel), "{missed:?}");
}

#[test]
fn a_limit_that_is_set_while_figures_rest_is_not_alarmed_for_what_was_not_seen() {
    // A service grows by 1 MiB a second from 500 MiB; its figures are a minute old when it is given a limit of 1000 MiB, and are
    // read at every look from then on.
    for late in [1, 20, 60] {
        let mut world = World::new(16_384, 12_000);
        world.container(1, 500);
        let mut engine = enforcing();
        let start = world.now;
        let held = |secs: u64| Bytes::mebi(500 + secs);
        for secs in 0..=100 + late {
            world.now = start + Span::secs(secs);
            let mut sample = world.sample();
            sample.processes.clear();
            let rests = secs > 60 && secs < 60 + late;
            for service in sample.groups.iter_mut().filter(|group| group.id == SERVICE) {
                service.current = held(if rests { 60 } else { secs });
                service.anon = service.current;
                if secs >= 60 + late {
                    service.limit = Limit::Bytes(Bytes::mebi(1000));
                }
            }
            let decision = engine.step(world.now, Input::Sample(&sample));
            assert!(decision.alarms.is_empty(), "{late} s unseen, after {secs} s");
            let own = decision
                .readings
                .iter()
                .find(|reading| reading.scope == Some(SERVICE));
            if let Some(own) = own.filter(|_| secs >= 70 + late) {
                let left = Span::secs(500 - secs);
                let range = own.runway.p10..=own.runway.p90;
                assert!(
                    range.contains(&left),
                    "{late} s unseen, after {secs} s: {range:?}"
                );
            }
        }
    }
}
