//! One line of a report, told by its own words.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::kill::{self, Kill, kilobytes};
use super::verdict::{Verdict, cut, cut_last};
use crate::parse::{Cursor, find, find_all, hexadecimal};

/// `X invoked oom-killer: gfp_mask=0x…(…), nodemask=…, order=N, oom_score_adj=N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// Who asked for memory.
    pub comm: &'a [u8],
    /// How, as flags.
    pub gfp_mask: u64,
    /// How, in words; empty up to 4.5.
    pub gfp: &'a [u8],
    /// The NUMA nodes it was restricted to (4.9 to 4.19); `None` for all.
    pub nodemask: Option<&'a [u8]>,
    /// For 2^order pages; −1 for sysrq.
    pub order: i32,
    /// Its `oom_score_adj`.
    pub adj: Option<i32>,
}

/// A line that says by itself what it is. What only means something inside of a report (rows, figures) is none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The beginning.
    Header(Header<'a>),
    /// `X cpuset=C mems_allowed=M`, a line of its own up to 4.19.
    Cpuset {
        /// Who asked.
        comm: &'a [u8],
        /// Its cpuset.
        cpuset: &'a [u8],
        /// The NUMA nodes that it allows.
        mems_allowed: &'a [u8],
    },
    /// `CPU: n UID: n PID: n Comm: X …`, which other reports of the kernel have, too.
    Banner {
        /// Who runs.
        pid: u32,
        /// Its name and what follows it.
        comm_and_more: &'a [u8],
    },
    /// `Task in VICTIM killed as a result of limit of LIMIT`.
    LimitLine {
        /// The victim's cgroup.
        task: &'a [u8],
        /// The limit's.
        limit: &'a [u8],
    },
    /// `Memory cgroup stats for P:`, with the figures behind it up to 4.19.
    StatsOf {
        /// Whose.
        path: &'a [u8],
        /// The figures; empty where they follow in lines of their own.
        figures: &'a [u8],
    },
    /// `memory: usage …` and its like.
    Usage,
    /// `Mem-Info:`.
    MemInfo,
    /// The head of the table.
    TableHead,
    /// The verdict.
    Verdict(Verdict<'a>),
    /// `M: Kill process P (C) score S or sacrifice child`.
    Chosen {
        /// A cgroup's limit or the machine's memory.
        is_cgroups: bool,
        /// Whom the kernel chose.
        pid: u32,
        /// Its name.
        comm: &'a [u8],
    },
    /// `Kill process P (C) sharing same memory` (3.x).
    SharesMemory {
        /// Who is killed, too.
        pid: u32,
        /// Its name.
        comm: &'a [u8],
    },
    /// A kill.
    Killed(Kill<'a>),
    /// `Tasks in P are going to be killed due to memory.oom.group set`.
    Group {
        /// All of which cgroup.
        path: &'a [u8],
    },
    /// `oom_reaper: reaped process P (C), now anon-rss:0kB, …`.
    Reaped {
        /// Whose memory.
        pid: u32,
        /// Its name.
        comm: &'a [u8],
        /// What is left of its anonymous memory, bytes.
        anon: Option<u64>,
    },
    /// `oom_reaper: unable to reap pid:P (C)`.
    ReapFailed {
        /// Whose memory.
        pid: u32,
        /// Its name.
        comm: &'a [u8],
    },
    /// `M: OOM victim P (C) is already exiting. Skip killing the task`.
    Exiting {
        /// Who.
        pid: u32,
        /// Its name.
        comm: &'a [u8],
    },
    /// `Out of memory and no killable processes...`
    NoKillable,
    /// `oom_kill_process: N callbacks suppressed`.
    Suppressed {
        /// How many.
        count: u64,
    },
    /// `sysrq: Manual OOM execution`.
    Sysrq,
    /// `sysrq: OOM request ignored. …`
    SysrqInVain,
    /// `Kernel panic - not syncing: Out of memory: …`
    Panic,
}

impl<'a> Part<'a> {
    /// Says what a line is, escapes decoded; `None` for one that is nothing by itself. Allocates nothing.
    pub fn of(text: &'a [u8]) -> Option<Self> {
        // A header begins with a name, which may look like anything else.
        header(text)
            .or_else(|| Self::of_own_words(text))
            .or_else(|| cpuset(text))
    }

    /// The same for lines that begin with the kernel's own words, and not with a name.
    #[inline(never)]
    pub(crate) fn of_own_words(text: &'a [u8]) -> Option<Self> {
        by_start(text).or_else(|| by_message(text))
    }
}

/// The lines that begin with words of the kernel's.
fn by_start(text: &[u8]) -> Option<Part<'_>> {
    match text.first()? {
        b'o' => Verdict::parse(text)
            .map(Part::Verdict)
            .or_else(|| reaper(text))
            .or_else(|| suppressed(text)),
        b'd' => suppressed(text),
        b'C' => banner(text),
        b'T' => limit_line(text).or_else(|| group(text)),
        b'M' if text == b"Mem-Info:" => Some(Part::MemInfo),
        b'M' => stats_of(text),
        b'm' | b's' | b'k' if super::domain::usage(text).is_some() => Some(Part::Usage),
        b'[' => super::table::Columns::parse(text).map(|_| Part::TableHead),
        b'O' if text.starts_with(b"Out of memory and no killable processes") => Some(Part::NoKillable),
        b'K' if text.starts_with(b"Kernel panic - not syncing: Out of memory")
            || text.starts_with(b"Kernel panic - not syncing: System is deadlocked on memory") =>
        {
            Some(Part::Panic)
        }
        b's' | b'S' => sysrq(text),
        _ => None,
    }
}

/// The lines that begin with words that differ.
fn by_message(text: &[u8]) -> Option<Part<'_>> {
    if let Some(kill) = Kill::parse(text) {
        return Some(Part::Killed(kill));
    }
    if text.starts_with(b"Out of memory")
        || text.starts_with(b"Memory cgroup out")
        || text.starts_with(b"Kill ")
    {
        return chosen(text).or_else(|| exiting(text));
    }
    None
}

