//! Two lists of decisions side by side: what is the same, what has moved and by how much, what only one of them has.

use forestall_decide::{GroupId, Moment, Span, Target, WallKind};

use serde::Serialize;

use super::kills::KernelKill;
use super::lane::{Decided, Lane, Score};

/// Two decisions on the same target further apart than this are about two things.
const APART_MAX: Span = Span::secs(600);
/// What was decided longer than this before a kill of the kernel was not about it.
const LEAD_MAX: Span = Span::secs(600);

/// What became of a decision under the other policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    /// Both decide it, at the same look.
    Same,
    /// Both decide it, at other times.
    Moved,
    /// Only the policy does.
    Added,
    /// Only the one it is compared with does.
    Avoided,
}

impl Change {
    /// The word in the table.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Moved => "moved",
            Self::Added => "added",
            Self::Avoided => "avoided",
        }
    }
}

/// One line of the comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub(super) change: Change,
    pub(super) policy: Option<&'a Decided>,
    pub(super) against: Option<&'a Decided>,
    /// How much earlier the policy decides, microseconds; negative: later.
    pub(super) lead_micros: Option<i64>,
}

impl Pair<'_> {
    /// When the earlier of both is.
    fn at(&self) -> Option<Moment> {
        [self.policy, self.against]
            .into_iter()
            .flatten()
            .map(|decided| decided.at)
            .min()
    }

    /// The one it is about.
    pub(super) fn either(&self) -> Option<&Decided> {
        self.policy.or(self.against)
    }
}

/// Pairs what ends processes; the mild rungs are only counted.
pub(super) fn pair<'a>(policy: &'a Lane, against: &'a Lane) -> Vec<Pair<'a>> {
    let harms = |decided: &&Decided| decided.rung.ends_somebody();
    let mut left: Vec<Option<&Decided>> = against.decided.iter().filter(harms).map(Some).collect();
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for decided in policy.decided.iter().filter(harms) {
        let nearest = left
            .iter_mut()
            .filter(|other| {
                other.is_some_and(|other| {
                    (other.rung, other.target) == (decided.rung, decided.target)
                        && apart(other.at, decided.at) <= APART_MAX
                })
            })
            .min_by_key(|other| other.map(|other| apart(other.at, decided.at)));
        let other = nearest.and_then(Option::take);
        let lead = other.map(|other| lead(decided.at, other.at));
        pairs.push(Pair {
            change: match lead {
                None => Change::Added,
                Some(0) => Change::Same,
                Some(_) => Change::Moved,
            },
            policy: Some(decided),
            against: other,
            lead_micros: lead,
        });
    }
    pairs.extend(left.into_iter().flatten().map(|other| Pair {
        change: Change::Avoided,
        policy: None,
        against: Some(other),
        lead_micros: None,
    }));
    // Stable: what is decided at the same look keeps the engine's order.
    pairs.sort_by_key(Pair::at);
    pairs
}

fn apart(one: Moment, other: Moment) -> Span {
    one.since(other).max(other.since(one))
}

fn lead(policy: Moment, against: Moment) -> i64 {
    let micros = |span: Span| i64::try_from(span.0).unwrap_or(i64::MAX);
    if policy <= against {
        micros(against.since(policy))
    } else {
        -micros(policy.since(against))
    }
}

/// What a policy had done before the kernel killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    /// What it had said, as its own engine scores that.
    pub(super) score: Score,
    /// The first deed that ends a process and is about it, since the kill before at the same wall.
    pub(super) deed: Option<(&'a Decided, Span)>,
}

/// Looks back from a kill of the kernel that the engine has scored, for a deed at most to the kill before at the same wall. A
/// deed counts if it is about the machine or `kubepods`, or about a cgroup that counts the kill; where it was killed at its own
/// limit, only the latter.
pub(super) fn look_back<'a>(
    lane: &'a Lane,
    kill: &KernelKill,
    score: Score,
    since: Option<Moment>,
) -> Before<'a> {
    let in_time =
        |at: Moment| at <= kill.at && kill.at.since(at) <= LEAD_MAX && since.is_none_or(|since| at > since);
    let is_killed = |id: GroupId| kill.groups.contains(&id) || kill.own_limit == Some(id);
    let about = |wall: WallKind, scope: Option<GroupId>| match scope {
        Some(group) if is_killed(group) => true,
        _ if kill.own_limit.is_some() => false,
        None => true,
        Some(_) => wall == WallKind::Kubepods,
    };
    // Where it was its own limit, only its own end would have come before it.
    let would_help = |decided: &Decided| match (kill.own_limit, decided.target) {
        (None, _) => about(decided.wall, decided.scope),
        (Some(_), Target::Group(id)) => is_killed(id),
        (Some(_), Target::Process(_) | Target::Node) => false,
    };
    let deed = lane
        .decided
        .iter()
        .find(|decided| decided.rung.ends_somebody() && in_time(decided.at) && would_help(decided));
    Before {
        score,
        deed: deed.map(|deed| (deed, kill.at.since(deed.at))),
    }
}
