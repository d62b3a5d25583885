//! What the kernel of a node says of its kills: the line that `mm/oom_kill.c` (`dump_header`, `dump_oom_summary`) writes for each victim.
use anyhow::Result;

use crate::node::Node;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// `CONSTRAINT_MEMCG` for a cgroup's limit, `CONSTRAINT_NONE` for the machine.
    pub(crate) constraint: String,
    /// The cgroup whose limit it was; none for the machine.
    pub(crate) limit: Option<String>,
    /// The victim's cgroup.
    pub(crate) victim: String,
    /// The victim's name.
    pub(crate) task: String,
}

/// Every kill since the node's boot.
pub(crate) fn kills(node: &Node) -> Result<Vec<Kill>> {
    Ok(node.run("dmesg")?.lines().filter_map(parse).collect())
}

/// Every kill in a cgroup whose path names this: a pod's UID, or a container's ID.
pub(crate) fn kills_of(node: &Node, id: &str) -> Result<Vec<Kill>> {
    let kills = kills(node)?;
    Ok(kills
        .into_iter()
        .filter(|kill| kill.victim.contains(id))
        .collect())
}

fn parse(line: &str) -> Option<Kill> {
    let (_, fields) = line.split_once("oom-kill:")?;
    let value = |name: &str| {
        let mut found = fields.split(',').filter_map(|field| field.split_once('='));
        found
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    Some(Kill {
        constraint: value("constraint")?,
        limit: value("oom_memcg"),
        victim: value("task_memcg")?,
        task: value("task")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_read_from_the_kernels_line() {
        let line = "[   51.6] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,mems_allowed=0,\
                    oom_memcg=/kubepods,task_memcg=/kubepods/besteffort/pod1/c,task=work,pid=812,uid=0";
        let kill = parse(line).expect("a kill");
        assert_eq!(kill.constraint, "CONSTRAINT_MEMCG");
        assert_eq!(kill.limit.as_deref(), Some("/kubepods"));
        assert_eq!(
            (&*kill.victim, &*kill.task),
            ("/kubepods/besteffort/pod1/c", "work")
        );
        let line = "[   61.2] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,\
                    global_oom,task_memcg=/system.slice/leak.service,task=work,pid=9,uid=0";
        assert_eq!(parse(line).expect("a kill").limit, None);
        assert_eq!(parse("[   61.2] Out of memory: Killed process 9 (work)"), None);
    }
}
