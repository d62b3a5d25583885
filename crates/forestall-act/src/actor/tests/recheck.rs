//! What may have changed between the sample that chose the victim and the signal.

use super::*;
use rustix::fs::XattrFlags;

fn mark(dir: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(dir, name, value, XattrFlags::empty()).expect("a file system with attributes");
}

/// The child must still live; it is then ended by the test itself.
fn assert_lives(mut child: Child) {
    assert_eq!(child.try_wait().expect("our own child"), None, "it lives");
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn a_cgroup_that_was_opted_out_since_is_spared() {
    let (handle, child) = (start(), child(":"));
    let pod = tempfile::tempdir().expect("a directory");
    let container = pod.path().join("c1");
    fs::create_dir(&container).expect("a directory");
    let place = fake_group(&container, &[child.id()], CgroupVersion::V2);
    fs::write(container.join("cgroup.kill"), "").expect("a file");
    // The place is held since before; its pod is marked now.
    mark(pod.path(), "user.forestall", b"never");
    assert_eq!(
        handle.submit(order(1, Span::default(), Place::Cgroup(place))),
        Ok(())
    );
    let report = wait_for(&handle, 1).0;
    let opted_out = Note::ProtectedGroup {
        protection: Protection::OptedOut,
    };
    assert_eq!(
        (report.outcome.kind, report.note),
        (OutcomeKind::Vetoed, opted_out)
    );
    assert_eq!(fs::read(container.join("cgroup.kill")).expect("the file"), b"");
    assert_lives(child);
}

#[test]
fn opting_out_after_term_holds_back_the_kill() {
    let (handle, child) = (start(), child("trap '' TERM"));
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[child.id()], CgroupVersion::V2);
    let mut first = order(1, Span::secs(600), Place::Cgroup(place));
    first.action.deadline = Span::secs(600);
    assert_eq!(handle.submit(first.clone()), Ok(()));
    let until = Instant::now() + PATIENCE;
    while handle.take_outcome().is_none() {
        assert!(Instant::now() < until, "TERM was never sent");
        wait_for_report(&handle);
    }
    mark(root.path(), "user.forestall", b"never");
    (first.action.id, first.action.escalate) = (ActionId(2), true);
    assert_eq!(handle.submit(first), Ok(()));
    assert_eq!(wait_for(&handle, 2).0.outcome.kind, OutcomeKind::Vetoed);
    assert_lives(child);
}

#[test]
fn a_pause_process_alone_is_spared_and_who_only_took_its_name_is_not() {
    let (handle, mut child) = (start(), child("printf pause > /proc/$$/comm"));
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[child.id()], CgroupVersion::V2);
    fs::write(root.path().join("memory.current"), "300000\n").expect("a file");
    let kill = order(1, Span::default(), Place::Cgroup(place));
    assert_eq!(handle.submit(kill.clone()), Ok(()));
    let report = wait_for(&handle, 1).0;
    let pause = Note::Protected {
        pid: child.id(),
        name: ProcessName::new(b"pause"),
        protection: Protection::Pause,
    };
    assert_eq!((report.outcome.kind, report.note), (OutcomeKind::Vetoed, pause));
    assert_eq!(child.try_wait().expect("our own child"), None, "it lives");
    // 16 MiB and a byte: no pause process holds as much.
    fs::write(root.path().join("memory.current"), "16777217\n").expect("a file");
    assert_eq!(handle.submit(kill), Ok(()));
    assert_eq!(signal_of(&mut child), Some(9));
}

#[test]
fn a_process_is_ended_as_a_member_of_the_cgroup_it_lives_in() {
    let (handle, mut child) = (start(), child(":"));
    let home = tempfile::tempdir().expect("a directory");
    // Where /proc/PID/cgroup shows another path than the directory's, the kernel's list tells.
    let place = fake_group(home.path(), &[child.id()], CgroupVersion::V2);
    let kill = order(1, Span::default(), process_at(id_of(child.id()), Some(place)));
    assert_eq!(handle.submit(kill), Ok(()));
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
    assert_eq!(signal_of(&mut child), Some(9));
}

