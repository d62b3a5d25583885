//! The same reaction while memory thrashes, in a guest of the lab: no benchmark may do that to the machine it runs on.

use std::path::Path;
use std::time::Duration;

use super::report::{Report, mebi, millis};
use crate::lab::reaction;

/// As many as two in a hundred can be told from one.
const ROUNDS: u32 = 200;

/// The agent may take this much longer than a bare loop needs there.
const BEYOND_MAX: Duration = Duration::from_millis(100);

/// Measures both, or says why this machine does not allow it.
pub(super) fn measure(binary: &Path, report: &mut Report) {
    let thrash = match reaction::measure(binary, ROUNDS) {
        Ok(thrash) => thrash,
        Err(error) => return report.unmet("reaction-thrash", &format!("{error:#}")),
    };
    let (ours, floor) = (&thrash.agent, &thrash.bare_loop);
    report.beyond(
        "reaction-thrash",
        &format!(
            "the same in a thrashing guest ({}), p99: agent beyond a bare loop",
            thrash.kernel
        ),
        ours.percentile(99),
        floor.percentile(99),
        BEYOND_MAX,
    );
    report.note(format!(
        "reaction-thrash: {ROUNDS} reactions each; p50 {:.1} and {:.1} ms, longest {:.1} and {:.1} ms; {} pages of files read \
         again a second, somebody stalled {} % of the time; the agent has {} locked, the bare loop nothing; both run \
         from the guest's disk, under an emulated processor (about 16 times slower than a real one)",
        millis(ours.percentile(50)),
        millis(floor.percentile(50)),
        millis(ours.longest()),
        millis(floor.longest()),
        thrash.refaults_per_second,
        thrash.stalled_percent,
        mebi(thrash.agent_locked_bytes),
    ));
}
