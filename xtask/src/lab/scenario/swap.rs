//! Leaks beside swap, which only takes what may go there.
use forestall_lab_init::plan::{Share, Work};

use super::super::cast::{culprit, leak};
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 3] = [
    Scenario {
        name: "zram-leak",
        about: "a leak on a node with compressed swap",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.zram = Some(Share(dice.between(200, 300)));
            let work = leak(dice, 40, 80);
            plan.pods.push(culprit(dice, "leaker", work));
            plan.deadline_millis = 120_000;
        },
    },
    Scenario {
        name: "swap-forbidden",
        about: "swap stays empty, since the kubelet lets no container use it: it is no room for the one that leaks",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.zram = Some(Share(dice.between(200, 400)));
            plan.swap_forbidden = true;
            let work = leak(dice, 20, 70);
            plan.pods.push(culprit(dice, "leaker", work));
        },
    },
    Scenario {
        name: "swap-locked",
        about: "a leak of locked memory, which swap does not take",
        without: Without::KernelKills,
        with: With::CulpritEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.zram = Some(Share(dice.between(200, 400)));
            let rate = Share(dice.between(20, 70));
            plan.pods.push(culprit(dice, "locker", Work::Locked { rate }));
        },
    },
];