#[test]
fn a_process_that_has_moved_is_not_signalled_as_a_member_of_its_old_cgroup() {
    let (handle, child) = (start(), child(":"));
    for version in [CgroupVersion::V1, CgroupVersion::V2] {
        let home = tempfile::tempdir().expect("a directory");
        let place = fake_group(home.path(), &[1], version);
        let kill = order(1, Span::default(), process_at(id_of(child.id()), Some(place)));
        assert_eq!(handle.submit(kill), Ok(()));
        let report = wait_for(&handle, 1).0;
        let moved = Note::Moved { pid: child.id() };
        assert_eq!((report.outcome.kind, report.note), (OutcomeKind::Gone, moved));
    }
    assert_lives(child);
}

#[test]
fn a_process_that_moves_after_term_is_not_killed() {
    let (handle, child) = (start(), child("trap '' TERM"));
    let home = tempfile::tempdir().expect("a directory");
    let place = fake_group(home.path(), &[child.id()], CgroupVersion::V2);
    let mut first = order(
        1,
        Span::secs(600),
        process_at(id_of(child.id()), Some(place.clone())),
    );
    first.action.deadline = Span::secs(600);
    assert_eq!(handle.submit(first.clone()), Ok(()));
    let until = Instant::now() + PATIENCE;
    while handle.take_outcome().is_none() {
        assert!(Instant::now() < until, "TERM was never sent");
        wait_for_report(&handle);
    }
    fs::write(home.path().join("cgroup.procs"), "").expect("a file");
    (first.action.id, first.action.escalate) = (ActionId(2), true);
    assert_eq!(handle.submit(first), Ok(()));
    let moved = Note::Moved { pid: child.id() };
    assert_eq!(wait_for(&handle, 2).0.note, moved);
    assert_lives(child);
}

#[test]
fn a_process_whose_home_was_marked_since_is_spared() {
    let (handle, child) = (start(), child(":"));
    for (name, value, protection) in [
        ("user.delegate", &b"1"[..], Protection::Delegated),
        ("user.forestall", b"never", Protection::OptedOut),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let place = CgroupPlace {
            kind: GroupKind::Host,
            ..fake_group(home.path(), &[child.id()], CgroupVersion::V2)
        };
        mark(home.path(), name, value);
        let kill = order(1, Span::default(), process_at(id_of(child.id()), Some(place)));
        assert_eq!(handle.submit(kill), Ok(()));
        let report = wait_for(&handle, 1).0;
        let spared = Note::ProtectedGroup { protection };
        assert_eq!((report.outcome.kind, report.note), (OutcomeKind::Vetoed, spared));
    }
    assert_lives(child);
}

/// An order to reclaim one step.
fn reclaim_from(place: CgroupPlace) -> Order {
    let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
    (reclaim.action.rung, reclaim.action.bytes) = (Rung::Reclaim, Bytes::mebi(16));
    reclaim
}

#[test]
fn nothing_is_reclaimed_from_a_cgroup_that_was_opted_out_since() {
    let state = tempfile::tempdir().expect("a directory");
    let config = ActConfig {
        state_dir: Some(state.path().into()),
        ..ActConfig::default()
    };
    let handle = Actor::start(&config).expect("three threads");
    let opted_out = Note::ProtectedGroup {
        protection: Protection::OptedOut,
    };
    // By memory.reclaim, and by a dip where there is none.
    for file in ["memory.reclaim", "memory.high"] {
        let pod = tempfile::tempdir().expect("a directory");
        let container = pod.path().join("c1");
        fs::create_dir(&container).expect("a directory");
        let place = fake_group(&container, &[], CgroupVersion::V2);
        fs::write(container.join(file), "99999744").expect("a file");
        mark(pod.path(), "user.forestall", b"never");
        assert_eq!(handle.submit(reclaim_from(place)), Ok(()));
        let report = wait_for(&handle, 1).0;
        assert_eq!(
            (report.outcome.kind, report.note),
            (OutcomeKind::Vetoed, opted_out)
        );
        assert_eq!(fs::read(container.join(file)).expect("the file"), b"99999744");
    }
    assert!(!state.path().join("dips").exists(), "a dip was written down");
}

