//! The last configuration that was good, kept beside the agent's other things, for a start that finds one that is wrong or gone: a restart, which
//! nobody may have asked for, must not be what takes the guard away.
//!
//! Where none is kept, as on a node that is made while the file is spoilt, whoever starts the agent says by `--or-shadow` that it is to begin nonetheless: by
//! the defaults, in shadow. That acts upon nobody, whatever the file would have it do, and sees, records, alarms and tells the cluster as ever; to
//! observe alone would raise no alarm.
//!
//! What it refuses: to stand in for a file of another name, for flags that are wrong, and, without `--or-shadow`, for the very first configuration. Who writes
//! that one by hand is told and no agent begins, since none is lost by it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use forestall_decide::Bytes;

use super::ground::STATE_DIR;
use crate::agent::AgentArgs;
use crate::commands::free::read_meminfo;
use crate::config::choice::Mode;
use crate::config::{self, Invalid, Settings, checked};
use crate::input;
use crate::log::escape;

/// Its name in the agent's own directory.
const FILE: &str = "last-good-configuration.yaml";

/// Where it is kept, and of which file.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    state_dir: PathBuf,
    of: Option<PathBuf>,
}

impl Kept {
    /// By the flags alone: where the machine's root stands in the file itself, and that is wrong, nobody knows it.
    pub(crate) fn new(args: &AgentArgs) -> Self {
        let root = args.root.as_deref().unwrap_or(Path::new("/"));
        Self {
            state_dir: root.join(STATE_DIR),
            // A relative path is another file's from another directory.
            of: args
                .config
                .as_ref()
                .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        }
    }

    /// Keeps this text in place of the one before. Does nothing where there is no file, or no directory of the agent's: only `enforce` makes that.
    pub(crate) fn keep(&self, text: &str) -> io::Result<()> {
        let Some(header) = self.header().filter(|_| self.state_dir.is_dir()) else {
            return Ok(());
        };
        let (path, new) = (self.path(), self.state_dir.join(format!("{FILE}.new")));
        let whole = format!("{header}\n{text}");
        if input::read_system(&path).is_ok_and(|kept| kept == whole.as_bytes()) {
            return Ok(());
        }
        // It may name secrets (`notify`), as the file itself may.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&new)?;
        // The disk is not waited for: one that a crash cut off is no configuration, and the start ends as it would without.
        file.write_all(whole.as_bytes())?;
        fs::rename(new, path)
    }

    /// The configuration to start with, its text, and what is wrong with the file where it is not the file's. The kept one is taken where it `may` be, and
    /// where it is good by today's flags; the defaults where there is none and the flags say so.
    pub(crate) fn load(
        &self,
        args: &AgentArgs,
        may: bool,
    ) -> Result<(Settings, String, Option<String>), Invalid> {
        let wrong = match config::load_with_text(args) {
            Ok((settings, text)) => match fits(&settings) {
                Ok(()) => return Ok((settings, text, None)),
                Err(wrong) => wrong,
            },
            Err(wrong) => wrong,
        };
        let kept = self.read().filter(|_| may).and_then(|text| {
            let settings = config::load_kept(&text, args).ok()?;
            fits(&settings).ok()?;
            Some((settings, text))
        });
        let Some((settings, text)) = kept else {
            return if args.or_shadow {
                self.load_none(args, &wrong)
            } else {
                Err(wrong)
            };
        };
        let wrong = format!(
            "the last good one is in force, as {} has it, until this is mended: {wrong}",
            self.path().display()
        );
        Ok((settings, text, Some(wrong)))
    }

    /// The defaults under the flags, which act upon nobody.
    fn load_none(
        &self,
        args: &AgentArgs,
        wrong: &Invalid,
    ) -> Result<(Settings, String, Option<String>), Invalid> {
        let settings = config::load(&AgentArgs {
            config: None,
            // Whoever asked for less than shadow gets less.
            mode: Some(
                args.mode
                    .filter(|mode| *mode == Mode::Observe)
                    .unwrap_or(Mode::Shadow),
            ),
            ..args.clone()
        })?;
        fits(&settings)?;
        let wrong = format!(
            "nobody is acted upon on this machine: no good configuration is kept in {}, so that the defaults are in force, in shadow at most; mend the file, \
             which is taken within ten seconds then: {wrong}",
            self.path().display()
        );
        Ok((settings, String::new(), Some(wrong)))
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join(FILE)
    }

    /// The first line says whose it is; spelled out, so that no name breaks it.
    fn header(&self) -> Option<String> {
        let of = escape::bytes(self.of.as_ref()?.as_os_str().as_encoded_bytes());
        Some(format!(
            "# The last good configuration, kept by forestall from {of}"
        ))
    }

    fn read(&self) -> Option<String> {
        let header = self.header()?;
        let kept = String::from_utf8(input::read_system(&self.path()).ok()?).ok()?;
        let (first, text) = kept.split_once('\n')?;
        (first == header).then(|| text.to_owned())
    }
}

