//! Alarms: raised as soon as both keys hold, resolved with a verdict, never silently dropped.
//!
//! An alarm is a claim: this wall will be reached before the runway's slow bound. That horizon is fixed when the alarm is raised
//! and never moved, and until its end the alarm answers for its wall, however often that is reached. What came by its end is told
//! by a later look, and a verdict waits for that one. An alarm that was acted upon is `Intervened` and never counted as right;
//! somebody who ended without an alarm is a miss. What it refuses to do: repeat a claim that has failed, unless the wall has come
//! nearer since or was calm in between.

use crate::decision::{AlarmEvent, AlarmVerdict, Confidence, Ending, Runway, WallKind, WallReading};
use crate::history::Wall;
use crate::input::GroupId;
use crate::kubelet::LOOK;
use crate::oom::REPORT_TAKES;
use crate::rule::{Rule, holds};
use crate::units::{Bytes, BytesPerSecond, Limit, Moment, Span};
use crate::victim::FRESH;
use crate::wall::signal_of;

/// A wall further away than this in median time raises no alarm.
const LEAD_MAX: Span = Span::secs(60);
/// Nor does one whose slow bound is further away than this: growth in steps has a median that swings with the last step.
const HORIZON_MAX: Span = Span::secs(120);
/// A verdict takes at least this long, so that a short runway's alarm is not judged by one breath. A wall that is as near as this
/// needs no slow bound.
const HORIZON_MIN: Span = Span::secs(10);
/// News of an eviction may take so long: what Kubernetes tells is no older.
const NEWS_TAKE: Span = FRESH;

#[derive(Clone, Copy, Debug)]
struct Alarm {
    wall: WallKind,
    scope: Option<GroupId>,
    raised_at: Moment,
    horizon: Span,
    /// What was left when it was raised.
    distance: Bytes,
    /// When an action of ours was last under way that helps here.
    acted_at: Option<Moment>,
    /// Somebody ended at another wall that shares this one's memory, or nobody can say at which, or whom the kubelet evicts; whether this one would have
    /// been reached is not known.
    relieved: bool,
    /// It rests on a threshold that is met, and on nothing but that.
    by_rule: bool,
    /// Since when none has been.
    cleared_at: Option<Moment>,
    /// As its wall was seen last.
    reading: WallReading,
    /// When it was last seen to be no further away than the next look.
    stood_at: Option<Moment>,
    /// Once there is one, the alarm is down, and answers for its wall until its horizon has passed.
    verdict: Option<AlarmVerdict>,
}

/// When is looked.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    now: Moment,
    /// The look before; this one where there was none.
    before: Moment,
}

impl Look {
    fn takes(self) -> Span {
        self.now.since(self.before)
    }

    /// The wall is reached before there is another look like this one.
    fn is_last_before(self, reading: &WallReading) -> bool {
        reading.distance == Bytes::ZERO || reading.runway.p50 <= self.takes()
    }
}

impl Alarm {
    fn new(look: Look, reading: &WallReading) -> Self {
        // The kubelet looks every ten seconds, at figures of up to ten seconds ago.
        let notices = if is_kubelets(reading.wall) {
            LOOK.times(2)
        } else {
            Span(0)
        };
        // What grows in steps may have taken its last one at any time since the look before: the wall is so much further away.
        let crossed = met(reading).unwrap_or((reading.runway.p90 + look.takes()).min(HORIZON_MAX));
        Self {
            wall: reading.wall,
            scope: reading.scope,
            raised_at: look.now,
            horizon: crossed.max(HORIZON_MIN) + notices,
            distance: reading.distance,
            acted_at: None,
            relieved: false,
            by_rule: met(reading).is_some(),
            cleared_at: None,
            reading: *reading,
            stood_at: None,
            verdict: None,
        }
    }

    fn is_at(&self, reading: &WallReading) -> bool {
        (self.wall, self.scope) == (reading.wall, reading.scope)
    }

    fn is_up(&self) -> bool {
        self.verdict.is_none()
    }

