//! The answer of a replay, as one structure that both formats are made from. Version 1: fields may be added, none changes its
//! meaning.

use std::collections::BTreeMap;

use forestall_decide::{GroupId, Mode, Target};
use forestall_trace::{Names, Version};
use serde::Serialize;
use serde_json::Value;

use super::compare::{Before, Change, Pair, look_back, pair};
use super::kills::KernelKill;
use super::lane::{Decided, Lane, Score};
use super::play::Played;
use super::undone::{Passed, Undone};
use crate::commands::trace::date::write_date;
use crate::commands::trace::source::newer_than_known;
use crate::commands::trace::words;
use crate::commands::why_not::{self, PassedOver};
use crate::log::{escape, words as log_words};

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    kind: &'static str,
    version: u32,
    pub(super) trace: Trace,
    pub(super) policy: PolicyReport,
    pub(super) against: PolicyReport,
    pub(super) actions: Vec<ActionReport>,
    pub(super) kernel_kills: Vec<KillReport>,
    /// What the shadow kubelet foretold; `null` where nobody told the recorder what the kubelet was told, or nothing was to be said.
    kubelet_forecast: Value,
    /// The same for people.
    #[serde(skip)]
    pub(super) shadow: Vec<String>,
    pub(super) summary: Summary,
    pub(super) notes: Vec<String>,
    #[serde(skip)]
    exact: bool,
}

/// What was recorded.
#[derive(Debug, Serialize)]
pub(super) struct Trace {
    pub(super) node: String,
    /// The boot it was recorded in; empty where that is not told.
    pub(super) boot: String,
    /// When it begins and ends; `null` where nothing was recorded.
    pub(super) begins: Option<String>,
    pub(super) ends: Option<String>,
    pub(super) lasts_micros: u64,
    pub(super) mode: &'static str,
    pub(super) samples: u64,
    runs: u64,
    gaps: u64,
    /// What the kubelet evicted meanwhile, as far as Kubernetes told the recorder.
    pub(super) kubelet_evictions: u64,
    inputs_lost: u64,
    damaged_bytes: u64,
}

/// What one policy decided.
#[derive(Debug, Serialize)]
pub(super) struct PolicyReport {
    pub(super) name: String,
    settings: Value,
    /// Where its deeds and those of the recording first differ; what rests on figures after that is conditional.
    pub(super) diverges: Option<String>,
    /// Decisions that rest on figures this policy would have seen as well.
    pub(super) sound: Counts,
    /// Decisions about somebody whose figures it would have changed before.
    pub(super) conditional: Counts,
    pub(super) refusals: u64,
    /// Where something was due and nobody was ended; the same one at look after look is one.
    pub(super) not_done: Vec<NotDone>,
    /// At so many looks there were others.
    pub(super) not_done_left_out: u64,
}

/// Decisions by kind; the same one decided again in shadow counts once.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) alarms: u64,
    /// By rung: reclaim, brake, warn, grow, evict, kill, sysrq.
    pub(super) rungs: BTreeMap<&'static str, u64>,
}

/// One line of the comparison.
#[derive(Debug, Serialize)]
pub(super) struct ActionReport {
    pub(super) change: Change,
    pub(super) rung: &'static str,
    pub(super) target: String,
    /// How much earlier the policy decides; negative: later.
    pub(super) lead_micros: Option<i64>,
    pub(super) policy: Option<Side>,
    pub(super) against: Option<Side>,
}

/// One policy's part of it.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    pub(super) time: String,
    pub(super) after_micros: u64,
    pub(super) wall: &'static str,
    scope: Option<String>,
    pub(super) rule: &'static str,
    pub(super) sound: bool,
    times: u64,
    /// The first few of those who were passed over at its wall.
    pub(super) passed_over: Vec<PassedOver>,
    /// How many were in all.
    pub(super) passed_over_count: usize,
}

