//! Other memory killers on this machine. Two of them that do not know each other kill twice for one shortage, so they
//! are named at start, and `enforce` beside them has to be asked for.

use std::path::Path;

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
        let is_process = entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let Ok(comm) = input::read_system(&entry.path().join("comm")) else {
            continue;
        };
        let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
        for (killer, found) in KILLERS.iter().zip(&mut found) {
            *found |= killer.as_bytes() == comm;
        }
    }
    KILLERS
        .iter()
        .zip(found)
        .filter_map(|(killer, found)| found.then_some(*killer))
        .collect()
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
}
