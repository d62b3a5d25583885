//! Kills, counted by whose limit it was.

use forestall_kernel::oom::Level;
use forestall_trace::record::{Value, Writer, read_fields};

use super::field::{at, place};

/// One count for each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels([u64; Level::ALL.len()]);

impl Levels {
    /// So many more.
    pub(crate) fn add(&mut self, level: Level, kills: u64) {
        let counts = Level::ALL.iter().zip(&mut self.0);
        for (_, count) in counts.filter(|(known, _)| **known == level) {
            *count = count.saturating_add(kills);
        }
    }

    /// All of another's.
    pub(crate) fn join(&mut self, other: Self) {
        for (level, kills) in other.iter() {
            self.add(level, kills);
        }
    }

    /// Without another's.
    pub(crate) fn part(&mut self, other: Self) {
        for (count, less) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_sub(less);
        }
    }

    /// Those that are not 0.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Level, u64)> {
        let counts = Level::ALL.into_iter().zip(self.0);
        counts.filter(|(_, kills)| *kills > 0)
    }

    pub(in crate::ledger) fn put(&self, writer: &mut Writer<'_>, tag: u64) {
        for (level, kills) in self.iter() {
            writer.record(tag, |inner| {
                inner.number(1, place(&Level::ALL, &level));
                inner.number(2, kills);
            });
        }
    }

    /// Adds what was written of one level.
    pub(in crate::ledger) fn read(&mut self, value: Value<'_>) -> Option<()> {
        let (mut level, mut kills) = (Level::Unknown, 0);
        read_fields(value.bytes()?, |tag, value| {
            match tag {
                1 => level = at(&Level::ALL, value)?,
                2 => kills = value.number()?,
                _ => {}
            }
            Some(())
        })?;
        self.add(level, kills);
        Some(())
    }
}
