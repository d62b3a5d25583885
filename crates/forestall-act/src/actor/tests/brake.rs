//! Brakes through the threads, on directories that look like cgroups.

use super::*;
use crate::order::{BrakeEnd, Braked, NoBrake};
use crate::recover_lowered;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// As long as what a brake writes here (a plain file is not cut by a shorter write as a kernel file is).
const BEFORE: &str = "999997440";
/// 104857600 bytes are held, and 4 MiB of room asked for.
const OURS: &str = "109051904";

struct Stage {
    state: tempfile::TempDir,
    pod: tempfile::TempDir,
    handle: ActorHandle,
}

/// Threads with a journal, and a pod with a container that nobody lives in and that may not swap.
fn stage() -> Stage {
    let state = tempfile::tempdir().expect("a directory");
    let handle = Actor::start(&ActConfig {
        state_dir: Some(state.path().into()),
        evicts: true,
        ..ActConfig::default()
    })
    .expect("three threads");
    let pod = tempfile::tempdir().expect("a directory");
    let container = pod.path().join("c1");
    fs::create_dir(&container).expect("a directory");
    fs::write(container.join("memory.high"), BEFORE).expect("a file");
    fs::write(container.join("memory.swap.max"), "0").expect("a file");
    Stage { state, pod, handle }
}

impl Stage {
    fn container(&self) -> CgroupPlace {
        fake_group(&self.pod.path().join("c1"), &[], CgroupVersion::V2)
    }

    fn high(&self) -> String {
        fs::read_to_string(self.pod.path().join("c1/memory.high")).expect("the file")
    }

    fn journal(&self) -> usize {
        fs::read_dir(self.state.path().join("dips")).map_or(0, Iterator::count)
    }

    /// What is over is struck out a moment after it was told.
    fn wait_for_an_empty_journal(&self) {
        let until = Instant::now() + PATIENCE;
        while self.journal() > 0 {
            assert!(Instant::now() < until, "the journal was never empty");
            thread::yield_now();
        }
    }

    /// Puts a brake on for so long, and waits until it is.
    fn brake(&self, lasts: Span) -> Note {
        assert_eq!(self.handle.submit(brake(1, lasts, self.container())), Ok(()));
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.handle.take_report() {
                Some(report) => {
                    assert_eq!(report.outcome.kind, OutcomeKind::Progress, "{:?}", report.note);
                    return report.note;
                }
                None => wait_for_report(&self.handle),
            }
        }
        panic!("no brake");
    }

    /// What a brake that cannot be put on says; nothing is left behind by it.
    fn refused(&self, order: Order) -> (OutcomeKind, Note) {
        assert_eq!(self.handle.submit(order), Ok(()));
        let report = wait_for(&self.handle, 1).0;
        assert_eq!(self.high(), BEFORE);
        self.wait_for_an_empty_journal();
        (report.outcome.kind, report.note)
    }

    /// How the brake that is on ends.
    fn end(&self) -> Braked {
        let report = wait_for(&self.handle, 1).0;
        assert_eq!(report.outcome.kind, OutcomeKind::Done, "{:?}", report.note);
        self.wait_for_an_empty_journal();
        match report.note {
            Note::Braked(braked) => braked,
            note => panic!("{note:?}"),
        }
    }
}

fn brake(id: u64, lasts: Span, place: CgroupPlace) -> Order {
    let mut order = order(id, lasts, Place::Cgroup(place));
    (order.action.rung, order.action.bytes) = (Rung::Brake, Bytes(109_051_904));
    order
}

