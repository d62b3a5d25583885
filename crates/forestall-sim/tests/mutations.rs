//! Every rule that the engine keeps is taken away once, in a world that needs it: then a checker has to notice, and with the
//! rule nobody has anything to say. A new rule without a world does not compile; one without a checker fails.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{
    Bytes, BytesPerSecond, CRITICAL_PRIORITY, Limit, Mode, Moment, Owner, Policy, Rule, Rung, Rungs, Span,
    Standing, without,
};
use forestall_sim::{
    ContainerSpec, Fault, FaultKind, Load, NodeSpec, Part, Place, PodSpec, RunOptions, Violation, World,
};

const MIB: u64 = 1 << 20;
const KILL: &[Rung] = &[Rung::Kill];
const EVICT: &[Rung] = &[Rung::Evict, Rung::Kill];

/// A leak of so many kibibytes a second.
fn leak(kibi: u64) -> Load {
    Load::Leak {
        part: Part::Anon,
        rate: BytesPerSecond(kibi << 10),
        total: None,
        delay: Span(0),
    }
}

fn pod(name: &str, base_mebi: u64, load: Load) -> PodSpec {
    let container = ContainerSpec {
        base: Bytes::mebi(base_mebi),
        request: Bytes::mebi(10),
        load,
        ..ContainerSpec::plain("app")
    };
    PodSpec {
        place: Place::Node(0),
        ..PodSpec::plain(name, vec![container])
    }
}

/// The same pod with a short time to end.
fn quick(pod: PodSpec) -> PodSpec {
    PodSpec {
        grace: Span::secs(1),
        ..pod
    }
}

/// The same pod with a limit on its container.
fn limited(mut pod: PodSpec, mebi: u64) -> PodSpec {
    for container in &mut pod.containers {
        container.limit = Limit::Bytes(Bytes::mebi(mebi));
    }
    pod
}

fn calm(mebi: u64) -> PodSpec {
    pod("calm", mebi, Load::Steady)
}

/// Reads so much again and again.
fn reader(file_mebi: u64, rate_mebi: u64) -> PodSpec {
    let load = Load::Reader {
        file: Bytes::mebi(file_mebi),
        rate: BytesPerSecond(rate_mebi * MIB),
    };
    pod("reader", 10, load)
}

/// A node of 1,000 MiB without a kubelet, of which a kernel keeps 44 for itself; another one with room for whatever is evicted.
fn world(rungs: &[Rung], pods: Vec<PodSpec>) -> World {
    let bare = |name| NodeSpec {
        kubelet: None,
        ..NodeSpec::plain(name, Bytes::mebi(1000))
    };
    World {
        title: "one rule".to_owned(),
        seed: 1,
        duration: Span::secs(120),
        nodes: vec![
            bare("a"),
            NodeSpec {
                agent: false,
                ..bare("b")
            },
        ],
        pods,
        faults: Vec::new(),
        policy: Some(Policy {
            mode: Mode::Enforce,
            rungs: Rungs::of(rungs),
            ..Policy::default()
        }),
        reschedule: Span::secs(3),
    }
}

