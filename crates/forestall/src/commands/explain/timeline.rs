//! The kernel's kill, the kubelet's deeds and our own on one time line, and what they come to together.
//!
//! The kubelet names pods, the kernel cgroups: what joins them is the pod's UID alone, or the ID of the very container, and where no line gives
//! it, that is said. A line of an eviction has no UID: it is its container's, which the kubelet ended meanwhile. Lines
//! without a clock in common are told in the order of the log, and without times.

use forestall_decide::Span;
use forestall_kernel::kmsg::When;
use forestall_kernel::oom::Report;
use forestall_kernel::parse::find;
use serde_json::{Map, Value};

use super::growth::Growth;
use super::headline::named;
use crate::commands::foretold::object;
use crate::forensics::kubelet::{Deed, Pod, What};
use crate::forensics::place::Place;
use crate::log::escape;

/// What was longer ago, or later, has nothing to do with it.
const WINDOW_MICROS: i64 = 600_000_000;

/// So long after its grace a container has ended, and its pod is said to be evicted.
const ENDING_MICROS: i64 = 30_000_000;

/// So many entries are told: those nearest to the kill.
const ENTRIES_MAX: usize = 12;

/// Letters of the kubelet's message that are told.
const MESSAGE_MAX: usize = 240;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Microseconds after the kill, where both are on one clock.
    offset: Option<i64>,
    who: &'static str,
    what: String,
    is_same_pod: bool,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeline {
    entries: Vec<Entry>,
    /// What follows from it, each with its label.
    pub(super) remarks: Vec<(&'static str, String)>,
}

impl Timeline {
    pub(super) fn of(report: &Report, deeds: &[Deed], growth: Option<&Growth>) -> Self {
        let killed = report.victims.first().map_or(&report.when, |victim| &victim.when);
        let own = Own::of(report);
        let mut seen = Vec::new();
        for deed in deeds {
            let one = Seen::of(deed, deeds, killed, &own);
            let is_near = one.offset.is_none_or(|offset| offset.abs() <= WINDOW_MICROS);
            if is_near && (one.is_same_pod || !is_other_end(deed, deeds)) {
                seen.push(one);
            }
        }
        let mut entries = Vec::new();
        for one in &seen {
            put(&mut entries, one.entry());
        }
        for (before, what) in growth.map(Growth::deeds).unwrap_or_default() {
            let offset = i64::try_from(before).ok().map(|before| -before);
            let (who, is_same_pod) = ("forestall", false);
            put(
                &mut entries,
                Entry {
                    offset,
                    who,
                    what,
                    is_same_pod,
                },
            );
        }
        while entries.len() > ENTRIES_MAX {
            drop_farthest(&mut entries);
        }
        if !entries.is_empty() {
            put(&mut entries, kernels(report));
        }
        Self {
            entries,
            remarks: remarks(&seen, own.pod.as_deref()),
        }
    }

    /// For a terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |entry: &Entry| {
            let when = match entry.offset {
                Some(0) => "0".to_owned(),
                Some(offset) => {
                    let sign = if offset < 0 { '-' } else { '+' };
                    format!("{sign}{}", Span(offset.unsigned_abs()))
                }
                None => "?".to_owned(),
            };
            format!("{when} {}: {}", entry.who, entry.what)
        };
        self.entries.iter().map(line).collect()
    }

    /// For programs.
    pub(super) fn value(&self) -> Map<String, Value> {
        let entry = |entry: &Entry| -> Value {
            let fields = object([
                ("offset_micros", entry.offset.into()),
                ("who", entry.who.into()),
                ("what", entry.what.as_str().into()),
                ("is_same_pod", entry.is_same_pod.into()),
            ]);
            fields.into()
        };
        let remark = |(label, said): &(&str, String)| -> Value {
            let fields = object([("label", (*label).into()), ("said", said.as_str().into())]);
            fields.into()
        };
        object([
            ("entries", self.entries.iter().map(entry).collect()),
            ("remarks", self.remarks.iter().map(remark).collect()),
        ])
    }
}

/// In the order of time; what is on no clock stays as the log has it, below the rest.
fn put(entries: &mut Vec<Entry>, entry: Entry) {
    let is_before = |known: &Entry| match (known.offset, entry.offset) {
        (Some(known), Some(new)) => known <= new,
        (known, new) => known.is_some() || new.is_none(),
    };
    let at = entries.iter().take_while(|known| is_before(known)).count();
    entries.insert(at, entry);
}

