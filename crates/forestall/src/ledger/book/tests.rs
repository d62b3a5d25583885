mod lost;

use forestall_kernel::kmsg::When;
use forestall_kernel::oom::{CgroupPath, Charge, Level, Report, Seen, Trigger, Victim};
use forestall_kernel::parse::Limit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use super::super::entry::{Home, Levels, Missed, Sender};
use super::super::pages::Pages;
use super::super::tail::Tail;
use super::*;

fn when(sequence: u64) -> When {
    When {
        sequence: Some(sequence),
        micros: Some(sequence * 1000),
        calendar: None,
    }
}

fn entry(sequence: u64) -> Entry {
    let path = |path: &[u8]| {
        Some(CgroupPath {
            path: path.into(),
            is_cut: sequence.is_multiple_of(2),
        })
    };
    let mut report = Report {
        when: when(sequence),
        level: Level::Pod,
        limit: path(b"/kubepods/pod1"),
        task_memcg: path(b"/kubepods/pod1/a\xff\n"),
        group: path(b"/g"),
        constraint: Some((*b"CONSTRAINT_MEMCG").into()),
        mems_allowed: Some((*b"0-1").into()),
        no_killable: 3,
        has_gap: true,
        trigger: Some(Trigger {
            comm: (*b"asker").into(),
            pid: Some(9),
            gfp_mask: 0xcc0,
            gfp: Box::default(),
            order: -1,
            adj: Some(-998),
        }),
        victims: vec![Victim {
            when: when(sequence + 1),
            pid: u32::try_from(sequence).expect("small"),
            comm: (*b"a) (b\x1b").into(),
            uid: Some(1000),
            adj: Some(-997),
            total_vm: Some(5),
            anon: Some(4),
            file: Some(3),
            shmem: Some(2),
            page_tables: Some(1),
            memcg: path(b"/m"),
            seen: Seen::Named,
            reap: None,
        }],
        ..Report::default()
    };
    report.domain.memory = Some(Charge {
        usage: 7,
        limit: Limit::Bytes(8),
        failures: 9,
    });
    (report.domain.anon, report.domain.kernel) = (Some(1 << 40), Some(0));
    Entry {
        homes: vec![Home {
            pid: 1,
            namespace: "shop".to_owned(),
            pod: "cart-0".to_owned(),
            container: "web".to_owned(),
            is_cgroup_from_proc: true,
            is_cgroup_from_counters: true,
            sender: Some(Sender {
                is_kernel: true,
                pid: 9,
                comm: (*b"sh\n").into(),
                uid: Some(5),
                is_on_node: Some(true),
            }),
        }],
        ..Entry::new((*b"boot").into(), -5, report)
    }
}

fn tally(through: u64) -> Tally {
    let mut untold = Levels::default();
    untold.add(Level::Pod, 3);
    untold.add(Level::Node, 1);
    Tally {
        boot: (*b"boot").into(),
        through: Some(through),
        kill_lines: through * 2,
        lost: 1,
        counted: Some(7),
        traced: 2,
        untold,
        missed: Missed {
            overwritten: through,
            malformed: 2,
            dropped: 3,
            unsigned: 4,
        },
        unplaced: 5,
    }
}

fn open(folder: &TempDir) -> Book {
    Book::open(folder.path()).expect("a ledger")
}

fn entries(folder: &TempDir) -> Vec<Entry> {
    Pages::read(folder.path()).expect("a ledger").entries
}

#[test]
fn what_is_kept_is_read_back() {
    let folder = TempDir::new().expect("a directory");
    let kept = vec![entry(1), entry(2)];
    open(&folder).append(&kept, tally(5)).expect("room");
    open(&folder).append(&[entry(7)], tally(9)).expect("room");
    let book = open(&folder);
    assert_eq!(entries(&folder), [kept, vec![entry(7)]].concat());
    assert_eq!((book.tallies, book.notes), (vec![tally(9)], Vec::<String>::new()));
}

