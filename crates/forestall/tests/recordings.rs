//! Several machines' recordings in one place, on the command line.

use std::path::Path;
use std::process::{Command, Output};

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
