//! The thresholds of a configuration, from the texts of its maps (`ParseThresholdConfig`, k/k
//! `pkg/kubelet/eviction/helpers.go`): hard, soft, and the copy of the hard one that guards `kubepods`.
//!
//! It refuses what stops a kubelet from starting. It knows no defaults: a map that is given and names no memory has none
//! (unless `mergeDefaultEvictionSettings`), and who reads the file knows which case it is.

use core::fmt;

use super::config::{KubeletConfig, Signal, Threshold};
use super::value::{ThresholdValue, ValueError, parse_min_reclaim, parse_threshold};
use crate::units::{Bytes, Span};

/// What the maps of the configuration say at `memory.available`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThresholdTexts<'a> {
    /// `evictionHard`.
    pub hard: Option<&'a str>,
    /// `evictionSoft`.
    pub soft: Option<&'a str>,
    /// `evictionSoftGracePeriod`.
    pub soft_grace: Option<Span>,
    /// `evictionMinimumReclaim`.
    pub min_reclaim: Option<&'a str>,
}

/// Why thresholds are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThresholdsError {
    /// The value of this map is none.
    Value {
        /// `evictionHard`, `evictionSoft` or `evictionMinimumReclaim`.
        map: &'static str,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A soft threshold has no grace period.
    NoGrace,
}

impl fmt::Display for ThresholdsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { map, error } => write!(out, "{map}[\"memory.available\"]: {error}"),
            Self::NoGrace => write!(
                out,
                "evictionSoft names memory.available and evictionSoftGracePeriod does not: add its grace period"
            ),
        }
    }
}

impl core::error::Error for ThresholdsError {}

impl KubeletConfig {
    /// Replaces the thresholds by what these texts say. Capacity, reservations and `enforces_pods` have to be set before:
    /// percentages are shares of the machine, and for `kubepods` of its limit.
    pub fn set_thresholds(&mut self, texts: &ThresholdTexts<'_>) -> Result<(), ThresholdsError> {
        let threshold = |map, text: Option<&str>| match text.map(parse_threshold) {
            None => Ok(None),
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(ThresholdsError::Value { map, error }),
        };
        let hard = threshold("evictionHard", texts.hard)?;
        let soft = threshold("evictionSoft", texts.soft)?;
        let min_reclaim = texts
            .min_reclaim
            .map(parse_min_reclaim)
            .transpose()
            .map_err(|error| ThresholdsError::Value {
                map: "evictionMinimumReclaim",
                error,
            })?;
        let soft = match (soft, texts.soft_grace) {
            (Some(_), None) => return Err(ThresholdsError::NoGrace),
            (soft, grace) => soft.zip(grace),
        };
        let made = |signal, value: ThresholdValue, grace, capacity| Threshold {
            signal,
            value: value.bytes(capacity),
            grace,
            min_reclaim: min_reclaim.map_or(Bytes::ZERO, |reclaim| reclaim.bytes(capacity)),
        };
        let values = [hard.map(|value| (value, Span(0))), soft];
        let values = values.iter().flatten();
        let (capacity, limit) = (self.capacity, self.kubepods_limit());
        let mut thresholds: Vec<Threshold> = values
            .clone()
            .map(|(value, grace)| made(Signal::MemoryAvailable, *value, *grace, capacity))
            .collect();
        if self.enforces_pods {
            // A soft threshold without any grace is a hard one to the kubelet, so it has a copy as well.
            let hard = values.filter(|(_, grace)| *grace == Span(0));
            thresholds.extend(
                hard.map(|(value, grace)| made(Signal::AllocatableMemoryAvailable, *value, *grace, limit)),
            );
        }
        self.thresholds = thresholds;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> KubeletConfig {
        KubeletConfig {
            capacity: Bytes::mebi(8192),
            kube_reserved: Bytes::mebi(2048),
            ..KubeletConfig::default()
        }
    }

    fn values(texts: &ThresholdTexts<'_>) -> Vec<(Signal, u64, Span)> {
        let mut config = config();
        if let Err(error) = config.set_thresholds(texts) {
            panic!("{error}");
        }
        let thresholds = config.thresholds.iter();
        thresholds
            .map(|threshold| (threshold.signal, threshold.value.0 >> 20, threshold.grace))
            .collect()
    }

    #[test]
    fn a_percentage_is_of_the_machine_and_for_pods_of_their_limit() {
        let texts = ThresholdTexts {
            hard: Some("25%"),
            ..ThresholdTexts::default()
        };
        let expected = [
            (Signal::MemoryAvailable, 2048, Span(0)),
            (Signal::AllocatableMemoryAvailable, 1536, Span(0)),
        ];
        assert_eq!(values(&texts), expected);
    }

    #[test]
    fn a_soft_one_guards_the_machine_alone_and_wants_a_grace() {
        let mut texts = ThresholdTexts {
            soft: Some("1Gi"),
            soft_grace: Some(Span::secs(90)),
            ..ThresholdTexts::default()
        };
        assert_eq!(values(&texts), [(Signal::MemoryAvailable, 1024, Span::secs(90))]);
        texts.soft_grace = None;
        assert_eq!(config().set_thresholds(&texts), Err(ThresholdsError::NoGrace));
    }

    #[test]
    fn a_refusal_names_its_map() {
        let texts = ThresholdTexts {
            min_reclaim: Some("-1Mi"),
            ..ThresholdTexts::default()
        };
        let refused = config().set_thresholds(&texts).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|why| why.starts_with("evictionMinimumReclaim[")));
    }
}
