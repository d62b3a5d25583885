//! At whose limit somebody was killed, and in which cgroup, by the cgroups' counters: in a burst the kernel's log tells the whole
//! story of ten kills in five seconds, and of the others who it was and that it was for some cgroup's limit.
//!
//! The kernel counts a kill before it says so. Whoever looks after hearing has therefore counted all that was heard of, and who was killed
//! is among those that were counted. A count is remembered until its line has surely come.
//!
//! It refuses to choose: who may have lived in several cgroups is put to none, and whose limit it was is said only where all of them
//! agree. Of a shortage of the whole machine it speaks only where nobody else does, and of a victim whose cgroup has counted it: the root's own
//! processes are counted nowhere.

use std::collections::BTreeMap;
use std::time::Duration;

use forestall_decide::{Moment, Span};
use forestall_kernel::cgroup::{Hierarchy, KillCount, KillCounters, LimitMet};
use forestall_kernel::oom::{CgroupPath, Level, Piece, Report, Victim};

use crate::ledger::{Entry, Levels};

/// A count waits so long for its line, and through so many looks: a disk that hangs holds up both.
const LINE_COMES_WITHIN: Span = Span::secs(2);
const LOOKS_MIN: u32 = 3;

/// So many counts wait; where there are more nobody is put to any.
const COUNTS_MAX: usize = 256;

/// So many that were given up are remembered: the line of one may be late.
const GIVEN_UP_MAX: usize = 64;

/// Whose limit was met.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Met {
    /// This one's.
    At(Box<[u8]>),
    /// Nobody's: the machine was short of memory, or some of its NUMA nodes.
    Nobodys,
    Unclear,
}

/// Of kills in one cgroup, whose lines have not been heard yet.
#[derive(Clone, Debug)]
struct Count {
    path: Box<[u8]>,
    /// They lived in one below it, which is gone, or here: the kernel does not tell these apart.
    is_below: bool,
    /// Whose limit it was.
    met: Met,
    kills: u64,
    at: Moment,
    looks: u32,
}

impl Count {
    /// More than can be told apart.
    fn anywhere(at: Moment) -> Self {
        Self {
            path: (*b"/").into(),
            is_below: true,
            met: Met::Unclear,
            kills: u64::MAX,
            at,
            looks: 0,
        }
    }

    fn level(&self) -> Level {
        Limit::of(&self.met).map_or(Level::Unknown, |limit| limit.level)
    }
}

/// What is known of a limit.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    level: Level,
    /// Where it is; `None` where several of that level may have been meant.
    path: Option<Box<[u8]>>,
}

impl Limit {
    fn of(met: &Met) -> Option<Self> {
        match met {
            Met::At(path) => Some(Self {
                level: Level::of_path(path),
                path: Some(path.clone()),
            }),
            Met::Nobodys => Some(Self {
                level: Level::Node,
                path: None,
            }),
            Met::Unclear => None,
        }
    }
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// `None` where nothing adds up: on cgroup v1.
    counters: Option<KillCounters>,
    counts: Vec<Count>,
    opened: Moment,
    /// Kills that were counted and whose lines have not come, by whose limit it was.
    untold: Levels,
    /// The last of those that were told of so, the oldest first.
    given_up: Vec<Count>,
    /// Those of them whose lines have come all the same.
    late: Levels,
}

impl Counted {
    /// What was counted before belongs to lines that the log still holds, or to none.
    pub(super) fn open(hierarchy: Option<&Hierarchy>, now: Moment) -> Self {
        let mountinfo = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        // In a cgroup namespace of our own the kernel's paths are others.
        let whole = hierarchy.filter(|hierarchy| hierarchy.mount_root == b"/");
        let mut counted = Self {
            counters: whole.and_then(|hierarchy| KillCounters::open_deaf(hierarchy, &mountinfo).ok()),
            counts: Vec::new(),
            opened: now,
            untold: Levels::default(),
            given_up: Vec::new(),
            late: Levels::default(),
        };
        if let Some(counters) = &mut counted.counters {
            let changes = counters.look_back(time(now));
            let counts = split(&changes, now, |path| met(LimitMet::of(&changes, path)));
            counted.add(counts, now);
        }
        counted
    }

    /// Forgets what was counted before: what the log held at the start has been heard.
    pub(super) fn forget_before(&mut self) {
        self.counts.retain(|count| count.at > self.opened);
        self.counts.shrink_to_fit();
    }

