//! The walls of a node: at which figures something is killed, by whom, and how far away each one is as its keeper counts.
//!
//! The hard threshold applies twice, to the node and, where pods are enforced, to `kubepods`; a soft one to the node alone
//! (`pkg/kubelet/eviction/helpers.go`).

use forestall_decide::kubelet::{KubeletConfig, Signal};
use serde::Serialize;

use super::division::{Division, soft};

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
    /// `MemTotal` − `MemAvailable`, huge pages included.
    pub(crate) node_unavailable: Option<u64>,
}

/// A figure at which something is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Wall {
    /// Its keeper.
    #[serde(rename = "wall")]
    pub(crate) kind: WallKind,
    /// For so long a soft threshold must be met; `None` for what acts at once.
    pub(crate) grace_seconds: Option<u64>,
    /// The figure, bytes; more than this kills.
    pub(crate) at_bytes: u64,
    /// In use now, as the keeper counts.
    pub(crate) used_bytes: Option<u64>,
    /// Left until then; 0 when it has been crossed.
    pub(crate) distance_bytes: Option<u64>,
}

impl Wall {
    /// The name for people.
    pub(crate) fn name(&self) -> String {
        let soft = if self.grace_seconds.is_some() {
            " (soft)"
        } else {
            ""
        };
        format!("{}{soft}", self.kind.name())
    }

    /// What happens there.
    pub(crate) fn consequence(&self) -> String {
        match (self.kind, self.grace_seconds) {
            (_, Some(grace)) => format!("the kubelet taints the node, and evicts a pod after {grace} s"),
            (WallKind::KubeletAllocatable, _) => "the kubelet evicts a pod (it looks every 10 s)".to_owned(),
            (WallKind::Kubepods, _) => "the kernel kills in any pod, at once".to_owned(),
            (WallKind::KubeletNode, _) => {
                "the kubelet taints the node and evicts a pod (every 10 s)".to_owned()
            }
            (WallKind::Kernel, _) => "the kernel kills any process of the machine, at once".to_owned(),
        }
    }
}

/// The walls of a node, from the lowest figure to the highest as they usually lie. Without a kubelet only the last one is
/// there.
pub(crate) fn walls(
    division: &Division,
    config: &KubeletConfig,
    has_kubelet: bool,
    usage: &Usage,
) -> Vec<Wall> {
    let wall = |kind, grace_seconds, at_bytes: u64, used_bytes: Option<u64>| Wall {
        kind,
        grace_seconds,
        at_bytes,
        used_bytes,
        distance_bytes: used_bytes.map(|used| at_bytes.saturating_sub(used)),
    };
    let capacity = division.capacity_bytes;
    let mut walls = Vec::with_capacity(5);
    if has_kubelet && let Some(limit) = division.kubepods_limit_bytes {
        let threshold = config.hard(Signal::AllocatableMemoryAvailable).0;
        if threshold > 0 {
            let at = limit.saturating_sub(threshold);
            walls.push(wall(
                WallKind::KubeletAllocatable,
                None,
                at,
                usage.pods_working_set,
            ));
        }
        walls.push(wall(WallKind::Kubepods, None, limit, usage.pods_unreclaimable));
    }
    if has_kubelet {
        if let Some(threshold) = soft(config) {
            let at = capacity.saturating_sub(threshold.value.0);
            let grace = Some(threshold.grace.0.div_ceil(1_000_000));
            walls.push(wall(WallKind::KubeletNode, grace, at, usage.node_working_set));
        }
        if division.eviction_hard_bytes > 0 {
            let at = capacity.saturating_sub(division.eviction_hard_bytes);
            walls.push(wall(WallKind::KubeletNode, None, at, usage.node_working_set));
        }
    }
    // Huge pages are out of everybody's reach, and missing from `MemAvailable`: neither room nor use.
    let huge = division.hugepages_bytes;
    let used = usage.node_unavailable.map(|used| used.saturating_sub(huge));
    walls.push(wall(WallKind::Kernel, None, capacity.saturating_sub(huge), used));
    walls
}

