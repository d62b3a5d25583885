//! What a report comes to.

use super::domain::Domain;
use super::level::Level;
use super::pieces::{Piece, Pieces};
use super::table::Table;
use crate::kmsg::{Behind, When};

/// No name is longer, escaped or not: a process's has 15 bytes.
const NAME_BYTES_MAX: usize = 64;

/// No path or list of flags is longer (`PATH_MAX`).
const TEXT_BYTES_MAX: usize = 4096;

/// The kernel cuts what it prints at once (`LOG_LINE_MAX`, 976 or 992), a path for instance, and does not say so.
const PRINTED_BYTES_MAX: usize = 970;

/// A name to be kept.
pub(crate) fn kept_name(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes).into()
}

/// Any other text to be kept.
pub(crate) fn kept_text(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes).into()
}

/// A task that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its number; a thread's in some old kernels.
    pub pid: u32,
    /// Its name. Bytes of its own choosing: escape them.
    pub comm: Box<[u8]>,
}

impl Task {
    pub(crate) fn of(pid: u32, comm: &[u8]) -> Self {
        Self {
            pid,
            comm: kept_name(comm),
        }
    }
}

/// Who asked for the memory that was not there. Need not be the victim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub comm: Box<[u8]>,
    /// Its number, where a banner says it.
    pub pid: Option<u32>,
    /// How it asked, as flags of this kernel.
    pub gfp_mask: u64,
    /// The same in the kernel's words; empty up to 4.5.
    pub gfp: Box<[u8]>,
    /// For 2^order pages; −1 is somebody's sysrq.
    pub order: i32,
    /// Its `oom_score_adj`.
    pub adj: Option<i32>,
}

/// A cgroup's path as the kernel prints it, absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupPath {
    /// Its bytes: escape them.
    pub path: Box<[u8]>,
    /// The line ended within or right behind it, or it is as long as the kernel prints, so that its end may be missing.
    pub is_cut: bool,
}

impl CgroupPath {
    /// `None` for an empty path, which is none.
    pub(crate) fn of(path: &[u8], is_cut: bool) -> Option<Self> {
        (!path.is_empty()).then(|| Self {
            path: kept_text(path),
            is_cut: is_cut || path.len() > PRINTED_BYTES_MAX,
        })
    }
}

/// What says that somebody was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// A kill line.
    #[default]
    KillLine,
    /// A line of 3.x about a process that shares the victim's memory, which newer kernels kill without a word.
    SharesMemory,
    /// A verdict that names it, or up to 4.19 the choice of it or of a child of it; the kill line is missing.
    Named,
    /// The reaper's line alone: its kill line was lost, or came long before.
    ReaperOnly,
    /// No line: the kernel's tracing tells that it was chosen and sent SIGKILL.
    Marked,
}

/// What the reaper made of a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reap {
    /// Its memory was taken back, but for so many bytes.
    Reaped {
        /// Anonymous memory that is left, bytes.
        anon: Option<u64>,
    },
    /// It could not be.
    Failed,
}

/// Who was killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Victim {
    /// When.
    pub when: When,
    /// Who.
    pub pid: u32,
    /// Its name; empty where a line was cut and no table has it.
    pub comm: Box<[u8]>,
    /// Its user.
    pub uid: Option<u32>,
    /// Its `oom_score_adj`.
    pub adj: Option<i32>,
    /// Its address space, bytes.
    pub total_vm: Option<u64>,
    /// Its anonymous memory, bytes.
    pub anon: Option<u64>,
    /// Its mapped file memory, bytes.
    pub file: Option<u64>,
    /// Its mapped shared memory, bytes.
    pub shmem: Option<u64>,
    /// Its page tables, bytes.
    pub page_tables: Option<u64>,
    /// Its cgroup; `None` for whom no line tells it, as for all of a group but the first.
    pub memcg: Option<CgroupPath>,
    /// What says so.
    pub seen: Seen,
    /// What the reaper made of it, where it was quick enough to be heard.
    pub reap: Option<Reap>,
}

