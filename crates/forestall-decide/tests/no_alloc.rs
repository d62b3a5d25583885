//! A steady look allocates nothing: the guard thread must not depend on memory when there is none.

// A counting allocator is the only way to see it, and implementing one is unsafe by its trait.
#![allow(unsafe_code)]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use forestall_decide::{Bytes, GroupId, Input, Limit, Span};
use world::{MIB, World, enforcing};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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
    for id in 1..=256 {
        let container = world.container(id, 100);
        container.limit = Limit::Bytes(Bytes::mebi(200));
        container.rate = if id == 7 { MIB } else { 0 };
    }
    let mut engine = enforcing();
    let mut sample = world.sample();
    let mut look = |engine: &mut forestall_decide::Engine, ticks: u64, grow: u64| {
        for _ in 0..ticks {
            for group in sample.groups.iter_mut().filter(|group| group.id == GroupId(7)) {
                group.current += Bytes(grow);
                group.anon += Bytes(grow);
            }
            world.now = world.now + Span::millis(100);
            engine.step(world.now, Input::Sample(&sample));
        }
    };
    // The first looks fill the tracks, raise the alarm of container 7 and size the answer's buffers.
    look(&mut engine, 300, MIB / 4);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    look(&mut engine, 500, MIB / 100);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
