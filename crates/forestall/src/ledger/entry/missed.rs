//! What tracing told and nobody could hear: a list that says nothing of it looks more complete than it is.

/// Counts of one boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Records that were overwritten before they were read.
    pub(crate) overwritten: u64,
    /// Records that made no sense.
    pub(crate) malformed: u64,
    /// Marks and signals for which there was no room in memory.
    pub(crate) dropped: u64,
    /// Marks that no signal came with: of those who were ending anyway, or the signal was missed.
    pub(crate) unsigned: u64,
}

impl Missed {
    /// Each with the word for it.
    pub(crate) fn each(self) -> [(&'static str, u64); 4] {
        [
            ("overwritten", self.overwritten),
            ("malformed", self.malformed),
            ("dropped", self.dropped),
            ("unsigned", self.unsigned),
        ]
    }

    /// Both together.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            overwritten: self.overwritten.saturating_add(other.overwritten),
            malformed: self.malformed.saturating_add(other.malformed),
            dropped: self.dropped.saturating_add(other.dropped),
            unsigned: self.unsigned.saturating_add(other.unsigned),
        }
    }
}
