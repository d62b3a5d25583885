//! Whose limit it was, told from the counters alone.
//!
//! It refuses to choose where two were met at once.

use std::time::Duration;

use super::KillCount;

/// What was met explains a kill in the same cgroup that is counted so much later.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(1);
/// The same of a group that the kernel says it killed as one, on a machine that is slow: no other kill there is counted as one.
const GROUP_FOLLOWS_WITHIN: Duration = Duration::from_secs(10);
/// Limits that are remembered for that.
const RECENT_MAX: usize = 64;

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
    /// Whose limit a process met that was killed in the cgroup `path`, by what one look has found, and by nothing before it.
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

/// The limits of kills that were told of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<Met>);

#[derive(Debug)]
struct Met {
    victim: Box<[u8]>,
    limit: Box<[u8]>,
    is_exact: bool,
    /// The kernel has counted a group killed there.
    is_of_group: bool,
    at: Duration,
}

impl Recent {
    /// As [`LimitMet::of`], and for a kill without a limit of its own that of the one before it in the same cgroup.
    pub(super) fn limit_of<'a>(
        &mut self,
        now: Duration,
        changes: &'a [KillCount],
        victim: &[u8],
    ) -> LimitMet<'a> {
        let is_group_counted = |change: &KillCount| *change.path == *victim && change.group_kills > 0;
        let mut is_of_group = changes.iter().any(is_group_counted);
        self.0
            .retain(|met| now.saturating_sub(met.at) <= GROUP_FOLLOWS_WITHIN);
        let before = self.0.iter().position(|met| {
            // The kernel counts a group once: late, or before the rest of it is counted. A second count is another group.
            let is_same_group = is_of_group != met.is_of_group;
            *met.victim == *victim && (is_same_group || now.saturating_sub(met.at) <= FOLLOWS_WITHIN)
        });
        let found = match (
            LimitMet::of(changes, victim),
            before.and_then(|at| self.0.get(at)),
        ) {
            (LimitMet::None, Some(before)) => before.among(changes),
            (found, _) => found,
        };
        let (LimitMet::At(limit) | LimitMet::Below(limit)) = found else {
            return found;
        };
        let known = self.0.iter().position(|met| *met.victim == *victim);
        if let Some(at) = known {
            let known = self.0.swap_remove(at);
            is_of_group |= before.is_some() && known.is_of_group;
        } else if self.0.len() == RECENT_MAX {
            self.0.remove(0);
        }
        self.0.push(Met {
            victim: victim.into(),
            limit: limit.path.clone(),
            is_exact: matches!(found, LimitMet::At(_)),
            is_of_group,
            at: now,
        });
        found
    }
}

impl Met {
    /// The same limit, among what changed now: whoever lies above a kill has counted it, too.
    fn among<'a>(&self, changes: &'a [KillCount]) -> LimitMet<'a> {
        match changes.iter().find(|change| change.path == self.limit) {
            Some(limit) if self.is_exact => LimitMet::At(limit),
            Some(limit) => LimitMet::Below(limit),
            None => LimitMet::None,
        }
    }
}
