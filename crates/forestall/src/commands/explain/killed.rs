//! Whom a memory killer in user space ended, where the kernel killed nobody who is asked for: by the killer's own line in the log.

use serde_json::{Map, Value};

use crate::commands::foretold::object;
use crate::forensics::kubelet::{Deed, What};
use crate::forensics::{time, value};

/// For people.
pub(super) fn sentence(deed: &Deed, zero_micros: Option<i64>) -> String {
    let What::Kills(killing) = &deed.what else {
        return String::new();
    };
    let when = time::written(&deed.when, zero_micros);
    format!("{}: {}; {when}", killing.by, killing.words())
}

/// For programs.
pub(super) fn to_value(deed: &Deed) -> Map<String, Value> {
    let What::Kills(killing) = &deed.what else {
        return Map::new();
    };
    object([
        ("by", killing.by.into()),
        ("what", killing.words().into()),
        ("pid", killing.pid.into()),
        ("cgroup", killing.cgroup.as_ref().map(value::cgroup).into()),
        ("when", time::written(&deed.when, None).into()),
    ])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::{EndArgs, ExplainArgs, Output, explained};
    use crate::commands::terminal::Terminal;

    fn first_lines(log: &str, who: Option<&str>) -> String {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(log.as_bytes()).expect("room");
        let args = ExplainArgs {
            who: who.map(str::to_owned),
            last: false,
            log: Some(file.path().to_owned()),
            trace: None,
            ledger: None,
            output: Output::Table,
            end: EndArgs::default(),
        };
        let terminal = Terminal {
            columns: 200,
            colour: false,
        };
        let (text, _) = explained(&args, terminal).expect("a log");
        text.lines().take(3).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn where_the_kernel_killed_nobody_a_memory_killers_line_tells_the_end() {
        let oomd = "May 28 16:05:45 node-1 systemd-oomd[650]: Killed /kubepods.slice/kubepods-pod0330b2c1_a15b_4cdd_b5e5_72d4a90bee82.slice due to memory pressure for /kubepods.slice being 65.43% > 60.00% for > 20s with reclaim activity\n";
        let told = "a userspace memory killer (confidence medium): a memory killer's own line in the log, which anybody may have written there \
                    systemd-oomd: kills pod 0330b2c1-a15b-4cdd-b5e5-72d4a90bee82 (guaranteed), for want of memory; May 28 16:05:45";
        for who in [None, Some("0330b2c1-a15b-4cdd-b5e5-72d4a90bee82")] {
            assert_eq!(first_lines(oomd, who), told, "{who:?}");
        }
        // What the kernel says of a kill goes before it.
        let kernel = "May 28 16:05:50 node-1 kernel: Out of memory: Killed process 7 (java) total-vm:8kB, anon-rss:4kB, file-rss:0kB\n";
        let both = first_lines(&format!("{oomd}{kernel}"), None);
        assert!(both.starts_with("java (pid 7) was killed"), "{both}");
    }
}
