//! What is kept of the lab judges the simulator: no emulator, and the same figures everywhere.
use std::collections::BTreeSet;

use super::halves::{Half, halves};
use super::judge::ERROR_MAX_PERMILLE;
use super::parameters::Parameters;
use super::*;

fn kept() -> Vec<Measured> {
    let path = shell::root().join(KEPT);
    measured::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

// 150: the promise, 15 % of the run's length.
#[test]
fn the_simulator_is_within_fifteen_percent_of_real_kernels_fast_and_slow() {
    assert_eq!(ERROR_MAX_PERMILLE, 150);
    let runs = kept();
    for clock in [Clock::Counted, Clock::Machine] {
        let judgement = judge(clock, &runs);
        assert!(judgement.holds(), "{}", page::section(&judgement));
        let judged = || judgement.rows.iter().filter(|row| row.half == Half::Judge);
        let named = judged().filter(|row| row.names_the_victim()).count();
        // Nine of ten; whom the kernel picks is as much of the model as when.
        assert!(named * 10 >= judged().count() * 9, "{}", judgement.table());
    }
}

#[test]
fn nothing_is_judged_that_was_fitted() {
    let runs = kept();
    let halves = halves(&runs);
    let names = |half| -> BTreeSet<&String> {
        halves
            .iter()
            .filter(|(_, of)| **of == half)
            .map(|(name, _)| name)
            .collect()
    };
    let (fitted, judged) = (names(Half::Fit), names(Half::Judge));
    assert!(fitted.is_disjoint(&judged));
    assert!(fitted.len().abs_diff(judged.len()) <= 3, "{fitted:?} {judged:?}");
}

// The lab's guests hold 44 MiB back, as khugepaged asks it of two zones; the simulator's own tests hold it to the same.
#[test]
fn every_trace_shows_the_mark_that_the_simulator_reckons_with() {
    /// Each of the two zones rounds its mark down.
    const WHOLE_PAGES: u64 = 2 * 4096;
    let machines: Vec<measured::Machine> = kept().iter().filter_map(|run| run.machine).collect();
    assert!(!machines.is_empty());
    assert!(
        machines
            .iter()
            .all(|machine| machine.watermark_min_bytes.abs_diff(44 << 20) <= WHOLE_PAGES)
    );
}

#[test]
fn every_scenario_of_the_lab_has_a_world_or_a_reason() {
    for scenario in lab::scenario::ALL.iter() {
        let run = Measured {
            kernel: "6.1".into(),
            clock: Clock::Counted,
            memory_bytes: 1 << 30,
            multi_gen: false,
            machine: None,
            first: None,
            plan: scenario.plan(1, &[], false),
        };
        let world = world::world(&run, &Parameters::unfitted());
        let swaps = run.plan.zram.is_some();
        assert_eq!(world.is_err(), swaps, "{}", scenario.name);
    }
}

#[test]
fn a_new_run_takes_the_place_of_the_same_one_only() {
    let runs = kept();
    let again = runs.first().unwrap().clone();
    assert_eq!(keep(runs.clone(), vec![again]).len(), runs.len());
    assert!(keep(runs.clone(), vec![]).len() == runs.len());
}
