//! SIGHUP: the file is read again. What is wrong is said, and the old policy stays in force as it is.

use super::Talker;
use crate::agent;
use crate::config::{self, Settings};
use crate::log::Level;

impl Talker {
    /// Reads the file again. What is wrong is said, and the old policy stays.
    pub(super) fn reload(&mut self) {
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
        let old = &self.setup.settings;
        for (name, changed) in [
            ("listen", fresh.listen != old.listen),
            ("root", fresh.root != old.root),
            ("require", fresh.require != old.require),
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
        if !self
            .setup
            .commander
            .policy(agent::adapt(&fresh.policy, &self.setup.granted))
        {
            self.setup.logger.say(
                Level::Error,
                "reload",
                "the guard has not taken the changes before this one; the policy stays",
            );
            return;
        }
        self.setup.logger.set_mode(fresh.policy.mode);
        self.setup.settings = Settings {
            policy: fresh.policy,
            beside: fresh.beside,
            ..old.clone()
        };
        self.setup
            .logger
            .say(Level::Info, "reload", "the configuration was read again");
    }
}