fn drop_farthest(entries: &mut Vec<Entry>) {
    let distance = |entry: &Entry| entry.offset.map_or(u64::MAX, i64::unsigned_abs);
    let farthest = entries.iter().map(distance).max();
    if let Some(at) = entries
        .iter()
        .rposition(|entry| Some(distance(entry)) == farthest)
    {
        entries.remove(at);
    }
}

/// A deed of the kubelet's against the kill.
struct Seen<'a> {
    deed: &'a Deed,
    offset: Option<i64>,
    /// Of its pod: what the kernel's paths have, too.
    is_same_pod: bool,
    /// No line tells which pod of that name it is.
    is_without_uid: bool,
}

impl<'a> Seen<'a> {
    fn of(deed: &'a Deed, all: &[Deed], killed: &When, own: &Own) -> Self {
        let uid = deed
            .pod()
            .and_then(|pod| pod.uid.clone().or_else(|| uid_of(deed, &pod.name, all)));
        let is_killers = match &deed.what {
            What::Kills(killing) => own.pod.is_some() && killing.pod_uid() == own.pod,
            _ => false,
        };
        let is_of_container =
            matches!(&deed.what, What::Ends { id: Some(id), .. } if own.container.as_ref() == Some(id));
        Self {
            deed,
            offset: offset(killed, &deed.when),
            is_same_pod: match &uid {
                Some(uid) => own.pod.as_ref() == Some(uid),
                None => is_of_container || is_killers,
            },
            is_without_uid: deed.pod().is_some() && uid.is_none(),
        }
    }

    /// Whether it belongs to the eviction of its pod that is first told of then. A container that was ended longer before than its
    /// grace was ended for another reason.
    fn is_of_eviction(&self, evicted: Option<i64>) -> bool {
        let What::Ends { grace, .. } = &self.deed.what else {
            return true;
        };
        let grace = i64::try_from(grace.unwrap_or(0)).unwrap_or(i64::MAX);
        let within = grace.saturating_mul(1_000_000).saturating_add(ENDING_MICROS);
        let since = evicted.zip(self.offset).map(|(evicted, ended)| evicted - ended);
        since.is_none_or(|since| since <= within)
    }

    fn entry(&self) -> Entry {
        let pod = self.deed.pod().map_or_else(String::new, |pod| {
            let mark = if self.is_same_pod { " (this pod)" } else { "" };
            format!("{}{mark}", escape::text(&pod.name))
        });
        let what = match &self.deed.what {
            What::Short { resource } => format!("short of {}, begins to reclaim", escape::text(resource)),
            What::MustEvict { resource } => {
                format!("nothing but pods is left to take {} from", escape::text(resource))
            }
            What::Message { message, .. } => {
                let letters: String = message.chars().take(MESSAGE_MAX).collect();
                format!("evicts {pod}: {}", escape::text(&letters))
            }
            What::Ends {
                pod: Pod { name, .. },
                container,
                grace,
                ..
            } => {
                let grace = grace.map_or_else(String::new, |grace| format!(", {grace} s of grace"));
                let of = if name.is_empty() { "" } else { " of " };
                format!("ends container {}{of}{pod}{grace}", escape::text(container))
            }
            What::Evicted { .. } => format!("has evicted {pod}"),
            What::Failed { .. } => format!("could not evict {pod}"),
            What::Kills(killing) => killing.words(),
        };
        let who = match &self.deed.what {
            What::Kills(killing) => killing.by,
            _ => "kubelet",
        };
        Entry {
            offset: self.offset,
            who,
            what,
            is_same_pod: self.is_same_pod,
        }
    }
}

/// Containers end all the time: those of a pod that nobody evicts are told only where it is the victim's.
fn is_other_end(deed: &Deed, all: &[Deed]) -> bool {
    let What::Ends { pod, .. } = &deed.what else {
        return false;
    };
    let mut evicted = all.iter().filter(|other| other.is_eviction());
    !evicted.any(|other| other.pod().is_some_and(|other| other.name == pod.name))
}