/// Something was due at a wall, and nobody was ended.
#[derive(Debug, Serialize)]
pub(super) struct NotDone {
    time: String,
    pub(super) after_micros: u64,
    /// At how many looks, and for how long.
    pub(super) times: u64,
    pub(super) lasts_micros: u64,
    pub(super) wall: &'static str,
    scope: Option<String>,
    pub(super) rule: Option<&'static str>,
    /// A word of the log's; `null`: everybody was passed over.
    reason: Option<&'static str>,
    /// Why the culprit may not be touched, where that is the reason.
    protection: Option<&'static str>,
    #[serde(skip)]
    pub(super) said: String,
    pub(super) culprit: Option<String>,
    pub(super) passed_over: Vec<PassedOver>,
    pub(super) passed_over_count: usize,
}

impl NotDone {
    fn new(played: &Played, undone: &Undone) -> Self {
        Self {
            time: write_date(undone.unix_micros),
            after_micros: undone.unix_micros.saturating_sub(played.begins),
            times: undone.times,
            lasts_micros: undone.last_unix_micros.saturating_sub(undone.unix_micros),
            wall: undone.wall.label(),
            scope: undone.scope.map(|scope| group_name(&played.names, scope)),
            rule: undone.rule,
            reason: undone.reason.map(log_words::reason),
            protection: undone.reason.and_then(why_not::detail),
            said: why_not::refusal(undone.reason, undone.culprit.is_some(), played.mode),
            culprit: undone.culprit.map(|culprit| target_name(&played.names, culprit)),
            passed_over: passed_over(played, &undone.passed),
            passed_over_count: undone.passed.count,
        }
    }
}

/// A kill of the kernel, which the recording holds.
#[derive(Debug, Serialize)]
pub(super) struct KillReport {
    pub(super) time: String,
    pub(super) after_micros: u64,
    pub(super) processes: u64,
    pub(super) cgroups: Vec<String>,
    /// The cgroup at whose own limit it was; `null`: at the machine's or at that of `kubepods`, or not known.
    pub(super) own_limit: Option<String>,
    pub(super) policy: Lead,
    pub(super) against: Lead,
}

/// What a policy had said and done before.
#[derive(Debug, Default, Serialize)]
pub(super) struct Lead {
    /// At which wall it was is known, so that alarms are scored by it.
    pub(super) alarm_scored: bool,
    /// Of the first alarm that answers for it, however many were killed at that wall before.
    pub(super) alarm_micros: Option<u64>,
    pub(super) action_micros: Option<u64>,
    pub(super) rung: Option<&'static str>,
    pub(super) target: Option<String>,
}

/// The comparison in numbers. Only what ends processes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) same: u64,
    pub(super) added: u64,
    pub(super) avoided: u64,
    pub(super) moved: u64,
    pub(super) lead_micros_min: Option<i64>,
    pub(super) lead_micros_median: Option<i64>,
    pub(super) lead_micros_max: Option<i64>,
    pub(super) kernel_kills: u64,
    /// Kills of the kernel before which the policy would have ended somebody, so that they may have been avoided.
    pub(super) kernel_kills_forestalled: u64,
    pub(super) kernel_kills_forestalled_against: u64,
    /// Kills of the kernel with an alarm before them.
    pub(super) kernel_kills_alarmed: u64,
    pub(super) kernel_kills_alarmed_against: u64,
}

impl Report {
    /// `None` where the trace was not played for both policies.
    pub(super) fn new(played: &Played, names: &[String; 2]) -> Option<Self> {
        let [first, second] = played.asked();
        let [policy, against] = names.clone();
        let (first, second) = (first?, second?);
        let pairs = pair(first, second);
        let mut kernel_kills = Vec::new();
        for (index, kill) in played.kernel_kills.iter().enumerate() {
            let since = kill.before_at_wall(&played.kernel_kills);
            let sides = [first, second].map(|lane| {
                let score = lane.scores.get(index).copied().unwrap_or(Score::Unplaced);
                look_back(lane, kill, score, since)
            });
            kernel_kills.push(KillReport::new(played, kill, sides));
        }
        let actions: Vec<ActionReport> = pairs
            .iter()
            .filter_map(|pair| ActionReport::new(played, pair))
            .collect();
        let summary = Summary::of(&actions, &kernel_kills);
        let watch = played.watch()?;
        Some(Self {
            kind: "replay",
            version: 1,
            trace: Trace {
                node: played.node.clone(),
                boot: played.boot.clone(),
                begins: date(played.begins),
                ends: date(played.ends),
                lasts_micros: played.ends.saturating_sub(played.begins),
                mode: log_words::mode(played.mode),
                samples: played.samples,
                runs: played.runs,
                gaps: played.gaps,
                kubelet_evictions: played.kubelet_evictions,
                inputs_lost: played.lost,
                damaged_bytes: played.damaged_bytes,
            },
            policy: PolicyReport::new(played, first, policy),
            against: PolicyReport::new(played, second, against),
            actions,
            kernel_kills,
            kubelet_forecast: watch.value(played.begins),
            shadow: watch.lines(played.begins),
            summary,
            notes: notes(played),
            exact: played.lost + played.unknown + played.damaged_bytes + played.foreign_outcomes == 0
                && newer_than_known(played.newest).is_none(),
        })
    }

