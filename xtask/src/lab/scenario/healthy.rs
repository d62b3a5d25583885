//! Loads that look like the end of memory and are none: nobody may end for them, or only by a limit of its own.
use forestall_lab_init::plan::{Class, Lru, Share, Work};

use super::super::cast::{culprit, hold, leak};
use super::{Scenario, With, Without};

pub(super) const ALL: [Scenario; 11] = [
    Scenario {
        name: "page-cache",
        about: "a file that is read over and over looks like memory in use to the kubelet, which evicts its reader",
        without: Without::KubeletEvicts,
        with: With::NobodyEnds,
        // The kubelet's threshold is 100 MiB on any machine: 80 of this guest's thousandths.
        memory_mib: Some(1280),
        draw: |dice, plan| {
            // The bystanders hold about 125, the file 600, in all more than 780 − 80 and less than 780: the kubelet sees
            // its threshold crossed, and the kernel sees no reason to reclaim. The file becomes active only by the
            // classic LRU; the other keeps it inactive, and then there is no danger.
            plan.lru = Lru::Classic;
            plan.kubepods_limit = Some(Share(780));
            plan.kubelet_evicts = true;
            plan.disk = true;
            hold(plan, [40, 50, 30]);
            let work = Work::Reread {
                size: Share(dice.between(596, 606)),
                rate: Share(dice.between(90, 140)),
            };
            plan.pods.push(culprit(dice, "reader", work));
            plan.deadline_millis = 75_000;
        },
    },
    Scenario {
        name: "healthy-stream",
        about: "a file larger than memory is read once and again: all cache, no danger",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.disk = true;
            let work = Work::Stream {
                size: Share(dice.between(1050, 1150)),
                rate: Share(dice.between(100, 200)),
            };
            plan.pods.push(culprit(dice, "streamer", work));
            plan.deadline_millis = 45_000;
        },
    },
    Scenario {
        name: "healthy-reread",
        about: "a file that fits is read over and over",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.disk = true;
            let work = Work::Reread {
                size: Share(dice.between(250, 400)),
                rate: Share(dice.between(80, 150)),
            };
            plan.pods.push(culprit(dice, "reader", work));
            plan.deadline_millis = 40_000;
        },
    },
    Scenario {
        name: "healthy-write",
        about: "a file larger than memory is written over and over: cache that has to reach the disk first",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.disk = true;
            let work = Work::Write {
                size: Share(dice.between(1050, 1150)),
                rate: Share(dice.between(40, 100)),
            };
            plan.pods.push(culprit(dice, "writer", work));
            plan.deadline_millis = 45_000;
        },
    },
    Scenario {
        name: "healthy-names",
        about: "a pod asks for names that do not exist, and the kernel remembers each: slab that it gives back",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.disk = true;
            // 560 held: 210 thousandths are left, which hold about a million names.
            plan.kubepods_limit = Some(Share(dice.between(770, 790)));
            hold(plan, [180, 200, 180]);
            plan.pods
                .push(culprit(dice, "asker", Work::Names { per_second: 0 }));
            plan.deadline_millis = 60_000;
        },
    },
    Scenario {
        name: "healthy-plateau",
        about: "a heap grows as a leak does, and stops in time",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // The bystanders hold up to 150 and the limit is at least 740, the kubelet's threshold 105 below it: a
            // plateau of 420 ends with 65 to spare.
            let total = Some(Share(dice.between(370, 420)));
            let work = Work::Grow {
                rate: Share(dice.between(20, 50)),
                total,
                start: Share(20),
            };
            plan.pods.push(culprit(dice, "grower", work));
            // The slowest takes 20 s to its plateau, and stays there for as long as an agent that is wrong would take.
            plan.deadline_millis = 34_000;
        },
    },
    Scenario {
        name: "healthy-thrash",
        about: "a pod re-reads a file that does not fit into its own limit: its stall is its own problem",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            plan.disk = true;
            let limit = dice.between(60, 90);
            let work = Work::Reread {
                size: Share(limit * 2),
                rate: Share(0),
            };
            let mut pod = culprit(dice, "thrasher", work);
            pod.class = Class::Burstable;
            pod.request = Share(limit / 2);
            pod.limit = Some(Share(limit));
            plan.pods.push(pod);
            plan.deadline_millis = 40_000;
        },
    },
    Scenario {
        name: "healthy-idle",
        about: "nothing happens",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |_, plan| plan.deadline_millis = 30_000,
    },
    Scenario {
        name: "healthy-batch",
        about: "a job takes most of the memory, gives it back, and begins again",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // 100 held and at most 580 taken: 90 to spare.
            plan.kubepods_limit = Some(Share(770));
            hold(plan, [40, 40, 20]);
            let work = Work::Batch {
                size: Share(dice.between(540, 580)),
                rate: Share(dice.between(50, 150)),
                rest_millis: 2000,
            };
            plan.pods.push(culprit(dice, "job", work));
            plan.deadline_millis = 45_000;
        },
    },
    Scenario {
        name: "healthy-scratch",
        about: "a file on a tmpfs is written, removed, and written again",
        without: Without::NobodyEnds,
        with: With::NobodyEnds,
        memory_mib: None,
        draw: |dice, plan| {
            // As healthy-batch.
            plan.kubepods_limit = Some(Share(770));
            hold(plan, [40, 40, 20]);
            let work = Work::Scratch {
                size: Share(dice.between(540, 580)),
                rate: Share(dice.between(50, 150)),
            };
            plan.pods.push(culprit(dice, "copier", work));
            plan.deadline_millis = 45_000;
        },
    },
    Scenario {
        name: "own-limit",
        about: "a container reaches its own limit on a node that is fairly full: the kernel ends it, and that is that",
        without: Without::KernelKills,
        with: With::OwnLimit,
        memory_mib: None,
        draw: |dice, plan| {
            // 500 held and at most 180 more: 90 to spare.
            plan.kubepods_limit = Some(Share(770));
            hold(plan, [140, 200, 160]);
            let mut pod = culprit(dice, "leaker", Work::Pause);
            pod.class = Class::Burstable;
            pod.request = Share(100);
            pod.limit = Some(Share(dice.between(120, 180)));
            pod.work = leak(dice, 20, 60);
            plan.pods.push(pod);
        },
    },
];
