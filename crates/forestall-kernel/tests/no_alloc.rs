//! Lines that are nothing to a report cost no allocation, and whatever is read, no more than so much memory is held.

// A counting allocator is the only way to see it, and implementing one is unsafe by its trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use forestall_kernel::kmsg::{KmsgReader, Line, Record, unescape_into};
use forestall_kernel::oom::{Collector, Heard, LogScanner};
use forestall_kernel::tracing::TraceReader;

struct Counting;

thread_local! {
    // Of this thread alone: tests run side by side.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        HELD.set(HELD.get() + layout.size());
        PEAK.set(PEAK.get().max(HELD.get()));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        // SAFETY: `pointer` came from `System` by the method above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a kernel prints beside reports, and what resembles one.
const OTHERS: [&str; 8] = [
    "6,1,2,-;device eth0 entered promiscuous mode",
    "6,2,3,-,caller=T77;audit: type=1400 apparmor=\\x22ALLOWED\\x22 name=/proc/1/oom_score_adj",
    "4,3,4,-;slab_out_of_memory: 72 callbacks suppressed",
    "12,4,5,-;Out of memory: Killed process 1 (init) total-vm:1kB",
    "[    1.500000] oom_reaper: started",
    "Feb 20 08:18:28 host kernel: [    1.500000] [   12] 0 12 1 1 a",
    "Feb 20 08:18:28 host kubelet[812]: Memory cgroup out of memory: Killed process 1 (a) total-vm:1kB",
    "CPU: 0 PID: 7 Comm: a Not tainted",
];

#[test]
fn a_line_that_is_nothing_to_a_report_allocates_nothing() {
    let mut collector = Collector::new();
    let mut scanner = LogScanner::new();
    let block = OTHERS.map(|line| format!("{line}\n")).concat().repeat(50);
    let mut buffer = [0; 256];
    let mut reports = 0;
    let mut none = |_| reports += 1;
    // The first line of each may size what is kept.
    collector.hear(&Line::of_text(OTHERS[0].as_bytes()), &mut none);
    scanner.feed(block.as_bytes(), &mut none);
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        for line in &OTHERS[1..] {
            let line = Line::of_text(line.as_bytes());
            assert_eq!(collector.hear(&line, &mut none), Heard::Nothing);
        }
        if let Some(record) = Record::parse(OTHERS[1].as_bytes()) {
            unescape_into(record.text, &mut buffer);
        }
    }
    for block in block.as_bytes().chunks(777) {
        scanner.feed(block, &mut none);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(reports, 0);
}

#[test]
fn reading_a_record_allocates_nothing() {
    let (writer, reader) = UnixDatagram::pair().expect("a pair");
    reader.set_nonblocking(true).expect("set");
    let mut kmsg = KmsgReader::over(reader.into(), Path::new("/dev/kmsg"));
    for number in 0..8 {
        let record = format!("6,{},{number},-;text\n KEY=value\n", number * 3);
        writer.send(record.as_bytes()).expect("sent");
    }
    writer.send(b"nonsense").expect("sent");
    let before = ALLOCATIONS.get();
    let mut read = 0;
    while let Some(record) = kmsg.next_record().expect("of use") {
        read += record.fields().count();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!((read, kmsg.lost(), kmsg.malformed()), (8, 14, 1));
}

#[test]
fn reading_what_tracing_tells_allocates_nothing() {
    let instance = tempfile::tempdir().expect("a directory");
    let write = |name: &str, content: &[u8]| {
        let path = instance.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, content).expect("written");
    };
    let field = |kind: &str, offset: usize, size: usize| {
        format!("\tfield:{kind};\toffset:{offset};\tsize:{size};\tsigned:0;\n")
    };
    let header =
        field("u64 timestamp", 0, 8) + &field("local_t commit", 8, 8) + &field("char data", 16, 4080);
    write("events/header_page", header.as_bytes());
    let format =
        field("unsigned short common_type", 0, 2) + &field("int common_pid", 4, 4) + &field("int pid", 8, 4);
    write(
        "events/oom/mark_victim/format",
        format!("ID: 7\n{format}").as_bytes(),
    );
    write("trace_pipe", b"");
    // Three words: the kind of the event, who needed memory, and the victim.
    let record = [7_u32, 1, 2].map(u32::to_ne_bytes).concat();
    let word = if cfg!(target_endian = "big") {
        3_u32 << 27
    } else {
        3
    };
    let entries = [&word.to_ne_bytes()[..], &record].concat().repeat(200);
    let mut page = [0_u64, 3200].map(u64::to_ne_bytes).concat();
    page.extend_from_slice(&entries);
    page.resize(4096, 0);
    write("per_cpu/cpu0/trace_pipe_raw", &page.repeat(3));
    let mut reader = TraceReader::open(instance.path()).expect("all of it is there");
    let before = ALLOCATIONS.get();
    let mut heard = 0;
    assert_eq!(reader.read(|_| heard += 1), Ok(600));
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!((heard, reader.malformed()), (600, 0));
}

#[test]
fn no_storm_of_reports_holds_more_than_two_mebibytes() {
    let long = "x".repeat(3000);
    let mut line = String::with_capacity(16_384);
    let mut collector = Collector::new();
    let (mut reports, mut number) = (0_u64, 0_u64);
    let before = HELD.get();
    PEAK.set(before);
    for caller in 0..200_u64 {
        // Each by another caller, none with an end, and each a group of one less than a report holds.
        let mut say = |text: std::fmt::Arguments<'_>| {
            line.clear();
            number += 1;
            write!(line, "4,{number},{number},-,caller=T{caller};{text}").expect("strings grow");
            collector.hear(&Line::of_text(line.as_bytes()), &mut |_| reports += 1);
        };
        say(format_args!(
            "{long} invoked oom-killer: gfp_mask=0x1({long}), nodemask={long}, order=0, oom_score_adj=0"
        ));
        say(format_args!(
            "Task in /{long} killed as a result of limit of /{long}"
        ));
        say(format_args!("[ pid ] uid rss name"));
        for pid in 0..40 {
            say(format_args!("[ {pid}] 0 {pid} {long}"));
        }
        say(format_args!(
            "Memory cgroup out of memory: Killed process 39 ({long}) total-vm:1kB"
        ));
        say(format_args!(
            "Tasks in /{long} are going to be killed due to memory.oom.group set"
        ));
        for pid in 0..=254 {
            say(format_args!(
                "Memory cgroup out of memory: Killed process {pid} ({long}) total-vm:1kB"
            ));
        }
    }
    let held = PEAK.get() - before;
    assert!(held < 2 << 20, "{held} bytes");
    collector.finish(&mut |_| reports += 1);
    assert!(reports >= 200);
}
