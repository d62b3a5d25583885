//! Memory that no single RSS shows: shared, spread over many processes, or held by the kernel on their behalf.
use forestall_lab_init::plan::{Share, Work};

use super::super::cast::{culprit, hold};
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 5] = [
    Scenario {
        name: "shmem",
        about: "a tmpfs filled with write(2): in the cgroup's charge and in no process's RSS",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = Work::Shmem {
                rate: Share(dice.between(20, 60)),
                total: None,
                then_exits: false,
            };
            plan.pods.push(culprit(dice, "shm-writer", work));
        },
    },
    Scenario {
        name: "forks",
        about: "many processes, each of them small",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let (each, per_second) = (Share(dice.between(3, 5)), dice.between(5, 10));
            plan.pods.push(culprit(
                dice,
                "forker",
                Work::Forks {
                    each,
                    per_second,
                    at_most: 500,
                },
            ));
        },
    },
    Scenario {
        name: "page-tables",
        about: "sparse mappings: memory goes into page tables, which no RSS shows",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = Work::PageTables {
                rate: Share(dice.between(20, 45)),
            };
            plan.pods.push(culprit(dice, "mapper", work));
        },
    },
    Scenario {
        name: "memory-dir",
        about: "a memory-backed directory outlives the process that filled it; nothing on the node can free it",
        without: Without::KernelKills,
        with: With::CulpritNamed,
        memory_mib: None,
        draw: |dice, plan| {
            // 50 + 60 + 20 held, 540 written, and 150 to 170 more from a pod that grows to its plateau: over 760.
            plan.kubepods_limit = Some(Share(760));
            hold(plan, [50, 60, 20]);
            if let Some(web) = plan.pods.iter_mut().find(|pod| pod.name == "web") {
                web.work = Work::Grow {
                    rate: Share(3),
                    total: Some(Share(dice.between(170, 190))),
                    start: Share(20),
                };
            }
            let size = Share(dice.between(530, 550));
            let work = Work::Shmem {
                rate: Share(dice.between(40, 70)),
                total: Some(size),
                then_exits: true,
            };
            plan.pods.push(culprit(dice, "dir-writer", work));
        },
    },
    Scenario {
        name: "pipes",
        about: "full pipes: memory of the kernel, charged to the container and in no RSS",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = Work::Pipes {
                rate: Share(dice.between(20, 50)),
            };
            plan.pods.push(culprit(dice, "piper", work));
        },
    },
];