    /// Nothing is missing from the trace, and this program decides as the recorder did.
    pub(super) const fn is_exact(&self) -> bool {
        self.exact
    }
}

impl PolicyReport {
    fn new(played: &Played, lane: &Lane, name: String) -> Self {
        let (mut sound, mut conditional) = (Counts::default(), Counts::default());
        for is_sound in &lane.alarms {
            let counts = if *is_sound { &mut sound } else { &mut conditional };
            counts.alarms += 1;
        }
        for decided in &lane.decided {
            let counts = if decided.sound {
                &mut sound
            } else {
                &mut conditional
            };
            *counts.rungs.entry(decided.rung.label()).or_default() += 1;
        }
        Self {
            name,
            settings: words::policy(lane.engine_policy()),
            diverges: lane.diverged.map(|(_, unix)| write_date(unix)),
            sound,
            conditional,
            refusals: lane.refusals,
            not_done: lane
                .undone
                .list
                .iter()
                .map(|undone| NotDone::new(played, undone))
                .collect(),
            not_done_left_out: lane.undone.left_out,
        }
    }
}

impl ActionReport {
    fn new(played: &Played, pair: &Pair<'_>) -> Option<Self> {
        let about = pair.either()?;
        let side = |decided: &Decided| Side {
            time: write_date(decided.unix_micros),
            after_micros: decided.unix_micros.saturating_sub(played.begins),
            wall: decided.wall.label(),
            scope: decided.scope.map(|scope| group_name(&played.names, scope)),
            rule: decided.rule,
            sound: decided.sound,
            times: decided.times,
            passed_over: passed_over(played, &decided.passed),
            passed_over_count: decided.passed.count,
        };
        Some(Self {
            change: pair.change,
            rung: about.rung.label(),
            target: target_name(&played.names, about.target),
            lead_micros: pair.lead_micros,
            policy: pair.policy.map(side),
            against: pair.against.map(side),
        })
    }
}

impl KillReport {
    fn new(played: &Played, kill: &KernelKill, [policy, against]: [Before<'_>; 2]) -> Self {
        let lead = |before: Before<'_>| Lead {
            alarm_scored: before.score != Score::Unplaced,
            alarm_micros: match before.score {
                Score::Foretold(lead) => Some(lead.0),
                Score::Missed | Score::Unplaced => None,
            },
            action_micros: before.deed.map(|(_, span)| span.0),
            rung: before.deed.map(|(deed, _)| deed.rung.label()),
            target: before
                .deed
                .map(|(deed, _)| target_name(&played.names, deed.target)),
        };
        Self {
            time: write_date(kill.unix_micros),
            after_micros: kill.unix_micros.saturating_sub(played.begins),
            processes: kill.processes,
            cgroups: kill
                .groups
                .iter()
                .map(|id| group_name(&played.names, *id))
                .collect(),
            own_limit: kill.own_limit.map(|id| group_name(&played.names, id)),
            policy: lead(policy),
            against: lead(against),
        }
    }
}

