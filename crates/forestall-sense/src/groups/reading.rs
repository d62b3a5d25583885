//! One cgroup's files at one sample: which of them are read, and what their content means on either version.

use forestall_decide::{Bytes, GroupKind, GroupSample, Limit as DecideLimit, LimitHits, Moment, Span};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::{CgroupDir, GroupFile, Version};
use forestall_kernel::file::Buffer;
use forestall_kernel::parse::{Limit, MemoryEvents, MemoryStat, Pressure, entries, unsigned};

use super::{GroupState, Surroundings, next_due};
use crate::node::{is_due, stall_of};
use crate::rest::Breadth;

/// How old what hardly ever changes may become outside `kubepods` while every wall is far away.
const RARE_EVERY_AT_REST: Span = Span::secs(60);
/// Whoever has given back as much since the last look that only this is left may have ended (permille): nobody is to be
/// chosen who lives no more.
const LEFT_PERMILLE: u64 = 900;
/// The kubelet writes `memory.min` when it makes a pod.
const MIN_EVERY: Span = Span::secs(10);

/// One cgroup's reading.
pub(super) struct Reading<'a> {
    pub(super) dir: &'a CgroupDir,
    pub(super) buffer: &'a mut Buffer,
    pub(super) now: Moment,
    pub(super) around: Surroundings,
}

