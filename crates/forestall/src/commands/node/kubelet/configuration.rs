//! The kubelet's configuration file and the drop-ins laid over it, in YAML or JSON, and a saved answer of `configz`.
//!
//! Drop-ins are merged as the kubelet does it (RFC 7396, k/k `cmd/kubelet/app/server.go`, `mergeKubeletConfigurations`):
//! maps by key, everything else replaced. Only what is about memory is looked at; the rest may be anything.

use serde_json::Value;

use super::super::setting::Told;
use super::raw::Raw;
use crate::config::say_where;

/// The files of one configuration, each with its name, the later over the earlier.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    documents: Vec<(String, Value)>,
    merged: Value,
}

impl Configuration {
    /// Lays one more file over those before it.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let options = serde_saphyr::options! { with_snippet: false };
        let read: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| format!("{name}:{}", say_where(&error)))?;
        // `configz` wraps all of it.
        let document = match read.get("kubeletconfig") {
            Some(inner) => inner.clone(),
            None => read,
        };
        check_maps(name, &document)?;
        merge(&mut self.merged, &document);
        self.documents.push((name.to_owned(), document));
        Ok(())
    }

    /// The settings as text.
    pub(crate) fn raw(&self) -> Raw {
        let soft = "/evictionSoft/memory.available";
        let soft_list = self.told("/evictionSoft", |_| Some(None));
        Raw {
            kube_reserved: self.told("/kubeReserved/memory", scalar),
            system_reserved: self.told("/systemReserved/memory", scalar),
            eviction_hard: self.hard(),
            eviction_soft: self.told(soft, |value| Some(scalar(value))).or(soft_list),
            soft_grace: self.told("/evictionSoftGracePeriod/memory.available", scalar),
            min_reclaim: self.told("/evictionMinimumReclaim/memory.available", scalar),
            enforced: self.told("/enforceNodeAllocatable", |value| {
                let names = value.as_array()?.iter();
                Some(
                    names
                        .filter_map(|name| name.as_str().map(str::to_owned))
                        .collect(),
                )
            }),
            pressure_transition: self.told("/evictionPressureTransitionPeriod", scalar),
            pod_grace_max: self.told("/evictionMaxPodGracePeriod", scalar),
        }
    }

    /// A list without `memory.available` switches that threshold off, unless the defaults are merged in (1.34).
    fn hard(&self) -> Option<Told<Option<String>>> {
        let written = self.told("/evictionHard/memory.available", |value| Some(scalar(value)));
        let merges = self.merged.get("mergeDefaultEvictionSettings") == Some(&Value::Bool(true));
        if merges {
            return written;
        }
        written.or_else(|| self.told("/evictionHard", |_| Some(None)))
    }

    /// What stands at `pointer`, and the last file that says so.
    fn told<T>(&self, pointer: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Told<T>> {
        let value = self.merged.pointer(pointer).filter(|value| !value.is_null())?;
        let source = self
            .documents
            .iter()
            .rev()
            .find(|(_, document)| document.pointer(pointer).is_some())
            .map(|(name, _)| name)?;
        Some(Told::by(source, read(value)?))
    }
}

/// A figure as text. Of what is no figure the text says so when it is read as one.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string().chars().take(64).collect()),
    }
}

/// Refuses what a kubelet would not start with because it is no map, and what would pass here as nothing said.
fn check_maps(name: &str, document: &Value) -> Result<(), String> {
    const MAPS: [&str; 6] = [
        "kubeReserved",
        "systemReserved",
        "evictionHard",
        "evictionSoft",
        "evictionSoftGracePeriod",
        "evictionMinimumReclaim",
    ];
    let is_map = |value: &Value| value.is_object() || value.is_null();
    if !is_map(document) {
        return Err(format!(
            "{name}: it is no map; name a kubelet's configuration, or what its configz answered"
        ));
    }
    let wrong = MAPS
        .iter()
        .find(|key| document.get(**key).is_some_and(|value| !is_map(value)));
    match wrong {
        Some(key) => Err(format!(
            "{name}: {key} is no map; write it as {key}: {{{}: 100Mi}}",
            if key.ends_with("Reserved") {
                "memory"
            } else {
                "memory.available"
            }
        )),
        None => Ok(()),
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