/// Which wall has the least distance; the first of equals.
pub(crate) fn next_wall(walls: &[Wall]) -> Option<usize> {
    let known = walls
        .iter()
        .enumerate()
        .filter_map(|(index, wall)| Some((wall.distance_bytes?, index)));
    known.min().map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use forestall_decide::kubelet::Threshold;
    use forestall_decide::{Bytes, Span};

    use super::super::division::tests::ds2_v2;
    use super::*;

    const MEBI: u64 = 1 << 20;

    fn of(config: &KubeletConfig, usage: &Usage) -> Vec<Wall> {
        let division = Division::of(config, None).expect("it fits");
        walls(&division, config, true, usage)
    }

    fn at(config: &KubeletConfig) -> Vec<(String, u64)> {
        let walls = of(config, &Usage::default());
        walls
            .iter()
            .map(|wall| (wall.name(), wall.at_bytes >> 10))
            .collect()
    }

    fn named(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected
            .iter()
            .map(|(name, at)| ((*name).to_owned(), *at))
            .collect()
    }

    #[test]
    fn a_node_of_7_gib_to_the_kibibyte() {
        // The pods' line is the limit 5443304 less 768000; the node's 7120616 less 768000.
        let expected = [
            ("kubelet-allocatable", 4_675_304),
            ("kubepods", 5_443_304),
            ("kubelet-node", 6_352_616),
            ("kernel", 7_120_616),
        ];
        assert_eq!(at(&ds2_v2(750)), named(&expected));
        // Less 1024000 instead.
        let expected = [
            ("kubelet-allocatable", 4_419_304),
            ("kubepods", 5_443_304),
            ("kubelet-node", 6_096_616),
            ("kernel", 7_120_616),
        ];
        assert_eq!(at(&ds2_v2(1000)), named(&expected));
    }

    #[test]
    fn huge_pages_are_no_room_for_anybody() {
        let config = KubeletConfig {
            capacity: Bytes::mebi(4096),
            hugepages: Bytes::mebi(1024),
            ..KubeletConfig::default()
        };
        let usage = Usage {
            node_unavailable: Some(2560 * MEBI),
            ..Usage::default()
        };
        // 4096 − 1024; of the 2560 that are not available 1024 are the pages, and 1536 stay available.
        let kernel = of(&config, &usage).pop().expect("the kernel's wall");
        assert_eq!(kernel.at_bytes, 3072 * MEBI);
        assert_eq!(kernel.used_bytes, Some(1536 * MEBI));
        assert_eq!(kernel.distance_bytes, Some(1536 * MEBI));
    }

    #[test]
    fn a_soft_threshold_is_the_nodes_alone() {
        let mut config = ds2_v2(750);
        config.thresholds.push(Threshold {
            signal: Signal::MemoryAvailable,
            value: Bytes::mebi(1000),
            grace: Span::millis(90_000),
            min_reclaim: Bytes::ZERO,
        });
        assert_eq!(at(&config)[2], ("kubelet-node (soft)".to_owned(), 6_096_616));
        assert_eq!(at(&config)[3], ("kubelet-node".to_owned(), 6_352_616));
        let soft = of(&config, &Usage::default())[2];
        assert!(
            soft.consequence().contains("after 90 s"),
            "{}",
            soft.consequence()
        );
    }

    #[test]
    fn without_thresholds_or_enforcement_there_are_no_such_walls() {
        let mut config = ds2_v2(750);
        config.thresholds.clear();
        assert_eq!(
            at(&config),
            named(&[("kubepods", 5_443_304), ("kernel", 7_120_616)])
        );
        config.enforces_pods = false;
        assert_eq!(at(&config), named(&[("kernel", 7_120_616)]));
    }

    #[test]
    fn the_next_wall_is_the_nearest_as_its_keeper_counts() {
        let usage = Usage {
            pods_working_set: Some(4000 * MEBI),
            pods_unreclaimable: Some(1000 * MEBI),
            node_working_set: Some(6000 * MEBI),
            node_unavailable: Some(3000 * MEBI),
        };
        let walls = of(&ds2_v2(750), &usage);
        // 6352616Ki = 6203.73 MiB lie 203.73 MiB above 6000; the pods' line is 565.73 MiB away.
        assert_eq!(next_wall(&walls), Some(2));
        assert_eq!(walls[2].distance_bytes, Some((6_352_616 << 10) - 6000 * MEBI));
        assert_eq!(next_wall(&[]), None);
    }

    #[test]
    fn a_wall_that_was_crossed_has_no_distance_left() {
        let usage = Usage {
            pods_working_set: Some(5000 * MEBI),
            ..Usage::default()
        };
        assert_eq!(of(&ds2_v2(750), &usage)[0].distance_bytes, Some(0));
    }
}
