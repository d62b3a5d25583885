//! What the engine believes: inputs that cannot be true are said and not acted upon, and what the kubelet itself says goes
//! before what is assumed of it.

mod world;

use forestall_decide::kubelet::{ConfigSource, KubeletConfig, Signal, Threshold};
use forestall_decide::{
    ActionId, Bytes, Engine, GroupId, Ignored, Input, Limit, Moment, Outcome, OutcomeKind, Pod, Pods, Rung,
    Span, WallKind,
};
use world::{MIB, World, enforcing};

#[test]
fn what_cannot_be_true_is_said_and_not_acted_upon() {
    let mut world = World::new(1024, 900);
    world.container(1, 100);
    let mut engine = enforcing();
    world.run(&mut engine, Span::secs(5), |_| ());
    let told = |engine: &mut Engine, now, input: Input<'_>| -> Vec<Ignored> {
        let decision = engine.step(now, input);
        assert!(decision.actions.is_empty());
        decision.ignored.to_vec()
    };
    let mut sample = world.sample();
    assert_eq!(told(&mut engine, world.now, Input::Sample(&sample)), []);
    assert_eq!(
        told(&mut engine, world.now, Input::Sample(&sample)),
        [Ignored::SameMoment]
    );
    let earlier = Moment(world.now.0 - 3_000_000);
    assert_eq!(
        told(&mut engine, earlier, Input::Sample(&sample)),
        [Ignored::ClockBack(Span::secs(3))]
    );
    sample.groups[2].current = Bytes(1 << 63);
    assert_eq!(
        told(&mut engine, world.now, Input::Sample(&sample)),
        [Ignored::TooLarge(GroupId(1))]
    );
    sample.node.total = Bytes::ZERO;
    let later = world.now + Span::secs(1);
    assert_eq!(
        told(&mut engine, later, Input::Sample(&sample)),
        [Ignored::NoMachine]
    );
    let outcome = Outcome {
        action: ActionId(99),
        rung: Rung::Kill,
        kind: OutcomeKind::Done,
        freed: Bytes::ZERO,
        took: Span(1),
    };
    assert_eq!(
        told(&mut engine, later, Input::Outcome(&outcome)),
        [Ignored::UnknownAction(ActionId(99))]
    );
    let pods = Pods {
        list: vec![Pod::default(), Pod::default()],
        ..Pods::default()
    };
    assert_eq!(
        told(&mut engine, later, Input::Pods(&pods)),
        [Ignored::PodsWithoutUid(2)]
    );
}

#[test]
fn a_leak_whose_figures_cannot_be_true_is_left_to_the_kernel() {
    let mut world = World::new(1024, 900);
    world.container(1, 100).rate = 20 * MIB;
    let mut engine = enforcing();
    while world.now < Moment(45_000_000) {
        let mut sample = world.sample();
        sample.groups[2].current = Bytes(1 << 63);
        let decision = engine.step(world.now, Input::Sample(&sample));
        assert!(decision.actions.is_empty());
        let wake = decision.wake_in;
        world.grow(wake);
    }
}

#[test]
fn the_kubelets_walls_stand_where_the_kubelet_was_told_to_have_them() {
    let mut world = World::new(1024, 900);
    world.kubelet = true;
    world.container(1, 100);
    let mut engine = enforcing();
    let sample = world.sample();
    let walls = |engine: &mut Engine, secs: u64| -> Vec<(WallKind, Limit)> {
        let decision = engine.step(Moment(secs * 1_000_000), Input::Sample(&sample));
        let kubelets = |wall| matches!(wall, WallKind::KubeletNode | WallKind::KubeletAllocatable);
        let of_kubelet = decision.readings.iter().filter(|reading| kubelets(reading.wall));
        of_kubelet.map(|reading| (reading.wall, reading.limit)).collect()
    };
    let at = |wall, mebi| (wall, Limit::Bytes(Bytes::mebi(mebi)));
    // By its defaults 100Mi below the machine's 1,024 and below the 900 of kubepods.
    let assumed = [
        at(WallKind::KubeletNode, 924),
        at(WallKind::KubeletAllocatable, 800),
    ];
    assert_eq!(walls(&mut engine, 10), assumed);
    let config = KubeletConfig {
        source: ConfigSource::Configz,
        thresholds: vec![Threshold {
            signal: Signal::MemoryAvailable,
            value: Bytes::mebi(300),
            grace: Span(0),
            min_reclaim: Bytes::ZERO,
        }],
        ..KubeletConfig::default()
    };
    engine.step(Moment(11_000_000), Input::KubeletConfig(&config));
    assert_eq!(
        walls(&mut engine, 12),
        [at(WallKind::KubeletNode, 724)],
        "and no other"
    );
}
