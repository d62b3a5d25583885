use std::time::SystemTime;

use forestall_decide::{Moment, Span};
use forestall_trace::{Item, Reader};
use tempfile::TempDir;

use super::ring::{Ring, Syncer};
use super::{Encoder, Origin, Policy, Writer, tap};

const HOUR: Span = Span::secs(3600);
const MIB: u64 = 1 << 20;

fn names(directory: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn the_oldest_goes_when_there_is_too_much_and_nothing_else_is_touched() {
    let directory = TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("trace-notes.txt"), "mine").expect("a file");
    let mut ring = Ring::open(directory.path(), HOUR, 16 * MIB).expect("a ring");
    for number in 0..40 {
        let mut segment = ring.begin(Moment(number), b"head").expect("a segment");
        segment.append(&vec![0; 1 << 20]).expect("it is written");
        assert!(ring.is_full(&segment, Moment(number)));
    }
    let kept = names(&directory);
    // Sixteen segments of a sixteenth each, one of them with its head beside it: fifteen fit beside the next.
    let traces: Vec<_> = kept.iter().filter(|name| name.starts_with("trace-0")).collect();
    assert_eq!(
        traces.last().map(|name| name.as_str()),
        Some("trace-0000000039.ftr")
    );
    assert!((14..=16).contains(&traces.len()), "{kept:?}");
    assert!(kept.contains(&"trace-notes.txt".to_owned()));
}

#[test]
fn a_segment_is_full_after_its_share_of_the_time_and_old_ones_go() {
    let directory = TempDir::new().expect("a directory");
    let mut ring = Ring::open(directory.path(), HOUR, 16 * MIB).expect("a ring");
    let segment = ring.begin(Moment(0), b"head").expect("a segment");
    // A sixteenth of an hour is 225 s.
    assert!(!ring.is_full(&segment, Moment(224_999_999)));
    assert!(ring.is_full(&segment, Moment(225_000_000)));
    let two_hours_ago = SystemTime::now() - std::time::Duration::from_hours(2);
    let old = std::fs::File::options()
        .write(true)
        .open(directory.path().join("trace-0000000000.ftr"))
        .expect("the first segment");
    old.set_modified(two_hours_ago).expect("its time can be set");
    ring.begin(Moment(225_000_000), b"head").expect("a segment");
    assert_eq!(names(&directory), ["lock", "trace-0000000001.ftr"]);
}

#[test]
fn numbers_go_on_after_a_restart_and_two_never_record_to_the_same_place() {
    let directory = TempDir::new().expect("a directory");
    let mut first = Ring::open(directory.path(), HOUR, 16 * MIB).expect("a ring");
    first.begin(Moment(0), b"head").expect("a segment");
    Ring::open(directory.path(), HOUR, 16 * MIB).expect_err("somebody records here");
    drop(first);
    let mut second = Ring::open(directory.path(), HOUR, 16 * MIB).expect("nobody records here now");
    second.begin(Moment(0), b"head").expect("a segment");
    assert_eq!(
        names(&directory),
        ["lock", "trace-0000000000.ftr", "trace-0000000001.ftr"]
    );
}

fn writer(place: &std::path::Path, herald: super::Herald) -> Writer {
    Writer {
        encoder: Encoder::new(Origin::default(), Policy::default()),
        ring: Ring::open(place, HOUR, 16 * MIB).expect("a ring"),
        segment: None,
        syncer: Syncer::start().expect("a thread"),
        out: Vec::new(),
        not_before: None,
        sync_at: None,
        herald,
    }
}

#[test]
fn a_recording_that_its_agent_ends_says_so() {
    let directory = TempDir::new().expect("a directory");
    let ends = super::super::shared::open().expect("an eventfd");
    let mut writer = writer(directory.path(), ends.herald);
    writer.open_segment(Moment(1)).expect("a segment");
    let last = || {
        let bytes = std::fs::read(directory.path().join("trace-0000000000.ftr")).expect("the segment");
        let mut reader = Reader::open(&bytes).expect("a trace");
        let mut is_end = false;
        while let Some(item) = reader.read() {
            is_end = matches!(item, Item::End);
        }
        is_end
    };
    assert!(!last());
    let (tap, intake) = tap::open(64, 64);
    // The guard has ended.
    drop(tap);
    writer.run(intake);
    assert!(last());
}

#[test]
fn a_disk_that_fails_is_degraded_until_it_takes_a_segment_again() {
    let directory = TempDir::new().expect("a directory");
    let place = directory.path().join("here");
    let ends = super::super::shared::open().expect("an eventfd");
    let mut writer = writer(&place, ends.herald);
    writer.open_segment(Moment(1)).expect("a segment");
    assert!(ends.board.is_recording());
    std::fs::remove_dir_all(&place).expect("it was there");
    let error = writer.open_segment(Moment(2)).expect_err("nowhere to write");
    writer.fail(Moment(2), &error);
    assert!(!ends.board.is_recording());
    let degraded = ends.board.degraded();
    assert!(
        degraded
            .iter()
            .any(|it| it.what == "recorder" && it.why.contains("No such file")),
        "{degraded:?}"
    );
    std::fs::create_dir(&place).expect("made again");
    writer.open_segment(Moment(3)).expect("a segment");
    assert!(ends.board.is_recording() && ends.board.degraded().is_empty());
}
