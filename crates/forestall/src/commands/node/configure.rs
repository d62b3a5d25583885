//! From settings to the kubelet's configuration in bytes, each figure with its source: what is assumed where nothing was
//! said, what follows from other figures, and what the kernel's own limit says to it.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold, ThresholdValue};
use forestall_decide::{Bytes, Limit, Span};

use super::amount;
use super::report::Origins;
use super::setting::{Settings, Told};

/// The source of a figure that nobody said.
const DEFAULT: &str = "the kubelet's default";

/// Largest page of a kernel that Kubernetes runs on: limits are kept in whole pages.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// A configuration in the making.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    /// What the kubelet runs with.
    pub(crate) config: KubeletConfig,
    /// Who said so.
    pub(crate) origins: Origins,
    /// What is worth a remark.
    pub(crate) notes: Vec<String>,
    hard: amount::Threshold,
    min_reclaim: Option<ThresholdValue>,
    knows_reservations: bool,
}

impl Configured {
    /// A machine without a kubelet: nothing is reserved and nobody evicts.
    pub(crate) fn bare(capacity: Bytes, hugepages: Bytes) -> Self {
        let config = KubeletConfig {
            capacity,
            hugepages,
            thresholds: Vec::new(),
            ..KubeletConfig::default()
        };
        Self {
            config,
            ..Self::default()
        }
    }

    /// Takes the settings over.
    pub(crate) fn apply(&mut self, settings: Settings) -> anyhow::Result<()> {
        self.knows_reservations = settings.kube_reserved.is_some() || settings.system_reserved.is_some();
        let take = |told: Option<Told<u64>>| match told {
            Some(told) => (Bytes(told.value), told.source),
            None => (Bytes::ZERO, DEFAULT.to_owned()),
        };
        (self.config.kube_reserved, self.origins.kube_reserved) = take(settings.kube_reserved);
        (self.config.system_reserved, self.origins.system_reserved) = take(settings.system_reserved);
        if let Some(told) = settings.enforces_pods {
            self.config.enforces_pods = told.value;
            if !told.value {
                self.notes.push(format!(
                    "{} does not enforce pods: kubepods has no limit below the capacity and no threshold of its own",
                    told.source
                ));
            }
        }
        if let Some(told) = settings.pressure_transition {
            self.config.pressure_transition = told.value;
        }
        if let Some(told) = settings.pod_grace_max {
            self.config.pod_grace_max = told.value;
        }
        self.min_reclaim = settings.min_reclaim.map(|told| told.value);
        let hard = settings.eviction_hard.unwrap_or_else(|| {
            self.notes.push(
                "eviction-hard is not known here: the kubelet's default of 100Mi is assumed".to_owned(),
            );
            let default = KubeletConfig::default().hard(Signal::MemoryAvailable);
            Told::by(DEFAULT, Some(amount::exactly(default.0)))
        });
        let capacity = self.config.capacity;
        self.hard = hard.value;
        self.origins.eviction_hard = Some(hard.source);
        self.watch(Signal::MemoryAvailable, hard.value, capacity, Span(0));
        if let Some(soft) = settings.eviction_soft.filter(|told| told.value.is_some()) {
            let grace = settings.soft_grace.ok_or_else(|| {
                anyhow::anyhow!(
                    "the soft threshold ({}) has no grace period, and a kubelet refuses to start with such; give one \
                     with --eviction-soft-grace-period 1m30s",
                    soft.source
                )
            })?;
            self.watch(Signal::MemoryAvailable, soft.value, capacity, grace.value);
            self.origins.eviction_soft = Some(soft.source);
        }
        Ok(())
    }

    /// What a node reports as allocatable is its capacity less reservations and hard threshold, so that the reservation
    /// follows where nothing else says it.
    pub(crate) fn infer_from_allocatable(&mut self, allocatable: Bytes) {
        if self.knows_reservations {
            return;
        }
        let left = self.config.capacity - self.config.hugepages;
        self.config.kube_reserved = left - self.config.hard(Signal::MemoryAvailable) - allocatable;
        self.inferred("capacity less allocatable and threshold");
    }

    /// Where the kernel's limit on `kubepods` and the configuration disagree, the kernel's counts; where only the kernel's
    /// is known, what is missing up to the capacity must have been reserved.
    pub(crate) fn reconcile(&mut self, limit: Bytes, source: &str) {
        if !self.knows_reservations {
            self.config.kube_reserved = self.config.capacity - self.config.hugepages - limit;
            self.inferred(&format!("capacity less {source}"));
            return;
        }
        let configured = self.config.kubepods_limit();
        if configured.0.abs_diff(limit.0) >= PAGE_BYTES_MAX {
            self.notes.push(format!(
                "the kernel limits kubepods to {}Ki, the configuration says {}Ki: was the kubelet restarted since?",
                limit.0 >> 10,
                configured.0 >> 10
            ));
        }
    }

