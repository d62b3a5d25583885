//! What this node's kubelet is told about memory: its configuration (YAML or JSON, with drop-ins, also a saved `configz`)
//! and the flags that override it. It never asks the kubelet itself; of processes it reads the kubelet's command line only.

mod configuration;
mod flags;
mod k3s;
mod lined;
mod process;
mod raw;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use self::configuration::Configuration;
use self::flags::Flags;
use self::k3s::K3s;
pub(crate) use self::process::Process;
use self::process::{Host, Running};
use super::setting::{Settings, Told};
use crate::commands::free::shown;
use crate::input::{self, Unreadable, Wanted};

/// Where kubelets keep their configuration: kubeadm and AKS, Amazon Linux 2023 and 2, GKE.
const CONFIG_FILES: [&str; 4] = [
    "var/lib/kubelet/config.yaml",
    "etc/kubernetes/kubelet/config.json",
    "etc/kubernetes/kubelet/kubelet-config.json",
    "home/kubernetes/kubelet-config.yaml",
];

/// Where flags are kept that override it: AKS and Debian packages, kubeadm, Red Hat packages.
const FLAG_FILES: [&str; 3] = [
    "etc/default/kubelet",
    "var/lib/kubelet/kubeadm-flags.env",
    "etc/sysconfig/kubelet",
];

/// The flags of MicroK8s' kubelet, one a line.
const KUBELITE_FLAGS: &str = "var/snap/microk8s/current/args/kubelet";

/// Drop-ins that are read at the most, and how deep their directories are looked through.
const DROP_INS_MAX: usize = 256;
const DROP_INS_DEPTH_MAX: u32 = 8;

/// A kubelet's configuration as a file. Drop-ins and the files with flags are of the same kind.
const CONFIGURATION: Wanted = Wanted {
    what: "kubelet's configuration",
    bytes_max: 1 << 20,
    mark: b"",
    may_flow: false,
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The settings, each with its place.
    pub(crate) settings: Settings,
    /// All places that were read, for people; empty where there is no kubelet.
    pub(crate) places: Vec<String>,
    /// What could not be read or understood, and what that means.
    pub(crate) notes: Vec<String>,
    /// Every file and directory that counts, there or not.
    pub(crate) files: Vec<PathBuf>,
    /// The kubelet that runs.
    pub(crate) process: Option<Process>,
    /// Its own file was not read, so that nothing is known of what is not said elsewhere.
    pub(crate) lacks_file: bool,
    /// What is not understood is passed over with a note.
    is_tolerant: bool,
}

impl Found {
    /// Reads `file`, or what a running kubelet was started with, or whatever of the usual places exists below `root`.
    pub(crate) fn read(root: &Path, file: Option<&Path>) -> anyhow::Result<Self> {
        let mut found = Self::default();
        found.gather(root, file)?;
        Ok(found)
    }

    /// The same, but whatever cannot be read or understood is passed over with a note: somebody's file may say anything, and
    /// the rest of it counts all the same.
    pub(crate) fn read_tolerantly(root: &Path, file: Option<&Path>) -> Self {
        let mut found = Self {
            is_tolerant: true,
            ..Self::default()
        };
        if let Err(error) = found.gather(root, file) {
            found.notes.push(format!("{error:#}"));
            found.lacks_file = true;
        }
        found
    }

    /// What the kubelet itself has answered (`/configz`): all that it runs with, defaults included.
    pub(crate) fn of_configz(text: &str) -> Result<Self, String> {
        let mut found = Self {
            is_tolerant: true,
            places: vec!["its own answer (/configz)".to_owned()],
            ..Self::default()
        };
        let mut configuration = Configuration::default();
        configuration.add("configz", text)?;
        found.settings = found
            .take(configuration.raw())
            .map_err(|error| format!("{error:#}"))?;
        Ok(found)
    }

