//! The kubelet's configuration file and the drop-ins laid over it, in YAML or JSON, and a saved answer of `configz`.
//!
//! Drop-ins are merged as the kubelet does it (RFC 7396, k/k `cmd/kubelet/app/server.go`, `mergeKubeletConfigurations`):
//! maps by key, everything else replaced. Only what is about memory is looked at; the rest may be anything.

use forestall_decide::Span;
use serde_json::{Value, json};

use super::super::setting::{Told, parse_duration};
use super::lined;
use super::raw::Raw;
use crate::config::say_where;

/// The files of one configuration, each with its name, the later over the earlier.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    documents: Vec<Document>,
    merged: Value,
}

#[derive(Debug)]
struct Document {
    name: String,
    value: Value,
    text: String,
}

impl Document {
    /// Where something in it stands; `None` where it says nothing of that.
    fn place(&self, pointer: &str) -> Option<String> {
        self.value.pointer(pointer)?;
        Some(match lined::line(&self.text, pointer) {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        })
    }
}

impl Configuration {
    /// Lays one more file over those before it.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let mut read = lined::parse(text).map_err(|error| format!("{name}:{}", say_where(&error)))?;
        // `configz` wraps all of it.
        let value = match read.get_mut("kubeletconfig") {
            Some(inner) => inner.take(),
            None => read,
        };
        check_maps(name, &value)?;
        // An empty file says nothing; to merge nothing in would take everything away.
        let value = if value.is_null() { json!({}) } else { value };
        merge(&mut self.merged, &value);
        self.documents.push(Document {
            name: name.to_owned(),
            value,
            text: text.to_owned(),
        });
        Ok(())
    }

    /// What is there so far is the kubelet's own file, whose hard thresholds have defaults: all of them where it names none, and
    /// those it does not name where it says so (1.34). Drop-ins are laid over the result (`loadConfigFile`).
    pub(crate) fn fill_defaults(&mut self) {
        let merges = self.merged.get("mergeDefaultEvictionSettings") == Some(&Value::Bool(true));
        let hard = self.merged.get("evictionHard");
        let names = hard.is_some_and(|hard| !hard.is_null());
        let names_memory = hard.is_some_and(|hard| hard.get("memory.available").is_some());
        if !names || (merges && !names_memory) {
            merge(
                &mut self.merged,
                &json!({"evictionHard": {"memory.available": "100Mi"}}),
            );
        }
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
            // Nothing is none: the default stands (`SetDefaults_KubeletConfiguration`).
            pressure_transition: self
                .told("/evictionPressureTransitionPeriod", scalar)
                .filter(|told| parse_duration(&told.value) != Ok(Span(0))),
            pod_grace_max: self.told("/evictionMaxPodGracePeriod", scalar),
            single_process_oom_kill: self.told("/singleProcessOOMKill", scalar),
            swap: self.told("/memorySwap/swapBehavior", scalar),
        }
    }

    /// A list without `memory.available` switches that threshold off. Nothing where the default stands, which nobody wrote.
    fn hard(&self) -> Option<Told<Option<String>>> {
        const MEMORY: &str = "/evictionHard/memory.available";
        if self.merged.pointer(MEMORY).is_some() {
            return self.told(MEMORY, |value| Some(scalar(value)));
        }
        let place = self.place("/evictionHard")?;
        Some(Told::by(&place, None))
    }

    /// What stands at `pointer`, and the last file that says so.
    fn told<T>(&self, pointer: &str, read: impl Fn(&Value) -> Option<T>) -> Option<Told<T>> {
        let value = self.merged.pointer(pointer).filter(|value| !value.is_null())?;
        Some(Told::by(&self.place(pointer)?, read(value)?))
    }

    fn place(&self, pointer: &str) -> Option<String> {
        self.documents
            .iter()
            .rev()
            .find_map(|document| document.place(pointer))
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
