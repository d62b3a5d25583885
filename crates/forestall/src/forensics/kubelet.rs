//! What the kubelet says in the same log: that memory is short, whom it evicts and in what words, and whose containers it ends; and what memory
//! killers say there ([`killer`]).
//!
//! A line is told by klog's form and its message, whatever the program is called that carries the kubelet (`kubelet`, `k3s`,
//! `kubelite`). What it refuses to do: to take a pod's name for a pod. The next pod of a StatefulSet has the same name and another UID, so that a
//! name is put to a UID only where a line of the kubelet's own has both.
//!
//! Sources: `pkg/kubelet/eviction/eviction_manager.go`, `helpers.go` and `pkg/kubelet/kuberuntime/kuberuntime_container.go`, from 1.16 (without
//! quotes) to 1.34.

use forestall_kernel::kmsg::{Calendar, Line, Origin, When};
use forestall_kernel::parse::{find, unsigned};
use memchr::memmem::Finder;

use super::killer::{self, Killing};

/// A longer line is cut.
const LINE_BYTES_MAX: usize = 16 << 10;

/// No name, and no message, is kept further.
const TEXT_BYTES_MAX: usize = 1024;

/// Each line that matters has one of these.
const WORDS: [&[u8]; 5] = [
    b"viction manager: ",
    b"Killing container ",
    b"was low on resource: ",
    killer::WORDS[0],
    killer::WORDS[1],
];

/// A pod as a line names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// `namespace/name`, or what there is of it.
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
}

/// What it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A threshold is met.
    Short { resource: String },
    /// Nothing but pods is left to take it from.
    MustEvict { resource: String },
    /// Why it evicts this pod, as it tells everybody.
    Message { pod: Pod, message: String },
    /// It ends a container, for whatever reason.
    Ends {
        /// Empty in a line of 1.20 or before, which names the container alone.
        pod: Pod,
        container: String,
        /// The runtime's ID.
        id: Option<String>,
        /// Seconds.
        grace: Option<u64>,
    },
    /// The pod has ended for it.
    Evicted { pod: Pod },
    /// It has not.
    Failed { pod: Pod },
    /// A memory killer, which is not the kubelet, ended somebody.
    Kills(Killing),
}

/// When it did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) when: When,
    pub(crate) what: What,
}

impl Deed {
    /// The pod it is about.
    pub(crate) const fn pod(&self) -> Option<&Pod> {
        match &self.what {
            What::Short { .. } | What::MustEvict { .. } | What::Kills(_) => None,
            What::Message { pod, .. }
            | What::Ends { pod, .. }
            | What::Evicted { pod }
            | What::Failed { pod } => Some(pod),
        }
    }

    /// It is a part of an eviction, and no other end.
    pub(crate) const fn is_eviction(&self) -> bool {
        matches!(
            self.what,
            What::Message { .. } | What::Evicted { .. } | What::Failed { .. }
        )
    }
}

/// Finds its lines in a log that comes block by block.
#[derive(Debug)]
pub(crate) struct Watch {
    words: [Finder<'static>; WORDS.len()],
    partial: Vec<u8>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            words: WORDS.map(Finder::new),
            partial: Vec::new(),
        }
    }
}

impl Watch {
    /// Whether a line may be one of its own.
    pub(crate) fn may_matter(&self, line: &[u8]) -> bool {
        self.words.iter().any(|word| word.find(line).is_some())
    }

    /// Reads the next block.
    pub(crate) fn feed(&mut self, mut block: &[u8], each: &mut dyn FnMut(Deed)) {
        if !self.partial.is_empty() {
            let Some(end) = memchr::memchr(b'\n', block) else {
                return self.keep(block);
            };
            self.keep(block.get(..end).unwrap_or_default());
            self.finish(each);
            block = block.get(end + 1..).unwrap_or_default();
        }
        let whole = memchr::memrchr(b'\n', block).map_or(0, |end| end + 1);
        let (mut whole, tail) = block.split_at_checked(whole).unwrap_or((block, &[]));
        // One more than where each word stands next: searched for again only when it has been passed, so that a rare one is not sought for each frequent one.
        let mut next = [Some(0); WORDS.len()];
        let mut passed = 0;
        loop {
            for (word, next) in self.words.iter().zip(&mut next) {
                if next.is_some_and(|next| next <= passed) {
                    *next = word.find(whole).map(|at| passed + at + 1);
                }
            }
            let Some(hit) = next.iter().flatten().min().map(|hit| hit - 1 - passed) else {
                break;
            };
            let (before, after) = whole.split_at_checked(hit).unwrap_or((whole, &[]));
            let begin = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', after).map_or(whole.len(), |end| hit + end);
            if let Some(deed) = whole.get(begin..end).and_then(read) {
                each(deed);
            }
            whole = whole.get(end..).unwrap_or_default();
            passed += end;
        }
        self.keep(tail);
    }