/// No name is as long as this, so that none can hold it.
const INVOKED: &[u8] = b" invoked oom-killer: gfp_mask=";

/// Every line is searched for it, and to prepare that takes longer than to do it.
static FIND_INVOKED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(INVOKED));

fn header(text: &[u8]) -> Option<Part<'_>> {
    let at = FIND_INVOKED.find(text)?;
    let (comm, rest) = (text.get(..at)?, text.get(at + INVOKED.len()..)?);
    let (mask, rest) = cut(rest, b",");
    let (mask, words) = cut(mask, b"(");
    let rest = rest.unwrap_or_default();
    let nodemask = cut(rest, b"nodemask=").1.map(|rest| cut(rest, b", ").0);
    let number = |key: &[u8]| Cursor::new(cut(rest, key).1?).signed_digits();
    let narrow = |value: i64| i32::try_from(value).ok();
    Some(Part::Header(Header {
        comm,
        gfp_mask: hexadecimal(mask)?,
        gfp: words
            .map(|words| words.strip_suffix(b")").unwrap_or(words))
            .unwrap_or_default(),
        nodemask: nodemask.filter(|mask| *mask != b"(null)"),
        order: number(b"order=").and_then(narrow).unwrap_or(0),
        adj: number(b"oom_score_adj=").and_then(narrow),
    }))
}

fn cpuset(text: &[u8]) -> Option<Part<'_>> {
    text.last().filter(|last| last.is_ascii_digit())?;
    let (before, mems_allowed) = cut_last(text, b" mems_allowed=")?;
    let (comm, cpuset) = cut_last(before, b" cpuset=")?;
    Some(Part::Cpuset {
        comm,
        cpuset,
        mems_allowed,
    })
}

fn banner(text: &[u8]) -> Option<Part<'_>> {
    let mut line = Cursor::new(text);
    line.take(b"CPU: ")?;
    line.digits()?;
    if line.take(b" UID: ").is_some() {
        line.digits()?;
    }
    line.take(b" PID: ")?;
    let pid = u32::try_from(line.digits()?).ok()?;
    line.take(b" Comm: ")?;
    Some(Part::Banner {
        pid,
        comm_and_more: line.rest(),
    })
}

const OF_LIMIT: &[u8] = b" killed as a result of limit of ";

