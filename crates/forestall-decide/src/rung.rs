//! The kinds of action there are, mildest first, and sets of them.

/// One kind of action, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// Sized `memory.reclaim` of page cache where it lies.
    Reclaim,
    /// `memory.high` on the culprit for a bounded time.
    Brake,
    /// The pod's own hook, and time to save its state.
    Warn,
    /// A higher limit in place, where the node has room.
    Grow,
    /// The Eviction API.
    Evict,
    /// TERM, then KILL.
    Kill,
    /// The kernel's own OOM killer, now.
    Sysrq,
}

impl Rung {
    /// All of them, mildest first.
    pub const ALL: [Self; 7] = [
        Self::Reclaim,
        Self::Brake,
        Self::Warn,
        Self::Grow,
        Self::Evict,
        Self::Kill,
        Self::Sysrq,
    ];

    /// The word used in logs, metrics and configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Reclaim => "reclaim",
            Self::Brake => "brake",
            Self::Warn => "warn",
            Self::Grow => "grow",
            Self::Evict => "evict",
            Self::Kill => "kill",
            Self::Sysrq => "sysrq",
        }
    }

    /// Some process ends by it.
    pub const fn ends_somebody(self) -> bool {
        matches!(self, Self::Evict | Self::Kill | Self::Sysrq)
    }

    /// It is done through the API server.
    pub const fn needs_api(self) -> bool {
        matches!(self, Self::Grow | Self::Evict)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of rungs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rungs(u8);

impl Rungs {
    /// None.
    pub const NONE: Self = Self(0);

    /// Those.
    pub fn of(rungs: &[Rung]) -> Self {
        rungs.iter().fold(Self::NONE, |set, rung| set.with(*rung, true))
    }

    /// All there are.
    pub fn all() -> Self {
        Self::of(&Rung::ALL)
    }

    /// Whether it is one of them.
    pub const fn has(self, rung: Rung) -> bool {
        self.0 & rung.bit() != 0
    }

    /// The same set with this one in it, or without it.
    #[must_use]
    pub const fn with(self, rung: Rung, on: bool) -> Self {
        if on {
            Self(self.0 | rung.bit())
        } else {
            Self(self.0 & !rung.bit())
        }
    }

    /// Those in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let set = Rungs::of(&[Rung::Reclaim, Rung::Kill])
            .with(Rung::Kill, false)
            .with(Rung::Evict, true);
        let members: Vec<Rung> = Rung::ALL.into_iter().filter(|rung| set.has(*rung)).collect();
        assert_eq!(members, [Rung::Reclaim, Rung::Evict]);
        assert_eq!(
            set.and(Rungs::of(&[Rung::Evict, Rung::Sysrq])),
            Rungs::of(&[Rung::Evict])
        );
        assert!(Rung::ALL.into_iter().all(|rung| Rungs::all().has(rung)));
    }

    #[test]
    fn the_order_is_the_order_of_harm() {
        assert!(Rung::ALL.is_sorted());
    }
}
