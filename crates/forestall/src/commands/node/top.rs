//! The percentage that `kubectl top node` shows, and how to read it.
//!
//! It is the working set of the whole node, daemons and all, over allocatable, which leaves out what is reserved for them:
//! 100 % is not full, and more than 100 % may be fine. The arithmetic is kubectl's own
//! (`pkg/metricsutil/metrics_printer.go`): both as numbers of a thousandth in floating point, cut to whole percent; and
//! the usage as whole MiB, cut as well.

use serde::Serialize;

use super::division::Division;
use crate::commands::free::shown::{mebi, percent};

/// What the percentage means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reading {
    /// At most allocatable is in use: neither line of the kubelet is near because of it.
    WithinAllocatable,
    /// More than allocatable, less than the node's line: it depends on who uses it.
    AboveAllocatable,
    /// Past the node's line: the kubelet evicts.
    Evicting,
}

/// The percentage, and what it is made of. Bytes, unless the name says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Top {
    /// Working set of the node.
    pub(crate) usage_bytes: u64,
    /// The usage as kubectl shows it.
    pub(crate) shown_mebibytes: u64,
    /// The percentage as kubectl shows it.
    pub(crate) shown_percent: u64,
    /// The percentage at which the kubelet evicts from this node, as kubectl would show it.
    pub(crate) evicting_percent: u64,
    /// What is left until then.
    pub(crate) left_bytes: u64,
    /// What is not in pods, where the pods' part is known.
    pub(crate) daemons_bytes: Option<u64>,
    /// What it means.
    pub(crate) reading: Reading,
}

impl Top {
    /// Explains `usage_bytes`; `None` on a node with nothing allocatable, where kubectl divides by nothing.
    pub(crate) fn of(usage_bytes: u64, pods_bytes: Option<u64>, division: &Division) -> Option<Self> {
        let allocatable = division.allocatable_bytes;
        let line = division
            .capacity_bytes
            .saturating_sub(division.eviction_hard_bytes);
        Some(Self {
            usage_bytes,
            shown_mebibytes: usage_bytes >> 20,
            shown_percent: shown_percent(usage_bytes, allocatable)?,
            evicting_percent: shown_percent(line, allocatable)?,
            left_bytes: line.saturating_sub(usage_bytes),
            daemons_bytes: pods_bytes.map(|pods| usage_bytes.saturating_sub(pods)),
            // The kubelet evicts below its threshold, so that the line itself is still on this side.
            reading: if usage_bytes <= allocatable {
                Reading::WithinAllocatable
            } else if usage_bytes <= line {
                Reading::AboveAllocatable
            } else {
                Reading::Evicting
            },
        })
    }

    /// The explanation, a sentence or two a line.
    pub(crate) fn sentences(&self, division: &Division) -> Vec<String> {
        let reserved = division
            .kube_reserved_bytes
            .saturating_add(division.system_reserved_bytes);
        let mut lines = vec![
            format!(
                "It is {} of allocatable, cut to whole percent, and {} of the capacity.",
                percent(self.usage_bytes, division.allocatable_bytes),
                percent(self.usage_bytes, division.capacity_bytes),
            ),
            format!(
                "The daemons are counted in, and allocatable leaves out their reservation: full is {} %, where the \
                 kubelet evicts.",
                self.evicting_percent
            ),
        ];
        if let Some(daemons) = self.daemons_bytes {
            lines.push(format!(
                "Daemons use {} MiB of it, {} MiB are reserved for them.",
                mebi(daemons),
                mebi(reserved)
            ));
        }
        match self.reading {
            Reading::WithinAllocatable => lines.push(format!(
                "{} MiB are left until then. All pods together may still reach their own line first, each its limit.",
                mebi(self.left_bytes)
            )),
            Reading::AboveAllocatable => lines.extend([
                format!("{} MiB are left until then.", mebi(self.left_bytes)),
                "Fine while the daemons are steady and no pod can grow (limits equal requests, or their use is known): \
                 then"
                    .to_owned(),
                "what is above 100 % is the daemons' own. Serious where a pod may use more than it asked for, or they \
                 grow."
                    .to_owned(),
            ]),
            Reading::Evicting => lines.push(
                "Less than the threshold is available: the kubelet taints the node and evicts, whoever caused it."
                    .to_owned(),
            ),
        }
        lines
    }
}

