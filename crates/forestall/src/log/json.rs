//! The log as JSON lines, version 1: one object a line, the same numbers a decision rested on.
//!
//! Fields are only ever added within a version. What is not known or not in sight is `null`, never −1 or a huge number.
//! Names are escaped before they come here.

use forestall_act::Note;
use forestall_decide::{
    Action, Culprit, Evidence, Ignored, NodeSample, Outcome, OutcomeKind, Refusal, RefusalReason, Runway,
    Span, Target, WallReading,
};
use serde::Serialize;

use super::note::NoteBody;
use super::words;
use crate::agent::shared::{IgnoredKind, Passed, Unbelieved};

/// One line.
#[derive(Serialize)]
pub(crate) struct Record<'a, T: Serialize> {
    /// The version of this format.
    pub(crate) v: u32,
    pub(crate) ts: String,
    pub(crate) level: &'static str,
    pub(crate) event: &'static str,
    pub(crate) mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<&'a str>,
    pub(crate) message: &'a str,
    #[serde(flatten)]
    pub(crate) body: T,
}

/// Nothing beyond the message.
#[derive(Serialize)]
pub(crate) struct Empty {}

/// A wall as it was read.
#[derive(Serialize)]
pub(crate) struct Wall {
    #[serde(rename = "wall")]
    kind: &'static str,
    /// The path of the cgroup whose limit it is.
    scope: Option<String>,
    limit_bytes: Option<u64>,
    distance_bytes: u64,
    growth_bytes_per_second: u64,
    growth_fast_bytes_per_second: u64,
    runway_p10_millis: Option<u64>,
    runway_p50_millis: Option<u64>,
    runway_p90_millis: Option<u64>,
    stall_some_permille: u64,
    stall_full_permille: u64,
    confidence: &'static str,
    alarmed: bool,
    culprit: Option<CulpritBody>,
}

#[derive(Serialize)]
struct CulpritBody {
    name: Option<String>,
    #[serde(flatten)]
    target: TargetBody,
    share_permille: u64,
    grown_bytes: u64,
    window_millis: u64,
    protection: Option<&'static str>,
}

/// A target's number; its name stands beside it.
#[derive(Serialize)]
pub(crate) struct TargetBody {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ticks: Option<u64>,
}

/// An alarm.
#[derive(Serialize)]
pub(crate) struct AlarmBody {
    pub(crate) stage: &'static str,
    pub(crate) age_millis: u64,
    pub(crate) horizon_millis: u64,
    pub(crate) evidence: Wall,
}

/// An action.
#[derive(Serialize)]
pub(crate) struct ActionBody {
    action: u64,
    rung: &'static str,
    target: TargetBody,
    target_name: Option<String>,
    bytes: u64,
    grace_millis: u64,
    deadline_millis: u64,
    escalate: bool,
    #[serde(flatten)]
    why: EvidenceBody,
}

/// A refusal.
#[derive(Serialize)]
pub(crate) struct RefusalBody {
    pub(crate) reason: &'static str,
    pub(crate) protection: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) why: EvidenceBody,
}

/// What a decision rests on.
#[derive(Serialize)]
pub(crate) struct EvidenceBody {
    rule: String,
    time_to_effect_millis: u64,
    evidence: Wall,
}

/// What became of an action.
#[derive(Serialize)]
pub(crate) struct OutcomeBody {
    action: u64,
    rung: &'static str,
    outcome: &'static str,
    errno: Option<i32>,
    #[serde(flatten)]
    why: NoteBody,
    target_name: Option<String>,
    scope: Option<String>,
    freed_bytes: u64,
    took_millis: u64,
}

/// Who was passed over, or a part of that list.
#[derive(Serialize)]
pub(crate) struct PassedBody {
    wall: &'static str,
    scope: Option<String>,
    rung: &'static str,
    /// The action that was decided instead.
    action: Option<u64>,
    /// How long the whole list is, and the place in it of the first that stands here.
    count: u32,
    first: u32,
    pods: Vec<PassedPodBody>,
}

#[derive(Serialize)]
struct PassedPodBody {
    name: Option<String>,
    #[serde(flatten)]
    target: TargetBody,
    why: &'static str,
}

/// Inputs that were not believed.
#[derive(Serialize)]
pub(crate) struct IgnoredBody {
    what: &'static str,
    count: u32,
    target: Option<TargetBody>,
    target_name: Option<String>,
    action: Option<u64>,
    back_millis: Option<u64>,
    figure: Option<&'static str>,
}

