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
const WORDS: [&[u8]; 7] = [
    b"Killed process ",
    b"Kill process ",
    b"oom-kill:",
    b" invoked oom-killer",
    b"emory cgroup out of memory",
    b"Out of memory: ",
    b"Out of memory and no killable",
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
    /// Looks at a line that became part of nothing; `is_told` says of a process whether its kill has been told.
    pub(super) fn look(&mut self, line: &[u8], is_told: impl Fn(u32) -> bool) {
        let Some(at) = words_in(line) else { return };
        if pid_in(line).is_some_and(is_told) {
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
    WORDS.iter().filter_map(|words| find(line, words)).min()
}

/// Of whom a line speaks that has such words.
fn pid_in(line: &[u8]) -> Option<u32> {
    let behind = |mark: &[u8]| line.get(rfind(line, mark)? + mark.len()..);
    let digits = |rest: &[u8]| Cursor::new(rest).digits().and_then(|pid| u32::try_from(pid).ok());
    [&b"Killed process "[..], b"Kill process ", b",pid="]
        .iter()
        .find_map(|mark| digits(behind(mark)?))
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
            "x Out of memory and no killable processes...",
        ] {
            assert!(words_in(line.as_bytes()).is_some(), "{line}");
        }
        for line in [
            "a.service: Failed with result 'oom-kill'.",
            "fatal error: runtime: out of memory: cannot allocate",
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
        unread.look(b"app: Killed process 7 (x)", |pid| pid == 7);
        assert_eq!(unread, Unread::default());
        let long = format!("{}Killed process 8 (x){}", "a".repeat(100), "b".repeat(300));
        unread.look(long.as_bytes(), |pid| pid == 7);
        unread.look(b"app: Killed process 9 (x)", |_| false);
        let shown = format!("{}Killed process 8 (x){}", "a".repeat(80), "b".repeat(100));
        assert_eq!((unread.lines, &*unread.first), (2, shown.as_bytes()));
    }
}
