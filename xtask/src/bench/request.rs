//! From an order to evict to the API server's word on it, over TLS and a socket of this machine, beside bare requests over the same connection, in turn.
//!
//! It runs inside the tests of `forestall`, whose parts nobody else can be linked with, without optimisation: the binary that ships is no slower. What lies before
//! the order, from a counter to a decision, is the row `reaction`.

use std::time::Duration;

use anyhow::{Context, Result};

use super::report::Report;
use crate::shell;

/// What 99 of 100 may take.
const TAKES_MAX: Duration = Duration::from_millis(50);

/// A bare request takes a thousandth of a second or two. Where one takes so much, this machine is busy.
const CALM_MAX: Duration = Duration::from_millis(20);

pub(super) fn measure(report: &mut Report) -> Result<()> {
    let [ours, floor] = times()?;
    report.time_beside(
        "evict-request",
        "from an order to evict to the API server's word on it, p99 of 400 (not optimised): beside a bare request",
        ours,
        floor,
        TAKES_MAX,
        CALM_MAX,
    );
    Ok(())
}

fn times() -> Result<[Duration; 2]> {
    let name = "cluster::evict::tests::pace::from_an_order_to_the_servers_word";
    let words = [
        "test",
        "--locked",
        "--package",
        "forestall",
        "--bin",
        "forestall",
        "--",
    ];
    let mut command = shell::cargo(&words);
    // 99 of 100 of these leave four that took longer.
    command.env("FORESTALL_EVICT_ROUNDS", "400");
    let printed = shell::output(command.args(["--exact", name, "--nocapture"]))?;
    let times = printed.lines().find_map(|line| {
        let (ours, floor) = line.strip_prefix("evict-request ")?.split_once(' ')?;
        Some([ours, floor].map(|nanos| nanos.trim().parse().map(Duration::from_nanos)))
    });
    let [ours, floor] = times.with_context(|| format!("the measurement said nothing: {printed}"))?;
    Ok([ours?, floor?])
}
