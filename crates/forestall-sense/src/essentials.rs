//! Who the machine and we ourselves cannot do without, and where they live.

use forestall_kernel::cgroup::{Home, Vantage};
use forestall_kernel::file::Buffer;
use forestall_kernel::parse::memory_path;
use forestall_kernel::proc::ProcRoot;
use forestall_kernel::process::ProcessFile;

/// A chain of parents longer than this is a loop in a fake tree.
const ANCESTORS_MAX: usize = 64;

/// The processes that no machine can do without: PID 1, ourselves and our ancestors, and where they live.
#[derive(Debug)]
pub(crate) struct Essentials {
    own: u32,
    pids: Vec<u32>,
    paths: Vec<Box<[u8]>>,
}

impl Essentials {
    /// Reads the chain of parents of `own` and where each of them lives.
    pub(crate) fn read(proc: &ProcRoot, own: u32, vantage: &Vantage, buffer: &mut Buffer) -> Self {
        let mut room = Vec::new();
        let mut essentials = Self {
            own,
            pids: Vec::with_capacity(ANCESTORS_MAX),
            paths: Vec::new(),
        };
        essentials.read_ancestors(proc, buffer);
        for pid in &essentials.pids {
            let Ok(process) = proc.process(*pid) else { continue };
            let Ok(content) = process.read(ProcessFile::Cgroup, buffer) else {
                continue;
            };
            let shown = memory_path(content).unwrap_or_default();
            // The root holds everybody, so that living there says nothing.
            if let Home::Inside(path) = vantage.find_home(shown, &mut room)
                && path.len() > 1
            {
                essentials.paths.push(path.into());
            }
        }
        essentials
    }

    /// Brings the chain of parents up to date, without allocating.
    pub(crate) fn read_ancestors(&mut self, proc: &ProcRoot, buffer: &mut Buffer) {
        self.pids.clear();
        self.pids.push(1);
        let mut next = self.own;
        while next > 1 && self.pids.len() < ANCESTORS_MAX && !self.pids.contains(&next) {
            self.pids.push(next);
            let parent = proc
                .process(next)
                .and_then(|process| process.stat(buffer).map(|stat| stat.parent));
            next = parent.unwrap_or(0);
        }
    }

    /// It is PID 1, ourselves or an ancestor.
    pub(crate) fn holds_pid(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }

    /// One of them lives in the cgroup at `path` or below it.
    pub(crate) fn live_in(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|home| is_at_or_below(home, path))
    }
}

/// `path` is `above` or lies below it.
pub(crate) fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || above.ends_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_another_at_a_slash_only() {
        assert!(is_at_or_below(b"/a/b", b"/a"));
        assert!(is_at_or_below(b"/a", b"/a"));
        assert!(!is_at_or_below(b"/ab", b"/a"));
        assert!(!is_at_or_below(b"/", b"/a"));
    }
}
