//! When a kill is the last thing that still fits.
//!
//! Four rules, each two keys. `one-look`: growth at the speed of the last look reaches the wall before a kill decided at
//! the next look could take effect. `last-moment`: two windows agree on a growth that does not slow, little of the wall
//! is left, and half of the median runway is needed for TERM and KILL. `at-the-wall`: the distance is within what the
//! counters swing by, and it still shrinks, as two looks have seen. `thrash`: somebody takes what little is left within the
//! same time, and all tasks wait for memory, which stands for the windows that do not agree yet.
//! What it refuses to do: anything at pod and container walls (the kernel would hit the same pod), and anything on pressure
//! alone: who waits at a limit of its own, or where nobody grows, has nobody ended for it.

use crate::decision::{Confidence, RefusalReason, Target, WallKind, WallReading};
use crate::history::{History, Scope};
use crate::input::{GroupKind, NodeSample, Sample};
use crate::policy::Policy;
use crate::rule::{Rule, holds};
use crate::units::{Bytes, Span};
use crate::wall::noise;

/// A kill decided now is thought to stop the growth after this, until outcomes say that it takes longer.
const ANSWER_MIN: Span = Span::millis(25);
/// The distance below which one look at growth is both keys, and so is waiting (permille of the wall).
const LAST_QUARTER_PERMILLE: u64 = 250;
/// The share of a wall below which a kill with TERM may start; above it there is time to see whether the growth ends.
const TERM_BAND_PERMILLE: u64 = 40;
/// The share of the machine below which waiting for memory is the machine's problem and not one pod's.
const THRASH_BAND_PERMILLE: u64 = 50;
/// All tasks waiting for this share of ten seconds is thrashing (permille).
const THRASH_FULL_PERMILLE: u64 = 300;
/// It is still going on where they also waited for this share of the last second (permille).
const STILL_FULL_PERMILLE: u64 = 100;

/// What one page can be: a huge one takes the place of 512 small ones that are given back a moment later (mm/khugepaged.c).
const HUGE_PAGE: Bytes = Bytes::mebi(2);

/// A kill that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) rule: &'static str,
    /// Time between TERM and KILL that still fits.
    pub(crate) grace: Span,
    pub(crate) time_to_effect: Span,
}

/// From the decision to the moment the victim stops growing: how late we wake and what a look costs (`late`: of the last ones), and
/// what acting takes.
pub(crate) fn time_to_effect(sample: &Sample, late: Span, answer: Span) -> Span {
    late.max(sample.node.sample_cost) + answer.max(ANSWER_MIN)
}

/// The growth, at its present speed, reaches the wall before a decision at the next look could take effect.
///
/// Twice the time to effect, because the next look comes when a quarter of the runway is used up and growth may quicken.
/// Only below a stated distance, a quarter of the wall; and only into new ground, since what swings is no growth.
pub(crate) fn is_imminent(
    reading: &WallReading,
    scope: &Scope,
    time_to_effect: Span,
    policy: &Policy,
    noise: Bytes,
) -> bool {
    let Some(size) = reading.limit.bytes() else {
        return false;
    };
    let reach = (time_to_effect + policy.tick_min).times(2);
    let track = &scope.unreclaimable;
    let beyond = noise + HUGE_PAGE;
    let speed = track.speed_now(beyond).max(track.speed_of_second(beyond));
    is_in_last_quarter(reading, size)
        && Span::to_cover(reading.distance, speed) <= reach
        && track.is_at_new_high()
}

/// What swap can still take is left, too: beside much of it growth that ends there costs time and nobody's life.
fn is_in_last_quarter(reading: &WallReading, size: Bytes) -> bool {
    reading.distance <= size.permille(LAST_QUARTER_PERMILLE) || !holds(Rule::LastQuarter)
}

/// Whether anybody may be killed at such a wall.
pub(crate) fn kills_at(wall: WallKind) -> bool {
    match wall {
        WallKind::Kernel | WallKind::Kubepods => true,
        WallKind::KubeletNode | WallKind::KubeletAllocatable => !holds(Rule::KubeletsWall),
        WallKind::Pod | WallKind::Container => !holds(Rule::OwnLimit),
    }
}