/// The UID of the pod that a deed is about: that of a container of this name which was ended meanwhile, since the next pod of this name comes
/// when the last one is gone. `None` where there were none, or several.
fn uid_of(deed: &Deed, name: &str, all: &[Deed]) -> Option<String> {
    let is_meanwhile = |other: &&Deed| {
        let grace = match &other.what {
            What::Ends { grace, .. } => i64::try_from(grace.unwrap_or(0)).unwrap_or(0),
            _ => 0,
        };
        let within = grace.saturating_mul(1_000_000).saturating_add(ENDING_MICROS);
        offset(&other.when, &deed.when).is_some_and(|passed| passed.abs() <= within)
    };
    let pods = all.iter().filter(is_meanwhile).filter_map(Deed::pod);
    let mut uids = pods
        .filter(|pod| pod.name == name)
        .filter_map(|pod| pod.uid.as_ref());
    let first = uids.next()?;
    uids.all(|uid| uid == first).then(|| first.clone())
}

/// Of whoever was killed.
#[derive(Default)]
struct Own {
    /// The pod's UID.
    pod: Option<String>,
    /// The container's ID.
    container: Option<String>,
}

impl Own {
    fn of(report: &Report) -> Self {
        let victim = report.victims.first().and_then(|victim| victim.memcg.as_ref());
        let paths = [
            victim,
            report.group.as_ref(),
            report.task_memcg.as_ref(),
            report.limit.as_ref(),
        ];
        let mut places = paths.into_iter().flatten().map(Place::of);
        let place = places.find(|place| place.pod.is_some()).unwrap_or_default();
        Self {
            pod: place.pod,
            container: place.container,
        }
    }
}

fn kernels(report: &Report) -> Entry {
    let what = match report.victims.first() {
        Some(victim) => format!("kills {}", named(victim)),
        None => "finds memory short".to_owned(),
    };
    Entry {
        offset: Some(0),
        who: "kernel",
        what,
        is_same_pod: true,
    }
}

/// From the kill to a deed.
fn offset(killed: &When, deed: &When) -> Option<i64> {
    let (from, to) = (killed.calendar?, deed.calendar?);
    // What one of them does not say is as the other has it.
    let year = from.year.or(to.year).unwrap_or(2024);
    let zone = from.offset_minutes.or(to.offset_minutes).unwrap_or(0);
    Some(to.unix_micros(year, zone)? - from.unix_micros(year, zone)?)
}

fn names_usage(message: &str) -> bool {
    find(message.as_bytes(), b" was using ").is_some()
}

fn remarks(seen: &[Seen<'_>], own: Option<&str>) -> Vec<(&'static str, String)> {
    let mut remarks = Vec::new();
    let Some(own) = own else { return remarks };
    let same: Vec<&Seen<'_>> = seen.iter().filter(|seen| seen.is_same_pod).collect();
    if same.iter().any(|seen| seen.deed.is_eviction()) {
        let evicted = same.iter().filter(|seen| seen.deed.is_eviction());
        let evicted = evicted.filter_map(|seen| seen.offset).min();
        let begun = same.iter().filter(|seen| seen.is_of_eviction(evicted));
        let begun = begun.filter_map(|seen| seen.offset).min();
        let order = match begun {
            Some(begun) if begun < 0 => format!(
                "the kubelet had begun {} before; the kernel killed in it before it was gone",
                Span(begun.unsigned_abs())
            ),
            Some(begun) => format!(
                "the kernel was first; the kubelet evicted the whole pod {} later",
                Span(begun.unsigned_abs())
            ),
            None => "which of them was first these lines do not tell".to_owned(),
        };
        let own = escape::text(own);
        remarks.push((
            "race",
            format!("kernel and kubelet went for the same pod (UID {own}): {order}"),
        ));
    }
    let message = same.iter().find_map(|seen| match &seen.deed.what {
        What::Message { message, .. } if names_usage(message) => Some(seen.offset),
        _ => None,
    });
    if let Some(offset) = message {
        let stale = if offset.is_some_and(|offset| offset >= 0) {
            "it may well be from before the kill"
        } else {
            "it had grown or shrunk by the time of the kill"
        };
        remarks.push((
            "stale usage",
            format!(
                "what the kubelet says the pod was using is its last measurement, some 10 s old: {stale}. What the kernel counted at the kill stands above"
            ),
        ));
    }
    let is_unclear = seen
        .iter()
        .any(|seen| seen.is_without_uid && seen.deed.is_eviction());
    if is_unclear && !same.iter().any(|seen| seen.deed.is_eviction()) {
        remarks.push((
            "",
            "pods were evicted whose UIDs these lines do not have: whether this one is among them cannot be told by a name".to_owned(),
        ));
    }
    remarks
}

#[cfg(test)]
mod tests;