impl Reading<'_> {
    /// Brings the cgroup's figures up to date as far as they are due.
    pub(super) fn update(
        mut self,
        group: &mut GroupSample,
        state: &mut GroupState,
    ) -> Result<(), KernelError> {
        let current = self.number(GroupFile::Current)?;
        let changed = current.is_some_and(|current| current != group.current);
        let before = group.current;
        if let Some(current) = current {
            group.current = current;
        }
        let is_node_wide = matches!(group.kind, GroupKind::Kubepods | GroupKind::Qos(_));
        if changed || is_node_wide || self.now >= state.figures_due {
            state.figures_due = next_due(state.figures_due, self.now);
            self.update_figures(group)?;
        }
        let rare_late = if self.around.breadth != Breadth::Everything && group.kind == GroupKind::Host {
            RARE_EVERY_AT_REST
        } else {
            Span(0)
        };
        let is_asked = self.around.killed || self.around.told || state.traits.is_none();
        if is_asked || self.now >= state.rare_due + rare_late {
            state.rare_due = next_due(state.rare_due, self.now);
            self.update_rare(group, state)?;
        } else if changed && group.populated && group.current <= before.permille(LEFT_PERMILLE) {
            self.update_populated(group)?;
        }
        Ok(())
    }

    fn update_figures(&mut self, group: &mut GroupSample) -> Result<(), KernelError> {
        let version = self.dir.version();
        if let Some(content) = self.dir.read(GroupFile::Stat, self.buffer)? {
            let stat = match version {
                Version::V1 => MemoryStat::parse_v1(content),
                Version::V2 => MemoryStat::parse_v2(content),
            };
            // An empty file is a read that went wrong, not a cgroup without memory.
            if !content.is_empty() {
                note_stat(group, &stat);
            }
        }
        if version == Version::V2 && self.around.swap {
            group.swap_current = self.number(GroupFile::SwapCurrent)?.unwrap_or_default();
        }
        match self.dir.read(GroupFile::Pressure, self.buffer) {
            Ok(content) => group.stall = content.map(Pressure::parse).as_ref().and_then(stall_of),
            // psi=0, or cgroup.pressure switched off for this cgroup.
            Err(KernelError::Unsupported { .. }) => group.stall = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn update_rare(&mut self, group: &mut GroupSample, state: &mut GroupState) -> Result<(), KernelError> {
        if let Some(limit) = self.limit(GroupFile::Max)? {
            group.limit = limit;
        }
        if is_due(&mut state.min_due, self.now, MIN_EVERY)
            && let Some(min) = self.limit(GroupFile::Min)?
        {
            // `max` keeps whatever there is.
            group.min = min.bytes().unwrap_or(Bytes(u64::MAX));
        }
        if let Some(limit) = self.limit(GroupFile::SwapMax)? {
            group.swap_limit = match (self.dir.version(), limit, group.limit) {
                (Version::V2, limit, _) => limit,
                // v1 limits memory and swap together.
                (Version::V1, DecideLimit::Bytes(both), DecideLimit::Bytes(memory)) => {
                    DecideLimit::Bytes(both - memory)
                }
                (Version::V1, _, _) => DecideLimit::Max,
            };
        }
        if let Some(content) = self.dir.read(GroupFile::Events, self.buffer)? {
            let events = MemoryEvents::parse(content);
            group.oom_kills = events.oom_kill;
            group.limit_hits = match self.dir.version() {
                Version::V2 => self.ooms(events.oom, group.limit_hits)?,
                Version::V1 => self.failures(group)?,
            };
        }
        self.update_populated(group)
    }

    /// Whether somebody lives in it.
    fn update_populated(&mut self, group: &mut GroupSample) -> Result<(), KernelError> {
        let populated = self.dir.read(GroupFile::Populated, self.buffer)?.map(|content| {
            entries(content)
                .find(|entry| entry.key == b"populated")
                .is_some_and(|entry| entry.number() != 0)
        });
        group.populated = match populated {
            Some(populated) => populated,
            None => self.has_processes(),
        };
        Ok(())
    }

    /// The cgroup's own part is read where the whole has changed.
    fn ooms(&mut self, within: u64, before: LimitHits) -> Result<LimitHits, KernelError> {
        match before {
            LimitHits::Ooms { within: known, .. } if known == within => return Ok(before),
            _ => {}
        }
        let content = self.dir.read(GroupFile::LimitHits, self.buffer)?;
        Ok(content.map_or(LimitHits::Unknown, |content| LimitHits::Ooms {
            own: MemoryEvents::parse(content).oom,
            within,
        }))
    }

    /// A limit that is not set refuses nothing. Where both are, memory and swap together are charged first (`try_charge` in
    /// `mm/memcontrol.c`).
    fn failures(&mut self, group: &GroupSample) -> Result<LimitHits, KernelError> {
        if !self.dir.has(GroupFile::LimitHits) {
            return Ok(LimitHits::Unknown);
        }
        if group.limit == DecideLimit::Max {
            return Ok(LimitHits::Failures(0));
        }
        let memory = self.number(GroupFile::LimitHits)?.unwrap_or_default();
        let both = match group.swap_limit {
            DecideLimit::Bytes(_) => self.number(GroupFile::SwapLimitHits)?,
            DecideLimit::Max => None,
        };
        Ok(LimitHits::Failures((memory + both.unwrap_or_default()).0))
    }

    /// A process is in the cgroup itself. Where that cannot be read there may be one.
    fn has_processes(&mut self) -> bool {
        match self.dir.read(GroupFile::Procs, self.buffer) {
            Ok(content) => content.is_none_or(|content| !content.is_empty()),
            Err(_) => true,
        }
    }

    /// A file of one number; `None` where it is absent, or empty, or no number.
    fn number(&mut self, file: GroupFile) -> Result<Option<Bytes>, KernelError> {
        Ok(self.dir.read(file, self.buffer)?.and_then(unsigned).map(Bytes))
    }

    fn limit(&mut self, file: GroupFile) -> Result<Option<DecideLimit>, KernelError> {
        let limit = self.dir.read(file, self.buffer)?.and_then(Limit::parse);
        Ok(limit.map(|limit| match limit {
            Limit::Bytes(bytes) => DecideLimit::Bytes(Bytes(bytes)),
            Limit::Max => DecideLimit::Max,
        }))
    }
}

fn note_stat(group: &mut GroupSample, stat: &MemoryStat) {
    group.anon = Bytes(stat.anon);
    group.shmem = Bytes(stat.shmem);
    group.active_file = Bytes(stat.active_file);
    group.inactive_file = Bytes(stat.inactive_file);
    group.dirty = Bytes(stat.file_dirty);
    group.writeback = Bytes(stat.file_writeback);
    group.unevictable = Bytes(stat.unevictable);
    group.slab_reclaimable = Bytes(stat.slab_reclaimable);
    group.refault_file_pages = stat.refault_file_pages;
    if let Some(swap) = stat.swap {
        group.swap_current = Bytes(swap);
    }
}
