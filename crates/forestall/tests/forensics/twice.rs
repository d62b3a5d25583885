//! Kills that one input tells twice, whole or in parts.
use std::fs;

use super::{capture, forestall, json, stdout};

/// `kern.log` and `syslog` have the same lines, and whoever hands over both means one machine.
#[test]
fn what_two_files_tell_is_counted_once() {
    let log = fs::read(capture("6.1-v2-pod-limit.kmsg")).expect("a capture");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), [&log[..], &log].concat()).expect("room");
    let path = file.path().to_str().expect("UTF-8");
    let (list, once) = (
        json(&["kills", "--log", path]),
        json(&["kills", "--log", &capture("6.1-v2-pod-limit.kmsg")]),
    );
    assert_eq!(
        (&list["kills"], &list["told_twice"]),
        (&once["kills"], &once["kills"])
    );
    assert_eq!(once["told_twice"], 0);
    let text = stdout(&forestall(&["kills", "--log", path]));
    assert!(text.contains("told twice and counted once: 1"), "{text}");
}

/// What shows the newest line first tells a kill in two parts, the last one first.
#[test]
fn a_log_backwards_tells_who_was_killed_with_what_it_held_and_at_whose_limit() {
    let path = capture("6.1-v2-pod-limit.kmsg");
    let log = fs::read_to_string(&path).expect("a capture");
    let backwards: Vec<&str> = log.lines().rev().collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), backwards.join("\n") + "\n").expect("room");
    let (there, back) = (
        json(&["explain", "--log", &path]),
        json(&["explain", "--log", file.path().to_str().expect("UTF-8")]),
    );
    for part in [
        "/report/limit/path",
        "/report/victims/0/pid",
        "/report/victims/0/anon_bytes",
        "/report/evidence/kill",
    ] {
        let (expected, found) = (there.pointer(part), back.pointer(part));
        assert!(
            expected.is_some() && found == expected,
            "{part}: {found:?} and not {expected:?}"
        );
    }
}
