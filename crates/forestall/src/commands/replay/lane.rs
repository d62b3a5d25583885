//! One policy on its way through a trace: its engine, what it has decided, and how far the recording still holds for it.

use std::collections::BTreeSet;

use forestall_decide::{
    Action, ActionId, AlarmEvent, Ending, Engine, GroupId, Input, Mode, Moment, Outcome, PassedOver, Policy,
    Rung, Sample, Span, Target, WallKind,
};
use forestall_trace::Begin;

use super::Asked;
use super::foretold::Watch;
use super::undone::{AllUndone, Passed};

/// The same action decided again within this time is one decision: in shadow nothing it would have changed has changed.
pub(super) const REPEAT: Span = Span::secs(120);

/// What was decided once.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) at: Moment,
    pub(super) unix_micros: u64,
    pub(super) rung: Rung,
    pub(super) target: Target,
    pub(super) wall: WallKind,
    pub(super) scope: Option<GroupId>,
    pub(super) rule: &'static str,
    /// It rests on figures that this policy would have seen as well.
    pub(super) sound: bool,
    /// Who was passed over at its wall, where it ends somebody.
    pub(super) passed: Passed,
    /// How many times it was decided, and when the last time was.
    pub(super) times: u64,
    pub(super) last: Moment,
}

/// Whether the engine had an alarm up for a kill of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Score {
    /// The first one that answers for it was raised so long before it was seen.
    Foretold(Span),
    Missed,
    /// At which wall it was cannot be known, so that no alarm is scored by it.
    Unplaced,
}

impl Score {
    /// By the endings at the kernel's walls that one look tells of: one that was missed makes it a miss.
    fn of(endings: &[Ending]) -> Self {
        let leads: Option<Vec<Span>> = endings.iter().map(|ending| ending.foretold).collect();
        match leads.map(|leads| leads.into_iter().max()) {
            Some(Some(lead)) => Self::Foretold(lead),
            Some(None) => Self::Unplaced,
            None => Self::Missed,
        }
    }
}

/// A policy and its engine.
pub(super) struct Lane {
    /// `None`: whichever was recorded.
    fixed: Option<Asked>,
    engine: Box<Engine>,
    pub(super) decided: Vec<Decided>,
    /// Alarms that were raised: whether they are sound.
    pub(super) alarms: Vec<bool>,
    /// Of every kill of the kernel, in order.
    pub(super) scores: Vec<Score>,
    /// At the kernel's walls, as this look and the one before tell of them: a cgroup may tell of a kill one look before the
    /// machine does.
    endings: [Vec<Ending>; 2],
    pub(super) refusals: u64,
    /// Where something was due and nobody was ended.
    pub(super) undone: AllUndone,
    /// Orders whose end is not known yet.
    open: Vec<(ActionId, Rung, Target)>,
    /// Whose figures the recording no longer tells truly for this policy; the machine apart.
    touched: BTreeSet<GroupId>,
    touched_machine: bool,
    pub(super) diverged: Option<(Moment, u64)>,
    /// What it ordered at the last sample.
    pub(super) orders: Vec<(Rung, Target)>,
    /// What its shadow kubelet says.
    pub(super) watch: Watch,
}

impl Lane {
    pub(super) fn new(fixed: Option<Asked>) -> Self {
        Self {
            engine: Box::new(Engine::new(
                fixed.as_ref().map_or_else(Policy::default, |fixed| fixed.policy),
            )),
            fixed,
            decided: Vec::new(),
            alarms: Vec::new(),
            scores: Vec::new(),
            endings: [const { Vec::new() }; 2],
            refusals: 0,
            undone: AllUndone::default(),
            open: Vec::new(),
            touched: BTreeSet::new(),
            touched_machine: false,
            diverged: None,
            orders: Vec::new(),
            watch: Watch::default(),
        }
    }

    pub(super) const fn is_recorded(&self) -> bool {
        self.fixed.is_none()
    }

    /// The policy that runs: the one that was asked for in the recording's mode, on the recording's machine. In `observe` nothing
    /// is claimed at all, so that another policy says there what it would have done in shadow.
    fn policy(&self, recorded: &Policy) -> Policy {
        match &self.fixed {
            None => *recorded,
            Some(fixed) => Policy {
                mode: recorded.mode.max(Mode::Shadow),
                fill_rate: recorded.fill_rate,
                ..fixed.policy
            },
        }
    }

    /// A fresh engine, as an agent that was started here would have it. The world is as it was recorded again.
    pub(super) fn begin(&mut self, begin: &Begin<'_>) {
        *self.engine = Engine::new(self.policy(begin.policy));
        self.open.clear();
        self.touched.clear();
        self.touched_machine = false;
        self.endings.iter_mut().for_each(Vec::clear);
        self.watch.begin();
    }

    pub(super) fn step(&mut self, at: Moment, input: Input<'_>) {
        if let Input::Pods(pods) = input {
            self.watch.take_pods(at, pods);
            let asked = self.fixed.as_ref();
            if let Some(preferences) = asked.and_then(|fixed| fixed.preferences.as_deref()) {
                let mut weighed = pods.clone();
                weighed.weigh(preferences);
                self.engine.step(at, Input::Pods(&weighed));
                return;
            }
        }
        self.engine.step(at, input);
    }

    pub(super) fn take_policy(&mut self, at: Moment, recorded: &Policy) {
        let policy = self.policy(recorded);
        if policy != *self.engine.policy() {
            self.engine.step(at, Input::Policy(&policy));
        }
    }

