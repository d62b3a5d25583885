//! Whom alarms name: who explains the growth towards their wall when they are raised, and whoever else does later while they are up.
//!
//! An alarm claims that a wall will be reached, whoever it is by, so that for the engine it stays the same one. For whoever reads it
//! another name is news. What it refuses to do: follow every swing; another one is named who has explained it for five seconds,
//! and no sooner than ten after the name before.

use forestall_decide::{AlarmEvent, Culprit, GroupId, Moment, Span, Target, WallKind, WallReading};

/// More alarms than a node has walls of its own; of single containers' the last ones may go without a second name.
const ALARMS_MAX: usize = 16;
/// Who explains the growth for so long is told.
const STEADY: Span = Span::secs(5);
/// The next name is told no sooner than this after the last one.
const SPACING: Span = Span::secs(10);

/// An alarm that is up, as it was told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    wall: WallKind,
    scope: Option<GroupId>,
    raised_at: Moment,
    horizon: Span,
    named: Option<Target>,
    at: Moment,
    /// Another one who explains it now, and since when.
    other: Option<(Target, Moment)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Blamed([Option<Told>; ALARMS_MAX]);

impl Blamed {
    /// Takes note of an alarm that is told now.
    pub(super) fn note(&mut self, now: Moment, alarm: &AlarmEvent) {
        let (wall, scope) = (alarm.reading.wall, alarm.reading.scope);
        let own = |slot: &&mut Option<Told>| slot.is_some_and(|it| (it.wall, it.scope) == (wall, scope));
        if let Some(slot) = self.0.iter_mut().find(own) {
            *slot = None;
        }
        let free = self.0.iter_mut().find(|slot| slot.is_none());
        if let Some(slot) = free.filter(|_| alarm.verdict.is_none()) {
            *slot = Some(Told {
                wall,
                scope,
                raised_at: now,
                horizon: alarm.horizon,
                named: alarm.reading.culprit.map(|culprit| culprit.target),
                at: now,
                other: None,
            });
        }
    }

    /// The next alarm that is to be told with another name at this look; call it until there is none.
    pub(super) fn next(&mut self, now: Moment, readings: &[WallReading]) -> Option<AlarmEvent> {
        self.0.iter_mut().flatten().find_map(|told| {
            let is_its = |reading: &&WallReading| (reading.wall, reading.scope) == (told.wall, told.scope);
            let mut reading = *readings.iter().find(is_its)?;
            reading.culprit = culprit_at(&reading, readings);
            let target = reading.culprit?.target;
            if told.named == Some(target) {
                told.other = None;
                return None;
            }
            let since = told.other.filter(|(other, _)| *other == target);
            let (_, since) = *told.other.insert(since.unwrap_or((target, now)));
            let is_due = now.since(since) >= STEADY && now.since(told.at) >= SPACING;
            is_due.then(|| {
                (told.named, told.at, told.other) = (Some(target), now, None);
                AlarmEvent {
                    reading,
                    verdict: None,
                    age: now.since(told.raised_at),
                    horizon: told.horizon,
                }
            })
        })
    }
}

/// Who explains the growth towards a wall. At one of the kubelet's, where nobody of ours ends, it is who explains it at the kernel's wall around the same pods.
pub(super) fn culprit_at(reading: &WallReading, readings: &[WallReading]) -> Option<Culprit> {
    let is_kubelets = matches!(reading.wall, WallKind::KubeletNode | WallKind::KubeletAllocatable);
    let same = |other: &&WallReading| {
        other.scope == reading.scope && matches!(other.wall, WallKind::Kernel | WallKind::Kubepods)
    };
    reading
        .culprit
        .or_else(|| readings.iter().filter(|_| is_kubelets).find(same)?.culprit)
}

#[cfg(test)]
mod tests;