#[test]
fn a_brake_holds_for_its_time_and_leaves_nothing_behind() {
    let stage = stage();
    let pressure = stage.pod.path().join("c1/memory.pressure");
    fs::write(&pressure, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n").expect("a file");
    let on = stage.brake(Span::secs(1));
    let lasts = Span::secs(1);
    assert_eq!(
        on,
        Note::Braking {
            high: Bytes(109_051_904),
            lasts
        }
    );
    assert_eq!((stage.high().as_str(), stage.journal()), (OURS, 1));
    // It grows by 1 MiB all the same, and waits for 700 ms.
    fs::write(stage.pod.path().join("c1/memory.current"), "105906176\n").expect("a file");
    fs::write(&pressure, "some avg10=0.00 avg60=0.00 avg300=0.00 total=701000\n").expect("a file");
    let braked = stage.end();
    assert_eq!(stage.high(), BEFORE);
    assert_eq!((braked.ended, braked.grew), (None, Bytes::mebi(1)));
    assert_eq!(braked.stalled, Some(Span::millis(700)));
    assert!(braked.lasted >= Span::millis(900), "{}", braked.lasted);
}

#[test]
fn a_brake_is_let_go_before_its_container_or_its_pod_is_ended() {
    // The kill of a cgroup that is the container, or the pod around it.
    for whole_pod in [false, true] {
        let stage = stage();
        stage.brake(Span::secs(600));
        let place = if whole_pod {
            let kind = GroupKind::Pod(Qos::Burstable);
            CgroupPlace {
                kind,
                ..fake_group(stage.pod.path(), &[], CgroupVersion::V2)
            }
        } else {
            stage.container()
        };
        assert_eq!(
            stage
                .handle
                .submit(order(2, Span::default(), Place::Cgroup(place))),
            Ok(())
        );
        assert_eq!(stage.end().ended, Some(BrakeEnd::Harsher), "{whole_pod}");
        assert_eq!(stage.high(), BEFORE);
    }
}

#[test]
fn a_brake_is_let_go_before_its_pods_eviction_and_not_for_a_rehearsal() {
    let mut stage = stage();
    let desk = stage.handle.take_desk().expect("somebody evicts");
    stage.brake(Span::secs(600));
    let pod = CgroupPlace {
        kind: GroupKind::Pod(Qos::Burstable),
        ..fake_group(stage.pod.path(), &[], CgroupVersion::V2)
    };
    let mut evict = order(2, Span::secs(30), Place::Cgroup(pod));
    evict.action.rung = Rung::Evict;
    assert_eq!(stage.handle.rehearse(evict.clone()), Ok(()));
    drop(desk.take().expect("a rehearsal"));
    assert_eq!(stage.high(), OURS);
    assert_eq!(stage.handle.submit(evict), Ok(()));
    let eviction = desk.take().expect("an eviction");
    assert_eq!(stage.high(), BEFORE, "before anybody is asked");
    assert_eq!(stage.end().ended, Some(BrakeEnd::Harsher));
    eviction.end(OutcomeKind::Gone);
}

#[test]
fn a_kill_elsewhere_leaves_a_brake_where_it_is() {
    let stage = stage();
    stage.brake(Span::secs(600));
    let other = tempfile::tempdir().expect("a directory");
    let place = fake_group(other.path(), &[], CgroupVersion::V2);
    assert_eq!(
        stage
            .handle
            .submit(order(2, Span::default(), Place::Cgroup(place))),
        Ok(())
    );
    wait_for(&stage.handle, 2);
    assert_eq!(stage.high(), OURS);
}

#[test]
fn what_is_called_off_is_let_go_and_the_end_of_the_threads_as_well() {
    let stage = stage();
    stage.brake(Span::secs(600));
    stage.handle.call_off();
    assert_eq!(stage.end().ended, Some(BrakeEnd::Stopped));
    assert_eq!(stage.high(), BEFORE);
    stage.brake(Span::secs(600));
    let Stage { state, pod, handle } = stage;
    drop(handle);
    let high = fs::read_to_string(pod.path().join("c1/memory.high")).expect("the file");
    assert_eq!(high, BEFORE);
    assert_eq!(recover_lowered(state.path()).expect("a journal"), []);
}

#[test]
fn who_is_marked_under_a_brake_is_let_go() {
    let stage = stage();
    stage.brake(Span::secs(600));
    rustix::fs::setxattr(stage.pod.path(), "user.forestall", b"never", XattrFlags::empty())
        .expect("a file system with attributes");
    assert_eq!(stage.end().ended, Some(BrakeEnd::Marked));
    assert_eq!(stage.high(), BEFORE);
    let (kind, _) = stage.refused(brake(1, Span::secs(600), stage.container()));
    assert_eq!(kind, OutcomeKind::Vetoed);
}

#[test]
fn whoever_sets_the_limit_under_a_brake_has_the_last_word() {
    let stage = stage();
    stage.brake(Span::secs(600));
    fs::write(stage.pod.path().join("c1/memory.high"), "123456789").expect("a file");
    assert_eq!(stage.end().ended, Some(BrakeEnd::Changed));
    assert_eq!(stage.high(), "123456789");
}

#[test]
fn nothing_is_written_to_a_cgroup_that_was_made_again_under_a_brake() {
    let stage = stage();
    stage.brake(Span::secs(600));
    let container = stage.pod.path().join("c1");
    fs::remove_dir_all(&container).expect("a directory");
    fs::create_dir(&container).expect("a directory");
    // The new one holds, by chance, the very value of the brake.
    fs::write(container.join("memory.high"), OURS).expect("a file");
    stage.handle.call_off();
    // The handle of a plain file outlives the file, where a kernel file's says ENODEV: either way it ends.
    wait_for(&stage.handle, 1);
    assert_eq!(stage.high(), OURS);
    stage.wait_for_an_empty_journal();
}

#[test]
fn nobody_is_braked_who_may_not_be_or_where_it_holds_nothing() {
    let stage = stage();
    let lasts = Span::secs(600);
    let vetoed = OutcomeKind::Vetoed;
    let failed = |errno: Errno| OutcomeKind::Failed(errno.raw_os_error());
    // A pod as a whole, a service, a container of cgroup v1, another cgroup of its name.
    for kind in [GroupKind::Pod(Qos::Burstable), GroupKind::Host] {
        let order = brake(
            1,
            lasts,
            CgroupPlace {
                kind,
                ..stage.container()
            },
        );
        assert_eq!(stage.refused(order), (vetoed, Note::NotAContainer));
    }
    let version = CgroupVersion::V1;
    let order = brake(
        1,
        lasts,
        CgroupPlace {
            version,
            ..stage.container()
        },
    );
    assert_eq!(stage.refused(order).0, failed(Errno::OPNOTSUPP));
    let id = GroupId(stage.container().id.0 + 1);
    let order = brake(
        1,
        lasts,
        CgroupPlace {
            id,
            ..stage.container()
        },
    );
    assert_eq!(stage.refused(order).0, OutcomeKind::Gone);
    // Whom nobody can name, and the agent's own.
    for (pid, protection) in [
        (0, Protection::Essential),
        (std::process::id(), Protection::Essential),
    ] {
        let place = fake_group(&stage.pod.path().join("c1"), &[pid], CgroupVersion::V2);
        let (kind, note) = stage.refused(brake(1, lasts, place));
        assert_eq!(kind, vetoed);
        assert!(
            matches!(note, Note::Protected { protection: why, .. } if why == protection),
            "{note:?}"
        );
    }
    // A limit that is as low, and a guarantee of everything.
    let high = stage.pod.path().join("c1/memory.high");
    fs::write(&high, "100000000").expect("a file");
    assert_eq!(stage.handle.submit(brake(1, lasts, stage.container())), Ok(()));
    assert_eq!(
        wait_for(&stage.handle, 1).0.note,
        Note::NotBraked(NoBrake::LowAlready)
    );
    assert_eq!(stage.high(), "100000000");
    fs::write(&high, BEFORE).expect("a file");
    fs::write(stage.pod.path().join("c1/memory.low"), "max").expect("a file");
    assert_eq!(
        stage.refused(brake(1, lasts, stage.container())),
        (OutcomeKind::NoEffect, Note::NotBraked(NoBrake::Guaranteed))
    );
}

#[test]
fn a_guarantee_is_not_undercut() {
    let stage = stage();
    // 200 MiB, of which it holds 100.
    fs::write(stage.pod.path().join("c1/memory.min"), "209715200").expect("a file");
    stage.brake(Span::secs(600));
    assert_eq!(stage.high(), "209715200");
}

#[test]
fn one_cgroup_has_one_brake_and_without_a_journal_there_is_none() {
    let stage = stage();
    stage.brake(Span::secs(600));
    let mut again = brake(2, Span::secs(600), stage.container());
    again.action.bytes = Bytes(105_906_176);
    assert_eq!(stage.handle.submit(again), Ok(()));
    let report = wait_for(&stage.handle, 2).0;
    assert_eq!(
        report.outcome.kind,
        OutcomeKind::Failed(Errno::BUSY.raw_os_error())
    );
    assert_eq!((stage.high().as_str(), stage.journal()), (OURS, 1));
    drop(stage);
    // The state directory is a file: nothing can be written down, so nothing is lowered.
    let stage = self::stage();
    fs::remove_dir(stage.state.path()).expect("an empty directory");
    fs::write(stage.state.path(), "").expect("a file");
    let order = brake(1, Span::secs(600), stage.container());
    assert_eq!(
        stage.refused(order).0,
        OutcomeKind::Failed(Errno::ROFS.raw_os_error())
    );
}

#[test]
fn what_was_ordered_before_something_harsher_is_not_put_on_after_it() {
    let stage = stage();
    let orders = [brake(1, Span::secs(600), stage.container()), {
        order(2, Span::default(), Place::Cgroup(stage.container()))
    }];
    // However the threads take turns: the brake never outlives the kill.
    for order in orders {
        assert_eq!(stage.handle.submit(order), Ok(()));
    }
    let report = wait_for(&stage.handle, 1).0;
    assert!(
        matches!(
            (report.outcome.kind, report.note),
            (OutcomeKind::Failed(125), Note::None)
                | (
                    OutcomeKind::Done,
                    Note::Braked(Braked {
                        ended: Some(BrakeEnd::Harsher),
                        ..
                    })
                )
        ),
        "{report:?}"
    );
    assert_eq!(stage.high(), BEFORE);
    stage.wait_for_an_empty_journal();
}