/// The kernel killed.
#[derive(Serialize)]
pub(crate) struct KillsBody {
    pub(crate) processes: u64,
}

/// Something did not work.
#[derive(Serialize)]
pub(crate) struct TroubleBody {
    pub(crate) what: String,
    pub(crate) path: Option<String>,
    pub(crate) errno: Option<i32>,
}

/// What did not work does again.
#[derive(Serialize)]
pub(crate) struct MendedBody {
    pub(crate) what: &'static str,
}

/// The line a minute.
#[derive(Serialize)]
pub(crate) struct StatusBody {
    pub(crate) ticks: u64,
    pub(crate) tick_gap_max_millis: u64,
    pub(crate) total_bytes: u64,
    pub(crate) available_bytes: u64,
    pub(crate) blind_bytes: u64,
    pub(crate) oom_kills: u64,
    /// So much older than the figures above are those of the walls, but for what is left of the kernel's.
    pub(crate) walls_age_millis: u64,
    pub(crate) walls_total: usize,
    /// The nearest ones: by median runway, then by what is left.
    pub(crate) walls: Vec<Wall>,
}

/// The last line.
#[derive(Serialize)]
pub(crate) struct EndBody {
    pub(crate) ticks: u64,
    pub(crate) tick_gap_max_millis: u64,
    pub(crate) actions: u64,
    pub(crate) actions_not_tried: u64,
    pub(crate) alarms: u64,
}

/// War story A's poll; the message has the same values with two decimals.
#[derive(Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are those of the JSON, where units come last"
)]
pub(crate) struct PollBody {
    pub(crate) total_bytes: u64,
    pub(crate) available_bytes: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) slab_bytes: u64,
    pub(crate) kubelet_bytes: u64,
    pub(crate) actual_bytes: u64,
}

fn millis(span: Span) -> Option<u64> {
    (span != Span::FOREVER).then(|| span.as_millis())
}

/// A name that may be missing.
pub(crate) fn name(raw: &[u8]) -> Option<String> {
    (!raw.is_empty()).then(|| super::escape::bytes(raw))
}

impl Wall {
    /// With the names it is known by.
    pub(crate) fn new(reading: &WallReading, scope: &[u8], culprit: &[u8]) -> Self {
        let Runway { p10, p50, p90 } = reading.runway;
        Self {
            kind: reading.wall.label(),
            scope: name(scope),
            limit_bytes: reading.limit.bytes().map(|bytes| bytes.0),
            distance_bytes: reading.distance.0,
            growth_bytes_per_second: reading.growth.0,
            growth_fast_bytes_per_second: reading.growth_fast.0,
            runway_p10_millis: millis(p10),
            runway_p50_millis: millis(p50),
            runway_p90_millis: millis(p90),
            stall_some_permille: reading.stall_some_permille,
            stall_full_permille: reading.stall_full_permille,
            confidence: words::confidence(reading.confidence),
            alarmed: reading.alarmed,
            culprit: reading.culprit.map(|found| CulpritBody::new(&found, culprit)),
        }
    }
}

impl CulpritBody {
    fn new(culprit: &Culprit, known_as: &[u8]) -> Self {
        Self {
            name: name(known_as),
            target: TargetBody::new(culprit.target),
            share_permille: culprit.share_permille,
            grown_bytes: culprit.grown.0,
            window_millis: culprit.window.as_millis(),
            protection: culprit.protection.map(words::protection),
        }
    }
}

impl TargetBody {
    fn new(target: Target) -> Self {
        let none = Self {
            kind: "node",
            inode: None,
            pid: None,
            start_ticks: None,
        };
        match target {
            Target::Node => none,
            Target::Group(id) => Self {
                kind: "cgroup",
                inode: Some(id.0),
                ..none
            },
            Target::Process(id) => Self {
                kind: "process",
                pid: Some(id.pid),
                start_ticks: Some(id.start_ticks),
                ..none
            },
        }
    }
}

impl EvidenceBody {
    /// With the names it is known by.
    pub(crate) fn new(evidence: &Evidence, scope: &[u8], culprit: &[u8]) -> Self {
        Self {
            rule: evidence.rule.to_owned(),
            time_to_effect_millis: evidence.time_to_effect.as_millis(),
            evidence: Wall::new(&evidence.reading, scope, culprit),
        }
    }
}

