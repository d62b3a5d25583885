//! How many were killed, by level and by whom it hit: what `/metrics` shows, over restarts and over files that are gone.
//!
//! The number of labels is bounded: whoever comes after so many others is counted by level alone, so that no sum is wrong.

use std::collections::BTreeMap;

use forestall_trace::record::{Value, Writer, read_fields};

/// So many are told apart.
const WHOM_MAX: usize = 256;

/// What stands for all who came after them.
pub(crate) const OTHERS: &str = "(others)";

/// Whom it hit. Names are as they are shown, escaped; empty where nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Whom {
    /// Whose limit, by its label.
    pub(crate) level: String,
    /// The pod's namespace.
    pub(crate) namespace: String,
    /// The pod's name, or else its UID.
    pub(crate) pod: String,
    /// The container's name.
    pub(crate) container: String,
    /// Outside of pods, what the cgroup is.
    pub(crate) unit: String,
}

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    counts: BTreeMap<Whom, u64>,
}

impl Totals {
    /// Counts one, or more.
    pub(crate) fn add(&mut self, whom: Whom, kills: u64) {
        if let Some(count) = self.counts.get_mut(&whom) {
            *count = count.saturating_add(kills);
            return;
        }
        let whom = if self.counts.len() < WHOM_MAX {
            whom
        } else {
            Whom {
                level: whom.level,
                pod: OTHERS.to_owned(),
                ..Whom::default()
            }
        };
        let count = self.counts.entry(whom).or_default();
        *count = count.saturating_add(kills);
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Whom, u64)> {
        self.counts.iter().map(|(whom, count)| (whom, *count))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for (whom, count) in self.iter() {
            writer.record(1, |inner| {
                let names = [
                    &whom.level,
                    &whom.namespace,
                    &whom.pod,
                    &whom.container,
                    &whom.unit,
                ];
                for (tag, name) in (1..).zip(names) {
                    inner.bytes(tag, name.as_bytes());
                }
                inner.number(6, count);
            });
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut totals = Self::default();
        read_fields(bytes, |tag, value| {
            if tag == 1 {
                // As it was bounded: whoever came late stands among the others already.
                let (whom, kills) = counted(value)?;
                totals.counts.insert(whom, kills);
            }
            Some(())
        })?;
        Some(totals)
    }
}

fn counted(value: Value<'_>) -> Option<(Whom, u64)> {
    let mut whom = Whom::default();
    let mut kills = 0;
    read_fields(value.bytes()?, |tag, value| {
        let text = |value: Value<'_>| Some(String::from_utf8_lossy(value.bytes()?).into_owned());
        match tag {
            1 => whom.level = text(value)?,
            2 => whom.namespace = text(value)?,
            3 => whom.pod = text(value)?,
            4 => whom.container = text(value)?,
            5 => whom.unit = text(value)?,
            6 => kills = value.number()?,
            _ => {}
        }
        Some(())
    })?;
    Some((whom, kills))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom(pod: usize) -> Whom {
        Whom {
            level: "container".to_owned(),
            pod: format!("pod-{pod}"),
            ..Whom::default()
        }
    }

    #[test]
    fn however_many_are_hit_no_kill_is_missing_from_the_sum() {
        let mut totals = Totals::default();
        for pod in 0..1000 {
            totals.add(whom(pod), 1);
            totals.add(whom(0), 1);
        }
        assert_eq!(totals.iter().count(), WHOM_MAX + 1);
        assert_eq!(totals.iter().map(|(_, kills)| kills).sum::<u64>(), 2000);
        assert!(Totals::decode(&totals.encode()) == Some(totals), "not read back");
    }
}
