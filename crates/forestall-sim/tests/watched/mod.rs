//! Running a world and saying whom the kernel killed first, for the tests of what a limit or protection changes.

use forestall_decide::WallKind;
use forestall_sim::{Report, RunOptions, Scenario, What};

/// Runs the world with the curve of its first node, with every look made or with calm skipped.
pub(crate) fn run(scenario: &Scenario, every_look: bool) -> Report {
    let options = RunOptions {
        keep: 10_000,
        every_look,
        ..RunOptions::default()
    };
    scenario
        .world
        .run_and_watch(options, &[0], &mut |_| ())
        .expect("a sound world")
}

/// Who was killed first by the kernel, at which wall, after how many milliseconds.
#[allow(dead_code, reason = "not every test asks for it")]
pub(crate) fn first_kill(report: &Report) -> Option<(String, WallKind, u64)> {
    report.events.iter().find_map(|event| match &event.what {
        What::KernelKilled { wall, victim, .. } => Some((victim.name.to_string(), *wall, event.at.0 / 1000)),
        _ => None,
    })
}
