//! One run from beginning to end: its figures, its notable facts, and which rules were broken.

use forestall_decide::{Mode, Moment, RefusalReason};

use crate::check::{Checkers, Otherwise, Violation};
use crate::chronicle::{Chronicle, LeftOut};
use crate::curve::{Curves, Watch};
use crate::error::SimError;
use crate::event::{Event, What};
use crate::foretelling::Foretellings;
use crate::spec::World;
use crate::tally::Tally;
use crate::world::{Options, Running};

/// What came out of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The figures.
    pub tally: Tally,
    /// Notable facts in order; looks and the like are none.
    pub events: Vec<Event>,
    /// Notable facts that there were beyond those kept.
    pub events_left_out: LeftOut,
    /// What the agents' shadow kubelets foretold, and what came of it.
    pub foretellings: Foretellings,
    /// Broken rules.
    pub violations: Vec<Violation>,
    /// What a public preset did otherwise than the rules say; no rule is broken by that.
    pub otherwise: Vec<Otherwise>,
    /// Memory over time, of the nodes that were watched.
    pub curves: Curves,
}

/// How a world is run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// All checkers look on.
    pub checkers: bool,
    /// Every look of every kubelet is made.
    pub every_look: bool,
    /// So many notable facts are kept, reclaims, starts and refusals only where the others leave room.
    pub keep: usize,
    /// How many threads share the nodes.
    pub threads: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            checkers: false,
            every_look: false,
            keep: 1000,
            threads: 1,
        }
    }
}

/// Whether a fact belongs on a time line.
pub fn is_notable(what: &What) -> bool {
    !matches!(
        what,
        What::Looked(_) | What::Landed { .. } | What::ContainerRestarted { .. }
        // What is waited for has been told.
        | What::Refused { reason: Some(RefusalReason::Waiting | RefusalReason::KernelKilled), .. }
    )
}

impl World {
    /// Runs it to its end. `progress` is told now and then how far it is.
    pub fn run(&self, options: RunOptions, progress: &mut dyn FnMut(Moment)) -> Result<Report, SimError> {
        self.run_and_watch(options, &[], progress)
    }

    /// Runs it to its end and writes down the curves of these nodes. Where some are watched, notable facts are theirs alone.
    pub fn run_and_watch(
        &self,
        options: RunOptions,
        nodes: &[u32],
        progress: &mut dyn FnMut(Moment),
    ) -> Result<Report, SimError> {
        let mut running = Running::start(
            self,
            Options {
                every_look: options.every_look,
                watch_looks: options.checkers,
                threads: options.threads,
            },
        )?;
        let mut checkers = options.checkers.then(Checkers::default);
        let mut chronicle = Chronicle::new(options.keep);
        let mut report = Report {
            tally: Tally::default(),
            events: Vec::new(),
            events_left_out: LeftOut::default(),
            foretellings: Foretellings::default(),
            violations: Vec::new(),
            otherwise: Vec::new(),
            curves: Curves::default(),
        };
        let mut watch = Watch::begin(self, &mut running, nodes);
        watch.look(&running, &report.tally, Moment(0));
        let is_watched = |node: u32| nodes.is_empty() || nodes.contains(&node);
        loop {
            let goes_on = running.go_on(&mut |event| {
                let spec = self.nodes.get(event.node as usize);
                let policy = self.policy.filter(|_| spec.is_some_and(|spec| spec.agent));
                if policy.is_some_and(|policy| policy.mode != Mode::Observe) {
                    report.tally.see(event);
                } else {
                    report.tally.see_unclaimed(event);
                }
                if policy.is_some() {
                    report.foretellings.see(event);
                }
                if let Some(checkers) = &mut checkers {
                    checkers.see(event);
                }
                if is_notable(&event.what) && is_watched(event.node) {
                    chronicle.see(event);
                }
            });
            progress(running.now());
            watch.look(&running, &report.tally, running.now());
            if !goes_on {
                break;
            }
        }
        (report.events, report.events_left_out) = chronicle.finish();
        let end = running.end();
        report.curves = watch.finish(&mut running, &report.tally, end);
        report.otherwise = checkers.as_ref().map(Checkers::otherwise).unwrap_or_default();
        report.violations = checkers.map(|checkers| checkers.finish(end)).unwrap_or_default();
        Ok(report)
    }
}
