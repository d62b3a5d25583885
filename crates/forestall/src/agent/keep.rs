//! What keeps the agent itself alive when memory is short and is set from outside: `memory.min` of its cgroup and, where it
//! only watches, its `oom_score_adj`. It reads and advises, and sets neither: limits of cgroups belong to whoever made them.

use std::path::Path;

use forestall_decide::Mode;
use forestall_kernel::parse::{unified_path, unsigned};

use crate::input::read_system;

/// Above this score the kernel's killer may well choose the agent.
const OOM_SCORE_ADJ_SAFE: i64 = -900;

/// What is worth a line at start, of the machine below `root` whose cgroups are at `cgroup_root`.
pub(super) fn advise(root: &Path, cgroup_root: Option<&Path>, mode: Mode) -> Vec<String> {
    let own = root.join("proc/self");
    let unprotected = cgroup_root.and_then(|cgroups| find_unprotected(&own, cgroups));
    let memory = unprotected.map(|cgroup| {
        format!(
            "memory.min of {cgroup} is 0, so that this agent's own pages are taken like anybody's: give it and the cgroups above it 16 MiB (MemoryMin=16M of the unit and its slice)"
        )
    });
    let score = read_system(&own.join("oom_score_adj")).ok().and_then(|text| {
        let text = std::str::from_utf8(&text).ok()?;
        text.trim().parse::<i64>().ok()
    });
    // What acts lowers it itself, and says so where it cannot.
    let score = score.filter(|score| *score > OOM_SCORE_ADJ_SAFE && mode != Mode::Enforce);
    let score = score.map(|score| {
        format!(
            "oom_score_adj of this agent is {score}, so that the kernel's OOM killer may choose it: give it -999 from outside (OOMScoreAdjust=-999 of the unit); with --mode enforce it does so itself"
        )
    });
    memory.into_iter().chain(score).collect()
}

/// The first cgroup on the way up from our own that keeps no memory: below it no `memory.min` holds
/// (`Documentation/admin-guide/cgroup-v2.rst`). `None` where all keep some, or where nobody can say.
fn find_unprotected(own: &Path, cgroups: &Path) -> Option<String> {
    let membership = read_system(&own.join("cgroup")).ok()?;
    let path = std::str::from_utf8(unified_path(&membership)?).ok()?;
    // Outside of our cgroup namespace nothing can be read.
    if path.split('/').any(|name| name == "..") {
        return None;
    }
    let mut path = path.trim_end_matches('/');
    while !path.is_empty() {
        let min = read_system(&cgroups.join(path.trim_start_matches('/')).join("memory.min")).ok()?;
        if unsigned(&min) == Some(0) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once('/')?.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_the_agent_alive_is_advised_where_it_is_missing() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            std::fs::write(path, text).expect("a file");
        };
        let cgroups = root.path().join("cgroups");
        let advice = |mode| advise(root.path(), Some(&cgroups), mode);
        // Nobody can say.
        assert_eq!(advice(Mode::Shadow), Vec::<String>::new());
        write("proc/self/cgroup", "0::/system.slice/forestall.service\n");
        write("proc/self/oom_score_adj", "0\n");
        let unit = "cgroups/system.slice/forestall.service/memory.min";
        write(unit, "0\n");
        write("cgroups/system.slice/memory.min", "0\n");
        let said = advice(Mode::Shadow);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("memory.min of /system.slice/forestall.service is 0"),
            "{said:?}"
        );
        assert!(
            said[1].starts_with("oom_score_adj of this agent is 0"),
            "{said:?}"
        );
        // What acts lowers its score itself; what the slice does not keep, no unit in it does.
        write(unit, "16777216\n");
        let said = advice(Mode::Enforce);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("memory.min of /system.slice is 0"),
            "{said:?}"
        );
        write("cgroups/system.slice/memory.min", "max\n");
        write("proc/self/oom_score_adj", "-999\n");
        assert_eq!(advice(Mode::Shadow), Vec::<String>::new());
    }
}
