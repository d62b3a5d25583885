//! Random worlds, with the engine on every node and all checkers looking on.

use forestall_decide::{Mode, Policy};
use forestall_sim::{Checkers, Event, Options, Running, Violation, swarm};

fn judge(seed: u64) -> (Vec<Event>, Vec<Violation>) {
    let policy = Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    };
    let options = Options {
        watch_looks: true,
        ..Options::default()
    };
    let mut running = Running::start(&swarm(seed, Some(policy)), options).expect("a sound world");
    let (mut checkers, mut events) = (Checkers::default(), Vec::new());
    while running.go_on(&mut |event| {
        checkers.see(event);
        events.push(event.clone());
    }) {}
    let end = running.end();
    (events, checkers.finish(end))
}

#[test]
fn no_rule_is_broken_in_any_of_these_worlds() {
    let mut broken = Vec::new();
    for seed in 0..6 {
        for violation in judge(seed).1 {
            broken.push(format!("seed {seed}: {violation:?}"));
        }
    }
    assert!(
        broken.is_empty(),
        "{} violations:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn the_same_seed_gives_the_same_facts() {
    for seed in 11..13 {
        assert_eq!(judge(seed).0, judge(seed).0);
    }
}