    /// Applies the hard threshold to all pods, too, where they are enforced and have a limit (`addAllocatableThresholds`,
    /// k/k `pkg/kubelet/eviction/helpers.go`). A percentage is of the limit there, which is that signal's capacity, and so
    /// less than on the node.
    pub(crate) fn watch_pods(&mut self, kernel: Option<Limit>) {
        let limit = match kernel {
            Some(limit) => limit.bytes(),
            None => Some(self.config.kubepods_limit()),
        };
        if let Some(limit) = limit.filter(|_| self.config.enforces_pods) {
            self.watch(Signal::AllocatableMemoryAvailable, self.hard, limit, Span(0));
        }
    }

    fn watch(&mut self, signal: Signal, value: amount::Threshold, capacity: Bytes, grace: Span) {
        let value = value.map_or(Bytes::ZERO, |value| value.bytes(capacity));
        let min_reclaim = self
            .min_reclaim
            .map_or(Bytes::ZERO, |value| value.bytes(capacity));
        // A signal is never below nothing.
        if value > Bytes::ZERO {
            self.config.thresholds.push(Threshold {
                signal,
                value,
                grace,
                min_reclaim,
            });
        }
    }

    fn inferred(&mut self, how: &str) {
        how.clone_into(&mut self.origins.kube_reserved);
        self.notes.push(format!(
            "reservations are inferred ({how}); they are shown as kube-reserved"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 MiB, of which 200 are reserved, with a hard threshold.
    fn node(hard: &str) -> Configured {
        let mut node = Configured::bare(Bytes::mebi(1000), Bytes::ZERO);
        let settings = Settings {
            kube_reserved: Some(Told::by("a test", 200 << 20)),
            eviction_hard: Some(Told::by(
                "a test",
                amount::parse_threshold(hard).expect("a threshold"),
            )),
            ..Settings::default()
        };
        node.apply(settings).expect("it fits");
        node
    }

    fn thresholds(mut node: Configured, kernel: Option<Limit>) -> (Bytes, Bytes) {
        node.watch_pods(kernel);
        let config = node.config;
        (
            config.hard(Signal::MemoryAvailable),
            config.hard(Signal::AllocatableMemoryAvailable),
        )
    }

    #[test]
    fn a_percentage_is_of_what_the_signal_is_about() {
        // A quarter of 1000 and of 800; an amount is the same for both.
        assert_eq!(
            thresholds(node("25%"), None),
            (Bytes::mebi(250), Bytes::mebi(200))
        );
        assert_eq!(
            thresholds(node("100Mi"), None),
            (Bytes::mebi(100), Bytes::mebi(100))
        );
        let kernel = Some(Limit::Bytes(Bytes::mebi(400)));
        assert_eq!(
            thresholds(node("25%"), kernel),
            (Bytes::mebi(250), Bytes::mebi(100))
        );
        assert_eq!(
            thresholds(node("25%"), Some(Limit::Max)),
            (Bytes::mebi(250), Bytes::ZERO)
        );
        assert_eq!(thresholds(node("0%"), None), (Bytes::ZERO, Bytes::ZERO));
        let mut free = node("25%");
        free.config.enforces_pods = false;
        assert_eq!(thresholds(free, None), (Bytes::mebi(250), Bytes::ZERO));
    }

    #[test]
    fn a_limit_in_whole_pages_is_no_disagreement() {
        // 800 MiB and 5 KiB are configured, and 64 KiB pages cut the limit.
        let mut exact = node("100Mi");
        exact.config.kube_reserved = Bytes((200 << 20) - 5000);
        exact.reconcile(Bytes::mebi(800), "the kernel");
        assert!(exact.notes.is_empty(), "{:?}", exact.notes);
        exact.reconcile(Bytes::mebi(700), "the kernel");
        assert_eq!(exact.notes.len(), 1);
        assert_eq!(exact.config.kube_reserved, Bytes((200 << 20) - 5000));
    }

    #[test]
    fn more_allocatable_than_capacity_reserves_nothing() {
        let mut node = Configured::bare(Bytes::mebi(1000), Bytes::ZERO);
        node.apply(Settings::default()).expect("it fits");
        node.infer_from_allocatable(Bytes(u64::MAX));
        assert_eq!(node.config.kube_reserved, Bytes::ZERO);
    }
}
