//! What memory killers in user space say in the same log: whom they ended, before the kernel had to.
//!
//! A line is told by its words, whatever the program is called that says so, and anybody may write them into a text. A line that names nobody
//! (nohang's) names nobody here.
//!
//! Sources: systemd `src/oom/oomd-manager.c`, earlyoom `kill.c` from 1.3 on, nohang `src/nohang`, and Talos
//! `internal/app/machined/pkg/controllers/runtime/oom.go`.

use forestall_kernel::oom::CgroupPath;
use forestall_kernel::parse::{find, unsigned};

use super::place::Place;
use crate::log::escape;

/// Each line has one of these.
pub(super) const WORDS: [&[u8]; 2] = [b"ending SIG", b" due to memory "];

/// No name is kept further.
const TEXT_BYTES_MAX: usize = 1024;

/// Whom somebody ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Killing {
    /// The program.
    pub(crate) by: &'static str,
    /// The signal's name; empty for a whole cgroup of systemd's.
    signal: &'static str,
    pub(crate) pid: Option<u32>,
    /// Of its own choosing: escape it.
    pub(crate) comm: Vec<u8>,
    pub(crate) cgroup: Option<CgroupPath>,
}

impl Killing {
    /// What it did, fit for a terminal.
    pub(crate) fn words(&self) -> String {
        let whom = match (&self.cgroup, self.pid) {
            (Some(cgroup), _) => Place::of(cgroup).words,
            (None, Some(pid)) => format!("{} (pid {pid})", escape::bytes(&self.comm)),
            (None, None) => "somebody whom this line does not name".to_owned(),
        };
        match self.signal {
            "" => format!("kills {whom}, for want of memory"),
            signal => format!("sends {signal} to {whom}, for want of memory"),
        }
    }

    /// The pod's UID, where the line has it.
    pub(crate) fn pod_uid(&self) -> Option<String> {
        Place::of(self.cgroup.as_ref()?).pod
    }
}

/// Reads what a program said; `None` for any other line.
pub(super) fn read(said: &[u8]) -> Option<Killing> {
    oomd(said).or_else(|| sending(said))
}

/// `Killed PATH due to memory pressure for …`, `… due to memory used (…) …`; from 258 on `Marked PATH for killing due to …`.
fn oomd(said: &[u8]) -> Option<Killing> {
    let at = find(said, b" due to memory ")?;
    let (before, why) = (said.get(..at)?, said.get(at + b" due to memory ".len()..)?);
    let path = match before.strip_prefix(b"Marked ") {
        Some(marked) => marked.strip_suffix(b" for killing")?,
        None => before.strip_prefix(b"Killed ")?,
    };
    let is_its = why.starts_with(b"pressure for ") || why.starts_with(b"used (");
    (is_its && path.starts_with(b"/")).then(|| Killing {
        by: "systemd-oomd",
        cgroup: Some(cgroup(path)),
        ..Killing::default()
    })
}

fn sending(said: &[u8]) -> Option<Killing> {
    let said = said.strip_prefix(b"[talos] ").unwrap_or(said);
    let rest = said
        .strip_prefix(b"sending ")
        .or_else(|| said.strip_prefix(b"Sending "))?;
    let (signal, rest) = ["SIGTERM", "SIGKILL"]
        .into_iter()
        .find_map(|signal| Some((signal, rest.strip_prefix(signal.as_bytes())?)))?;
    let found = Killing {
        signal,
        ..Killing::default()
    };
    match rest {
        b" to the victim" => Some(Killing {
            by: "nohang",
            ..found
        }),
        more => of_process(more, &found).or_else(|| of_cgroup(more, &found)),
    }
}

