//! Lines that have the kernel's words for a kill and became part of no report: they are counted, and the first of them is kept to be shown.
//!
//! A text that holds such words must never read as one in which nobody was killed. Who else speaks of a kill that has been told, as a daemon that
//! follows the kernel's log, adds nothing.

use crate::parse::{Cursor, find, rfind};

/// So much of a line is kept.
const SHOWN_BYTES_MAX: usize = 200;

/// So much of it may stand before the words.
const SHOWN_BEFORE_MAX: usize = 80;

/// The words. systemd's `Failed with result 'oom-kill'` is none of the kernel's, and neither is Go's `out of memory: `.
const WORDS: [&[u8]; 6] = [
    b"Killed process ",
    b"Kill process ",
    b"oom-kill:",
    b" invoked oom-killer",
    b"emory cgroup out of memory",
    b"Out of memory and no killable",
];

/// Anybody says this; the kernel goes on with one of those (`mm/oom_kill.c`, `oom_kill_process`, `check_panic_on_oom`), if its line was not cut.
const OUT_OF_MEMORY: &[u8] = b"Out of memory: ";
const GOES_ON: [&[u8]; 4] = [
    b"Killed process ",
    b"Kill process ",
    b"compulsory panic_on_oom is enabled",
    b"system-wide panic_on_oom is enabled",
];

/// What was not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// So many lines.
    pub lines: u64,
    /// The first of them, from a little before the words on. Anybody's bytes: escape them.
    pub first: Box<[u8]>,
}

impl Unread {
    /// Looks at a line that became part of nothing; `is_told` says of a process, by its number and its name where the line has
    /// one, whether its kill has been told.
    pub(super) fn look(&mut self, line: &[u8], is_told: impl Fn(u32, Option<&[u8]>) -> bool) {
        let Some(at) = words_in(line) else { return };
        if victim_in(line).is_some_and(|(pid, comm)| is_told(pid, comm)) {
            return;
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines == 1 {
            let rest = line.get(at.saturating_sub(SHOWN_BEFORE_MAX)..).unwrap_or(line);
            self.first = rest.get(..SHOWN_BYTES_MAX).unwrap_or(rest).into();
        }
    }
}

/// Where the kernel's words for a kill stand.
pub(super) fn words_in(line: &[u8]) -> Option<usize> {
    let words = WORDS.iter().filter_map(|words| find(line, words));
    words.chain(out_of_memory_in(line)).min()
}

/// Where it says that it is out of memory, and what comes of that, or breaks off before it has said so.
fn out_of_memory_in(line: &[u8]) -> Option<usize> {
    let at = find(line, OUT_OF_MEMORY)?;
    let rest = line.get(at + OUT_OF_MEMORY.len()..)?.trim_ascii_end();
    let goes_on = |words: &&[u8]| words.starts_with(rest) || rest.starts_with(words);
    GOES_ON.iter().any(goes_on).then_some(at)
}

/// Of whom a line speaks that has such words: `Killed process 7 (a)`, `task=a,pid=7`.
fn victim_in(line: &[u8]) -> Option<(u32, Option<&[u8]>)> {
    let number = |rest: &[u8]| {
        let mut cursor = Cursor::new(rest);
        let digits = cursor.digits()?;
        u32::try_from(digits).ok()
    };
    for mark in [&b"Killed process "[..], b"Kill process "] {
        let Some(rest) = rfind(line, mark).and_then(|at| line.get(at + mark.len()..)) else {
            continue;
        };
        if let Some(pid) = number(rest) {
            let behind = rest.trim_ascii_start();
            let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let name = behind.get(digits..).and_then(|behind| behind.strip_prefix(b" ("));
            // A name may hold brackets of its own.
            let marks = [&b") total-vm:"[..], b") score ", b")"];
            let end = |name: &[u8]| marks.iter().find_map(|mark| find(name, mark));
            let comm = name.and_then(|name| name.get(..end(name)?));
            return Some((pid, comm));
        }
    }
    let at = rfind(line, b",pid=")?;
    let pid = number(line.get(at + b",pid=".len()..)?)?;
    let before = line.get(..at)?;
    let comm = rfind(before, b"task=").and_then(|at| before.get(at + b"task=".len()..));
    Some((pid, comm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_for_a_kill_are_known_and_nobody_elses() {
        for line in [
            "host app[3]: Killed process 99999999999 (x) total-vm:1kB",
            "a: Kill process 7 (x) score 5 or sacrifice child",
            "x oom-kill:constraint=CONSTRAINT_NONE",
            "a invoked oom-killer: ",
            "Memory cgroup out of memory: Kil",
            "x Out of memory: Ki",
            "x Out of memory: \n",
            "Out of memory: system-wide panic_on_oom is enabled",
            "x Out of memory and no killable processes...",
        ] {
            assert!(words_in(line.as_bytes()).is_some(), "{line}");
        }
        for line in [
            "a.service: Failed with result 'oom-kill'.",
            "fatal error: runtime: out of memory: cannot allocate",
            "app[3]: Out of memory: could not allocate 4096 bytes",
            "app[3]: Out of memory: Kind of",
            "Killing container with a grace period",
            "a.service: A process of this unit has been killed by the OOM killer.",
            "",
        ] {
            assert_eq!(words_in(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_first_is_kept_and_whoever_has_been_told_of_is_none() {
        let mut unread = Unread::default();
        unread.look(b"app: Killed process 7 (x)", |pid, _| pid == 7);
        assert_eq!(unread, Unread::default());
        let long = format!("{}Killed process 8 (x){}", "a".repeat(100), "b".repeat(300));
        unread.look(long.as_bytes(), |pid, _| pid == 7);
        unread.look(b"app: Killed process 9 (x)", |_, _| false);
        let shown = format!("{}Killed process 8 (x){}", "a".repeat(80), "b".repeat(100));
        assert_eq!((unread.lines, &*unread.first), (2, shown.as_bytes()));
    }

    #[test]
    fn a_kill_is_known_by_the_number_and_the_name() {
        let known = |pid: u32, comm: Option<&[u8]>| pid == 7 && comm.is_none_or(|comm| comm == b"a) b");
        for (line, is_new) in [
            ("x: Killed process 7 (a) b) total-vm:9kB", false),
            ("x: Killed process 7, UID 0, (mysqld) total-vm:9kB", false),
            ("x oom-kill:constraint=x,task=a) b,pid=7,uid=0", false),
            ("x: Killed process 7 (mysqld) total-vm:9kB", true),
            ("x: Kill process 7 (mysqld) score 9 or sacrifice child", true),
            ("x oom-kill:constraint=x,task=mysqld,pid=7,uid=0", true),
            ("x: Killed process 8 (a) b) total-vm:9kB", true),
        ] {
            let mut unread = Unread::default();
            unread.look(line.as_bytes(), known);
            assert_eq!(unread.lines, u64::from(is_new), "{line}");
        }
    }
}
