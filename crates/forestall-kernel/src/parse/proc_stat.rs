//! `/proc/PID/stat` (`do_task_stat` in `fs/proc/array.c`): one line, whose second field is whatever the process calls
//! itself.

use super::number::{unsigned, unsigned_32, words};

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat<'a> {
    /// Its PID.
    pub pid: u32,
    /// Its name, unescaped: it may hold blanks, newlines and parentheses.
    pub comm: &'a [u8],
    /// `R`, `S`, `D`, `Z`, ….
    pub state: u8,
    /// The parent's PID.
    pub parent: u32,
    /// The kernel's `PF_` flags (`include/linux/sched.h`).
    pub flags: u32,
    /// Processor time of all its threads, those that have ended included, spent in its own code and not in the kernel; clock
    /// ticks.
    pub user_ticks: u64,
    /// When it started, clock ticks since boot; with the PID this names a process for good.
    pub start_ticks: u64,
    /// Resident pages; approximate, the kernel adds them up lazily.
    pub rss_pages: u64,
}

impl<'a> ProcStat<'a> {
    const PF_EXITING: u32 = 0x0000_0004;
    const PF_KTHREAD: u32 = 0x0020_0000;

    /// Reads the file; `None` where it is not whole.
    ///
    /// The name is what lies between the first `(` and the **last** `)`: no field behind the name holds a parenthesis, and
    /// a process that calls itself `x) R 1 1` must not be taken for another.
    pub fn parse(content: &'a [u8]) -> Option<Self> {
        let open = content.iter().position(|byte| *byte == b'(')?;
        let close = content.iter().rposition(|byte| *byte == b')')?;
        let pid = unsigned_32(content.get(..open)?)?;
        let comm = content.get(open.checked_add(1)?..close)?;
        // The first word behind the name is field 3 of proc(5).
        let mut fields = words(content.get(close.checked_add(1)?..)?);
        let state = fields.next()?.first().copied()?;
        let parent = unsigned_32(fields.next()?)?;
        let flags = unsigned_32(fields.nth(4)?)?;
        let user_ticks = unsigned(fields.nth(4)?)?;
        let start_ticks = unsigned(fields.nth(7)?)?;
        // Signed in the documentation; a negative figure is a race between processors and means none.
        let rss_pages = unsigned(fields.nth(1)?).unwrap_or(0);
        Some(Self {
            pid,
            comm,
            state,
            parent,
            flags,
            user_ticks,
            start_ticks,
            rss_pages,
        })
    }

    /// It is a kernel thread.
    pub const fn is_kernel_thread(&self) -> bool {
        self.flags & Self::PF_KTHREAD != 0
    }

    /// It is on its way out: its memory comes back without anybody's help.
    pub const fn is_exiting(&self) -> bool {
        self.flags & Self::PF_EXITING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(comm: &str) -> String {
        format!(
            "4611 ({comm}) S 4605 4605 2407 0 -1 4194304 99 0 0 0 7 8 0 0 20 0 1 0 350524 3133440 359 \
             18446744073709551615 94003831463936 94003831483817 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n"
        )
    }

    #[test]
    fn the_fields_behind_the_name_are_counted_from_it() {
        let line = line("cat");
        let expected = ProcStat {
            pid: 4611,
            comm: b"cat",
            state: b'S',
            parent: 4605,
            flags: 4_194_304,
            user_ticks: 7,
            start_ticks: 350_524,
            rss_pages: 359,
        };
        assert_eq!(ProcStat::parse(line.as_bytes()), Some(expected));
    }

    #[test]
    fn a_name_cannot_forge_the_fields_behind_it() {
        for comm in ["x) R 1 1", ")", "(", "a b\nc", "", "((sd-pam))"] {
            let line = line(comm);
            let read = ProcStat::parse(line.as_bytes()).expect("a whole line");
            assert_eq!((read.comm, read.parent), (comm.as_bytes(), 4605), "{comm:?}");
        }
    }

    #[test]
    fn what_is_cut_short_is_no_process() {
        let line = line("cat");
        let whole = line.find("359").expect("there") + 3;
        assert!(ProcStat::parse(&line.as_bytes()[..whole]).is_some());
        assert_eq!(ProcStat::parse(&line.as_bytes()[..whole - 4]), None);
        assert_eq!(ProcStat::parse(b""), None);
        assert_eq!(ProcStat::parse(b") 1 ("), None);
    }

    #[test]
    fn flags_tell_kernel_threads_and_the_dying() {
        // kthreadd: PF_KTHREAD | PF_FORKNOEXEC | PF_NOFREEZE, and so on; the second is a zombie.
        let flagged = |flags: u32| ProcStat {
            pid: 2,
            comm: b"x",
            state: b'S',
            parent: 0,
            flags,
            user_ticks: 0,
            start_ticks: 0,
            rss_pages: 0,
        };
        assert!(flagged(2_129_984).is_kernel_thread());
        assert!(!flagged(4_194_304).is_kernel_thread());
        assert!(flagged(4_228_364).is_exiting());
        assert!(!flagged(4_194_304).is_exiting());
    }
}
