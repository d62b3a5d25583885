//! Several machines' recordings in one place, on the command line.

use std::path::Path;
use std::process::{Command, Output};

use forestall_decide::{Input, Moment, Policy};
use forestall_trace::{Encoder, Origin};
use serde_json::Value;
use tempfile::TempDir;

fn forestall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(args)
        .env_clear()
        .output()
        .expect("the binary was built")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_slice(&forestall(args).stdout).expect("JSON")
}

/// The folder holds recordings of four boots. The samples of each tell them apart.
#[test]
fn of_several_recordings_one_is_cut_or_anonymised_and_never_all_as_one() {
    let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces");
    let replayed = json(&["replay", traces, "--policy", "recorded", "-o", "json"]);
    let place = TempDir::new().expect("a directory");
    let one = place.path().join("one.ftr");
    let out = one.to_str().expect("a path of letters");
    for command in ["cut", "anonymise"] {
        let refused = |flags: &[&str]| {
            let answer = forestall(&[&["trace", command, traces, "-o", out], flags].concat());
            assert_eq!((answer.status.code(), Path::new(out).exists()), (Some(1), false));
            String::from_utf8(answer.stderr).expect("text")
        };
        let said = refused(&[]);
        assert!(
            said.contains("holds 4 recordings, each of one boot")
                && said.contains("choose one with --recording: 1 of "),
            "{said}"
        );
        // With the end of its time, by which a person tells them apart.
        let begins = &replayed["recordings"][3]["trace"]["begins"];
        let begins = begins.as_str().expect("a date");
        assert!(
            said.contains(", 4 of ") && said.contains(&format!("({begins} to ")),
            "{said}"
        );
        for number in ["0", "5"] {
            let said = refused(&["--recording", number]);
            assert!(
                said.contains(&format!("4 recordings and no number {number}")),
                "{said}"
            );
        }
        for (number, index) in [("2", 1), ("4", 3)] {
            let answer = forestall(&["trace", command, traces, "--recording", number, "-o", out]);
            assert!(
                answer.status.success(),
                "{}",
                String::from_utf8_lossy(&answer.stderr)
            );
            let info = json(&["trace", "info", out, "-o", "json"]);
            let is = &replayed["recordings"][index]["trace"];
            assert_eq!(
                (&info["recordings"], &info["samples"]),
                (&1.into(), &is["samples"])
            );
            std::fs::remove_file(out).expect("it was just written");
        }
    }
}

