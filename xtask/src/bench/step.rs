//! One step of the engine over 256 containers in 110 pods, while walls are far.

use std::time::Duration;

use anyhow::Result;

use super::look::times_of;
use super::report::Report;

/// With hardly a change, in the middle.
const STEP_MAX: Duration = Duration::from_micros(25);

/// Copying the sample takes this many hundredths of its own best in the middle where other work is on the machine.
const BUSY_PERCENT: u32 = 125;

/// Measures it. A step that had to share caches and processors takes longer, and never less: only one that takes too long says
/// nothing on a busy machine.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let [median, p99, copy, copy_best] = times_of("step", &["--judged"])?;
    let is_busy = copy * 100 > copy_best * BUSY_PERCENT;
    let what = "one step of the engine over 256 containers in 110 pods, 3 of them changed, p50: beside a copy of the sample";
    report.time_unless_busy("step", what, median, copy, STEP_MAX, is_busy);
    let what = "the same with every container changed, p99";
    report.told("step-changed-p99", what, p99, copy);
    report.note(format!(
        "step: of 20 rounds the one in the middle; a copy of the sample takes {copy:.1?}, and {copy_best:.1?} in the best round"
    ));
    Ok(())
}
