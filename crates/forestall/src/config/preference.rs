//! An operator's preferences as typed, checked, and written again.

use forestall_decide::{Preference, Preferred};

use super::Invalid;
use super::raw::RawPreference;
use super::render::quoted;
use super::switch::is_on;

/// Checks all of them. The error says which one is wrong, and what to write.
pub(super) fn check(raw: &[RawPreference]) -> Result<Vec<Preference>, Invalid> {
    if raw.len() > Preference::COUNT_MAX {
        return Err(Invalid::new(format!(
            "preferences: more than {} of them; make it fewer",
            Preference::COUNT_MAX
        )));
    }
    let checked = raw.iter().enumerate().map(|(at, one)| {
        read(one).map_err(|why| Invalid::new(format!("preferences: number {}: {why}", at + 1)))
    });
    checked.collect()
}

fn read(raw: &RawPreference) -> Result<Preference, &'static str> {
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let labels = raw.labels.iter();
    Ok(Preference {
        namespaces: boxed(&raw.namespaces),
        labels: labels
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        priority_classes: boxed(&raw.priority_classes),
        verdict: Preferred::read(raw.never.map(is_on), raw.weight)?,
    })
}

/// A list on one line of YAML.
pub(super) fn write(preferences: &[Preference]) -> String {
    let list = |names: &[Box<str>]| {
        names
            .iter()
            .map(|name| quoted(name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let one = |it: &Preference| {
        let mut said = Vec::new();
        if !it.namespaces.is_empty() {
            said.push(format!("namespaces: [{}]", list(&it.namespaces)));
        }
        if !it.labels.is_empty() {
            let labels = it.labels.iter();
            let labels = labels.map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)));
            said.push(format!("labels: {{ {} }}", labels.collect::<Vec<_>>().join(", ")));
        }
        if !it.priority_classes.is_empty() {
            said.push(format!("priorityClasses: [{}]", list(&it.priority_classes)));
        }
        said.push(match it.verdict {
            Preferred::Never => "never: true".to_owned(),
            Preferred::Weight(weight) => format!("weight: {weight}"),
        });
        format!("{{ {} }}", said.join(", "))
    };
    let all: Vec<_> = preferences.iter().map(one).collect();
    format!("[{}]", all.join(", "))
}
