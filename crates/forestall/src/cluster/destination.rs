//! Where an evicted pod could go: whether any other node has room for it, by what their agents have written.
//!
//! The scheduler goes by requests, and a node that has room by requests may be as near its wall as this one: who is evicted only moves the fire then. It refuses to say which node
//! it will be, and to take silence for a wall: where nobody's figures are known, an eviction is not held back for that.

use std::time::SystemTime;

use forestall_decide::{Bytes, Span};

use super::error::Trouble;
use super::follow::encoded;
use super::link::{Ask, Link};
use super::node_memory::{Known, Standing, VERSION, read_page};
use super::own_node::{self, Taints};

/// Nodes are read so many at once, until one has room.
const NODES_A_PAGE: u32 = 250;

/// No cluster has more pages than a list of 100,000 nodes.
const PAGES_MAX: usize = 400;

/// Whose next wall is as near as this has no room for anybody, as its condition `MemoryRunwayLow` says.
const RUNWAY_MIN: Span = Span::secs(120);

/// One part in so many of a machine has to be left with the newcomer in it.
const PARTS: u64 = 20;

/// What a pod brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// What it holds: where it leaks it will hold that again.
    pub(super) holds: Bytes,
    pub(super) request: Bytes,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A node with room for it.
    Room,
    /// Of so many other nodes whose figures are known none has; the most that one of them could take is this.
    Nowhere { nodes: usize, most: Bytes },
    /// That cannot be told, and why.
    Unknown(String),
}

/// Looks for room for a pod of this node.
pub(super) async fn find(link: &Link, node: &str, load: Load, now: SystemTime) -> Result<Found, Trouble> {
    // Where it cannot be read, those here are not known to tolerate anything.
    let here = own_node::read(link, node).await.unwrap_or_default().taints;
    let link = link.as_itself();
    let (mut nodes, mut most) = (0, Bytes::ZERO);
    let mut rest = String::new();
    for _ in 0..PAGES_MAX {
        let mut path = format!("/apis/{VERSION}/nodememories?limit={NODES_A_PAGE}");
        if !rest.is_empty() {
            path = format!("{path}&continue={}", encoded(&rest));
        }
        let answer = match link.ask(Ask::get(&path)).await {
            // The right or the kind is missing, or the server has forgotten where the next page begins: none of that says that there is no room.
            Err(Trouble::Refused(refusal)) if matches!(refusal.code, 403 | 404 | 410) => {
                return Ok(Found::Unknown(Trouble::Refused(refusal).to_string()));
            }
            answer => answer?,
        };
        let page = read_page(&answer, now)?;
        for (name, known) in page.nodes {
            let Known::Now(standing) = known else {
                continue;
            };
            if name == node {
                continue;
            }
            nodes += 1;
            if !admits(&standing, &here) {
                continue;
            }
            let room = room(&standing);
            if load.holds <= room && fits(&standing, load.request) {
                return Ok(Found::Room);
            }
            most = most.max(room);
        }
        rest = page.rest;
        if rest.is_empty() {
            break;
        }
    }
    if nodes == 0 {
        return Ok(Found::Unknown("no other node's figures are known".to_owned()));
    }
    Ok(Found::Nowhere { nodes, most })
}

fn admits(there: &Standing, here: &Taints) -> bool {
    there.open.as_ref().is_none_or(|(_, taints)| here.admit(taints))
}

fn fits(there: &Standing, request: Bytes) -> bool {
    there.open.as_ref().is_none_or(|(open, _)| request <= *open)
}

/// What it could take without being in trouble itself.
fn room(there: &Standing) -> Bytes {
    let is_near = there.is_alarmed || there.runway_p10.is_some_and(|runway| runway < RUNWAY_MIN);
    if is_near {
        Bytes::ZERO
    } else {
        there.left - Bytes(there.total.0 / PARTS)
    }
}

#[cfg(test)]
mod tests;