    /// An ending at its wall at this moment was foretold.
    fn speaks(&self, at: Moment) -> bool {
        let in_time = at.since(self.raised_at) <= self.horizon;
        self.is_up() || in_time && self.verdict != Some(AlarmVerdict::False)
    }

    /// An ending at its wall that this look tells of, and that may have come right after the look before, was foretold.
    fn answers(&self, look: Look) -> bool {
        self.speaks(look.before)
    }

    /// All that came within the horizon has been told. A look reads one counter after the other, so that it tells for certain only
    /// of what came by the look before. Where the wall was reached, the kernel writes its report before it counts the kill.
    fn is_over(&self, look: Look, since: Moment) -> bool {
        let stood = self.stood_at.is_some_and(|at| at >= look.before);
        let report = if stood && !is_kubelets(self.wall) {
            REPORT_TAKES
        } else {
            Span(0)
        };
        look.before.since(since) > self.horizon && look.now.since(since) > self.horizon + report
    }

    /// When it began, or something was last done for it.
    fn counts_from(&self) -> Moment {
        self.acted_at.unwrap_or(self.raised_at)
    }

    /// What it rests on is gone: its threshold has not been met, and nothing was done, for as long as news may take.
    fn is_moot(&self, look: Look) -> bool {
        let cleared = self.cleared_at.filter(|_| self.by_rule);
        cleared.is_some_and(|cleared| look.before.since(cleared.max(self.counts_from())) > NEWS_TAKE)
    }

    fn event(&self, now: Moment) -> AlarmEvent {
        AlarmEvent {
            reading: self.reading,
            verdict: self.verdict,
            age: now.since(self.raised_at),
            horizon: self.horizon,
        }
    }

    /// The verdict that is due now.
    fn judge(&self, look: Look, reached: bool) -> Option<AlarmVerdict> {
        let is_over = self.is_over(look, self.counts_from()) || self.is_moot(look);
        match (self.acted_at.is_some(), reached) {
            (false, true) => Some(AlarmVerdict::True),
            (true, true) if !holds(Rule::HonestScore) => Some(AlarmVerdict::True),
            (true, true) => Some(AlarmVerdict::Intervened),
            (true, false) => is_over.then_some(AlarmVerdict::Intervened),
            (false, false) => (is_over && holds(Rule::Horizon)).then_some(self.failed()),
        }
    }

    /// What it was if its wall is never reached.
    fn failed(&self) -> AlarmVerdict {
        if self.acted_at.is_some() || self.relieved {
            AlarmVerdict::Intervened
        } else {
            AlarmVerdict::False
        }
    }
}

/// Both keys: near by the median and not out of sight by the slow bound, and growth that two windows agree on. Where the
/// kubelet's threshold is met, its rule is certain and needs no growth: it acts by the end of the grace period, which is near, or may
/// be over.
fn is_near(reading: &WallReading) -> bool {
    let runway = reading.runway;
    let in_sight = runway.p90 <= HORIZON_MAX || runway.p50 <= HORIZON_MIN;
    let scarce = runway.p50 <= LEAD_MAX && in_sight;
    let is_met = met(reading).is_some_and(|left| left <= LEAD_MAX || may_act_now(reading));
    scarce && reading.confidence == Confidence::High || is_met
}

const fn is_kubelets(wall: WallKind) -> bool {
    signal_of(wall).is_some()
}

/// Where a threshold of the kubelet's is met, and nothing but time is needed: how much of it at the most, what is left of a grace
/// period. Where growth may meet another threshold before that, the bounds differ.
fn met(reading: &WallReading) -> Option<Span> {
    let Runway { p50, p90, .. } = reading.runway;
    let is_met = is_kubelets(reading.wall) && reading.distance == Bytes::ZERO;
    (is_met && p50 == p90 || may_act_now(reading)).then_some(p90)
}

