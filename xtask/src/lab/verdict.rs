//! What a run's reports amount to, and whether that is what its scenario demands.
//!
//! A verdict is never softened: no retry, no tolerance, no timing. What a run was about is decided by who ended and by
//! whom.
use forestall_lab_init::plan::{Plan, Role};
use forestall_lab_init::report::{Cause, Report, Speaker};
use serde::{Deserialize, Serialize};

use super::scenario::{Scenario, With, Without};

/// One run, as told by its reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Story {
    /// From the machine's start to the guest's being shaped.
    pub(crate) boot_millis: u64,
    /// From the culprit's start to the end of the run.
    pub(crate) run_millis: u64,
    /// From the culprit's start to the first death that was not somebody's own end.
    pub(crate) first_death_millis: Option<u64>,
    /// How many processes the kernel's OOM killers killed after the culprit's start.
    pub(crate) oom_kills: u64,
    /// Everybody who ended, in order.
    pub(crate) deaths: Vec<Ended>,
    /// Whether the agent named the culprit in its log.
    pub(crate) culprit_named: bool,
    /// The longest time between two ticks, as the agent tells it.
    pub(crate) agent_gap_millis: Option<u64>,
    /// The longest time that the guest's own resident loop was held up.
    pub(crate) starved_millis: u64,
    /// The agent's last lines.
    pub(crate) agent_said: Vec<String>,
    /// The guest reported no end: it hung, or its kernel gave up.
    pub(crate) lost: bool,
    /// The plan could not be carried out, and why: a module is missing, or the guest never came up.
    pub(crate) unable: Option<String>,
}

/// Somebody who ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// Since the culprit's start; 0 before it.
    pub(crate) at_millis: u64,
    pub(crate) name: String,
    pub(crate) role: Option<Role>,
    pub(crate) by: Cause,
    pub(crate) how: String,
}

/// Whether a run did what its scenario demands, and in what words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) outcome: String,
}

/// How many of the agent's last lines are kept in the results.
const AGENT_LINES_KEPT: usize = 12;

impl Story {
    /// Reads the reports of a run of `plan`.
    pub(crate) fn of(plan: &Plan, reports: &[Report]) -> Self {
        let mut story = Self {
            lost: true,
            ..Self::default()
        };
        let mut started_millis = None;
        let since = |at: u64, start: Option<u64>| at.saturating_sub(start.unwrap_or(at));
        let ids = culprit_ids(plan);
        for report in reports {
            match report {
                Report::Booted { at_millis, .. } => story.boot_millis = *at_millis,
                Report::Unable { why } => story.unable = Some(why.clone()),
                Report::Started { at_millis } => started_millis = Some(*at_millis),
                Report::Said {
                    by: Speaker::Agent,
                    line,
                    ..
                } => {
                    story.culprit_named |= ids.iter().any(|id| line.contains(id.as_str()));
                    story.agent_gap_millis = gap_in(line).or(story.agent_gap_millis);
                    story.agent_said.push(line.clone());
                    if story.agent_said.len() > AGENT_LINES_KEPT {
                        story.agent_said.remove(0);
                    }
                }
                Report::Death {
                    at_millis,
                    role,
                    name,
                    by,
                    how,
                } => {
                    let at_millis = since(*at_millis, started_millis);
                    if *by != Cause::Itself && story.first_death_millis.is_none() {
                        story.first_death_millis = Some(at_millis);
                    }
                    let (name, how) = (name.clone(), how.clone());
                    story.deaths.push(Ended {
                        at_millis,
                        name,
                        role: *role,
                        by: *by,
                        how,
                    });
                }
                Report::Ended {
                    at_millis,
                    oom_kills,
                    starved_millis,
                    ..
                } => {
                    story.run_millis = since(*at_millis, started_millis);
                    story.oom_kills = *oom_kills;
                    story.starved_millis = *starved_millis;
                    story.lost = false;
                }
                Report::Said { .. }
                | Report::Kernel { .. }
                | Report::Gauge { .. }
                | Report::Triggers { .. }
                | Report::Right { .. }
                | Report::Reacted { .. }
                | Report::Recording { .. }
                | Report::Thrashed { .. }
                | Report::Kills(_)
                | Report::Storm(_)
                | Report::Brake(_) => {}
            }
        }
        story
    }

    fn ended(&self, role: Role) -> impl Iterator<Item = &Ended> {
        self.deaths.iter().filter(move |ended| ended.role == Some(role))
    }

