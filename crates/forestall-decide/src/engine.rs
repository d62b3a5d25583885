//! The engine: one input in, one decision out.

use crate::alarm::{Alarms, Ended};
use crate::blame::{name_culprits, stretch_runways};
use crate::decision::{
    Action, AlarmEvent, Decision, Ending, Evidence, Ignored, PassedOver, Refusal, RefusalReason, Target,
    WallKind, WallReading,
};
use crate::effect::{Effects, Times};
use crate::flight::{Flight, Flights};
use crate::foresight::{Foresight, Known};
use crate::history::{History, Wall};
use crate::input::{GroupKind, Input, Outcome, OutcomeKind, Sample};
use crate::kill::is_too_large;
use crate::kubelet::KubeletConfig;
use crate::ladder::{Order, covers};
use crate::oom::Explained;
use crate::pace::next_look;
use crate::pods::{PodUid, Pods};
use crate::policy::{Mode, Policy, Preset};
use crate::preset::judge_preset;
use crate::repeat::{Kill, Repeats};
use crate::rule::{Rule, holds};
use crate::rung::Rung;
use crate::units::{Bytes, Moment, Span};
use crate::victim::Ranked;
use crate::wall::{Lines, read_walls};

/// Decides. Holds all state there is between two inputs; two engines fed alike answer alike.
#[derive(Debug)]
pub struct Engine {
    pub(crate) policy: Policy,
    pub(crate) pods: Pods,
    /// By a clock that has gone back since: news of that moment say nothing of their age, however often they are told.
    pods_doubted: Option<Moment>,
    pub(crate) kubelet: KubeletConfig,
    pub(crate) history: History,
    pub(crate) alarms: Alarms,
    pub(crate) flights: Flights,
    pub(crate) effects: Effects,
    pub(crate) repeats: Repeats,
    foresight: Foresight,
    /// The input was a sample, and it was believed.
    has_looked: bool,
    kernel_kills: Option<u64>,
    /// Kills that their cgroups told of at the last look and the machine did not yet: its counter is read first.
    kills_ahead: Explained,
    kubelet_evictions: u64,
    /// Whom the kubelet evicted lately nobody has told, as of the last sample.
    unheard: bool,
    /// Walls at which somebody ended since the sample before.
    reached: Vec<Wall>,
    /// Somebody else did, and nobody can say at which.
    doubt: bool,
    pub(crate) kernel_killed_at: Option<Moment>,
    pub(crate) last_eased_at: Option<Moment>,
    polled_at: Option<Moment>,
    looked_at: Option<Moment>,
    late: Times,
    /// How long it may take until the guard knows: to wake, and to look. One hiccup is no starvation, and a second one is.
    pub(crate) lateness: Span,
    wake_in: Span,
    pub(crate) readings: Vec<WallReading>,
    pub(crate) alarm_events: Vec<AlarmEvent>,
    endings: Vec<Ending>,
    pub(crate) actions: Vec<Action>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) passed_over: Vec<PassedOver>,
    ignored: Vec<Ignored>,
    pub(crate) ranked: Vec<Ranked>,
    pub(crate) growers: Vec<(Target, Bytes)>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            wake_in: policy.tick_calm,
            policy,
            pods: Pods::default(),
            pods_doubted: None,
            kubelet: KubeletConfig::default(),
            history: History::default(),
            alarms: Alarms::default(),
            flights: Flights::default(),
            effects: Effects::default(),
            repeats: Repeats::default(),
            foresight: Foresight::default(),
            has_looked: false,
            kernel_kills: None,
            kills_ahead: Explained::default(),
            kubelet_evictions: 0,
            unheard: false,
            reached: Vec::new(),
            doubt: false,
            kernel_killed_at: None,
            last_eased_at: None,
            polled_at: None,
            looked_at: None,
            late: Times::default(),
            lateness: Span(0),
            readings: Vec::new(),
            alarm_events: Vec::new(),
            endings: Vec::new(),
            actions: Vec::new(),
            refusals: Vec::new(),
            passed_over: Vec::new(),
            ignored: Vec::new(),
            ranked: Vec::new(),
            growers: Vec::new(),
        }
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes one input and answers. `now` never goes back; where it does, histories restart and nothing is concluded
    /// from the jump.
    pub fn step(&mut self, now: Moment, input: Input<'_>) -> Decision<'_> {
        self.readings.clear();
        self.alarm_events.clear();
        self.endings.clear();
        self.actions.clear();
        self.refusals.clear();
        self.passed_over.clear();
        self.ignored.clear();
        self.has_looked = false;
        match input {
            Input::Sample(sample) => self.take_sample(now, sample),
            Input::Pods(pods) => self.take_pods(pods),
            Input::KubeletConfig(config) => {
                self.kubelet.clone_from(config);
                self.foresight.configure(config);
            }
            Input::Outcome(outcome) => self.take_outcome(now, outcome),
            Input::Policy(policy) => self.take_policy(policy),
        }
        Decision {
            readings: &self.readings,
            alarms: &self.alarm_events,
            endings: &self.endings,
            actions: &self.actions,
            refusals: &self.refusals,
            passed_over: &self.passed_over,
            ignored: &self.ignored,
            kubelet: self.foresight.forecast().filter(|_| self.has_looked),
            wake_in: self.wake_in,
        }
    }

    fn take_pods(&mut self, pods: &Pods) {
        self.pods.clone_from(pods);
        if self.pods_doubted == Some(pods.told_at) {
            self.pods.told_at = Moment(u64::MAX);
        }
        self.pods.list.retain(|pod| pod.uid != PodUid::default());
        let dropped = pods.list.len() - self.pods.list.len();
        if dropped > 0 {
            let count = u32::try_from(dropped).unwrap_or(u32::MAX);
            self.ignored.push(Ignored::PodsWithoutUid(count));
        }
        let repeated = self.drop_repeated().saturating_add(self.pods.settle_claims());
        if repeated > 0 {
            self.ignored.push(Ignored::PodsRepeated(repeated));
        }
        self.foresight.take_pods(&self.pods);
    }

    /// Of pods with the same UID the first is kept. Returns how many were not.
    fn drop_repeated(&mut self) -> u32 {
        let before = self.pods.list.len();
        let in_order = self.pods.list.is_sorted_by_key(|pod| pod.uid);
        if in_order {
            self.pods.list.dedup_by_key(|pod| pod.uid);
        } else {
            let mut seen = std::collections::BTreeSet::new();
            self.pods.list.retain(|pod| seen.insert(pod.uid));
        }
        u32::try_from(before - self.pods.list.len()).unwrap_or(u32::MAX)
    }

    fn take_policy(&mut self, policy: &Policy) {
        if policy.mode != self.policy.mode {
            self.flights.forget_announced();
        }
        self.policy = *policy;
    }

    /// After a jump back of the clock every remembered time lies in the future and would refuse for as long.
    fn forget_times(&mut self) {
        self.flights.forget();
        self.kernel_killed_at = None;
        self.last_eased_at = None;
        self.polled_at = None;
        // How old the news of the pods are is not known any more, so they are not news until the next ones.
        let told_at = core::mem::replace(&mut self.pods.told_at, Moment(u64::MAX));
        if told_at != Moment(u64::MAX) {
            self.pods_doubted = Some(told_at);
        }
    }

    fn take_outcome(&mut self, now: Moment, outcome: &Outcome) {
        /// Clocks are read at both ends of an action; so much they may differ.
        const CLOCKS_DIFFER: Span = Span::secs(1);
        let Some(launched_at) = self.flights.launch_of(outcome) else {
            self.ignored.push(Ignored::UnknownAction(outcome.action));
            return;
        };
        let known_for = now.since(launched_at) + CLOCKS_DIFFER;
        let is_timed = outcome.took <= known_for;
        if !is_timed {
            self.ignored.push(Ignored::TookTooLong(outcome.action));
        }
        let outcome = &Outcome {
            took: if is_timed { outcome.took } else { Span(0) },
            ..*outcome
        };
        if let Some(flight) = self.flights.land(now, outcome, &self.policy) {
            if flight.rung == Rung::Reclaim {
                // The second in which stalls may still be ours begins with its end (rule 3).
                self.last_eased_at = Some(now);
            }
            if self.breaks_growth(&flight, outcome.kind) {
                self.history.restart_growth();
            }
            if outcome.kind == OutcomeKind::Done {
                // The pod's own time is known beforehand and no part of what has to be learnt.
                let overhead = Span(outcome.took.0.saturating_sub(flight.grace.0));
                if is_timed {
                    self.effects.note(flight.rung, overhead);
                }
                if let (Rung::Kill, Some(pod)) = (flight.rung, flight.pod) {
                    self.repeats.note(Kill {
                        at: now,
                        pod,
                        evidence: flight.evidence,
                        freed: outcome.freed,
                    });
                }
            }
        }
        if outcome.kind != OutcomeKind::Progress {
            self.wake_in = self.policy.tick_near;
        }
    }

    /// Growth before this says nothing of growth after it: somebody has ended, or stands still by our doing, or no longer
    /// does. So a brake neither leads to a kill of its target for what it did before, nor, once lifted, to anybody else's for
    /// what others did meanwhile (rule 3).
    fn breaks_growth(&self, flight: &Flight, kind: OutcomeKind) -> bool {
        match (flight.rung, kind) {
            (Rung::Brake, _) if !holds(Rule::BrakedGrowth) => false,
            (Rung::Brake, OutcomeKind::Progress) => true,
            (Rung::Brake, OutcomeKind::Done) => match flight.target {
                Target::Group(id) => self.history.roster.place(id).is_some(),
                Target::Process(_) | Target::Node => false,
            },
            (rung, OutcomeKind::Done) => rung.ends_somebody(),
            _ => false,
        }
    }

    fn take_sample(&mut self, now: Moment, sample: &Sample) {
        if !self.is_believed(now, sample) {
            return;
        }
        self.late.note(sample.node.wake_late + sample.node.sample_cost);
        self.lateness = self.late.p90();
        self.looked_at = Some(now);
        self.reached.clear();
        self.history.align(sample);
        let roster = &self.history.roster;
        if roster.is_odd() {
            self.ignored.extend(roster.repeated().map(Ignored::Repeated));
            self.ignored.extend(roster.misplaced().map(Ignored::Misplaced));
        }
        self.note_kernel_kills(now, sample);
        self.note_kubelet_evictions(now, sample);
        self.history.ends_somebody = self.kernel_killed_at == Some(now)
            || self.flights.is_ending(now)
            || self.flights.has_just_killed(now);
        self.history.push(now, sample, &mut self.ignored);
        if self.kernel_killed_at == Some(now) {
            // The victim's growth is over, whoever it was.
            self.history.restart_growth();
        }
        self.flights.prune(now, &self.policy);
        self.repeats.prune(now);
        let lines = lines(&self.foresight, &self.kubelet, &self.policy, now);
        let mut approach = read_walls(sample, &self.history, lines, &mut self.readings);
        let share = self.culprit_share(now);
        let evicts_within = self.evicts_within(now);
        name_culprits(sample, &self.history, share, evicts_within, &mut self.readings);
        stretch_runways(sample, &self.history, &mut self.readings, &mut approach);
        self.has_looked = true;
        self.foresight.look(
            now,
            Known {
                sample,
                history: &self.history,
                pods: &self.pods,
                readings: &self.readings,
                approach,
                share,
            },
        );
        let flights = &self.flights;
        let acted = |scope| {
            flights
                .in_the_air(now)
                .any(|flight| covers(sample, flight.target, scope))
        };
        self.alarms.update(
            now,
            Ended {
                reached: &self.reached,
                doubt: self.doubt,
                unheard: self.unheard,
                claims: self.policy.mode != Mode::Observe,
                endings: &mut self.endings,
            },
            acted,
            &mut self.readings,
            &mut self.alarm_events,
        );
        let decides = self.policy.mode != Mode::Observe;
        if self.policy.preset == Preset::Forestall || !decides {
            if decides {
                self.climb(now, sample);
            }
            let busy = self.flights.is_ending(now);
            self.wake_in = next_look(&self.readings, &sample.node, &self.policy, busy);
        } else {
            self.wake_in = self.poll_preset(now, sample);
        }
        self.flights.look();
    }

    /// The kubelet's thresholds as far as they are known.
    pub(crate) fn lines(&self, now: Moment) -> Lines<'_> {
        lines(&self.foresight, &self.kubelet, &self.policy, now)
    }

    /// Whether a sample can be concluded from at all; what is odd about it is said.
    fn is_believed(&mut self, now: Moment, sample: &Sample) -> bool {
        if sample.node.total == Bytes::ZERO {
            self.ignored.push(Ignored::NoMachine);
            return false;
        }
        if let Some(figure) = sample.node.impossible() {
            self.ignored.push(Ignored::ImpossibleMachine(figure));
            return false;
        }
        match self.looked_at {
            Some(at) if now == at => {
                self.ignored.push(Ignored::SameMoment);
                return false;
            }
            Some(at) if now < at => {
                let back = at.since(now);
                self.ignored.push(Ignored::ClockBack(back));
                self.forget_times();
                self.alarms.set_back(back);
                self.history.set_back(back);
                self.repeats.set_back(back);
                self.foresight.set_back(back);
            }
            Some(_) | None => {}
        }
        let too_large = sample
            .groups
            .iter()
            .filter(|group| is_too_large(group.current, &sample.node));
        self.ignored
            .extend(too_large.map(|group| Ignored::TooLarge(group.id)));
        let too_large = sample.processes.iter();
        let too_large = too_large.filter(|process| is_too_large(process.unreclaimable, &sample.node));
        self.ignored
            .extend(too_large.map(|process| Ignored::ProcessTooLarge(process.id)));
        true
    }

    /// A kill by the kernel at a wall of ours counts as one of ours: its victim's memory is on its way. One at a container's
    /// or pod's own limit is that pod's affair and says nothing of the rest. Where that is only likely, the alarms are scored by
    /// it, and all else is done as after a kill at a wall of ours.
    fn note_kernel_kills(&mut self, now: Moment, sample: &Sample) {
        let explained = self.history.place_kills(now, sample, &mut self.reached);
        let kills = sample.node.oom_kills;
        if self.kernel_kills.is_some_and(|before| kills < before) {
            self.ignored.push(Ignored::CounterJumped(None));
        }
        let fresh = self.kernel_kills.map_or(0, |before| kills.saturating_sub(before));
        let ahead = core::mem::replace(&mut self.kills_ahead, explained.ahead_of(fresh));
        let explained = explained.plus(ahead);
        if fresh > explained.own {
            self.kernel_killed_at = Some(now);
        }
        let rest = fresh.saturating_sub(explained.all());
        let placed = rest == 0 || self.history.place_rest(now, sample, &mut self.reached);
        let unplaced = explained.unplaced.saturating_add(if placed { 0 } else { rest });
        if unplaced > 0 {
            let count = u32::try_from(unplaced).unwrap_or(u32::MAX);
            self.ignored.push(Ignored::KillUnplaced(count));
        }
        self.doubt = unplaced > 0;
        self.kernel_kills = Some(kills);
    }

    /// Evictions by the kubelet that have become known since the last sample. When those were that are heard of after a while without news, nobody can say, and so nobody
    /// whether they were foretold.
    fn note_kubelet_evictions(&mut self, now: Moment, sample: &Sample) {
        let known = self.pods.kubelet_evictions;
        let was_unheard = core::mem::replace(&mut self.unheard, self.pods.is_old(now));
        if known > self.kubelet_evictions {
            self.foresight.note_eviction(now);
        }
        if known > self.kubelet_evictions && !was_unheard {
            self.reached.push((WallKind::KubeletNode, None));
            let kubepods = sample
                .groups
                .iter()
                .filter(|group| group.kind == GroupKind::Kubepods);
            self.reached
                .extend(kubepods.map(|group| (WallKind::KubeletAllocatable, Some(group.id))));
        }
        self.kubelet_evictions = known;
    }

    /// The share of the growth that makes a culprit: dominant without knowledge of the pods (rule 6); with it the largest
    /// half is enough, since a mistake costs a restart and no more.
    fn culprit_share(&self, now: Moment) -> u64 {
        const KNOWN_PERMILLE: u64 = 500;
        let dominant = self.policy.culprit_share_permille;
        if self.pods.is_fresh(now) || !holds(Rule::Modesty) {
            dominant.min(KNOWN_PERMILLE)
        } else {
            dominant
        }
    }

    /// A preset looks at even intervals and at nothing in between: a trigger or a report that wakes the guard early is no
    /// look of its own. Returns the time to its next one.
    fn poll_preset(&mut self, now: Moment, sample: &Sample) -> Span {
        let interval = self.policy.tick_calm;
        // A timer may fire a little early; a tenth of the interval is no look of its own either.
        let early = Span(interval.0 / 10);
        let passed = self.polled_at.map_or(interval, |at| now.since(at));
        if passed + early < interval {
            return Span(interval.0.saturating_sub(passed.0));
        }
        self.polled_at = Some(now);
        self.follow_preset(now, sample);
        interval
    }

    fn follow_preset(&mut self, now: Moment, sample: &Sample) {
        let Some(wish) = judge_preset(sample, &self.pods, &self.policy) else {
            return;
        };
        let Some(reading) = self.readings.first().copied() else {
            return;
        };
        let evidence = Evidence {
            reading,
            time_to_effect: Span(0),
            rule: wish.rule,
        };
        let allowed = self.policy.rungs.has(wish.rung);
        if !allowed {
            return self.refuse(RefusalReason::RungOff, evidence);
        }
        if self.flights.is_ending(now) {
            return self.refuse(RefusalReason::Waiting, evidence);
        }
        match wish.target {
            None => self.refuse(RefusalReason::NothingToKill, evidence),
            Some(target) => {
                let order = Order {
                    rung: wish.rung,
                    target,
                    bytes: Bytes::ZERO,
                    grace: self.policy.term_grace,
                };
                self.order(now, sample, order, evidence);
            }
        }
    }
}

fn lines<'a>(foresight: &'a Foresight, kubelet: &KubeletConfig, policy: &Policy, now: Moment) -> Lines<'a> {
    Lines {
        told: foresight.shadow().filter(|_| kubelet.is_known()),
        assumed: policy.kubelet_eviction_hard,
        now,
    }
}
