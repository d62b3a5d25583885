//! The verdict line: `oom-kill:constraint=C,nodemask=N,cpuset=X,mems_allowed=M,oom_memcg=P,task_memcg=P,task=COMM,pid=N,uid=N`.
//!
//! A process names itself, so its name may hold commas and `pid=1`: the line is taken apart from its end. It is longer than one
//! record holds where paths are long, so any of its end may be missing.

use crate::parse::{find, find_all, rfind, unsigned, unsigned_32};

const START: &[u8] = b"oom-kill:constraint=";

/// The longest name a process can have, bytes.
const COMM_BYTES_MAX: usize = 15;

/// One verdict line, as far as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// Which restriction memory ran out under, with its `CONSTRAINT_`: an open set.
    pub constraint: &'a [u8],
    /// The NUMA nodes that were allowed; `None` for all (`(null)`).
    pub nodemask: Option<&'a [u8]>,
    /// The cpuset of who asked for memory, which need not be the victim.
    pub cpuset: Option<&'a [u8]>,
    /// The NUMA nodes of that cpuset.
    pub mems_allowed: Option<&'a [u8]>,
    /// The machine's memory ran out, and no cgroup's limit.
    pub is_global: bool,
    /// The cgroup whose limit was reached.
    pub oom_memcg: Option<&'a [u8]>,
    /// The victim's cgroup.
    pub task_memcg: Option<&'a [u8]>,
    /// The victim's name.
    pub comm: Option<&'a [u8]>,
    /// The victim.
    pub pid: Option<u32>,
    /// Its user.
    pub uid: Option<u32>,
    /// The line has its end. Without it the last field that is there may be cut.
    pub is_whole: bool,
}

impl<'a> Verdict<'a> {
    /// Reads a line; `None` for any other.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let body = text.strip_prefix(START)?;
        let mut found = Self::default();
        let front = match tail(body) {
            Some(tail) => {
                (found.comm, found.pid, found.uid) = (Some(tail.comm), Some(tail.pid), Some(tail.uid));
                found.is_whole = true;
                tail.front
            }
            // Without the end nobody can tell where the name ends.
            None => body,
        };
        found.read_front(front);
        Some(found)
    }

    fn read_front(&mut self, front: &'a [u8]) {
        let (constraint, rest) = cut(front, b",nodemask=");
        self.constraint = constraint;
        let Some(rest) = rest else { return };
        let (nodemask, rest) = cut(rest, b",cpuset=");
        self.nodemask = Some(nodemask).filter(|mask| *mask != b"(null)");
        let Some(rest) = rest else { return };
        let (cpuset, rest) = cut(rest, b",mems_allowed=");
        self.cpuset = Some(cpuset);
        let Some(rest) = rest else { return };
        let (before, task) = split_paths(rest);
        // A path without the line's end may have `,task=` behind it, and a part of a name.
        self.task_memcg = task.map(|path| {
            if self.is_whole {
                path
            } else {
                without_beginning(cut(path, MARK).0, MARK)
            }
        });
        if let Some(mems_allowed) = before.strip_suffix(b",global_oom") {
            self.is_global = true;
            self.mems_allowed = Some(mems_allowed);
        } else {
            let (mems_allowed, limit) = cut(before, b",oom_memcg=");
            self.mems_allowed = Some(mems_allowed);
            self.oom_memcg = match task {
                Some(_) => limit,
                None => limit.map(|path| without_beginning(path, b",task_memcg=")),
            };
        }
    }

    /// The limit's path is followed by nothing, so that some of it may be missing.
    pub fn is_limit_cut(&self) -> bool {
        self.oom_memcg.is_some() && self.task_memcg.is_none()
    }

    /// The same of the victim's path.
    pub fn is_task_cut(&self) -> bool {
        !self.is_whole
    }
}

/// What stands before and behind the mark between two paths. Whoever may make cgroups may put the mark into a name, and another pod's path behind
/// it: a victim lives at the limit or below it (`mem_cgroup_scan_tasks`), so that the mark is the one behind which the limit's path comes again.
fn split_paths(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    const LIMIT: &[u8] = b",oom_memcg=";
    const TASK: &[u8] = b",task_memcg=";
    let Some(limit) = find(text, LIMIT) else {
        return cut(text, TASK);
    };
    let from = limit + LIMIT.len();
    let paths = text.get(from..).unwrap_or_default();
    let split = split_at_repeat(paths, TASK);
    let split = split.or_else(|| find(paths, TASK));
    match split {
        Some(at) => (
            text.get(..from + at).unwrap_or(text),
            text.get(from + at + TASK.len()..),
        ),
        None => (text, None),
    }
}

/// Where the first `mark` is behind which what stands before it comes again, as a path or as the beginning of one.
pub(crate) fn split_at_repeat(text: &[u8], mark: &[u8]) -> Option<usize> {
    let mut places = find_all(text, mark);
    places.find(|at| {
        let (limit, task) = (text.get(..*at), text.get(at + mark.len()..));
        let limit = limit.map(|limit| limit.strip_suffix(b"/").unwrap_or(limit));
        let rest = limit.zip(task).and_then(|(limit, task)| task.strip_prefix(limit));
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b',')))
    })
}

/// Takes off what may be the beginning of `mark`, where a line is cut within it.
fn without_beginning<'a>(text: &'a [u8], mark: &[u8]) -> &'a [u8] {
    let beginnings = (1..mark.len()).rev().filter_map(|length| mark.get(..length));
    let mut taken_off = beginnings.filter_map(|beginning| text.strip_suffix(beginning));
    taken_off.next().unwrap_or(text)
}

struct Tail<'a> {
    front: &'a [u8],
    comm: &'a [u8],
    pid: u32,
    uid: u32,
}

const MARK: &[u8] = b",task=";

/// Takes `,task=COMM,pid=N,uid=N` off the end.
fn tail(body: &[u8]) -> Option<Tail<'_>> {
    let (rest, uid) = cut_last(body, b",uid=")?;
    let (rest, pid) = cut_last(rest, b",pid=")?;
    // No process has a number that does not fit, and a number that is cut down would be somebody else's.
    let (pid, uid) = (u32::try_from(unsigned(pid)?).ok()?, unsigned_32(uid)?);
    // The first mark from which what is left is no longer than a name: a name may hold the mark, and the cgroup's name before it is
    // the runtime's.
    let from = rest.len().saturating_sub(COMM_BYTES_MAX + MARK.len());
    let at = find(rest.get(from..)?, MARK)
        .map(|at| from + at)
        .or_else(|| rfind(rest, MARK))?;
    Some(Tail {
        front: rest.get(..at)?,
        comm: rest.get(at + MARK.len()..)?,
        pid,
        uid,
    })
}

/// What stands before the first `mark`, and what behind it if there is one.
pub(crate) fn cut<'a>(text: &'a [u8], mark: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    match find(text, mark) {
        Some(at) => (text.get(..at).unwrap_or(text), text.get(at + mark.len()..)),
        None => (text, None),
    }
}

/// What stands before and behind the last `mark`.
pub(crate) fn cut_last<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = rfind(text, mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

#[cfg(test)]
mod tests;
