//! What the agent knows by the API server and the kubelet, and how well it knows it.

use std::fmt;

use forestall_decide::kubelet::Signal;

use super::{NO_LABELS, Page, seconds};
use crate::agent::clock::now;
use crate::agent::shared::{Api, Compared};

/// Where this node is in a cluster.
pub(super) fn encode(out: &mut Page<'_, '_>, api: &Api) -> fmt::Result {
    out.gauge("forestall_api_up", "1 while the API server answers", |series| {
        series.int(&NO_LABELS, i64::from(api.away.is_none() && api.told_at.is_some()))
    })?;
    out.gauge(
        "forestall_pods",
        "Pods of this node that are known, and those that are not followed because there are too many or they are too large",
        |series| {
            for (state, count) in [("known", api.pods), ("left-out", api.left_out)] {
                series.int(&[("state", state)], i64::try_from(count).unwrap_or(i64::MAX))?;
            }
            Ok(())
        },
    )?;
    if let Some(skew) = api.skew {
        out.gauge(
            "forestall_api_clock_skew_seconds",
            "How far the API server's clock is ahead of this machine's, at least, and negative where it is behind; no decision depends on it",
            |series| {
                #[expect(clippy::cast_precision_loss, reason = "thousandths of a second of many years need no more than 53 bits")]
                let seconds = skew.millis as f64 / 1_000.0;
                series.float(&NO_LABELS, seconds)
            },
        )?;
    }
    if !api.compared.is_empty() {
        encode_compared(out, &api.compared)?;
    }
    let Some(told_at) = api.told_at else { return Ok(()) };
    out.gauge(
        "forestall_pods_age_seconds",
        "How long ago the pods were known to be so, at most; beyond 60 the agent acts as if it knew none",
        |series| series.float(&NO_LABELS, seconds(now().since(told_at))),
    )
}

/// The kubelet's signals, by its word and by its rules.
fn encode_compared(out: &mut Page<'_, '_>, compared: &[Compared]) -> fmt::Result {
    out.gauge(
        "forestall_kubelet_available_bytes",
        "What is available by the kubelet's own word, and by its rules and this agent's figures",
        |series| {
            compared.iter().try_for_each(|it| {
                let signal = signal_name(it.signal);
                series.bytes(&[("signal", signal), ("view", "kubelet")], it.believed)?;
                series.bytes(&[("signal", signal), ("view", "forestall")], it.counted)
            })
        },
    )?;
    out.gauge(
        "forestall_kubelet_drift_ratio",
        "The second of these less the first, over all that there is: the kubelet's word is some ten seconds old",
        |series| {
            compared.iter().try_for_each(|it| {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a share of memory needs no more than 53 bits"
                )]
                let drift = (it.counted.0 as f64 - it.believed.0 as f64) / it.size.0.max(1) as f64;
                series.float(&[("signal", signal_name(it.signal))], drift)
            })
        },
    )
}

/// As the kubelet calls it.
const fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::MemoryAvailable => "memory.available",
        Signal::AllocatableMemoryAvailable => "allocatableMemory.available",
    }
}
