//! `/proc/PID/status` (`fs/proc/array.c`, `task_mem` in `fs/proc/task_mmu.c`). Its memory figures come from counters, so
//! that reading it never waits for the process's `mmap_lock`.

use super::keyed::{Entry, entries};
use super::number::{unsigned_32, words};

/// One process. Memory in bytes; a process without any (a kernel thread, a zombie) has none of those lines and shows 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcStatus<'a> {
    /// The command's name as the kernel escapes it here (`\n` and `\\`); bytes of the process's own choosing.
    pub name: &'a [u8],
    /// `R`, `S`, `D`, `Z`, …; 0 where the line is absent.
    pub state: u8,
    /// The thread group, which is the PID of the process; 0 where the line is absent.
    pub tgid: u32,
    /// The parent's PID; 0 for the first process, and for one whose parent is outside the PID namespace.
    pub parent: u32,
    /// Real user ID.
    pub uid: Option<u32>,
    /// Effective user ID.
    pub uid_effective: Option<u32>,
    /// Saved user ID; a signal may be sent by whoever has this one or the real one.
    pub uid_saved: Option<u32>,
    /// `VmRSS`: the sum of the three below.
    pub rss: u64,
    /// `RssAnon`.
    pub rss_anon: u64,
    /// `RssFile`.
    pub rss_file: u64,
    /// `RssShmem`: mapped shmem. What was written to a tmpfs and is not mapped is in no process's figures.
    pub rss_shmem: u64,
    /// `VmPTE`: its page tables.
    pub page_tables: u64,
    /// `VmSwap`: anonymous memory in swap.
    pub swap: u64,
    /// `VmLck`: locked memory.
    pub locked: u64,
    /// `HugetlbPages`.
    pub hugetlb: u64,
    /// Whether it is a kernel thread (`Kthread`, 6.11 and later); `None` where the kernel does not say and
    /// [`ProcStat`](super::ProcStat)'s flags tell.
    pub kernel_thread: Option<bool>,
    /// Its PID in the innermost namespace it lives in: the last of `NSpid`.
    pub innermost_pid: Option<u32>,
}

impl<'a> ProcStatus<'a> {
    /// Reads the file.
    pub fn parse(content: &'a [u8]) -> Self {
        let mut read = Self::default();
        for entry in entries(content) {
            read.note(&entry);
        }
        read
    }

    /// What the end of this process gives back at the least: its private, shared and swapped memory and its page tables.
    pub const fn unreclaimable(&self) -> u64 {
        self.rss_anon
            .saturating_add(self.rss_shmem)
            .saturating_add(self.page_tables)
            .saturating_add(self.swap)
    }

    fn note(&mut self, entry: &Entry<'a>) {
        let field = match entry.key {
            b"VmRSS" => &mut self.rss,
            b"RssAnon" => &mut self.rss_anon,
            b"RssFile" => &mut self.rss_file,
            b"RssShmem" => &mut self.rss_shmem,
            b"VmPTE" => &mut self.page_tables,
            b"VmSwap" => &mut self.swap,
            b"VmLck" => &mut self.locked,
            b"HugetlbPages" => &mut self.hugetlb,
            _ => return self.note_identity(entry),
        };
        *field = entry.bytes().unwrap_or(0);
    }

    fn note_identity(&mut self, entry: &Entry<'a>) {
        match entry.key {
            // One tab and no more: a name may begin or end with blanks.
            b"Name" => self.name = entry.value.strip_prefix(b"\t").unwrap_or(entry.value),
            b"State" => {
                self.state = words(entry.value)
                    .next()
                    .and_then(|word| word.first().copied())
                    .unwrap_or(0);
            }
            b"Tgid" => self.tgid = words(entry.value).next().and_then(unsigned_32).unwrap_or(0),
            b"PPid" => self.parent = words(entry.value).next().and_then(unsigned_32).unwrap_or(0),
            b"Uid" => {
                let mut ids = words(entry.value).map(unsigned_32);
                self.uid = ids.next().flatten();
                self.uid_effective = ids.next().flatten();
                self.uid_saved = ids.next().flatten();
            }
            b"Kthread" => self.kernel_thread = entry.bytes().map(|value| value != 0),
            b"NSpid" => self.innermost_pid = words(entry.value).last().and_then(unsigned_32),
            _ => {}
        }
    }
}
