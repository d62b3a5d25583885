//! What the large providers reserve on a node, by their own documents, each dated. They are starting points for a what-if:
//! the node's own kubelet configuration decides, and it wins wherever it can be read.
//!
//! - AKS: "Node resource reservations", learn.microsoft.com/azure/aks/node-resource-reservations, as of 2026-11: both rules,
//!   parted by version 1.29. The document writes MB; nodes run with Mi. A node pool may set its own reservation instead.
//! - EKS: awslabs/amazon-eks-ami, nodeadm/internal/kubelet/config.go (`GetMemoryMebibytesToReserve`, evictionHard) at
//!   commit 0137549, as of 2026-11; the same figure as Amazon Linux 2's files/bootstrap.sh since 2020. Under the feature gate
//!   `MemoryLimitMaxPods` small machines take fewer pods than their type allows, which is for `--max-pods` to say.
//! - GKE: "About node sizes", cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes, section on memory and CPU
//!   reservations, as of 2026-07. Image streaming reserves more, which this leaves out.

use std::fmt::Write as _;

use clap::ValueEnum;

use super::amount::Threshold;
use super::setting::{Settings, Told};
use crate::commands::free::shown::human;

const MEBI: u64 = 1 << 20;
const GIBI: u64 = 1 << 30;

/// Pods of a node where nothing is said: the kubelet's own `maxPods`.
const PODS_DEFAULT: u32 = 110;

/// A provider's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// Azure, Kubernetes 1.29 and later: the lesser of 20Mi a pod + 50Mi and a quarter of the memory; evicts below 100Mi
    #[value(alias = "aks-1.29")]
    Aks,
    /// Azure before 1.29: 25, 20, 10, 6, 2 % of growing slices of the memory; evicts below 750Mi
    #[value(alias = "aks-1.28")]
    AksLegacy,
    /// Amazon: 11Mi a pod + 255Mi; evicts below 100Mi
    Eks,
    /// Google: 25, 20, 10, 6, 2 % of growing slices of the memory, 255Mi below 1Gi; evicts below 100Mi
    Gke,
}

/// The machine that a rule is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Its memory as the kernel reports it, bytes.
    pub(crate) capacity: u64,
    /// The memory it is sold with, bytes, where that is known.
    pub(crate) nominal: Option<u64>,
    /// Most pods of the node, where that is known.
    pub(crate) pods: Option<u32>,
}