#[test]
fn opting_out_ends_a_reclaim_between_two_steps() {
    let config = ActConfig {
        reclaim_cpu_permille: 1000,
        ..ActConfig::default()
    };
    let handle = Actor::start(&config).expect("three threads");
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[], CgroupVersion::V2);
    let file = root.path().join("memory.reclaim");
    fs::write(&file, "").expect("a file");
    let mut endless = reclaim_from(place);
    (endless.action.bytes, endless.action.deadline) = (Bytes(1 << 60), Span::secs(600));
    assert_eq!(handle.submit(endless), Ok(()));
    let until = Instant::now() + PATIENCE;
    while fs::read(&file).expect("the file").is_empty() {
        assert!(Instant::now() < until, "nothing was ever reclaimed");
        thread::yield_now();
    }
    mark(root.path(), "user.forestall", b"never");
    let report = wait_for(&handle, 1).0;
    let opted_out = Note::ProtectedGroup {
        protection: Protection::OptedOut,
    };
    assert_eq!(
        (report.outcome.kind, report.note),
        (OutcomeKind::Vetoed, opted_out)
    );
    assert!(report.outcome.freed >= Bytes::mebi(16), "what it got is told");
}

#[test]
fn nothing_is_reclaimed_from_who_is_never_touched() {
    let (handle, spared) = (start(), child(":"));
    let veto_of = |place: CgroupPlace, file: &Path| {
        fs::write(file, "").expect("a file");
        assert_eq!(handle.submit(reclaim_from(place)), Ok(()));
        let report = wait_for(&handle, 1).0;
        assert_eq!(report.outcome.kind, OutcomeKind::Vetoed);
        assert_eq!(fs::read(file).expect("the file"), b"");
        report.note
    };
    // A delegated unit.
    let unit = tempfile::tempdir().expect("a directory");
    let place = CgroupPlace {
        kind: GroupKind::Host,
        ..fake_group(unit.path(), &[], CgroupVersion::V2)
    };
    mark(unit.path(), "user.delegate", b"1");
    let protection = Protection::Delegated;
    assert_eq!(
        veto_of(place, &unit.path().join("memory.reclaim")),
        Note::ProtectedGroup { protection }
    );
    // A static pod's container, whatever the order takes it for.
    let root = tempfile::tempdir().expect("a directory");
    let pod = root
        .path()
        .join("kubepods/pod6c5b6c2f8a1d4c7e9b0a3f5d7e9c1b2a/c1");
    fs::create_dir_all(&pod).expect("directories");
    let place = fake_group(&pod, &[], CgroupVersion::V2);
    let protection = Protection::StaticPod;
    assert_eq!(
        veto_of(place, &pod.join("memory.reclaim")),
        Note::ProtectedGroup { protection }
    );
    // The agent's own, and whoever lives with it.
    let own = tempfile::tempdir().expect("a directory");
    let place = fake_group(own.path(), &[spared.id(), std::process::id()], CgroupVersion::V2);
    let essential = Note::Protected {
        pid: std::process::id(),
        name: own_name(),
        protection: Protection::Essential,
    };
    assert_eq!(veto_of(place, &own.path().join("memory.reclaim")), essential);
    assert_lives(spared);
}

