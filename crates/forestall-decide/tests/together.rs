//! A few who go together, where nobody explains the growth and nobody alone frees enough: how many, and when.

mod world;

use forestall_decide::{Bytes, Engine, Mode, Moment, OutcomeKind, Policy, Rung, Rungs, Span, Target};
use world::{MIB, World};

fn engine(rungs: &[Rung]) -> Engine {
    Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(rungs),
        ..Policy::default()
    })
}

const EVICT: [Rung; 2] = [Rung::Evict, Rung::Kill];

/// A hundred small pods, none of which grows more than another or gives back enough: a few go at once, with their grace, and no more than have to.
#[test]
fn where_nobody_alone_frees_enough_a_few_go_together() {
    let mut world = crowd();
    let mut engine = engine(&[Rung::Evict, Rung::Kill]);
    world.run(&mut engine, Span::secs(600), |_| ());
    let (at, first) = world.ordered.first().copied().expect("somebody goes");
    let together = world.ordered.iter().filter(|(when, _)| *when == at);
    let freed: Vec<Bytes> = together.map(|(_, action)| action.bytes).collect();
    // 80 permille of kubepods' 12,000 MiB have to be left.
    let needed = Bytes::mebi(960) - first.evidence.reading.distance;
    let [rest @ .., _] = freed.as_slice() else {
        panic!("nobody goes");
    };
    assert!(rest.len() >= 2 && freed.len() <= 8, "{freed:?}");
    assert!(freed.iter().copied().sum::<Bytes>() >= needed);
    assert!(rest.iter().copied().sum::<Bytes>() < needed);
    assert_eq!((world.killed().len(), world.kernel_kills), (0, 0));
    assert!(
        world
            .ordered
            .iter()
            .all(|(_, action)| action.grace == Span::secs(30))
    );
}

/// A budget for a part of them lets nobody go: that part would harm and not help.
#[test]
fn a_budget_too_small_for_all_who_have_to_go_together_is_not_spent() {
    let mut world = crowd();
    world.pods.cluster.eviction_tokens = Some(2);
    world.run(&mut engine(&[Rung::Evict]), Span::secs(600), |_| ());
    assert_eq!(world.targets_of(Rung::Evict), []);
}

/// Five of a crowd, of whom each gives back more, have 45 s for their ends and the others 5 s. Where all are equal, the five are let be: all would go a minute sooner than they have
/// to. Whose priority is lower goes all the same.
#[test]
fn who_takes_much_longer_to_end_sets_no_moment_for_the_others() {
    for (priority, slow_go, ahead) in [(0, false, 20), (-1, true, 100)] {
        let mut world = crowd();
        for pod in &mut world.pods.list {
            pod.grace = Span::secs(5);
        }
        for pod in &mut world.pods.list[..5] {
            (pod.grace, pod.priority) = (Span::secs(45), priority);
        }
        for id in 1..=5 {
            world.of(id).anon += 30 * MIB;
        }
        world.run(&mut engine(&EVICT), Span::secs(600), |_| ());
        let (at, first) = world.ordered.first().copied().expect("somebody goes");
        let together = world.ordered.iter().filter(|(when, _)| *when == at);
        let graces: Vec<_> = together.map(|(_, action)| action.grace).collect();
        let runway = first.evidence.reading.runway.p50;
        assert!(graces.len() > 1, "{first:?}");
        assert!(runway <= Span::secs(ahead), "{priority}: {runway:?}");
        assert_eq!(
            graces.contains(&Span::secs(45)),
            slow_go,
            "{priority}: {graces:?}"
        );
        assert_eq!((world.killed().len(), world.kernel_kills), (0, 0));
    }
}

/// One who has 45 s for his end goes first by his priority, and is not enough for what 40 MiB/s take until then, nor is he with seven of 60 MiB.
#[test]
fn no_more_than_eight_go_at_once_however_long_one_of_them_takes() {
    let mut world = World::new(16_384, 12_000);
    for id in 1..=100 {
        world.container(id, 60).rate = 2 * MIB / 5;
        world.pod(id).grace = Span::secs(5);
    }
    world.of(1).anon = 300 * MIB;
    (world.pods.list[0].grace, world.pods.list[0].priority) = (Span::secs(45), -1);
    world.run(&mut engine(&EVICT), Span::secs(200), |_| ());
    let (at, _) = world.ordered.first().copied().expect("somebody goes");
    let together = world.ordered.iter().filter(|(when, _)| *when == at);
    assert!((2..=8).contains(&together.count()));
    assert_eq!((world.killed().len(), world.kernel_kills), (0, 0));
}

/// EBUSY, of a server that is too busy for any pod: while the first one's refusal is fresh nobody else is asked for, who might be granted a moment later.
#[test]
fn a_server_that_is_too_busy_for_one_is_not_asked_for_another() {
    let mut world = crowd();
    world.eviction_answer = OutcomeKind::Failed(16);
    world.run(&mut engine(&[Rung::Evict]), Span::secs(600), |_| ());
    let mut asked: Vec<(Moment, Target)> = Vec::new();
    for (at, action) in world
        .ordered
        .iter()
        .filter(|(_, action)| action.rung == Rung::Evict)
    {
        let apart = asked.last().map_or(Span::secs(10), |(last, _)| at.since(*last));
        let is_beside = apart == Span(0);
        assert!(is_beside || apart >= Span::secs(10), "{apart:?} apart");
        asked.push((*at, action.target));
    }
    assert!(asked.len() > 2, "{asked:?}");
}

fn crowd() -> World {
    let mut world = World::new(16_384, 12_000);
    for id in 1..=100 {
        world.container(id, 100).rate = MIB / 20;
        world.pod(id).grace = Span::secs(30);
    }
    world
}
