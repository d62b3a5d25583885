//! What the kubelet was told: capacity, reservations and thresholds, percentages already turned into bytes.

use std::fmt;

use crate::units::{Bytes, Span};

/// The kubelet's configuration as far as memory is concerned (`kubelet.config.k8s.io/v1beta1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeletConfig {
    /// Where it was read.
    pub source: ConfigSource,
    /// The node's memory as the kubelet saw it at its start (cadvisor's MachineInfo: MemTotal).
    pub capacity: Bytes,
    /// `kubeReserved`: memory.
    pub kube_reserved: Bytes,
    /// `systemReserved`: memory.
    pub system_reserved: Bytes,
    /// Memory in pre-allocated huge pages, which no pod gets as memory; `allocatable` lacks them, the limit does not.
    pub hugepages: Bytes,
    /// `enforceNodeAllocatable` names `pods`: `kubepods` has a limit and its own threshold.
    pub enforces_pods: bool,
    /// `evictionHard` and `evictionSoft` for memory, in the order in which the kubelet holds them.
    pub thresholds: Vec<Threshold>,
    /// `evictionPressureTransitionPeriod`.
    pub pressure_transition: Span,
    /// `evictionMaxPodGracePeriod`: the most that a soft eviction leaves a pod.
    pub pod_grace_max: Span,
    /// `singleProcessOOMKill`: containers are not killed as a whole (1.32).
    pub single_process_oom_kill: bool,
    /// `memorySwap.swapBehavior`.
    pub swap: SwapBehavior,
}

/// Where a configuration was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// Nowhere: the kubelet's own defaults are assumed.
    #[default]
    Default,
    /// Its flags and its file on this machine.
    File,
    /// Its own answer (`/configz`).
    Configz,
    /// The operator said so.
    Given,
}

/// Whether pods may swap (KEP-2400).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwapBehavior {
    /// They may not.
    #[default]
    NoSwap,
    /// Burstable ones may, by their share of memory.
    LimitedSwap,
}

/// What a threshold is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// `memory.available`: the machine, as the kubelet counts it.
    MemoryAvailable,
    /// `allocatableMemory.available`: the limit of `kubepods` less its working set.
    AllocatableMemoryAvailable,
}

/// One eviction threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// What it is about.
    pub signal: Signal,
    /// Below this it is met.
    pub value: Bytes,
    /// For so long it must be met before the kubelet acts; nothing for a hard one.
    pub grace: Span,
    /// `evictionMinimumReclaim`: once met, it stays met until so much more is available.
    pub min_reclaim: Bytes,
}

impl Default for KubeletConfig {
    /// The kubelet's own defaults (k/k `pkg/kubelet/apis/config/v1beta1/defaults.go`); the capacity is not known yet.
    fn default() -> Self {
        let hard = |signal| Threshold {
            signal,
            value: Bytes::mebi(100),
            grace: Span(0),
            min_reclaim: Bytes::ZERO,
        };
        Self {
            source: ConfigSource::Default,
            capacity: Bytes::ZERO,
            kube_reserved: Bytes::ZERO,
            system_reserved: Bytes::ZERO,
            hugepages: Bytes::ZERO,
            enforces_pods: true,
            thresholds: vec![
                hard(Signal::MemoryAvailable),
                hard(Signal::AllocatableMemoryAvailable),
            ],
            pressure_transition: Span::secs(300),
            pod_grace_max: Span(0),
            single_process_oom_kill: false,
            swap: SwapBehavior::NoSwap,
        }
    }
}

/// Figures with which a kubelet refuses to start (`validateNodeAllocatable`, k/k `pkg/kubelet/cm/node_container_manager_linux.go`; it
/// counts no huge pages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// More is reserved than there is.
    Reservations {
        /// Both together.
        reserved: Bytes,
        /// Of so much.
        capacity: Bytes,
    },
    /// The hard threshold on the machine is above what the reservations leave.
    Threshold {
        /// The threshold.
        hard: Bytes,
        /// What they leave.
        left: Bytes,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reservations { reserved, capacity } => write!(
                out,
                "reservations of {} bytes exceed the capacity of {} bytes: reserve less, or give the capacity of the node \
                 that they are meant for",
                reserved.0, capacity.0
            ),
            Self::Threshold { hard, left } => write!(
                out,
                "eviction-hard of {} bytes exceeds the {} bytes that the reservations leave: a kubelet refuses to start \
                 with such figures; lower the threshold or the reservations",
                hard.0, left.0
            ),
        }
    }
}

impl std::error::Error for Misfit {}

impl KubeletConfig {
    /// Whether a kubelet starts with it; the error says what it refuses.
    pub fn validate(&self) -> Result<(), Misfit> {
        let capacity = self.capacity;
        let reserved = Bytes(self.kube_reserved.0.saturating_add(self.system_reserved.0));
        if reserved > capacity {
            return Err(Misfit::Reservations { reserved, capacity });
        }
        let (hard, left) = (self.hard(Signal::MemoryAvailable), capacity - reserved);
        if hard > left {
            return Err(Misfit::Threshold { hard, left });
        }
        Ok(())
    }

    /// The limit of `kubepods`: capacity less both reservations where pods are enforced, else the capacity
    /// (`enforceNodeAllocatableCgroups` and `getNodeAllocatableAbsoluteImpl`, k/k
    /// `pkg/kubelet/cm/node_container_manager_linux.go`). Huge pages stay in it, though no pod can have them as memory: on a
    /// node with many of them the limit is beyond what there is.
    pub fn kubepods_limit(&self) -> Bytes {
        if self.enforces_pods {
            self.capacity - self.kube_reserved - self.system_reserved
        } else {
            self.capacity
        }
    }

    /// `status.allocatable`: capacity less both reservations, the hard threshold on the machine and, here, the huge pages
    /// (`MachineInfo`, k/k `pkg/kubelet/nodestatus/setters.go`); enforced or not.
    pub fn allocatable(&self) -> Bytes {
        let reserved = self.kube_reserved + self.system_reserved + self.hard(Signal::MemoryAvailable);
        self.capacity - reserved - self.hugepages
    }

    /// Whether anything was read, or only the kubelet's defaults are assumed.
    pub fn is_known(&self) -> bool {
        self.source != ConfigSource::Default
    }

    /// The hard threshold of a signal; nothing where there is none.
    pub fn hard(&self, signal: Signal) -> Bytes {
        self.thresholds
            .iter()
            .find(|threshold| threshold.signal == signal && threshold.grace == Span(0))
            .map_or(Bytes::ZERO, |threshold| threshold.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_taken_from_what_is_promised_and_not_from_the_limit() {
        let mut config = KubeletConfig {
            capacity: Bytes::mebi(8192),
            kube_reserved: Bytes::mebi(1000),
            system_reserved: Bytes::mebi(500),
            hugepages: Bytes::mebi(2048),
            ..KubeletConfig::default()
        };
        assert_eq!(config.kubepods_limit(), Bytes::mebi(6692));
        assert_eq!(config.allocatable(), Bytes::mebi(6692 - 100 - 2048));
        config.enforces_pods = false;
        assert_eq!(config.kubepods_limit(), Bytes::mebi(8192));
        assert_eq!(config.allocatable(), Bytes::mebi(6692 - 100 - 2048));
    }
}
