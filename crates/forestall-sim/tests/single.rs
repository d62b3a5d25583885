//! One node, small worlds: what the kernel, the kubelet and the agent do, with figures worked out by hand.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{
    Bytes, BytesPerSecond, Limit, Mode, Moment, OutcomeKind, Owner, Policy, Rung, Rungs, Span, WallKind,
};
use forestall_sim::{
    ContainerSpec, Event, Fault, FaultKind, Load, NodeSpec, Options, Part, Place, PodSpec, Running, What,
    World,
};

const MIB: u64 = 1 << 20;

fn leak(rate_mebi: u64) -> Load {
    Load::Leak {
        part: Part::Anon,
        rate: BytesPerSecond(rate_mebi * MIB),
        total: None,
        delay: Span(0),
    }
}

fn container(name: &str, base_mebi: u64, load: Load) -> ContainerSpec {
    ContainerSpec {
        base: Bytes::mebi(base_mebi),
        load,
        ..ContainerSpec::plain(name)
    }
}

fn pod(name: &str, base_mebi: u64, load: Load) -> PodSpec {
    PodSpec {
        place: Place::Node(0),
        ..PodSpec::plain(name, vec![container("app", base_mebi, load)])
    }
}

/// A node of 1,000 MiB whose kubelet keeps 100 MiB for itself and evicts below `hard`.
fn world(hard_mebi: u64, pods: Vec<PodSpec>) -> World {
    let memory = Bytes::mebi(1000);
    let hard = |signal| Threshold {
        signal,
        value: Bytes::mebi(hard_mebi),
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    let config = KubeletConfig {
        capacity: memory,
        kube_reserved: Bytes::mebi(100),
        thresholds: vec![
            hard(Signal::MemoryAvailable),
            hard(Signal::AllocatableMemoryAvailable),
        ],
        ..KubeletConfig::default()
    };
    World {
        title: "one node".to_owned(),
        seed: 1,
        duration: Span::secs(600),
        nodes: vec![NodeSpec {
            kubelet: Some(config),
            ..NodeSpec::plain("a", memory)
        }],
        pods,
        faults: Vec::new(),
        policy: None,
        reschedule: Span::secs(3),
    }
}

fn run(world: &World, options: Options) -> Vec<Event> {
    let mut running = Running::start(world, options).expect("a sound world");
    let mut events = Vec::new();
    while running.go_on(&mut |event| events.push(event.clone())) {}
    events
}

fn kills(events: &[Event]) -> Vec<(WallKind, &str, u64)> {
    events
        .iter()
        .filter_map(|event| match &event.what {
            What::KernelKilled { wall, victim, .. } => Some((*wall, &*victim.name, event.at.0 / 1000)),
            _ => None,
        })
        .collect()
}

fn evictions(events: &[Event]) -> Vec<(WallKind, &str, u64)> {
    events
        .iter()
        .filter_map(|event| match &event.what {
            What::Evicting { wall, victim, .. } => Some((*wall, &*victim.name, event.at.0 / 1000)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_fast_leak_reaches_kubepods_between_two_looks_and_the_kernel_kills() {
    // 900 MiB at 500 MiB/s: 1.8 s.
    let mut spec = pod("leak", 0, leak(500));
    spec.start = Moment(10_000_000);
    let mut world = world(100, vec![spec, pod("calm", 100, Load::Steady)]);
    // 100 MiB are somebody else's: 800 MiB, 1.6 s; within a look of ten seconds that may come first, so the look is late.
    world.duration = Span::secs(12);
    let events = run(&world, Options::default());
    let kills = kills(&events);
    if evictions(&events).is_empty() {
        assert_eq!(kills.first(), Some(&(WallKind::Kubepods, "leak-0/app", 11_600)));
    } else {
        assert!(kills.is_empty(), "{kills:?}");
    }
}

#[test]
fn a_slow_leak_is_evicted_at_the_first_look_below_the_threshold() {
    // Allocatable: 900 − 100 = 800 MiB; 100 of them are calm, so 700 MiB at 1 MiB/s: 700 s.
    let mut world = world(100, vec![pod("leak", 0, leak(1)), pod("calm", 100, Load::Steady)]);
    world.duration = Span::secs(720);
    let events = run(&world, Options::default());
    let evictions = evictions(&events);
    assert_eq!(evictions.len(), 1, "{events:?}");
    let (wall, name, millis) = evictions[0];
    assert_eq!((wall, name), (WallKind::KubeletAllocatable, "leak-0"));
    assert!((700_000..710_000).contains(&millis), "{millis}");
    assert_eq!(kills(&events), []);
}

#[test]
fn a_pod_that_has_just_started_is_known_by_what_it_used_at_its_start_and_not_evicted_first() {
    let mut world = world(100, vec![pod("leak", 0, leak(1)), pod("calm", 100, Load::Steady)]);
    world.duration = Span::secs(720);
    let before = evictions(&run(&world, Options::default()))[0].2;
    // Five seconds before the kubelet looks, with nothing and then at 1 MiB/s: over its request, and by less than the leak.
    let mut young = pod("young", 0, leak(1));
    young.start = Moment((before - 5000) * 1000);
    world.pods.push(young);
    let events = run(&world, Options::default());
    let (_, name, after) = evictions(&events)[0];
    assert_eq!((name, after), ("leak-0", before));
}

#[test]
fn a_container_at_its_own_limit_is_killed_there_and_starts_again() {
    let mut spec = pod("leak", 0, leak(100));
    spec.containers[0].limit = Limit::Bytes(Bytes::mebi(200));
    let mut world = world(100, vec![spec]);
    world.duration = Span::secs(60);
    let times: Vec<u64> = kills(&run(&world, Options::default()))
        .iter()
        .map(|kill| kill.2)
        .collect();
    // Two seconds each; restarts after 1, 10, 20 s.
    assert_eq!(times, [2000, 5000, 17_000, 39_000]);
}

#[test]
fn the_machine_kills_by_badness_and_not_who_leaks() {
    let mut world = world(0, vec![pod("best-effort", 150, Load::Steady)]);
    world.nodes[0].host = vec![container("leaker", 0, leak(10))];
    world.duration = Span::secs(120);
    let events = run(&world, Options::default());
    // The pod's adj of 1000 adds the whole machine to its badness.
    assert_eq!(
        kills(&events).first().map(|kill| (kill.0, kill.1)),
        Some((WallKind::Kernel, "best-effort-0/app"))
    );
}

#[test]
fn an_agent_ends_the_leak_alone_and_the_kernel_kills_nobody() {
    let mut world = world(0, vec![pod("leak", 0, leak(20)), pod("calm", 300, Load::Steady)]);
    world.duration = Span::secs(60);
    // 600 MiB at 20 MiB/s: 30 s; the next one would be due a second after the end.
    assert_eq!(kills(&run(&world, Options::default())).len(), 1);
    world.policy = Some(Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    });
    let events = run(&world, Options::default());
    assert_eq!(kills(&events), []);
    let ended: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::ContainerEnded {
                victim,
                by_agent: true,
            } => Some(&*victim.name),
            _ => None,
        })
        .collect();
    assert!(
        !ended.is_empty() && ended.iter().all(|name| *name == "leak-0/app"),
        "{ended:?}"
    );
}

#[test]
fn nobody_hears_what_became_of_the_order_of_an_agent_that_is_gone() {
    let mut world = world(0, vec![pod("leak", 0, leak(5)), pod("calm", 300, Load::Steady)]);
    world.policy = Some(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Brake]),
        ..Policy::default()
    });
    let landed = |world: &World| {
        let events = run(world, Options::default());
        let landed = |event: &Event| match event.what {
            What::Landed { id, kind, .. } => Some((event.at, id, kind)),
            _ => None,
        };
        events.iter().filter_map(landed).collect::<Vec<_>>()
    };
    let undisturbed = landed(&world);
    let [
        (on, first, OutcomeKind::Progress),
        (off, same, OutcomeKind::Done),
        ..,
    ] = undisturbed[..]
    else {
        panic!("{undisturbed:?}")
    };
    assert_eq!(first, same);
    // The brake is on while the one that ordered it is replaced; its successor's first order has the same number.
    world.faults.push(Fault {
        kind: FaultKind::AgentRestart,
        node: None,
        from: on + Span::secs(5),
        lasts: Span::secs(1),
    });
    let told = landed(&world);
    assert!(
        told.iter().all(|(at, ..)| *at != off),
        "{told:?} after {undisturbed:?}"
    );
    assert!(
        told.iter().filter(|(_, id, _)| *id == first).count() > 1,
        "{told:?}"
    );
}

