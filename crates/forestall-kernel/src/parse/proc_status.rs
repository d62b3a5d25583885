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
    /// Whether it is a kernel thread (`Kthread`, recent kernels); `None` where the kernel does not say and
    /// [`ProcStat`](super::ProcStat)'s flags tell.
    pub kernel_thread: Option<bool>,
    /// Whether it lives in a PID namespace below that of this proc file system: `NSpid` has one number for each from there on (Linux 4.1).
    pub is_nested: bool,
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

    /// It has ended. As a process's first thread it may leave others behind, who hold its memory.
    pub const fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
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
            b"NSpid" => self.is_nested = words(entry.value).nth(1).is_some(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLEEPER: &[u8] = b"Name:\ta b\\nc \nUmask:\t0022\nState:\tD (disk sleep)\nTgid:\t4791\nNgid:\t0\nPid:\t4791\n\
        PPid:\t4783\nTracerPid:\t0\nUid:\t1000\t1001\t1002\t1003\nGid:\t0\t0\t0\t0\nNSpid:\t4791\t17\t1\nKthread:\t0\n\
        VmLck:\t       8 kB\nVmRSS:\t    1744 kB\nRssAnon:\t     116 kB\nRssFile:\t    1600 kB\nRssShmem:\t      28 kB\n\
        VmPTE:\t      44 kB\nVmSwap:\t      12 kB\nHugetlbPages:\t    2048 kB\n";

    #[test]
    fn a_process_is_read_whole() {
        let read = ProcStatus::parse(SLEEPER);
        let expected = ProcStatus {
            // The blank at the end is part of the name, the newline in it is escaped by the kernel.
            name: b"a b\\nc ",
            state: b'D',
            tgid: 4791,
            parent: 4783,
            uid: Some(1000),
            uid_effective: Some(1001),
            uid_saved: Some(1002),
            rss: 1_744 * 1024,
            rss_anon: 116 * 1024,
            rss_file: 1_600 * 1024,
            rss_shmem: 28 * 1024,
            page_tables: 44 * 1024,
            swap: 12 * 1024,
            locked: 8 * 1024,
            hugetlb: 2_048 * 1024,
            kernel_thread: Some(false),
            is_nested: true,
        };
        assert_eq!(read, expected);
        // 116 + 28 + 44 + 12 kB.
        assert_eq!(read.unreclaimable(), 200 * 1024);
    }

    #[test]
    fn a_kernel_thread_has_no_memory_and_an_old_kernel_does_not_call_it_one() {
        let read = ProcStatus::parse(
            b"Name:\tkworker/0:1\nState:\tI (idle)\nTgid:\t9\nPPid:\t2\nUid:\t0\t0\t0\t0\n",
        );
        assert_eq!(
            (read.name, read.rss, read.kernel_thread),
            (&b"kworker/0:1"[..], 0, None)
        );
        assert_eq!(read.uid, Some(0));
    }

    #[test]
    fn a_missing_user_is_not_root() {
        assert_eq!(ProcStatus::parse(b"Uid:\n").uid, None);
        assert_eq!(ProcStatus::parse(b"Name:\tx\n").uid, None);
    }
}
