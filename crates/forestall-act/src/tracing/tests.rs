use super::*;
use std::fs;

const ONE: [&CStr; 1] = [c"a"];
const TWO: [&CStr; 2] = [c"a", c"b"];

/// A directory that is like tracefs as far as names go.
fn tracefs() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("instances")).expect("made");
    root
}

#[test]
fn a_name_that_somebody_lives_in_is_passed_over() {
    let root = tracefs();
    let first = TraceInstance::claim(root.path(), &TWO).expect("free");
    let second = TraceInstance::claim(root.path(), &TWO).expect("another");
    assert_eq!(first.path(), root.path().join("instances/a"));
    assert_eq!(second.path(), root.path().join("instances/b"));
    let third = TraceInstance::claim(root.path(), &TWO).expect_err("none is left");
    assert!(third.to_string().contains("every name"), "{third}");
    drop(first);
    assert!(!root.path().join("instances/a").exists(), "removed at the end");
    assert!(TraceInstance::claim(root.path(), &TWO).is_ok());
}

#[test]
fn what_a_crash_has_left_is_taken_over() {
    let root = tracefs();
    fs::create_dir(root.path().join("instances/a")).expect("left");
    let found = TraceInstance::claim(root.path(), &ONE).expect("nobody holds it");
    assert!(found.was_left());
    drop(found);
    let made = TraceInstance::claim(root.path(), &ONE).expect("free");
    assert!(!made.was_left());
}

/// `set_event` and `current_tracer` as `Documentation/trace/ftrace.rst` and `events.rst` show them.
#[test]
fn an_instance_that_somebody_else_made_is_left_alone_and_named() {
    let root = tracefs();
    let place = root.path().join("instances/a");
    fs::create_dir(&place).expect("made");
    for (file, foreign, ours) in [
        (
            "set_event",
            "oom:mark_victim\nsched:sched_switch\n",
            "oom:mark_victim\nsignal:signal_generate\n",
        ),
        ("current_tracer", "function\n", "nop\n"),
    ] {
        fs::write(place.join(file), foreign).expect("written");
        let other = TraceInstance::claim(root.path(), &TWO).expect("the other name is free");
        assert_eq!(other.path(), root.path().join("instances/b"));
        assert_eq!(other.foreign(), Some(&*place));
        drop(other);
        assert!(
            TraceInstance::claim(root.path(), &ONE).is_err(),
            "it stays whose it is"
        );
        fs::write(place.join(file), ours).expect("written");
        assert!(place.exists());
    }
    let own = TraceInstance::claim(root.path(), &TWO).expect("left by a crash");
    assert_eq!((own.path(), own.foreign()), (&*place, None));
}

#[test]
fn an_error_says_what_is_missing_and_leaves_nothing() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let error = TraceInstance::make(nowhere.path()).expect_err("not mounted");
    let said = error.to_string();
    assert!(
        said.contains("/instances") && said.contains("mount tracefs"),
        "{said}"
    );
    // A directory that offers no switch: nothing is made there either.
    let root = tracefs();
    let error = TraceInstance::make(root.path()).expect_err("no tracing");
    assert!(
        error.to_string().contains("/instances/forestall/trace_clock"),
        "{error}"
    );
    assert_eq!(
        fs::read_dir(root.path().join("instances"))
            .expect("there")
            .count(),
        0
    );
    for (errno, word) in [
        (Errno::PERM, "lockdown"),
        (Errno::ACCESS, "uid 0"),
        (Errno::ROFS, "writable"),
        (Errno::NOMEM, "memory"),
    ] {
        assert!(tracing_remedy(errno).contains(word));
    }
}

#[test]
fn buffers_are_bounded_together() {
    assert_eq!(
        [0, 1, 2, 16, 32, 64, 512].map(buffer_kib),
        [128, 128, 128, 128, 64, 32, 32]
    );
}