#[test]
fn a_segment_that_only_a_newer_program_reads_is_named() {
    let kept = |name| {
        let path = format!("{}/../../traces/{name}.ftr", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).expect("it is kept there")
    };
    let (first, mut second) = (kept("lab-leak-container"), kept("lab-leak-node-shadow"));
    // The major number is its ninth byte.
    second[8] = 2;
    let place = TempDir::new().expect("a directory");
    let joined = place.path().join("joined.ftr");
    std::fs::write(&joined, [first, second].concat()).expect("a file");
    let path = joined.to_str().expect("a path of letters");
    for (args, word) in [
        (
            &["trace", "info", path][..],
            "a segment at byte 7452 has format 2.0 and is left out",
        ),
        (&["trace", "dump", path], r#""newer_format":"2.0""#),
        (
            &["replay", path, "--policy", "forestall"],
            "a segment of format 2.0; use a newer forestall",
        ),
    ] {
        let answer = forestall(args);
        assert_eq!(answer.status.code(), Some(4), "{args:?}");
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(said.contains(word), "{args:?}: {said}");
    }
    let info = json(&["trace", "info", path, "-o", "json"]);
    assert_eq!(
        (&info["samples"], &info["torn_bytes"]),
        (&85.into(), &11749.into())
    );
}

/// A segment, and where its head ends and its key frame begins.
fn segment(lost: u64) -> (Vec<u8>, usize) {
    let mut encoder = Encoder::new(Origin::default(), Policy::default());
    let mut out = Vec::new();
    // 2026-11-21T10:00:00Z.
    encoder.open_segment(Moment(0), 1_795_255_200_000_000, &mut out);
    // A mark stands before every key frame.
    let head = out.windows(4).position(|part| part == b"FKEY").expect("a key") - 1;
    if lost > 0 {
        encoder.lost(lost, &mut out);
    }
    encoder.input(Moment(1), Input::Policy(&Policy::default()), &mut out);
    (out, head)
}

/// Exit code, and stdout and stderr together, of each command that reads a trace.
fn told(path: &str) -> Vec<(Option<i32>, String)> {
    [
        &["trace", "info", path][..],
        &["trace", "dump", path],
        &["replay", path, "--policy", "forestall"],
        &["trace", "anonymise", path, "-o", &format!("{path}.copy")],
    ]
    .into_iter()
    .map(|args| {
        let answer = forestall(args);
        let said = [answer.stdout, answer.stderr].concat();
        (answer.status.code(), String::from_utf8(said).expect("text"))
    })
    .collect()
}

fn write(place: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = place.path().join(name);
    std::fs::write(&path, bytes).expect("a file");
    path.to_str().expect("a path of letters").to_owned()
}

#[test]
fn of_lost_inputs_every_command_says_that_something_is_missing() {
    let place = TempDir::new().expect("a directory");
    let whole = write(&place, "whole.ftr", &segment(0).0);
    assert!(told(&whole).iter().all(|(code, _)| *code == Some(0)));
    let lost = told(&write(&place, "lost.ftr", &segment(7).0));
    // What was copied is all there is, and the copy says the same.
    assert_eq!(
        lost.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
        [Some(4), Some(4), Some(4), Some(0)]
    );
    assert!(
        lost[0].1.contains("; 7 lost") && lost[1].1.contains(r#""inputs":7"#),
        "{lost:?}"
    );
}

#[test]
fn a_format_that_is_a_little_newer_is_read_and_said() {
    let place = TempDir::new().expect("a directory");
    let (mut bytes, _) = segment(0);
    // The minor number is its tenth byte.
    bytes[9] = 9;
    // The second of two segments counts as the first one does.
    for bytes in [bytes.clone(), [segment(0).0, bytes].concat()] {
        let path = write(&place, "newer.ftr", &bytes);
        for (code, said) in told(&path) {
            assert_eq!(code, Some(4), "{said}");
            let note = "format 1.9 is newer than 1.5, and what it adds is passed over; use a newer forestall";
            assert_eq!(said.matches(note).count(), 1, "{said}");
        }
        std::fs::remove_file(format!("{path}.copy")).expect("it was written");
    }
}

#[test]
fn a_segment_with_nothing_behind_its_head_is_no_old_one_and_not_of_1970() {
    let place = TempDir::new().expect("a directory");
    let (bytes, head) = segment(0);
    let said = told(&write(&place, "empty.ftr", &bytes[..head]));
    assert!(said[0].1.contains("end          open: "), "{}", said[0].1);
    assert!(said[2].1.contains(", - to - (0.0s), 0 looks"), "{}", said[2].1);
    assert!(!said.iter().any(|(_, said)| said.contains("1970")), "{said:?}");
    let replayed = json(&[
        "replay",
        &write(&place, "empty.ftr", &bytes[..head]),
        "--policy",
        "forestall",
        "-o",
        "json",
    ]);
    assert_eq!(
        (&replayed["trace"]["begins"], &replayed["trace"]["ends"]),
        (&Value::Null, &Value::Null)
    );
    // Behind it comes another run, which is not the second one.
    let mut encoder = Encoder::new(
        Origin {
            run: 2,
            ..Origin::default()
        },
        Policy::default(),
    );
    let mut other = Vec::new();
    encoder.open_segment(Moment(0), 1_795_255_200_000_000, &mut other);
    encoder.input(Moment(1), Input::Policy(&Policy::default()), &mut other);
    let info = json(&[
        "trace",
        "info",
        &write(&place, "two.ftr", &[&bytes[..head], &other].concat()),
        "-o",
        "json",
    ]);
    assert_eq!((&info["runs"], &info["open_ends"]), (&1.into(), &0.into()));
}

#[test]
fn more_recordings_than_can_be_told_are_counted_and_refused_by_the_answer_that_tells_each() {
    let place = TempDir::new().expect("a directory");
    let boots = |count: u64| -> Vec<u8> {
        let boot = |boot: u64| {
            let origin = Origin {
                run: boot,
                boot: format!("boot-{boot}").into(),
                ..Origin::default()
            };
            let mut out = Vec::new();
            Encoder::new(origin, Policy::default()).open_segment(Moment(0), 0, &mut out);
            out
        };
        (0..count).flat_map(boot).collect()
    };
    let path = write(&place, "many.ftr", &boots(10_001));
    let info = json(&["trace", "info", &path, "-o", "json"]);
    assert_eq!(info["recordings"], 10_001);
    let answer = forestall(&["replay", &path, "--policy", "recorded"]);
    assert_eq!(answer.status.code(), Some(1));
    let said = String::from_utf8(answer.stderr).expect("text");
    assert!(
        said.contains("there are 10001 recordings in it")
            && said.contains("no more than 10000 are told at once; put fewer into one directory"),
        "{said}"
    );
}

#[test]
fn of_many_segments_that_only_a_newer_program_reads_a_few_are_named() {
    let place = TempDir::new().expect("a directory");
    // Of a newer one nothing but mark and version is read.
    let newer = [&segment(0).0[..8], &[2, 0]].concat();
    let path = write(&place, "newer.ftr", &[segment(0).0, newer.repeat(1000)].concat());
    let info = json(&["trace", "info", &path, "-o", "json"]);
    let notes = info["notes"].as_array().expect("a list");
    assert_eq!(notes.len(), 9, "{notes:?}");
    assert_eq!(notes[8], "and so are 992 more segments of newer formats");
}
