//! What this node's kubelet is told about memory: its configuration (YAML or JSON, with drop-ins, also a saved `configz`)
//! and the flags that override it. It never asks the kubelet itself; of processes it reads the kubelet's command line only.

mod configuration;
mod flags;
mod process;
mod raw;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use self::configuration::Configuration;
use self::flags::Flags;
use super::setting::Settings;
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

/// A kubelet's configuration as a file. Drop-ins and the files with flags are of the same kind.
const CONFIGURATION: Wanted = Wanted {
    what: "kubelet's configuration",
    bytes_max: 4 << 20,
    may_flow: false,
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The settings, each with its place.
    pub(crate) settings: Settings,
    /// All places that were read, for people; empty where there is no kubelet.
    pub(crate) places: Vec<String>,
    /// What could not be read and what that means.
    pub(crate) notes: Vec<String>,
}

impl Found {
    /// Reads `file`, or what a running kubelet was started with, or whatever of the usual places exists below `root`.
    pub(crate) fn read(root: &Path, file: Option<&Path>) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let mut configuration = Configuration::default();
        if let Some(path) = file {
            let wanted = Wanted {
                may_flow: true,
                ..CONFIGURATION
            };
            let text = read_lossy(path, &wanted)?;
            found.lay(&mut configuration, path, &text)?;
            found.settings = told(configuration.raw())?;
            return Ok(found);
        }
        let running = process::running(root);
        let flags = running.as_ref().map(|(_, flags)| flags);
        let named = flags.and_then(|flags| flags.value("config"));
        match named {
            Some(path) => {
                found.try_lay(&mut configuration, &below(root, path))?;
            }
            None => {
                for relative in CONFIG_FILES {
                    if found.try_lay(&mut configuration, &root.join(relative))? {
                        break;
                    }
                }
            }
        }
        if let Some(dir) = flags.and_then(|flags| flags.value("config-dir")) {
            for path in drop_ins(&below(root, dir)) {
                found.try_lay(&mut configuration, &path)?;
            }
        }
        let mut settings = Settings::default();
        if let Some((number, flags)) = &running {
            found.places.push(format!("the flags of process {number}"));
            settings = settings.or(told(flags.raw("of the running kubelet"))?);
        } else {
            // No kubelet is seen, so that these files say what the next one is started with; the last one wins.
            for relative in FLAG_FILES.iter().rev() {
                let path = root.join(relative);
                let Some(text) = found.try_read(&path)? else {
                    continue;
                };
                let place = shown::path(&path);
                let flags = told(Flags::of_file(&text).raw(&format!("in {place}")))?;
                if !flags.is_empty() || found.places.is_empty() {
                    found.places.push(place);
                }
                settings = settings.or(flags);
            }
        }
        found.settings = settings.or(told(configuration.raw())?);
        Ok(found)
    }

    /// Lays a file over the configuration; whether there is one.
    fn try_lay(&mut self, configuration: &mut Configuration, path: &Path) -> anyhow::Result<bool> {
        let Some(text) = self.try_read(path)? else {
            return Ok(false);
        };
        self.lay(configuration, path, &text)?;
        Ok(true)
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
        match read_lossy(path, &CONFIGURATION) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let path = shown::path(path);
                self.notes.push(format!(
                    "{path} may not be read: run this as root, or give what is in it as options"
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn told(raw: raw::Raw) -> anyhow::Result<Settings> {
    raw.read().map_err(anyhow::Error::msg)
}

/// A path as the host has it, below `root`.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The drop-ins of a directory in the order in which the kubelet takes them: `*.conf`, by name.
fn drop_ins(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    paths.sort();
    paths
}

/// A file as text; what is no UTF-8 is replaced, because no setting needs it.
fn read_lossy(path: &Path, wanted: &Wanted) -> Result<String, Unreadable> {
    let bytes = input::read(path, wanted)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
