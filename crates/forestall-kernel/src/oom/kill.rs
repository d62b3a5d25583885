//! Kill lines: `M: Killed process PID (COMM) total-vm:…kB, anon-rss:…kB, …`, in every shape since 3.10.
//!
//! The name may hold anything, a closing bracket included, so its end is looked for from the end of the line. A figure without its unit
//! was cut and is left out.

use super::verdict::cut_last;
use crate::parse::{Cursor, find, words};

const KILLED: &[u8] = b"Killed process ";

/// One kill line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kill<'a> {
    /// What the line says ran out: a cgroup's limit (`Memory cgroup out of memory`) or the machine's memory (`Out of memory`, with or
    /// without an addition in brackets); `None` before 5.1, when another line said it.
    pub is_cgroups: Option<bool>,
    /// Who was killed.
    pub pid: u32,
    /// Its name; `None` where the line is cut.
    pub comm: Option<&'a [u8]>,
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
}

impl<'a> Kill<'a> {
    /// Reads a line; `None` for any other.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        // Nearly every line begins with another letter, and is not searched.
        if !matches!(text.first(), Some(b'K' | b'M' | b'O')) {
            return None;
        }
        let at = find(text, KILLED)?;
        let is_cgroups = match text.get(..at)? {
            [] => None,
            message => Some(is_cgroups(message)?),
        };
        let mut line = Cursor::new(text.get(at + KILLED.len()..)?);
        let pid = u32::try_from(line.digits()?).ok()?;
        let mut found = Self {
            is_cgroups,
            pid,
            ..Self::default()
        };
        // RHEL 6 has the user before the name.
        if line.take(b", UID ").is_some() {
            found.uid = line.digits().and_then(|uid| u32::try_from(uid).ok());
            line.take(b",")?;
        }
        line.take(b" (")?;
        let rest = line.rest();
        // RHEL 7 has the user between the name and the figures.
        if let Some((comm, _)) = cut_last(rest, b") total-vm:").or_else(|| cut_last(rest, b"), UID ")) {
            found.comm = Some(comm);
            found.read_figures(rest.get(comm.len() + 1..).unwrap_or_default());
        } else {
            found.comm = cut_last(rest, b")").map(|(comm, _)| comm);
        }
        Some(found)
    }

    /// The line goes on behind the name, so that the name is all there.
    pub(crate) fn is_whole(&self) -> bool {
        self.total_vm.is_some()
    }

    fn read_figures(&mut self, text: &[u8]) {
        let mut all = words(text).map(|word| word.strip_suffix(b",").unwrap_or(word));
        while let Some(word) = all.next() {
            let mut word = Cursor::new(word);
            let key = word.take_while(|byte| byte != b':');
            if key == b"UID" && word.take(b":").is_none() {
                self.uid = all
                    .next()
                    .and_then(|uid| u32::try_from(Cursor::new(uid).digits()?).ok());
                continue;
            }
            word.take(b":").unwrap_or_default();
            match key {
                b"total-vm" => self.total_vm = kilobytes(word),
                b"anon-rss" => self.anon = kilobytes(word),
                b"file-rss" => self.file = kilobytes(word),
                b"shmem-rss" => self.shmem = kilobytes(word),
                b"pgtables" => self.page_tables = kilobytes(word),
                b"UID" => self.uid = word.digits().and_then(|uid| u32::try_from(uid).ok()),
                b"oom_score_adj" => self.adj = word.signed_digits().and_then(|adj| i32::try_from(adj).ok()),
                _ => {}
            }
        }
    }
}

/// `123kB` in bytes; `None` for what no machine has.
pub(crate) fn kilobytes(mut word: Cursor<'_>) -> Option<u64> {
    let value = word.digits()?;
    word.take(b"kB")?;
    bytes_of(value)
}

/// Kilobytes in bytes; `None` for an EiB and more, which no machine has: such a figure is cut, forged or a counter's that fell below 0.
pub(crate) fn bytes_of(kilobytes: u64) -> Option<u64> {
    kilobytes.checked_mul(1024).filter(|bytes| *bytes < 1 << 60)
}

