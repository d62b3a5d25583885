use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::format::{EventFormat, PageFormat};
use super::page::Page;
use super::record::{Known, MoveFields, SignalFields, Told, VictimFields};
use super::*;

const VICTIM: u16 = 609;
const SIGNAL: u16 = 261;

/// As 64-bit kernels with pages of 4 KiB have it.
const HEADER_PAGE: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
    \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
    \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
    \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

/// The formats of a kernel as it printed them, kept beside its logs.
fn formats(kernel: &str) -> [Option<String>; 2] {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/oom/{kernel}-tracepoint-format.txt"));
    let kept = fs::read_to_string(path).expect("a fixture");
    [("oom/mark_victim", VICTIM), ("signal/signal_generate", SIGNAL)].map(|(event, id)| {
        let (_, from) = kept
            .split_once(&format!("## {event}\n"))
            .expect("it was looked for");
        let fields = from.split("## ").next().unwrap_or_default();
        // 4.4 has no `mark_victim`: nothing stands below its name. The number is the boot's, and was not kept.
        (!fields.trim().is_empty()).then(|| format!("name: {event}\nID: {id}\nformat:\n{fields}"))
    })
}

fn known(kernel: &str) -> Known {
    let [victim, signal] = formats(kernel);
    let kind = signal
        .as_ref()
        .and_then(|content| EventFormat::of(content.as_bytes()).field(b"common_type"));
    Known {
        kind: kind.expect("a field"),
        victim: victim.and_then(|content| VictimFields::parse(content.as_bytes())),
        signal: signal.and_then(|content| SignalFields::parse(content.as_bytes())),
        moved: MoveFields::parse(MOVE_FORMAT.as_bytes()),
    }
}

/// Laid out as `include/trace/events/cgroup.h` declares it.
const MOVE_FORMAT: &str = "name: cgroup_attach_task\nID: 99\nformat:\n\
    \tfield:int dst_root;\toffset:8;\tsize:4;\tsigned:1;\n\tfield:int dst_level;\toffset:12;\tsize:4;\tsigned:1;\n\
    \tfield:u64 dst_id;\toffset:16;\tsize:8;\tsigned:0;\n\tfield:int pid;\toffset:24;\tsize:4;\tsigned:1;\n\
    \tfield:__data_loc char[] dst_path;\toffset:28;\tsize:4;\tsigned:0;\n\
    \tfield:__data_loc char[] comm;\toffset:32;\tsize:4;\tsigned:0;\n";

fn moved(hierarchy: i32, path: &[u8]) -> Vec<u8> {
    let length = u32::try_from(path.len() + 1).expect("short");
    [
        &common(99, 77)[..],
        &hierarchy.to_ne_bytes(),
        &3_i32.to_ne_bytes(),
        &7_u64.to_ne_bytes(),
        &4_711_i32.to_ne_bytes(),
        &((length << 16) + 36).to_ne_bytes(),
        &0_u32.to_ne_bytes(),
        path,
        b"\0",
    ]
    .concat()
}

#[test]
fn who_was_put_into_which_cgroup_of_version_2_is_told() {
    let known = known("6.14-v2");
    let path = b"/kubepods/pod1/web";
    let record = moved(0, path);
    let told = known.read(5, &record);
    assert_eq!(told, Told::Moved { pid: 4_711, path });
    assert_eq!(
        known.read(5, &moved(4, path)),
        Told::Other,
        "a hierarchy of version 1"
    );
    assert_eq!(known.read(5, &record[..40]), Told::Malformed);
}

/// The four fields that begin every record.
fn common(kind: u16, pid: i32) -> Vec<u8> {
    [&kind.to_ne_bytes()[..], &[0, 0], &pid.to_ne_bytes()].concat()
}

fn signal(sig: i32, code: i32, comm: [u8; 16]) -> Vec<u8> {
    let [sig, errno, code, pid, group, result] = [sig, 0, code, 4_711, 1, 0].map(i32::to_ne_bytes);
    [
        &common(SIGNAL, 77)[..],
        &sig,
        &errno,
        &code,
        &comm,
        &pid,
        &group,
        &result,
    ]
    .concat()
}

fn comm(name: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name);
    comm
}

fn marked_short(pid: i32) -> Vec<u8> {
    [&common(VICTIM, 77)[..], &pid.to_ne_bytes()].concat()
}

/// As 6.8 and later write it: 68 bytes of fields, padded to 72, and then the name.
fn marked_long(name: &[u8]) -> Vec<u8> {
    let text = [name, b"\0"].concat();
    let place = (u32::try_from(text.len()).expect("short") << 16) + 72;
    let mut record = common(VICTIM, 77);
    record.extend_from_slice(&4_711_i32.to_ne_bytes());
    record.extend_from_slice(&place.to_ne_bytes());
    for kib in [20_000_u64, 12_000, 300, 40] {
        record.extend_from_slice(&kib.to_ne_bytes());
    }
    record.extend_from_slice(&1_000_u32.to_ne_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&96_u64.to_ne_bytes());
    record.extend_from_slice(&(-997_i16).to_ne_bytes());
    record.resize(72, 0);
    record.extend_from_slice(&text);
    record
}

