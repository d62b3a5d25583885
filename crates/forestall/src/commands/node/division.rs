//! The arithmetic of a node's memory: what is taken off its capacity, and what is left for pods.
//!
//! The model is the kubelet's own (`forestall_decide::kubelet`), where nothing can go below nothing; here figures that do
//! not fit are refused, because a kubelet would not start with them. From its code: `kubepods` is limited to capacity less
//! reservations, **without** the eviction threshold and the huge pages (`getNodeAllocatableAbsoluteImpl`,
//! `pkg/kubelet/cm/node_container_manager_linux.go`); allocatable is that less the hard threshold and the huge pages
//! (`MachineInfo`, `pkg/kubelet/nodestatus/setters.go`).

use forestall_decide::Limit;
use forestall_decide::kubelet::{KubeletConfig, Signal};
use serde::Serialize;

/// How a node's memory is divided, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "every figure carries its unit, last in its name"
)]
pub(crate) struct Division {
    /// The node's memory as the kubelet sees it: `MemTotal`.
    pub(crate) capacity_bytes: u64,
    /// Reserved for Kubernetes' own daemons.
    pub(crate) kube_reserved_bytes: u64,
    /// Reserved for the operating system's.
    pub(crate) system_reserved_bytes: u64,
    /// Set aside as huge pages, which pods ask for apart: off allocatable, and not off the limit.
    pub(crate) hugepages_bytes: u64,
    /// The hard eviction threshold on the node; 0 where there is none.
    pub(crate) eviction_hard_bytes: u64,
    /// The soft one; `None` where there is none.
    pub(crate) eviction_soft_bytes: Option<u64>,
    /// What all pods together may use before the kernel kills; `None` where they are not limited together.
    pub(crate) kubepods_limit_bytes: Option<u64>,
    /// What the scheduler may promise to pods.
    pub(crate) allocatable_bytes: u64,
}

impl Division {
    /// Divides; `kernel` is the limit that the kernel holds on `kubepods`, where it could be read. The error says which
    /// figures do not fit, and what to do.
    pub(crate) fn of(config: &KubeletConfig, kernel: Option<Limit>) -> Result<Self, String> {
        let capacity = config.capacity.0;
        config.validate().map_err(|misfit| misfit.to_string())?;
        let left = (config.capacity - config.kube_reserved - config.system_reserved).0;
        if config.hugepages.0 > capacity {
            return Err(format!(
                "huge pages of {} bytes exceed the capacity of {capacity} bytes, of which they are a part: give both of \
                 the same node",
                config.hugepages.0
            ));
        }
        let hard = config.hard(Signal::MemoryAvailable).0;
        Ok(Self {
            capacity_bytes: capacity,
            kube_reserved_bytes: config.kube_reserved.0,
            system_reserved_bytes: config.system_reserved.0,
            hugepages_bytes: config.hugepages.0,
            eviction_hard_bytes: hard,
            eviction_soft_bytes: soft(config).map(|threshold| threshold.value.0),
            // What the kernel holds is what kills, whatever the configuration says.
            kubepods_limit_bytes: match kernel {
                Some(limit) => limit.bytes().map(|limit| limit.0),
                None => config.enforces_pods.then_some(left),
            },
            allocatable_bytes: config.allocatable().0,
        })
    }

    /// Where the pods' part of the node ends: at their limit, or where the node does.
    pub(crate) fn pods_end(&self) -> u64 {
        self.kubepods_limit_bytes.unwrap_or(self.capacity_bytes)
    }
}

