//! How many were killed, by level and by whom it hit: what `/metrics` shows, over restarts and over files that are gone.
//!
//! The number of labels is bounded: whoever comes after so many others takes the place of the one who was hit longest ago, and what that one had is
//! counted by level alone from then on, so that the sum over all never falls.

use std::collections::BTreeMap;

use forestall_trace::record::{Value, Writer, read_fields};

/// So many are told apart.
const WHOM_MAX: usize = 256;

/// What stands for all who had to make room.
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
    counts: BTreeMap<Whom, Count>,
    /// How often somebody was counted.
    turn: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    kills: u64,
    /// The turn at which it was counted last.
    last: u64,
}

impl Count {
    const fn add(&mut self, kills: u64, last: u64) {
        self.kills = self.kills.saturating_add(kills);
        self.last = last;
    }
}

impl Totals {
    /// Counts one, or more.
    pub(crate) fn add(&mut self, whom: Whom, kills: u64) {
        self.turn = self.turn.saturating_add(1);
        if !self.counts.contains_key(&whom) {
            self.make_room();
        }
        self.counts.entry(whom).or_default().add(kills, self.turn);
    }

    /// Has whoever was hit longest ago counted among the others, where there are too many.
    fn make_room(&mut self) {
        let named = || self.counts.iter().filter(|(whom, _)| whom.pod != OTHERS);
        if named().count() < WHOM_MAX {
            return;
        }
        let oldest = named().min_by_key(|(_, count)| count.last);
        let Some(oldest) = oldest.map(|(whom, _)| whom.clone()) else {
            return;
        };
        if let Some(count) = self.counts.remove(&oldest) {
            let others = Whom {
                level: oldest.level,
                pod: OTHERS.to_owned(),
                ..Whom::default()
            };
            self.counts.entry(others).or_default().add(count.kills, self.turn);
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Whom, u64)> {
        self.counts.iter().map(|(whom, count)| (whom, count.kills))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for (whom, count) in &self.counts {
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
                inner.number(6, count.kills);
                inner.number(7, count.last);
            });
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut totals = Self::default();
        read_fields(bytes, |tag, value| {
            if tag == 1 {
                // As it was bounded: whoever came late stands among the others already.
                let (whom, count) = counted(value)?;
                totals.turn = totals.turn.max(count.last);
                totals.counts.insert(whom, count);
            }
            Some(())
        })?;
        Some(totals)
    }
}

fn counted(value: Value<'_>) -> Option<(Whom, Count)> {
    let mut whom = Whom::default();
    let mut count = Count::default();
    read_fields(value.bytes()?, |tag, value| {
        let text = |value: Value<'_>| Some(String::from_utf8_lossy(value.bytes()?).into_owned());
        match tag {
            1 => whom.level = text(value)?,
            2 => whom.namespace = text(value)?,
            3 => whom.pod = text(value)?,
            4 => whom.container = text(value)?,
            5 => whom.unit = text(value)?,
            6 => count.kills = value.number()?,
            7 => count.last = value.number()?,
            _ => {}
        }
        Some(())
    })?;
    Some((whom, count))
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
        let (mut sum, mut others) = (0, 0);
        for pod in 0..1000 {
            totals.add(whom(pod), 1);
            totals.add(whom(0), 1);
            let of_others: u64 = totals
                .iter()
                .filter(|(whom, _)| whom.pod == OTHERS)
                .map(|(_, kills)| kills)
                .sum();
            assert!(of_others >= others, "it never falls");
            others = of_others;
            sum += 2;
            assert_eq!(totals.iter().map(|(_, kills)| kills).sum::<u64>(), sum);
        }
        assert_eq!(totals.iter().count(), WHOM_MAX + 1);
        let of = |pod: usize| {
            totals
                .iter()
                .find(|(known, _)| **known == whom(pod))
                .map(|(_, kills)| kills)
        };
        // By hand: of 256 places one is pod 0's, who is hit again and again; the 255 last ones of the others have theirs.
        assert_eq!([0, 999, 745, 744].map(of), [Some(1001), Some(1), Some(1), None]);
        assert_eq!(others, 744);
        assert!(Totals::decode(&totals.encode()) == Some(totals), "not read back");
    }
}
