//! One guest to be run: its plan, its boot, and what its reports amount to.
use anyhow::Result;
use forestall_lab_init::plan::Hierarchy;

use super::guest::{self, Outcome, Parts};
use super::kernels::Image;
use super::options::Options;
use super::recording;
use super::results::{Results, Run};
use super::scenario::Scenario;
use super::verdict::{self, Story};

/// One guest to be run.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    image: &'a Image,
    scenario: &'static Scenario,
    seed: u64,
    hierarchy: Hierarchy,
    with_agent: bool,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) run: Option<Run>,
    pub(crate) skipped: Option<String>,
    pub(crate) retried: bool,
}

/// Everything that the options ask for.
pub(crate) fn all<'a>(options: &Options, images: &'a [Image]) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for image in images {
        for &scenario in &options.scenarios {
            for seed in options.seed..options.seed.saturating_add(options.runs) {
                for with_agent in [false, true] {
                    if if with_agent { options.with } else { options.without } {
                        jobs.push(Job {
                            image,
                            scenario,
                            seed,
                            hierarchy: options.hierarchy,
                            with_agent,
                        });
                    }
                }
            }
        }
    }
    jobs
}

/// Lets a guest run, and once more if it did not come up or one of its processors came to stand still: an emulated machine beside a
/// compiler sometimes does either, and what a verdict could rest on was not seen. One that says it is unable did come up. The
/// second value tells whether it took the second try.
pub(crate) fn boot(label: &str, mut guest: impl FnMut() -> Result<Outcome>) -> Result<(Outcome, bool)> {
    let outcome = guest()?;
    let why = match (outcome.came_up(), outcome.stuck) {
        (true, false) => return Ok((outcome, false)),
        (true, true) => "came to stand still",
        (false, _) => "did not boot",
    };
    eprintln!("lab: {label} {why}, trying once more:\n{}", outcome.console_tail);
    Ok((guest()?, true))
}

impl Job<'_> {
    /// Names it, and its files.
    pub(crate) fn label(&self) -> String {
        let with = if self.with_agent { "with" } else { "without" };
        let hierarchy = match self.hierarchy {
            Hierarchy::V2 => "",
            Hierarchy::V1 => "-v1",
        };
        format!(
            "{}{hierarchy}-{}-{}-{with}",
            self.image.kernel.name, self.scenario.name, self.seed
        )
    }

    /// Whether `results` has it already, with the agent of `commit` if with any.
    pub(crate) fn is_in(&self, results: &Results, options: &Options, commit: &str) -> bool {
        results.runs.iter().any(|run| {
            run.kernel == self.image.kernel.name
                && run.hierarchy == self.hierarchy
                && run.scenario == self.scenario.name
                && run.seed == self.seed
                && run.memory_mib == self.memory_mib(options)
                && run.with_agent == self.with_agent
                && (!self.with_agent || run.commit.as_deref() == Some(commit))
        })
    }

    fn memory_mib(&self, options: &Options) -> u32 {
        self.scenario.memory_mib.unwrap_or(options.memory_mib)
    }

    /// Runs it and judges it.
    pub(crate) fn run(&self, parts: &Parts, options: &Options, commit: &str) -> Result<Done> {
        let mut plan = self
            .scenario
            .plan(self.seed, &options.agent_args, options.full_caps);
        plan.hierarchy = self.hierarchy;
        if !self.with_agent {
            plan.agent = plan.agent.filter(|_| options.record.is_some());
            recording::watch_only(&mut plan);
        }
        if plan.zram.is_some() && !self.image.has_module("zram") {
            let skipped = Some("this kernel has no module zram".to_owned());
            return Ok(Done {
                run: None,
                skipped,
                retried: false,
            });
        }
        let memory_mib = self.memory_mib(options);
        let label = self.label();
        let (outcome, retried) = boot(&label, || {
            guest::run(parts, self.image, &plan, memory_mib, &label)
        })?;
        if let Some(folder) = options.record.as_deref().filter(|_| plan.recorded) {
            recording::keep(&outcome.reports, folder, &label)?;
        }
        let mut story = Story::of(&plan, &outcome.reports);
        if !outcome.came_up() {
            story.unable = Some("the guest did not boot, twice".to_owned());
        }
        let verdict = if self.with_agent {
            verdict::judge_with(self.scenario, &story)
        } else {
            verdict::judge_without(self.scenario, &story)
        };
        let run = Run {
            kernel: self.image.kernel.name.to_owned(),
            hierarchy: self.hierarchy,
            scenario: self.scenario.name.to_owned(),
            seed: self.seed,
            memory_mib,
            with_agent: self.with_agent,
            commit: self.with_agent.then(|| commit.to_owned()),
            verdict,
            story,
        };
        Ok(Done {
            run: Some(run),
            skipped: None,
            retried,
        })
    }
}

#[cfg(test)]
mod tests {
    use forestall_lab_init::report::Report;

    use super::*;

    fn panicked() -> Outcome {
        Outcome {
            reports: vec![],
            stuck: false,
            console_tail: "Kernel panic - not syncing".into(),
        }
    }

    fn unable() -> Outcome {
        let why = "no disk".to_owned();
        Outcome {
            reports: vec![Report::Unable { why }],
            stuck: false,
            console_tail: String::new(),
        }
    }

    #[test]
    fn a_guest_that_panics_at_boot_is_tried_once_more_and_never_again() {
        let mut tries = 0;
        let (outcome, retried) = boot("x", || {
            tries += 1;
            Ok(panicked())
        })
        .unwrap();
        assert!(retried && !outcome.came_up());
        assert_eq!(tries, 2);
    }

    #[test]
    fn a_guest_whose_processor_stands_still_is_tried_once_more_and_never_again() {
        let mut tries = 0;
        let (outcome, retried) = boot("x", || {
            tries += 1;
            Ok(Outcome {
                stuck: true,
                ..unable()
            })
        })
        .unwrap();
        assert!(retried && outcome.stuck);
        assert_eq!(tries, 2);
    }

    #[test]
    fn a_guest_that_came_up_is_never_tried_again() {
        let mut outcomes = vec![unable(), panicked()];
        let (outcome, retried) = boot("x", || Ok(outcomes.pop().unwrap())).unwrap();
        assert!(retried && outcome.came_up(), "the second try counts");
        let mut tries = 0;
        let (_, retried) = boot("x", || {
            tries += 1;
            Ok(unable())
        })
        .unwrap();
        assert!(!retried);
        assert_eq!(tries, 1);
    }
}
