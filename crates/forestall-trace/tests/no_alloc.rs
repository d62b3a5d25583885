//! The deciding thread's end of the exchange allocates nothing, whether it is emptied or not.

// A counting allocator is the only way to see it, and implementing one is unsafe by its trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Input, Moment, Policy, ProcessId, Qos, Sample,
};
use forestall_trace::tap::{Intake, Namer, Waited, open};
use forestall_trace::{Encoder, Item, Origin, Reader};

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

/// Everybody's name is the same.
struct Same;

impl Namer for Same {
    fn group(&self, _: GroupId) -> Option<&[u8]> {
        Some(b"/kubepods/pod1/container")
    }

    fn process(&self, _: ProcessId) -> Option<&[u8]> {
        None
    }
}

fn sample(groups: u64) -> Sample {
    Sample {
        groups: (0..groups).map(group).collect(),
        ..Sample::default()
    }
}

fn group(id: u64) -> GroupSample {
    GroupSample {
        id: GroupId(id),
        kind: GroupKind::Container(Qos::Burstable),
        leaf: true,
        populated: true,
        current: Bytes::mebi(id),
        ..GroupSample::default()
    }
}

/// Records everything that is waiting; returns how many inputs were said to be lost.
fn drain(intake: &mut Intake, encoder: &mut Encoder, out: &mut Vec<u8>) -> u64 {
    let mut lost = 0;
    while let Waited::Slot(slot) = intake.wait(Duration::ZERO) {
        lost += slot.lost();
        slot.record(encoder, out);
        intake.give_back(slot);
    }
    lost
}

// One test, because the counter counts all threads of the process.
#[test]
fn an_input_is_handed_over_without_allocating_and_what_is_lost_is_said() {
    let (mut tap, mut intake) = open(100, 10);
    let mut encoder = Encoder::new(Origin::default(), Policy::default());
    let mut out = Vec::new();
    encoder.open_segment(Moment(0), 0, &mut out);
    let (small, large) = (sample(80), sample(300));
    // The channels' own memory grows when they are first waited on.
    tap.sample(Moment(1), &small, &Same);
    assert_eq!(drain(&mut intake, &mut encoder, &mut out), 0);
    // There are twelve slots, and twice as many once all but two of them wait, up to thirty-two.
    for (count, lost) in [(9, 0), (13, 0), (24, 1), (3, 0)] {
        (0..count).for_each(|_| tap.policy(Moment(1), &Policy::default()));
        assert_eq!(drain(&mut intake, &mut encoder, &mut out), lost);
    }

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    // Thirty-six inputs find thirty-two slots; cgroups come and go in them.
    let (one, two) = (&small, &Sample::default());
    for at in 2..38 {
        tap.sample(Moment(at), if at % 3 == 0 { two } else { one }, &Same);
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert_eq!(drain(&mut intake, &mut encoder, &mut out), 0);

    // The next one says that four are missing; a larger sample is missing until there is room for it.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    tap.policy(Moment(38), &Policy::default());
    tap.sample(Moment(39), &large, &Same);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert_eq!(drain(&mut intake, &mut encoder, &mut out), 4 + 1);
    for at in 40..100 {
        tap.sample(Moment(at), &large, &Same);
        drain(&mut intake, &mut encoder, &mut out);
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    tap.sample(Moment(100), &large, &Same);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert_eq!(drain(&mut intake, &mut encoder, &mut out), 0);

    let mut reader = Reader::open(&out).expect("it was just written");
    let (mut samples, mut lost, mut last) = (0, 0, 0);
    while let Some(item) = reader.read() {
        match item {
            Item::Input(_, Input::Sample(sample)) => (samples, last) = (samples + 1, sample.groups.len()),
            Item::Lost(count) => lost += count,
            _ => {}
        }
    }
    // All samples, and the one policy that found no slot.
    assert_eq!((samples + lost, last), (1 + 36 + 1 + 60 + 1 + 1, 300));
    assert!(lost < 1 + 4 + 1 + 32, "{lost} lost");
    // All names fit into few samples.
    assert!((0..300).all(|id| reader.names().group(GroupId(id)).is_some()));

    // After so many inputs without a crowd there are twelve slots again, and no loss is due to that.
    for _ in 0..100 {
        tap.policy(Moment(101), &Policy::default());
        assert_eq!(drain(&mut intake, &mut encoder, &mut out), 0);
    }
    (0..13).for_each(|_| tap.policy(Moment(102), &Policy::default()));
    tap.sample(Moment(103), &large, &Same);
    assert_eq!(drain(&mut intake, &mut encoder, &mut out), 0);
    tap.policy(Moment(104), &Policy::default());
    assert_eq!(drain(&mut intake, &mut encoder, &mut out), 2);
}
