//! Curves of a run: they change nothing, and hold what the run really came to.

use forestall_decide::{Bytes, Mode, Policy, Span};
use forestall_sim::{Report, RunOptions, World, fleet, parse_scenario, swarm};

const LEAK: &str = "\
title: a leak
duration: 5m
nodes:
  - { name: worker, memory: 1000Mi, kubelet: { evictionHard: 100Mi } }
pods:
  - { name: calm, node: 0, containers: [{ name: app, base: 100Mi }] }
  - { name: leak, node: 0, owner: nobody, containers: [{ name: app, load: { leak: { rate: 10Mi/s } } }] }
";

fn run(world: &World, nodes: &[u32]) -> Report {
    let options = RunOptions {
        keep: 100_000,
        ..RunOptions::default()
    };
    world
        .run_and_watch(options, nodes, &mut |_| ())
        .expect("a sound world")
}

#[test]
fn a_curve_shows_how_low_it_went_and_when() {
    let world = parse_scenario(LEAK).expect("fine").world;
    let report = run(&world, &[0]);
    let curve = &report.curves.nodes[0];
    assert_eq!(curve.kinds, [Box::from("calm"), Box::from("leak")]);
    let lowest = curve
        .rows
        .iter()
        .min_by_key(|row| row.kubelet_available)
        .expect("there are rows");
    // Evicted at a look after 80 s and told to end a second later: the kubelet sees 100 MiB at 80 s and 10 less each second.
    let evicted = report.tally.first_death.expect("an eviction");
    assert!(
        lowest.at >= evicted && lowest.at.since(evicted) <= Span::secs(2),
        "{lowest:?}"
    );
    let grown = lowest.at.0 * 10 / 1_000_000;
    let left = 1000 - 100 - grown;
    let seen = lowest.kubelet_available.expect("a kubelet").0 >> 20;
    assert!(seen.abs_diff(left) <= 1 + 10, "{seen} MiB seen, {left} MiB left");
    // What the pods hold is what its kinds hold, and once the leak is gone the calm one's alone.
    assert!(
        curve
            .rows
            .iter()
            .all(|row| row.pods_working_set == row.by_kind.iter().copied().sum())
    );
    let last = curve.rows.last().expect("there are rows");
    assert_eq!(last.pods_working_set, Bytes::mebi(100));
    assert_eq!(last.at.0, 300_000_000);
    assert!(report.curves.fleet.is_empty(), "there is one node alone");
}

#[test]
fn to_be_watched_changes_nothing() {
    let policy = Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    };
    for seed in 0..4 {
        let mut world = swarm(seed, Some(policy));
        world.duration = Span::secs(200);
        let all: Vec<u32> = (0..u32::try_from(world.nodes.len()).unwrap_or(0)).collect();
        let (plain, watched) = (run(&world, &[]), run(&world, &all));
        assert_eq!(plain.events, watched.events, "seed {seed}");
        assert_eq!(plain.tally, watched.tally, "seed {seed}");
        assert!(plain.curves.nodes.is_empty());
        assert_eq!(watched.curves.nodes.len(), all.len());
        for curve in &watched.curves.nodes {
            assert!(!curve.rows.is_empty() && curve.rows.len() <= 2010, "seed {seed}");
            assert!(curve.rows.is_sorted_by_key(|row| row.at), "seed {seed}");
        }
    }
}

#[test]
fn of_many_nodes_the_facts_of_those_that_are_watched_are_kept_and_all_are_summed_up() {
    let world = fleet(3, 5, Span::secs(2 * 3600), None);
    let report = run(&world, &[2, 4]);
    let numbers: Vec<u32> = report.curves.nodes.iter().map(|curve| curve.node).collect();
    assert_eq!(numbers, [2, 4]);
    assert!(!report.events.is_empty() && report.events.iter().all(|event| [2, 4].contains(&event.node)));
    assert!(
        report
            .curves
            .nodes
            .iter()
            .all(|curve| curve.kinds.is_empty() || curve.kinds.len() <= 6)
    );
    let fleet = &report.curves.fleet;
    assert!((2..=210).contains(&fleet.len()), "{}", fleet.len());
    assert!(
        fleet
            .iter()
            .all(|row| row.lowest <= row.median && row.median <= row.highest)
    );
    assert_eq!(fleet.last().map(|row| row.at.0), Some(7_200_000_000));
}
