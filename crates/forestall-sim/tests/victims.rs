//! Whom the kernel picks, and when the kubelet looks: what a lab of real kernels showed the simulator to have wrong.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{Bytes, BytesPerSecond, Moment, Span};
use forestall_sim::{
    ContainerSpec, Event, Load, NodeSpec, Options, Part, Place, PodSpec, Running, What, World,
};

const MIB: u64 = 1 << 20;

fn pod(name: &str, container: ContainerSpec) -> PodSpec {
    PodSpec {
        place: Place::Node(0),
        ..PodSpec::plain(name, vec![container])
    }
}

/// A best-effort pod of 100 MiB beside another one that grows in `part` by 50 MiB/s from the start.
fn world(kubelet: Option<KubeletConfig>, part: Part, largest_process: Option<Bytes>) -> World {
    let steady = ContainerSpec {
        base: Bytes::mebi(100),
        ..ContainerSpec::plain("app")
    };
    let grower = ContainerSpec {
        load: Load::Leak {
            part,
            rate: BytesPerSecond(50 * MIB),
            total: None,
            delay: Span(0),
        },
        largest_process,
        ..ContainerSpec::plain("app")
    };
    World {
        title: "one node".to_owned(),
        seed: 1,
        duration: Span::secs(60),
        nodes: vec![NodeSpec {
            kubelet,
            first_look: Some(Moment(3_000_000)),
            ..NodeSpec::plain("a", Bytes::mebi(1000))
        }],
        pods: vec![pod("steady", steady), pod("grower", grower)],
        faults: Vec::new(),
        policy: None,
        reschedule: Span::secs(3),
    }
}

fn first(world: &World, take: impl Fn(&What) -> Option<Box<str>>) -> (Box<str>, u64) {
    let mut running = Running::start(world, Options::default()).expect("a sound world");
    let mut events: Vec<Event> = Vec::new();
    while running.go_on(&mut |event| events.push(event.clone())) {}
    let mut named = events
        .iter()
        .filter_map(|event| Some((take(&event.what)?, event.at.0 / 1000)));
    named.next().expect("somebody ends")
}

fn killed(what: &What) -> Option<Box<str>> {
    match what {
        What::KernelKilled { victim, .. } => Some(victim.name.clone()),
        _ => None,
    }
}

// mm/oom_kill.c, oom_badness: the RSS and page tables of one process. Both pods are best-effort, so the larger process dies.
#[test]
fn the_largest_process_dies_and_not_the_largest_container() {
    let of = |largest| first(&world(None, Part::Anon, largest), killed).0;
    assert_eq!(&*of(None), "grower-0/app");
    assert_eq!(&*of(Some(Bytes::mebi(4))), "steady-0/app");
}

#[test]
fn full_pipes_kill_others_and_page_tables_their_owner() {
    let of = |largest| first(&world(None, Part::Kernel, largest), killed).0;
    assert_eq!(&*of(None), "grower-0/app", "page tables");
    assert_eq!(&*of(Some(Bytes::mebi(1))), "steady-0/app", "pipes");
}

// 1000 MiB less 44 that khugepaged keeps (two zones of eleven pageblocks), less the 100 that are held: 856 MiB at 50 a second
// take 17.12 s.
#[test]
fn the_machine_is_full_at_its_lowest_mark() {
    let (_, at_millis) = first(&world(None, Part::Anon, None), killed);
    assert_eq!(at_millis, 17_120);
}

// The threshold of 500 MiB is crossed after 8 s (100 held, 400 at 50 a second): looks at 3 s, 13 s.
#[test]
fn the_kubelet_looks_when_it_is_told_to() {
    let config = KubeletConfig {
        capacity: Bytes::mebi(1000),
        thresholds: vec![Threshold {
            signal: Signal::MemoryAvailable,
            value: Bytes::mebi(500),
            grace: Span(0),
            min_reclaim: Bytes::ZERO,
        }],
        ..KubeletConfig::default()
    };
    let (_, at_millis) = first(&world(Some(config), Part::Anon, None), |what| match what {
        What::Evicting { victim, .. } => Some(victim.name.clone()),
        _ => None,
    });
    assert_eq!(at_millis, 13_000);
}