impl Provider {
    /// The rule in words.
    const fn rule(self) -> &'static str {
        match self {
            Self::Aks => "AKS since 1.29: min(20Mi × max pods + 50Mi, 25 % of memory), eviction below 100Mi",
            Self::AksLegacy => {
                "AKS before 1.29: 25/20/10/6/2 % of the machine's nominal memory, eviction below 750Mi"
            }
            Self::Eks => "EKS: 11Mi × max pods + 255Mi, eviction below 100Mi",
            Self::Gke => "GKE: 25/20/10/6/2 % of the capacity, eviction below 100Mi",
        }
    }

    /// The name, for the source of a figure.
    const fn name(self) -> &'static str {
        match self {
            Self::Aks => "AKS since 1.29",
            Self::AksLegacy => "AKS before 1.29",
            Self::Eks => "EKS",
            Self::Gke => "GKE",
        }
    }

    /// Whether the rule asks for the number of pods.
    const fn counts_pods(self) -> bool {
        matches!(self, Self::Aks | Self::Eks)
    }

    /// Whether the rule starts from what the machine is sold with, of which the capacity the kernel reports is a part.
    const fn counts_nominal(self) -> bool {
        matches!(self, Self::Aks | Self::AksLegacy)
    }

    /// The rule, and what of the machine it was applied to.
    pub(crate) fn describe(self, machine: Machine) -> String {
        let mut text = self.rule().to_owned();
        if self.counts_pods() {
            let assumed = if machine.pods.is_none() {
                ", the kubelet's default"
            } else {
                ""
            };
            let _ = write!(text, "; {} pods{assumed}", machine.pods.unwrap_or(PODS_DEFAULT));
        }
        if self.counts_nominal() {
            let guessed = if machine.nominal.is_none() { " guessed" } else { "" };
            let nominal = machine.nominal.unwrap_or_else(|| guess_nominal(machine.capacity));
            let _ = write!(text, "; nominal memory {}{guessed}", human(nominal));
        }
        text
    }

    /// What the provider tells its kubelets. None of them sets `system-reserved`.
    pub(crate) fn settings(self, machine: Machine) -> Settings {
        let (reserved, threshold) = self.reserve(machine);
        Settings {
            kube_reserved: Some(Told::by(self.name(), reserved.saturating_mul(MEBI))),
            system_reserved: Some(Told::by(self.name(), 0)),
            eviction_hard: Some(Told::by(self.name(), Threshold::bytes(threshold * MEBI))),
            ..Settings::default()
        }
    }

    /// Reservation and threshold, MiB.
    fn reserve(self, machine: Machine) -> (u64, u64) {
        let capacity = machine.capacity;
        let nominal = machine.nominal.unwrap_or_else(|| guess_nominal(capacity));
        let pods = u64::from(machine.pods.unwrap_or(PODS_DEFAULT));
        match self {
            // A node with 110 pods runs with memory=2250Mi, so that the "MB" of the description are mebibytes.
            Self::Aks => ((20 * pods + 50).min(nominal / 4 / MEBI), 100),
            // Whole mebibytes, rounded down: 7 GiB give 1638.4 and nodes run with 1638Mi.
            Self::AksLegacy => (tiers(nominal) / 1000 / MEBI, 750),
            Self::Eks => (11 * pods + 255, 100),
            Self::Gke if capacity < GIBI => (255, 100),
            // Rounded up: a node of 32880872Ki runs with 3606Mi where the slices add up to 3605.97.
            Self::Gke => (tiers(capacity).div_ceil(1000 * MEBI), 100),
        }
    }
}

/// The sliced percentages, in thousandths of a byte so that no fraction is lost before the rule rounds.
fn tiers(memory: u64) -> u64 {
    const TIERS: [(u64, u64); 5] = [
        (4 * GIBI, 250),
        (8 * GIBI, 200),
        (16 * GIBI, 100),
        (128 * GIBI, 60),
        (u64::MAX, 20),
    ];
    let mut below = 0;
    TIERS.iter().fold(0, |sum: u64, (until, permille)| {
        let slice = memory.min(*until).saturating_sub(below);
        below = *until;
        sum.saturating_add(slice.saturating_mul(*permille))
    })
}

