//! For each rule a world that needs it.

use forestall_decide::{Bytes, BytesPerSecond, CRITICAL_PRIORITY, Moment, Owner, Rule, Rung, Span, Standing};
use forestall_sim::{ContainerSpec, FaultKind, Load, Part, PodSpec, World};

use crate::make::{
    EVICT, KILL, MIB, alone, calm, grown, lasting, leak, limited, pod, quick, reader, with_fault,
    with_healed, with_kubelet, world,
};

/// A world in which the rule is needed, and the checker that says so.
pub(crate) fn provoke(rule: Rule) -> (World, &'static str) {
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
        Rule::Excused => (
            world(
                KILL,
                vec![calm(480), limited(pod("leak", 0, leak(10 << 10)), 425)],
            ),
            "excused",
        ),
        Rule::BreakerFirst => {
            let late = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(15 * MIB),
                total: Some(Bytes::mebi(550)),
                delay: Span::secs(130),
            };
            let mut job = pod("job", 10, late);
            job.containers[0].request = Bytes::mebi(600);
            let creeps = pod("crept", 10, leak(3 << 10));
            (lasting(world(KILL, vec![creeps, job]), 240), "breaker-first")
        }
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
                    delay: Span::secs(80),
                },
            );
            filler.containers[0].volume = true;
            (
                lasting(world(EVICT, vec![filler, grown(300)]), 300),
                "outlives-a-kill",
            )
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
            let pods = vec![pod("burst", 100, burst), calm(786)];
            (lasting(world(KILL, pods), 80), "two-keys")
        }
        Rule::LastMoment => (
            alone(&[Rung::Evict], quick(pod("leak", 100, leak(2 << 10)))),
            "last-moment",
        ),
        Rule::Lasting => {
            let starts = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(12 * MIB),
                total: Some(Bytes::mebi(100)),
                delay: Span::secs(30),
            };
            let pods = vec![calm(300), pod("starts", 10, starts)];
            (world(&[Rung::Evict], pods), "lasting")
        }
        Rule::CulpritFirst => {
            let mut pods = vec![pod("leak", 100, leak(4 << 10)), grown(300)];
            pods[1].priority = -10;
            (lasting(world(KILL, pods), 200), "culprit-first")
        }
        Rule::HostsOwn => {
            let mut world = lasting(world(KILL, vec![grown(300), calm(200)]), 200);
            world.nodes[0].host = ["a", "b", "c", "d"]
                .map(|name| ContainerSpec {
                    load: leak(1 << 10),
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
        // With half a minute for their ends small ones are asked for a minute before the wall, where nothing is missing yet.
        Rule::Outgrows => {
            let mut tiny = pod("tiny", 1, Load::Steady);
            (tiny.priority, tiny.count) = (-10, 20);
            tiny.containers[0].request = Bytes::ZERO;
            let mut pods: Vec<PodSpec> = ["a", "b", "c"].map(|name| pod(name, 150, leak(1 << 10))).into();
            pods.extend([tiny, calm(100)]);
            (lasting(world(&[Rung::Evict], pods), 200), "frees-enough")
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
        Rule::Terminating => {
            let mut small = quick(calm(200));
            small.priority = -10;
            let mut pods: Vec<PodSpec> = ["a", "b", "c"].map(|name| pod(name, 200, leak(256))).into();
            pods.push(small);
            let slow = FaultKind::SlowVictim(Span::secs(200));
            (
                lasting(with_fault(world(&[Rung::Evict], pods), slow, 0), 162),
                "terminating",
            )
        }
        Rule::OneAToken => {
            // Nobody can be evicted until both were killed twice, and then both at once.
            let mut pods = ["one", "other"].map(|name| quick(pod(name, 100, leak(60 << 10))));
            for pod in &mut pods {
                pod.term = Span(0);
            }
            let mut world = world(EVICT, pods.into());
            world.pods.push(calm(300));
            world.nodes[0].eviction_tokens = Some(1);
            (
                lasting(with_healed(world, FaultKind::ApiAway, 5, 50), 52),
                "budget",
            )
        }
        Rule::OneRepeater => (two_repeaters(Span::secs(20)), "one-eviction"),
        Rule::OneEviction => {
            let pods = ["a", "b", "c"].map(|name| quick(pod(name, 200, leak(1 << 10))));
            let slow = FaultKind::SlowVictim(Span::secs(60));
            (
                with_fault(world(&[Rung::Evict], pods.into()), slow, 0),
                "one-eviction",
            )
        }
        Rule::StallsCulprit => {
            let mut churner = reader(2000, 8 << 10);
            churner.containers[0].base = Bytes::ZERO;
            let leaks = ["a", "b", "c"].map(|name| {
                let late = Load::Leak {
                    part: Part::Anon,
                    rate: BytesPerSecond(10 * MIB),
                    total: None,
                    delay: Span::secs(65),
                };
                pod(name, 10, late)
            });
            let mut pods = vec![calm(790), churner];
            pods.extend(leaks);
            (lasting(with_kubelet(world(KILL, pods), 20), 67), "two-keys")
        }
        Rule::LastQuarter => {
            let burst = Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(20 << 30),
                total: Some(Bytes::mebi(100)),
                delay: Span::secs(20),
            };
            let mut world = lasting(world(KILL, vec![pod("burst", 0, burst), calm(10)]), 25);
            world.nodes[0].memory = Bytes::mebi(250);
            (world, "cache-first")
        }
        Rule::BrakeSeen => (told_at_the_last_moment(), "brake-seen"),
        Rule::BrakedGrowth => (told_at_the_last_moment(), "braked-growth"),
        Rule::BrakeRoom => (
            alone(&[Rung::Brake], pod("leak", 100, leak(10 << 10))),
            "brake-room",
        ),
        Rule::WarnedOnce => {
            let mut leaker = pod("leak", 100, leak(10 << 10));
            leaker.warning = Some(Span::secs(2));
            (alone(&[Rung::Warn], leaker), "warned-once")
        }
        Rule::WarnedFree => {
            // Its warning does not fit any more, a brake does, and half of its time is left.
            let mut leaker = quick(pod("leak", 100, leak(10 << 10)));
            leaker.warning = Some(Span::secs(30));
            (alone(&[Rung::Warn, Rung::Brake], leaker), "let-go")
        }
        Rule::FreshNews => {
            let mut leaker = pod("leak", 100, leak(2 << 10));
            leaker.warning = Some(Span::secs(5));
            (
                lasting(
                    with_fault(alone(&[Rung::Warn], leaker), FaultKind::ApiAway, 20),
                    400,
                ),
                "fresh-news",
            )
        }
        Rule::RungOff => (
            alone(&[Rung::Reclaim], pod("leak", 100, leak(10 << 10))),
            "rung-off",
        ),
    }
}

/// Two that leak in turn and are killed again and again, as long as a budget refuses to have them evicted; each takes so long to end.
fn two_repeaters(term: Span) -> World {
    let leaker = |name, kibi| {
        let mut leaker = pod(name, 100, leak(kibi));
        leaker.grace = Span::secs(30);
        leaker.term = term;
        leaker
    };
    let pods = vec![leaker("one", 30 << 10), leaker("other", 29 << 10), calm(300)];
    lasting(with_healed(world(EVICT, pods), FaultKind::PdbZero, 0, 200), 230)
}

/// Two that leak, of which the larger one is known to be the culprit only once the pods are told, when a kill is due.
fn told_at_the_last_moment() -> World {
    let pods = vec![
        pod("most", 100, leak(6 << 10)),
        pod("more", 100, leak(4 << 10)),
        calm(300),
    ];
    let world = world(&[Rung::Brake, Rung::Kill], pods);
    lasting(with_healed(world, FaultKind::ApiAway, 0, 40), 42)
}