/// One of the kubelet's thresholds is met, and its grace period is over or, where nobody saw it begin, may be.
pub(crate) fn may_act_now(reading: &WallReading) -> bool {
    is_kubelets(reading.wall) && reading.distance == Bytes::ZERO && reading.runway.p10 == Span(0)
}

/// Who ended since the sample before.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    /// The walls at which somebody was killed or evicted.
    pub(crate) reached: &'a [Wall],
    /// Somebody else was killed, and nobody can say at which.
    pub(crate) doubt: bool,
    /// Whom the kubelet evicts nobody tells.
    pub(crate) unheard: bool,
    /// New alarms are raised, and who ended without one was missed; those that are up are scored in any case.
    pub(crate) claims: bool,
    /// Takes how each of them is scored.
    pub(crate) endings: &'a mut Vec<Ending>,
}

/// All alarms that are up, or that still answer for their wall, or whose claim has failed and must not be repeated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    list: Vec<Alarm>,
    /// The last one.
    look: Option<Look>,
}

impl Alarms {
    /// The clock went back by so much: nobody's horizon gets longer by that.
    pub(crate) fn set_back(&mut self, by: Span) {
        for alarm in &mut self.list {
            alarm.raised_at = alarm.raised_at.before(by);
            alarm.acted_at = alarm.acted_at.map(|at| at.before(by));
            alarm.stood_at = alarm.stood_at.map(|at| at.before(by));
            alarm.cleared_at = alarm.cleared_at.map(|at| at.before(by));
        }
        if let Some(look) = &mut self.look {
            look.now = look.now.before(by);
        }
    }

    /// Raises and resolves; marks the readings that are alarmed. `acted`: whether an action of ours is under way within a scope.
    pub(crate) fn update(
        &mut self,
        now: Moment,
        ended: Ended<'_>,
        acted: impl Fn(Option<GroupId>) -> bool,
        readings: &mut [WallReading],
        out: &mut Vec<AlarmEvent>,
    ) {
        let Ended {
            reached,
            doubt,
            unheard,
            claims,
            endings,
        } = ended;
        let before = self.look.map_or(now, |look| look.now);
        let look = Look { now, before };
        self.look = Some(look);
        self.score(look, reached, endings);
        if claims {
            note_missed(endings, readings, out);
        }
        let shared = reached.iter().any(|(wall, _)| family(*wall).is_some());
        for reading in readings.iter_mut() {
            let at = self.list.iter().position(|alarm| alarm.is_at(reading));
            if let Some(at) = at
                && let Some(alarm) = self.list.get_mut(at)
            {
                alarm.reading = *reading;
                if look.is_last_before(reading) {
                    alarm.stood_at = Some(now);
                }
                alarm.cleared_at = (reading.distance > Bytes::ZERO).then(|| alarm.cleared_at.unwrap_or(now));
                if alarm.is_up() {
                    if acted(alarm.scope) && alarm.acted_at.is_some() {
                        alarm.acted_at = Some(now);
                    }
                    alarm.relieved |=
                        shared && family(alarm.wall).is_some() || doubt || unheard && is_kubelets(alarm.wall);
                    alarm.verdict = alarm.judge(look, reached.contains(&(alarm.wall, alarm.scope)));
                    if !alarm.is_up() {
                        alarm.reading.alarmed = true;
                        out.push(alarm.event(now));
                    }
                }
                reading.alarmed = alarm.is_up();
                let must_not_repeat = alarm.verdict == Some(AlarmVerdict::False)
                    && is_near(reading)
                    && reading.distance >= alarm.distance;
                // One whose time is over answers for what the next look tells of yet, unless there is a claim anew by then.
                let is_kept = alarm.speaks(now) || alarm.answers(look) && !is_near(reading);
                if is_kept && !alarm.is_moot(look) || must_not_repeat {
                    continue;
                }
                self.list.swap_remove(at);
            }
            if claims && is_near(reading) {
                reading.alarmed = true;
                self.raise(look, reading, out);
                if let Some(alarm) = self.list.last_mut() {
                    alarm.acted_at = acted(reading.scope).then_some(now);
                }
            }
        }
        // A wall that is gone (its cgroup was removed) takes its alarm along, and can no longer be reached.
        let is_gone = |alarm: &Alarm| !readings.iter().any(|reading| alarm.is_at(reading));
        for alarm in self
            .list
            .iter_mut()
            .filter(|alarm| is_gone(alarm) && alarm.is_up())
        {
            let reached = reached.contains(&(alarm.wall, alarm.scope));
            alarm.relieved |= shared || doubt;
            alarm.verdict = alarm.judge(look, reached).or(Some(alarm.failed()));
            out.push(alarm.event(now));
        }
        self.list.retain(|alarm| !is_gone(alarm));
    }

