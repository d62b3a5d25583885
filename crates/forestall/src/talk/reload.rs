//! The configuration is read again: on SIGHUP, and where the file has changed, as a ConfigMap's does. What is wrong, or gone, is said, and the old
//! policy stays in force as it is; until a good one was read that is a state, which `/readyz` and the metrics have.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::Talker;
use crate::agent;
use crate::config::{self, Settings};
use crate::log::Level;

/// Between two looks whether the file has changed; one is one system call.
pub(super) const FILE_SPACING: Duration = Duration::from_secs(10);

/// What tells a file from the one that was there before: the kubelet puts a new one in its place, an editor may write into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMark {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

impl FileMark {
    /// Of the file that the path leads to; `None` while there is none.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            changed_at: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl Talker {
    /// The file that the configuration is read from, as it is now.
    pub(super) fn mark_file(&self) -> Option<FileMark> {
        FileMark::of(self.setup.args.config.as_deref()?)
    }

    /// Reads the file again where it is another one, or was there and is not any more.
    pub(super) fn reload_if_changed(&mut self) {
        if self.mark_file() != self.setup.file {
            self.reload();
        }
    }

    /// Keeps what the agent was started with, for a start that finds another one which is wrong.
    pub(super) fn keep_configuration(&mut self) {
        let Some(text) = self.setup.unkept.take() else {
            return;
        };
        if let Err(error) = self.setup.kept.keep(&text) {
            let message = format!(
                "the configuration cannot be kept ({error}): a start ends where the file is wrong by then"
            );
            self.setup.logger.say(Level::Warn, "configuration", &message);
        }
    }

    /// Reads the file again, and gives back the code that takes.
    pub(super) fn reload(&mut self) {
        let needed = self.setup.ground.resident_code();
        // Marked before it is read: what is written meanwhile is read once more.
        self.setup.file = self.mark_file();
        let read = self.read_again();
        if let Err(wrong) = &read {
            self.setup.logger.say(Level::Error, "reload", wrong);
        }
        self.setup.board.set_configuration(read.err());
        self.setup.ground.give_back_code(needed.as_ref());
    }

    /// Takes over what the file has, or says why the old policy stays.
    fn read_again(&mut self) -> Result<(), String> {
        if self.setup.args.config.is_none() {
            self.setup.logger.say(
                Level::Warn,
                "reload",
                "there is no configuration file to read again; the policy stays",
            );
            return Ok(());
        }
        let (fresh, text) = config::load_with_text(&self.setup.args).map_err(|error| {
            if error.is_usage() {
                format!("the new configuration is wrong and the old one stays: {error}")
            } else {
                format!("the configuration cannot be read any more, and stays as it was: {error}")
            }
        })?;
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
            return Err(format!("the old configuration stays: {refusal}"));
        }
        if let Some(refusal) = self.refuse_senseless(&fresh) {
            return Err(refusal);
        }
        if !self.follow(&fresh.policy) {
            // Another file, as seen from the next look: it is read again then.
            self.setup.file = None;
            return Err("the guard has not taken the changes before this one; the policy stays".to_owned());
        }
        if let Some(cluster) = &self.setup.cluster {
            cluster.purse.set(fresh.budget.clone());
            cluster.taint.set(fresh.taint());
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
        if self.setup.cluster.is_some()
            && let Some(why) = agent::say_evict_off(&fresh.policy, &self.setup.granted)
        {
            self.setup.logger.say(Level::Warn, "evict", why);
        }
        self.setup.settings = Settings {
            policy: fresh.policy,
            beside: fresh.beside,
            budget: fresh.budget,
            notify: fresh.notify,
            ..self.setup.settings.clone()
        };
        self.setup
            .logger
            .say(Level::Info, "reload", "the configuration was read again");
        self.setup.unkept = Some(text);
        self.keep_configuration();
        Ok(())
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

#[cfg(test)]
mod tests;
