//! Alarms: raised as soon as both keys hold, resolved with a verdict, never silently dropped.
//!
//! The horizon is fixed when the alarm is raised and never moved. An alarm that was acted upon is `Intervened` and never
//! counted as right; somebody who ended without an alarm is a miss.

use crate::decision::{AlarmEvent, AlarmVerdict, Confidence, WallKind, WallReading};
use crate::history::Wall;
use crate::input::GroupId;
use crate::rule::{Rule, holds};
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
    intervened: bool,
    /// As its wall was seen last.
    reading: WallReading,
    /// Set once resolved; the alarm then stays silent until the wall has calmed down.
    resolved: bool,
}

impl Alarm {
    fn is_at(&self, reading: &WallReading) -> bool {
        (self.wall, self.scope) == (reading.wall, reading.scope)
    }
}

/// All alarms that are up, or that were resolved while their wall is still near.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    list: Vec<Alarm>,
}

impl Alarms {
    /// Raises and resolves; marks the readings that are alarmed. `reached`: walls at which somebody was killed or evicted
    /// since the sample before. `acted`: whether an action of ours is under way within a scope.
    pub(crate) fn update(
        &mut self,
        now: Moment,
        reached: &[Wall],
        acted: impl Fn(Option<GroupId>) -> bool,
        readings: &mut [WallReading],
        out: &mut Vec<AlarmEvent>,
    ) {
        self.note_missed(reached, readings, out);
        for reading in readings.iter_mut() {
            let scarce = reading.runway.p50 <= LEAD_MAX;
            let confirmed = reading.confidence == Confidence::High;
            let at = self.list.iter().position(|alarm| alarm.is_at(reading));
            let Some(alarm) = at.and_then(|at| self.list.get_mut(at)) else {
                if scarce && confirmed {
                    reading.alarmed = true;
                    self.raise(now, reading, out);
                    if let Some(alarm) = self.list.last_mut() {
                        alarm.intervened = acted(reading.scope);
                    }
                }
                continue;
            };
            let age = now.since(alarm.raised_at);
            alarm.reading = *reading;
            if !alarm.resolved {
                reading.alarmed = true;
                let reached = reached.contains(&(alarm.wall, alarm.scope));
                let verdict = match (alarm.intervened, reached) {
                    (false, true) => Some(AlarmVerdict::True),
                    (true, true) if !holds(Rule::HonestScore) => Some(AlarmVerdict::True),
                    (true, true) => Some(AlarmVerdict::Intervened),
                    (true, false) if acted(alarm.scope) => None,
                    (true, false) => (!scarce || age > alarm.horizon).then_some(AlarmVerdict::Intervened),
                    (false, false) => {
                        (age > alarm.horizon && holds(Rule::Horizon)).then_some(AlarmVerdict::False)
                    }
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
        // A wall that is gone (its cgroup was removed) takes its alarm along, and can no longer be reached.
        let is_gone = |alarm: &&Alarm| !readings.iter().any(|reading| alarm.is_at(reading));
        for alarm in self.list.iter().filter(is_gone).filter(|alarm| !alarm.resolved) {
            let verdict = if alarm.intervened {
                AlarmVerdict::Intervened
            } else if reached.contains(&(alarm.wall, alarm.scope)) {
                AlarmVerdict::True
            } else {
                AlarmVerdict::False
            };
            out.push(AlarmEvent {
                reading: alarm.reading,
                verdict: Some(verdict),
                age: now.since(alarm.raised_at),
            });
        }
        self.list
            .retain(|alarm| readings.iter().any(|reading| alarm.is_at(reading)));
    }

    /// Whoever ended at a wall for which no alarm was up was missed. A kill of the machine's may be the machine's or
    /// `kubepods`' wall, and an eviction either of the kubelet's: an alarm at one of them is enough.
    fn note_missed(&self, reached: &[Wall], readings: &[WallReading], out: &mut Vec<AlarmEvent>) {
        for (index, (wall, scope)) in reached.iter().enumerate() {
            let kin = |other: &(WallKind, Option<GroupId>)| match family(*wall) {
                Some(_) => family(other.0) == family(*wall),
                None => *other == (*wall, *scope),
            };
            let alarmed = self
                .list
                .iter()
                .any(|alarm| kin(&(alarm.wall, alarm.scope)) && !alarm.resolved);
            let told = reached.iter().take(index).any(kin);
            let mut of_wall = readings
                .iter()
                .filter(|reading| (reading.wall, reading.scope) == (*wall, *scope));
            if let (false, false, Some(reading)) = (alarmed, told, of_wall.next())
                && holds(Rule::Misses)
            {
                out.push(AlarmEvent {
                    reading: *reading,
                    verdict: Some(AlarmVerdict::Missed),
                    age: Span(0),
                });
            }
        }
    }

    /// An action was started because of this reading: every wall that it `covers` is acted upon, and the one it is about
    /// has an alarm from now on if it had none.
    pub(crate) fn intervene(
        &mut self,
        now: Moment,
        reading: &WallReading,
        covers: impl Fn(Option<GroupId>) -> bool,
        out: &mut Vec<AlarmEvent>,
    ) {
        if !self.list.iter().any(|alarm| alarm.is_at(reading)) {
            self.raise(now, reading, out);
        }
        for alarm in self.list.iter_mut().filter(|alarm| covers(alarm.scope)) {
            alarm.intervened = true;
        }
    }

    fn raise(&mut self, now: Moment, reading: &WallReading, out: &mut Vec<AlarmEvent>) {
        self.list.push(Alarm {
            wall: reading.wall,
            scope: reading.scope,
            raised_at: now,
            horizon: reading.runway.p50.min(LEAD_MAX).times(2).max(HORIZON_MIN),
            intervened: false,
            reading: *reading,
            resolved: false,
        });
        out.push(AlarmEvent {
            reading: WallReading {
                alarmed: true,
                ..*reading
            },
            verdict: None,
            age: Span(0),
        });
    }
}

/// Walls that an ending does not tell apart.
const fn family(wall: WallKind) -> Option<u8> {
    match wall {
        WallKind::Kernel | WallKind::Kubepods => Some(0),
        WallKind::KubeletNode | WallKind::KubeletAllocatable => Some(1),
        WallKind::Pod | WallKind::Container => None,
    }
}