/// A guess at what the machine is sold with: the next size that is on sale, since firmware and kernel keep some of it.
fn guess_nominal(capacity: u64) -> u64 {
    const HALF_GIBI: [u64; 17] = [1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 96, 112, 128, 192, 224, 256];
    let on_sale = HALF_GIBI
        .iter()
        .map(|count| count * (GIBI / 2))
        .find(|size| *size >= capacity);
    on_sale.unwrap_or_else(|| capacity.div_ceil(16 * GIBI).saturating_mul(16 * GIBI))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved_mebi(provider: Provider, capacity_kibi: u64, max_pods: u32) -> u64 {
        let machine = Machine {
            capacity: capacity_kibi << 10,
            nominal: None,
            pods: Some(max_pods),
        };
        provider.reserve(machine).0
    }

    #[test]
    fn aks_before_1_29_as_seen_on_nodes() {
        // 0.25 × 4096 + 0.20 × 3072 = 1638.4 MiB.
        assert_eq!(reserved_mebi(Provider::AksLegacy, 7_120_616, 30), 1638);
        // Capacity and allocatable of nodes in github.com/Azure/AKS/issues/1216: the difference less 750Mi.
        assert_eq!(
            reserved_mebi(Provider::AksLegacy, 16_403_296, 30),
            (16_403_296 - 12_909_408) / 1024 - 750
        );
        assert_eq!(
            reserved_mebi(Provider::AksLegacy, 4_017_088, 30),
            (4_017_088 - 2_200_512) / 1024 - 750
        );
    }

    #[test]
    fn aks_since_1_29_as_described_and_seen() {
        // The examples of learn.microsoft.com/azure/aks/node-resource-reservations.
        assert_eq!(reserved_mebi(Provider::Aks, 7_900_000, 30), 650);
        // 70 pods would take 1450Mi; a quarter of a machine of 4 GiB is less.
        assert_eq!(reserved_mebi(Provider::Aks, 3_900_000, 70), 1024);
        // --kube-reserved=cpu=180m,memory=2250Mi … --max-pods=110, as AKS nodes run.
        assert_eq!(reserved_mebi(Provider::Aks, 32_000_000, 110), 2250);
    }

    #[test]
    fn eks_goes_by_pods_alone() {
        // t3.medium takes 17 pods, m5.large 29: 11 × 17 + 255 and 11 × 29 + 255.
        assert_eq!(reserved_mebi(Provider::Eks, 3_900_000, 17), 442);
        assert_eq!(reserved_mebi(Provider::Eks, 7_900_000, 29), 574);
    }

    #[test]
    fn gke_is_exact_on_one_published_node_and_near_on_two() {
        // Nodes in github.com/2i2c-org/infrastructure/issues/2121: capacity, allocatable.
        let off_by = |capacity: u64, allocatable: u64| {
            reserved_mebi(Provider::Gke, capacity, 110).abs_diff((capacity - allocatable) / 1024 - 100)
        };
        assert_eq!(off_by(32_880_872, 29_085_928), 0);
        // Google starts from an estimate of its own on these.
        assert!(off_by(131_919_220, 122_210_676) < 30);
        assert!(off_by(528_365_196, 510_603_916) < 5);
        assert_eq!(reserved_mebi(Provider::Gke, 600_000, 110), 255);
        // A quarter of the first GiB; 1024 + 819.2 + 819.2 + 0.06 × 114688 + 0.02 × 131072 = 12165.12 MiB of 256 GiB.
        assert_eq!(reserved_mebi(Provider::Gke, 1 << 20, 110), 256);
        assert_eq!(reserved_mebi(Provider::Gke, 256 << 20, 110), 12_166);
    }

    #[test]
    fn what_was_assumed_is_said() {
        let machine = Machine {
            capacity: 7_120_616 << 10,
            nominal: None,
            pods: None,
        };
        let text = Provider::Aks.describe(machine);
        assert!(
            text.ends_with("; 110 pods, the kubelet's default; nominal memory 7.0Gi guessed"),
            "{text}"
        );
        let known = Machine {
            nominal: Some(7 * GIBI),
            pods: Some(30),
            ..machine
        };
        let text = Provider::Aks.describe(known);
        assert!(text.ends_with("; 30 pods; nominal memory 7.0Gi"), "{text}");
        // Names people may expect for the two rules of one provider.
        assert_eq!(Provider::from_str("aks-1.29", false), Ok(Provider::Aks));
        assert_eq!(Provider::from_str("aks-1.28", false), Ok(Provider::AksLegacy));
    }

    #[test]
    fn a_nominal_size_is_never_below_the_capacity() {
        for capacity in [
            1,
            GIBI / 2,
            7_120_616 << 10,
            16_403_296 << 10,
            129 * GIBI,
            500 * GIBI,
        ] {
            assert!(guess_nominal(capacity) >= capacity);
        }
        assert_eq!(guess_nominal(7_120_616 << 10), 7 * GIBI);
        assert_eq!(guess_nominal(16_403_296 << 10), 16 * GIBI);
    }
}