/// What the words before `Kill process` or `Killed process` say ran out; `None` where they are not the kernel's.
pub(crate) fn is_cgroups(message: &[u8]) -> Option<bool> {
    // Events put the line about whom the kernel chose before the kill's.
    let is_two_lines = || message.ends_with(b" or sacrifice child ");
    if !message.ends_with(b": ") && !is_two_lines() {
        return None;
    }
    if message.starts_with(b"Memory cgroup out of memory") {
        Some(true)
    } else {
        message.starts_with(b"Out of memory").then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_read() {
        let read = |text: &'static str| Kill::parse(text.as_bytes()).expect("a kill");
        let legacy =
            read("Killed process 28438 (java) total-vm:20255636kB, anon-rss:466160kB, file-rss:13684kB");
        assert_eq!(
            (legacy.is_cgroups, legacy.pid, legacy.comm),
            (None, 28438, Some(&b"java"[..]))
        );
        assert_eq!(
            (legacy.anon, legacy.file, legacy.shmem),
            (Some(466_160 << 10), Some(13_684 << 10), None)
        );
        let rhel = read(
            "Killed process 19305 (my (x), UID 27, total-vm:3226156kB, anon-rss:8kB, file-rss:0kB, shmem-rss:4kB",
        );
        assert_eq!(
            (rhel.comm, rhel.uid, rhel.shmem),
            (Some(&b"my (x"[..]), Some(27), Some(4096))
        );
        let rhel = read("Killed process 11726, UID 498, (mysqld) total-vm:8kB, anon-rss:4kB, file-rss:0kB");
        assert_eq!(
            (rhel.comm, rhel.uid, rhel.anon),
            (Some(&b"mysqld"[..]), Some(498), Some(4096))
        );
        let event = read(
            "Out of memory: Kill process 3 (sh) score 9 or sacrifice child Killed process 4 (x), UID 5, total-vm:8kB",
        );
        assert_eq!(
            (event.pid, event.uid, event.is_cgroups),
            (4, Some(5), Some(false))
        );
        let new = read(
            "Memory cgroup out of memory: Killed process 7 (a) total-vm:2kB, anon-rss:0kB, file-rss:0kB, shmem-rss:1324kB, \
             UID:1001240000 pgtables:40kB oom_score_adj:-998",
        );
        assert_eq!(
            (new.is_cgroups, new.uid, new.adj),
            (Some(true), Some(1_001_240_000), Some(-998))
        );
        assert_eq!((new.shmem, new.page_tables), (Some(1324 << 10), Some(40 << 10)));
        let chosen = read("Out of memory (oom_kill_allocating_task): Killed process 7 (a) total-vm:2kB");
        assert_eq!(chosen.is_cgroups, Some(false));
    }

    #[test]
    fn no_name_moves_the_fields_behind_it() {
        for comm in [
            "a) (b,pid=1,c\\",
            ") total-vm:1kB,",
            "x\ny z",
            "",
            ")",
            "(",
            "), UID 0, ",
            "a), UID 5",
            "Killed process",
        ] {
            let text = format!(
                "Out of memory: Killed process 12 ({comm}) total-vm:4kB, anon-rss:8kB, UID:5 oom_score_adj:-1"
            );
            let found = Kill::parse(text.as_bytes()).expect("a kill");
            assert_eq!((found.pid, found.comm), (12, Some(comm.as_bytes())), "{comm:?}");
            assert_eq!(
                (found.anon, found.uid, found.adj),
                (Some(8192), Some(5), Some(-1)),
                "{comm:?}"
            );
        }
    }

    #[test]
    fn a_figure_that_may_be_cut_is_left_out() {
        let cut = |text: &'static str| Kill::parse(text.as_bytes());
        let found = cut("Killed process 19025 (tee) total-vm:14384kB, anon-rss:4368kB, file-rss:3392k")
            .expect("a kill");
        assert_eq!((found.anon, found.file), (Some(4368 << 10), None));
        let found = cut("Killed process 62769 (").expect("a kill");
        assert_eq!((found.pid, found.comm), (62769, None));
        assert_eq!(cut("Killed process 6276"), None);
        assert_eq!(cut("Killed process 99999999999 (x) total-vm:1kB"), None);
        let found =
            cut("Killed process 7 (x) total-vm:99999999999999999999kB, anon-rss:4kB").expect("a kill");
        assert_eq!((found.total_vm, found.anon), (None, Some(4096)));
    }

    #[test]
    fn what_others_print_is_no_kill() {
        for text in [
            "systemd: Killed process 1 (x) total-vm:1kB",
            "Kill process 1 (x) score 5 or sacrifice child",
            "low on memory: Killed process 1 (x) total-vm:1kB",
            "Out of memory Killed process 1 (x) total-vm:1kB",
        ] {
            assert_eq!(Kill::parse(text.as_bytes()), None, "{text}");
        }
    }
}