/// Whether its thresholds make sense on this machine. One whose memory cannot be read is found out elsewhere.
fn fits(settings: &Settings) -> Result<(), Invalid> {
    let total = read_meminfo(&settings.root).map_or(Bytes::ZERO, |read| Bytes(read.meminfo.total));
    checked::check_against(&settings.policy, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, AgentArgs) {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join(STATE_DIR)).expect("directories");
        let args = AgentArgs {
            root: Some(root.path().to_owned()),
            config: Some(root.path().join("policy.yaml")),
            ..AgentArgs::default()
        };
        (root, args)
    }

    fn write(args: &AgentArgs, text: &str) {
        fs::write(args.config.as_ref().expect("a path"), text).expect("room");
    }

    const GOOD: &str = "beside: true\n";

    #[test]
    fn a_start_with_a_wrong_file_goes_on_with_the_last_good_one_and_says_what_is_wrong() {
        let (root, args) = machine();
        let kept = Kept::new(&args);
        write(&args, GOOD);
        let (settings, text, wrong) = kept.load(&args, true).expect("it is good");
        assert!(settings.beside && wrong.is_none());
        kept.keep(&text).expect("room");
        let mode = fs::metadata(kept.path()).expect("it is kept").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        for (text, word) in [
            ("beside: true\nmood: bad\n", "policy.yaml:2:1"),
            ("", "there is nothing in it"),
        ] {
            write(&args, text);
            let (settings, _, wrong) = kept.load(&args, true).expect("one is kept");
            let wrong = wrong.expect("it is said");
            assert!(settings.beside && wrong.contains(word), "{wrong}");
        }
        fs::remove_file(root.path().join("policy.yaml")).expect("it was there");
        let (settings, _, wrong) = kept.load(&args, true).expect("one is kept");
        assert!(settings.beside && wrong.is_some_and(|wrong| wrong.contains("No such file")));
    }

    #[test]
    fn a_threshold_that_this_machine_does_not_have_is_wrong_too() {
        let (root, args) = machine();
        fs::create_dir(root.path().join("proc")).expect("a directory");
        fs::write(
            root.path().join("proc/meminfo"),
            "MemTotal: 1048576 kB\nMemFree: 524288 kB\nMemAvailable: 524288 kB\n",
        )
        .expect("room");
        let kept = Kept::new(&args);
        kept.keep(GOOD).expect("room");
        write(&args, "preset: gist\ngist: {minAvailable: 2Gi}\n");
        let (settings, _, wrong) = kept.load(&args, true).expect("one is kept");
        assert!(settings.beside && wrong.is_some_and(|wrong| wrong.contains("gist.minAvailable")));
    }

    #[test]
    fn the_very_first_file_a_person_and_another_files_name_are_told_and_nothing_starts() {
        let (root, args) = machine();
        let kept = Kept::new(&args);
        write(&args, "mood: bad\n");
        let ends = |args: &AgentArgs, may| {
            let wrong = Kept::new(args).load(args, may).expect_err("it is wrong");
            assert!(
                wrong.is_usage() && wrong.to_string().contains(".yaml:1:1: "),
                "{wrong}"
            );
        };
        ends(&args, true);
        kept.keep(GOOD).expect("room");
        assert!(kept.load(&args, true).is_ok());
        ends(&args, false);
        let other = AgentArgs {
            config: Some(root.path().join("other.yaml")),
            ..args.clone()
        };
        write(&other, "mood: bad\n");
        ends(&other, true);
        // What a crash left of it is none.
        fs::write(
            kept.path(),
            fs::read(kept.path()).expect("it").get(..20).expect("more"),
        )
        .expect("room");
        ends(&args, true);
    }

    #[test]
    fn a_first_start_that_is_to_begin_nonetheless_acts_upon_nobody_and_says_so() {
        use forestall_decide::Mode as InForce;
        let (root, args) = machine();
        // The flags' mode is one that acts, and so is the spoilt file's.
        for (asked, mode) in [
            (None, InForce::Shadow),
            (Some(Mode::Enforce), InForce::Shadow),
            (Some(Mode::Observe), InForce::Observe),
        ] {
            let args = AgentArgs {
                or_shadow: true,
                mode: asked,
                ..args.clone()
            };
            let kept = Kept::new(&args);
            for (text, place) in [
                (Some("mode: enforce\nmood: bad\n"), "policy.yaml:2:1"),
                (None, "No such file"),
            ] {
                match text {
                    Some(text) => write(&args, text),
                    None => fs::remove_file(root.path().join("policy.yaml")).expect("it was there"),
                }
                let (settings, _, wrong) = kept.load(&args, true).expect("it begins");
                assert_eq!(settings.policy.mode, mode);
                // A file may switch it on, and nobody changes a node in shadow that no file has spoken of.
                assert!(!settings.ledger.tracing);
                let wrong = wrong.expect("it is said");
                assert!(
                    wrong.contains("nobody is acted upon") && wrong.contains(place),
                    "{wrong}"
                );
            }
        }
        // What was good once goes before the defaults, and no flag that is wrong is passed over.
        let args = AgentArgs {
            or_shadow: true,
            ..args
        };
        let kept = Kept::new(&args);
        kept.keep(GOOD).expect("room");
        assert!(kept.load(&args, true).is_ok_and(|(settings, ..)| settings.beside));
        let args = AgentArgs {
            used_percent: Some(85),
            ..args
        };
        let wrong = kept.load(&args, true).expect_err("a flag of another preset");
        assert!(
            wrong.is_usage() && wrong.to_string().contains("--used-percent"),
            "{wrong}"
        );
    }

    #[test]
    fn without_a_directory_of_its_own_nothing_is_kept_and_nothing_made() {
        let (root, args) = machine();
        fs::remove_dir_all(root.path().join("var")).expect("it was there");
        let kept = Kept::new(&args);
        kept.keep(GOOD).expect("nothing was to be done");
        assert!(!root.path().join("var").exists());
    }
}
