//! The arithmetic of a node's memory: what the kubelet gives to pods, and at which figures something is killed.
//!
//! From the kubelet's own code: `kubepods` is limited to capacity less reservations, **without** the eviction threshold
//! (`pkg/kubelet/cm/node_container_manager_linux.go`); allocatable is that less the hard threshold; the threshold applies
//! twice, to the node and, where pods are enforced, to `kubepods` (`pkg/kubelet/eviction/helpers.go`).

use serde::Serialize;

/// What the arithmetic starts from, all in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The node's memory as the kubelet sees it: `MemTotal`.
    pub(crate) capacity: u64,
    /// Reserved for Kubernetes' own daemons.
    pub(crate) kube_reserved: u64,
    /// Reserved for the operating system's.
    pub(crate) system_reserved: u64,
    /// Set aside as huge pages, which pods ask for apart.
    pub(crate) hugepages: u64,
    /// `eviction-hard` for `memory.available`.
    pub(crate) eviction_hard: u64,
    /// The limit the kernel has on `kubepods`, where it could be read.
    pub(crate) kubepods_limit: Option<u64>,
}

/// How a node's memory is divided, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "every figure carries its unit, last in its name"
)]
pub(crate) struct Division {
    /// The node's memory.
    pub(crate) capacity_bytes: u64,
    /// Reserved for Kubernetes' own daemons.
    pub(crate) kube_reserved_bytes: u64,
    /// Reserved for the operating system's.
    pub(crate) system_reserved_bytes: u64,
    /// Huge pages.
    pub(crate) hugepages_bytes: u64,
    /// The hard eviction threshold.
    pub(crate) eviction_hard_bytes: u64,
    /// What all pods together may use before the kernel kills.
    pub(crate) kubepods_limit_bytes: u64,
    /// What the scheduler may promise to pods.
    pub(crate) allocatable_bytes: u64,
}

impl Division {
    /// Divides; the error says which figures do not fit.
    pub(crate) fn of(inputs: &Inputs) -> Result<Self, String> {
        let reserved = inputs
            .kube_reserved
            .saturating_add(inputs.system_reserved)
            .saturating_add(inputs.hugepages);
        let configured = inputs.capacity.checked_sub(reserved).ok_or_else(|| {
            format!(
                "reservations of {reserved} bytes exceed the capacity of {} bytes",
                inputs.capacity
            )
        })?;
        let allocatable = configured.checked_sub(inputs.eviction_hard).ok_or_else(|| {
            format!(
                "eviction-hard of {} bytes exceeds the {configured} bytes that the reservations leave; \
                 a kubelet refuses to start with such figures",
                inputs.eviction_hard
            )
        })?;
        Ok(Self {
            capacity_bytes: inputs.capacity,
            kube_reserved_bytes: inputs.kube_reserved,
            system_reserved_bytes: inputs.system_reserved,
            hugepages_bytes: inputs.hugepages,
            eviction_hard_bytes: inputs.eviction_hard,
            // What the kernel holds is what kills, whatever the configuration says.
            kubepods_limit_bytes: inputs.kubepods_limit.unwrap_or(configured),
            allocatable_bytes: allocatable,
        })
    }
}

/// The keeper of a wall, by forestall's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WallKind {
    /// The kubelet evicts a pod because all pods use too much.
    KubeletAllocatable,
    /// The kernel kills inside `kubepods`.
    Kubepods,
    /// The kubelet evicts a pod because the node has too little left.
    KubeletNode,
    /// The kernel kills anywhere.
    Kernel,
}

impl WallKind {
    /// The name, as in metrics and events.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KubeletAllocatable => "kubelet-allocatable",
            Self::Kubepods => "kubepods",
            Self::KubeletNode => "kubelet-node",
            Self::Kernel => "kernel",
        }
    }

    /// What happens there.
    pub(crate) const fn consequence(self) -> &'static str {
        match self {
            Self::KubeletAllocatable => "the kubelet evicts a pod (it looks every 10 s)",
            Self::Kubepods => "the kernel kills in any pod, at once",
            Self::KubeletNode => "the kubelet taints the node and evicts a pod (every 10 s)",
            Self::Kernel => "the kernel kills any process of the machine, at once",
        }
    }
}

/// How much is in use, as each wall's keeper counts it; `None` where it is not known. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The kubelet's working set of all pods.
    pub(crate) pods_working_set: Option<u64>,
    /// What the kernel could not reclaim from `kubepods`.
    pub(crate) pods_unreclaimable: Option<u64>,
    /// The kubelet's working set of the node.
    pub(crate) node_working_set: Option<u64>,
    /// `MemTotal` − `MemAvailable`.
    pub(crate) node_unavailable: Option<u64>,
}

/// A figure at which something is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Wall {
    /// Its keeper.
    #[serde(rename = "wall")]
    pub(crate) kind: WallKind,
    /// The figure, bytes; more than this kills.
    pub(crate) at_bytes: u64,
    /// In use now, as the keeper counts.
    pub(crate) used_bytes: Option<u64>,
    /// Left until then; 0 when it has been crossed.
    pub(crate) distance_bytes: Option<u64>,
}