/// The same with a kubelet on the first node that evicts below so much.
fn with_kubelet(mut world: World, hard_mebi: u64) -> World {
    let hard = |signal| Threshold {
        signal,
        value: Bytes::mebi(hard_mebi),
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    world.nodes[0].kubelet = Some(KubeletConfig {
        capacity: Bytes::mebi(1000),
        kube_reserved: Bytes::mebi(100),
        thresholds: vec![
            hard(Signal::MemoryAvailable),
            hard(Signal::AllocatableMemoryAvailable),
        ],
        ..KubeletConfig::default()
    });
    world
}

fn with_fault(mut world: World, kind: FaultKind, from_secs: u64) -> World {
    world.faults.push(Fault {
        kind,
        node: None,
        from: Moment(from_secs * 1_000_000),
        lasts: Span::secs(1000),
    });
    world
}

fn lasting(world: World, secs: u64) -> World {
    World {
        duration: Span::secs(secs),
        ..world
    }
}

/// A world in which the rule is needed, and the checker that says so.
fn provoke(rule: Rule) -> (World, &'static str) {
    // What leaks beside 300 MiB that hold still.
    let alone = |rungs, leaker: PodSpec| world(rungs, vec![leaker, calm(300)]);
    let spared = |change: fn(&mut PodSpec)| {
        let mut leaker = pod("leak", 100, leak(10 << 10));
        change(&mut leaker);
        alone(KILL, leaker)
    };
    match rule {
        Rule::OwnLimit => (
            alone(KILL, limited(pod("leak", 0, leak(10 << 10)), 200)),
            "own-limit",
        ),
        Rule::KubeletsWall => (
            with_kubelet(alone(KILL, pod("leak", 0, leak(10 << 10))), 150),
            "kubelets-wall",
        ),
        Rule::Sight => (lasting(world(KILL, vec![calm(300)]), 10), "sight"),
        Rule::OwnStalls => {
            let mut churner = reader(2000, 8 << 10);
            churner.start = Moment(20_000_000);
            churner.containers[0].base = Bytes::ZERO;
            // It begins while the stalls are ours, and reaches the last twentieth before it is certain.
            let late = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(25 * MIB),
                total: None,
                delay: Span::secs(35),
            };
            let pods = vec![calm(780), pod("leak", 10, late), reader(9, 50), churner];
            let rungs = &[Rung::Reclaim, Rung::Kill];
            (lasting(with_kubelet(world(rungs, pods), 20), 45), "own-stalls")
        }
        Rule::Protected => (
            with_fault(spared(|pod| pod.is_static = true), FaultKind::ApiAway, 0),
            "never-touched",
        ),
        Rule::OptOut => (
            spared(|pod| {
                pod.preferred = Standing {
                    vetoed: true,
                    weight: 0,
                };
            }),
            "never-touched",
        ),
        Rule::ProtectedCache => {
            let mut pods = vec![calm(100), reader(700, 50)];
            pods[1].is_static = true;
            (with_kubelet(world(&[Rung::Reclaim], pods), 150), "never-touched")
        }
        Rule::Critical => (spared(|pod| pod.priority = CRITICAL_PRIORITY), "never-touched"),
        Rule::DaemonSet => (spared(|pod| pod.owner = Owner::DaemonSet), "never-touched"),
        Rule::Naked => (spared(|pod| pod.owner = Owner::Nobody), "never-touched"),
        Rule::Modesty => {
            let pods = vec![
                pod("most", 100, leak(6 << 10)),
                pod("more", 100, leak(4 << 10)),
                calm(300),
            ];
            (with_fault(world(KILL, pods), FaultKind::ApiAway, 0), "modesty")
        }
        Rule::Smallest => {
            // What it wrote outlives it while it waits to be started again.
            let mut filler = pod(
                "filler",
                0,
                Load::Leak {
                    part: Part::Shmem,
                    rate: BytesPerSecond(100 * MIB),
                    total: None,
                    delay: Span(0),
                },
            );
            filler = limited(filler, 400);
            filler.containers[0].volume = true;
            filler.containers.push(ContainerSpec::plain("sidecar"));
            (
                world(KILL, vec![filler, pod("slow", 320, leak(20 << 10))]),
                "smallest",
            )
        }
        Rule::SecondKill => (
            lasting(alone(EVICT, pod("leak", 0, leak(30 << 10))), 200),
            "second-kill",
        ),
        Rule::Outlives => {
            let mut filler = pod(
                "filler",
                0,
                Load::Leak {
                    part: Part::Shmem,
                    rate: BytesPerSecond(30 * MIB),
                    total: None,
                    delay: Span(0),
                },
            );
            filler.containers[0].volume = true;
            (lasting(alone(EVICT, filler), 200), "outlives-a-kill")
        }
        Rule::OneAtATime => {
            let pods = vec![
                pod("most", 100, leak(6 << 10)),
                pod("more", 100, leak(4 << 10)),
                calm(300),
            ];
            let slow = FaultKind::SlowVictim(Span::secs(8));
            (with_fault(world(KILL, pods), slow, 0), "one-at-a-time")
        }
        Rule::OnItsWay => {
            let mut pods = vec![pod("leak", 100, leak(8 << 10)), calm(400)];
            pods[1].priority = -10;
            let slow = FaultKind::SlowVictim(Span::secs(25));
            let world = with_kubelet(world(KILL, pods), 150);
            (with_fault(world, slow, 0), "on-its-way")
        }
        Rule::KernelsVictim => {
            let mut small = pod("small", 20, Load::Steady);
            small.count = 20;
            small.containers[0].request = Bytes::ZERO;
            // It reaches the wall between two looks and stops there, in memory that the kernel blames nobody for.
            let burst = Load::Leak {
                part: Part::Shmem,
                rate: BytesPerSecond(10 << 30),
                total: Some(Bytes::mebi(455)),
                delay: Span::secs(20),
            };
            let mut burst = pod("burst", 10, burst);
            burst.containers[0].volume = true;
            let mut later = pod("leak", 90, leak(10 << 10));
            later.start = Moment(20_000_000);
            later.containers[0].request = Bytes::mebi(500);
            let pods = vec![burst, small, later];
            (lasting(world(KILL, pods), 30), "kernels-victim")
        }
        Rule::Token => {
            let mut world = alone(EVICT, quick(pod("leak", 100, leak(10 << 10))));
            world.nodes[0].eviction_tokens = Some(0);
            (world, "budget")
        }
        Rule::Blocked => (
            with_fault(
                alone(EVICT, quick(pod("leak", 300, leak(4 << 10)))),
                FaultKind::PdbZero,
                0,
            ),
            "not-asked-again",
        ),
        Rule::ApiAway => (
            with_fault(
                alone(EVICT, quick(pod("leak", 100, leak(10 << 10)))),
                FaultKind::ApiAway,
                20,
            ),
            "api-away",
        ),
        Rule::PlaceToGo => {
            let mut world = alone(EVICT, quick(pod("leak", 100, leak(10 << 10))));
            world.nodes.truncate(1);
            (world, "place-to-go")
        }
        Rule::GraceFits => (alone(EVICT, pod("leak", 0, leak(30 << 10))), "grace-fits"),
        Rule::BrakeEnds => (
            lasting(
                alone(&[Rung::Brake, Rung::Kill], pod("leak", 100, leak(10 << 10))),
                400,
            ),
            "nothing-left-behind",
        ),
        Rule::NoHiding => {
            let pods = vec![pod("leak", 100, leak(10 << 10)), reader(300, 50)];
            (with_kubelet(world(&[Rung::Reclaim], pods), 150), "no-hiding")
        }
        Rule::HonestScore => {
            let mut pods = vec![
                pod("most", 100, leak(10 << 10)),
                pod("static", 100, leak(4 << 10)),
                calm(300),
            ];
            pods[1].is_static = true;
            let slow = FaultKind::SlowVictim(Span::secs(30));
            (with_fault(world(KILL, pods), slow, 0), "honest-scores")
        }
        Rule::Horizon => {
            let plateau = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(10 * MIB),
                total: Some(Bytes::mebi(500)),
                delay: Span(0),
            };
            (lasting(alone(KILL, pod("heap", 0, plateau)), 300), "scored-once")
        }
        Rule::Misses => {
            let burst = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(3 << 30),
                total: None,
                delay: Span::secs(20),
            };
            (lasting(alone(&[], pod("burst", 0, burst)), 30), "misses")
        }
        Rule::Confirmation => {
            let burst = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(20 * MIB),
                total: Some(Bytes::mebi(40)),
                delay: Span::secs(70),
            };
            let pods = vec![quick(pod("burst", 100, burst)), calm(600)];
            (lasting(world(&[Rung::Evict], pods), 80), "two-keys")
        }
        Rule::LastMoment => (
            alone(&[Rung::Evict], quick(pod("leak", 100, leak(2 << 10)))),
            "last-moment",
        ),
        Rule::CulpritFirst => {
            let mut pods = vec![pod("leak", 100, leak(8 << 10)), calm(300)];
            pods[1].priority = -10;
            (world(KILL, pods), "culprit-first")
        }
        Rule::HostsOwn => {
            let mut world = world(KILL, vec![calm(300), calm(200)]);
            world.pods[1].name = "other".into();
            world.nodes[0].host = ["a", "b", "c", "d"]
                .map(|name| ContainerSpec {
                    load: leak(2 << 10),
                    ..ContainerSpec::plain(name)
                })
                .into();
            (world, "hosts-own")
        }
        Rule::FreesEnough => {
            let mut tiny = pod("tiny", 1, Load::Steady);
            tiny.priority = -10;
            tiny.containers[0].request = Bytes::ZERO;
            let mut pods: Vec<PodSpec> = ["a", "b", "c"]
                .map(|name| quick(pod(name, 200, leak(1 << 10))))
                .into();
            pods.extend([quick(tiny), calm(100)]);
            (world(&[Rung::Evict], pods), "frees-enough")
        }
        Rule::CacheFirst => {
            let pods = vec![quick(calm(300)), reader(500, 10)];
            (
                lasting(with_kubelet(world(&[Rung::Evict], pods), 150), 200),
                "cache-first",
            )
        }
        Rule::GrowthAsked => (
            alone(&[Rung::Grow], limited(pod("leak", 0, leak(10 << 10)), 200)),
            "asked-for",
        ),
        Rule::WarningAsked => (
            alone(&[Rung::Warn], pod("leak", 100, leak(10 << 10))),
            "asked-for",
        ),
        Rule::RoomToGrow => {
            let mut grows = limited(pod("leak", 0, leak(10 << 10)), 400);
            grows.grow_max = Some(Bytes::mebi(2000));
            (world(&[Rung::Grow], vec![grows, calm(450)]), "room-to-grow")
        }
    }
}

fn judge(world: &World) -> Vec<Violation> {
    let options = RunOptions {
        checkers: true,
        keep: 0,
        ..RunOptions::default()
    };
    world.run(options, &mut |_| ()).expect("a sound world").violations
}

#[test]
fn with_all_rules_nothing_is_wrong_in_any_of_these_worlds() {
    let found: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| (rule, judge(&provoke(*rule).0)))
        .filter(|(_, found)| !found.is_empty())
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn without_any_one_of_the_rules_its_checker_says_so() {
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        let (world, checker) = provoke(*rule);
        let found = without(*rule, || judge(&world));
        if !found.iter().any(|violation| violation.rule == checker) {
            let mut others: Vec<_> = found.iter().map(|violation| violation.rule).collect();
            others.dedup();
            unnoticed.push(format!("{rule:?}: {checker} says nothing, others: {others:?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
