//! The guard thread: wait, look, decide, hand over. Synchronous; a steady round allocates nothing and waits for nothing
//! but poll(2).
//!
//! What it refuses to do: act (orders go to the act threads), speak (events go to the talk thread), or wait for either.

use std::os::unix::ffi::OsStrExt;

use forestall_act::{ActorHandle, Rejected};
use forestall_decide::{
    Action, Bytes, Engine, GroupId, GroupKind, Input, Mode, Moment, Outcome, OutcomeKind, Policy, Preset,
    Rung, Span, next_glance,
};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::Hearing;
use forestall_sense::Sensor;
use forestall_trace::tap::Tap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::calm::{calm_distance, has_limits_outside_kubepods, is_far_from_walls, suspects_host};
use super::clock::now;
use super::place::{SensorNames, act_version, place_order};
use super::shared::{Command, Commands, Name, Post, Tick, Trouble};
use super::trigger::Triggers;

/// Descriptors polled beside the triggers: commands, reports, and what the kernel tells of cgroups.
const OWN_FDS: usize = 3;
/// More triggers than this are never armed: the machine's and those of the nodes named `kubepods`.
const TRIGGERS_MAX: usize = 6;

/// Orders of one decision for which there is room from the start: twice what the engine follows at once. A larger decision has
/// grown the engine's own lists just as well.
const LOST_USUAL: usize = 64;

/// What the guard needs to run, all of it opened before.
pub(crate) struct GuardSetup {
    /// Reads the machine.
    pub(crate) sensor: Sensor,
    /// Acts in `enforce`.
    pub(crate) actor: ActorHandle,
    /// Wake it early.
    pub(crate) triggers: Triggers,
    /// Keeps what the engine is told.
    pub(crate) tap: Option<Tap>,
    /// Tells the talk thread.
    pub(crate) post: Post,
    /// What the talk thread wants.
    pub(crate) commands: Commands,
    /// The policy to begin with, already cut down to the rights there are.
    pub(crate) policy: Policy,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WokenBy {
    /// Nobody; what the kernel tells is heard again.
    Nothing,
    /// The time asked for has come, or a signal.
    Time,
    /// A command or a report is there, or a trigger is gone.
    Call,
    /// The kernel has told something of cgroups.
    Word,
    /// A trigger has fired.
    Stall,
}

/// Runs until told to stop.
pub(crate) fn run(setup: GuardSetup) {
    let mut guard = Guard::new(setup);
    while guard.round() {}
}

struct Guard {
    engine: Engine,
    sensor: Sensor,
    actor: ActorHandle,
    triggers: Triggers,
    tap: Option<Tap>,
    post: Post,
    commands: Commands,
    wake_at: Moment,
    /// What the kernel tells of cgroups is not heard before: where many come and go, they are looked at no more often than where
    /// one has a limit.
    listen_at: Moment,
    /// Outcomes of orders that could not be handed over. Empty between two looks; kept for its room.
    lost: Vec<Outcome>,
    /// What was left of the machine's own wall when the engine was asked last; `None` where it has to be asked each time.
    calm: Option<Bytes>,
    /// How many cgroups were followed when the pods' own was looked for.
    followed: usize,
    /// The pods' own cgroup that was handed over.
    kubepods: Option<GroupId>,
}

impl Guard {
    fn new(setup: GuardSetup) -> Self {
        let mut guard = Self {
            engine: Engine::new(setup.policy),
            sensor: setup.sensor,
            actor: setup.actor,
            triggers: setup.triggers,
            tap: setup.tap,
            post: setup.post,
            commands: setup.commands,
            wake_at: now(),
            listen_at: now(),
            lost: Vec::with_capacity(LOST_USUAL),
            calm: None,
            followed: 0,
            kubepods: None,
        };
        guard.post.policy(now(), &setup.policy);
        guard
    }

    /// One round; false at the end.
    fn round(&mut self) -> bool {
        let woken_by = self.wait();
        let now = now();
        // Only what came after the time asked for is lateness; a trigger or a report comes early.
        let late = now.since(self.wake_at);
        match woken_by {
            WokenBy::Nothing => return true,
            WokenBy::Word => {
                self.listen_at = now + self.engine.policy().tick_calm;
                if !self.sensor.hear() {
                    return true;
                }
                self.recall();
            }
            WokenBy::Time => {
                if self.glance(now, late) {
                    return true;
                }
                self.recall();
            }
            WokenBy::Call | WokenBy::Stall => {
                // The engine is told in order of time.
                self.recall();
                if !self.take_commands(now) {
                    return false;
                }
                self.take_reports(now);
            }
        }
        if woken_by == WokenBy::Stall {
            // Somebody waits for memory: whatever rested is read now.
            self.sensor.set_rest(false);
        }
        self.look(now, late);
        true
    }

