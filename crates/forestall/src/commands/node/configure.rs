//! From settings to the kubelet's configuration in bytes, each figure with its source: what is assumed where nothing was
//! said, what follows from other figures, and what the kernel's own limit says to it.

use forestall_decide::kubelet::{KubeletConfig, Signal, ThresholdTexts, ThresholdsError};
use forestall_decide::{Bytes, Limit, Span};

use super::amount::Threshold;
use super::machine::Machine;
use super::report::Origins;
use super::setting::{Settings, Told};

/// The source of a figure that nobody said.
const DEFAULT: &str = "the kubelet's default";

/// Largest page of a kernel that Kubernetes runs on: limits are kept in whole pages.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// The thresholds as they were said: what they come to is known once the limit of `kubepods` is.
#[derive(Clone, Debug, Default)]
struct Thresholds {
    hard: Option<Threshold>,
    soft: Option<Threshold>,
    soft_grace: Option<Span>,
    min_reclaim: Option<String>,
}

impl Thresholds {
    /// Puts them into a configuration whose capacity and reservations are known.
    fn set(&self, config: &mut KubeletConfig) -> Result<(), ThresholdsError> {
        let texts = ThresholdTexts {
            hard: self.hard.as_ref().map(Threshold::text),
            soft: self.soft.as_ref().map(Threshold::text),
            soft_grace: self.soft_grace,
            min_reclaim: self.min_reclaim.as_deref(),
        };
        config.set_thresholds(&texts)
    }
}

/// A configuration in the making.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    /// What the kubelet runs with.
    pub(crate) config: KubeletConfig,
    /// Who said so.
    pub(crate) origins: Origins,
    /// What is worth a remark.
    pub(crate) notes: Vec<String>,
    thresholds: Thresholds,
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

    /// What a kubelet with these settings runs with on this machine.
    pub(crate) fn of_machine(machine: &Machine, settings: Settings) -> anyhow::Result<Self> {
        let mut node = Self::bare(Bytes(machine.total), Bytes(machine.hugetlb));
        node.apply(settings)?;
        let held = machine.held_limit();
        if let Some((Limit::Bytes(limit), source)) = &held {
            node.reconcile(*limit, source);
        }
        node.settle(held.map(|(limit, _)| limit))?;
        Ok(node)
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
        if let Some(told) = settings.single_process_oom_kill {
            self.config.single_process_oom_kill = told.value;
        }
        if let Some(told) = settings.swap {
            self.config.swap = told.value;
        }
        let hard = settings.eviction_hard.unwrap_or_else(|| {
            self.notes.push(
                "eviction-hard is not known here: the kubelet's default of 100Mi is assumed".to_owned(),
            );
            let default = KubeletConfig::default().hard(Signal::MemoryAvailable);
            Told::by(DEFAULT, Threshold::bytes(default.0))
        });
        self.origins.eviction_hard = Some(hard.source);
        self.thresholds = Thresholds {
            hard: Some(hard.value),
            soft_grace: settings.soft_grace.map(|told| told.value),
            min_reclaim: settings.min_reclaim.map(|told| told.value),
            soft: settings.eviction_soft.map(|told| {
                self.origins.eviction_soft = Some(told.source);
                told.value
            }),
        };
        let soft = self.origins.eviction_soft.as_deref().unwrap_or_default();
        self.thresholds.set(&mut self.config).map_err(|error| match error {
            ThresholdsError::NoGrace => anyhow::anyhow!(
                "the soft threshold ({soft}) has no grace period, and a kubelet refuses to start with such; give one with \
                 --eviction-soft-grace-period 1m30s"
            ),
            error @ ThresholdsError::Value { .. } => error.into(),
        })
    }

    /// What a node reports as allocatable is its capacity less reservations, hard threshold and huge pages, so that the
    /// reservation follows where nothing else says it.
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
            self.config.kube_reserved = self.config.capacity - limit;
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

    /// Settles the thresholds once all is known: what the kernel holds on `kubepods` is what a percentage is of there.
    pub(crate) fn settle(&mut self, kernel: Option<Limit>) -> Result<(), ThresholdsError> {
        match kernel {
            None => self.thresholds.set(&mut self.config),
            Some(Limit::Bytes(limit)) => {
                let mut held = self.config.clone();
                held.system_reserved = Bytes::ZERO;
                held.kube_reserved = held.capacity - limit;
                self.thresholds.set(&mut held)?;
                self.config.thresholds = held.thresholds;
                Ok(())
            }
            // No limit, no signal: the kubelet sees nothing of which too little could be left.
            Some(Limit::Max) => {
                self.config.enforces_pods = false;
                self.thresholds.set(&mut self.config)
            }
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
            eviction_hard: Some(Told::by("a test", Threshold::read(hard).expect("a threshold"))),
            ..Settings::default()
        };
        node.apply(settings).expect("it fits");
        node
    }

    fn thresholds(mut node: Configured, kernel: Option<Limit>) -> (Bytes, Bytes) {
        node.settle(kernel).expect("they are thresholds");
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

    /// 8192 MiB with 2048 in huge pages, which the kernel's limit of 6692 MiB on `kubepods` knows nothing of: 1500 are
    /// reserved, a quarter of the limit is 1673, and 8192 − 1500 − 100 − 2048 = 4544 are promised.
    #[test]
    fn huge_pages_are_no_reservation() {
        let node = || Configured::bare(Bytes::mebi(8192), Bytes::mebi(2048));
        let mut inferred = node();
        inferred.apply(Settings::default()).expect("it fits");
        inferred.reconcile(Bytes::mebi(6692), "the kernel");
        assert_eq!(inferred.config.kube_reserved, Bytes::mebi(1500));
        assert_eq!(inferred.config.kubepods_limit(), Bytes::mebi(6692));

        let settings = |hard: &str| Settings {
            kube_reserved: Some(Told::by("a test", 1500 << 20)),
            eviction_hard: Some(Told::by("a test", Threshold::read(hard).expect("a threshold"))),
            ..Settings::default()
        };
        let mut said = node();
        said.apply(settings("25%")).expect("it fits");
        said.reconcile(Bytes::mebi(6692), "the kernel");
        assert!(said.notes.is_empty(), "they agree: {:?}", said.notes);
        assert_eq!(
            thresholds(said, Some(Limit::Bytes(Bytes::mebi(6692)))),
            (Bytes::mebi(2048), Bytes::mebi(1673))
        );

        let mut told = node();
        told.apply(Settings {
            kube_reserved: None,
            ..settings("100Mi")
        })
        .expect("it fits");
        told.infer_from_allocatable(Bytes::mebi(4544));
        assert_eq!(told.config.kube_reserved, Bytes::mebi(1500));
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