/// ` to process 8033 uid 1000 "tail": badness 810, VmRSS 6500 MiB`; without the user before 1.6, and with `oom_score` from 1.8 on.
fn of_process(more: &[u8], found: &Killing) -> Option<Killing> {
    let (pid, rest) = number(more.strip_prefix(b" to process ")?)?;
    let rest = match rest.strip_prefix(b" uid ") {
        Some(user) => number(user)?.1,
        None => rest,
    };
    // A name may hold quotes.
    let named = rest.strip_prefix(b" \"")?;
    let ends = [&b"\": badness "[..], b"\": oom_score "];
    let end = ends.iter().find_map(|end| find(named, end))?;
    Some(Killing {
        by: "earlyoom",
        pid: Some(pid),
        comm: kept(named.get(..end)?).to_vec(),
        ..found.clone()
    })
}

/// ` to cgroup {…, "cgroup": "/sys/fs/cgroup/kubepods/burstable/podUID"}`.
fn of_cgroup(more: &[u8], found: &Killing) -> Option<Killing> {
    let fields = more.strip_prefix(b" to cgroup ")?;
    let at = find(fields, b"\"cgroup\"")?;
    let value = fields.get(at + b"\"cgroup\"".len()..)?.strip_prefix(b":")?;
    let path = value.trim_ascii_start().strip_prefix(b"\"")?;
    let path = path.split(|byte| *byte == b'"').next()?;
    let path = path.strip_prefix(b"/sys/fs/cgroup").unwrap_or(path);
    path.starts_with(b"/").then(|| Killing {
        by: "Talos",
        cgroup: Some(cgroup(path)),
        ..found.clone()
    })
}

/// The number at the beginning, and what follows it.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((u32::try_from(unsigned(number)?).ok()?, rest))
}

fn cgroup(path: &[u8]) -> CgroupPath {
    CgroupPath {
        path: kept(path).into(),
        is_cut: path.len() > TEXT_BYTES_MAX,
    }
}

fn kept(text: &[u8]) -> &[u8] {
    text.get(..TEXT_BYTES_MAX).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Option<(&'static str, String)> {
        let killing = read(line.as_bytes())?;
        Some((killing.by, killing.words()))
    }

    #[test]
    fn each_killer_says_whom_it_ends() {
        let pod = "pod 0330b2c1-a15b-4cdd-b5e5-72d4a90bee82 (burstable)";
        for (line, by, words) in [
            (
                "Killed /user.slice/a.service due to memory pressure for /user.slice being 65.43% > 60.00% for > 20s with reclaim activity",
                "systemd-oomd",
                "kills service a, for want of memory".to_owned(),
            ),
            (
                "Marked /user.slice/a.service for killing due to memory used (8) / total (9) and swap used (9) / total (9) being more than 90.00%",
                "systemd-oomd",
                "kills service a, for want of memory".to_owned(),
            ),
            (
                "sending SIGTERM to process 8033 \"tail\": badness 810, VmRSS 6500 MiB",
                "earlyoom",
                "sends SIGTERM to tail (pid 8033), for want of memory".to_owned(),
            ),
            (
                "sending SIGKILL to process 8033 uid 1000 \"a\": \"b\": oom_score 810, VmRSS 3900 MiB, cmdline \"tail /dev/zero\"",
                "earlyoom",
                "sends SIGKILL to a\": \"b (pid 8033), for want of memory".to_owned(),
            ),
            (
                "Sending SIGKILL to the victim",
                "nohang",
                "sends SIGKILL to somebody whom this line does not name, for want of memory".to_owned(),
            ),
            (
                "[talos] Sending SIGKILL to cgroup {\"component\": \"controller-runtime\", \"controller\": \"runtime.OOMController\", \"cgroup\": \"/sys/fs/cgroup/kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82\"}",
                "Talos",
                format!("sends SIGKILL to {pod}, for want of memory"),
            ),
        ] {
            assert_eq!(told(line), Some((by, words)), "{line}");
        }
        for line in [
            "sending SIGHUP to process 1 \"a\": badness 1",
            "sending SIGTERM to process x",
            "sending SIGTERM to process 99999999999 \"a\": badness 1",
            "Killed a due to memory pressure for /b",
            "Killed /a due to memory loss",
            "Sending SIGKILL to cgroup {}",
            "",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
