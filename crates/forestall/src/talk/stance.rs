//! Between watching and acting: what the operator asked for, what this machine and its other agents allow, and the guard
//! that is told of it. Everything here may wait, which is why the guard does none of it.

use std::time::Duration;

use forestall_decide::{Mode, Policy, Rung};

use super::Talker;
use crate::agent;
use crate::log::Level;

/// How long an agent that may not act waits before it tries again; spread by its PID, so that of several that wait no two
/// come at the same moment.
pub(super) fn standby_spacing() -> Duration {
    Duration::from_millis(800 + u64::from(std::process::id() % 16) * 10)
}

/// Between two tries of what the first pod may prove. They cost next to nothing as long as there is none.
pub(super) const RIGHTS_SPACING: Duration = Duration::from_secs(2);

impl Talker {
    /// Whether a right may come by itself, or one that came could not be told to the guard.
    pub(super) fn waits_for_rights(&self) -> bool {
        self.is_untold || self.setup.ground.waits_for_a_pod()
    }

    /// The first pod may have shown that a right is there.
    pub(super) fn try_rights_again(&mut self) {
        let kubepods = self.setup.board.kubepods();
        if !self.setup.ground.look_again(kubepods) && !self.is_untold {
            return;
        }
        let (wanted, before) = (self.setup.settings.policy, self.setup.granted.rungs);
        self.is_untold = !self.follow(&wanted);
        if self.is_untold {
            self.setup.granted.rungs = before;
            return;
        }
        let granted = self.setup.granted.rungs;
        for rung in Rung::ALL {
            if wanted.rungs.has(rung) && granted.has(rung) && !before.has(rung) {
                let message = format!(
                    "{} can be used from now on: its right was tried again",
                    rung.label()
                );
                self.setup.logger.say(Level::Info, "rights", &message);
            }
        }
    }

    /// Has the guard follow `wanted` as far as it can be followed here. False where the guard has not taken the policies
    /// before this one.
    pub(super) fn follow(&mut self, wanted: &Policy) -> bool {
        let setup = &mut self.setup;
        let mut policy = *wanted;
        let mut holder = None;
        let mut notes = Vec::new();
        setup.ground.look_again(setup.board.kubepods());
        if wanted.mode == Mode::Enforce {
            match setup.ground.enter() {
                Ok(said) => notes = said,
                Err(by) => (holder, policy.mode) = (Some(by), Mode::Shadow),
            }
        }
        // The rights may be others than at start: they have been tried anew.
        let grants = setup.ground.grants(&setup.granted);
        setup.granted = Policy {
            rungs: grants.rungs,
            ..setup.granted
        };
        let (_, rungs) = setup.ground.cut(wanted);
        if !setup.commander.policy(agent::adapt(&policy, &setup.granted)) {
            if setup.mode != Mode::Enforce {
                setup.ground.leave();
            }
            return false;
        }
        setup.mode = policy.mode;
        setup.logger.set_mode(policy.mode);
        for note in notes {
            setup.logger.say(Level::Warn, "enforce", &note);
        }
        for (rung, why) in &rungs {
            setup
                .logger
                .say(Level::Warn, "degraded", &agent::say_degraded(*rung, why));
        }
        match (setup.holder, holder) {
            (before, Some(by)) if before != Some(by) => {
                setup.logger.say(Level::Warn, "standby", &agent::standby(by));
            }
            (Some(_), None) if policy.mode == Mode::Enforce => {
                let message = "the other forestall agent has ended: this one enforces now";
                setup.logger.say(Level::Warn, "standby", message);
            }
            _ => {}
        }
        setup.holder = holder;
        setup
            .board
            .set_degraded(agent::degraded(&rungs, &setup.ground, holder, setup.unplaced));
        true
    }

    /// The agent that acts may have ended.
    pub(super) fn try_to_take_over(&mut self) {
        if self.setup.ground.is_free() {
            let wanted = self.setup.settings.policy;
            // Where the guard is behind, the next try tells it.
            self.follow(&wanted);
        }
    }

    /// The guard goes on under a policy of this mode: once it does not act any more, another agent may.
    pub(super) fn settle(&mut self, mode: Mode) {
        if mode != Mode::Enforce && self.setup.mode != Mode::Enforce {
            self.setup.ground.leave();
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
