//! Directories that look like cgroups stand in for pods; processes in them are real.

use super::*;
use crate::actor::{ActConfig, Actor, ActorHandle};
use crate::kill::tests::action;
use crate::order::{CgroupVersion, Rejected, Report};
use forestall_decide::{ActionId, GroupId, Qos, Rung, Span};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

fn evicting() -> ActConfig {
    ActConfig {
        evicts: true,
        ..ActConfig::default()
    }
}

/// A pod that holds 70 MiB, 20 of them page cache and 5 of these shared memory.
fn pod(pids: &str) -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(root.path().join(name), text).expect("a file");
    write("cgroup.procs", pids);
    write("cgroup.events", "populated 1\nfrozen 0\n");
    write("memory.current", &format!("{}\n", 70 << 20));
    write(
        "memory.stat",
        &format!("anon {}\nfile {}\nshmem {}\n", 50 << 20, 20 << 20, 5 << 20),
    );
    root
}

fn order(dir: &Path, kind: GroupKind) -> Order {
    let file = fs::File::open(dir).expect("a directory");
    let id = GroupId(file.metadata().expect("its inode").ino());
    Order {
        action: Action {
            id: ActionId(7),
            rung: Rung::Evict,
            ..action(Span::secs(30), Span::secs(60))
        },
        place: Place::Cgroup(CgroupPlace {
            dir: Arc::new(file.into()),
            id,
            kind,
            path: dir.into(),
            version: CgroupVersion::V2,
        }),
    }
}

fn start() -> (ActorHandle, EvictionDesk) {
    let mut handle = Actor::start(&evicting()).expect("three threads");
    let desk = handle.take_desk().expect("nobody has it yet");
    (handle, desk)
}

const POD: GroupKind = GroupKind::Pod(Qos::Burstable);

fn end_of(handle: &ActorHandle) -> Report {
    handle.take_report().expect("it was answered")
}

#[test]
fn an_eviction_is_done_when_nobody_is_left_and_says_what_came_back() {
    let root = pod("");
    let (handle, desk) = start();
    handle.submit(order(root.path(), POD)).expect("taken");
    let eviction = desk.take().expect("an order");
    eviction.agreed();
    assert_eq!(end_of(&handle).outcome.kind, OutcomeKind::Progress);
    assert!(eviction.is_there());
    fs::write(root.path().join("cgroup.events"), "populated 0\n").expect("a file");
    assert!(!eviction.is_there());
    fs::write(root.path().join("memory.current"), "0\n").expect("a file");
    fs::write(root.path().join("memory.stat"), "file 0\nshmem 0\n").expect("a file");
    eviction.end(OutcomeKind::Done);
    let outcome = end_of(&handle).outcome;
    // 70 MiB less the 15 MiB of page cache, which reclaim would have given back.
    assert_eq!(
        (outcome.kind, outcome.freed),
        (OutcomeKind::Done, Bytes::mebi(55))
    );
    assert!(handle.take_report().is_none());
}

#[test]
fn who_is_gone_marked_ours_or_no_pod_is_never_asked_for() {
    let root = pod("");
    let (handle, desk) = start();
    let answer = |order: Order| {
        handle.submit(order).expect("taken");
        assert!(desk.take().is_none());
        end_of(&handle).outcome.kind
    };
    let invalid = OutcomeKind::Failed(Errno::INVAL.raw_os_error());
    assert_eq!(
        answer(order(root.path(), GroupKind::Container(Qos::Burstable))),
        invalid
    );
    assert_eq!(answer(order(root.path(), GroupKind::Kubepods)), invalid);
    let mut another = order(root.path(), POD);
    if let Place::Cgroup(place) = &mut another.place {
        place.id = GroupId(place.id.0 + 1);
    }
    assert_eq!(answer(another), OutcomeKind::Gone);
    let fixed = root.path().join("kubepods/pod0123456789abcdef0123456789abcdef");
    fs::create_dir_all(&fixed).expect("a directory");
    fs::write(fixed.join("cgroup.procs"), "").expect("a file");
    assert_eq!(answer(order(&fixed, POD)), OutcomeKind::Vetoed);
    let ours = pod(&format!("1\n{}\n", std::process::id()));
    assert_eq!(answer(order(ours.path(), POD)), OutcomeKind::Vetoed);
}

#[test]
fn what_was_called_off_is_not_asked_for() {
    let root = pod("");
    let (handle, desk) = start();
    handle.submit(order(root.path(), POD)).expect("taken");
    handle.submit(order(root.path(), POD)).expect("taken");
    let taken = desk.take().expect("an order");
    assert!(!taken.is_called_off());
    handle.call_off();
    assert!(taken.is_called_off());
    assert!(desk.take().is_none());
    let canceled = OutcomeKind::Failed(Errno::CANCELED.raw_os_error());
    assert_eq!(end_of(&handle).outcome.kind, canceled);
}

#[test]
fn of_a_rehearsal_nobody_hears() {
    let root = pod("");
    let (handle, desk) = start();
    handle.rehearse(order(root.path(), POD)).expect("taken");
    let eviction = desk.take().expect("an order");
    assert!(eviction.is_rehearsal());
    eviction.agreed();
    eviction.end(OutcomeKind::Done);
    assert!(handle.take_report().is_none());
    let mut kill = order(root.path(), POD);
    kill.action.rung = Rung::Kill;
    assert_eq!(handle.rehearse(kill), Err(Rejected::NoHand));
}

#[test]
fn without_anybody_to_carry_them_out_evictions_are_not_taken_and_only_so_many_are_under_way() {
    let root = pod("");
    let mut handle = Actor::start(&evicting()).expect("three threads");
    assert_eq!(handle.submit(order(root.path(), POD)), Err(Rejected::NoHand));
    let desk = handle.take_desk().expect("nobody has it yet");
    let mut under_way = Vec::new();
    for _ in 0..EVICTIONS_MAX {
        handle.submit(order(root.path(), POD)).expect("taken");
        under_way.push(desk.take().expect("an order"));
    }
    handle.submit(order(root.path(), POD)).expect("taken");
    assert!(desk.take().is_none());
    under_way.pop().expect("one").end(OutcomeKind::Blocked);
    assert!(desk.take().is_some());
    drop(desk);
    assert_eq!(handle.submit(order(root.path(), POD)), Err(Rejected::Stopped));
}
