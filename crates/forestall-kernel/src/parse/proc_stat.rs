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
        let start_ticks = unsigned(fields.nth(12)?)?;
        // Signed in the documentation; a negative figure is a race between processors and means none.
        let rss_pages = unsigned(fields.nth(1)?).unwrap_or(0);
        Some(Self {
            pid,
            comm,
            state,
            parent,
            flags,
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