/// A first word, as little-endian processors lay it.
fn word(kind: u32, time: u32) -> [u8; 4] {
    if cfg!(target_endian = "big") {
        (kind << 27 | time).to_ne_bytes()
    } else {
        (time << 5 | kind).to_ne_bytes()
    }
}

/// A record within a page, as long as it is: in words of 4 bytes, or with a length of its own.
fn entry(time: u32, record: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    record.resize(record.len().next_multiple_of(4), 0);
    let length = u32::try_from(record.len()).expect("short");
    if length <= 28 * 4 {
        [&word(length / 4, time)[..], &record].concat()
    } else {
        [&word(0, time)[..], &(length + 4).to_ne_bytes(), &record].concat()
    }
}

fn page_of(flags: u64, length: usize, at_nanos: u64, data: &[u8]) -> Vec<u8> {
    let commit = flags | u64::try_from(length).expect("short");
    let mut page = [&at_nanos.to_ne_bytes()[..], &commit.to_ne_bytes(), data].concat();
    page.resize(4096, 0);
    page
}

fn page(data: &[u8]) -> Vec<u8> {
    page_of(0, data.len(), 1_000_000, data)
}

fn page_format() -> PageFormat {
    PageFormat::parse(HEADER_PAGE.as_bytes()).expect("a format")
}

fn times(page: &[u8]) -> (Vec<u64>, bool) {
    let mut page = Page::parse(&page_format(), page).expect("it has a beginning");
    let times = page.by_ref().map(|item| item.at_nanos).collect();
    (times, page.is_torn())
}

/// What stands in a fixture tree that looks like an instance.
struct Instance(tempfile::TempDir);

impl Instance {
    fn of(kernel: &str, processors: &[&[u8]]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let instance = Self(root);
        let write = |name: &str, content: &[u8]| {
            let path = instance.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, content).expect("written");
        };
        write("events/header_page", HEADER_PAGE.as_bytes());
        let [victim, signal] = formats(kernel);
        for (name, format) in [("oom/mark_victim", victim), ("signal/signal_generate", signal)] {
            if let Some(format) = format {
                write(&format!("events/{name}/format"), format.as_bytes());
            }
        }
        write("trace_pipe", b"");
        for (number, pages) in processors.iter().enumerate() {
            write(&format!("per_cpu/cpu{number}/trace_pipe_raw"), pages);
        }
        instance
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("instances/forestall")
    }

    fn read(&self) -> (Vec<TraceEvent>, TraceReader) {
        let mut reader = TraceReader::open(&self.path()).expect("it is all there");
        let mut heard = Vec::new();
        let count = reader.read(|event| heard.push(event)).expect("it can be read");
        assert_eq!(count, heard.len());
        (heard, reader)
    }
}

#[test]
fn a_victim_is_told_in_the_shape_of_its_kernel() {
    let short = page(&entry(5, &marked_short(4_711)));
    let (heard, reader) = Instance::of("5.10-v2", &[&short]).read();
    let expected = MarkedVictim {
        at_nanos: 1_000_005,
        trigger_pid: 77,
        pid: 4_711,
        comm: None,
        uid: None,
        oom_score_adj: None,
        memory: None,
    };
    assert_eq!(heard, [TraceEvent::Marked(expected)]);
    assert!(reader.sees_victims() && reader.sees_signals());
    for kernel in ["6.1-v2", "6.12-v2", "6.14-v2"] {
        let long = page(&entry(5, &marked_long(b"java")));
        let (heard, _) = Instance::of(kernel, &[&long]).read();
        let expected = MarkedVictim {
            comm: Some(Comm::of(b"java")),
            uid: Some(1_000),
            oom_score_adj: Some(-997),
            memory: Some(VictimMemory {
                total_vm_bytes: 20_480_000,
                anon_bytes: 12_288_000,
                file_bytes: 307_200,
                shmem_bytes: 40_960,
                page_tables_bytes: 98_304,
            }),
            ..expected
        };
        assert_eq!(heard, [TraceEvent::Marked(expected)], "{kernel}");
    }
}

#[test]
fn a_kernel_without_the_event_tells_of_signals_alone() {
    let (heard, reader) = Instance::of("4.4-v1", &[&page(&entry(0, &signal(9, 0, comm(b"a"))))]).read();
    assert!(!reader.sees_victims() && reader.sees_signals());
    assert_eq!(heard.len(), 1);
}