    fn agent_ended(&self) -> bool {
        self.deaths.iter().any(|ended| ended.name == "forestall")
    }

    /// Who ended and by whom, in a few words.
    pub(crate) fn told(&self) -> String {
        if self.deaths.is_empty() {
            return "nobody ended".to_owned();
        }
        let words: Vec<String> = self
            .deaths
            .iter()
            .filter(|ended| !ended.name.ends_with("/pause") || ended.role == Some(Role::Innocent))
            .map(|ended| match ended.by {
                Cause::Kernel => format!("kernel killed {}", ended.name),
                Cause::Agent => format!("agent ended {}", ended.name),
                Cause::Kubelet => format!("kubelet evicted {}", ended.name),
                Cause::Itself => format!("{} ended itself ({})", ended.name, ended.how),
            })
            .collect();
        words.join(", ")
    }
}

/// Judges a run without the agent.
pub(crate) fn judge_without(scenario: &Scenario, story: &Story) -> Verdict {
    let by = |cause| story.deaths.iter().any(|ended| ended.by == cause);
    let holds = !story.lost
        && match scenario.without {
            Without::KernelKills => story.oom_kills > 0,
            Without::KubeletEvicts => by(Cause::Kubelet) && story.oom_kills == 0,
            Without::NobodyEnds => story.deaths.is_empty() && story.oom_kills == 0,
        };
    Verdict {
        holds,
        outcome: outcome(story),
    }
}

/// Judges a run with the agent.
pub(crate) fn judge_with(scenario: &Scenario, story: &Story) -> Verdict {
    let innocents = story.ended(Role::Innocent).count();
    let culprit = story.ended(Role::Culprit).next();
    let culprits_by = |cause| story.ended(Role::Culprit).all(|ended| ended.by == cause);
    let no_kernel = story.oom_kills == 0;
    let upright = !story.lost && !story.agent_ended();
    let (holds, word) = match scenario.with {
        With::CulpritEnds => {
            let saved = no_kernel && innocents == 0 && culprit.is_some() && culprits_by(Cause::Agent);
            (saved, "saved")
        }
        With::OwnLimit => {
            let by_kernel = culprit.is_some_and(|ended| ended.by == Cause::Kernel);
            (by_kernel && innocents == 0, "left to its own limit")
        }
        With::NobodyEnds => (no_kernel && story.deaths.is_empty(), "left alone"),
        With::CulpritNamed => {
            let by_agent = story.ended(Role::Innocent).any(|ended| ended.by == Cause::Agent);
            (!by_agent && story.culprit_named, "named")
        }
    };
    let holds = holds && upright;
    let outcome = if holds {
        format!("{word}: {}", outcome(story))
    } else {
        outcome(story)
    };
    Verdict { holds, outcome }
}

fn outcome(story: &Story) -> String {
    if let Some(why) = &story.unable {
        return format!("unable: {why}");
    }
    if story.lost {
        return format!("the guest was lost; {}", story.told());
    }
    story.told()
}

/// By what a log would name the culprits: a pod's UID as either cgroup driver writes it, a container's id, a service.
fn culprit_ids(plan: &Plan) -> Vec<String> {
    let mut ids = Vec::new();
    for pod in plan.pods.iter().filter(|pod| pod.role == Role::Culprit) {
        ids.extend([pod.uid.clone(), pod.uid.replace('-', "_"), pod.container.clone()]);
    }
    ids.extend(
        plan.services
            .iter()
            .filter(|service| service.role == Role::Culprit)
            .flat_map(|service| std::iter::once(service.name.clone()).chain(service.container.clone())),
    );
    ids
}

