//! The host itself leaks, and no pod has anything to do with it.
use forestall_lab_init::plan::{Role, Service, Share, Work};

use super::super::cast::leak;
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 5] = [
    Scenario {
        name: "host-leak",
        about: "a process of the host leaks, and no pod has anything to do with it",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let in_root = dice.coin();
            let work = leak(dice, 20, 60);
            plan.services.push(Service {
                name: "leaky".into(),
                role: Role::Culprit,
                work,
                oom_score_adj: 0,
                in_root,
                container: None,
            });
        },
    },
    Scenario {
        name: "host-crew",
        about: "a daemon of the host leaks in several workers, none of which explains half of it",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let worker = Work::Grow {
                rate: Share(dice.between(5, 15)),
                total: None,
                start: Share(dice.between(5, 20)),
            };
            plan.services.push(Service {
                name: "crew".into(),
                role: Role::Culprit,
                work: Work::Crew {
                    works: vec![worker; 4],
                },
                oom_score_adj: 0,
                in_root: false,
                container: None,
            });
            // Its workers end one after another, each when the wall is near again.
            plan.deadline_millis = 180_000;
        },
    },
    Scenario {
        name: "host-tmpfs",
        about: "a daemon of the host writes to a memory-backed directory and hardly holds anything itself",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.services.push(daemon(Work::Shmem {
                rate: Share(dice.between(20, 50)),
                total: None,
                then_exits: false,
            }));
        },
    },
    Scenario {
        name: "host-pipes",
        about: "a daemon of the host fills pipes: kernel memory, charged to its service and shown by no process",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.services.push(daemon(Work::Pipes {
                rate: Share(dice.between(20, 50)),
            }));
        },
    },
    Scenario {
        name: "host-forks",
        about: "a daemon of the host starts process after process, each of which holds a little and does not grow",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // Between 16 and 48 thousandths a second, of which a start takes its share.
            plan.services.push(daemon(Work::Forks {
                each: Share(dice.between(2, 4)),
                per_second: dice.between(8, 12),
                at_most: 800,
            }));
            // Its children stay: what has to end is their parent, and nobody after it.
            plan.aftermath_millis = 12_000;
        },
    },
];

/// A service of the host that takes all the memory there is.
fn daemon(work: Work) -> Service {
    Service {
        name: "daemon".into(),
        role: Role::Culprit,
        work,
        oom_score_adj: 0,
        in_root: false,
        container: None,
    }
}
