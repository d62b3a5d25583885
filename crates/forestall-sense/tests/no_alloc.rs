//! A steady sample allocates nothing: it has to work when there is no memory left to be had.
// A counting allocator has to implement `GlobalAlloc`, whose methods are unsafe; it hands everything to the system's.
#![allow(unsafe_code)]

mod fixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fixture::{CID, Fixture, Task, UID};
use forestall_decide::{Bytes, Moment, ProcessSample, Span};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // The thread's own counter is gone while the thread ends; nobody counts then.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed to the system's allocator as it is; counting touches a constant-initialised thread-local
// only, which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above; the block came from the system allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn machine(fixture: &Fixture) {
    for pod in 0..20 {
        let uid = UID.replacen("0330", &format!("{pod:04}"), 1);
        let container = format!("/kubepods/burstable/pod{uid}/{CID}");
        fixture.group(&container, 1000 + pod);
        let pid = 1000 + u32::try_from(pod).expect("small");
        fixture.task(&Task {
            pid,
            cgroup: &container,
            anon_kib: 9_000,
            ..Task::default()
        });
        fixture.task(&Task {
            pid: pid + 500,
            comm: "leak",
            anon_kib: 9_000,
            ..Task::default()
        });
    }
    fixture.group("/system.slice/small.service", 1);
    for pid in 2000..2010 {
        fixture.task(&Task {
            pid,
            cgroup: "/system.slice/small.service",
            anon_kib: 100,
            ..Task::default()
        });
    }
    fixture.group("/system.slice/kubelet.service", 1);
    fixture.zswap("Y\n", "20\n");
}

fn kubelet(fixture: &Fixture, user_ticks: u64) {
    fixture.task(&Task {
        pid: 700,
        comm: "kubelet",
        cgroup: "/system.slice/kubelet.service",
        user_ticks,
        ..Task::default()
    });
}

/// Two minutes of samples, first ten a second and then one a second, so that everything that is due at some interval is
/// due at least once.
fn assert_steady(fixture: &Fixture, attention: bool, rest: bool) {
    kubelet(fixture, 0);
    let mut sensor = fixture.open();
    sensor.set_attention(attention);
    sensor.set_rest(rest);
    let small = |kib: u64| fixture.current("/system.slice/small.service", kib * 1024);
    small(1_000);
    sensor.sample(Moment(50_000), Span(0));
    // No process explains this, so that its small ones are followed.
    small(9_000);
    for tick in 1..=5 {
        sensor.sample(Moment(tick * 100_000), Span(0));
    }
    assert!(!sensor.last().groups.is_empty() && !sensor.last().processes.is_empty());
    // The kubelet works on, and is met again in every pass.
    kubelet(fixture, 9);
    let is_small = |process: &ProcessSample| process.id.pid == 2000;
    assert_eq!(sensor.last().processes.iter().any(is_small), !rest);
    let before = ALLOCATIONS.get();
    for tick in 6..=100 {
        sensor.sample(Moment(tick * 100_000), Span(0));
    }
    for second in 11..=130 {
        sensor.sample(Moment(second * 1_000_000), Span(0));
    }
    assert_eq!(
        ALLOCATIONS.get() - before,
        0,
        "attention: {attention}, rest: {rest}"
    );
    assert_eq!(sensor.failures(), 0);
    let node = sensor.last().node;
    assert_eq!(
        node.kubelet_heard_at,
        Moment(5_050_000).max(node.kubelet_heard_at)
    );
    assert!(node.zswap_room > Bytes::ZERO);
    // A part of what the look took; the two clocks are not read at once.
    let processor = node.sample_processor.expect("it is measured");
    assert!(processor > Span(0) && processor <= node.sample_cost + Span::millis(1));
}

#[test]
fn a_glance_and_its_recall_allocate_nothing() {
    let fixture = Fixture::v2();
    let mut sensor = fixture.open();
    sensor.set_rest(true);
    sensor.sample(Moment(1), Span(0));
    let before = ALLOCATIONS.get();
    for second in 1..=50 {
        assert!(sensor.glance(Moment(second * 1_000_000), Span(0)).is_some());
    }
    while sensor.recall().is_some() {}
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_steady_sample_allocates_nothing() {
    let v2 = Fixture::v2();
    machine(&v2);
    assert_steady(&v2, false, false);
    assert_steady(&v2, true, false);
    assert_steady(&v2, false, true);
    let v1 = Fixture::v1();
    machine(&v1);
    assert_steady(&v1, false, false);
    assert_steady(&v1, true, false);
    assert_steady(&v1, false, true);
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1_u8; 64]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
