//! A steady look allocates nothing: the guard thread must not depend on memory when there is none.

// A counting allocator is the only way to see it, and implementing one is unsafe by its trait.
#![allow(unsafe_code)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use forestall_decide::kubelet::{
    Bounds, Candidate, ConfigSource, Grower, Growth, KubeletConfig, Manager, Observation, Outlook,
    PodOutlook, Reading, Shadow, Signs, Verdict,
};
use forestall_decide::{Bytes, BytesPerSecond, GroupId, Input, Limit, Moment, Owner, PodUid, Span};
use world::{MIB, World, enforcing};

struct Counting;

thread_local! {
    // Of this thread alone: tests run side by side.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by the method above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_steady_look_allocates_nothing_calm_or_near_a_wall() {
    let mut world = World::new(65_536, 60_000);
    world.kubelet = true;
    for id in 1..=256 {
        world.pod(id).owner = Owner::DaemonSet;
        let container = world.container(id, 100);
        container.limit = Limit::Bytes(Bytes::mebi(200));
        container.rate = if id == 7 { MIB } else { 0 };
    }
    let mut engine = enforcing();
    // The kubelet's next step is forecast as well, and its pods are ranked.
    let mut config = KubeletConfig {
        source: ConfigSource::Configz,
        capacity: Bytes::mebi(65_536),
        ..KubeletConfig::default()
    };
    // Of 65,536 MiB 25,620 are used.
    for threshold in &mut config.thresholds {
        threshold.value = Bytes::mebi(50_000);
    }
    engine.step(world.now, Input::KubeletConfig(&config));
    world.tell_once(&mut engine);
    let mut sample = world.sample();
    let mut look = |engine: &mut forestall_decide::Engine, ticks: u64, grow: u64| {
        let mut ranked = 0;
        for _ in 0..ticks {
            for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(7)) {
                group.current += Bytes(grow);
                group.anon += Bytes(grow);
            }
            world.now = world.now + Span::millis(100);
            let decision = engine.step(world.now, Input::Sample(&sample));
            ranked += usize::from(decision.kubelet.is_some_and(|seen| !seen.victims.is_empty()));
        }
        ranked
    };
    // The first looks fill the tracks, raise the alarm of container 7 and size the answer's buffers.
    look(&mut engine, 300, MIB / 4);
    let before = ALLOCATIONS.get();
    // Within the minute in which the news of the pods are fresh.
    assert_eq!(
        look(&mut engine, 250, MIB / 100),
        250,
        "somebody is in sight at every look"
    );
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn the_shadow_kubelet_looks_without_allocating_calm_or_near_an_eviction() {
    let config = KubeletConfig {
        capacity: Bytes::mebi(8192),
        ..KubeletConfig::default()
    };
    let pod = |uid: u128| Candidate {
        uid: PodUid(uid),
        priority: 0,
        request: Bytes::ZERO.into(),
        working_set: Some(Bytes::mebi(50)),
        critical: uid == 3,
        grace: Span::secs(30),
    };
    let pods: Vec<Candidate> = (0..110).map(pod).collect();
    let outlooks: Vec<PodOutlook> = pods
        .iter()
        .map(|pod| PodOutlook {
            pod: *pod,
            low: Bytes::mebi(40),
            high: Bytes::mebi(60),
            growth_fast: BytesPerSecond(MIB),
            frees: Bytes::mebi(30),
        })
        .collect();
    let (mut shadow, mut manager) = (Shadow::new(config.clone()), Manager::new(config, Moment(0)));
    let mut look = |secs: u64, used_mebi: u64| {
        let (now, used) = (Moment(secs * 1_000_000), Bytes::mebi(used_mebi));
        let reading = Reading {
            available: Bytes::mebi(8192) - used,
            capacity: Bytes::mebi(8192),
            at: now,
        };
        let observed = Observation {
            memory: Some(reading),
            allocatable: Some(reading),
        };
        let rate = BytesPerSecond(10 * MIB);
        let growth = Growth {
            slow: rate,
            middle: rate,
            fast: rate,
        };
        let forecast = shadow.look(
            now,
            &Outlook {
                observed,
                node_growth: growth,
                pods_growth: growth,
                blind_growth: rate,
                node_cache: used,
                pods_cache: used,
                kernel: Bounds::PAST,
                kubepods: Bounds::PAST,
                grower: Grower::Host,
                pods: &outlooks,
                pods_known: true,
                signs: Signs::default(),
            },
        );
        assert!(forecast.victims.len() > 100);
        manager.sync(now, &observed, &pods, |_| 0).verdict
    };
    // The first look at pressure sizes the buffers.
    assert!(matches!(look(0, 8190), Verdict::Evict(_)));
    look(1, 5000);
    let before = ALLOCATIONS.get();
    for secs in 2..100 {
        look(secs, if secs % 3 == 0 { 8190 } else { 5000 });
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
