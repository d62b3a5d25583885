//! This node's pods, listed once and then followed: pages of a list, a watch from there on, and from the beginning when the server has forgotten.
//!
//! It says how sure it is of being up to date: a list that is followed over a connection that answers its pings is as good as new, and one that broke
//! off is as old as its last word. It refuses to list again where a watch can go on, and to hurry a server that asks for time.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{Refusal, Trouble};
use super::known::Known;
use super::link::{Ask, Lines, Link};
use super::slim::{SlimPod, lenient, text};
use crate::log::escape;

/// So many at a time; a pod is some kilobytes. Where pods are so large that a page is not read, a quarter of it is asked for.
const PAGE_PODS: u32 = 250;

/// A list has no more pages and takes no longer, or its end is not waited for: what is known is worth something for a minute.
const PAGES_MAX: usize = 1_000;
const LIST_TIME_MAX: Duration = Duration::from_mins(1);

/// A watch ends and begins anew after so long, each node at its own time: by a hash of its name.
const WATCH_SECONDS: u64 = 300;

/// Of why an answer cannot be read no more is told.
const WHY_CHARS_MAX: usize = 200;

/// Who does not end a watch by then has forgotten it, though the connection answers its pings: what stands between answers those, too.
const WATCH_LATE_MAX: Duration = Duration::from_secs(30);

/// What is known of the pods of one node.
#[derive(Debug)]
pub(crate) struct Pods {
    node: String,
    known: Known,
    /// Up to where the watch has come; empty: it has to be listed.
    version: String,
    /// When the watch ends, whatever the server does.
    watch_ends: Instant,
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

/// Pods are read one by one: a strange one must not cost the list.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default, deserialize_with = "lenient")]
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMeta {
    #[serde(deserialize_with = "text")]
    resource_version: String,
    #[serde(rename = "continue", deserialize_with = "lenient")]
    rest: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", default, deserialize_with = "text")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Pods {
    /// Of this node, nothing known.
    pub(crate) fn of_node(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            known: Known::default(),
            version: String::new(),
            watch_ends: Instant::now(),
        }
    }

