//! The flags that override the configuration file: in the command line of a running kubelet, or in the environment file
//! its unit starts it with.

use super::super::setting::Told;
use super::raw::Raw;

/// Flags in the order in which they stand.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Flags(Vec<(String, String)>);

impl Flags {
    /// From words: `--name=value`, or `--name value`.
    pub(crate) fn of_words<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut flags: Vec<(String, String)> = Vec::new();
        // A word that follows a flag without a value is its value. A flag of truth takes none, and is not asked for.
        let mut open = false;
        for word in words {
            // `KUBELET_FLAGS=--v=2`: the first flag of a variable.
            let flag = match word.split_once("=--") {
                Some((name, _)) if !name.starts_with('-') => word.get(name.len() + 3..),
                _ => word.strip_prefix("--"),
            };
            if let Some(flag) = flag {
                let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
                open = value.is_empty();
                flags.push((name.to_owned(), value.to_owned()));
            } else if open && let Some((_, value)) = flags.last_mut() {
                word.clone_into(value);
                open = false;
            }
        }
        Self(flags)
    }

    /// From a file of shell variables.
    pub(crate) fn of_file(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || c == '"' || c == '\''));
        Self::of_words(words.filter(|word| !word.is_empty()))
    }

    /// The value of a flag; the last of several wins, as in the kubelet.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().rev().filter(|(flag, _)| flag == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The settings as text; `place` says whose flags these are.
    pub(crate) fn raw(&self, place: &str) -> Raw {
        let told = |name: &str| {
            let value = self.value(name)?;
            Some(Told::by(&format!("--{name} {place}"), value.to_owned()))
        };
        // A list of signals or resources: the item about memory, which may be missing.
        let item = |name: &str, key: &str| {
            let list = told(name)?;
            let value = list
                .value
                .split(',')
                .find_map(|pair| pair.trim().strip_prefix(key))
                .map(|rest| rest.trim_start_matches(['<', '=']).to_owned());
            Some(Told {
                value,
                source: list.source,
            })
        };
        let written = |told: Option<Told<Option<String>>>| {
            let told = told?;
            Some(Told {
                value: told.value?,
                source: told.source,
            })
        };
        Raw {
            kube_reserved: written(item("kube-reserved", "memory=")),
            system_reserved: written(item("system-reserved", "memory=")),
            eviction_hard: item("eviction-hard", "memory.available<"),
            eviction_soft: item("eviction-soft", "memory.available<"),
            soft_grace: written(item("eviction-soft-grace-period", "memory.available=")),
            min_reclaim: written(item("eviction-minimum-reclaim", "memory.available=")),
            enforced: told("enforce-node-allocatable").map(|told| Told {
                value: told.value.split(',').map(|name| name.trim().to_owned()).collect(),
                source: told.source,
            }),
            pressure_transition: told("eviction-pressure-transition-period"),
            pod_grace_max: told("eviction-max-pod-grace-period"),
        }
    }
}
