//! Other memory killers on this machine. Two of them that do not know each other kill twice for one shortage, so they
//! are named at start, and `enforce` beside them has to be asked for.
//!
//! A process chooses its name. So whoever could not end the processes of others here is no killer, whatever it calls itself: else any
//! user, or any container, would keep the guard from its work.

use std::path::Path;

use forestall_decide::is_account;
use forestall_kernel::parse::ProcStatus;

use crate::input;

/// Their names as `/proc/PID/comm` shows them (at most 15 bytes).
const KILLERS: [&str; 5] = ["systemd-oomd", "earlyoom", "nohang", "bustd", "oomd"];

/// The killers that run under `proc_root`, each once, in the order above. A process that cannot be read is none.
pub(crate) fn find_neighbours(proc_root: &Path) -> Vec<&'static str> {
    let Ok(entries) = std::fs::read_dir(proc_root) else {
        return Vec::new();
    };
    let mut found = [false; KILLERS.len()];
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(|name| name.parse::<u32>().ok()).is_none() {
            continue;
        }
        let Ok(comm) = input::read_system(&entry.path().join("comm")) else {
            continue;
        };
        let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
        for (killer, found) in KILLERS.iter().zip(&mut found) {
            *found |= killer.as_bytes() == comm && may_kill_others(&entry.path());
        }
    }
    KILLERS
        .iter()
        .zip(found)
        .filter_map(|(killer, found)| found.then_some(*killer))
        .collect()
}

/// Whether the process runs as root or as a service's account (`systemd-oomd` has one of its own, Debian's earlyoom one that systemd lends
/// it), and sees the processes of this machine and not only those of a container. One that does not tell may.
fn may_kill_others(process: &Path) -> bool {
    let Ok(status) = input::read_system(&process.join("status")) else {
        return true;
    };
    let status = ProcStatus::parse(&status);
    let is_services = status.uid.is_none_or(|uid| uid == 0 || is_account(uid));
    is_services && !status.is_nested
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn killers_are_found_by_their_exact_names() {
        let proc_root = tempfile::tempdir().expect("a directory");
        for (pid, comm) in [
            ("1", "systemd"),
            ("77", "earlyoom"),
            ("78", "earlyoom"),
            ("79", "my-oomd"),
            ("80", "nohang\n\n"),
            ("81", "\u{fffd}"),
            ("self", "bustd"),
            ("4194304", "systemd-oomd"),
        ] {
            let dir = proc_root.path().join(pid);
            std::fs::create_dir(&dir).expect("a directory");
            std::fs::write(dir.join("comm"), format!("{comm}\n")).expect("a file");
        }
        std::fs::create_dir(proc_root.path().join("99")).expect("a process that is just gone");
        assert_eq!(find_neighbours(proc_root.path()), ["systemd-oomd", "earlyoom"]);
        assert!(find_neighbours(&proc_root.path().join("nowhere")).is_empty());
    }

    #[test]
    fn a_name_alone_makes_nobody_a_killer() {
        let proc_root = tempfile::tempdir().expect("a directory");
        let process = |pid: &str, comm: &str, uid: u32, in_namespaces: &str| {
            let dir = proc_root.path().join(pid);
            std::fs::create_dir(&dir).expect("a directory");
            std::fs::write(dir.join("comm"), format!("{comm}\n")).expect("a file");
            let status =
                format!("Name:\t{comm}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{in_namespaces}\n");
            std::fs::write(dir.join("status"), status).expect("a file");
        };
        process("70", "earlyoom", 1000, "70");
        process("71", "earlyoom", 65_534, "71");
        process("72", "nohang", 0, "72\t1");
        // Two namespaces may count alike, by chance or by trying.
        process("76", "nohang", 0, "76\t76");
        assert!(find_neighbours(proc_root.path()).is_empty());
        process("73", "bustd", 0, "73");
        process("74", "systemd-oomd", 998, "74");
        process("75", "earlyoom", 61_950, "75");
        assert_eq!(
            find_neighbours(proc_root.path()),
            ["systemd-oomd", "earlyoom", "bustd"]
        );
    }
}
