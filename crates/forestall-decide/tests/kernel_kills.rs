//! At which wall a kill by the kernel is booked: by what cgroup v2 counts of limits, and by the little that v1 does.

mod world;

use forestall_decide::{
    AlarmVerdict, Bytes, Engine, GroupId, GroupSample, Ignored, Input, Limit, LimitHits, Mode, Moment,
    Policy, Rungs, Sample, Span, WallKind,
};
use world::{KUBEPODS, MIB, SERVICE, World};

const LEAF: GroupId = GroupId(2);
const POD: GroupId = GroupId(1002);

/// Which counts a kernel has.
#[derive(Clone, Copy)]
enum Kernel {
    V1,
    V2,
}

fn group(sample: &mut Sample, id: GroupId) -> &mut GroupSample {
    let found = sample.groups.iter_mut().find(|group| group.id == id);
    found.expect("it is there")
}

/// Those count one more kill, and the machine does.
fn kill(sample: &mut Sample, told_by: &[GroupId]) {
    sample.node.oom_kills += 1;
    for id in told_by {
        group(sample, *id).oom_kills += 1;
    }
}

/// The limit of the first was met, and those above it say so as well.
fn ooms(sample: &mut Sample, at: GroupId, above: &[GroupId]) {
    group(sample, at).limit_hits = LimitHits::Ooms { own: 1, within: 1 };
    for id in above {
        group(sample, *id).limit_hits = LimitHits::Ooms { own: 0, within: 1 };
    }
}

/// Charges have failed at that limit.
fn failures(sample: &mut Sample, at: GroupId) {
    group(sample, at).limit_hits = LimitHits::Failures(3);
}

fn remove(sample: &mut Sample, id: GroupId) {
    sample.groups.retain(|group| group.id != id);
}

struct Scene {
    kernel: Kernel,
    world: World,
    engine: Engine,
}

impl Scene {
    /// A machine of 8 GiB, whose pods may have 4,000 MiB: one has 500, and the other one container with `held` of `limit`.
    fn new(kernel: Kernel, held: u64, limit: Limit) -> Self {
        let mut world = World::new(8_192, 4_000);
        world.container(1, 500);
        world.container(LEAF.0, held).limit = limit;
        let policy = Policy {
            mode: Mode::Shadow,
            rungs: Rungs::of(&[]),
            ..Policy::default()
        };
        let mut scene = Self {
            kernel,
            world,
            engine: Engine::new(policy),
        };
        for _ in 0..5 {
            scene.look(|_| ());
        }
        scene
    }

    /// One look: the walls of whoever was missed, and all else that was told.
    fn look(&mut self, change: impl FnOnce(&mut Sample)) -> Told {
        let mut sample = self.world.sample();
        for group in &mut sample.groups {
            group.limit_hits = match self.kernel {
                Kernel::V1 => LimitHits::Failures(0),
                Kernel::V2 => LimitHits::Ooms { own: 0, within: 0 },
            };
        }
        change(&mut sample);
        let decision = self.engine.step(self.world.now, Input::Sample(&sample));
        let told = Told {
            alarms: decision
                .alarms
                .iter()
                .filter_map(|event| Some(((event.reading.wall, event.reading.scope), event.verdict?)))
                .collect(),
            ignored: decision.ignored.to_vec(),
        };
        self.world.grow(Span::secs(1));
        told
    }
}

struct Told {
    alarms: Vec<((WallKind, Option<GroupId>), AlarmVerdict)>,
    ignored: Vec<Ignored>,
}

impl Told {
    #[track_caller]
    fn is_missed_at(&self, wall: WallKind, scope: Option<GroupId>) {
        assert_eq!(self.alarms, [((wall, scope), AlarmVerdict::Missed)]);
        assert_eq!(self.ignored, []);
    }
}

fn mebi(count: u64) -> Limit {
    Limit::Bytes(Bytes::mebi(count))
}

#[test]
fn who_fills_its_limit_and_is_gone_within_a_look_is_not_the_machines_victim() {
    let mut scene = Scene::new(Kernel::V2, 10, mebi(300));
    let told = scene.look(|sample| {
        kill(sample, &[POD, KUBEPODS]);
        ooms(sample, POD, &[KUBEPODS]);
        group(sample, POD).limit_hits = LimitHits::Ooms { own: 0, within: 1 };
        remove(sample, LEAF);
    });
    // Its container is not known any more, only in whose pod it was.
    told.is_missed_at(WallKind::Container, Some(POD));
}

