//! What a run can be about: how a node runs out of memory, or only looks as if it did, and what has to come of it.
//!
//! All sizes are shares of the guest's memory, drawn within bounds that keep a scenario what its name says. Each draw
//! notes why its bounds are where they are; the arithmetic is in thousandths of `MemTotal`.
use forestall_lab_init::plan::{Class, Lru, Plan, Role, Service, Share, Work};

use super::cast::{culprit, hold, leak, node};
use super::draw::Dice;

/// A scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) about: &'static str,
    /// What has to happen without the agent; otherwise the scenario is not what it claims to be.
    pub(crate) without: Without,
    /// What has to happen with it.
    pub(crate) with: With,
    /// The guest's memory, where the scenario needs a certain amount (it is about an absolute threshold, say).
    pub(crate) memory_mib: Option<u32>,
    draw: fn(&mut Dice, &mut Plan),
}

/// What has to happen without the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The kernel kills somebody.
    KernelKills,
    /// The stand-in for the kubelet evicts somebody.
    KubeletEvicts,
    /// Nobody ends.
    NobodyEnds,
}

/// What has to happen with the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    /// The culprit ends and nobody else, and the kernel kills nobody.
    CulpritEnds,
    /// Nobody ends at all.
    NobodyEnds,
    /// Nothing on this machine can save it: the agent ends no innocent, and its log names the culprit.
    CulpritNamed,
}

impl Scenario {
    /// Draws a run.
    pub(crate) fn plan(&self, seed: u64, agent_args: &[String], full_caps: bool) -> Plan {
        let mut dice = Dice::new(seed, self.name);
        let mut plan = node(&mut dice, self.name, seed);
        (self.draw)(&mut dice, &mut plan);
        if let Some(agent) = &mut plan.agent {
            agent.args.extend_from_slice(agent_args);
            agent.full_caps = full_caps;
        }
        plan
    }
}

/// The scenario of that name.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Every scenario.
pub(crate) static ALL: [Scenario; 18] = [
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_plan_and_another_seed_another() {
        for scenario in &ALL {
            assert_eq!(
                scenario.plan(3, &[], false),
                scenario.plan(3, &[], false),
                "{}",
                scenario.name
            );
            assert_ne!(
                scenario.plan(3, &[], false),
                scenario.plan(4, &[], false),
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for scenario in &ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == scenario.name).count(), 1);
            assert!(named(scenario.name).is_some());
        }
    }

    #[test]
    fn what_must_end_somebody_has_a_culprit() {
        for scenario in ALL
            .iter()
            .filter(|scenario| scenario.without != Without::NobodyEnds)
        {
            let plan = scenario.plan(1, &[], false);
            let pods = plan.pods.iter().filter(|pod| pod.role == Role::Culprit).count();
            let services = plan
                .services
                .iter()
                .filter(|service| service.role == Role::Culprit)
                .count();
            assert_eq!(pods + services, 1, "{}", scenario.name);
        }
    }

    #[test]
    fn bystanders_alone_never_come_near_a_wall() {
        for scenario in &ALL {
            for seed in 0..50 {
                let plan = scenario.plan(seed, &[], false);
                let held: u32 = plan
                    .pods
                    .iter()
                    .filter(|pod| pod.role == Role::Innocent)
                    .map(|pod| {
                        if let Work::Hold { hold } = pod.work {
                            hold.0
                        } else {
                            0
                        }
                    })
                    .sum();
                // 105 thousandths stand for the kubelet's 100 MiB of a guest of 1 GiB.
                let wall = plan.kubepods_limit.map_or(900, |limit| limit.0);
                assert!(
                    held + 105 + 20 < wall,
                    "{} seed {seed}: {held} of {wall}",
                    scenario.name
                );
            }
        }
    }
}
