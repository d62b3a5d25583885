//! The words that a scenario file has for one of a few things. Whatever stands in the place of one is refused with all of them.

use serde::de::{Deserialize, Deserializer, Error};

/// Enums that are read from the text of one scalar.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($variant),+ }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                const WORDS: &[&str] = &[$($word),+];
                match read(from, WORDS)?.as_str() {
                    $($word => Ok(Self::$variant),)+
                    other => Err(unknown(other, WORDS)),
                }
            }
        }
    )+};
}

words! {
    RawMode { Observe = "observe", Shadow = "shadow", Enforce = "enforce" }
    RawPreset { Forestall = "forestall", WarStoryA = "war-story-a", Gist = "gist" }
    RawVictims { Culprit = "culprit", Kubelet = "kubelet", Priority = "priority" }
    RawLru { Classic = "classic", MultiGen = "multi-gen" }
    /// As the kubelet's own configuration spells it.
    RawSwap { NoSwap = "NoSwap", LimitedSwap = "LimitedSwap" }
    /// As the kubelet's own configuration spells it.
    RawReservation { None = "None", TieredReservation = "TieredReservation" }
    RawOwner { Controller = "controller", Daemonset = "daemonset", Nobody = "nobody" }
    RawPart { Anon = "anon", Shmem = "shmem", Kernel = "kernel" }
    RawFaultKind {
        ApiAway = "api-away",
        AgentRestart = "agent-restart",
        ClockJump = "clock-jump",
        SamplesLost = "samples-lost",
        SlowVictim = "slow-victim",
        PdbZero = "pdb-zero",
        KubeletAway = "kubelet-away",
    }
}

fn read<'de, D: Deserializer<'de>>(from: D, words: &[&str]) -> Result<String, D::Error> {
    String::deserialize(from).map_err(|_| {
        let words = words.join(", ");
        D::Error::custom(format!("a single word is expected here; write one of {words}"))
    })
}

/// As serde has it, but without a place of its own: the reader then adds that of the value and not that of its name.
fn unknown<E: Error>(word: &str, words: &[&str]) -> E {
    E::custom(format!(
        "unknown variant `{word}`, expected one of {}",
        words.join(", ")
    ))
}
