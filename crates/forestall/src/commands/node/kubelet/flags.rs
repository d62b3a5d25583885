//! The flags that override the configuration file: in the command line of a running kubelet, or in the environment file
//! its unit starts it with.
//!
//! A flag may be given more than once: of lists all items count, the later over the earlier of the same name (k/k
//! `component-base/cli/flag`), and of everything else the last.

use super::super::setting::Told;
use super::raw::Raw;

/// Resource and signal of the only items that count.
const MEMORY: &str = "memory";
const AVAILABLE: &str = "memory.available";

/// Flags in the order in which they stand, by the names that the kubelet knows.
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
                // `WordSepNormalizeFunc`: an underscore is a dash.
                flags.push((name.replace('_', "-"), value.to_owned()));
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

    /// Flags as `NAME=VALUE`, the way k3s is told those of its kubelet.
    pub(crate) fn of_pairs<'a>(pairs: impl Iterator<Item = &'a str>) -> Self {
        let pairs = pairs.map(|pair| pair.strip_prefix("--").unwrap_or(pair));
        let split = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.replace('_', "-"), value.to_owned())
        };
        Self(pairs.map(split).collect())
    }

    /// Adds those that were given later.
    pub(crate) fn extend(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// All values of a flag, in order.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(flag, _)| flag == name);
        found.map(|(_, value)| value.as_str())
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
        let item = |name: &str, key: &str, mark: char| {
            let last = told(name)?;
            let pairs = self.values(name).flat_map(|list| list.split(','));
            let about_memory = pairs
                .filter_map(|pair| pair.split_once(mark))
                .filter(|(item, _)| item.trim() == key);
            Some(Told {
                value: about_memory.last().map(|(_, value)| value.trim().to_owned()),
                source: last.source,
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
            kube_reserved: written(item("kube-reserved", MEMORY, '=')),
            system_reserved: written(item("system-reserved", MEMORY, '=')),
            eviction_hard: item("eviction-hard", AVAILABLE, '<'),
            eviction_soft: item("eviction-soft", AVAILABLE, '<'),
            soft_grace: written(item("eviction-soft-grace-period", AVAILABLE, '=')),
            min_reclaim: written(item("eviction-minimum-reclaim", AVAILABLE, '=')),
            enforced: told("enforce-node-allocatable").map(|last| {
                let lists = self.values("enforce-node-allocatable");
                let names = lists.flat_map(|list| list.split(','));
                Told {
                    value: names.map(|name| name.trim().to_owned()).collect(),
                    source: last.source,
                }
            }),
            pressure_transition: told("eviction-pressure-transition-period"),
            pod_grace_max: told("eviction-max-pod-grace-period"),
            // These two have no flags.
            single_process_oom_kill: None,
            swap: None,
        }
    }
}
