//! Other nodes' figures, as their agents have written them: what is known of each, or why nothing is.
//!
//! They come from machines whose clocks and versions are their own, and by way of whoever may write such objects. It refuses to correct what cannot be: of figures that contradict each
//! other none is believed, and one strange object costs that node's figures and nobody else's.

use std::time::{Duration, SystemTime};

use forestall_decide::kubelet::Quantity;
use forestall_decide::{Bytes, Span};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::course::SIGN_OF_LIFE;
use crate::cluster::error::Trouble;
use crate::cluster::follow::read;
use crate::cluster::own_node::Taints;
use crate::cluster::slim::{each, lenient, text};
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
    let list: List<'_> = read(bytes)?;
    let objects = list.items.unwrap_or_default().into_iter();
    let nodes = objects.filter_map(|raw| {
        let object: Object = serde_json::from_str(raw.get()).ok()?;
        let known = object.known(now);
        Some((object.metadata.name, known)).filter(|(name, _)| !name.is_empty())
    });
    Ok(Page {
        nodes: nodes.collect(),
        rest: list.metadata.rest,
    })
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(default, deserialize_with = "lenient")]
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue", deserialize_with = "lenient")]
    rest: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    #[serde(deserialize_with = "text")]
    api_version: String,
    #[serde(deserialize_with = "lenient")]
    metadata: Meta,
    #[serde(deserialize_with = "text")]
    seen_at: String,
    #[serde(deserialize_with = "lenient")]
    memory: Memory,
    #[serde(deserialize_with = "each")]
    walls: Vec<Wall>,
    #[serde(deserialize_with = "lenient")]
    scheduling: Option<Scheduling>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    #[serde(deserialize_with = "text")]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Memory {
    #[serde(deserialize_with = "text")]
    total: String,
    #[serde(deserialize_with = "text")]
    available: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Scheduling {
    #[serde(deserialize_with = "text")]
    allocatable: String,
    #[serde(deserialize_with = "text")]
    requested: String,
    #[serde(deserialize_with = "each")]
    taints: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wall {
    #[serde(deserialize_with = "text")]
    left: String,
    #[serde(deserialize_with = "lenient")]
    alarm: bool,
    #[serde(deserialize_with = "lenient")]
    runway: Runway,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Runway {
    #[serde(rename = "p10Seconds", deserialize_with = "lenient")]
    p10: Option<u64>,
    #[serde(rename = "p50Seconds", deserialize_with = "lenient")]
    p50: Option<u64>,
}

impl Object {
    fn known(&self, now: SystemTime) -> Known {
        if self.api_version != super::VERSION {
            return Known::Not(Why::OtherVersion);
        }
        let standing = match self.standing() {
            Ok(standing) => standing,
            Err(why) => return Known::Not(why),
        };
        // Times of this one form stand in the order of their texts (RFC 3339, 5.1).
        let at = |time: Option<SystemTime>| rfc3339_seconds(time.unwrap_or(now));
        if self.seen_at > at(now.checked_add(LATE_MAX)) {
            Known::Not(Why::FromTheFuture)
        } else if self.seen_at < at(now.checked_sub(SIGN_OF_LIFE + LATE_MAX)) {
            Known::Once(standing)
        } else {
            Known::Now(standing)
        }
    }

    fn standing(&self) -> Result<Standing, Why> {
        if !is_time(&self.seen_at) {
            return Err(Why::Missing);
        }
        let (total, available) = (size(&self.memory.total)?, size(&self.memory.available)?);
        let lefts: Vec<Bytes> = self
            .walls
            .iter()
            .map(|wall| size(&wall.left))
            .collect::<Result<_, _>>()?;
        let is_possible = total > Bytes::ZERO
            && available <= total
            && lefts.iter().all(|left| *left <= total)
            && self.walls.len() <= WALLS_MAX
            && self.walls.iter().all(|wall| wall.runway.is_possible());
        if !is_possible {
            return Err(Why::Absurd);
        }
        let next = self.walls.first().and_then(|wall| wall.runway.p10);
        let open = self.scheduling.as_ref().map(Scheduling::open).transpose()?;
        Ok(Standing {
            total,
            left: lefts.into_iter().min().unwrap_or(available).min(available),
            runway_p10: next.map(Span::secs),
            is_alarmed: self.walls.iter().any(|wall| wall.alarm),
            open,
        })
    }
}

impl Scheduling {
    fn open(&self) -> Result<(Bytes, Taints), Why> {
        let left = size(&self.allocatable)? - size(&self.requested)?;
        Ok((left, Taints(self.taints.iter().cloned().collect())))
    }
}

impl Runway {
    fn is_possible(&self) -> bool {
        self.p50.is_none_or(|p50| self.p10.is_some_and(|p10| p10 <= p50))
    }
}

/// What is below nothing is nothing, as a quantity is rounded.
fn size(text: &str) -> Result<Bytes, Why> {
    let quantity = Quantity::parse(text).map_err(|_| Why::Missing)?;
    Ok(quantity.exact.round_down())
}

/// `2006-01-02T15:04:05Z`, as agents write it.
fn is_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00Z";
    let is_like = |(byte, like): (u8, &u8)| byte == *like || *like == b'0' && byte.is_ascii_digit();
    text.len() == form.len() && text.bytes().zip(form).all(is_like)
}