impl Summary {
    /// Of all that was decided and of all that the kernel killed.
    pub(super) fn of<'a>(
        actions: impl IntoIterator<Item = &'a ActionReport>,
        kills: impl IntoIterator<Item = &'a KillReport>,
    ) -> Self {
        let mut summary = Self::default();
        let mut leads = Vec::new();
        for action in actions {
            let count = match action.change {
                Change::Same => &mut summary.same,
                Change::Added => &mut summary.added,
                Change::Avoided => &mut summary.avoided,
                Change::Moved => {
                    leads.extend(action.lead_micros);
                    &mut summary.moved
                }
            };
            *count += 1;
        }
        leads.sort_unstable();
        summary.lead_micros_min = leads.first().copied();
        summary.lead_micros_median = leads.get(leads.len() / 2).copied();
        summary.lead_micros_max = leads.last().copied();
        for KillReport { policy, against, .. } in kills {
            summary.kernel_kills += 1;
            summary.kernel_kills_forestalled += u64::from(policy.action_micros.is_some());
            summary.kernel_kills_forestalled_against += u64::from(against.action_micros.is_some());
            summary.kernel_kills_alarmed += u64::from(policy.alarm_micros.is_some());
            summary.kernel_kills_alarmed_against += u64::from(against.alarm_micros.is_some());
        }
        summary
    }
}

/// What has to be known to read the figures rightly.
fn notes(played: &Played) -> Vec<String> {
    let mut notes = Vec::new();
    if played.mode == Mode::Observe {
        notes.push(
            "recorded in observe: the recorded policy claimed nothing; any other says here what it would have done in shadow"
                .to_owned(),
        );
    }
    if played.mode == Mode::Enforce {
        notes.push(format!(
            "recorded in enforce: {} orders of the recorded policy were carried out, and the recording holds their effect",
            played.deeds
        ));
    } else {
        notes.push(
            "recorded without acting: each policy's first deed is decided on true figures; what follows it at the same wall is \
             conditional"
                .to_owned(),
        );
    }
    if played.asked().iter().flatten().any(|lane| !lane.is_recorded()) {
        notes.push(
            "a policy looks here when the recorder looked, and not when it would have looked itself"
                .to_owned(),
        );
    }
    if played.gaps > 0 || played.runs > 1 {
        notes.push(format!(
            "{} gaps and {} runs: a fresh engine begins after each",
            played.gaps, played.runs
        ));
    }
    if played.lost > 0 {
        notes.push(format!(
            "{} inputs were lost by the recorder: its engine had seen more",
            played.lost
        ));
    }
    if played.unknown > 0 {
        notes.push(format!(
            "{} inputs are of a kind that only a newer forestall knows",
            played.unknown
        ));
    }
    if played.damaged_bytes > 0 {
        notes.push(format!("{} damaged bytes were passed over", played.damaged_bytes));
    }
    if let Some(Version { major, minor }) = played.newer {
        notes.push(format!(
            "among them is a segment of format {major}.{minor}; use a newer forestall"
        ));
    }
    notes.extend(newer_than_known(played.newest));
    if played.foreign_outcomes > 0 {
        notes.push(format!(
            "{} outcomes belong to orders that this program would not have given: it decides otherwise than the recorder's",
            played.foreign_outcomes
        ));
    }
    notes
}

/// A moment of the recording; none where nothing was recorded.
fn date(unix_micros: u64) -> Option<String> {
    (unix_micros > 0).then(|| write_date(unix_micros))
}

/// By the names of pods, as far as Kubernetes told them.
fn passed_over(played: &Played, passed: &Passed) -> Vec<PassedOver> {
    let name = |target| match target {
        Target::Group(id) => played.pods.get(&id).cloned(),
        Target::Process(_) | Target::Node => None,
    };
    let first = passed.first.iter();
    first
        .map(|(rung, target, why)| {
            let name = name(*target).unwrap_or_else(|| target_name(&played.names, *target));
            PassedOver::new(*rung, name, *why)
        })
        .collect()
}

fn group_name(names: &Names, id: GroupId) -> String {
    names
        .group(id)
        .map_or_else(|| format!("cgroup {}", id.0), escape::bytes)
}

fn target_name(names: &Names, target: Target) -> String {
    match target {
        Target::Group(id) => group_name(names, id),
        Target::Process(id) => {
            let name = names.process(id).map(escape::bytes).unwrap_or_default();
            format!("process {} {name}", id.pid).trim_end().to_owned()
        }
        Target::Node => "the machine".to_owned(),
    }
}
