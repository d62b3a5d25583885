//! Which runs are fitted and which are judged, and which of them are fast.
//!
//! A scenario is in one half with all its runs, so that what is judged is about scenarios that nothing was fitted to. The
//! halves alternate by name, among the fast and the slow ones apart.
use std::collections::BTreeMap;

use forestall_lab_init::plan::{Plan, Work};

use super::measured::{Measured, culprit};

/// What a run is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Fit,
    Judge,
}

/// How fast memory goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Fast,
    Slow,
}

impl Class {
    pub(crate) const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}

impl Half {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Fit => "fitted",
            Self::Judge => "judged",
        }
    }
}

/// Fast is what takes at least so many thousandths of the machine a second: an empty one is full within 25 s.
const FAST: u32 = 40;

/// Whether a plan's culprit is fast, as planned.
pub(crate) fn class(plan: &Plan) -> Class {
    if culprit(plan).map_or(0, permille_per_second) >= FAST {
        Class::Fast
    } else {
        Class::Slow
    }
}

fn permille_per_second(work: &Work) -> u32 {
    match work {
        Work::Pause | Work::Hold { .. } | Work::Names { .. } => 0,
        Work::Grow { rate, .. }
        | Work::Shmem { rate, .. }
        | Work::PageTables { rate }
        | Work::Pipes { rate }
        | Work::Sockets { rate }
        | Work::Reread { rate, .. }
        | Work::Mapped { rate, .. }
        | Work::Stream { rate, .. }
        | Work::Batch { rate, .. }
        | Work::Scratch { rate, .. }
        | Work::Write { rate, .. }
        | Work::Locked { rate } => rate.0,
        Work::Forks { each, per_second, .. } => each.0.saturating_mul(*per_second),
        Work::Steps { step, every_millis } => {
            let per_second = u64::from(step.0).saturating_mul(1000) / (*every_millis).max(1);
            u32::try_from(per_second).unwrap_or(u32::MAX)
        }
        Work::Supervised { work } => permille_per_second(work),
        Work::Crew { works } => works.iter().map(permille_per_second).sum(),
    }
}

/// The half of each scenario. A scenario counts as what its first run is; those in which nobody ended are dealt out apart.
pub(crate) fn halves(runs: &[Measured]) -> BTreeMap<String, Half> {
    let mut classes: BTreeMap<&str, Option<Class>> = BTreeMap::new();
    for run in runs {
        let of = run.first.is_some().then(|| class(&run.plan));
        classes.entry(&run.plan.scenario).or_insert(of);
    }
    let mut halves = BTreeMap::new();
    for class in [Some(Class::Fast), Some(Class::Slow), None] {
        let names = classes.iter().filter(|(_, of)| **of == class);
        for (index, (name, _)) in names.enumerate() {
            let half = if index.is_multiple_of(2) {
                Half::Fit
            } else {
                Half::Judge
            };
            halves.insert((*name).to_owned(), half);
        }
    }
    halves
}
