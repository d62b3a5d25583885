//! The kubelet's eviction, by its own rules: what it counts, when it acts, and on whom.
//!
//! Written down from its code (k/k `pkg/kubelet/eviction`), so that what it is about to do is known before it does it,
//! and so that the simulated kubelet and the shadow one cannot differ. It refuses to do better than the kubelet.

mod amount;
mod config;
mod decimal;
mod effect;
mod extremes;
mod forecast;
mod grace;
mod manager;
mod quantity;
mod rank;
mod request;
mod shadow;
mod share;
mod signal;
mod thresholds;
mod value;

pub use config::{ConfigSource, KubeletConfig, Misfit, Signal, SwapBehavior, Threshold};
pub use extremes::Extremes;
pub use forecast::{
    Bounds, Crossing, Grower, Growth, KubeletForecast, KubeletState, Outlook, PodOutlook, PossibleVictim,
    Signs, Unmended,
};
pub use manager::{Eviction, GRACE_MIN, LOOK, Manager, POD_FIGURES_AGE_MAX, Sync, Verdict, Victim};
pub use quantity::{Nanobytes, Quantity, QuantityError, QuantityErrorKind};
pub use rank::{Candidate, Standing, first_victims};
pub use request::{InitRequest, PodLevel, Requests};
pub use shadow::Shadow;
pub use share::Share;
pub(crate) use signal::allocatable_available;
pub use signal::memory_available;
pub use signal::{Blind, Observation, Reading};
pub use thresholds::{ThresholdTexts, ThresholdsError};
pub use value::{ThresholdValue, ValueError, parse_min_reclaim, parse_threshold};