    /// All that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &SlimPod> {
        self.known.iter()
    }

    /// One of them.
    pub(crate) fn of_uid(&self, uid: &str) -> Option<&SlimPod> {
        self.known.of_uid(uid)
    }

    /// How many there was no room for.
    pub(crate) const fn left_out(&self) -> u64 {
        self.known.left_out
    }

    /// Begins a watch, after a list where one is needed.
    pub(crate) async fn begin(&mut self, link: &Link) -> Result<Lines, Trouble> {
        if self.version.is_empty() {
            self.list(link).await?;
        }
        let seconds = WATCH_SECONDS + spread(&self.node) % WATCH_SECONDS;
        let path = format!(
            "{}&watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={seconds}",
            self.path(),
            encoded(&self.version),
        );
        self.watch_ends = Instant::now() + Duration::from_secs(seconds) + WATCH_LATE_MAX;
        match link.follow(&path).await {
            Err(Trouble::Refused(refusal)) if !may_go_on_after(&refusal) => {
                self.version.clear();
                Err(Trouble::Refused(refusal))
            }
            followed => followed,
        }
    }

    /// Hears the next word of a watch. After one that cannot be understood, or that says that something is wrong, there has to be a list.
    pub(crate) async fn step(&mut self, lines: &mut Lines) -> Result<Step, Trouble> {
        let next = timeout_at(self.watch_ends, lines.next()).await;
        let step = match next.unwrap_or(Ok(None)) {
            Ok(Some(line)) => self.hear(&line),
            Ok(None) => return Ok(Step::Ended),
            Err(Trouble::TooLarge(bytes)) => Err(Trouble::TooLarge(bytes)),
            // Nothing was said; the watch can go on over another connection.
            Err(broken) => return Err(broken),
        };
        if step.is_err() {
            self.version.clear();
        }
        step
    }

    async fn list(&mut self, link: &Link) -> Result<(), Trouble> {
        let listed = timeout(LIST_TIME_MAX, self.list_all(link)).await;
        let slow = |_| Trouble::Slow("a list of pods has not come to its end".to_owned(), LIST_TIME_MAX);
        (self.known, self.version) = listed.map_err(slow)??;
        Ok(())
    }

    async fn list_all(&self, link: &Link) -> Result<(Known, String), Trouble> {
        let mut listed = Known::default();
        // From the server's memory: what is older than that is told by the watch.
        let (mut from, mut limit) = ("resourceVersion=0".to_owned(), PAGE_PODS);
        for _ in 0..PAGES_MAX {
            let path = format!("{}&limit={limit}&{from}", self.path());
            let page = match link.ask(Ask::get(&path)).await {
                Err(Trouble::TooLarge(_)) if limit > 1 => {
                    limit = (limit / 4).max(1);
                    // From its memory a server gives all at once, whatever the limit is (k/k `staging/src/k8s.io/apiserver/pkg/storage/cacher`).
                    if from == "resourceVersion=0" {
                        "resourceVersion=".clone_into(&mut from);
                    }
                    continue;
                }
                page => page?,
            };
            let page: Page<'_> = read(&page)?;
            for pod in page.items.unwrap_or_default() {
                if let Some(pod) = serde_json::from_str(pod.get())
                    .ok()
                    .filter(|pod| self.is_ours(pod))
                {
                    listed.put(pod, true);
                }
            }
            let PageMeta {
                resource_version,
                rest,
            } = page.metadata;
            if rest.is_empty() && resource_version.is_empty() {
                return Err(Trouble::Broken(
                    "a list of pods has no resourceVersion".to_owned(),
                ));
            }
            if rest.is_empty() {
                return Ok((listed, resource_version));
            }
            from = format!("continue={}", encoded(&rest));
        }
        Err(Trouble::Broken(format!(
            "a list of pods has no end within {PAGES_MAX} pages"
        )))
    }

    /// Of this node, and of whom it can be said who it is. What else a server sends is none of ours, whatever was asked for.
    fn is_ours(&self, pod: &SlimPod) -> bool {
        pod.spec.node_name == self.node && !pod.metadata.uid.is_empty()
    }

    /// Takes one line of a watch.
    fn hear(&mut self, line: &[u8]) -> Result<Step, Trouble> {
        let event: Event<'_> = read(line)?;
        let object = event.object.get().as_bytes();
        if event.kind == "ERROR" {
            let code: Code = read(object)?;
            return Err(Trouble::Refused(Refusal::read(code.code, object, None)));
        }
        let pod: SlimPod = read(object)?;
        if !pod.metadata.resource_version.is_empty() {
            self.version.clone_from(&pod.metadata.resource_version);
        }
        let has_changed = self.is_ours(&pod)
            && match &*event.kind {
                "ADDED" => self.known.put(pod, true),
                "MODIFIED" => self.known.put(pod, false),
                "DELETED" => self.known.remove(&pod.metadata.uid),
                // BOOKMARK, and what servers of other versions may say.
                _ => false,
            };
        Ok(if has_changed { Step::Changed } else { Step::Told })
    }

    /// As if a list or a watch had come up to there; from nowhere it has to be listed.
    #[cfg(test)]
    pub(super) fn know_place(&mut self, version: &str) {
        version.clone_into(&mut self.version);
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
    #[serde(deserialize_with = "lenient")]
    code: u16,
}

/// Whether a watch that was refused so may be asked for again from where it was: who is not let in, or told to wait, has lost nothing. Everything else may be
/// about the place: one that was forgotten, that the server does not know yet (504, after a restore of etcd), or cannot read.
fn may_go_on_after(refusal: &Refusal) -> bool {
    matches!(refusal.code, 401 | 403 | 429 | 500..=503 | 505..) && !refusal.is_expired()
}

pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(bytes).map_err(|error| {
        // It quotes what it has found.
        let why: String = error.to_string().chars().take(WHY_CHARS_MAX).collect();
        Trouble::Broken(format!(
            "the API server's answer is not what was asked for: {}",
            escape::bytes(why.as_bytes())
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
    const PAUSE_MIN: Duration = Duration::from_secs(1);
    const PAUSE_MAX: Duration = Duration::from_mins(1);
    match trouble {
        Trouble::Refused(refusal) if refusal.is_expired() && tries == 0 => Duration::ZERO,
        Trouble::Refused(Refusal {
            retry_after: Some(after),
            ..
        }) => (*after).clamp(PAUSE_MIN, 5 * PAUSE_MAX),
        _ => Duration::from_secs(1 << tries.min(6)).min(PAUSE_MAX),
    }
}
