use std::fs;

use forestall_kernel::oom::Seen;
use tempfile::TempDir;

use super::*;

const POD: &str = "/kubepods/burstable/pod0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";

/// A hierarchy of files, whose counters are added up as the kernel does it (`memcg_memory_event`).
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(TempDir::new().expect("a directory"));
        for file in ["cgroup.controllers", "cgroup.subtree_control"] {
            fs::write(node.0.path().join(file), "memory\n").expect("a file");
        }
        for group in ["/web", "/db"] {
            fs::create_dir_all(node.path(&format!("{POD}{group}"))).expect("a directory");
        }
        let own = format!("{POD}/web");
        for group in above(&own).chain([&*format!("{POD}/db")]) {
            for file in ["memory.events", "memory.events.local"] {
                fs::write(node.path(group).join(file), "oom 0\noom_kill 0\n").expect("a file");
            }
        }
        node
    }

    fn path(&self, group: &str) -> std::path::PathBuf {
        self.0.path().join(group.trim_start_matches('/'))
    }

    fn add(&self, group: &str, file: &str, key: &str) {
        let path = self.path(group).join(file);
        let before = fs::read_to_string(&path).expect("a file");
        let lines = before.lines().map(|line| match line.split_once(' ') {
            Some((name, value)) if name == key => {
                format!("{key} {}\n", value.parse::<u64>().expect("a number") + 1)
            }
            _ => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>()).expect("a file");
    }

    fn count(&self, group: &str, key: &str) {
        self.add(group, "memory.events.local", key);
        above(group).for_each(|group| self.add(group, "memory.events", key));
    }

    /// Somebody is killed in a container at a limit, here or above.
    fn kill(&self, container: &str, limit: &str) {
        self.count(&format!("{POD}{limit}"), "oom");
        self.count(&format!("{POD}{container}"), "oom_kill");
    }

    fn open(&self) -> Counted {
        let hierarchy = Hierarchy::at(self.0.path(), true).expect("a hierarchy");
        Counted::open(Some(&hierarchy), Moment(1_000_000))
    }
}

/// A cgroup and all that lie above it but the root.
fn above(group: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(group), |group| {
        group.rsplit_once('/').map(|(above, _)| above)
    })
    .take_while(|group| !group.is_empty())
}

/// What is known of a kill line alone, and of the cgroup where `/proc` told it.
fn bare(pid: u32, container: Option<&str>) -> Entry {
    let memcg = container.map(|container| whole(format!("{POD}{container}").into_bytes().into()));
    let victim = Victim {
        pid,
        memcg,
        seen: Seen::KillLine,
        ..Victim::default()
    };
    let report = Report {
        level: Level::SomeCgroup,
        victims: vec![victim],
        ..Report::default()
    };
    Entry::new((*b"boot").into(), 0, report)
}

/// Level, limit and the victim's cgroup, below the pod.
fn told(entry: &Entry) -> (Level, Option<String>, Option<String>) {
    let below = |path: &CgroupPath| {
        let path = String::from_utf8_lossy(&path.path).into_owned();
        path.strip_prefix(POD).map(str::to_owned).unwrap_or(path)
    };
    let report = &entry.report;
    (
        report.level,
        report.limit.as_ref().map(below),
        report.victims[0].memcg.as_ref().map(below),
    )
}

fn at(level: Level, limit: &str, cgroup: &str) -> (Level, Option<String>, Option<String>) {
    (level, Some(limit.to_owned()), Some(cgroup.to_owned()))
}

#[test]
fn a_kill_line_alone_gets_its_limit_and_its_cgroup() {
    let node = Node::new();
    let mut counted = node.open();
    let now = Moment(20_000_000);
    node.kill("/web", "/web");
    let mut one = [bare(7, None)];
    assert_eq!(counted.complete(&mut one, now), [7]);
    assert_eq!(told(&one[0]), at(Level::Container, "/web", "/web"));
    assert!(one[0].report.pieces.has(Piece::Counters));
    // At the pod's limit, of whom /proc told where it was, and of one beside it.
    node.kill("/web", "");
    node.count(&format!("{POD}/db"), "oom_kill");
    let mut two = [bare(8, None), bare(9, Some("/web"))];
    assert_eq!(counted.complete(&mut two, Moment(60_000_000)), [8]);
    assert_eq!(told(&two[0]), at(Level::Pod, "", "/db"));
    assert_eq!(told(&two[1]), at(Level::Pod, "", "/web"));
}

#[test]
fn who_may_have_lived_in_either_lived_in_none_that_is_known() {
    let node = Node::new();
    let mut counted = node.open();
    for container in ["/web", "/db"] {
        node.kill(container, container);
    }
    let mut both = [bare(7, None), bare(8, None)];
    assert!(counted.complete(&mut both, Moment(20_000_000)).is_empty());
    assert_eq!(
        [told(&both[0]), told(&both[1])],
        [(Level::Container, None, None), (Level::Container, None, None)]
    );
    // Their counts wait no longer than their lines can.
    for seconds in 23..26 {
        counted.complete(&mut [bare(1, Some("/gone"))], Moment(seconds * 1_000_000));
    }
    node.kill("/web", "/web");
    let mut one = [bare(9, None)];
    assert_eq!(counted.complete(&mut one, Moment(40_000_000)), [9]);
    // One of the machine's own shortage: somebody in the root, who is counted nowhere, may have been meant.
    node.kill("/web", "/web");
    let mut machine = [bare(10, None)];
    machine[0].report.level = Level::Node;
    assert!(counted.complete(&mut machine, Moment(60_000_000)).is_empty());
    assert_eq!(told(&machine[0]), (Level::Node, None, None));
}

#[test]
fn what_the_log_held_at_the_start_is_told_by_what_was_counted_before() {
    let node = Node::new();
    node.kill("/web", "/web");
    let mut counted = node.open();
    let mut before = [bare(7, None)];
    assert_eq!(counted.complete(&mut before, Moment(2_000_000)), [7]);
    assert_eq!(told(&before[0]), at(Level::Container, "/web", "/web"));
    node.kill("/web", "/web");
    let mut counted = node.open();
    counted.forget_before();
    let mut after = [bare(8, None)];
    assert!(counted.complete(&mut after, Moment(3_000_000)).is_empty());
    assert_eq!(told(&after[0]), (Level::SomeCgroup, None, None));
}

#[test]
fn of_a_container_that_is_gone_the_pod_has_the_count() {
    let node = Node::new();
    let mut counted = node.open();
    node.kill("/web", "");
    node.kill("/web", "");
    fs::remove_dir_all(node.path(&format!("{POD}/web"))).expect("removed");
    let mut both = [bare(7, Some("/web")), bare(8, None)];
    assert!(counted.complete(&mut both, Moment(20_000_000)).is_empty());
    assert_eq!(told(&both[0]), at(Level::Pod, "", "/web"));
    assert_eq!(told(&both[1]), (Level::Pod, Some(String::new()), None));
}
