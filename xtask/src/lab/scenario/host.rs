//! The host itself leaks, and no pod has anything to do with it.
use forestall_lab_init::plan::{Role, Service, Share, Work};

use super::super::cast::leak;
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 2] = [
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
            });
            // Its workers end one after another, each when the wall is near again.
            plan.deadline_millis = 180_000;
        },
    },
];
