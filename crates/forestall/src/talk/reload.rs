//! SIGHUP: the file is read again. What is wrong is said, and the old policy stays in force as it is.

use super::Talker;
use crate::agent;
use crate::config::{self, Settings};
use crate::log::Level;

impl Talker {
    /// Reads the file again, and gives back the code that takes.
    pub(super) fn reload(&mut self) {
        let needed = self.setup.ground.resident_code();
        self.read_again();
        self.setup.ground.give_back_code(needed.as_ref());
    }

    /// What is wrong is said, and the old policy stays.
    fn read_again(&mut self) {
        if self.setup.args.config.is_none() {
            self.setup.logger.say(
                Level::Warn,
                "reload",
                "there is no configuration file to read again; the policy stays",
            );
            return;
        }
        let fresh = match config::load(&self.setup.args) {
            Ok(fresh) => fresh,
            Err(error) => {
                let message = format!("the new configuration is wrong and the old one stays: {error}");
                self.setup.logger.say(Level::Error, "reload", &message);
                return;
            }
        };
        // It can be ended at any time; it is begun at a start.
        let ends_tracing = self.setup.settings.ledger.tracing && !fresh.ledger.tracing;
        let mut ledger = fresh.ledger;
        ledger.tracing |= ends_tracing;
        let old = &self.setup.settings;
        for (name, changed) in [
            ("listen", fresh.listen != old.listen),
            ("root", fresh.root != old.root),
            ("require", fresh.require != old.require),
            ("forceEmpty", fresh.force_empty != old.force_empty),
            ("kubeletConfig", fresh.kubelet != old.kubelet),
            ("recorder", fresh.recorder != old.recorder),
            ("ledger", ledger != old.ledger),
        ] {
            if changed {
                self.setup.logger.say(
                    Level::Warn,
                    "reload",
                    &format!("a new value of {name} holds from the next start on"),
                );
            }
        }
        if let Some(refusal) = agent::refuse_beside(&fresh) {
            self.setup.logger.say(
                Level::Error,
                "reload",
                &format!("the old configuration stays: {refusal}"),
            );
            return;
        }
        if let Some(refusal) = self.refuse_senseless(&fresh) {
            self.setup.logger.say(Level::Error, "reload", &refusal);
            return;
        }
        if !self.follow(&fresh.policy) {
            self.setup.logger.say(
                Level::Error,
                "reload",
                "the guard has not taken the changes before this one; the policy stays",
            );
            return;
        }
        let followed = self
            .setup
            .logger
            .notifications()
            .map_or(Ok(()), |others| others.follow(&fresh.notify));
        if let Err(error) = followed {
            let message = format!("nobody is notified: the thread cannot be started: {error}");
            self.setup.logger.say(Level::Error, "reload", &message);
        }
        if ends_tracing {
            // Whoever does not enforce changes nothing on the machine, and leaves nothing on it.
            self.setup.board.kills.untrace();
            self.setup.settings.ledger.tracing = false;
            self.setup.logger.say(
                Level::Info,
                "ledger",
                "the kernel's tracing is not used any more, and its instance is removed",
            );
        }
        self.setup.settings = Settings {
            policy: fresh.policy,
            beside: fresh.beside,
            notify: fresh.notify,
            ..self.setup.settings.clone()
        };
        self.setup
            .logger
            .say(Level::Info, "reload", "the configuration was read again");
    }

    /// Why a policy makes no sense on this machine, if so.
    fn refuse_senseless(&mut self, fresh: &Settings) -> Option<String> {
        self.setup.board.read_snapshot(&mut self.seen);
        // Before the first look its size is not known, and the start has checked the policy it began with.
        self.seen.at?;
        let checked = config::checked::check_against(&fresh.policy, self.seen.node.total);
        checked
            .err()
            .map(|wrong| format!("the new configuration is wrong and the old one stays: {wrong}"))
    }
}
