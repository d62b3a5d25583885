//! Fitting: what a trace shows is taken from it, the rest is searched so that the fitted runs' kills come at their times.
use std::collections::BTreeMap;

use forestall_decide::{Bytes, BytesPerSecond, Span};
use forestall_lab_init::plan::Work;

use super::measured::{Measured, culprit};
use super::parameters::{KNOBS, Parameters};
use super::predict::predict;

/// How often every figure is searched: each depends a little on the others.
const ROUNDS: usize = 2;

/// The parameters that fit these runs best, begun with what `traced` ones show; those may have had another clock.
pub(crate) fn fit(runs: &[&Measured], traced: &[&Measured]) -> Parameters {
    let mut best = seen(traced);
    let mut best_loss = loss(runs, &best);
    for _ in 0..ROUNDS {
        for (index, knob) in KNOBS.iter().enumerate() {
            for value in (knob.grid)() {
                let mut tried = best.clone();
                tried.values[index] = value;
                let tried_loss = loss(runs, &tried);
                if tried_loss < best_loss {
                    (best, best_loss) = (tried, tried_loss);
                }
            }
        }
    }
    best
}

/// The sum of all errors, as thousandths of each run's length.
fn loss(runs: &[&Measured], parameters: &Parameters) -> u64 {
    runs.iter()
        .filter_map(|run| error_permille(run, parameters))
        .sum()
}

/// How far the prediction is from what happened, thousandths of the run's length. A death that is not predicted, or the other
/// way round, counts as a whole run. Nothing, where there is nothing to compare.
pub(crate) fn error_permille(run: &Measured, parameters: &Parameters) -> Option<u64> {
    let predicted = predict(run, parameters).ok()?;
    match (&run.first, predicted) {
        (None, None) => None,
        (Some(first), Some(predicted)) => {
            let apart = first.millis.abs_diff(predicted.millis);
            Some(apart.saturating_mul(1000) / first.millis.max(1))
        }
        _ => Some(1000),
    }
}

/// What the traces of these runs show, in the middle.
fn seen(runs: &[&Measured]) -> Parameters {
    let mut own: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let (mut each, mut with_agent, mut lay_outs) = (Vec::new(), Vec::new(), Vec::new());
    for run in runs {
        let Some(machine) = run.machine else { continue };
        lay_outs.extend(lay_out(run));
        own.entry(run.kernel.clone()).or_default().push(machine.own_bytes);
        let Some(extra) = machine.pods_extra_bytes else {
            continue;
        };
        let processes = bystanders(run);
        if run.plan.agent.as_ref().is_some_and(|agent| agent.as_pod) {
            with_agent.push((extra, processes));
        } else {
            each.push(extra / processes.max(1));
        }
    }
    let process_bytes = median(each).unwrap_or_default();
    let agents = with_agent
        .into_iter()
        .map(|(extra, processes)| extra.saturating_sub(process_bytes.saturating_mul(processes)));
    let unfitted = Parameters::unfitted();
    Parameters {
        lay_out: median(lay_outs).map_or(unfitted.lay_out, BytesPerSecond),
        process_bytes,
        agent_bytes: median(agents.collect()).unwrap_or_default(),
        own_bytes: own
            .into_iter()
            .filter_map(|(kernel, values)| Some((kernel, median(values)?)))
            .collect(),
        ..unfitted
    }
}

/// Bytes a second at which a run laid out its file.
fn lay_out(run: &Measured) -> Option<u64> {
    let took = Span::millis(run.machine?.laid_out_millis?);
    match culprit(&run.plan)? {
        Work::Reread { size, .. } | Work::Mapped { size, .. } | Work::Stream { size, .. } => {
            Some(BytesPerSecond::from(Bytes(size.bytes_of(run.memory_bytes)), took).0)
        }
        _ => None,
    }
}

/// Processes in `kubepods` before the culprit: each bystander, and the pause process beside it.
fn bystanders(run: &Measured) -> u64 {
    use forestall_lab_init::plan::Role;
    let pods = run
        .plan
        .pods
        .iter()
        .filter(|pod| pod.role == Role::Innocent)
        .count();
    u64::try_from(pods).unwrap_or_default() * 2
}

/// The middle one, the higher of two.
pub(crate) fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_one_of_them() {
        assert_eq!(median(vec![9, 1, 5]), Some(5));
        assert_eq!(median(vec![4, 1, 9, 2]), Some(4));
        assert_eq!(median(vec![]), None);
    }
}
