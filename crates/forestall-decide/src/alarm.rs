//! Alarms: raised as soon as both keys hold, resolved with a verdict, never silently dropped.
//!
//! The horizon is fixed when the alarm is raised and never moved. An alarm that was acted upon is `Intervened` and never
//! counted as right.

use crate::decision::{AlarmEvent, AlarmVerdict, Confidence, WallKind, WallReading};
use crate::input::{GroupId, Sample};
use crate::units::{Moment, Span};

/// A wall further away than this in median time raises no alarm.
const LEAD_MAX: Span = Span::secs(60);
/// A verdict takes at least this long, so that a short runway's alarm is not judged by one breath.
const HORIZON_MIN: Span = Span::secs(10);

#[derive(Clone, Copy, Debug)]
struct Alarm {
    wall: WallKind,
    scope: Option<GroupId>,
    raised_at: Moment,
    horizon: Span,
    kills_before: u64,
    intervened: bool,
    /// Set once resolved; the alarm then stays silent until the wall has calmed down.
    resolved: bool,
}

/// All alarms that are up, or that were resolved while their wall is still near.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    list: Vec<Alarm>,
}

impl Alarms {
    /// Raises and resolves; marks the readings that are alarmed.
    pub(crate) fn update(
        &mut self,
        now: Moment,
        sample: &Sample,
        readings: &mut [WallReading],
        out: &mut Vec<AlarmEvent>,
    ) {
        for reading in readings.iter_mut() {
            let scarce = reading.runway.p50 <= LEAD_MAX;
            let confirmed = reading.confidence == Confidence::High;
            let at = self
                .list
                .iter()
                .position(|alarm| (alarm.wall, alarm.scope) == (reading.wall, reading.scope));
            let Some(alarm) = at.and_then(|at| self.list.get_mut(at)) else {
                if scarce && confirmed {
                    reading.alarmed = true;
                    self.list.push(Alarm {
                        wall: reading.wall,
                        scope: reading.scope,
                        raised_at: now,
                        horizon: reading.runway.p50.times(2).max(HORIZON_MIN),
                        kills_before: kernel_kills(sample, reading),
                        intervened: false,
                        resolved: false,
                    });
                    out.push(AlarmEvent {
                        reading: *reading,
                        verdict: None,
                        age: Span(0),
                    });
                }
                continue;
            };
            let age = now.since(alarm.raised_at);
            if !alarm.resolved {
                reading.alarmed = true;
                let reached = kernel_kills(sample, reading) > alarm.kills_before;
                let verdict = match (alarm.intervened, reached) {
                    (_, true) => Some(AlarmVerdict::True),
                    (true, false) => (!scarce || age > alarm.horizon).then_some(AlarmVerdict::Intervened),
                    (false, false) => (age > alarm.horizon).then_some(AlarmVerdict::False),
                };
                if verdict.is_some() {
                    alarm.resolved = true;
                    out.push(AlarmEvent {
                        reading: *reading,
                        verdict,
                        age,
                    });
                }
            } else if !scarce && let Some(at) = at {
                self.list.swap_remove(at);
            }
        }
        // A wall that is gone (its cgroup was removed) takes its alarm along.
        self.list.retain(|alarm| {
            readings
                .iter()
                .any(|reading| (reading.wall, reading.scope) == (alarm.wall, alarm.scope))
        });
    }

    /// An action at this wall was started.
    pub(crate) fn mark_intervened(&mut self, wall: WallKind, scope: Option<GroupId>) {
        for alarm in self
            .list
            .iter_mut()
            .filter(|alarm| (alarm.wall, alarm.scope) == (wall, scope))
        {
            alarm.intervened = true;
        }
    }
}

/// The kernel's kills that a wall answers for.
fn kernel_kills(sample: &Sample, reading: &WallReading) -> u64 {
    match reading.scope {
        None => sample.node.oom_kills,
        Some(id) => sample
            .groups
            .iter()
            .find(|group| group.id == id)
            .map_or(0, |group| group.oom_kills),
    }
}