    /// Waits for the time, a trigger, a report or a command, and where it may be heard again for what the kernel tells.
    fn wait(&mut self) -> WokenBy {
        let begun = now();
        let ear = self.sensor.ear();
        let may_listen = begun >= self.listen_at;
        let until = if ear.is_some() && !may_listen {
            self.wake_at.min(self.listen_at)
        } else {
            self.wake_at
        };
        let left = until.since(begun);
        let timeout = Timespec {
            tv_sec: i64::try_from(left.0 / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left.0 % 1_000_000 * 1000).unwrap_or(0),
        };
        let mut answers = [PollFlags::empty(); TRIGGERS_MAX];
        let (is_called, is_told);
        {
            let commands = self.commands.fd();
            let reports = self.actor.reported();
            let spare = PollFd::from_borrowed_fd(commands, PollFlags::empty());
            let ear = ear.filter(|_| may_listen);
            let own = [
                ear.map_or_else(
                    || spare.clone(),
                    |ear| PollFd::from_borrowed_fd(ear, PollFlags::IN),
                ),
                PollFd::from_borrowed_fd(commands, PollFlags::IN),
                PollFd::from_borrowed_fd(reports, PollFlags::IN),
            ];
            let mut fds: [PollFd<'_>; OWN_FDS + TRIGGERS_MAX] = std::array::from_fn(|_| spare.clone());
            let mut count = OWN_FDS;
            for (slot, fd) in fds.iter_mut().zip(own) {
                *slot = fd;
            }
            for (slot, fd) in fds.iter_mut().skip(OWN_FDS).zip(self.triggers.poll_fds()) {
                *slot = fd;
                count += 1;
            }
            let polled = fds.get_mut(..count).unwrap_or_default();
            // An interrupted or failed wait is a short one: the look that follows asks for the next.
            let _ = poll(polled, Some(&timeout));
            for (answer, fd) in answers.iter_mut().zip(polled.iter().skip(OWN_FDS)) {
                *answer = fd.revents();
            }
            let mut is_there = polled.iter().map(|fd| !fd.revents().is_empty());
            is_told = is_there.next().unwrap_or(false) && ear.is_some();
            is_called = is_there.any(|is_there| is_there);
        }
        if self.triggers.take_answers(&answers) {
            WokenBy::Stall
        } else if is_called {
            WokenBy::Call
        } else if is_told {
            WokenBy::Word
        } else if until < self.wake_at && now() < self.wake_at {
            WokenBy::Nothing
        } else {
            WokenBy::Time
        }
    }

    /// Looks at the machine's memory alone; false where that is not enough.
    fn glance(&mut self, at: Moment, late: Span) -> bool {
        let Some(distance) = self.calm else { return false };
        let Some(glance) = self.sensor.glance(at, late) else {
            return false;
        };
        let distance = distance - glance.taken;
        let wake_in = next_glance(distance, self.engine.policy());
        let took = now().since(at);
        self.post.glance(at, took, wake_in, glance.node, distance);
        self.wake_at = at + wake_in;
        true
    }

    fn take_commands(&mut self, now: Moment) -> bool {
        while let Some(command) = self.commands.take() {
            match command {
                Command::Stop => return false,
                Command::Look => {
                    self.sensor.set_rest(false);
                    self.post.show_next();
                }
                Command::Policy(policy) => {
                    if self.engine.policy().mode == Mode::Enforce && policy.mode != Mode::Enforce {
                        self.actor.call_off();
                    }
                    self.engine.step(now, Input::Policy(&policy));
                    if let Some(tap) = &mut self.tap {
                        tap.policy(now, &policy);
                    }
                    self.post.policy(now, &policy);
                }
                Command::Kubelet(config) => {
                    self.engine.step(now, Input::KubeletConfig(&config));
                    if let Some(tap) = &mut self.tap {
                        tap.kubelet(now, &config);
                    }
                }
                Command::Pods(pods) => {
                    self.engine.step(now, Input::Pods(&pods));
                    if let Some(tap) = &mut self.tap {
                        tap.pods(now, &pods);
                    }
                }
            }
        }
        true
    }

    fn take_reports(&mut self, now: Moment) {
        while let Some(report) = self.actor.take_report() {
            self.take_outcome(now, &report.outcome);
            self.post.outcome(now, &report.outcome, report.note);
        }
    }

    /// Answers for the orders of the last decision that could not be handed over. They were told with it.
    fn answer_lost(&mut self, at: Moment) {
        let mut lost = std::mem::take(&mut self.lost);
        for outcome in &lost {
            self.take_outcome(at, outcome);
        }
        lost.clear();
        self.lost = lost;
    }

    fn take_outcome(&mut self, now: Moment, outcome: &Outcome) {
        let decision = self.engine.step(now, Input::Outcome(outcome));
        self.post.ignored(now, &decision, &SensorNames(&self.sensor));
        if let Some(tap) = &mut self.tap {
            tap.outcome(now, outcome);
        }
    }

    /// Tells the engine of the glances since it was asked last.
    fn recall(&mut self) {
        while let Some(at) = self.sensor.recall() {
            self.decide(at);
        }
    }

    fn look(&mut self, at: Moment, late: Span) {
        let failures = self.sensor.failures();
        self.sensor.sample(at, late);
        self.decide(at);
        self.tell_kubepods();
        if self.sensor.failures() > failures
            && let Some(error) = self.sensor.take_failure()
        {
            self.tell(at, "read", &error);
        }
        match self.sensor.take_hearing() {
            Some(Hearing::Lost(error)) => self.tell(at, Trouble::WATCH, &error),
            Some(Hearing::Back) => self.post.mended(at, Trouble::WATCH),
            None => {}
        }
    }

    /// Hands over where the pods live: there it shows what may be done to them. Looked for where cgroups have come or gone.
    fn tell_kubepods(&mut self) {
        let roster = self.sensor.roster();
        let followed = roster.len();
        if followed == self.followed {
            return;
        }
        let groups = &self.sensor.last().groups;
        let kubepods = groups.iter().find(|group| group.kind == GroupKind::Kubepods);
        if let Some(member) = kubepods.and_then(|group| roster.find(group.id))
            && self.kubepods != Some(member.id)
        {
            if !self.post.kubepods((member.handle, act_version(member.version))) {
                return;
            }
            self.kubepods = Some(member.id);
        }
        self.followed = followed;
    }

    fn tell(&mut self, at: Moment, what: &'static str, error: &KernelError) {
        let errno = error.errno().map_or(0, Errno::raw_os_error);
        let path = Name::new(error.path().as_os_str().as_bytes());
        self.post.trouble(at, Trouble { what, errno }, path);
    }

    /// Has the engine judge the last sample, which was taken `at` this time, and hands over what it says.
    fn decide(&mut self, at: Moment) {
        let sample = self.sensor.last();
        let policy = *self.engine.policy();
        let decision = self.engine.step(at, Input::Sample(sample));
        // Orders first: everything else can wait for them.
        if policy.mode == Mode::Shadow {
            rehearse(decision.actions, &self.actor, &self.sensor);
        } else if policy.mode == Mode::Enforce {
            hand_over(decision.actions, &mut self.lost, |action| {
                place_order(action, &self.sensor).map(|order| self.actor.submit(order))
            });
        }
        let wake_in = decision.wake_in;
        let attention = suspects_host(&decision);
        // The other presets are rules of others, who read everything each time.
        let limited = has_limits_outside_kubepods(sample) || self.sensor.is_deaf();
        let rest = policy.preset == Preset::Forestall && is_far_from_walls(&decision) && !limited;
        let wake_in = if limited {
            wake_in.min(policy.tick_calm)
        } else {
            wake_in
        };
        let calm = if rest {
            calm_distance(&decision, &policy)
        } else {
            None
        };
        let tick = Tick {
            now: at,
            took: now().since(at),
            followed: self.sensor.roster().len(),
            left_out: self.sensor.roster().left_out(),
            lost: &self.lost,
        };
        self.post
            .publish(&tick, sample, &decision, &SensorNames(&self.sensor));
        if let Some(tap) = &mut self.tap {
            tap.sample(at, sample, &SensorNames(&self.sensor));
        }
        self.answer_lost(at);
        self.sensor.set_attention(attention);
        self.sensor.set_rest(rest);
        self.calm = calm;
        self.wake_at = at + wake_in;
        self.listen_at = at + policy.tick_calm;
    }
}

/// In shadow, what the API server would say to an eviction is asked for all the same. Nobody waits for it, and where it cannot be asked
/// nothing is missed.
fn rehearse(actions: &[Action], actor: &ActorHandle, sensor: &Sensor) {
    for action in actions.iter().filter(|action| action.rung == Rung::Evict) {
        if let Some(order) = place_order(action, sensor) {
            let _ = actor.rehearse(order);
        }
    }
}

/// Hands every order over; of those that cannot be, `lost` takes the outcome.
fn hand_over(
    actions: &[Action],
    lost: &mut Vec<Outcome>,
    mut submit: impl FnMut(&Action) -> Option<Result<(), Rejected>>,
) {
    for action in actions {
        let kind = match submit(action) {
            Some(Ok(())) => continue,
            Some(Err(why)) => OutcomeKind::Failed(errno_of(why).raw_os_error()),
            None => OutcomeKind::Gone,
        };
        lost.push(Outcome {
            action: action.id,
            rung: action.rung,
            kind,
            freed: Bytes::ZERO,
            took: Span(0),
            rest: Span(0),
        });
    }
}

/// The system's own word for why an order was not taken, which is all that an outcome can carry.
const fn errno_of(why: Rejected) -> Errno {
    match why {
        Rejected::Busy => Errno::AGAIN,
        Rejected::Stopped => Errno::PIPE,
        Rejected::NoHand => Errno::OPNOTSUPP,
    }
}

#[cfg(test)]
pub(super) mod tests;