#[test]
fn so_is_one_whose_pod_is_gone_too() {
    let mut scene = Scene::new(Kernel::V2, 10, mebi(300));
    let told = scene.look(|sample| {
        kill(sample, &[KUBEPODS]);
        group(sample, KUBEPODS).limit_hits = LimitHits::Ooms { own: 0, within: 1 };
        // The last pod in the list: no index changes.
        remove(sample, LEAF);
        remove(sample, POD);
    });
    told.is_missed_at(WallKind::Container, Some(KUBEPODS));
}

// The limit was met once. A second later the machine is full, and the kernel picks another one of the same pod.
#[test]
fn a_limit_that_was_met_explains_the_kill_that_it_led_to_and_no_later_one() {
    let first = |sample: &mut Sample, is_there: bool| {
        kill(sample, &[POD, KUBEPODS]);
        for id in [POD, KUBEPODS] {
            group(sample, id).limit_hits = LimitHits::Ooms { own: 0, within: 1 };
        }
        if is_there {
            kill(sample, &[LEAF]);
            sample.node.oom_kills -= 1;
            group(sample, LEAF).limit_hits = LimitHits::Ooms { own: 1, within: 1 };
        } else {
            remove(sample, LEAF);
        }
    };
    for is_there in [true, false] {
        let mut scene = Scene::new(Kernel::V2, 10, mebi(300));
        let scope = if is_there { LEAF } else { POD };
        let told = scene.look(|sample| first(sample, is_there));
        told.is_missed_at(WallKind::Container, Some(scope));
        let told = scene.look(|sample| {
            first(sample, is_there);
            let who = if is_there { vec![LEAF] } else { vec![] };
            kill(sample, &[&[POD, KUBEPODS][..], &who].concat());
        });
        told.is_missed_at(WallKind::Kernel, None);
    }
}

#[test]
fn a_pods_own_limit_is_told_from_that_of_a_container_that_is_gone() {
    let mut scene = Scene::new(Kernel::V2, 10, Limit::Max);
    let told = scene.look(|sample| {
        kill(sample, &[POD, KUBEPODS]);
        ooms(sample, POD, &[KUBEPODS]);
        remove(sample, LEAF);
    });
    told.is_missed_at(WallKind::Pod, Some(POD));
}

#[test]
fn the_limit_of_kubepods_is_told_from_the_machines_end() {
    for at_kubepods in [true, false] {
        // The victim is nearly at its own limit as well, which has nothing to do with it.
        let mut scene = Scene::new(Kernel::V2, 280, mebi(300));
        let told = scene.look(|sample| {
            kill(sample, &[LEAF, POD, KUBEPODS]);
            if at_kubepods {
                ooms(sample, KUBEPODS, &[]);
            }
        });
        if at_kubepods {
            told.is_missed_at(WallKind::Kubepods, Some(KUBEPODS));
        } else {
            told.is_missed_at(WallKind::Kernel, None);
        }
    }
}

#[test]
fn a_limit_that_is_counted_before_the_kernels_report_is_the_one_that_killed_after_it() {
    let mut scene = Scene::new(Kernel::V2, 10, mebi(300));
    for _ in 0..3 {
        let told = scene.look(|sample| ooms(sample, LEAF, &[POD, KUBEPODS]));
        assert_eq!(told.alarms, []);
    }
    let told = scene.look(|sample| {
        ooms(sample, LEAF, &[POD, KUBEPODS]);
        kill(sample, &[LEAF, POD, KUBEPODS]);
    });
    told.is_missed_at(WallKind::Container, Some(LEAF));
    // It is not taken for the reason of what happens much later.
    for _ in 0..8 {
        scene.look(|sample| {
            ooms(sample, LEAF, &[POD, KUBEPODS]);
            kill(sample, &[LEAF, POD, KUBEPODS]);
        });
    }
    let told = scene.look(|sample| {
        ooms(sample, LEAF, &[POD, KUBEPODS]);
        kill(sample, &[LEAF, POD, KUBEPODS]);
        kill(sample, &[LEAF, POD, KUBEPODS]);
    });
    told.is_missed_at(WallKind::Kernel, None);
}

#[test]
fn a_limit_that_was_met_before_the_clock_went_back_is_not_met_again_when_it_has_come_so_far() {
    let mut scene = Scene::new(Kernel::V2, 10, mebi(300));
    scene.look(|sample| ooms(sample, LEAF, &[POD, KUBEPODS]));
    scene.world.now = Moment(scene.world.now.0 - 4_000_000);
    for _ in 0..6 {
        scene.look(|sample| ooms(sample, LEAF, &[POD, KUBEPODS]));
    }
    let told = scene.look(|sample| {
        ooms(sample, LEAF, &[POD, KUBEPODS]);
        kill(sample, &[LEAF, POD, KUBEPODS]);
    });
    told.is_missed_at(WallKind::Kernel, None);
}