/// A page as 6.18 handed it out, when the first process of a PID namespace ended and the kernel ended the other two.
#[test]
fn a_page_of_a_real_kernel_is_read() {
    let mut data = Vec::new();
    for (word, pid) in [(0x0000_000c_u32, 0x41f3_u32), (0x0002_3fec, 0x41f4)] {
        // common_type 0x105, flags 0x25, preempt_count 2, common_pid 0x41f2; sig 9, errno 0, code 128; comm; pid, group, result.
        for number in [
            word,
            0x0225_0105,
            0x41f2,
            9,
            0,
            0x80,
            0x6565_6c73,
            0x70,
            0,
            0,
            pid,
            1,
            0,
        ] {
            data.extend_from_slice(&number.to_le_bytes());
        }
    }
    let page = page_of(0, 0x68, 0x1652_064a_f6b9, &data);
    if cfg!(target_endian = "big") {
        return;
    }
    let (heard, reader) = Instance::of("6.14-v2", &[&page]).read();
    let expected = KillSignal {
        at_nanos: 24_541_548_705_465,
        sender_pid: 16_882,
        pid: 16_883,
        comm: Comm::of(b"sleep"),
        code: 128,
        is_for_group: true,
        result: 0,
    };
    let other = KillSignal {
        at_nanos: expected.at_nanos + 4_607,
        pid: 16_884,
        ..expected
    };
    assert_eq!(heard, [expected, other].map(TraceEvent::Signal));
    assert!(expected.is_kernels());
    assert_eq!((reader.lost(), reader.malformed()), (0, 0));
}

#[test]
fn a_name_forges_nothing() {
    for name in [
        &b"a\ncode=128 p=1 "[..],
        b")\n\xff\xfe,pid=1,",
        b"",
        b"0123456789abcdef",
    ] {
        let signalled = entry(0, &signal(9, 0, comm(name)));
        let marked = entry(0, &marked_long(name));
        let (heard, _) = Instance::of("6.14-v2", &[&page(&[signalled, marked].concat())]).read();
        let [TraceEvent::Signal(signal), TraceEvent::Marked(marked)] = heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(signal.comm.as_bytes(), name);
        assert_eq!((signal.code, signal.pid, signal.sender_pid), (0, 4_711, 77));
        assert_eq!(marked.comm.expect("named").as_bytes(), name);
        assert_eq!((marked.pid, marked.uid), (4_711, Some(1_000)));
        let shown = format!("{:?}", signal.comm);
        assert!(shown.is_ascii() && !shown.contains('\n'), "{shown}");
    }
}

#[test]
fn what_was_overwritten_is_counted() {
    let data = entry(0, &marked_short(1));
    let stored = [&data[..], &41_u64.to_ne_bytes()].concat();
    let (missed, told) = (1 << 31, 1 << 30);
    let pages = [
        page_of(missed | told, data.len(), 0, &stored),
        page_of(0, data.len(), 0, &data),
        // No room to say how many.
        page_of(missed, data.len(), 0, &data),
    ];
    let (heard, reader) = Instance::of("5.10-v2", &[&pages.concat()]).read();
    assert_eq!((heard.len(), reader.lost(), reader.malformed()), (3, 42, 0));
}

#[test]
fn other_events_and_other_signals_are_passed_over() {
    let data = [
        entry(0, &common(SIGNAL + 1, 1)),
        entry(0, &signal(15, 0, comm(b"a"))),
        entry(0, &signal(9, 0, comm(b"a"))),
    ];
    let (heard, reader) = Instance::of("6.12-v2", &[&page(&data.concat())]).read();
    assert_eq!((heard.len(), reader.malformed()), (1, 0));
}

#[test]
fn every_processor_is_read_to_its_end_within_bounds() {
    let one = page(&entry(0, &marked_short(1)));
    let many = one.repeat(100);
    let instance = Instance::of("5.10-v2", &[&many, &one]);
    let (heard, mut reader) = instance.read();
    assert_eq!(heard.len(), 64 + 1, "what is left is for the next time");
    assert_eq!(reader.read(|_| ()), Ok(36));
    assert_eq!(reader.read(|_| ()), Ok(0));
}

#[test]
fn times_add_up() {
    let record = marked_short(1);
    let extend = |low: u32, high: u32| [word(30, low), high.to_ne_bytes()].concat();
    let data = [
        entry(3, &record),
        // 2^27 · 2 + 7 later, and 5 more.
        extend(7, 2),
        entry(5, &record),
        // A record that was thrown away has its time.
        [&word(29, 11)[..], &8_u32.to_ne_bytes(), &[0; 4]].concat(),
        entry(0, &record),
        // A time of its own: 2^27 · 9 + 1.
        [word(31, 1), 9_u32.to_ne_bytes()].concat(),
        entry(1, &record),
        // The rest of the page is empty.
        word(29, 0).to_vec(),
        vec![0xff; 40],
    ];
    let (at, torn) = times(&page(&data.concat()));
    let second = 1_000_003 + (2 << 27) + 7 + 5;
    assert_eq!(at, [1_000_003, second, second + 11, (9 << 27) + 2]);
    assert!(!torn);
}

