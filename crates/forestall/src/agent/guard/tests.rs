use forestall_act::{ActConfig, Actor, CgroupVersion};
use forestall_decide::{
    ActionId, BytesPerSecond, Confidence, Evidence, Limit, Rung, Runway, Target, WallKind, WallReading,
};
use forestall_sense::SenseConfig;

use super::*;
use crate::agent::shared;

pub(crate) fn own_wall() -> WallReading {
    WallReading {
        wall: WallKind::Kernel,
        scope: None,
        limit: Limit::Bytes(Bytes::mebi(8_192)),
        distance: Bytes::mebi(4_096),
        growth: BytesPerSecond(0),
        growth_fast: BytesPerSecond(0),
        runway: Runway::FOREVER,
        stall_some_permille: 0,
        stall_full_permille: 0,
        confidence: Confidence::None,
        culprit: None,
        alarmed: false,
    }
}

#[test]
fn every_order_that_cannot_be_handed_over_has_an_outcome() {
    let orders = |count: usize| -> Vec<Action> {
        let one = |id| Action {
            id: ActionId(id),
            rung: Rung::Kill,
            target: Target::Group(GroupId(id)),
            bytes: Bytes::mebi(1),
            grace: Span(0),
            deadline: Span::secs(1),
            escalate: false,
            evidence: Evidence {
                reading: own_wall(),
                time_to_effect: Span(0),
                rule: "test",
            },
        };
        (1..).take(count).map(one).collect()
    };
    let mut lost = Vec::with_capacity(LOST_USUAL);
    // As many as there is room for in the queues of the act threads, and more; every tenth is gone, every third is taken.
    for count in [5, 40, LOST_USUAL, 200] {
        lost.clear();
        let mut taken = 0;
        hand_over(&orders(count), &mut lost, |action| match action.id.0 {
            id if id % 3 == 0 => {
                taken += 1;
                Some(Ok(()))
            }
            id if id % 10 == 0 => None,
            _ => Some(Err(Rejected::Busy)),
        });
        assert_eq!(lost.len() + taken, count, "of {count}");
        for outcome in &lost {
            let kind = match outcome.action.0 % 10 {
                0 => OutcomeKind::Gone,
                // EAGAIN, asm-generic/errno-base.h.
                _ => OutcomeKind::Failed(11),
            };
            assert_eq!((outcome.kind, outcome.rung), (kind, Rung::Kill));
        }
        lost.dedup_by_key(|outcome| outcome.action);
        assert_eq!(lost.len() + taken, count, "each once");
        // A decision of the usual size takes no memory.
        assert!(count > LOST_USUAL || lost.capacity() == LOST_USUAL);
    }
}

#[test]
fn where_the_pods_live_is_handed_over_when_they_come() {
    let root = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    write(
        "proc/meminfo",
        "MemTotal: 8000000 kB\nMemFree: 7000000 kB\nMemAvailable: 7500000 kB\n",
    );
    write("proc/vmstat", "oom_kill 0\n");
    let make = |group: &str| {
        for (file, text) in [
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "total_rss 0\n"),
            ("cgroup.procs", ""),
            // The last one, by which a cgroup is known.
            ("memory.usage_in_bytes", "0\n"),
        ] {
            write(&format!("cgroup/{group}/{file}"), text);
        }
    };
    make("");
    make("system.slice");
    let sensor = Sensor::open(&SenseConfig {
        proc_root: root.path().join("proc"),
        sys_root: root.path().join("sys"),
        cgroup_root: Some(root.path().join("cgroup")),
        trusting: true,
        own_pid: Some(1),
        ..SenseConfig::default()
    });
    let actor = Actor::start(&ActConfig {
        proc_root: root.path().join("proc"),
        ..ActConfig::default()
    });
    let ends = shared::open().expect("an eventfd");
    let mut guard = Guard::new(GuardSetup {
        sensor: sensor.expect("a machine"),
        actor: actor.expect("threads"),
        triggers: Triggers::arm(root.path(), None, &[]),
        tap: None,
        post: ends.post,
        commands: ends.commands,
        policy: Policy::default(),
    });
    let mut look = |secs: u64| {
        guard.look(Moment(secs * 1_000_000), Span(0));
        let found = ends.board.kubepods();
        found.map(|(dir, version)| (rustix::fs::fstat(dir).expect("it is open").st_ino, version))
    };
    assert_eq!(look(100), None);
    make("kubepods");
    let kubepods = std::fs::metadata(root.path().join("cgroup/kubepods")).expect("it was made");
    let inode = std::os::unix::fs::MetadataExt::ino(&kubepods);
    assert_eq!(look(200), Some((inode, CgroupVersion::V1)));
    assert_eq!(look(300), Some((inode, CgroupVersion::V1)));
}