/// Whether a kill is due at this wall.
pub(crate) fn judge_kill(
    reading: &WallReading,
    sample: &Sample,
    history: &History,
    policy: &Policy,
    effect: Span,
    stalls_are_ours: bool,
) -> Option<Due> {
    if !kills_at(reading.wall) {
        return None;
    }
    let scope = history.scope(reading.scope)?;
    let size = reading.limit.bytes()?;
    let due = |rule| {
        Some(Due {
            rule,
            grace: fitting_grace(reading, effect, policy),
            time_to_effect: effect,
        })
    };
    if is_imminent(reading, scope, effect, policy, noise(&sample.node)) {
        return Some(Due {
            rule: "one-look",
            grace: Span(0),
            time_to_effect: effect,
        });
    }
    let with_term = (policy.term_grace + effect).times(2);
    let confirmed = |least| reading.confidence >= least || !holds(Rule::Confirmation);
    if confirmed(Confidence::High)
        && reading.runway.p50 <= with_term
        && (reading.distance <= size.permille(TERM_BAND_PERMILLE) || !holds(Rule::LastMoment))
    {
        return due("last-moment");
    }
    // One jump may be over already.
    let twice = scope.unreclaimable.has_risen_twice(noise(&sample.node)) || !holds(Rule::Confirmation);
    if confirmed(Confidence::Low)
        && twice
        && reading.distance <= floor(sample, scope, size)
        && reading.runway.p50 < Span::secs(60)
        && scope.unreclaimable.is_at_new_high()
    {
        return due("at-the-wall");
    }
    let full = scope.stalled_long_permille();
    let plain_distance = if reading.wall == WallKind::Kernel {
        sample.node.available
    } else {
        reading.distance
    };
    let is_thrashing = full >= THRASH_FULL_PERMILLE
        && reading.stall_full_permille >= STILL_FULL_PERMILLE
        && !stalls_are_ours
        && plain_distance <= size.permille(THRASH_BAND_PERMILLE)
        && is_in_last_quarter(reading, size);
    let is_last_moment = reading.runway.p50 <= with_term || !holds(Rule::LastMoment);
    let is_somebodys = reading.culprit.is_some() || !holds(Rule::StallsCulprit);
    if is_thrashing && is_last_moment && is_somebodys {
        let own = history.stalled_by_own_limit(sample, reading.scope);
        if reading.stall_full_permille.saturating_sub(own) >= STILL_FULL_PERMILLE {
            return due("thrash");
        }
    }
    None
}

/// What the counters swing by at this wall: the span of the kernel's own watermarks, scaled to the wall's size, the
/// per-CPU batches, and twice the largest jump lately.
fn floor(sample: &Sample, scope: &Scope, size: Bytes) -> Bytes {
    let node = &sample.node;
    let marks = node.watermark_high - node.watermark_min;
    let scaled = size.permille(marks.permille_of(node.total));
    let jump = scope.unreclaimable.jump_max();
    // A jump is no licence to act from afar.
    scaled + noise(node) + Bytes(jump.0.saturating_mul(2)).min(size.permille(TERM_BAND_PERMILLE / 2))
}

/// The longest grace that leaves half of the fast runway unused; too short a grace is none.
fn fitting_grace(reading: &WallReading, effect: Span, policy: &Policy) -> Span {
    const WORTH_IT: Span = Span::millis(100);
    let half = Span((reading.runway.p10.0 / 2).saturating_sub(effect.0))
        .0
        .min(policy.term_grace.0);
    if half < WORTH_IT.0 { Span(0) } else { Span(half) }
}

/// A cgroup or process that holds more than there is: its figures are not to be believed, or the machine's are another's (a container's
/// own view of `/proc/meminfo`).
pub(crate) fn is_too_large(held: Bytes, node: &NodeSample) -> bool {
    held > node.total + node.swap_total
}

/// Whom a kill of `target` would really end, or why there is nobody.
pub(crate) fn check_target(sample: &Sample, target: Target) -> Result<Bytes, RefusalReason> {
    match target {
        Target::Node => Err(RefusalReason::NothingToKill),
        Target::Process(id) => {
            let process = sample
                .processes
                .iter()
                .find(|process| process.id == id)
                .ok_or(RefusalReason::NothingToKill)?;
            if is_too_large(process.unreclaimable, &sample.node) {
                return Err(RefusalReason::Impossible);
            }
            let protection = process.protection.filter(|_| holds(Rule::Protected));
            protection.map_or(Ok(process.unreclaimable), |why| {
                Err(RefusalReason::Protected(why))
            })
        }
        Target::Group(id) => {
            let found = sample.groups.iter().position(|group| group.id == id);
            let Some(group) = found.and_then(|index| sample.groups.get(index)) else {
                return Err(RefusalReason::NothingToKill);
            };
            if let Some(why) = group.protection.filter(|_| holds(Rule::Protected)) {
                return Err(RefusalReason::Protected(why));
            }
            if is_too_large(group.current, &sample.node) {
                return Err(RefusalReason::Impossible);
            }
            let has_children = sample
                .groups
                .iter()
                .any(|child| child.parent.map(|at| at as usize) == found);
            let killable = match group.kind {
                GroupKind::Container(_) => true,
                // A pod whose processes live right in it; one with containers is never killed as a whole.
                GroupKind::Pod(_) => !has_children || !holds(Rule::Smallest),
                GroupKind::Kubepods | GroupKind::Qos(_) | GroupKind::Host => !holds(Rule::Smallest),
            };
            if killable && group.populated {
                // Shmem may lie in a directory that outlives the container, so it is not counted on.
                Ok(group.anon)
            } else {
                Err(RefusalReason::NothingToKill)
            }
        }
    }
}
