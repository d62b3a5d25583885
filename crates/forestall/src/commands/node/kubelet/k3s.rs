//! What k3s tells its kubelet, which is a part of it: arguments in its own configuration, and since 1.32 a directory of
//! drop-ins, in which it puts copies of whatever else was named (k3s `pkg/daemons/agent`).
//!
//! Its own command line it hides, so that arguments which stand there alone are not known.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::flags::Flags;
use super::lined;

/// Its configuration; what lies in the directory beside it is laid over it by name.
pub(super) const CONFIG_FILE: &str = "etc/rancher/k3s/config.yaml";
pub(super) const CONFIG_DIR: &str = "etc/rancher/k3s/config.yaml.d";

/// Arguments for the kubelet, and where it keeps its things.
#[derive(Debug, Default)]
pub(super) struct K3s {
    arguments: Vec<String>,
    data_dir: Option<String>,
}

impl K3s {
    /// Lays one more file over those before it.
    pub(super) fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let read =
            lined::parse(text).map_err(|error| format!("{name}:{}", crate::config::say_where(&error)))?;
        if let Some(arguments) = read.get("kubelet-arg") {
            self.arguments = strings(arguments);
        }
        if let Some(more) = read.get("kubelet-arg+") {
            self.arguments.extend(strings(more));
        }
        if let Some(data_dir) = read.get("data-dir").and_then(Value::as_str) {
            self.data_dir = Some(data_dir.to_owned());
        }
        Ok(())
    }

    /// The kubelet's flags.
    pub(super) fn flags(&self) -> Flags {
        Flags::of_pairs(self.arguments.iter().map(String::as_str))
    }

    /// Where it keeps the kubelet's drop-ins.
    pub(super) fn drop_in_dir(&self, root: &Path) -> PathBuf {
        let data_dir = self.data_dir.as_deref().unwrap_or("/var/lib/rancher/k3s");
        super::below(root, data_dir).join("agent/etc/kubelet.conf.d")
    }
}

/// One text, or a list of them.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}