    /// The log is at its end.
    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Deed)) {
        if let Some(deed) = Some(&self.partial)
            .filter(|line| self.may_matter(line))
            .and_then(|line| read(line))
        {
            each(deed);
        }
        self.partial.clear();
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_BYTES_MAX - self.partial.len().min(LINE_BYTES_MAX);
        self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

/// Reads a line; `None` for any other.
pub(crate) fn read(line: &[u8]) -> Option<Deed> {
    let line = Line::of_text(line.get(..LINE_BYTES_MAX).unwrap_or(line));
    // What the kernel prints is none of the kubelet's, whatever a process is called in it.
    if line.origin == Origin::Kernel {
        return None;
    }
    let text = line.text.trim_ascii();
    let Some((header, said)) = klog(text) else {
        let what = event(text).or_else(|| killer::read(text).map(What::Kills));
        return what.map(|what| Deed {
            when: line.when,
            what,
        });
    };
    let mut when = line.when;
    if when.calendar.is_none() {
        when.calendar = date(header);
    }
    let what = eviction(said).or_else(|| killing(said)).or_else(|| event(said))?;
    Some(Deed { when, what })
}

/// `I0528 16:05:54.802914 2269385 eviction_manager.go:627] …`, split behind its bracket.
fn klog(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, said) = cut(text, b"] ")?;
    let (_, number) = cut(header, b".go:")?;
    let is_header = matches!(header.first(), Some(b'I' | b'W' | b'E' | b'F'));
    (is_header && unsigned(number).is_some()).then_some((header, said))
}

/// klog has the month and day, and no year.
fn date(header: &[u8]) -> Option<Calendar> {
    let number = |from: usize, to: usize| u8::try_from(unsigned(header.get(from..to)?)?).ok();
    let calendar = Calendar {
        year: None,
        month: number(1, 3)?,
        day: number(3, 5)?,
        hour: number(6, 8)?,
        minute: number(9, 11)?,
        second: number(12, 14)?,
        micros: u32::try_from(unsigned(header.get(15..21)?)?).ok()?,
        offset_minutes: None,
    };
    // A date that there is not is none.
    calendar.unix_micros(2024, 0).map(|_| calendar)
}

fn eviction(said: &[u8]) -> Option<What> {
    let (begin, said) = cut(said, b"viction manager: ")?;
    let is_quoted = match begin {
        b"\"E" => true,
        b"e" => false,
        _ => return None,
    };
    let resource = |words: &[u8]| {
        let rest = said.strip_prefix(words)?;
        let named = if is_quoted {
            field(rest, b" resourceName=")?
        } else {
            rest
        };
        Some(kept(named))
    };
    if let Some(resource) = resource(b"attempting to reclaim") {
        return Some(What::Short { resource });
    }
    if let Some(resource) = resource(b"must evict pod(s) to reclaim") {
        return Some(What::MustEvict { resource });
    }
    let has = |words: &[u8]| find(said, words).is_some();
    let is_done = has(b"is evicted successfully");
    if !said.starts_with(b"pod ") || !(is_done || has(b"failed to evict")) {
        return None;
    }
    let pod = if is_quoted {
        pod_of(said, b" pod=")?
    } else {
        formatted(said.get(4..)?)?
    };
    Some(if is_done {
        What::Evicted { pod }
    } else {
        What::Failed { pod }
    })
}

