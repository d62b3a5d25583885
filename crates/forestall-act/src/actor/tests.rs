//! Real children of the test, real signals, no root: each waits for a condition, bounded in time, never for a time.

mod brake;
mod called_off;
mod recheck;
mod reclaim;

use super::*;
use crate::kill::tests::action;
use crate::order::{CgroupPlace, CgroupVersion, Place, ProcessName, ReclaimEnd};
use crate::process::ProcessDir;
use forestall_decide::{ActionId, GroupId, GroupKind, Moment, ProcessId, Protection, Qos};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> ActorHandle {
    Actor::start(&ActConfig::default()).expect("three threads")
}

/// A child whose script has said that it is ready. It ends by itself after a minute, should its test fail.
fn child(script: &str) -> Child {
    let mut child = Command::new("sh")
        .args([
            "-c",
            &format!("{script}; echo ready; for _ in 1 2 3 4 5 6; do sleep 10; done"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    child
}

fn id_of(pid: u32) -> ProcessId {
    let proc_root = fs::File::open("/proc").expect("/proc");
    let facts = ProcessDir::open(proc_root.as_fd(), pid).and_then(|dir| dir.facts());
    facts.expect("a living process").id
}

/// The name of this test program.
fn own_name() -> ProcessName {
    ProcessName::new(fs::read("/proc/self/comm").expect("/proc").trim_ascii_end())
}

fn process_at(id: ProcessId, home: Option<CgroupPlace>) -> Place {
    Place::Process { id, home }
}

fn order(id: u64, grace: Span, place: Place) -> Order {
    Order {
        action: Action {
            id: ActionId(id),
            ..action(grace, Span::secs(15))
        },
        place,
    }
}

/// The last report of an action, and whether there was progress before it.
fn wait_for(handle: &ActorHandle, id: u64) -> (Report, bool) {
    let (until, mut progress) = (Instant::now() + PATIENCE, false);
    while Instant::now() < until {
        match handle.take_report() {
            Some(report) if report.outcome.action != ActionId(id) => {}
            Some(report) if report.outcome.kind == OutcomeKind::Progress => progress = true,
            Some(report) => return (report, progress),
            None => wait_for_report(handle),
        }
    }
    panic!("no outcome of action {id}");
}

fn wait_for_report(handle: &ActorHandle) {
    use rustix::event::{PollFd, PollFlags, poll};
    let reported = handle.reported();
    let patience = crate::clock::timespec(Span::millis(100));
    poll(&mut [PollFd::new(&reported, PollFlags::IN)], Some(&patience)).expect("poll");
}

fn signal_of(child: &mut Child) -> Option<i32> {
    child.wait().expect("our own child").signal()
}

#[test]
fn a_child_that_heeds_term_ends_by_term() {
    let (handle, mut child) = (start(), child(":"));
    let place = process_at(id_of(child.id()), None);
    assert_eq!(handle.submit(order(1, Span::secs(10), place)), Ok(()));
    let (report, progress) = wait_for(&handle, 1);
    assert_eq!((report.outcome.kind, progress), (OutcomeKind::Done, true));
    assert!(report.outcome.freed > Bytes::ZERO);
    assert_eq!(signal_of(&mut child), Some(15));
}

#[test]
fn a_child_that_ignores_term_is_killed_when_its_grace_is_over() {
    let (handle, mut child) = (start(), child("trap '' TERM"));
    let place = process_at(id_of(child.id()), None);
    assert_eq!(handle.submit(order(1, Span::millis(50), place)), Ok(()));
    let (report, progress) = wait_for(&handle, 1);
    assert_eq!((report.outcome.kind, progress), (OutcomeKind::Done, true));
    assert!(report.outcome.took >= Span::millis(50));
    assert_eq!(signal_of(&mut child), Some(9));
}

#[test]
fn an_escalation_kills_at_once_and_answers_both_orders() {
    let (handle, mut child) = (start(), child("trap '' TERM"));
    let place = process_at(id_of(child.id()), None);
    // Its grace is longer than the test's patience.
    let mut first = order(1, Span::secs(600), place);
    first.action.deadline = Span::secs(600);
    assert_eq!(handle.submit(first.clone()), Ok(()));
    let until = Instant::now() + PATIENCE;
    while handle.take_outcome().is_none() {
        assert!(Instant::now() < until, "TERM was never sent");
        wait_for_report(&handle);
    }
    let mut second = first;
    (second.action.id, second.action.escalate) = (ActionId(2), true);
    assert_eq!(handle.submit(second), Ok(()));
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
    assert_eq!(wait_for(&handle, 2).0.outcome.kind, OutcomeKind::Done);
    assert_eq!(signal_of(&mut child), Some(9));
}

#[test]
fn nobody_is_signalled_by_a_number_of_another_pid_namespace() {
    let mut child = child(":");
    // A proc file system that shows the child under its number, and does not know us: as if it were of elsewhere.
    let proc_root = tempfile::tempdir().expect("a directory");
    let shown = proc_root.path().join(child.id().to_string());
    fs::create_dir(&shown).expect("a directory");
    for file in ["stat", "status", "oom_score_adj"] {
        let real = format!("/proc/{}/{file}", child.id());
        fs::write(shown.join(file), fs::read(real).expect("a living process")).expect("a file");
    }
    let handle = Actor::start(&ActConfig {
        proc_root: proc_root.path().into(),
        ..ActConfig::default()
    })
    .expect("three threads");
    let victim = process_at(id_of(child.id()), None);
    assert_eq!(handle.submit(order(1, Span::default(), victim)), Ok(()));
    let report = wait_for(&handle, 1).0;
    // EXDEV is 18 on every machine.
    assert_eq!(
        (report.outcome.kind, report.note),
        (OutcomeKind::Failed(18), Note::ForeignProc)
    );
    assert!(child.try_wait().expect("our own child").is_none());
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn another_start_time_is_gone_and_the_child_lives() {
    let (handle, mut child) = (start(), child(":"));
    let mut id = id_of(child.id());
    id.start_ticks += 1;
    assert_eq!(
        handle.submit(order(1, Span::default(), process_at(id, None))),
        Ok(())
    );
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Gone);
    assert!(child.try_wait().expect("our own child").is_none());
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn the_agent_itself_is_never_signalled() {
    let handle = start();
    let own = id_of(std::process::id());
    assert_eq!(
        handle.submit(order(1, Span::default(), process_at(own, None))),
        Ok(())
    );
    let report = wait_for(&handle, 1).0;
    assert_eq!(report.outcome.kind, OutcomeKind::Vetoed);
    assert_eq!(
        report.note,
        Note::Protected {
            pid: own.pid,
            name: own_name(),
            protection: Protection::Essential
        }
    );
}

#[test]
fn orders_without_sense_are_answered() {
    let handle = start();
    assert_eq!(handle.submit(order(1, Span::default(), Place::Node)), Ok(()));
    assert_eq!(wait_for(&handle, 1).0.note, Note::Misplaced);
    let mut reclaim = order(2, Span::default(), Place::Node);
    reclaim.action.rung = Rung::Reclaim;
    assert_eq!(handle.submit(reclaim), Ok(()));
    assert_eq!(wait_for(&handle, 2).0.note, Note::Misplaced);
}

#[test]
fn a_rung_without_a_hand_never_reaches_the_one_that_kills() {
    let (handle, mut child) = (start(), child(":"));
    let place = process_at(id_of(child.id()), None);
    for rung in [Rung::Warn, Rung::Grow, Rung::Evict] {
        let mut order = order(1, Span::default(), place.clone());
        order.action.rung = rung;
        assert_eq!(handle.submit(order), Err(Rejected::NoHand), "{rung:?}");
    }
    assert_eq!(child.try_wait().expect("a child of ours"), None, "it lives");
    child.kill().expect("ended");
    child.wait().expect("gone");
}

/// A cgroup made of plain files, with these processes.
fn fake_group(root: &Path, pids: &[u32], version: CgroupVersion) -> CgroupPlace {
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join("\n");
    fs::write(root.join("cgroup.procs"), list).expect("a file");
    fs::write(root.join("cgroup.events"), "populated 1\nfrozen 0\n").expect("a file");
    fs::write(root.join("memory.current"), "104857600\n").expect("a file");
    let dir = fs::File::open(root).expect("a directory");
    CgroupPlace {
        id: GroupId(dir.metadata().expect("its inode").ino()),
        dir: Arc::new(dir.into()),
        kind: GroupKind::Container(Qos::Burstable),
        path: root.into(),
        version,
    }
}

#[test]
fn without_a_kill_file_everybody_in_the_cgroup_is_killed_one_by_one() {
    let (handle, mut first, mut second) = (start(), child("trap '' TERM"), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[first.id(), second.id()], CgroupVersion::V2);
    assert_eq!(
        handle.submit(order(1, Span::default(), Place::Cgroup(place))),
        Ok(())
    );
    assert_eq!(signal_of(&mut first), Some(9));
    assert_eq!(signal_of(&mut second), Some(9));
    fs::write(root.path().join("memory.current"), "4857600\n").expect("a file");
    fs::write(root.path().join("cgroup.events"), "populated 0\n").expect("a file");
    let report = wait_for(&handle, 1).0;
    assert_eq!(
        (report.outcome.kind, report.outcome.freed),
        (OutcomeKind::Done, Bytes(100_000_000))
    );
}

#[test]
fn one_protected_process_spares_the_whole_cgroup() {
    let (handle, mut child) = (start(), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let own = std::process::id();
    let place = fake_group(root.path(), &[child.id(), own], CgroupVersion::V2);
    fs::write(root.path().join("cgroup.kill"), "").expect("a file");
    assert_eq!(
        handle.submit(order(1, Span::secs(1), Place::Cgroup(place))),
        Ok(())
    );
    let report = wait_for(&handle, 1).0;
    assert_eq!(report.outcome.kind, OutcomeKind::Vetoed);
    assert_eq!(
        report.note,
        Note::Protected {
            pid: own,
            name: own_name(),
            protection: Protection::Essential
        }
    );
    assert!(child.try_wait().expect("our own child").is_none());
    assert_eq!(fs::read(root.path().join("cgroup.kill")).expect("the file"), b"");
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn what_is_not_a_container_is_never_killed_as_a_whole() {
    let (handle, mut child) = (start(), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[child.id()], CgroupVersion::V2);
    fs::create_dir(root.path().join("container")).expect("a directory");
    fs::write(root.path().join("container/cgroup.procs"), "").expect("a file");
    let kinds = [
        GroupKind::Kubepods,
        GroupKind::Qos(Qos::Burstable),
        GroupKind::Host,
        GroupKind::Pod(Qos::Burstable),
    ];
    for (number, kind) in (1..).zip(kinds) {
        let place = CgroupPlace {
            kind,
            ..place.clone()
        };
        assert_eq!(
            handle.submit(order(number, Span::default(), Place::Cgroup(place))),
            Ok(())
        );
        let report = wait_for(&handle, number).0;
        assert_eq!(
            (report.outcome.kind, report.note),
            (OutcomeKind::Vetoed, Note::NotAContainer),
            "{kind:?}"
        );
    }
    assert!(child.try_wait().expect("our own child").is_none());
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn a_cgroup_of_another_number_is_gone() {
    let (handle, mut child) = (start(), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let mut place = fake_group(root.path(), &[child.id()], CgroupVersion::V2);
    place.id = GroupId(place.id.0 + 1);
    assert_eq!(
        handle.submit(order(1, Span::default(), Place::Cgroup(place))),
        Ok(())
    );
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Gone);
    assert!(child.try_wait().expect("our own child").is_none());
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn several_kills_are_on_their_way_at_once() {
    let handle = start();
    let mut children: Vec<Child> = (0..4).map(|_| child("trap '' TERM")).collect();
    for (number, child) in (1..).zip(&children) {
        let place = process_at(id_of(child.id()), None);
        assert_eq!(handle.submit(order(number, Span::millis(100), place)), Ok(()));
    }
    let mut done = Vec::new();
    let until = Instant::now() + PATIENCE;
    while done.len() < children.len() && Instant::now() < until {
        match handle.take_outcome() {
            Some(outcome) if outcome.kind == OutcomeKind::Done => done.push(outcome.action.0),
            Some(_) => {}
            None => wait_for_report(&handle),
        }
    }
    done.sort_unstable();
    assert_eq!(done, [1, 2, 3, 4]);
    for child in &mut children {
        assert_eq!(signal_of(child), Some(9));
    }
}

/// The engine orders the same action again when its time runs out.
#[test]
fn a_kill_that_escalates_is_answered_once() {
    let (handle, mut child) = (start(), child("trap '' TERM"));
    let place = process_at(id_of(child.id()), None);
    let mut kill = order(1, Span::secs(600), place);
    assert_eq!(handle.submit(kill.clone()), Ok(()));
    let first = loop {
        if let Some(outcome) = handle.take_outcome() {
            break outcome;
        }
        wait_for_report(&handle);
    };
    assert_eq!((first.action.0, first.kind), (1, OutcomeKind::Progress));
    kill.action.grace = Span::default();
    kill.action.escalate = true;
    assert_eq!(handle.submit(kill), Ok(()));
    assert_eq!(signal_of(&mut child), Some(9));
    // Whatever is answered of another one comes behind all of it.
    let root = tempfile::tempdir().expect("a directory");
    let mut gone = fake_group(root.path(), &[], CgroupVersion::V2);
    gone.id = GroupId(gone.id.0 + 1);
    let mut ends = 0;
    loop {
        match handle.take_outcome() {
            Some(outcome) if outcome.action == ActionId(2) => break,
            Some(outcome) if outcome.kind == OutcomeKind::Done => {
                ends += 1;
                if ends == 1 {
                    let other = order(2, Span::default(), Place::Cgroup(gone.clone()));
                    assert_eq!(handle.submit(other), Ok(()));
                }
            }
            Some(_) => {}
            None => wait_for_report(&handle),
        }
    }
    assert_eq!(ends, 1);
}

#[test]
fn a_full_queue_says_so_at_once() {
    let handle = start();
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[], CgroupVersion::V2);
    // A fifo without a reader holds up whoever opens it for writing, as a slow reclaim would.
    let fifo = root.path().join("memory.reclaim");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("a fifo");
    let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
    reclaim.action.rung = Rung::Reclaim;
    let answers: Vec<_> = (0..=ORDERS_MAX + 1)
        .map(|_| handle.submit(reclaim.clone()))
        .collect();
    assert_eq!(answers.last(), Some(&Err(Rejected::Busy)));
    // A kill is not held up by it.
    let mut child = child(":");
    let kill = order(2, Span::default(), process_at(id_of(child.id()), None));
    assert_eq!(handle.submit(kill), Ok(()));
    assert_eq!(wait_for(&handle, 2).0.outcome.kind, OutcomeKind::Done);
    assert_eq!(signal_of(&mut child), Some(9));
    // Held open from both ends, it holds up nobody any more.
    let open = fs::OpenOptions::new().read(true).write(true).open(&fifo);
    drop(handle);
    drop(open);
}

#[test]
fn a_kill_file_is_written_once_and_nobody_is_signalled_singly() {
    let (handle, mut child) = (start(), child(":"));
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[child.id()], CgroupVersion::V2);
    let kill_file = root.path().join("cgroup.kill");
    fs::write(&kill_file, "").expect("a file");
    assert_eq!(
        handle.submit(order(1, Span::default(), Place::Cgroup(place))),
        Ok(())
    );
    let until = Instant::now() + PATIENCE;
    while fs::read(&kill_file).expect("the file") != b"1" {
        assert!(Instant::now() < until, "cgroup.kill was never written");
        thread::yield_now();
    }
    // The plain file kills nobody; this stands for a kernel that has done so.
    fs::write(root.path().join("cgroup.events"), "populated 0\n").expect("a file");
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
    assert!(child.try_wait().expect("our own child").is_none());
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[test]
fn sysrq_writes_its_letter_and_waits_for_a_kill_or_says_why_not() {
    let proc_root = tempfile::tempdir().expect("a directory");
    let config = ActConfig {
        proc_root: proc_root.path().into(),
        ..ActConfig::default()
    };
    let handle = Actor::start(&config).expect("the threads");
    let mut sysrq = order(1, Span::default(), Place::Node);
    sysrq.action.rung = Rung::Sysrq;
    assert_eq!(handle.submit(sysrq.clone()), Ok(()));
    // ENOENT is 2 on every machine.
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Failed(2));
    let trigger = proc_root.path().join("sysrq-trigger");
    fs::write(&trigger, "").expect("a file");
    let misplaced = Order {
        place: process_at(ProcessId::default(), None),
        ..sysrq.clone()
    };
    assert_eq!(handle.submit(misplaced), Ok(()));
    assert_eq!(wait_for(&handle, 1).0.note, Note::Misplaced);
    assert_eq!(fs::read(&trigger).expect("the file"), b"");
    let vmstat = proc_root.path().join("vmstat");
    fs::write(&vmstat, "oom_kill 3\n").expect("a file");
    assert_eq!(handle.submit(sysrq.clone()), Ok(()));
    sysrq.action.id = ActionId(2);
    assert_eq!(handle.submit(sysrq), Ok(()));
    // EBUSY is 16 on every machine: the first call is still to be answered.
    assert_eq!(wait_for(&handle, 2).0.outcome.kind, OutcomeKind::Failed(16));
    assert_eq!(fs::read(&trigger).expect("the file"), b"f");
    fs::write(&vmstat, "oom_kill 4\n").expect("a file");
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
}

#[test]
fn a_missing_proc_root_is_named() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("proc");
    let refused = Actor::start(&ActConfig {
        proc_root: path.clone(),
        ..ActConfig::default()
    });
    let message = refused.expect_err("there is nothing").to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
}