/// The longest gap between ticks: the agent's log tells it in its last line.
fn gap_in(line: &str) -> Option<u64> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line.get("tick_gap_max_millis")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::super::scenario;
    use super::*;

    fn ended(name: &str, role: Role, by: Cause) -> Ended {
        Ended {
            at_millis: 1,
            name: name.into(),
            role: Some(role),
            by,
            how: "signal 9".into(),
        }
    }

    fn story(oom_kills: u64, deaths: Vec<Ended>) -> Story {
        Story {
            oom_kills,
            deaths,
            ..Story::default()
        }
    }

    fn leak() -> &'static Scenario {
        scenario::named("leak-container").unwrap()
    }

    #[test]
    fn saved_means_that_the_culprit_ended_by_the_agent_and_nobody_else_did() {
        let culprit = ended("leaker", Role::Culprit, Cause::Agent);
        assert!(judge_with(leak(), &story(0, vec![culprit.clone()])).holds);
        assert!(!judge_with(leak(), &story(0, vec![])).holds, "nobody ended");
        assert!(
            !judge_with(leak(), &story(1, vec![culprit.clone()])).holds,
            "the kernel killed"
        );
        let innocent = ended("db", Role::Innocent, Cause::Agent);
        assert!(
            !judge_with(leak(), &story(0, vec![culprit.clone(), innocent])).holds,
            "an innocent ended"
        );
        let agent = Ended {
            role: None,
            ..ended("forestall", Role::Innocent, Cause::Itself)
        };
        assert!(
            !judge_with(leak(), &story(0, vec![culprit, agent])).holds,
            "the agent ended"
        );
    }

    #[test]
    fn a_containers_own_limit_is_the_kernels_affair() {
        let own_limit = scenario::named("own-limit").unwrap();
        let by = |cause| story(1, vec![ended("leaker", Role::Culprit, cause)]);
        assert!(judge_with(own_limit, &by(Cause::Kernel)).holds);
        assert!(!judge_with(own_limit, &by(Cause::Agent)).holds);
        let mut both = by(Cause::Kernel);
        both.deaths.push(ended("db", Role::Innocent, Cause::Agent));
        assert!(!judge_with(own_limit, &both).holds);
    }

    #[test]
    fn a_lost_guest_holds_nothing() {
        let lost = Story {
            lost: true,
            ..story(0, vec![])
        };
        let idle = scenario::named("healthy-idle").unwrap();
        assert!(judge_without(idle, &story(0, vec![])).holds);
        assert!(!judge_without(idle, &lost).holds);
        assert!(!judge_with(idle, &lost).holds);
    }

    #[test]
    fn without_the_agent_the_kernel_has_to_kill() {
        assert!(
            judge_without(
                leak(),
                &story(1, vec![ended("db", Role::Innocent, Cause::Kernel)])
            )
            .holds
        );
        assert!(!judge_without(leak(), &story(0, vec![])).holds);
        let cache = scenario::named("page-cache").unwrap();
        let evicted = ended("reader", Role::Culprit, Cause::Kubelet);
        assert!(judge_without(cache, &story(0, vec![evicted.clone()])).holds);
        assert!(!judge_with(cache, &story(0, vec![evicted])).holds);
    }

    #[test]
    fn what_cannot_be_saved_has_to_be_named_and_costs_no_innocent() {
        let dir = scenario::named("memory-dir").unwrap();
        let killed = ended("web", Role::Innocent, Cause::Kernel);
        let named = Story {
            culprit_named: true,
            ..story(1, vec![killed.clone()])
        };
        assert!(judge_with(dir, &named).holds);
        assert!(!judge_with(dir, &story(1, vec![killed])).holds, "not named");
        let by_agent = Story {
            culprit_named: true,
            ..story(0, vec![ended("web", Role::Innocent, Cause::Agent)])
        };
        assert!(
            !judge_with(dir, &by_agent).holds,
            "an innocent ended by the agent"
        );
    }

    #[test]
    fn a_story_is_read_from_the_reports() {
        let plan = leak().plan(1, &[], false);
        let uid = plan
            .pods
            .iter()
            .find(|pod| pod.role == Role::Culprit)
            .unwrap()
            .uid
            .clone();
        let said = |line: String| Report::Said {
            at_millis: 1,
            by: Speaker::Agent,
            line,
        };
        let reports = [
            Report::Started { at_millis: 5000 },
            said(format!("{{\"culprit\":\"pod{uid}\"}}")),
            said("{\"event\":\"end\",\"tick_gap_max_millis\":17}".into()),
            Report::Death {
                at_millis: 9000,
                role: Some(Role::Culprit),
                name: "leaker".into(),
                by: Cause::Agent,
                how: "signal 9".into(),
            },
            Report::Ended {
                at_millis: 15_000,
                why: forestall_lab_init::report::End::Settled,
                oom_kills: 0,
                starved_millis: 3,
            },
        ];
        let story = Story::of(&plan, &reports);
        assert_eq!(story.first_death_millis, Some(4000));
        assert_eq!(story.run_millis, 10_000);
        assert_eq!(story.agent_gap_millis, Some(17));
        assert!(story.culprit_named && !story.lost);
        assert!(judge_with(leak(), &story).holds);
    }
}