/// One out-of-memory situation, and what the kernel did about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When its first line was written.
    pub when: When,
    /// Who asked.
    pub trigger: Option<Trigger>,
    /// Whose limit.
    pub level: Level,
    /// The limit's cgroup.
    pub limit: Option<CgroupPath>,
    /// The cgroup of whoever was chosen.
    pub task_memcg: Option<CgroupPath>,
    /// The kernel's word for the restriction, `CONSTRAINT_MEMCG` for instance: an open set.
    pub constraint: Option<Box<[u8]>>,
    /// The verdict says that it was the machine's memory.
    pub is_global: bool,
    /// The NUMA nodes that a memory policy allowed.
    pub nodemask: Option<Box<[u8]>>,
    /// The cpuset of the trigger.
    pub cpuset: Option<Box<[u8]>>,
    /// The NUMA nodes that it allowed.
    pub mems_allowed: Option<Box<[u8]>>,
    /// Who was killed, each once. Empty: nobody, or what said so was lost.
    pub victims: Vec<Victim>,
    /// Whom the kernel had chosen where it sacrificed a child, or another thread of it.
    pub sacrificed_for: Option<Task>,
    /// The cgroup all of which was killed (`memory.oom.group`).
    pub group: Option<CgroupPath>,
    /// Who was to be killed and was found to be ending already.
    pub exiting: Vec<Task>,
    /// So many times there was nobody to kill, one soon after the other and for processes of the same name. They are counted here and not repeated.
    pub no_killable: u64,
    /// So many lines were suppressed before this report: of each kill among them the kill line is there all the same.
    pub suppressed: u64,
    /// Records were lost while it was told, or right before.
    pub has_gap: bool,
    /// What filled the memory that ran out.
    pub domain: Domain,
    /// The processes that were there.
    pub table: Table,
    /// What it was put together from.
    pub pieces: Pieces,
    /// What stood before its lines, where that was more than the kernel's log has: the worst of them.
    pub behind: Behind,
}

impl Report {
    /// Somebody asked for it by sysrq.
    pub fn is_sysrq(&self) -> bool {
        let is_asked = |trigger: &Trigger| trigger.order == -1;
        self.pieces.has(Piece::Sysrq) || self.trigger.as_ref().is_some_and(is_asked)
    }

    /// The kernel panicked over it.
    pub fn is_panic(&self) -> bool {
        self.pieces.has(Piece::Panic)
    }

    /// Takes from another telling of the same kill what this one lacks; where both say something this one counts.
    pub fn complete(&mut self, other: Self) {
        fn fill<T>(own: &mut Option<T>, other: Option<T>) {
            if own.is_none() {
                *own = other;
            }
        }
        if self.level == Level::Unknown || (self.level == Level::SomeCgroup && other.limit.is_some()) {
            self.level = other.level;
        }
        fill(&mut self.trigger, other.trigger);
        fill(&mut self.limit, other.limit);
        fill(&mut self.task_memcg, other.task_memcg);
        fill(&mut self.constraint, other.constraint);
        fill(&mut self.nodemask, other.nodemask);
        fill(&mut self.cpuset, other.cpuset);
        fill(&mut self.mems_allowed, other.mems_allowed);
        fill(&mut self.sacrificed_for, other.sacrificed_for);
        fill(&mut self.group, other.group);
        for victim in &mut self.victims {
            let is_same = |told: &&Victim| told.pid == victim.pid && told.comm == victim.comm;
            let Some(told) = other.victims.iter().find(is_same).cloned() else {
                continue;
            };
            if told.seen == Seen::KillLine {
                victim.seen = told.seen;
            }
            fill(&mut victim.uid, told.uid);
            fill(&mut victim.adj, told.adj);
            fill(&mut victim.total_vm, told.total_vm);
            fill(&mut victim.anon, told.anon);
            fill(&mut victim.file, told.file);
            fill(&mut victim.shmem, told.shmem);
            fill(&mut victim.page_tables, told.page_tables);
            fill(&mut victim.memcg, told.memcg);
            fill(&mut victim.reap, told.reap);
        }
        if self.domain == Domain::default() {
            self.domain = other.domain;
        }
        if self.table.processes == 0 {
            self.table = other.table;
        }
        self.pieces.join(other.pieces);
        self.has_gap |= other.has_gap;
    }

    /// A report of a victim who was taken for a member of this one's group and is none: what its own line says, and nothing of the group's.
    pub fn of_stranger(&self, victim: Victim) -> Self {
        let mut report = Self {
            when: victim.when,
            has_gap: self.has_gap,
            behind: self.behind,
            level: match self.level {
                level @ (Level::Node | Level::Numa | Level::Cpuset | Level::Unknown) => level,
                _ => Level::SomeCgroup,
            },
            victims: vec![victim],
            ..Self::default()
        };
        report.pieces.add(Piece::Kill);
        report
    }

    /// Size of a page on the machine that wrote it, as far as its lines tell: by its free lists, or by a victim whose address space is
    /// given in both units. `None` where neither is there; 4,096 is what most have.
    pub fn page_bytes(&self) -> Option<u64> {
        let by_victim = || {
            self.victims.iter().find_map(|victim| {
                let pages = self.table.row(victim.pid)?.total_vm_pages?;
                let bytes = victim.total_vm?;
                let size = bytes.checked_div(pages)?;
                (size.is_power_of_two() && size >= 4096 && size * pages == bytes).then_some(size)
            })
        };
        self.domain.page_bytes.or_else(by_victim)
    }
}