#[test]
fn a_tail_that_was_cut_anywhere_costs_what_was_being_written_and_nothing_else() {
    let folder = TempDir::new().expect("a directory");
    open(&folder).append(&[entry(1)], tally(2)).expect("room");
    let path = folder.path().join(NEWER);
    let sound = std::fs::read(&path).expect("a file");
    open(&folder).append(&[entry(3)], tally(4)).expect("room");
    let whole = std::fs::read(&path).expect("a file");
    let all = [entry(1), entry(3)];
    let mut before = 0;
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).expect("a file");
        let mut book = open(&folder);
        let kept = entries(&folder).len();
        assert!(
            kept >= before && kept >= usize::from(end >= sound.len()),
            "{end}: {kept}"
        );
        assert_eq!(entries(&folder), all[..kept], "{end}");
        before = kept;
        // It goes on behind what is sound, and is read back.
        book.append(&[entry(5)], tally(6)).expect("room");
        drop(book);
        let book = open(&folder);
        assert_eq!(
            (entries(&folder).len(), entries(&folder).last()),
            (kept + 1, Some(&entry(5))),
            "{end}"
        );
        assert!(book.notes.is_empty(), "{end}: {:?}", book.notes);
        assert!(!folder.path().join(DAMAGED).exists(), "{end}");
    }
    std::fs::write(&path, [&whole[..], &[0; 300]].concat()).expect("a file");
    let book = open(&folder);
    assert_eq!((entries(&folder).len(), book.notes.len()), (2, 1));
}

#[test]
fn what_is_damaged_is_set_aside_and_not_thrown_away() {
    let folder = TempDir::new().expect("a directory");
    let mut book = open(&folder);
    book.append(&[entry(1)], tally(2)).expect("room");
    let sound = usize::try_from(book.size).expect("small");
    book.append(&[entry(3)], tally(4)).expect("room");
    drop(book);
    let path = folder.path().join(NEWER);
    let mut bytes = std::fs::read(&path).expect("a file");
    bytes[sound + 20] ^= 1;
    std::fs::write(&path, &bytes).expect("a file");
    let book = open(&folder);
    assert_eq!(entries(&folder), [entry(1)]);
    assert!(
        book.notes[0].contains("kept as kills.damaged"),
        "{:?}",
        book.notes
    );
    assert_eq!(std::fs::read(folder.path().join(DAMAGED)).expect("kept"), bytes);
}

#[test]
fn one_program_has_it_at_a_time() {
    let folder = TempDir::new().expect("a directory");
    let _held = open(&folder);
    let said = format!("{:#}", Book::open(folder.path()).expect_err("it is held"));
    assert!(said.contains("somebody else has this ledger open"), "{said}");
}

#[test]
fn another_programs_file_and_a_newer_ones_are_left_alone() {
    let folder = TempDir::new().expect("a directory");
    let path = folder.path().join(NEWER);
    let mut newer = MAGIC.to_vec();
    frame::write(kind::HEAD, &[VERSION + 1], 0, &mut newer);
    for (bytes, why) in [
        (b"something else".to_vec(), "is no ledger"),
        (newer, "newer forestall"),
    ] {
        std::fs::write(&path, &bytes).expect("a file");
        let said = format!("{:#}", Book::open(folder.path()).expect_err("refused"));
        assert!(said.contains(why), "{said}");
        assert_eq!(std::fs::read(&path).expect("a file"), bytes);
    }
}

#[test]
fn two_files_are_kept_and_the_tallies_go_with_the_newer_one() {
    let folder = TempDir::new().expect("a directory");
    let mut book = open(&folder);
    book.append(&[entry(1)], tally(2)).expect("room");
    for turn in 1..=2_u64 {
        book.size = FILE_BYTES_MAX + 1;
        book.append(&[entry(turn * 10)], tally(turn * 10)).expect("room");
    }
    drop(book);
    let book = open(&folder);
    assert_eq!(
        (entries(&folder), book.tallies),
        (vec![entry(10), entry(20)], vec![tally(20)])
    );
}

#[test]
fn whoever_reads_beside_the_writer_sees_what_is_whole_and_changes_nothing() {
    let folder = TempDir::new().expect("a directory");
    let mut book = open(&folder);
    book.append(&[entry(1)], tally(2)).expect("room");
    let path = folder.path().join(NEWER);
    let sound = std::fs::read(&path).expect("a file");
    book.append(&[entry(3)], tally(4)).expect("room");
    let whole = std::fs::read(&path).expect("a file");
    for end in sound.len()..whole.len() {
        std::fs::write(&path, &whole[..end]).expect("a file");
        let pages = Pages::read(folder.path()).expect("a ledger");
        assert_eq!(pages.entries[0], entry(1), "{end}");
        assert!(pages.notes.is_empty(), "{end}: {:?}", pages.notes);
        assert_eq!(std::fs::read(&path).expect("a file"), whole[..end]);
    }
}