    fn gather(&mut self, root: &Path, file: Option<&Path>) -> anyhow::Result<()> {
        if let Some(path) = file {
            return self.gather_named(path);
        }
        let running = Running::find(root);
        self.process = running.as_ref().map(|running| running.process);
        match running {
            Some(running) => self.gather_running(root, &running),
            None => self.gather_usual(root),
        }
    }

    fn gather_named(&mut self, path: &Path) -> anyhow::Result<()> {
        let wanted = Wanted {
            may_flow: !self.is_tolerant,
            ..CONFIGURATION
        };
        self.files.push(path.to_owned());
        let text = read_lossy(path, &wanted)?;
        let mut configuration = Configuration::default();
        self.lay(&mut configuration, path, &text)?;
        configuration.fill_defaults();
        self.settings = self.take(configuration.raw())?;
        Ok(())
    }

    fn gather_running(&mut self, root: &Path, running: &Running) -> anyhow::Result<()> {
        let mut flags = running.flags();
        let mut place = "of the running kubelet".to_owned();
        let mut named = value_of(&flags, "config").map(|path| below(root, path));
        let mut drop_in_dir = value_of(&flags, "config-dir").map(|path| below(root, path));
        match running.host {
            Host::Alone => self
                .places
                .push(format!("the flags of process {}", running.process.number)),
            Host::K3s => {
                let k3s = self.read_k3s(root)?;
                let mut own = k3s.flags();
                own.extend(flags);
                flags = own;
                "of k3s' kubelet".clone_into(&mut place);
                let dir = k3s.drop_in_dir(root);
                if dir.is_dir() {
                    // Whatever file or directory it was told of has been copied into this one.
                    (named, drop_in_dir) = (None, Some(dir));
                } else {
                    named = value_of(&flags, "config").map(|path| below(root, path));
                }
            }
            Host::Kubelite => {
                let path = root.join(KUBELITE_FLAGS);
                if let Some(text) = self.try_read(&path)? {
                    flags = Flags::of_file(&text);
                    self.places.push(shown::path(&path));
                } else {
                    self.lacks_file = true;
                }
                place = format!("in {}", shown::path(&path));
                named = value_of(&flags, "config").map(|path| below(root, path));
                drop_in_dir = value_of(&flags, "config-dir").map(|path| below(root, path));
            }
        }
        let mut configuration = Configuration::default();
        if let Some(path) = &named {
            if !self.try_lay(&mut configuration, path)? {
                self.lacks_file = true;
                if !path.exists() {
                    let path = shown::path(path);
                    self.notes.push(format!(
                        "{path} is not there, and the running kubelet was started with it: what it says is not known"
                    ));
                }
            }
            configuration.fill_defaults();
        }
        if let Some(dir) = &drop_in_dir {
            self.files.push(dir.clone());
            let mut paths = Vec::new();
            find_drop_ins(dir, DROP_INS_DEPTH_MAX, &mut paths);
            for path in paths {
                self.try_lay(&mut configuration, &path)?;
            }
        }
        let flags = self.take(flags.raw(&place))?;
        let mut settings = flags.or(self.take(configuration.raw())?);
        // The defaults of hard thresholds belong to the kubelet's own file: kubelets that know drop-ins have none without it,
        // and k3s has always told its kubelet of disks alone.
        let has_none = named.is_none() && (drop_in_dir.is_some() || running.host == Host::K3s);
        if has_none && settings.eviction_hard.is_none() {
            let source = "a kubelet without a file of its own";
            settings.eviction_hard = Some(Told::by(source, super::amount::Threshold::off()));
        }
        self.settings = settings;
        Ok(())
    }

    /// What the configuration of k3s says to its kubelet.
    fn read_k3s(&mut self, root: &Path) -> anyhow::Result<K3s> {
        let mut k3s = K3s::default();
        let mut paths = vec![root.join(k3s::CONFIG_FILE)];
        let dir = root.join(k3s::CONFIG_DIR);
        let entries = fs::read_dir(&dir).into_iter().flatten();
        paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        paths.sort();
        self.files.push(dir);
        for path in paths {
            let Some(text) = self.try_read(&path)? else {
                continue;
            };
            let place = shown::path(&path);
            let added = k3s.add(&place, &text).map_err(anyhow::Error::msg);
            if self.bear(added)?.is_some() {
                self.places.push(place);
            }
        }
        Ok(k3s)
    }