impl ActionBody {
    /// With the names it is known by.
    pub(crate) fn new(action: &Action, scope: &[u8], target: &[u8]) -> Self {
        // The culprit's name is the target's where they are the same; another one's was not sent along.
        let culprit = action.evidence.reading.culprit;
        let culprit = if culprit.is_some_and(|culprit| culprit.target == action.target) {
            target
        } else {
            b""
        };
        Self {
            action: action.id.0,
            rung: action.rung.label(),
            target: TargetBody::new(action.target),
            target_name: name(target),
            bytes: action.bytes.0,
            grace_millis: action.grace.as_millis(),
            deadline_millis: action.deadline.as_millis(),
            escalate: action.escalate,
            why: EvidenceBody::new(&action.evidence, scope, culprit),
        }
    }
}

impl OutcomeBody {
    /// With the names its action had, and with what the act threads say of it.
    pub(crate) fn new(outcome: &Outcome, note: Note, scope: &[u8], target: &[u8]) -> Self {
        let errno = match outcome.kind {
            OutcomeKind::Failed(errno) => Some(errno),
            _ => None,
        };
        Self {
            action: outcome.action.0,
            rung: outcome.rung.label(),
            outcome: words::outcome(outcome.kind),
            errno,
            why: NoteBody::new(note),
            target_name: name(target),
            scope: name(scope),
            freed_bytes: outcome.freed.0,
            took_millis: outcome.took.as_millis(),
        }
    }
}

impl PassedBody {
    /// With the name of the cgroup whose wall it is.
    pub(crate) fn new(passed: &Passed, scope: &[u8]) -> Self {
        let pods = passed.pods.iter().flatten().map(|pod| PassedPodBody {
            name: name(pod.name.as_bytes()),
            target: TargetBody::new(pod.target),
            why: words::why_not(pod.why),
        });
        Self {
            wall: passed.wall.label(),
            scope: name(scope),
            rung: passed.rung.label(),
            action: passed.action.map(|action| action.0),
            count: passed.count,
            first: passed.first,
            pods: pods.collect(),
        }
    }
}

impl IgnoredBody {
    /// With the first one's name.
    pub(crate) fn new(ignored: &Unbelieved, target: &[u8]) -> Self {
        let none = Self {
            what: IgnoredKind::of(ignored.what).label(),
            count: ignored.count,
            target: None,
            target_name: name(target),
            action: None,
            back_millis: None,
            figure: None,
        };
        match ignored.what {
            Ignored::TooLarge(id)
            | Ignored::Repeated(id)
            | Ignored::Misplaced(id)
            | Ignored::CounterJumped(Some(id)) => Self {
                target: Some(TargetBody::new(Target::Group(id))),
                ..none
            },
            Ignored::ProcessTooLarge(id) => Self {
                target: Some(TargetBody::new(Target::Process(id))),
                ..none
            },
            Ignored::UnknownAction(id) | Ignored::TookTooLong(id) => Self {
                action: Some(id.0),
                ..none
            },
            Ignored::ClockBack(back) => Self {
                back_millis: Some(back.as_millis()),
                ..none
            },
            Ignored::ImpossibleMachine(figure) => Self {
                figure: Some(figure),
                ..none
            },
            Ignored::SameMoment
            | Ignored::NoMachine
            | Ignored::CounterJumped(None)
            | Ignored::KillUnplaced(_)
            | Ignored::PodsWithoutUid(_)
            | Ignored::PodsRepeated(_) => none,
        }
    }
}

impl RefusalBody {
    /// With its evidence.
    pub(crate) fn new(refusal: &Refusal, why: EvidenceBody) -> Self {
        let protection = match refusal.reason {
            RefusalReason::Protected(protection) => Some(words::protection(protection)),
            RefusalReason::Spared(why) => Some(words::why_not(why)),
            _ => None,
        };
        Self {
            reason: words::reason(refusal.reason),
            protection,
            why,
        }
    }
}

impl PollBody {
    /// War story A's six values, by its own formulas: "actual" leaves the page cache out, which is why it can be below
    /// what the kubelet counts.
    pub(crate) fn new(node: &NodeSample) -> Self {
        Self {
            total_bytes: node.total.0,
            available_bytes: node.available.0,
            cache_bytes: node.cached.0,
            slab_bytes: (node.slab_reclaimable + node.slab_unreclaimable).0,
            kubelet_bytes: node.kubelet_working_set().0,
            actual_bytes: (node.total - node.free - node.cached).0,
        }
    }
}