    /// Says of reports what the log does not, once all that are over have their cgroups from elsewhere. Returns whom it put to a cgroup.
    /// `place_of` is where somebody of a number was put once: it is believed where it is one of several cgroups that have counted a kill.
    pub(super) fn complete<'a>(
        &mut self,
        entries: &mut [Entry],
        place_of: impl Fn(u32) -> Option<&'a [u8]>,
        now: Moment,
    ) -> Vec<u32> {
        let mut placed = Vec::new();
        if self.counters.is_none() || entries.iter().all(|entry| entry.report.victims.is_empty()) {
            return placed;
        }
        self.look(now);
        for entry in &mut *entries {
            self.tell_apart(&mut entry.report);
        }
        for entry in entries {
            self.find(&mut entry.report, &place_of, &mut placed);
        }
        for count in &mut self.counts {
            count.looks = count.looks.saturating_add(1);
        }
        self.expire(now, LOOKS_MIN);
        placed
    }

    /// All lines that were written by now have been heard: whoever has waited long enough has none.
    pub(super) fn rest(&mut self, now: Moment) {
        self.expire(now, 0);
    }

    /// When the next one has waited long enough.
    pub(super) fn patience(&self, now: Moment) -> Option<Span> {
        let waiting = self.counts.iter().filter(|count| count.at != self.opened);
        let passed = waiting.map(|count| now.since(count.at).0).max()?;
        Some(Span(LINE_COMES_WITHIN.0.saturating_sub(passed)))
    }

    /// Kills of which no line has told, and whose limit it was; each is told once.
    pub(super) fn take_untold(&mut self) -> Levels {
        std::mem::take(&mut self.untold)
    }

    /// Kills of which was said that no line had told, and of which one has now; each once.
    pub(super) fn take_late(&mut self) -> Levels {
        std::mem::take(&mut self.late)
    }

    /// There are some.
    pub(super) fn has_untold(&self) -> bool {
        self.untold.iter().next().is_some()
    }

    fn expire(&mut self, now: Moment, looks: u32) {
        let Self {
            opened,
            untold,
            given_up,
            ..
        } = self;
        let mut give_up = |count: &Count| {
            untold.add(count.level(), count.kills);
            if given_up.len() == GIVEN_UP_MAX {
                given_up.remove(0);
            }
            given_up.push(count.clone());
        };
        self.counts.retain(|count| {
            let is_over = count.looks >= looks && now.since(count.at) >= LINE_COMES_WITHIN;
            let is_waited_for = count.at == *opened || !is_over;
            // What could not be told apart is no number of kills.
            if count.kills > 0 && !is_waited_for && count.kills != u64::MAX {
                give_up(count);
            }
            count.kills > 0 && is_waited_for
        });
        self.counts.shrink_to_fit();
    }

    /// Looks at what was counted since.
    pub(super) fn look(&mut self, now: Moment) {
        let Some(counters) = &mut self.counters else {
            return;
        };
        let mut changes = Vec::new();
        let looked = counters.look_everywhere(time(now), &mut changes);
        let mut counts = split(&changes, now, |path| {
            met(counters.limit_of(time(now), &changes, path))
        });
        if looked.is_err() || counters.is_partial() {
            counts.push(Count::anywhere(now));
        }
        self.add(counts, now);
    }

    fn add(&mut self, counts: Vec<Count>, now: Moment) {
        self.counts.extend(counts);
        if self.counts.len() > COUNTS_MAX {
            self.counts = vec![Count::anywhere(now)];
        }
    }

    /// Those whose cgroup is known: the counts there are theirs.
    fn tell_apart(&mut self, report: &mut Report) {
        let mut limit = None;
        for victim in &report.victims {
            let own = victim.memcg.as_ref().or(report.group.as_ref());
            let Some(path) = own.filter(|path| !path.is_cut) else {
                continue;
            };
            limit = limit.or_else(|| self.limit_at(&path.path));
            self.take(&path.path);
        }
        // The first of a group is told twice, and counted twice.
        if let Some(group) = &report.group {
            self.take(&group.path);
        }
        if let Some(limit) = limit {
            put(report, limit);
        }
    }

    /// Those of whom nothing is known but that a cgroup's limit was met: they are among those that were counted.
    fn find<'a>(
        &mut self,
        report: &mut Report,
        place_of: &impl Fn(u32) -> Option<&'a [u8]>,
        placed: &mut Vec<u32>,
    ) {
        let is_of_cgroup =
            report.level == Level::SomeCgroup || report.limit.is_some() || is_without_line(report);
        let is_known = |victim: &Victim| victim.memcg.is_some();
        if !is_of_cgroup || report.group.is_some() || report.victims.iter().all(is_known) {
            return;
        }
        if let Some(limit) = self.agreed(|_| true) {
            put(report, limit);
        }
        let limit = report.limit.clone();
        let within = limit.as_ref().map_or(&b"/"[..], |limit| &limit.path);
        for victim in report.victims.iter_mut().filter(|victim| !is_known(victim)) {
            let those = self.counts.iter().filter(|count| {
                let is_among = is_within(&count.path, within);
                count.kills > 0 && (is_among || count.is_below && is_within(within, &count.path))
            });
            if let Some(path) = choose(those, place_of(victim.pid)) {
                self.take(&path);
                victim.memcg = Some(whole(path));
                placed.push(victim.pid);
            }
        }
    }

    /// Whose limit the kills in a cgroup were for: there, or in those below it that were killed as one, or where it is gone.
    fn limit_at(&self, path: &[u8]) -> Option<Limit> {
        let is_there = |count: &Count| !count.is_below && *count.path == *path;
        let is_inner = |count: &Count| is_within(&count.path, path);
        let is_outer = |count: &Count| count.is_below && is_within(path, &count.path);
        let any = |is_meant: &dyn Fn(&Count) -> bool| {
            let mut meant = self.counts.iter().filter(|count| count.kills > 0);
            meant.any(is_meant)
        };
        if any(&is_there) {
            self.agreed(is_there)
        } else if any(&is_inner) {
            self.agreed(is_inner)
        } else {
            self.agreed(is_outer)
        }
    }

    fn agreed(&self, are_meant: impl Fn(&Count) -> bool) -> Option<Limit> {
        let mut meant = self
            .counts
            .iter()
            .filter(|count| count.kills > 0 && are_meant(count));
        let mut limit = Limit::of(&meant.next()?.met)?;
        for count in meant {
            let other = Limit::of(&count.met)?;
            if other.level != limit.level {
                return None;
            }
            limit.path = limit.path.filter(|path| Some(path) == other.path.as_ref());
        }
        Some(limit)
    }

    /// One of the kills in a cgroup has its line; the oldest, and rather there than in one below some other that is gone.
    fn take(&mut self, path: &[u8]) {
        if let Some(count) = counted_at(&mut self.counts, path) {
            count.kills -= 1;
        } else if let Some(count) = counted_at(&mut self.given_up, path) {
            count.kills -= 1;
            self.late.add(count.level(), 1);
        }
    }
}

