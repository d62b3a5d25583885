//! The engine's choices as words: the same ones on the command line and in the file.

use clap::ValueEnum;
use forestall_decide as decide;
use serde::de::{Deserialize, Deserializer, Error};

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Only watch
    Observe,
    /// Decide and record, change nothing
    Shadow,
    /// Act
    Enforce,
}

/// Whose rules to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Runway, stall and culprit
    Forestall,
    /// Used above a percentage, or page cache above a percentage
    WarStoryA,
    /// The kernel's OOM killer by SysRq whenever little is available
    Gist,
}

/// Whom to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Victims {
    /// Who explains the growth
    Culprit,
    /// The kubelet's own order
    Kubelet,
    /// The lowest priority first
    Priority,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rung {
    /// Reclaim page cache
    Reclaim,
    /// Slow the culprit down
    Brake,
    /// Let the pod save its state
    Warn,
    /// Raise the pod's limit in place
    Grow,
    /// Evict the pod through the API server
    Evict,
    /// End the culprit
    Kill,
    /// The kernel's own OOM killer
    Sysrq,
}

/// Ties each word to the engine's own value, both ways, and reads it from the file.
macro_rules! same {
    ($($name:ident { $($variant:ident),+ })+) => {$(
        impl From<$name> for decide::$name {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant),+ }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                read_word(from)
            }
        }
        impl From<decide::$name> for $name {
            fn from(value: decide::$name) -> Self {
                match value { $(decide::$name::$variant => Self::$variant),+ }
            }
        }
    )+};
}

same! {
    Mode { Observe, Shadow, Enforce }
    Preset { Forestall, WarStoryA, Gist }
    Victims { Culprit, Kubelet, Priority }
    Rung { Reclaim, Brake, Warn, Grow, Evict, Kill, Sysrq }
}

/// A word of the file. The error names all that there are, whatever stands in its place.
fn read_word<'de, T: ValueEnum, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let refuse = |wrong: &str| {
        let words = T::value_variants().iter().filter_map(T::to_possible_value);
        let words: Vec<String> = words.map(|word| word.get_name().to_owned()).collect();
        Error::custom(format!("{wrong}; write one of {}", words.join(", ")))
    };
    let text = String::deserialize(from).map_err(|_| refuse("a single word is expected here"))?;
    T::from_str(&text, false).map_err(|_| refuse(&format!("{text:?} is no word that is known here")))
}

/// The word for an engine's value, as typed on the command line and in the file.
pub(crate) fn word<T: ValueEnum>(value: impl Into<T>) -> String {
    value
        .into()
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
