//! The configuration is read again: on SIGHUP, and where the file has changed, as a ConfigMap's does. What is wrong is said, and the old policy
//! stays in force as it is.

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
pub(super) struct FileMark {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

impl FileMark {
    /// Of the file that the path leads to; `None` while there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
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

    /// Reads the file again where it is another one. One that is gone changes nothing.
    pub(super) fn reload_if_changed(&mut self) {
        let now = self.mark_file();
        if now.is_some() && now != self.file {
            self.reload();
        }
    }

    /// Reads the file again, and gives back the code that takes.
    pub(super) fn reload(&mut self) {
        let needed = self.setup.ground.resident_code();
        // Marked before it is read: what is written meanwhile is read once more.
        self.file = self.mark_file().or(self.file);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_linked_anew_is_another_one() {
        let root = tempfile::tempdir().expect("a directory");
        let path = |name: &str| root.path().join(name);
        std::fs::write(path("a"), "mode: shadow\n").expect("room");
        // As the kubelet lays out a ConfigMap: a link to the present one.
        std::os::unix::fs::symlink("a", path("policy")).expect("a link");
        let before = FileMark::of(&path("policy"));
        assert!(before.is_some());
        assert_eq!(FileMark::of(&path("policy")), before);
        std::fs::write(path("a"), "mode: observe\n").expect("room");
        let written = FileMark::of(&path("policy"));
        assert_ne!(written, before);
        std::fs::write(path("b"), "mode: observe\n").expect("room");
        std::os::unix::fs::symlink("b", path("next")).expect("a link");
        std::fs::rename(path("next"), path("policy")).expect("it is replaced");
        assert_ne!(FileMark::of(&path("policy")), written);
        std::fs::remove_file(path("policy")).expect("it was there");
        assert_eq!(FileMark::of(&path("policy")), None);
    }
}