    pub(super) fn take_sample(&mut self, at: Moment, unix_micros: u64, sample: &Sample) {
        self.orders.clear();
        let decision = self.engine.step(at, Input::Sample(sample));
        self.refusals += decision.refusals.len() as u64;
        self.undone.look(at, unix_micros, &decision);
        if let Some(forecast) = decision.kubelet {
            self.watch.look(at, unix_micros, forecast);
        }
        let (machine, touched) = (self.touched_machine, &self.touched);
        let is_sound = |scope: Option<GroupId>| scope.map_or(!machine, |scope| !touched.contains(&scope));
        for AlarmEvent { reading, verdict, .. } in decision.alarms {
            if verdict.is_none() {
                self.alarms.push(is_sound(reading.scope));
            }
        }
        self.endings.swap(0, 1);
        let [endings, _] = &mut self.endings;
        endings.clear();
        endings.extend(decision.endings.iter().filter(|ending| is_kernels(ending.wall)));
        for action in decision.actions.iter().filter(|action| !action.escalate) {
            self.orders.push((action.rung, action.target));
            if self.open.len() >= 64 {
                self.open.remove(0);
            }
            self.open.push((action.id, action.rung, action.target));
            let of_target = match action.target {
                Target::Group(id) => !touched.contains(&id),
                Target::Process(_) | Target::Node => !machine,
            };
            let sound = of_target && is_sound(action.evidence.reading.scope);
            note(
                &mut self.decided,
                at,
                unix_micros,
                action,
                sound,
                decision.passed_over,
            );
        }
    }

    /// The kernel has killed, as the sample that was just taken tells.
    pub(super) fn score_kill(&mut self) {
        let told = self.endings.iter().find(|endings| !endings.is_empty());
        self.scores.push(Score::of(told.map_or(&[], Vec::as_slice)));
        self.endings.iter_mut().for_each(Vec::clear);
    }

    /// Compares what was ordered with what was done in the recording.
    pub(super) fn follow(&mut self, at: Moment, unix_micros: u64, done: &[(Rung, Target)], sample: &Sample) {
        let only_here = self.orders.iter().filter(|order| !done.contains(order));
        let only_there = done.iter().filter(|order| !self.orders.contains(order));
        let differ: Vec<(Rung, Target)> = only_here.chain(only_there).copied().collect();
        for (rung, target) in differ {
            self.diverged.get_or_insert((at, unix_micros));
            let Target::Group(id) = target else {
                self.touched_machine |= rung.ends_somebody();
                continue;
            };
            self.touched.insert(id);
            // A reclaim moves some pages of its own cgroup; what ends a process moves every wall above it.
            if rung.ends_somebody() {
                self.touched_machine = true;
                let mut above = sample.groups.iter().find(|group| group.id == id);
                while let Some(parent) = above.and_then(|group| group.parent) {
                    above = sample.groups.get(parent as usize);
                    // A parent stands before its children; anything else would go round in a circle.
                    above = above.filter(|group| group.parent.is_none_or(|next| next < parent));
                    if let Some(group) = above {
                        self.touched.insert(group.id);
                    }
                }
            }
        }
    }

    /// The order that an outcome of the recording belongs to.
    pub(super) fn order_of(&self, action: ActionId) -> Option<(Rung, Target)> {
        let found = self.open.iter().find(|(id, _, _)| *id == action);
        found.map(|(_, rung, target)| (*rung, *target))
    }

    /// An outcome of the recording, if this policy has ordered the same; false if it has not.
    pub(super) fn take_outcome(&mut self, at: Moment, outcome: &Outcome, order: (Rung, Target)) -> bool {
        let same = self
            .open
            .iter()
            .find(|(_, rung, target)| (*rung, *target) == order);
        let Some((id, _, _)) = same.copied() else {
            return false;
        };
        if outcome.kind != forestall_decide::OutcomeKind::Progress {
            self.open.retain(|(open, _, _)| *open != id);
        }
        let own = Outcome {
            action: id,
            ..*outcome
        };
        self.engine.step(at, Input::Outcome(&own));
        true
    }

    /// What it does is done in the recording as well.
    pub(super) fn acts(&self) -> bool {
        self.engine.policy().mode == Mode::Enforce
    }

    pub(super) const fn engine_policy(&self) -> &Policy {
        self.engine.policy()
    }
}

const fn is_kernels(wall: WallKind) -> bool {
    !matches!(wall, WallKind::KubeletNode | WallKind::KubeletAllocatable)
}

fn note(
    decided: &mut Vec<Decided>,
    at: Moment,
    unix_micros: u64,
    action: &Action,
    sound: bool,
    passed_over: &[PassedOver],
) {
    let again = decided
        .iter_mut()
        .rev()
        .find(|known| (known.rung, known.target) == (action.rung, action.target));
    if let Some(known) = again
        && at.since(known.last) <= REPEAT
    {
        known.times += 1;
        known.last = at;
        return;
    }
    decided.push(Decided {
        at,
        unix_micros,
        rung: action.rung,
        target: action.target,
        wall: action.evidence.reading.wall,
        scope: action.evidence.reading.scope,
        rule: action.evidence.rule,
        sound,
        passed: if action.rung.ends_somebody() {
            Passed::at(passed_over, &action.evidence.reading)
        } else {
            Passed::default()
        },
        times: 1,
        last: at,
    });
}
