//! Whose limit it was, told from the counters alone.
//!
//! It refuses to choose where two were met at once.

use super::KillCount;

/// At whose limit somebody was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitMet<'a> {
    /// At this one's.
    At(&'a KillCount),
    /// At this one's or below it: the cgroup itself is gone, or the kernel has no `memory.events.local`.
    Below(&'a KillCount),
    /// At nobody's: the machine was short of memory, or those of its NUMA nodes that were allowed.
    None,
    /// More than one was met, or the cgroup is not among those that changed.
    Unclear,
}

impl<'a> LimitMet<'a> {
    /// Whose limit a process met that was killed in the cgroup `path`, by what one look has found.
    pub fn of(changes: &'a [KillCount], path: &[u8]) -> Self {
        let is_above = |change: &&KillCount| {
            let change_path = change.path.strip_suffix(b"/").unwrap_or(&change.path);
            let rest = path.strip_prefix(change_path);
            change.kills > 0 && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        // The lowest of all, the lowest with a limit met at it or below, and whose own limit was met.
        let (mut last, mut lowest, mut own, mut owns) = (None, None, None, 0);
        for change in changes.iter().filter(is_above) {
            last = Some(change);
            if change.limits_met > 0 {
                lowest = Some(change);
            }
            if change.own.is_some_and(|own| own.limits_met > 0) {
                own = Some(change);
                owns += 1;
            }
        }
        match (last, lowest, own) {
            (Some(_), None, _) => Self::None,
            (Some(last), Some(lowest), Some(own)) if owns == 1 && (own == lowest || lowest != last) => {
                Self::At(own)
            }
            (Some(last), Some(lowest), None) if lowest == last => Self::Below(last),
            // What was met, was met elsewhere below `lowest`: the one beneath it on this path counts nothing.
            (Some(_), Some(lowest), None) if lowest.own.is_some() => Self::None,
            _ => Self::Unclear,
        }
    }
}