/// kubectl's percentage of a usage.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "kubectl reckons in floating point and cuts the fraction off; to show what it shows is to do the same"
)]
pub(crate) fn shown_percent(usage: u64, allocatable: u64) -> Option<u64> {
    let milli = |bytes: u64| (u128::from(bytes) * 1000) as f64;
    (allocatable > 0).then(|| (milli(usage) / milli(allocatable) * 100.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::super::amount::parse_quantity;
    use super::super::division::tests::ds2_v2;
    use super::*;

    const MEBI: u64 = 1 << 20;

    fn node() -> Division {
        Division::of(&ds2_v2(750), None).expect("it fits")
    }

    fn top(usage: &str) -> Top {
        let usage = parse_quantity(usage).expect("an amount");
        Top::of(usage, None, &node()).expect("it has allocatable memory")
    }

    #[test]
    fn the_percentages_of_three_nodes_come_out() {
        // Of 4675304Ki: 838124 is 17.93 %, 3367460 is 72.03 %, and 5.70 GiB = 5976883Ki is 127.84 %.
        let idle = top("838124Ki");
        assert_eq!((idle.shown_mebibytes, idle.shown_percent), (818, 17));
        let busy = top("3367460Ki");
        assert_eq!((busy.shown_mebibytes, busy.shown_percent), (3288, 72));
        let full = top("5.70Gi");
        assert_eq!((full.shown_mebibytes, full.shown_percent), (5836, 127));
        // The kubelet's line is 6352616Ki: 135.88 % of allocatable.
        assert_eq!(full.evicting_percent, 135);
        assert_eq!(
            [idle.reading, busy.reading, full.reading],
            [
                Reading::WithinAllocatable,
                Reading::WithinAllocatable,
                Reading::AboveAllocatable
            ]
        );
    }

    #[test]
    fn the_kubelets_line_is_where_it_becomes_certain() {
        // 6352616Ki leave exactly 750Mi, and the kubelet evicts below that.
        assert_eq!(top("6352616Ki").reading, Reading::AboveAllocatable);
        assert_eq!(top("6352617Ki").reading, Reading::Evicting);
        assert_eq!(top("4675304Ki").reading, Reading::WithinAllocatable);
        assert_eq!(top("4675304Ki").shown_percent, 100);
    }

    #[test]
    fn daemons_are_what_pods_are_not() {
        // 5.70 GiB = 5836.8 MiB, of which pods use 4450: 1386.8 are left, of 1638 reserved.
        let usage = parse_quantity("5.70Gi").expect("an amount");
        let top = Top::of(usage, Some(4450 * MEBI), &node()).expect("it has allocatable memory");
        let lines = top.sentences(&node()).join("\n");
        assert!(
            lines.contains("Daemons use 1386.80 MiB of it, 1638.00 MiB are reserved"),
            "{lines}"
        );
        assert!(lines.contains("127.84 % of allocatable"), "{lines}");
        // 6203.73 − 5836.80.
        assert!(lines.contains("366.93 MiB are left"), "{lines}");
    }

    #[test]
    fn the_fraction_is_cut_in_floating_point_as_kubectl_does() {
        // 29 of 100 is 28.999999999999996 in floating point.
        assert_eq!(shown_percent(29, 100), Some(28));
        assert_eq!(shown_percent(1, 0), None);
        assert_eq!(shown_percent(u64::MAX, 1), Some(u64::MAX));
    }
}
