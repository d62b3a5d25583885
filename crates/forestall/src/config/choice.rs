//! The engine's choices as words: the same ones on the command line and in the file.

use clap::ValueEnum;
use forestall_decide as decide;
use serde::Deserialize;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Only watch
    Observe,
    /// Decide and record, change nothing
    Shadow,
    /// Act
    Enforce,
}

/// Whose rules to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preset {
    /// Runway, stall and culprit
    Forestall,
    /// Used above a percentage, or page cache above a percentage
    WarStoryA,
    /// The kernel's OOM killer by SysRq whenever little is available
    Gist,
}

/// Whom to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Victims {
    /// Who explains the growth
    Culprit,
    /// The kubelet's own order
    Kubelet,
    /// The lowest priority first
    Priority,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
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

/// Ties each word to the engine's own value, both ways.
macro_rules! same {
    ($($name:ident { $($variant:ident),+ })+) => {$(
        impl From<$name> for decide::$name {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant),+ }
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

/// The word for an engine's value, as typed on the command line and in the file.
pub(crate) fn word<T: ValueEnum>(value: impl Into<T>) -> String {
    value
        .into()
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