#[test]
fn a_torn_page_gives_what_came_before_and_is_counted() {
    let whole = entry(0, &marked_short(1));
    let torn = |rest: &[u8]| {
        let data = [&whole[..], rest].concat();
        times(&page(&data))
    };
    for rest in [
        // Longer than what is left; a length that does not hold itself; a word that is cut off.
        &word(28, 0)[..],
        &[word(0, 0), 3_u32.to_ne_bytes()].concat(),
        &[word(0, 0), u32::MAX.to_ne_bytes()].concat(),
        &[word(29, 1), 0_u32.to_ne_bytes()].concat(),
        &word(30, 0),
        &[1, 2],
    ] {
        assert_eq!(torn(rest), (vec![1_000_000], true), "{rest:?}");
    }
    // It says that it is longer than it is.
    let long = page_of(0, 4081, 0, &whole);
    assert!(times(&long).1);
    let (heard, reader) = Instance::of("5.10-v2", &[&long]).read();
    assert_eq!((heard.len(), reader.malformed()), (1, 1));
    // A page that ends within its beginning is none, and what follows is read.
    let (heard, reader) = Instance::of("5.10-v2", &[&[1, 2, 3]]).read();
    assert_eq!((heard.len(), reader.malformed()), (0, 1));
    // A record that is shorter than its fields.
    let cut = page(&entry(0, &common(VICTIM, 1)));
    let (heard, reader) = Instance::of("5.10-v2", &[&cut]).read();
    assert_eq!((heard.len(), reader.malformed()), (0, 1));
}

#[test]
fn what_is_no_instance_says_what_is_missing() {
    let instance = Instance::of("5.10-v2", &[b""]);
    let missing = |name: &str| {
        let path = instance.path().join(name);
        let kept = fs::read(&path).expect("there");
        fs::remove_file(&path).expect("removed");
        let error = TraceReader::open(&instance.path()).expect_err("incomplete");
        fs::write(&path, kept).expect("back");
        (error.is_gone(), error.path() == path)
    };
    assert_eq!(missing("trace_pipe"), (true, true));
    fs::write(instance.path().join("events/header_page"), "?").expect("written");
    let error = TraceReader::open(&instance.path()).expect_err("no format");
    assert_eq!(error.label(), "malformed");
}

#[test]
fn who_sent_it_has_a_name_while_it_lives_and_a_note_after() {
    let instance = Instance::of("5.10-v2", &[b""]);
    let proc = instance.0.path().join("proc");
    fs::create_dir_all(proc.join("77")).expect("made");
    fs::write(proc.join("77/comm"), "two\nlines\n").expect("written");
    fs::write(
        instance.0.path().join("saved_cmdlines"),
        "77 old\n78 earlyoom\n79 a\n80 b\n79 forged\n",
    )
    .expect("written");
    let (_, reader) = instance.read();
    let name = |pid| reader.name_of(pid, &proc).map(|name| name.as_bytes().to_vec());
    assert_eq!(name(77), Some(b"two\nlines".to_vec()));
    assert_eq!(name(78), Some(b"earlyoom".to_vec()));
    assert_eq!(name(79), None, "one of the two is a lie");
    assert_eq!(name(81), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(
        text in proptest::collection::vec(any::<u8>(), 0..300),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let known = [known("5.10-v2"), known("6.14-v2")];
        for format in [Some(page_format()), PageFormat::parse(&text)].into_iter().flatten() {
            for item in Page::parse(&format, &bytes).into_iter().flatten() {
                for known in &known {
                    let _ = known.read(item.at_nanos, item.record);
                }
            }
        }
        for known in &known {
            let _ = known.read(0, &bytes);
        }
        let _ = (VictimFields::parse(&text), SignalFields::parse(&text), Comm::of(&bytes));
    }

    /// Whatever follows the kind of a record: it is understood or it is not, and never taken for another.
    #[test]
    fn no_record_panics(is_signal: bool, rest in proptest::collection::vec(any::<u8>(), 0..120)) {
        let kind = if is_signal { SIGNAL } else { VICTIM };
        let record = [&kind.to_ne_bytes()[..], &rest].concat();
        for known in [known("5.10-v2"), known("6.14-v2")] {
            match known.read(0, &record) {
                Told::Event(TraceEvent::Signal(_)) => prop_assert!(is_signal),
                Told::Event(TraceEvent::Marked(_)) => prop_assert!(!is_signal),
                Told::Moved { .. } | Told::Other | Told::Malformed => {}
            }
        }
    }
}
