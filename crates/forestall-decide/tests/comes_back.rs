//! Whom a kill costs where nobody alone explains the growth: one of those who grow, or nobody.

mod world;

use forestall_decide::{Bytes, Engine, GroupId, Mode, Policy, Rung, Rungs, Span, Target, WhyNot};
use world::{MIB, World};

/// Four leaks that may not be touched beside one that holds `held_mebi`, more than its request, and is the first in the kubelet's order.
fn leaks(held_mebi: u64) -> World {
    let mut world = World::new(16_384, 12_000);
    for id in 1..=4 {
        world.container(id, 1_200).rate = 4 * MIB;
        world.pod(id).standing.vetoed = true;
    }
    world.container(5, held_mebi);
    world.pod(5).request = Bytes::mebi(100);
    world
}

fn killing() -> Engine {
    Engine::new(Policy {
        mode: Mode::Enforce,
        rungs: Rungs::of(&[Rung::Kill]),
        ..Policy::default()
    })
}

/// These, and a smaller one that grows by `rate_mebi` a second, within its request.
fn leaks_beside(rate_mebi: u64) -> World {
    let mut world = leaks(3_000);
    world.container(6, 1_000).rate = rate_mebi * MIB;
    world.pod(6).request = Bytes::mebi(8_000);
    world.run(&mut killing(), Span::secs(600), |_| ());
    world
}

/// The same leaks beside one that took 2,000 MiB of what it holds in its second minute.
fn leaks_beside_a_grown_one() -> World {
    let mut world = leaks(1_000);
    let begun = world.now;
    world.run(&mut killing(), Span::secs(600), |world| {
        let since = world.now.since(begun);
        let takes = since > Span::secs(60) && since <= Span::secs(110);
        world.of(5).rate = if takes { 40 * MIB } else { 0 };
    });
    world
}

// Who holds still is started again with all that it held, and four others grow on: its end would help nobody.
#[test]
fn nobody_who_holds_still_is_killed_and_the_reason_is_told() {
    let world = leaks_beside(0);
    assert_eq!((world.killed(), world.kernel_kills), (vec![], 1));
    let mut still: Vec<_> = world
        .passed_over
        .iter()
        .filter(|it| it.why == WhyNot::ComesBack)
        .map(|it| it.target)
        .collect();
    still.sort_unstable();
    still.dedup();
    assert_eq!(still, [1005, 1006].map(|id| Target::Group(GroupId(id))));
}

// It has what it holds from an earlier growth, and would not come back with that.
#[test]
fn who_grew_long_ago_and_holds_still_frees_what_it_took_since_its_start() {
    let world = leaks_beside_a_grown_one();
    assert_eq!(world.killed().first(), Some(&Target::Group(GroupId(5))));
}

#[test]
fn one_of_those_who_grow_goes_before_him_whatever_the_kubelets_order() {
    let world = leaks_beside(4);
    let container = |id| Target::Group(GroupId(id));
    assert_eq!(world.killed().first(), Some(&container(6)));
    assert!(!world.killed().contains(&container(5)));
}
