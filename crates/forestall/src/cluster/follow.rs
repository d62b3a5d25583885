//! This node's pods, listed once and then followed: pages of a list, a watch from there on, and from the beginning when the server has forgotten.
//!
//! It says how sure it is of being up to date: a list that is followed over a connection that answers its pings is as good as new, and one that broke
//! off is as old as its last word. It refuses to list again where a watch can go on, and to hurry a server that asks for time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use super::error::{Refusal, Trouble};
use super::link::{Ask, Lines, Link};
use super::slim::SlimPod;

/// So many at a time; a pod is some kilobytes.
const PAGE_PODS: u32 = 250;

/// More pods than this one node never has (the kubelet's default is 110); those that come after them are left out, and counted.
const PODS_MAX: usize = 4096;

/// A watch ends and begins anew after so long, each node at its own time: by a hash of its name.
const WATCH_SECONDS: u64 = 300;

/// What is known of the pods of one node.
#[derive(Debug)]
pub(crate) struct Pods {
    node: String,
    /// By UID as the API has it.
    known: BTreeMap<String, SlimPod>,
    /// Up to where the watch has come; empty: it has to be listed.
    version: String,
    /// Those for which there was no room.
    pub(crate) left_out: u64,
}

/// What became of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something of a pod has changed.
    Changed,
    /// Only the place of the watch has.
    Told,
    /// The watch has ended as watches do.
    Ended,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<SlimPod>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    rest: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

impl Pods {
    /// Of this node, nothing known.
    pub(crate) fn of_node(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            known: BTreeMap::new(),
            version: String::new(),
            left_out: 0,
        }
    }

    /// All that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SlimPod> {
        self.known.values()
    }

    /// One of them.
    pub(crate) fn of_uid(&self, uid: &str) -> Option<&SlimPod> {
        self.known.get(uid)
    }

    /// Begins a watch, after a list where one is needed.
    pub(crate) async fn begin(&mut self, link: &Link) -> Result<Lines, Trouble> {
        if self.version.is_empty() {
            self.list(link).await?;
        }
        let path = format!(
            "{}&watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            self.path(),
            encoded(&self.version),
            WATCH_SECONDS + spread(&self.node) % WATCH_SECONDS,
        );
        match link.follow(&path).await {
            Err(Trouble::Refused(refusal)) if refusal.is_expired() => {
                self.version.clear();
                Err(Trouble::Refused(refusal))
            }
            followed => followed,
        }
    }

    /// Hears the next word of a watch.
    pub(crate) async fn step(&mut self, lines: &mut Lines) -> Result<Step, Trouble> {
        match lines.next().await? {
            Some(line) => self.hear(&line),
            None => Ok(Step::Ended),
        }
    }

    async fn list(&mut self, link: &Link) -> Result<(), Trouble> {
        let mut listed = BTreeMap::new();
        let (mut rest, mut left_out) = (String::new(), 0);
        loop {
            // From the server's memory: what is older than that is told by the watch.
            let from = if rest.is_empty() {
                "resourceVersion=0".to_owned()
            } else {
                format!("continue={}", encoded(&rest))
            };
            let path = format!("{}&limit={PAGE_PODS}&{from}", self.path());
            let page: Page = read(&link.ask(Ask::get(&path)).await?)?;
            for pod in page.items {
                if listed.len() < PODS_MAX {
                    listed.insert(pod.metadata.uid.clone(), pod);
                } else {
                    left_out += 1;
                }
            }
            if page.metadata.rest.is_empty() {
                self.version = page.metadata.resource_version;
                break;
            }
            rest = page.metadata.rest;
        }
        if self.version.is_empty() {
            return Err(Trouble::Broken(
                "a list of pods has no resourceVersion".to_owned(),
            ));
        }
        (self.known, self.left_out) = (listed, left_out);
        Ok(())
    }

    /// Takes one line of a watch.
    fn hear(&mut self, line: &[u8]) -> Result<Step, Trouble> {
        let event: Event<'_> = read(line)?;
        let object = event.object.get().as_bytes();
        if event.kind == "ERROR" {
            let code: Code = read(object)?;
            let refusal = Refusal::read(code.code, object, None);
            if refusal.is_expired() {
                self.version.clear();
            }
            return Err(Trouble::Refused(refusal));
        }
        let pod: SlimPod = read(object)?;
        if !pod.metadata.resource_version.is_empty() {
            self.version.clone_from(&pod.metadata.resource_version);
        }
        let uid = pod.metadata.uid.clone();
        Ok(match &*event.kind {
            "ADDED" | "MODIFIED" if self.known.contains_key(&uid) || self.known.len() < PODS_MAX => {
                let is_new = self.known.get(&uid).is_none_or(|known| !is_same(known, &pod));
                self.known.insert(uid, pod);
                if is_new { Step::Changed } else { Step::Told }
            }
            "ADDED" => {
                self.left_out += 1;
                Step::Told
            }
            "DELETED" if self.known.remove(&uid).is_some() => Step::Changed,
            // BOOKMARK, and what servers of other versions may say.
            _ => Step::Told,
        })
    }

    fn path(&self) -> String {
        format!(
            "/api/v1/pods?fieldSelector=spec.nodeName%3D{}",
            encoded(&self.node)
        )
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Code {
    code: u16,
}

/// Nothing has changed of what is read.
fn is_same(one: &SlimPod, other: &SlimPod) -> bool {
    let mut one = one.clone();
    one.metadata
        .resource_version
        .clone_from(&other.metadata.resource_version);
    one == *other
}

pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(bytes).map_err(|error| {
        Trouble::Broken(format!(
            "the API server's answer is not what was asked for: {error}"
        ))
    })
}

/// For a query (RFC 3986, "unreserved").
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A number of a name's own, so that not all nodes do something at once (FNV-1a).
fn spread(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// How long to wait before the next try: as long as the server asks for, else ever longer.
pub(crate) fn pause_after(trouble: &Trouble, tries: u32) -> Duration {
    const PAUSE_MAX: Duration = Duration::from_mins(1);
    match trouble {
        Trouble::Refused(refusal) if refusal.is_expired() && tries == 0 => Duration::ZERO,
        Trouble::Refused(Refusal {
            retry_after: Some(after),
            ..
        }) => (*after).min(5 * PAUSE_MAX),
        _ => Duration::from_secs(1 << tries.min(6)).min(PAUSE_MAX),
    }
}
