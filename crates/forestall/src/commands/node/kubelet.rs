//! What this node's kubelet is told about memory: its configuration file (YAML or JSON, also a saved `configz`) and the
//! flags in its environment file. It never asks the kubelet itself, and it reads no process's command line.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::quantity::{Threshold, parse_quantity, parse_reservation, parse_threshold};

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

/// The settings that divide memory; `None` where nothing was said. Bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    /// `kubeReserved.memory`.
    pub(crate) kube_reserved: Option<u64>,
    /// `systemReserved.memory`.
    pub(crate) system_reserved: Option<u64>,
    /// `evictionHard."memory.available"`.
    pub(crate) eviction_hard: Option<Threshold>,
    /// The files that said so.
    pub(crate) files: Vec<String>,
}

/// The part of a `KubeletConfiguration` (`kubelet.config.k8s.io/v1beta1`) that is about memory.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Configuration {
    kube_reserved: Option<BTreeMap<String, Scalar>>,
    system_reserved: Option<BTreeMap<String, Scalar>>,
    eviction_hard: Option<BTreeMap<String, Scalar>>,
    /// `configz` wraps all of it.
    kubeletconfig: Option<Box<Configuration>>,
}

/// A quantity may be written as a number in YAML.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Settings {
    /// Reads `file`, or whatever of the usual places exists below `root`. `None` where there is no kubelet.
    pub(crate) fn read(root: &Path, file: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let mut settings = Self::default();
        if let Some(path) = file {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            settings.take(path, Self::of_configuration(&text))?;
            return Ok(Some(settings));
        }
        let read = |relative: &str| {
            let path = root.join(relative);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some((path, text))),
                // Unreadable without root, as kubeadm writes it: the limit the kernel holds says most of it.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                    Ok(None)
                }
                Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        };
        for relative in CONFIG_FILES {
            if let Some((path, text)) = read(relative)? {
                settings.take(&path, Self::of_configuration(&text))?;
                break;
            }
        }
        for relative in FLAG_FILES {
            if let Some((path, text)) = read(relative)? {
                settings.take(&path, Self::of_flags(&text))?;
            }
        }
        Ok((!settings.files.is_empty()).then_some(settings))
    }

    /// Lets `other` override what is there.
    fn take(&mut self, path: &Path, other: Result<Self, String>) -> anyhow::Result<()> {
        let shown = crate::commands::free::shown::path(path);
        let other = other.map_err(|why| anyhow::anyhow!("{shown}: {why}"))?;
        let said = other != Self::default();
        self.kube_reserved = other.kube_reserved.or(self.kube_reserved);
        self.system_reserved = other.system_reserved.or(self.system_reserved);
        self.eviction_hard = other.eviction_hard.or(self.eviction_hard);
        if said || self.files.is_empty() {
            self.files.push(shown);
        }
        Ok(())
    }

    fn of_configuration(text: &str) -> Result<Self, String> {
        let read: Configuration = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let read = read.kubeletconfig.map_or_else(
            || Configuration {
                kubeletconfig: None,
                ..read
            },
            |inner| *inner,
        );
        let memory = |list: Option<BTreeMap<String, Scalar>>| {
            list.and_then(|list| list.get("memory").map(|value| parse_quantity(&value.text())))
                .transpose()
        };
        let eviction_hard = match read.eviction_hard {
            // A list without memory.available switches that threshold off: no default is merged in.
            Some(list) => match list.get("memory.available") {
                Some(value) => Some(parse_threshold(&value.text())?),
                None => Some(Threshold::Bytes(0)),
            },
            None => None,
        };
        Ok(Self {
            kube_reserved: memory(read.kube_reserved)?,
            system_reserved: memory(read.system_reserved)?,
            eviction_hard,
            files: Vec::new(),
        })
    }

    fn of_flags(text: &str) -> Result<Self, String> {
        let flag = |name: &str| {
            text.lines()
                .filter(|line| !line.trim_start().starts_with('#'))
                .flat_map(|line| line.split(|c: char| c.is_whitespace() || c == '"' || c == '\''))
                .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .next_back()
        };
        let hard = flag("--eviction-hard").filter(|list| list.contains("memory.available<"));
        Ok(Self {
            kube_reserved: flag("--kube-reserved").map(parse_reservation).transpose()?,
            system_reserved: flag("--system-reserved").map(parse_reservation).transpose()?,
            eviction_hard: hard.map(parse_threshold).transpose()?,
            files: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBI: u64 = 1 << 20;

    #[test]
    fn a_configuration_is_read_as_yaml_and_as_configz() {
        let yaml = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS:\n- 10.0.0.10\n\
                    kubeReserved:\n  cpu: 100m\n  memory: 1638Mi\nsystemReserved:\n  memory: 104857600\n\
                    evictionHard:\n  memory.available: 5%\n  nodefs.available: 10%\n";
        let read = Settings::of_configuration(yaml).expect("a configuration");
        assert_eq!(read.kube_reserved, Some(1638 * MEBI));
        assert_eq!(read.system_reserved, Some(100 * MEBI));
        assert_eq!(read.eviction_hard, Some(Threshold::Percent(5.0)));

        let configz = r#"{"kubeletconfig":{"evictionHard":{"memory.available":"750Mi"},"kubeReserved":{"memory":"1Gi"}}}"#;
        let read = Settings::of_configuration(configz).expect("a configz");
        assert_eq!(
            (read.kube_reserved, read.eviction_hard),
            (Some(1024 * MEBI), Some(Threshold::Bytes(750 * MEBI)))
        );
        assert_eq!(read.system_reserved, None);
    }

    #[test]
    fn a_list_without_memory_switches_the_threshold_off() {
        let read =
            Settings::of_configuration("evictionHard:\n  nodefs.available: 10%\n").expect("a configuration");
        assert_eq!(read.eviction_hard, Some(Threshold::Bytes(0)));
        let read = Settings::of_configuration("maxPods: 30\n").expect("a configuration");
        assert_eq!(read.eviction_hard, None);
    }

    #[test]
    fn flags_are_found_in_an_environment_file() {
        let text = "# --kube-reserved=memory=1Gi\nKUBELET_FLAGS=--v=2 --eviction-hard=memory.available<750Mi,pid.available<2000 \
                    --kube-reserved=cpu=100m,memory=1638Mi\nKUBELET_REGISTER=true\n";
        let read = Settings::of_flags(text).expect("flags");
        assert_eq!(read.kube_reserved, Some(1638 * MEBI));
        assert_eq!(read.eviction_hard, Some(Threshold::Bytes(750 * MEBI)));
        assert_eq!(read.system_reserved, None);
    }

    #[test]
    fn nonsense_is_an_error_and_no_zero() {
        assert!(Settings::of_configuration("kubeReserved:\n  memory: plenty\n").is_err());
        assert!(Settings::of_flags("--kube-reserved=memory=plenty").is_err());
    }
}
