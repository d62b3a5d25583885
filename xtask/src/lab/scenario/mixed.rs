//! A leak that is not alone: beside another, beside loads that move more memory than it does, and in odd surroundings.
use forestall_lab_init::plan::{Role, Service, Share, Work};

use super::super::cast::{culprit, hold, leak};
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 6] = [
    Scenario {
        name: "duel",
        about: "two pods leak at once, and one of them takes nearly all of it",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // Without news of the pods only who has four fifths of the growth is acted upon: 60 of 69 thousandths at least.
            let slow = Work::Grow {
                rate: Share(dice.between(4, 9)),
                total: None,
                start: Share(10),
            };
            let fast = leak(dice, 60, 80);
            plan.pods.push(culprit(dice, "slow-leaker", slow));
            plan.pods.push(culprit(dice, "fast-leaker", fast));
            plan.aftermath_millis = 12_000;
        },
    },
    Scenario {
        name: "leak-beside-batch",
        about: "a slow leak beside a job that takes and gives back more than the leak ever holds at once",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.kubepods_limit = Some(Share(dice.between(760, 790)));
            hold(plan, [20, 40, 20]);
            let job = Work::Batch {
                size: Share(dice.between(180, 240)),
                rate: Share(dice.between(60, 120)),
                rest_millis: 1500,
            };
            if let Some(pod) = plan.pods.first_mut() {
                pod.work = job;
            }
            let work = leak(dice, 15, 30);
            plan.pods.push(culprit(dice, "leaker", work));
            plan.deadline_millis = 90_000;
        },
    },
    Scenario {
        name: "leak-beside-reader",
        about: "a leak beside a reader of files whose cache fills what the leak has not taken yet",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.disk = true;
            hold(plan, [20, 50, 30]);
            let reader = Work::Stream {
                size: Share(dice.between(1050, 1150)),
                rate: Share(dice.between(60, 120)),
            };
            if let Some(pod) = plan.pods.first_mut() {
                pod.work = reader;
            }
            let work = leak(dice, 15, 40);
            plan.pods.push(culprit(dice, "leaker", work));
            plan.deadline_millis = 90_000;
        },
    },
    Scenario {
        name: "nested",
        about: "a container divides its own cgroup, as a container engine inside a container does, and leaks in there",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = leak(dice, 20, 60);
            let mut pod = culprit(dice, "builder", work);
            pod.nested = true;
            plan.pods.push(pod);
        },
    },
    Scenario {
        name: "supervised",
        about: "a container's first process starts its worker again whenever that ends: only the container's end helps",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = Box::new(leak(dice, 20, 60));
            plan.pods
                .push(culprit(dice, "supervisor", Work::Supervised { work }));
        },
    },
    Scenario {
        name: "plain-docker",
        about: "a machine without Kubernetes, and one of its containers leaks",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.plain = true;
            plan.kubepods_limit = None;
            plan.pods.clear();
            if let Some(agent) = &mut plan.agent {
                agent.as_pod = false;
            }
            let large = Work::Hold {
                hold: Share(dice.between(150, 250)),
            };
            let small = Work::Hold {
                hold: Share(dice.between(20, 60)),
            };
            let work = leak(dice, 15, 50);
            for (name, role, work) in [
                ("postgres", Role::Innocent, large),
                ("nginx", Role::Innocent, small),
                ("worker", Role::Culprit, work),
            ] {
                plan.services.push(Service {
                    name: name.into(),
                    role,
                    work,
                    oom_score_adj: 0,
                    in_root: false,
                    container: Some(dice.container_id()),
                });
            }
            plan.deadline_millis = 90_000;
        },
    },
];
