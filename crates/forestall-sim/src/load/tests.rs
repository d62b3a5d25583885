//! Workloads for themselves, without a kernel that takes anything away.

use super::*;

const MIB: u64 = 1 << 20;

fn mebi(memory: &Memory, part: Part, secs: u64) -> u64 {
    memory.bytes(part, Moment(secs * 1_000_000)).0 / MIB
}

/// Runs a load alone until `secs` have passed.
fn run(load: Load, lru: Lru, secs: u64) -> Memory {
    let mut running = Running::new(load, Bytes::mebi(10), lru);
    let mut memory = Memory::default();
    let mut turn = running.start(&mut memory, Moment(0));
    while let Turn::Next(Some(at)) = turn {
        if at > Moment(secs * 1_000_000) {
            break;
        }
        memory.rebase(at);
        turn = running.turn(&mut memory, at);
    }
    memory
}

#[test]
fn a_leak_waits_grows_and_stops_at_its_total() {
    let load = Load::Leak {
        part: Part::Shmem,
        rate: BytesPerSecond(4 * MIB),
        total: Some(Bytes::mebi(20)),
        delay: Span::secs(10),
    };
    for (secs, held) in [(9, 0), (12, 8), (15, 20), (100, 20)] {
        assert_eq!(
            mebi(&run(load, Lru::Classic, secs), Part::Shmem, secs),
            held,
            "{secs}"
        );
    }
    assert_eq!(mebi(&run(load, Lru::Classic, 50), Part::Anon, 50), 10);
}

#[test]
fn steps_come_every_interval() {
    let load = Load::Steps {
        block: Bytes::mebi(100),
        interval: Span::secs(6),
        total: Some(Bytes::mebi(300)),
        aborts: false,
    };
    for (secs, held) in [(1, 110), (5, 110), (7, 210), (13, 310), (60, 310)] {
        assert_eq!(
            mebi(&run(load, Lru::Classic, secs), Part::Anon, secs),
            held,
            "{secs}"
        );
    }
}

#[test]
fn a_burst_comes_and_goes_and_comes_again() {
    let load = Load::Burst {
        size: Bytes::mebi(50),
        rise: Span::secs(2),
        hold: Span::secs(3),
        every: Span::secs(10),
    };
    for (secs, held) in [(1, 35), (3, 60), (6, 10), (11, 35), (14, 60)] {
        assert_eq!(
            mebi(&run(load, Lru::Classic, secs), Part::Anon, secs),
            held,
            "{secs}"
        );
    }
}

#[test]
fn a_heap_keeps_what_a_collection_leaves_and_stays_below_its_plateau() {
    let load = Load::Heap {
        step: Bytes::mebi(40),
        interval: Span::secs(10),
        freed_permille: 500,
        plateau: Bytes::mebi(100),
    };
    // Live: 0, 20, 40, 60 and no more; the peak is the live heap and one step.
    for (secs, held) in [(5, 30), (15, 50), (25, 70), (35, 90), (95, 90)] {
        assert_eq!(
            mebi(&run(load, Lru::Classic, secs), Part::Anon, secs),
            held,
            "{secs}"
        );
    }
    assert_eq!(mebi(&run(load, Lru::Classic, 999), Part::Anon, 999), 10 + 60 + 36);
}

#[test]
fn a_second_reading_makes_cache_active_on_the_classic_lru_only() {
    let load = Load::Reader {
        file: Bytes::mebi(740),
        rate: BytesPerSecond(74 * MIB),
    };
    let after_one = run(load, Lru::Classic, 9);
    assert_eq!(
        (
            mebi(&after_one, Part::Inactive, 9),
            mebi(&after_one, Part::Active, 9)
        ),
        (666, 0)
    );
    let after_two = run(load, Lru::Classic, 21);
    assert_eq!(
        (
            mebi(&after_two, Part::Inactive, 21),
            mebi(&after_two, Part::Active, 21)
        ),
        (0, 740)
    );
    let other = run(load, Lru::MultiGen, 90);
    assert_eq!(
        (mebi(&other, Part::Inactive, 90), mebi(&other, Part::Active, 90)),
        (740, 0)
    );
}

#[test]
fn what_was_taken_from_a_reader_is_read_again() {
    let load = Load::Reader {
        file: Bytes::mebi(100),
        rate: BytesPerSecond(10 * MIB),
    };
    let mut running = Running::new(load, Bytes::ZERO, Lru::Classic);
    let mut memory = Memory::default();
    let mut turn = running.start(&mut memory, Moment(0));
    while let Turn::Next(Some(at)) = turn {
        memory.rebase(at);
        turn = running.turn(&mut memory, at);
    }
    let now = Moment(60_000_000);
    memory.rebase(now);
    assert_eq!(memory.take(Part::Active, Bytes::mebi(30)), Bytes::mebi(30));
    let turn = running.lose_cache(&mut memory, now);
    assert_eq!(turn, Turn::Next(Some(Moment(63_000_000))));
    assert_eq!(memory.bytes(Part::Active, Moment(62_000_000)).0 / MIB, 90);
    assert_eq!(running.refaulted, Bytes::mebi(30));
}

#[test]
fn what_one_process_held_is_filled_anew() {
    let leak = |total| Load::Leak {
        part: Part::Anon,
        rate: BytesPerSecond(2 * MIB),
        total,
        delay: Span(0),
    };
    let lost = |load, phase_ends: bool| {
        let mut running = Running::new(load, Bytes::mebi(10), Lru::Classic);
        let mut memory = Memory::default();
        running.start(&mut memory, Moment(0));
        let now = Moment(if phase_ends { 20_000_000 } else { 5_000_000 });
        memory.rebase(now);
        if phase_ends {
            running.turn(&mut memory, now);
        }
        let longer = running.lose_process(&mut memory, Bytes::mebi(8));
        (
            longer,
            memory.bytes(Part::Anon, now).0 / MIB,
            memory.slope(Part::Anon) > 0,
        )
    };
    // 8 MiB at 2 MiB/s: while it grows, and again after it had grown to its total.
    assert_eq!(
        lost(leak(Some(Bytes::mebi(40))), false),
        (Some(Span::secs(4)), 12, true)
    );
    assert_eq!(
        lost(leak(Some(Bytes::mebi(40))), true),
        (Some(Span::secs(4)), 42, true)
    );
    assert_eq!(lost(leak(None), false), (None, 12, true));
    // A heap that has 30 MiB beside its base at most: two of its blocks are collected anew.
    let heap = Load::Heap {
        step: Bytes::mebi(10),
        interval: Span::secs(5),
        freed_permille: 0,
        plateau: Bytes::mebi(30),
    };
    let mut running = Running::new(heap, Bytes::mebi(10), Lru::Classic);
    let mut memory = Memory::default();
    let mut held = Vec::new();
    running.start(&mut memory, Moment(0));
    for secs in [5, 10, 15, 20, 25] {
        let now = Moment(secs * 1_000_000);
        memory.rebase(now);
        if secs == 15 {
            running.lose_process(&mut memory, Bytes::mebi(20));
        }
        running.turn(&mut memory, now);
        held.push(mebi(&memory, Part::Anon, secs));
    }
    assert_eq!(held, [20, 30, 20, 30, 30]);
}