    /// Whoever ended at a wall was foretold by the alarm that answers for it, however many others ended there before.
    fn score(&self, look: Look, reached: &[Wall], endings: &mut Vec<Ending>) {
        endings.extend(reached.iter().map(|(wall, scope)| {
            let speaks =
                |alarm: &&Alarm| is_kin((alarm.wall, alarm.scope), (*wall, *scope)) && alarm.answers(look);
            let leads = self.list.iter().filter(speaks);
            let leads = leads.map(|alarm| look.now.since(alarm.raised_at));
            Ending {
                wall: *wall,
                scope: *scope,
                foretold: leads.max(),
            }
        }));
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
        if !self
            .list
            .iter()
            .any(|alarm| alarm.is_at(reading) && alarm.is_up())
        {
            self.list.retain(|alarm| !alarm.is_at(reading));
            let look = self.look.unwrap_or(Look { now, before: now });
            self.raise(look, reading, out);
        }
        let helps = |alarm: &&mut Alarm| covers(alarm.scope) || alarm.is_at(reading);
        for alarm in self.list.iter_mut().filter(helps) {
            alarm.acted_at = Some(now);
        }
    }

    fn raise(&mut self, look: Look, reading: &WallReading, out: &mut Vec<AlarmEvent>) {
        let alarm = Alarm::new(look, reading);
        self.list.push(alarm);
        out.push(AlarmEvent {
            reading: WallReading {
                alarmed: true,
                ..*reading
            },
            ..alarm.event(look.now)
        });
    }
}

/// Whoever ended with no alarm was missed. An ending that stands under several walls is one miss.
fn note_missed(endings: &[Ending], readings: &[WallReading], out: &mut Vec<AlarmEvent>) {
    for (index, ending) in endings.iter().enumerate() {
        let at = (ending.wall, ending.scope);
        let mut before = endings.iter().take(index);
        let told = before.any(|other| is_kin((other.wall, other.scope), at));
        if ending.foretold.is_none() && !told && holds(Rule::Misses) {
            let of_wall = readings
                .iter()
                .find(|reading| (reading.wall, reading.scope) == at);
            out.push(AlarmEvent {
                reading: of_wall.copied().unwrap_or_else(|| gone(at.0, at.1)),
                verdict: Some(AlarmVerdict::Missed),
                age: Span(0),
                horizon: Span(0),
            });
        }
    }
}

/// A kill of the machine's may be the machine's or `kubepods`' wall, and an eviction either of the kubelet's: an alarm at one of
/// them is enough.
fn is_kin(one: Wall, other: Wall) -> bool {
    match family(one.0) {
        Some(_) => family(one.0) == family(other.0),
        None => one == other,
    }
}

/// A wall whose cgroup is gone: nothing is left of its figures.
const fn gone(wall: WallKind, scope: Option<GroupId>) -> WallReading {
    WallReading {
        wall,
        scope,
        limit: Limit::Max,
        distance: Bytes::ZERO,
        growth: BytesPerSecond(0),
        growth_fast: BytesPerSecond(0),
        runway: Runway::FOREVER,
        stall_some_permille: 0,
        stall_full_permille: 0,
        confidence: Confidence::None,
        culprit: None,
        alarmed: false,
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