#[test]
fn a_limit_within_a_container_is_no_wall_of_anybodys() {
    let mut scene = Scene::new(Kernel::V2, 10, Limit::Max);
    let told = scene.look(|sample| {
        kill(sample, &[LEAF, POD, KUBEPODS]);
        for id in [LEAF, POD, KUBEPODS] {
            group(sample, id).limit_hits = LimitHits::Ooms { own: 0, within: 1 };
        }
    });
    assert_eq!((told.alarms, told.ignored), (vec![], vec![]));
}

#[test]
fn on_v1_a_kill_at_the_limit_of_kubepods_is_not_the_machines() {
    for told_by in [&[LEAF][..], &[]] {
        // 3,400 of 4,000 MiB, while the machine has half of its memory.
        let mut scene = Scene::new(Kernel::V1, 2_900, Limit::Max);
        let told = scene.look(|sample| {
            kill(sample, told_by);
            failures(sample, KUBEPODS);
            if told_by.is_empty() {
                // The victim's cgroup took its count along.
                remove(sample, LEAF);
            }
        });
        told.is_missed_at(WallKind::Kubepods, Some(KUBEPODS));
    }
}

#[test]
fn on_v1_a_limit_at_which_nothing_failed_killed_nobody() {
    // The victim is nearly at its own limit, and kubepods is nearly full.
    let mut scene = Scene::new(Kernel::V1, 2_900, mebi(3_000));
    let told = scene.look(|sample| kill(sample, &[LEAF]));
    told.is_missed_at(WallKind::Kernel, None);
}

#[test]
fn on_v1_the_innermost_limit_that_was_met_and_nearly_full_is_the_one() {
    // That of the container is nearly full, too, and nothing failed there.
    let mut scene = Scene::new(Kernel::V1, 2_900, mebi(3_000));
    let told = scene.look(|sample| {
        group(sample, POD).limit = mebi(3_000);
        kill(sample, &[LEAF]);
        failures(sample, POD);
        failures(sample, KUBEPODS);
    });
    told.is_missed_at(WallKind::Pod, Some(POD));
}

#[test]
fn on_v1_what_cannot_be_known_is_said_to_be_unknown() {
    // Two limits were met and nearly full, and the victim's cgroup is gone.
    let mut scene = Scene::new(Kernel::V1, 2_900, Limit::Max);
    let told = scene.look(|sample| {
        group(sample, SERVICE).limit = mebi(21);
        kill(sample, &[]);
        failures(sample, KUBEPODS);
        failures(sample, SERVICE);
        remove(sample, LEAF);
    });
    assert_eq!(
        (told.alarms, told.ignored),
        (vec![], vec![Ignored::KillUnplaced(1)])
    );
    // Nothing was near its end, and somebody is gone.
    let mut scene = Scene::new(Kernel::V1, 10, mebi(300));
    let told = scene.look(|sample| {
        kill(sample, &[]);
        remove(sample, LEAF);
    });
    assert_eq!(
        (told.alarms, told.ignored),
        (vec![], vec![Ignored::KillUnplaced(1)])
    );
    // A limit was met that was not nearly full, and the machine has less left than that had.
    let mut scene = Scene::new(Kernel::V1, 100, mebi(7_900));
    let told = scene.look(|sample| {
        kill(sample, &[LEAF]);
        failures(sample, LEAF);
    });
    assert_eq!(
        (told.alarms, told.ignored),
        (vec![], vec![Ignored::KillUnplaced(1)])
    );
}

#[test]
fn an_alarm_is_not_wrong_because_a_kill_may_have_been_at_its_wall() {
    for doubtful in [true, false] {
        let mut scene = Scene::new(Kernel::V1, 3_000, Limit::Max);
        scene.world.of(LEAF.0).rate = 20 * MIB;
        let mut verdicts = Vec::new();
        for second in 0..200_u64 {
            if second == 20 {
                // It stands still, out of its own accord or because of what happens now.
                scene.world.of(LEAF.0).rate = 0;
            }
            let told = scene.look(|sample| {
                group(sample, SERVICE).limit = mebi(21);
                if doubtful && second >= 21 {
                    kill(sample, &[]);
                    failures(sample, KUBEPODS);
                    failures(sample, SERVICE);
                }
            });
            let of_kubepods = told
                .alarms
                .iter()
                .filter(|((wall, _), _)| *wall == WallKind::Kubepods);
            verdicts.extend(of_kubepods.map(|(_, verdict)| *verdict));
        }
        let expected = if doubtful {
            AlarmVerdict::Intervened
        } else {
            AlarmVerdict::False
        };
        assert_eq!(verdicts, [expected]);
    }
}
