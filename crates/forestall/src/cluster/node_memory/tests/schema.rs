//! The schema that the manifests bring, as far as it is used: what the agent writes is what it takes. Its rules in CEL are for a real API server to try.

use serde_json::Value;

const KIND: &str = include_str!("../../../../../../deploy/kustomize/node-memory/kind.yaml");

/// Panics, with the path, where the object does not fit.
pub(super) fn takes(object: &Value) {
    let kind: Value = serde_saphyr::from_str(KIND).expect("YAML");
    let version = &kind["spec"]["versions"][0];
    assert_eq!(
        object["apiVersion"],
        format!("{}/{}", text(&kind["spec"]["group"]), text(&version["name"]))
    );
    assert_eq!(object["kind"], kind["spec"]["names"]["kind"]);
    fits(object, &version["schema"]["openAPIV3Schema"], "");
}

fn fits(value: &Value, schema: &Value, path: &str) {
    match (text(&schema["type"]), value) {
        // The server has a schema of its own for that.
        ("object", _) if path == "/metadata" => {}
        ("object", Value::Object(fields)) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(text(name)), "{path} has no {name}");
            }
            for (name, value) in fields {
                let path = format!("{path}/{name}");
                let known = schema["properties"].get(name);
                fits(
                    value,
                    known.unwrap_or_else(|| panic!("{path} is in no schema")),
                    &path,
                );
            }
        }
        ("array", Value::Array(all)) => {
            assert!(all.len() as u64 <= number(&schema["maxItems"]), "{path}");
            for one in all {
                fits(one, &schema["items"], path);
            }
        }
        ("integer", Value::Number(_)) => {
            let allowed = number(&schema["minimum"])..=number(&schema["maximum"]);
            assert!(allowed.contains(&number(value)), "{path}: {value}");
        }
        ("string", Value::String(value)) => {
            if let Some(allowed) = schema["enum"].as_array() {
                assert!(allowed.iter().any(|one| one == value), "{path}: {value}");
            }
            if let Some(pattern) = schema["pattern"].as_str() {
                assert_eq!(pattern, "^[0-9]{1,14}Mi$", "{path}");
                let digits = value.strip_suffix("Mi").expect("the unit");
                assert!((1..=14).contains(&digits.len()), "{path}: {value}");
                assert!(
                    digits.bytes().all(|byte| byte.is_ascii_digit()),
                    "{path}: {value}"
                );
            }
        }
        ("boolean", Value::Bool(_)) => {}
        (kind, _) => panic!("{path} is no {kind}: {value}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