/// The walls of a node, from the lowest figure to the highest as they usually lie. Without a kubelet only the last one is
/// there.
pub(crate) fn walls(division: &Division, has_kubelet: bool, usage: &Usage) -> Vec<Wall> {
    let wall = |kind, at_bytes: u64, used_bytes: Option<u64>| Wall {
        kind,
        at_bytes,
        used_bytes,
        distance_bytes: used_bytes.map(|used| at_bytes.saturating_sub(used)),
    };
    let hard = division.eviction_hard_bytes;
    let mut walls = Vec::with_capacity(4);
    if has_kubelet {
        let limit = division.kubepods_limit_bytes;
        walls.push(wall(
            WallKind::KubeletAllocatable,
            limit.saturating_sub(hard),
            usage.pods_working_set,
        ));
        walls.push(wall(WallKind::Kubepods, limit, usage.pods_unreclaimable));
        let node = division.capacity_bytes.saturating_sub(hard);
        walls.push(wall(WallKind::KubeletNode, node, usage.node_working_set));
    }
    walls.push(wall(
        WallKind::Kernel,
        division.capacity_bytes,
        usage.node_unavailable,
    ));
    walls
}

/// The wall with the least distance; the first of equals.
pub(crate) fn next_wall(walls: &[Wall]) -> Option<Wall> {
    walls
        .iter()
        .filter(|wall| wall.distance_bytes.is_some())
        .min_by_key(|wall| wall.distance_bytes)
        .copied()
}

/// What `kubectl top node` shows as memory percent: working set over allocatable, cut to whole percent. More than 100 is
/// possible, because allocatable is not the node.
pub(crate) fn top_node_percent(node_working_set: u64, division: &Division) -> Option<u64> {
    let allocatable = u128::from(division.allocatable_bytes);
    let percent = (u128::from(node_working_set) * 100).checked_div(allocatable)?;
    u64::try_from(percent).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBI: u64 = 1 << 20;

    /// A `Standard_DS2_v2` of AKS before 1.29.
    fn ds2_v2(eviction_hard_mebi: u64) -> Division {
        Division::of(&Inputs {
            capacity: 7_120_616 << 10,
            kube_reserved: 1638 * MEBI,
            eviction_hard: eviction_hard_mebi * MEBI,
            ..Inputs::default()
        })
        .expect("it fits")
    }

    fn at(division: &Division) -> Vec<(&'static str, u64)> {
        let walls = walls(division, true, &Usage::default());
        walls
            .iter()
            .map(|wall| (wall.kind.name(), wall.at_bytes >> 10))
            .collect()
    }

    #[test]
    fn a_node_of_7_gib_to_the_kibibyte() {
        let division = ds2_v2(750);
        assert_eq!(division.allocatable_bytes, 4_675_304 << 10);
        assert_eq!(division.kubepods_limit_bytes, 5_573_943_296);
        // 7120616 − 750 × 1024 = 6352616: the node's own line.
        let expected = [
            ("kubelet-allocatable", 4_675_304),
            ("kubepods", 5_443_304),
            ("kubelet-node", 6_352_616),
        ];
        assert_eq!(at(&division)[..3], expected);
        assert_eq!(at(&division)[3], ("kernel", 7_120_616));
    }

    #[test]
    fn a_larger_threshold_takes_from_pods_and_leaves_the_limit() {
        let division = ds2_v2(1000);
        assert_eq!(division.allocatable_bytes, 4_419_304 << 10);
        assert_eq!(division.kubepods_limit_bytes, 5_573_943_296);
        let expected = [
            ("kubelet-allocatable", 4_419_304),
            ("kubepods", 5_443_304),
            ("kubelet-node", 6_096_616),
        ];
        assert_eq!(at(&division)[..3], expected);
    }

    #[test]
    fn top_node_is_cut_and_may_exceed_a_hundred() {
        let division = ds2_v2(750);
        assert_eq!(top_node_percent(838_124 << 10, &division), Some(17));
        assert_eq!(top_node_percent(3_367_460 << 10, &division), Some(72));
        assert_eq!(top_node_percent(5836 * MEBI, &division), Some(127));
    }

    #[test]
    fn the_next_wall_is_the_nearest_as_its_keeper_counts() {
        let usage = Usage {
            pods_working_set: Some(4000 * MEBI),
            pods_unreclaimable: Some(1000 * MEBI),
            node_working_set: Some(6000 * MEBI),
            node_unavailable: Some(3000 * MEBI),
        };
        let walls = walls(&ds2_v2(750), true, &usage);
        // 6352616Ki = 6203.73 MiB lie 203.73 MiB above 6000; the pods' line is 565.73 MiB away.
        let next = next_wall(&walls).expect("all are known");
        assert_eq!(
            (next.kind, next.distance_bytes),
            (WallKind::KubeletNode, Some((6_352_616 << 10) - 6000 * MEBI))
        );
        assert_eq!(next_wall(&[]), None);
    }

    #[test]
    fn a_wall_that_was_crossed_has_no_distance_left() {
        let usage = Usage {
            pods_working_set: Some(5000 * MEBI),
            ..Usage::default()
        };
        let crossed = walls(&ds2_v2(750), true, &usage)[0];
        assert_eq!(crossed.distance_bytes, Some(0));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_figures() {
        let inputs = Inputs {
            capacity: 100,
            kube_reserved: 80,
            system_reserved: 21,
            ..Inputs::default()
        };
        assert!(
            Division::of(&inputs)
                .expect_err("101 of 100")
                .contains("101 bytes")
        );
        let inputs = Inputs {
            capacity: 100,
            kube_reserved: 80,
            eviction_hard: 21,
            ..Inputs::default()
        };
        assert!(
            Division::of(&inputs)
                .expect_err("21 of 20")
                .contains("refuses to start")
        );
    }

    #[test]
    fn the_kernels_own_limit_wins_over_the_configuration() {
        let inputs = Inputs {
            capacity: 1000,
            kube_reserved: 100,
            kubepods_limit: Some(800),
            ..Inputs::default()
        };
        assert_eq!(
            Division::of(&inputs).map(|division| division.kubepods_limit_bytes),
            Ok(800)
        );
    }
}
