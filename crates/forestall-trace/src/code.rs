//! The numbers that stand for words of the engine. Once given, a number keeps its meaning; a reader that does not know one
//! does not guess, it says that a newer program is needed.

use forestall_decide::kubelet::{ConfigSource, Signal, SwapBehavior};
use forestall_decide::{
    GroupKind, Lru, Mode, Origin, OutcomeKind, Owner, Preset, Protection, Qos, Rung, Victims,
};

/// A word that is written as a number.
pub(crate) trait Code: Sized + Copy + 'static {
    /// Every value that has a number, in order.
    const WORDS: &'static [Self];

    /// Its number. Exhaustive by `match`, so that a new word does not compile before it has one.
    fn code(self) -> u64;

    /// The word of a number.
    fn of(code: u64) -> Option<Self> {
        Self::WORDS.iter().copied().find(|word| word.code() == code)
    }
}

macro_rules! codes {
    ($($name:ty { $($word:pat => $code:literal $value:expr),+ $(,)? })+) => {$(
        impl Code for $name {
            const WORDS: &'static [Self] = &[$($value),+];
            fn code(self) -> u64 {
                match self { $($word => $code),+ }
            }
        }
    )+};
}

codes! {
    GroupKind {
        Self::Kubepods => 0 Self::Kubepods,
        Self::Qos(Qos::Guaranteed) => 1 Self::Qos(Qos::Guaranteed),
        Self::Qos(Qos::Burstable) => 2 Self::Qos(Qos::Burstable),
        Self::Qos(Qos::BestEffort) => 3 Self::Qos(Qos::BestEffort),
        Self::Pod(Qos::Guaranteed) => 4 Self::Pod(Qos::Guaranteed),
        Self::Pod(Qos::Burstable) => 5 Self::Pod(Qos::Burstable),
        Self::Pod(Qos::BestEffort) => 6 Self::Pod(Qos::BestEffort),
        Self::Container(Qos::Guaranteed) => 7 Self::Container(Qos::Guaranteed),
        Self::Container(Qos::Burstable) => 8 Self::Container(Qos::Burstable),
        Self::Container(Qos::BestEffort) => 9 Self::Container(Qos::BestEffort),
        Self::Host => 10 Self::Host,
    }
    Option<Protection> {
        None => 0 None,
        Some(Protection::Essential) => 1 Some(Protection::Essential),
        Some(Protection::NodeAgent) => 2 Some(Protection::NodeAgent),
        Some(Protection::OomScoreAdj) => 3 Some(Protection::OomScoreAdj),
        Some(Protection::StaticPod) => 4 Some(Protection::StaticPod),
        Some(Protection::Pause) => 5 Some(Protection::Pause),
        Some(Protection::Delegated) => 6 Some(Protection::Delegated),
        Some(Protection::OptedOut) => 7 Some(Protection::OptedOut),
        Some(Protection::Shared) => 8 Some(Protection::Shared),
    }
    Qos {
        Self::Guaranteed => 0 Self::Guaranteed,
        Self::Burstable => 1 Self::Burstable,
        Self::BestEffort => 2 Self::BestEffort,
    }
    Lru {
        Self::Classic => 0 Self::Classic,
        Self::MultiGen => 1 Self::MultiGen,
    }
    Rung {
        Self::Reclaim => 0 Self::Reclaim,
        Self::Kill => 1 Self::Kill,
        Self::Sysrq => 2 Self::Sysrq,
        Self::Brake => 3 Self::Brake,
        Self::Warn => 4 Self::Warn,
        Self::Grow => 5 Self::Grow,
        Self::Evict => 6 Self::Evict,
    }
    Mode {
        Self::Observe => 0 Self::Observe,
        Self::Shadow => 1 Self::Shadow,
        Self::Enforce => 2 Self::Enforce,
    }
    Victims {
        Self::Culprit => 0 Self::Culprit,
        Self::Priority => 1 Self::Priority,
        Self::Kubelet => 2 Self::Kubelet,
    }
    Owner {
        Self::Nobody => 0 Self::Nobody,
        Self::DaemonSet => 1 Self::DaemonSet,
        Self::Controller => 2 Self::Controller,
    }
    Origin {
        Self::Api => 0 Self::Api,
        Self::Static => 1 Self::Static,
    }
    ConfigSource {
        Self::Default => 0 Self::Default,
        Self::File => 1 Self::File,
        Self::Configz => 2 Self::Configz,
        Self::Given => 3 Self::Given,
    }
    SwapBehavior {
        Self::NoSwap => 0 Self::NoSwap,
        Self::LimitedSwap => 1 Self::LimitedSwap,
    }
    Signal {
        Self::MemoryAvailable => 0 Self::MemoryAvailable,
        Self::AllocatableMemoryAvailable => 1 Self::AllocatableMemoryAvailable,
    }
    Preset {
        Self::Forestall => 0 Self::Forestall,
        Self::WarStoryA => 1 Self::WarStoryA,
        Self::Gist => 2 Self::Gist,
    }
}

/// The number of an outcome's kind; the errno of a failure is a field of its own.
pub(crate) const fn outcome_code(kind: OutcomeKind) -> (u64, i32) {
    match kind {
        OutcomeKind::Progress => (0, 0),
        OutcomeKind::Done => (1, 0),
        OutcomeKind::NoEffect => (2, 0),
        OutcomeKind::Gone => (3, 0),
        OutcomeKind::Vetoed => (4, 0),
        OutcomeKind::Failed(errno) => (5, errno),
        OutcomeKind::Blocked => (6, 0),
    }
}

/// The outcome of a number.
pub(crate) const fn outcome_of(code: u64, errno: i32) -> Option<OutcomeKind> {
    Some(match code {
        0 => OutcomeKind::Progress,
        1 => OutcomeKind::Done,
        2 => OutcomeKind::NoEffect,
        3 => OutcomeKind::Gone,
        4 => OutcomeKind::Vetoed,
        5 => OutcomeKind::Failed(errno),
        6 => OutcomeKind::Blocked,
        _ => return None,
    })
}