fn counted_at<'a>(counts: &'a mut [Count], path: &[u8]) -> Option<&'a mut Count> {
    let is_there = |count: &Count| count.kills > 0 && !count.is_below && *count.path == *path;
    let is_above = |count: &Count| count.kills > 0 && count.is_below && is_within(path, &count.path);
    let there = counts.iter().position(is_there);
    let place = there.or_else(|| counts.iter().rposition(is_above))?;
    counts.get_mut(place)
}

/// The only cgroup that has counted, or the one of several where somebody of this number was put.
fn choose<'a>(those: impl Iterator<Item = &'a Count>, place: Option<&[u8]>) -> Option<Box<[u8]>> {
    let mut those = those.peekable();
    let first = *those.peek()?;
    let (mut is_one, mut is_known) = (true, false);
    for count in those {
        is_one &= !count.is_below && count.path == first.path;
        is_known |= !count.is_below && Some(&*count.path) == place;
    }
    match place.filter(|_| is_known) {
        Some(place) => Some(place.into()),
        None => is_one.then(|| first.path.clone()),
    }
}

/// What one look has found, cgroup by cgroup.
fn split(changes: &[KillCount], at: Moment, mut met_by: impl FnMut(&[u8]) -> Met) -> Vec<Count> {
    let mut below: BTreeMap<&[u8], u64> = BTreeMap::new();
    for change in changes.iter().filter(|change| &*change.path != b"/") {
        if let Some(last) = change.path.iter().rposition(|byte| *byte == b'/') {
            let parent = change.path.get(..last.max(1)).unwrap_or_default();
            *below.entry(parent).or_default() += change.kills;
        }
    }
    let mut counts = Vec::new();
    for change in changes {
        let own = change.own.map_or(0, |own| own.kills);
        let there = below.get(&*change.path).copied().unwrap_or(0);
        let gone = change.kills.saturating_sub(own).saturating_sub(there);
        for (kills, is_below) in [(own, false), (gone, true)] {
            if kills > 0 {
                counts.push(Count {
                    path: change.path.clone(),
                    is_below,
                    met: met_by(&change.path),
                    kills,
                    at,
                    looks: 0,
                });
            }
        }
    }
    counts
}

fn time(now: Moment) -> Duration {
    Duration::from_micros(now.0)
}

fn met(limit: LimitMet<'_>) -> Met {
    match limit {
        LimitMet::At(change) => Met::At(change.path.clone()),
        LimitMet::None => Met::Nobodys,
        LimitMet::Below(_) | LimitMet::Unclear => Met::Unclear,
    }
}

/// Only tracing tells of it, which knows no limit.
fn is_without_line(report: &Report) -> bool {
    report.level == Level::Unknown && report.pieces.has(Piece::Mark)
}

/// Puts a limit into a report that has none. A line says by itself that it was the machine's memory.
fn put(report: &mut Report, limit: Limit) {
    let is_open = report.level == Level::SomeCgroup && limit.level != Level::Node || is_without_line(report);
    if report.limit.is_none() && is_open {
        report.level = limit.level;
        report.limit = limit.path.map(whole);
        report.pieces.add(Piece::Counters);
    }
}

fn whole(path: Box<[u8]>) -> CgroupPath {
    CgroupPath { path, is_cut: false }
}

/// Whether a cgroup is this one or below it.
fn is_within(path: &[u8], above: &[u8]) -> bool {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    let rest = path.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests;