    /// No kubelet is seen, so that the usual files say what the next one is started with.
    fn gather_usual(&mut self, root: &Path) -> anyhow::Result<()> {
        let mut configuration = Configuration::default();
        for relative in CONFIG_FILES {
            if self.try_lay(&mut configuration, &root.join(relative))? {
                break;
            }
        }
        if !self.places.is_empty() {
            configuration.fill_defaults();
        }
        let mut settings = Settings::default();
        // The last file wins.
        for relative in FLAG_FILES.iter().rev() {
            let path = root.join(relative);
            let Some(text) = self.try_read(&path)? else {
                continue;
            };
            let place = shown::path(&path);
            let flags = self.take(Flags::of_file(&text).raw(&format!("in {place}")))?;
            if !flags.is_empty() || self.places.is_empty() {
                self.places.push(place);
            }
            settings = settings.or(flags);
        }
        self.settings = settings.or(self.take(configuration.raw())?);
        Ok(())
    }

    /// Lays a file over the configuration; whether that was done.
    fn try_lay(&mut self, configuration: &mut Configuration, path: &Path) -> anyhow::Result<bool> {
        let Some(text) = self.try_read(path)? else {
            return Ok(false);
        };
        let laid = self.lay(configuration, path, &text);
        Ok(self.bear(laid)?.is_some())
    }

    fn lay(&mut self, configuration: &mut Configuration, path: &Path, text: &str) -> anyhow::Result<()> {
        let place = shown::path(path);
        configuration.add(&place, text).map_err(anyhow::Error::msg)?;
        self.places.push(place);
        Ok(())
    }

    /// The text of a file that may be missing, and may be closed to us, as kubeadm writes its own: the limit that the
    /// kernel holds says most of it then.
    fn try_read(&mut self, path: &Path) -> anyhow::Result<Option<String>> {
        self.files.push(path.to_owned());
        match read_lossy(path, &CONFIGURATION) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let path = shown::path(path);
                self.notes.push(format!(
                    "{path} may not be read: run this as root, or give what is in it as options"
                ));
                self.lacks_file = true;
                Ok(None)
            }
            Err(error) => self.bear(Err(error.into())),
        }
    }

    /// The settings that were understood; of the others it depends.
    fn take(&mut self, raw: raw::Raw) -> anyhow::Result<Settings> {
        let (settings, wrong) = raw.read();
        for why in wrong {
            self.bear::<()>(Err(anyhow::Error::msg(why)))?;
        }
        Ok(settings)
    }

    /// An error is one, or a note where it is to be borne.
    fn bear<T>(&mut self, result: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.is_tolerant => {
                self.notes.push(format!("passed over: {error:#}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The value of a flag that says something.
fn value_of<'a>(flags: &'a Flags, name: &str) -> Option<&'a str> {
    flags.value(name).filter(|value| !value.is_empty())
}

/// A path as the host has it, below `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The drop-ins of a directory in the order in which the kubelet takes them: `*.conf`, by name, those of a directory within
/// it where that one's name stands (Go's `filepath.WalkDir`, which does not follow links to directories).
fn find_drop_ins(dir: &Path, depth_max: u32, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut within: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    within.sort();
    for path in within {
        let is_dir = path.symlink_metadata().is_ok_and(|about| about.is_dir());
        if is_dir && depth_max > 0 {
            find_drop_ins(&path, depth_max - 1, paths);
        } else if !is_dir && path.extension().is_some_and(|extension| extension == "conf") {
            paths.push(path);
        }
        if paths.len() >= DROP_INS_MAX {
            return;
        }
    }
}

/// A file as text; what is no UTF-8 is replaced, because no setting needs it.
fn read_lossy(path: &Path, wanted: &Wanted) -> Result<String, Unreadable> {
    let bytes = input::read(path, wanted)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
