//! A kubelet that runs here, found by its name, alone or as a part of a distribution's one binary. Of that one process the
//! command line is read, and of no other. What a pod runs, or a user, does not speak for the node, whatever it is called.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use forestall_kernel::parse::ProcStat;

use super::flags::Flags;
use crate::input;

/// In the path of every pod's cgroup, by either driver.
const POD_MARK: &[u8] = b"kubepods";

/// A kubelet that runs here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    /// Its process.
    pub(crate) process: Process,
    /// How it is started.
    pub(super) host: Host,
    /// The words of its command line.
    words: Vec<String>,
}

/// One run of a kubelet: number and start, clock ticks since boot, which is 0 where it is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) number: u32,
    start_ticks: u64,
}

/// What a kubelet may be a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A program of its own.
    Alone,
    /// k3s, which tells its own arguments to nobody.
    K3s,
    /// MicroK8s.
    Kubelite,
}

impl Process {
    /// It still runs.
    pub(crate) fn is_running(self, root: &Path) -> bool {
        // Whoever has its number now was started later.
        root.join("proc").join(self.number.to_string()).is_dir() && Self::at(root, self.number) == self
    }

    fn at(root: &Path, number: u32) -> Self {
        let stat = input::read_system(&root.join(format!("proc/{number}/stat")));
        let start_ticks = stat
            .ok()
            .and_then(|stat| Some(ProcStat::parse(&stat)?.start_ticks));
        Self {
            number,
            start_ticks: start_ticks.unwrap_or(0),
        }
    }
}

/// A process of root's, or of our own user, outside of all pods.
fn speaks_for_the_node(dir: &Path) -> bool {
    let owner = fs::metadata(dir).map(|dir| dir.uid());
    let ours = owner.is_ok_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw());
    // A process that does not say where it is has ended, or is one of a saved tree.
    let place = input::read_system(&dir.join("cgroup")).unwrap_or_default();
    ours && !place.windows(POD_MARK.len()).any(|part| part == POD_MARK)
}

impl Running {
    /// The one that runs below `root`, the one with the lowest number of several; `None` where there is none or its flags are
    /// not shown to us.
    pub(crate) fn find(root: &Path) -> Option<Self> {
        let entries = fs::read_dir(root.join("proc")).ok()?;
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.into_iter().find_map(|number| {
            let dir = root.join("proc").join(number.to_string());
            let comm = input::read_system(&dir.join("comm")).ok()?;
            let host = match comm.trim_ascii_end() {
                b"kubelet" => Host::Alone,
                b"k3s" | b"k3s-server" | b"k3s-agent" => Host::K3s,
                b"kubelite" => Host::Kubelite,
                _ => return None,
            };
            if !speaks_for_the_node(&dir) {
                return None;
            }
            let line = input::read_system(&dir.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line);
            let words = line.split('\0').filter(|word| !word.is_empty());
            let running = Self {
                process: Process::at(root, number),
                host,
                words: words.map(str::to_owned).collect(),
            };
            // A script may bear the name, too; only one with flags of a kubelet says anything.
            (host != Host::Alone || running.flags() != Flags::default()).then_some(running)
        })
    }

    /// The flags of its command line: the kubelet's own, or those that k3s was told to hand on.
    pub(super) fn flags(&self) -> Flags {
        let words = Flags::of_words(self.words.iter().map(String::as_str));
        match self.host {
            Host::Alone => words,
            Host::K3s => Flags::of_pairs(words.values("kubelet-arg")),
            Host::Kubelite => Flags::default(),
        }
    }
}
