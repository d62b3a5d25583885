//! Other nodes' figures, as their agents have written them: what is known of each, or why nothing is.
//!
//! They come from machines whose clocks and versions are their own, and by way of whoever may write such objects. It refuses to correct what cannot be: of figures that contradict each
//! other none is believed, and one strange object costs that node's figures and nobody else's.

use std::time::{Duration, SystemTime};

use forestall_decide::kubelet::Quantity;
use forestall_decide::{Bytes, Span};
use serde_json::Value;

use super::course::SIGN_OF_LIFE;
use crate::cluster::error::Trouble;
use crate::cluster::follow::read;
use crate::cluster::own_node::Taints;
use crate::log::time::rfc3339_seconds;

/// After a sign of life that did not come, for what is on its way and for clocks that are not quite one.
const LATE_MAX: Duration = Duration::from_mins(1);

/// No node has more of them.
const WALLS_MAX: usize = 4;

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Known {
    /// That is so, or was a minute ago at most where something has changed since.
    Now(Standing),
    /// That was so; its agent is gone, or its clock is behind.
    Once(Standing),
    /// Nothing.
    Not(Why),
}

/// Why nothing is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Why {
    /// Of a version that this agent does not know.
    OtherVersion,
    /// A figure is missing, or none.
    Missing,
    /// They contradict each other.
    Absurd,
    /// It was seen at a time that has not come yet: how old it is nobody knows.
    FromTheFuture,
}

/// How a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Standing {
    pub(in crate::cluster) total: Bytes,
    /// To the wall that is nearest by what is left, and of the machine's memory where the node tells of no wall.
    pub(in crate::cluster) left: Bytes,
    /// To the wall that is reached first, at the fastest credible growth; `None` where none is in sight.
    pub(in crate::cluster) runway_p10: Option<Span>,
    pub(in crate::cluster) is_alarmed: bool,
    /// What requests may still come to, and what has to be tolerated; `None` where the node does not say.
    pub(in crate::cluster) open: Option<(Bytes, Taints)>,
}

/// A page of a list.
#[derive(Debug)]
pub(in crate::cluster) struct Page {
    /// Each node by its name.
    pub(in crate::cluster) nodes: Vec<(String, Known)>,
    /// Where the next page begins; empty at the last one.
    pub(in crate::cluster) rest: String,
}

/// Reads a page; `now` is the server's time as far as that is known, since all nodes' clocks are compared with it.
pub(in crate::cluster) fn read_page(bytes: &[u8], now: SystemTime) -> Result<Page, Trouble> {
    let list: Value = read(bytes)?;
    let items = match &list["items"] {
        Value::Array(items) => &**items,
        Value::Null if list.is_object() => &[],
        _ => return Err(Trouble::Broken("a list of nodes' figures is none".to_owned())),
    };
    let nodes = items.iter().filter_map(|object| {
        let name = object.pointer("/metadata/name").and_then(Value::as_str)?;
        Some((name.to_owned(), known(object, now))).filter(|(name, _)| !name.is_empty())
    });
    let rest = list.pointer("/metadata/continue").and_then(Value::as_str);
    Ok(Page {
        nodes: nodes.collect(),
        rest: rest.unwrap_or_default().to_owned(),
    })
}

fn known(object: &Value, now: SystemTime) -> Known {
    if object["apiVersion"] != super::VERSION {
        return Known::Not(Why::OtherVersion);
    }
    let standing = match standing(object) {
        Ok(standing) => standing,
        Err(why) => return Known::Not(why),
    };
    // Times of this one form stand in the order of their texts (RFC 3339, 5.1).
    let seen_at = object["seenAt"].as_str().unwrap_or_default();
    let at = |time: Option<SystemTime>| rfc3339_seconds(time.unwrap_or(now));
    if seen_at > &*at(now.checked_add(LATE_MAX)) {
        Known::Not(Why::FromTheFuture)
    } else if seen_at < &*at(now.checked_sub(SIGN_OF_LIFE + LATE_MAX)) {
        Known::Once(standing)
    } else {
        Known::Now(standing)
    }
}

fn standing(object: &Value) -> Result<Standing, Why> {
    if !object["seenAt"].as_str().is_some_and(is_time) {
        return Err(Why::Missing);
    }
    let memory = &object["memory"];
    let (total, available) = (size(&memory["total"])?, size(&memory["available"])?);
    let walls = object["walls"].as_array().map_or(&[][..], Vec::as_slice);
    let lefts: Vec<Bytes> = walls
        .iter()
        .map(|wall| size(&wall["left"]))
        .collect::<Result<_, _>>()?;
    let is_possible = total > Bytes::ZERO
        && available <= total
        && lefts.iter().all(|left| *left <= total)
        && walls.len() <= WALLS_MAX
        && walls.iter().all(|wall| is_runway(&wall["runway"]));
    if !is_possible {
        return Err(Why::Absurd);
    }
    let next = walls
        .first()
        .and_then(|wall| wall["runway"]["p10Seconds"].as_u64());
    Ok(Standing {
        total,
        left: lefts.into_iter().min().unwrap_or(available).min(available),
        runway_p10: next.map(Span::secs),
        is_alarmed: walls.iter().any(|wall| wall["alarm"] == true),
        open: match &object["scheduling"] {
            Value::Null => None,
            told => Some(open(told)?),
        },
    })
}

fn open(scheduling: &Value) -> Result<(Bytes, Taints), Why> {
    let left = size(&scheduling["allocatable"])? - size(&scheduling["requested"])?;
    let taints = scheduling["taints"].as_array().into_iter().flatten();
    let taints = taints.filter_map(Value::as_str).map(str::to_owned);
    Ok((left, Taints(taints.collect())))
}

/// A bound that is missing is not in sight.
fn is_runway(runway: &Value) -> bool {
    let (p10, p50) = (&runway["p10Seconds"], &runway["p50Seconds"]);
    let is_bound = |bound: &Value| bound.is_null() || bound.is_u64();
    let is_in_order = p50.is_null() || p10.as_u64() <= p50.as_u64() && !p10.is_null();
    is_bound(p10) && is_bound(p50) && is_in_order
}

/// What is below nothing is nothing, as a quantity is rounded.
fn size(text: &Value) -> Result<Bytes, Why> {
    let quantity = Quantity::parse(text.as_str().ok_or(Why::Missing)?).map_err(|_| Why::Missing)?;
    Ok(quantity.exact.round_down())
}

/// `2006-01-02T15:04:05Z`, as agents write it.
fn is_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00Z";
    let is_like = |(byte, like): (u8, &u8)| byte == *like || *like == b'0' && byte.is_ascii_digit();
    text.len() == form.len() && text.bytes().zip(form).all(is_like)
}