/// The soft threshold on the node.
pub(crate) fn soft(config: &KubeletConfig) -> Option<&forestall_decide::kubelet::Threshold> {
    let mut thresholds = config.thresholds.iter();
    thresholds.find(|threshold| threshold.signal == Signal::MemoryAvailable && threshold.grace.0 > 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use forestall_decide::Bytes;

    use super::*;

    /// A `Standard_DS2_v2` of AKS before 1.29, which is sold with 7 GiB and has a capacity of 7120616Ki.
    pub(crate) fn ds2_v2(eviction_hard_mebi: u64) -> KubeletConfig {
        let mut config = KubeletConfig {
            capacity: Bytes(7_120_616 << 10),
            kube_reserved: Bytes::mebi(1638),
            ..KubeletConfig::default()
        };
        for threshold in &mut config.thresholds {
            threshold.value = Bytes::mebi(eviction_hard_mebi);
        }
        config
    }

    #[test]
    fn a_node_of_7_gib_to_the_kibibyte() {
        let division = Division::of(&ds2_v2(750), None).expect("it fits");
        // 1638Mi = 1677312Ki and 750Mi = 768000Ki: 7120616 − 1677312 = 5443304, and less 768000 = 4675304.
        assert_eq!(division.allocatable_bytes, 4_675_304 << 10);
        // 5443304 × 1024.
        assert_eq!(division.kubepods_limit_bytes, Some(5_573_943_296));
    }

    #[test]
    fn a_larger_threshold_takes_from_pods_and_leaves_the_limit() {
        let division = Division::of(&ds2_v2(1000), None).expect("it fits");
        // 1000Mi = 1024000Ki: 5443304 − 1024000 = 4419304.
        assert_eq!(division.allocatable_bytes, 4_419_304 << 10);
        assert_eq!(division.kubepods_limit_bytes, Some(5_573_943_296));
    }

    /// 8192 MiB with 1000 + 500 reserved and 2048 in huge pages: `kubepods` is limited to 8192 − 1500 = 6692, and of these
    /// 6692 − 100 − 2048 = 4544 are promised.
    #[test]
    fn huge_pages_are_taken_from_what_is_promised_and_not_from_the_limit() {
        let config = KubeletConfig {
            capacity: Bytes::mebi(8192),
            kube_reserved: Bytes::mebi(1000),
            system_reserved: Bytes::mebi(500),
            hugepages: Bytes::mebi(2048),
            ..KubeletConfig::default()
        };
        let division = Division::of(&config, None).expect("it fits");
        assert_eq!(division.kubepods_limit_bytes, Some(6692 << 20));
        assert_eq!(division.allocatable_bytes, 4544 << 20);
        assert_eq!(division.hugepages_bytes, 2048 << 20);
        // With 6650 in huge pages nothing is left to promise, and a kubelet starts all the same: its check leaves them out.
        let full = KubeletConfig {
            hugepages: Bytes::mebi(6650),
            ..config
        };
        let division = Division::of(&full, None).expect("it fits");
        assert_eq!(
            (division.kubepods_limit_bytes, division.allocatable_bytes),
            (Some(6692 << 20), 0)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_figures() {
        let config = |kube, system, hard| KubeletConfig {
            capacity: Bytes(100),
            kube_reserved: Bytes(kube),
            system_reserved: Bytes(system),
            thresholds: vec![forestall_decide::kubelet::Threshold {
                signal: Signal::MemoryAvailable,
                value: Bytes(hard),
                grace: forestall_decide::Span(0),
                min_reclaim: Bytes::ZERO,
            }],
            ..KubeletConfig::default()
        };
        let error = Division::of(&config(80, 21, 0), None).expect_err("101 of 100");
        assert!(error.contains("101 bytes"), "{error}");
        let error = Division::of(&config(80, 0, 21), None).expect_err("21 of 20");
        assert!(error.contains("refuses to start"), "{error}");
        assert!(Division::of(&config(80, 0, 20), None).is_ok());
        assert!(Division::of(&config(u64::MAX, u64::MAX, 1), None).is_err());
    }

    #[test]
    fn the_kernels_own_limit_wins_over_the_configuration() {
        let limit = |kernel| Division::of(&ds2_v2(750), kernel).map(|division| division.kubepods_limit_bytes);
        assert_eq!(limit(Some(Limit::Bytes(Bytes(800)))), Ok(Some(800)));
        assert_eq!(limit(Some(Limit::Max)), Ok(None));
        let free = KubeletConfig {
            enforces_pods: false,
            ..ds2_v2(750)
        };
        assert_eq!(
            Division::of(&free, None).map(|division| division.kubepods_limit_bytes),
            Ok(None)
        );
    }
}