#[test]
fn the_kubelet_evicts_for_active_cache_and_an_agent_reclaims_it() {
    let reader = Load::Reader {
        file: Bytes::mebi(700),
        rate: BytesPerSecond(50 * MIB),
    };
    let mut world = world(
        150,
        vec![pod("reader", 10, reader), pod("calm", 100, Load::Steady)],
    );
    world.duration = Span::secs(120);
    let events = run(&world, Options::default());
    let for_cache = events
        .iter()
        .any(|event| matches!(&event.what, What::Evicting { for_cache: true, victim, .. } if &*victim.name == "reader-0"));
    assert!(for_cache, "{events:?}");
    world.policy = Some(Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    });
    assert_eq!(evictions(&run(&world, Options::default())), []);
}

#[test]
fn a_pod_that_leaves_a_node_starts_on_the_other_and_a_naked_one_never_does() {
    for (owner, starts) in [(Owner::Controller, 2), (Owner::Nobody, 1)] {
        let mut spec = pod("leak", 0, leak(10));
        spec.owner = owner;
        let mut world = world(100, vec![spec]);
        world.nodes.push(world.nodes[0].clone());
        world.duration = Span::secs(120);
        let started: Vec<u32> = run(&world, Options::default())
            .iter()
            .filter(|event| matches!(event.what, What::PodStarted { .. }))
            .map(|event| event.node)
            .collect();
        assert_eq!(started.len(), starts, "{owner:?}");
        if starts == 2 {
            assert_eq!(started, [0, 1]);
        }
    }
}

#[test]
fn a_load_that_comes_in_phases_goes_through_them_in_a_pod_of_its_own() {
    let burst = Load::Burst {
        size: Bytes::mebi(300),
        rise: Span::secs(10),
        hold: Span::secs(10),
        every: Span::secs(60),
    };
    // It would fill the node within half a minute if it went on as it begins.
    let world = world(100, vec![pod("burst", 100, burst)]);
    let events = run(&world, Options::default());
    assert_eq!((kills(&events), evictions(&events)), (vec![], vec![]));
}