#[test]
fn the_counts_outlive_the_files_that_they_are_of() {
    let folder = TempDir::new().expect("a directory");
    let mut book = open(&folder);
    for turn in 0..5_u64 {
        book.size = FILE_BYTES_MAX + 1;
        book.append(&[entry(turn * 10)], tally(turn * 10)).expect("room");
    }
    drop(book);
    assert_eq!(entries(&folder).len(), 2);
    let book = open(&folder);
    let kills: Vec<u64> = book.totals().iter().map(|(_, kills)| kills).collect();
    assert_eq!(kills.iter().sum::<u64>(), 5, "{kills:?}");
}

#[test]
fn whoever_follows_is_told_each_once_over_the_turn_of_files() {
    let folder = TempDir::new().expect("a directory");
    let mut book = open(&folder);
    book.append(&[entry(1)], tally(2)).expect("room");
    let mut tail = Tail::open(folder.path()).expect("inotify");
    assert_eq!(tail.read().expect("readable"), [entry(1)]);
    assert_eq!(tail.read().expect("readable"), []);
    book.append(&[entry(3)], tally(4)).expect("room");
    let is_told = |tail: &Tail| {
        let mut waited = [PollFd::new(tail, PollFlags::IN)];
        poll(&mut waited, Some(&Timespec::default())).expect("a descriptor") > 0
    };
    assert!(is_told(&tail));
    // Before it was read the file has become the older one.
    book.size = FILE_BYTES_MAX + 1;
    book.append(&[entry(5)], tally(6)).expect("room");
    assert_eq!(tail.read().expect("readable"), [entry(3), entry(5)]);
    assert!(!is_told(&tail));
    // What is just being written comes when it is whole.
    let path = folder.path().join(NEWER);
    book.append(&[entry(7)], tally(8)).expect("room");
    let whole = std::fs::read(&path).expect("a file");
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    file.set_len(whole.len() as u64 - 40).expect("a file");
    let torn = tail.read().expect("readable").len();
    std::fs::write(&path, &whole).expect("a file");
    assert_eq!(torn + tail.read().expect("readable").len(), 1);
}

/// `/dev/full`: "ENOSPC on write" (full(4)).
#[test]
fn what_a_full_disk_does_not_take_is_written_when_there_is_room_as_much_as_may_wait() {
    let folder = TempDir::new().expect("a directory");
    let mut book = Book::open(folder.path()).expect("a ledger");
    book.append(&[entry(1)], Tally::default()).expect("room");
    let full = OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let file = std::mem::replace(&mut book.shelf.as_mut().expect("it is open").file, full);
    for sequence in 2..1500 {
        let error = book
            .append(&[entry(sequence)], Tally::default())
            .expect_err("full");
        assert!(sequence > 2 || error.kind() == ErrorKind::StorageFull, "{error}");
    }
    assert!(
        book.backlog.len() < BACKLOG_BYTES_MAX + 4096,
        "{}",
        book.backlog.len()
    );
    let sum = |totals: &Totals| totals.iter().map(|(_, kills)| kills).sum::<u64>();
    assert_eq!(sum(book.totals()), 1499);
    let shelf = book.shelf.as_mut().expect("it is open");
    shelf.file = file;
    // A part of the first try had reached the disk.
    shelf.file.write_all(b"half a frame").expect("room");
    let tally = Tally {
        through: Some(6000),
        ..Tally::default()
    };
    book.append(&[], tally.clone()).expect("room");
    book.append(&[entry(6001)], tally.clone()).expect("room");
    drop(book);
    let pages = Pages::read(folder.path()).expect("read");
    assert_eq!(pages.notes, Vec::<String>::new());
    let sequences: Vec<u64> = pages
        .entries
        .iter()
        .filter_map(|entry| entry.report.when.sequence)
        .collect();
    let many = u64::try_from(sequences.len()).expect("some") - 1;
    assert!(many > 300, "{many}");
    let expected: Vec<u64> = (1..=many).chain([6001]).collect();
    assert_eq!(sequences, expected, "each once, and the first of them");
    assert_eq!(pages.tallies, [tally]);
    let book = Book::open(folder.path()).expect("a ledger");
    assert_eq!(sum(book.totals()), 1500, "those that were left out are counted");
}

