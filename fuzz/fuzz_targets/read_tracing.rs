//! Any bytes as pages of the kernel's tracing, in the formats of real kernels, and as those formats themselves.
//!
//! The first byte chooses the kernel; behind 255 the input is the formats, too: what begins a page, and the event's, each up to a zero byte.

#![no_main]

use std::cell::LazyCell;
use std::fs;
use std::path::Path;

use forestall_kernel::tracing::{TraceEvent, TraceReader};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// As 64-bit kernels with pages of 4 KiB have it.
const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";
const PAGE_BYTES: usize = 4096;

const FORMATS: [&str; 4] = [
    include_str!("../../crates/forestall-kernel/tests/oom/4.4-v1-tracepoint-format.txt"),
    include_str!("../../crates/forestall-kernel/tests/oom/5.10-v2-tracepoint-format.txt"),
    include_str!("../../crates/forestall-kernel/tests/oom/6.1-v2-tracepoint-format.txt"),
    include_str!("../../crates/forestall-kernel/tests/oom/6.14-v2-tracepoint-format.txt"),
];
const EVENTS: [(&str, u8); 2] = [("oom/mark_victim", 7), ("signal/signal_generate", 9)];

thread_local! {
    static INSTANCES: LazyCell<Vec<TempDir>> = const { LazyCell::new(|| FORMATS.iter().map(|kept| instance(kept)).collect()) };
}

/// A directory that looks like an instance; the event's numbers are small, so that they are found soon.
fn instance(kept: &str) -> TempDir {
    let folder = TempDir::new_in("/dev/shm").expect("a directory");
    write(folder.path(), "events/header_page", HEADER_PAGE.as_bytes());
    write(folder.path(), "trace_pipe", b"");
    for (event, id) in EVENTS {
        let (_, from) = kept
            .split_once(&format!("## {event}\n"))
            .expect("it was looked for");
        let fields = from.split("## ").next().unwrap_or_default();
        let format = format!("name: {event}\nID: {id}\nformat:\n{fields}");
        write(
            folder.path(),
            &format!("events/{event}/format"),
            format.as_bytes(),
        );
    }
    folder
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(path, content).expect("written");
}

/// What is told, and how much made no sense.
fn read(folder: &Path, pages: &[u8]) -> Option<(Vec<TraceEvent>, u64, u64)> {
    write(folder, "per_cpu/cpu0/trace_pipe_raw", pages);
    let mut reader = TraceReader::open(folder).ok()?;
    let mut events = Vec::new();
    // It stops after so many pages, and goes on.
    while reader
        .read(|event| events.push(event))
        .expect("a file can be read")
        > 0
    {}
    Some((events, reader.lost(), reader.malformed()))
}

fn judge(events: &[TraceEvent], pages: &[u8]) {
    // A record has a word before it.
    assert!(events.len() <= pages.len() / 4);
    for event in events {
        let name = match event {
            TraceEvent::Marked(marked) => marked.comm,
            TraceEvent::Signal(signal) => Some(signal.comm),
        };
        let Some(name) = name else { continue };
        let bytes = name.as_bytes();
        assert!(bytes.len() <= 16 && !bytes.contains(&0));
        assert!(
            bytes.is_empty() || pages.windows(bytes.len()).any(|part| part == bytes),
            "a name that nobody wrote"
        );
        assert!(
            format!("{event:?}")
                .bytes()
                .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        );
    }
}

fuzz_target!(|content: &[u8]| {
    let Some((kernel, rest)) = content.split_first() else {
        return;
    };
    INSTANCES.with(|instances| {
        if *kernel == 255 {
            let mut parts = rest.splitn(3, |byte| *byte == 0);
            let mut part = || parts.next().unwrap_or_default();
            let (header, format, pages) = (part(), part(), part());
            let folder = instance(FORMATS[1]);
            write(folder.path(), "events/header_page", header);
            write(folder.path(), "events/oom/mark_victim/format", format);
            if let Some((events, ..)) = read(folder.path(), pages) {
                judge(&events, pages);
            }
            return;
        }
        let folder = instances[usize::from(*kernel) % FORMATS.len()].path();
        let (events, lost, malformed) = read(folder, rest).expect("an instance");
        judge(&events, rest);
        // Page by page it is the same, but for the rounds in which nothing was told.
        if rest.len() <= 8 * PAGE_BYTES {
            let mut apart = (Vec::new(), 0, 0);
            for page in rest.chunks(PAGE_BYTES) {
                let (events, lost, malformed) = read(folder, page).expect("an instance");
                apart.0.extend(events);
                apart.1 += lost;
                apart.2 += malformed;
            }
            assert_eq!((events, lost, malformed), apart);
        }
    });
});
