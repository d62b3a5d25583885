//! The kubelet's eviction, by its own rules: what it counts, when it acts, and on whom.
//!
//! Written down from its code (k/k `pkg/kubelet/eviction`), so that what it is about to do is known before it does it,
//! and so that the simulated kubelet and the shadow one cannot differ. It refuses to do better than the kubelet.

mod config;

pub use config::{ConfigSource, KubeletConfig, Signal, SwapBehavior, Threshold};