fn killing(said: &[u8]) -> Option<What> {
    let Some(rest) = said.strip_prefix(b"\"Killing container with a grace period") else {
        return killing_by_id(said);
    };
    Some(What::Ends {
        pod: pod_of(rest, b" pod=")?,
        container: kept(field(rest, b" containerName=")?),
        id: field(rest, b" containerID=").and_then(container_id),
        grace: field(rest, b" gracePeriod=").and_then(grace),
    })
}

/// `Killing container "docker://ID" with 30 second grace period`, up to 1.20; with an `a` before the number in the last of them.
fn killing_by_id(said: &[u8]) -> Option<What> {
    let rest = said.strip_prefix(b"Killing container \"")?;
    let (named, rest) = cut(rest, b"\" with ")?;
    let (number, _) = cut(rest.strip_prefix(b"a ").unwrap_or(rest), b" second grace period")?;
    let id = container_id(named)?;
    Some(What::Ends {
        pod: Pod::default(),
        container: id.clone(),
        id: Some(id),
        grace: grace(number),
    })
}

/// What stands behind `containerd://` or `docker://`.
fn container_id(named: &[u8]) -> Option<String> {
    let (_, id) = cut(named, b"://")?;
    (!id.is_empty()).then(|| kept(id))
}

/// Nobody waits longer than a day for a container's end: such a figure would put everything within it.
fn grace(number: &[u8]) -> Option<u64> {
    const GRACE_SECS_MAX: u64 = 86_400;
    unsigned(number).filter(|secs| *secs <= GRACE_SECS_MAX)
}

/// What it tells of an eviction as an event: its own line, or a row of `kubectl get events`.
fn event(said: &[u8]) -> Option<What> {
    let at = find(said, b"The node was low on resource: ")?;
    let (before, message) = said.split_at_checked(at)?;
    // A message in quotes ends with them, and quotes within it have a backslash.
    let message = if before.ends_with(b"=\"") {
        until_quote(message)
    } else {
        message
    };
    let pod = pod_of(before, b" pod=")
        .or_else(|| pod_of(before, b" object="))
        .or_else(|| referred(before))
        .or_else(|| {
            let (_, rest) = cut(before, b" pod/")?;
            Some(Pod {
                name: kept(rest.split(|byte| *byte == b' ').next()?),
                uid: None,
            })
        })?;
    Some(What::Message {
        pod,
        message: kept(message),
    })
}

/// `Namespace:"shop", Name:"cart-0", UID:"…"`, as an event of older kubelets has it.
fn referred(text: &[u8]) -> Option<Pod> {
    let name = field(text, b" Name:")?;
    let namespace = field(text, b" Namespace:").unwrap_or_default();
    Some(Pod {
        name: kept(&[namespace, b"/", name].concat()),
        uid: field(text, b" UID:").map(kept),
    })
}

/// `NAME_NAMESPACE(UID)`, as it was written up to 1.20.
fn formatted(text: &[u8]) -> Option<Pod> {
    // Neither name has an underscore in it.
    let (name, rest) = cut(text, b"_")?;
    let (namespace, rest) = cut(rest, b"(")?;
    let (uid, _) = cut(rest, b")")?;
    Some(Pod {
        name: kept(&[namespace, b"/", name].concat()),
        uid: Some(kept(uid)),
    })
}

fn pod_of(text: &[u8], key: &[u8]) -> Option<Pod> {
    Some(Pod {
        name: kept(field(text, key)?),
        uid: field(text, b" podUID=").map(kept),
    })
}

/// The value behind a key, with or without quotes.
fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (_, rest) = cut(text, key)?;
    let value = match rest.strip_prefix(b"\"") {
        Some(quoted) => until_quote(quoted),
        None => rest.split(|byte| *byte == b' ').next()?,
    };
    (!value.is_empty()).then_some(value)
}

fn until_quote(text: &[u8]) -> &[u8] {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn kept(text: &[u8]) -> String {
    let text = text.trim_ascii();
    String::from_utf8_lossy(text.get(..TEXT_BYTES_MAX).unwrap_or(text)).into_owned()
}

/// What stands before and behind the first `word`.
fn cut<'a>(text: &'a [u8], word: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(text, word)?;
    Some((text.get(..at)?, text.get(at + word.len()..)?))
}

#[cfg(test)]
mod tests;