#[test]
fn what_has_no_directory_yet_waits_for_one() {
    let folder = TempDir::new().expect("a directory");
    let state = folder.path().join("state");
    let directory = state.join("ledger");
    assert!(Book::open(&directory).is_err());
    let mut book = Book::open_or_hold(&directory).expect("it waits");
    let error = book.append(&[entry(1)], tally(5)).expect_err("nowhere");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!state.exists(), "what it would lie in is somebody else's to make");
    std::fs::create_dir(&state).expect("room");
    book.append(&[entry(7)], tally(9)).expect("room");
    drop(book);
    let pages = Pages::read(&directory).expect("read");
    assert_eq!(pages.entries, [entry(1), entry(7)]);
    assert_eq!(pages.notes, Vec::<String>::new());
}

/// Kills are told all the same: what cannot be read costs what was kept before, until somebody mends it.
#[test]
fn what_stands_there_and_cannot_be_read_is_waited_out() {
    type Spoil = fn(&Path);
    let folder = TempDir::new().expect("a directory");
    let state = folder.path().join("state");
    let cases: [(Spoil, &str); 3] = [
        (
            |state| std::fs::write(state, "a file").expect("room"),
            "Not a directory",
        ),
        (
            |state| std::fs::create_dir_all(state.join("ledger").join(NEWER)).expect("room"),
            "Is a directory",
        ),
        (
            |state| {
                std::fs::create_dir_all(state.join("ledger")).expect("room");
                std::fs::write(state.join("ledger").join(NEWER), "another program's own").expect("room");
            },
            "is no ledger",
        ),
    ];
    for (spoil, why) in cases {
        spoil(&state);
        let directory = state.join("ledger");
        let mut book = Book::open_or_hold(&directory).expect("it waits");
        assert!(
            book.notes.iter().any(|note| note.contains(why)),
            "{:?}",
            book.notes
        );
        let error = book.append(&[entry(1)], tally(5)).expect_err("nowhere");
        assert!(error.to_string().contains(why) && !book.is_stale(), "{error}");
        let counted: u64 = book.totals().iter().map(|(_, kills)| kills).sum();
        assert_eq!(counted, 1);
        if std::fs::remove_file(&state).is_err() {
            std::fs::remove_dir_all(&state).expect("removed");
        }
        std::fs::create_dir(&state).expect("room");
        book.write().expect_err("it is to be read first");
        assert!(book.is_stale(), "it has to begin again");
        std::fs::remove_dir(&state).expect("it is empty");
    }
}

/// A disk that is mounted late has a ledger of its own; one that was there and could only be read is the same one.
#[test]
fn what_waits_goes_behind_what_was_read_and_behind_nothing_else() {
    let folder = TempDir::new().expect("a directory");
    open(&folder).append(&[entry(1)], tally(5)).expect("room");
    let lock = folder.path().join(LOCK);
    let block = || {
        std::fs::remove_file(&lock).expect("it is there");
        std::fs::create_dir(&lock).expect("a directory in its place");
    };
    block();
    let mut waits = Book::open_or_hold(folder.path()).expect("it waits");
    let mut late = Book::open_or_hold(folder.path()).expect("it waits");
    assert_eq!(waits.tallies, [tally(5)], "what can be read is known");
    for book in [&mut waits, &mut late] {
        book.append(&[entry(7)], tally(9)).expect_err("it is blocked");
    }
    std::fs::remove_dir(&lock).expect("it is empty");
    waits.write().expect("room");
    assert!(!waits.is_stale());
    drop(waits);
    assert_eq!(entries(&folder), [entry(1), entry(7)]);
    late.write().expect_err("somebody was quicker");
    assert!(late.is_stale());
    assert_eq!(entries(&folder), [entry(1), entry(7)]);
}

/// A child that is being started has whatever was open, until it is the program that it is to be.
#[test]
fn who_ends_leaves_the_ledger_though_a_child_still_has_its_lock_open() {
    let folder = TempDir::new().expect("a directory");
    let book = open(&folder);
    let lock = book
        .shelf
        .as_ref()
        .expect("a shelf")
        .lock
        .try_clone()
        .expect("a copy");
    drop(book);
    Book::open(folder.path()).expect("nobody has it any more");
    drop(lock);
}
