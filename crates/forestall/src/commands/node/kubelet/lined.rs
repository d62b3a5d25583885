//! YAML or JSON as a value that may be anything, with the line on which each of its keys stands.
//!
//! It refuses what is larger or deeper than any configuration of a kubelet, so that nobody's file can exhaust the agent.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

/// The deepest configuration has five levels, and `configz` wraps it in one more.
const DEPTH_MAX: usize = 16;
/// One that names every field there is has some hundred.
const NODES_MAX: usize = 8192;

/// Lines, by JSON pointer (RFC 6901, of keys that need no escape).
pub(super) type Lines = BTreeMap<String, u64>;

/// What stands in a file.
#[derive(Debug, Default)]
pub(super) struct Lined {
    pub(super) value: Value,
    pub(super) lines: Lines,
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Lined, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            max_nodes: NODES_MAX,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
}

impl<'de> Deserialize<'de> for Lined {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Anything)
    }
}

struct Anything;

fn bare(value: impl Into<Value>) -> Lined {
    Lined {
        value: value.into(),
        lines: Lines::new(),
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Lined;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("YAML")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Lined, E> {
        Ok(bare(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Lined, E> {
        Ok(bare(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Lined, E> {
        Ok(bare(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Lined, E> {
        Ok(bare(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Lined, E> {
        Ok(bare(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Lined, E> {
        Ok(bare(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Lined, E> {
        Ok(bare(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Lined, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lined, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Lined>()? {
            list.push(item.value);
        }
        Ok(bare(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Lined, A::Error> {
        let (mut map, mut lines) = (Map::new(), Lines::new());
        while let Some(key) = items.next_key::<Spanned<String>>()? {
            let inner: Lined = items.next_value()?;
            let name = key.value;
            for (below, line) in inner.lines {
                lines.insert(format!("/{name}{below}"), line);
            }
            lines.insert(format!("/{name}"), key.referenced.line());
            map.insert(name, inner.value);
        }
        Ok(Lined {
            value: Value::Object(map),
            lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line_in_yaml_and_in_json() {
        let yaml =
            "# a comment\nkubeReserved:\n  cpu: 1\n  memory: 1Gi\nevictionHard: {memory.available: 5%}\n";
        let json = "{\n\"kubeReserved\":\n{\"cpu\":1,\n\"memory\":\"1Gi\"},\n\"evictionHard\":{\"memory.available\":\"5%\"}}";
        for (text, lines) in [(yaml, [2, 4, 5]), (json, [2, 4, 5])] {
            let read = parse(text).expect("it is understood");
            assert_eq!(read.value.pointer("/kubeReserved/memory"), Some(&"1Gi".into()));
            for (pointer, line) in [
                ("/kubeReserved", lines[0]),
                ("/kubeReserved/memory", lines[1]),
                ("/evictionHard/memory.available", lines[2]),
            ] {
                assert_eq!(read.lines.get(pointer), Some(&line), "{pointer} in {text}");
            }
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(&deep).is_err());
        let long = format!("a: [{}]", "1,".repeat(NODES_MAX));
        assert!(parse(&long).is_err());
    }
}