fn limit_line(text: &[u8]) -> Option<Part<'_>> {
    let rest = text.strip_prefix(b"Task in ")?;
    // A cgroup's name may hold these words: the victim lives at the limit or below it.
    let is_split = |at: &usize| {
        let (task, limit) = (rest.get(..*at), rest.get(at + OF_LIMIT.len()..));
        let inner = task
            .zip(limit)
            .and_then(|(task, limit)| task.strip_prefix(limit.strip_suffix(b"/").unwrap_or(limit)));
        inner.is_some_and(|inner| matches!(inner.first(), None | Some(b'/')))
    };
    let mut places = find_all(rest, OF_LIMIT);
    let at = places.find(is_split).or_else(|| find(rest, OF_LIMIT))?;
    Some(Part::LimitLine {
        task: rest.get(..at)?,
        limit: rest.get(at + OF_LIMIT.len()..)?,
    })
}

fn group(text: &[u8]) -> Option<Part<'_>> {
    let rest = text.strip_prefix(b"Tasks in ")?;
    let (path, _) = cut_last(rest, b" are going to be killed due to memory.oom.group set")?;
    Some(Part::Group { path })
}

fn stats_of(text: &[u8]) -> Option<Part<'_>> {
    let rest = text.strip_prefix(b"Memory cgroup stats for ")?;
    // A path may have colons in it.
    if let (path, Some(_)) = cut(rest, b": cache:") {
        let figures = rest.get(path.len() + 1..).unwrap_or_default();
        return Some(Part::StatsOf { path, figures });
    }
    let path = rest.trim_ascii_end().strip_suffix(b":")?;
    Some(Part::StatsOf { path, figures: &[] })
}

fn chosen(text: &[u8]) -> Option<Part<'_>> {
    let (message, rest) = cut(text, b"Kill process ");
    let mut line = Cursor::new(rest?);
    let pid = u32::try_from(line.digits()?).ok()?;
    line.take(b" (")?;
    if message.is_empty() {
        let (comm, _) = cut_last(line.rest(), b") sharing same memory")?;
        return Some(Part::SharesMemory { pid, comm });
    }
    let (comm, _) = cut_last(line.rest(), b") score ")?;
    Some(Part::Chosen {
        is_cgroups: kill::is_cgroups(message)?,
        pid,
        comm,
    })
}

fn exiting(text: &[u8]) -> Option<Part<'_>> {
    let (message, rest) = cut(text, b"OOM victim ");
    kill::is_cgroups(message)?;
    let mut line = Cursor::new(rest?);
    let pid = u32::try_from(line.digits()?).ok()?;
    line.take(b" (")?;
    let (comm, _) = cut_last(line.rest(), b") is already exiting")?;
    Some(Part::Exiting { pid, comm })
}

fn reaper(text: &[u8]) -> Option<Part<'_>> {
    let mut line = Cursor::new(text);
    line.take(b"oom_reaper: ")?;
    let is_done = line.take(b"reaped process ").is_some();
    if !is_done {
        line.take(b"unable to reap pid:")?;
    }
    let pid = u32::try_from(line.digits()?).ok()?;
    line.take(b" (")?;
    if !is_done {
        let (comm, _) = cut_last(line.rest(), b")")?;
        return Some(Part::ReapFailed { pid, comm });
    }
    let (comm, left) = cut_last(line.rest(), b"), now anon-rss:")?;
    Some(Part::Reaped {
        pid,
        comm,
        anon: kilobytes(Cursor::new(left)),
    })
}

/// The limit is named after the function in which it stands.
fn suppressed(text: &[u8]) -> Option<Part<'_>> {
    let mut line = Cursor::new(text);
    [&b"oom_kill_process: "[..], b"out_of_memory: ", b"dump_header: "]
        .into_iter()
        .find_map(|name| line.take(name))?;
    let count = line.digits()?;
    line.take(b" callbacks suppressed")?;
    Some(Part::Suppressed { count })
}

/// `SysRq : Manual OOM execution`, later with `sysrq: ` before it, later without `SysRq : `.
fn sysrq(text: &[u8]) -> Option<Part<'_>> {
    let mut line = Cursor::new(text);
    let prefixes = [line.take(b"sysrq: "), line.take(b"SysRq : ")];
    prefixes.into_iter().flatten().next()?;
    match line.rest() {
        b"Manual OOM execution" => Some(Part::Sysrq),
        rest => rest
            .starts_with(b"OOM request ignored")
            .then_some(Part::SysrqInVain),
    }
}

#[cfg(test)]
mod tests;
