//! The answer of `forestall node`, as one structure that every format is made from.

use std::fmt::Write as _;

use serde::Serialize;

use super::machine::{Pods, Views};
use super::map::{Division, Wall, WallKind};

/// The allocation map of a node.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Always `node`.
    pub(crate) kind: &'static str,
    /// Version of this structure: fields may be added, none changes its meaning within a version.
    pub(crate) version: u32,
    /// Whether a kubelet's rules apply, configured, assumed or asked for.
    pub(crate) kubelet: bool,
    /// Where the figures come from, in words.
    pub(crate) sources: Vec<String>,
    /// How memory is divided.
    pub(crate) division: Division,
    /// Where something is killed.
    pub(crate) walls: Vec<Wall>,
    /// The nearest of them.
    pub(crate) next_wall: Option<WallKind>,
    /// What `kubectl top node` shows, percent.
    pub(crate) top_node_percent: Option<u64>,
    /// The same memory counted by the kernel and by the kubelet; absent for figures that were given.
    pub(crate) views: Option<Views>,
    /// All pods; absent where there are none.
    pub(crate) pods: Option<Pods>,
    /// Remarks.
    pub(crate) notes: Vec<String>,
}

/// A report as YAML: the JSON of it in block style, with every text quoted as JSON quotes it, which YAML 1.2 reads alike.
pub(crate) fn yaml(value: &serde_json::Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

fn block(text: &mut String, value: &serde_json::Value, depth: usize) {
    let pad = "  ".repeat(depth);
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let _ = write!(text, "{pad}{name}:");
                nested(text, value, depth);
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                block(&mut inner, item, depth + 1);
                // The dash takes the place of the first line's last indentation.
                let body = inner.get(2 * (depth + 1)..).unwrap_or_default();
                let _ = write!(text, "{pad}- {body}");
            }
        }
        scalar => {
            let _ = writeln!(text, "{pad}{scalar}");
        }
    }
}

fn nested(text: &mut String, value: &serde_json::Value, depth: usize) {
    let empty = match value {
        serde_json::Value::Object(fields) => fields.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        let _ = writeln!(text, " {value}");
    } else {
        text.push('\n');
        let is_map = value.is_object();
        block(text, value, if is_map { depth + 1 } else { depth });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_read_back_as_what_was_written() {
        let value = serde_json::json!({
            "kind": "node", "list": [{"a": 1, "b": [true, null]}, {"a": 2, "b": []}], "text": "a: \"b\"\n- #c", "none": null,
        });
        let text = yaml(&value);
        let read: serde_json::Value = serde_saphyr::from_str(&text).expect(&text);
        assert_eq!(read, value, "{text}");
    }
}
