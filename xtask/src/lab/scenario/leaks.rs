//! A container leaks what everybody can see: anonymous memory, in its own pages.
use forestall_lab_init::plan::{Class, Share, Sidecar, Work};

use super::super::cast::{culprit, hold, leak};
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 8] = [
    Scenario {
        name: "leak-container",
        about: "a container without a limit leaks until kubepods is full",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = leak(dice, 20, 70);
            plan.pods.push(culprit(dice, "leaker", work));
        },
    },
    Scenario {
        name: "leak-node",
        about: "the same where kubepods has no limit: the machine itself runs out",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.kubepods_limit = None;
            let work = leak(dice, 20, 70);
            plan.pods.push(culprit(dice, "leaker", work));
        },
    },
    Scenario {
        name: "burst",
        about: "a container allocates faster than any reclaim",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = leak(dice, 150, 300);
            plan.pods.push(culprit(dice, "burster", work));
            plan.deadline_millis = 30_000;
        },
    },
    Scenario {
        name: "kubepods-full",
        about: "innocent pods fill most of kubepods, and a small pod leaks what is left",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // Below the kubelet's threshold (about 105 thousandths under the limit), or it would evict without a leak.
            plan.kubepods_limit = Some(Share(dice.between(760, 780)));
            hold(plan, [140, 240, dice.between(200, 240)]);
            let work = Work::Grow {
                rate: Share(dice.between(8, 20)),
                total: None,
                start: Share(10),
            };
            plan.pods.push(culprit(dice, "leaker", work));
        },
    },
    Scenario {
        name: "bystander",
        about: "a large best-effort pod with the worst oom_score stands beside a burstable one that leaks",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            hold(plan, [dice.between(220, 270), 50, 30]);
            let mut pod = culprit(dice, "leaker", Work::Pause);
            pod.class = Class::Burstable;
            pod.request = Share(dice.between(300, 400));
            pod.work = leak(dice, 20, 60);
            plan.pods.push(pod);
        },
    },
    Scenario {
        name: "leak-steps",
        about: "a leak that rests between its steps: the last second says nothing, the last ten say all",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let work = Work::Steps {
                step: Share(dice.between(15, 50)),
                every_millis: u64::from(dice.between(1500, 3000)),
            };
            plan.pods.push(culprit(dice, "stepper", work));
            plan.deadline_millis = 120_000;
        },
    },
    Scenario {
        name: "late-agent",
        about: "the agent starts when most of the memory is gone, and knows no history",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // 60 a second is at the limit after about 9 s at the earliest; the agent looks for the first time after 7.
            let start = Share(dice.between(200, 300));
            let rate = Share(dice.between(25, 35));
            let work = Work::Grow {
                rate,
                total: None,
                start,
            };
            plan.pods.push(culprit(dice, "leaker", work));
            plan.agent_late_millis = Some(6000);
        },
    },
    Scenario {
        name: "sidecar",
        about: "the second container of a pod leaks, and the first has done nothing wrong",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            let hold = Share(dice.between(40, 80));
            let mut pod = culprit(dice, "sidecar", Work::Hold { hold });
            pod.sidecar = Some(Sidecar {
                container: dice.container_id(),
                work: leak(dice, 20, 60),
            });
            plan.pods.push(pod);
        },
    },
];