#[test]
fn the_cache_of_who_cannot_be_named_is_taken_all_the_same() {
    let (handle, root) = (start(), tempfile::tempdir().expect("a directory"));
    // A process of another PID namespace shows as 0.
    let place = fake_group(root.path(), &[0], CgroupVersion::V2);
    fs::write(root.path().join("memory.reclaim"), "").expect("a file");
    assert_eq!(handle.submit(reclaim_from(place)), Ok(()));
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
}

#[test]
fn a_static_pods_container_is_not_killed_whatever_the_order_takes_it_for() {
    let (handle, child) = (start(), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let container = root
        .path()
        .join("kubepods.slice/kubepods-pod6c5b6c2f8a1d4c7e9b0a3f5d7e9c1b2a.slice/c1");
    fs::create_dir_all(&container).expect("directories");
    let place = fake_group(&container, &[child.id()], CgroupVersion::V2);
    assert_eq!(
        handle.submit(order(1, Span::default(), Place::Cgroup(place))),
        Ok(())
    );
    let report = wait_for(&handle, 1).0;
    let fixed = Note::ProtectedGroup {
        protection: Protection::StaticPod,
    };
    assert_eq!((report.outcome.kind, report.note), (OutcomeKind::Vetoed, fixed));
    assert_lives(child);
}

#[test]
fn what_was_opted_out_within_a_container_spares_the_container() {
    let (handle, child) = (start(), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[], CgroupVersion::V2);
    let inner = root.path().join("a/b");
    fs::create_dir_all(&inner).expect("directories");
    fs::write(root.path().join("a/cgroup.procs"), "").expect("a file");
    fs::write(inner.join("cgroup.procs"), format!("{}\n", child.id())).expect("a file");
    for file in ["cgroup.kill", "memory.reclaim"] {
        fs::write(root.path().join(file), "").expect("a file");
    }
    mark(&inner, "user.forestall", b"never");
    let kill = order(1, Span::default(), Place::Cgroup(place.clone()));
    for (id, mut order) in [(1, kill), (2, reclaim_from(place))] {
        order.action.id = ActionId(id);
        assert_eq!(handle.submit(order), Ok(()));
        let report = wait_for(&handle, id).0;
        let opted_out = Note::ProtectedGroup {
            protection: Protection::OptedOut,
        };
        assert_eq!(
            (report.outcome.kind, report.note),
            (OutcomeKind::Vetoed, opted_out)
        );
    }
    for file in ["cgroup.kill", "memory.reclaim"] {
        assert_eq!(fs::read(root.path().join(file)).expect("the file"), b"");
    }
    assert_lives(child);
}

#[test]
fn whom_proc_hides_is_not_taken_for_gone() {
    let child = child(":");
    // A proc file system that knows this process alone, as one mounted with hidepid=2 does (proc(5)).
    let proc_root = tempfile::tempdir().expect("a directory");
    let own = std::process::id().to_string();
    let dir = proc_root.path().join(&own);
    fs::create_dir(&dir).expect("a directory");
    std::os::unix::fs::symlink(&own, proc_root.path().join("self")).expect("a link");
    for file in ["status", "stat"] {
        fs::write(
            dir.join(file),
            fs::read(Path::new("/proc/self").join(file)).expect("/proc"),
        )
        .expect("a file");
    }
    let config = ActConfig {
        proc_root: proc_root.path().into(),
        ..ActConfig::default()
    };
    let handle = Actor::start(&config).expect("three threads");
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[child.id()], CgroupVersion::V2);
    fs::write(root.path().join("cgroup.kill"), "").expect("a file");
    let kill = order(1, Span::default(), Place::Cgroup(place));
    assert_eq!(handle.submit(kill), Ok(()));
    let report = wait_for(&handle, 1).0;
    let hidden = Note::Hidden { pid: child.id() };
    assert_eq!((report.outcome.kind, report.note), (OutcomeKind::Vetoed, hidden));
    assert_eq!(fs::read(root.path().join("cgroup.kill")).expect("the file"), b"");
    assert_lives(child);
}
