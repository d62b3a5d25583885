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
    assert_eq!(counted.complete(&mut one, |_| None, now), [7]);
    assert_eq!(told(&one[0]), at(Level::Container, "/web", "/web"));
    assert!(one[0].report.pieces.has(Piece::Counters));
    // At the pod's limit, of whom /proc told where it was, and of one beside it.
    node.kill("/web", "");
    node.count(&format!("{POD}/db"), "oom_kill");
    let mut two = [bare(8, None), bare(9, Some("/web"))];
    assert_eq!(counted.complete(&mut two, |_| None, Moment(60_000_000)), [8]);
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
    assert!(
        counted
            .complete(&mut both, |_| None, Moment(20_000_000))
            .is_empty()
    );
    assert_eq!(
        [told(&both[0]), told(&both[1])],
        [(Level::Container, None, None), (Level::Container, None, None)]
    );
    // Their counts wait no longer than their lines can.
    for seconds in 23..26 {
        counted.complete(
            &mut [bare(1, Some("/gone"))],
            |_| None,
            Moment(seconds * 1_000_000),
        );
    }
    node.kill("/web", "/web");
    let mut one = [bare(9, None)];
    assert_eq!(counted.complete(&mut one, |_| None, Moment(40_000_000)), [9]);
    // One of the machine's own shortage: somebody in the root, who is counted nowhere, may have been meant.
    node.kill("/web", "/web");
    let mut machine = [bare(10, None)];
    machine[0].report.level = Level::Node;
    assert!(
        counted
            .complete(&mut machine, |_| None, Moment(60_000_000))
            .is_empty()
    );
    assert_eq!(told(&machine[0]), (Level::Node, None, None));
}

#[test]
fn what_the_log_held_at_the_start_is_told_by_what_was_counted_before() {
    let node = Node::new();
    node.kill("/web", "/web");
    let mut counted = node.open();
    let mut before = [bare(7, None)];
    assert_eq!(counted.complete(&mut before, |_| None, Moment(2_000_000)), [7]);
    assert_eq!(told(&before[0]), at(Level::Container, "/web", "/web"));
    node.kill("/web", "/web");
    let mut counted = node.open();
    counted.forget_before();
    let mut after = [bare(8, None)];
    assert!(
        counted
            .complete(&mut after, |_| None, Moment(3_000_000))
            .is_empty()
    );
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
    assert!(
        counted
            .complete(&mut both, |_| None, Moment(20_000_000))
            .is_empty()
    );
    assert_eq!(told(&both[0]), at(Level::Pod, "", "/web"));
    assert_eq!(told(&both[1]), (Level::Pod, Some(String::new()), None));
}

/// Tracing knows no limit: a report of it alone has none, and no level.
fn marked(pid: u32, container: Option<&str>) -> Entry {
    let mut entry = bare(pid, container);
    entry.report.level = Level::Unknown;
    entry.report.pieces.add(Piece::Mark);
    entry.report.victims[0].seen = Seen::Marked;
    entry
}

#[test]
fn of_a_kill_without_a_line_the_counters_tell_whose_memory_it_was() {
    let node = Node::new();
    let mut counted = node.open();
    node.kill("/web", "");
    let mut pods = [marked(7, Some("/web"))];
    counted.complete(&mut pods, |_| None, Moment(20_000_000));
    assert_eq!(told(&pods[0]), at(Level::Pod, "", "/web"));
    // Nobody's limit was met: it was the machine's memory.
    node.count(&format!("{POD}/db"), "oom_kill");
    let mut machines = [marked(8, None)];
    assert_eq!(counted.complete(&mut machines, |_| None, Moment(60_000_000)), [8]);
    assert_eq!(told(&machines[0]), (Level::Node, None, Some("/db".to_owned())));
    // A kill line that says that it was some cgroup's is not overruled.
    node.count(&format!("{POD}/db"), "oom_kill");
    let mut line = [bare(9, None)];
    counted.complete(&mut line, |_| None, Moment(90_000_000));
    assert_eq!(line[0].report.level, Level::SomeCgroup);
    // Who lived in no cgroup of theirs is counted by none of them.
    let mut roots = [marked(10, None)];
    counted.complete(&mut roots, |_| None, Moment(120_000_000));
    assert_eq!(told(&roots[0]), (Level::Unknown, None, None));
}

#[test]
fn of_several_that_have_counted_it_is_the_one_where_the_process_was_put() {
    let node = Node::new();
    let mut counted = node.open();
    let [web, db, gone] = ["/web", "/db", "/gone"].map(|group| format!("{POD}{group}").into_bytes());
    let place_of = |pid| match pid {
        7 => Some(&web[..]),
        8 => Some(&db[..]),
        // Another one had the number.
        _ => Some(&gone[..]),
    };
    node.kill("/web", "/web");
    node.kill("/db", "/db");
    node.kill("/db", "/db");
    let mut two = [bare(7, None), bare(8, None), bare(9, None)];
    assert_eq!(
        counted.complete(&mut two, place_of, Moment(20_000_000)),
        [7, 8, 9]
    );
    assert_eq!(told(&two[0]).2.as_deref(), Some("/web"));
    assert_eq!(told(&two[1]).2.as_deref(), Some("/db"));
    assert_eq!(
        told(&two[2]).2.as_deref(),
        Some("/db"),
        "the only one that is left"
    );
    node.kill("/web", "/web");
    node.kill("/db", "/db");
    let mut one = [bare(10, None)];
    assert!(
        counted
            .complete(&mut one, place_of, Moment(60_000_000))
            .is_empty()
    );
    assert_eq!(told(&one[0]).2, None);
}

#[test]
fn what_was_counted_and_nobody_told_of_is_told_by_level() {
    let node = Node::new();
    let mut counted = node.open();
    node.kill("/web", "");
    node.kill("/web", "/web");
    node.count(&format!("{POD}/db"), "oom_kill");
    // Of one of the three a line has come, and two more are on their way, or lost.
    let mut one = [bare(7, Some("/db"))];
    counted.complete(&mut one, |_| None, Moment(20_000_000));
    assert_eq!(counted.patience(Moment(21_500_000)), Some(Span(500_000)));
    counted.rest(Moment(21_900_000));
    assert!(!counted.has_untold());
    counted.rest(Moment(22_000_000));
    let untold = counted.take_untold();
    assert_eq!(
        untold.iter().map(|(_, kills)| kills).sum::<u64>(),
        2,
        "{untold:?}"
    );
    assert!(!counted.has_untold());
    assert_eq!(counted.patience(Moment(23_000_000)), None);
    // Whose limit it was is told where one alone was met.
    node.kill("/web", "");
    let mut other = [bare(8, Some("/db"))];
    node.count(&format!("{POD}/db"), "oom_kill");
    counted.complete(&mut other, |_| None, Moment(60_000_000));
    counted.rest(Moment(62_000_000));
    let untold: Vec<(Level, u64)> = counted.take_untold().iter().collect();
    assert_eq!(untold, [(Level::Pod, 1)]);
}

#[test]
fn a_line_that_comes_late_takes_its_kill_back_from_those_that_nobody_told_of() {
    let node = Node::new();
    let mut counted = node.open();
    node.kill("/web", "");
    node.kill("/web", "");
    counted.complete(&mut [bare(7, Some("/db"))], |_| None, Moment(20_000_000));
    counted.rest(Moment(22_000_000));
    let levels = |levels: Levels| levels.iter().collect::<Vec<_>>();
    assert_eq!(levels(counted.take_untold()), [(Level::Pod, 2)]);
    // A slow disk had held the log's reader up.
    counted.complete(&mut [bare(8, Some("/web"))], |_| None, Moment(23_000_000));
    assert_eq!(levels(counted.take_late()), [(Level::Pod, 1)]);
    assert_eq!(levels(counted.take_late()), []);
    // The next one there has a count of its own.
    node.kill("/web", "");
    counted.complete(&mut [bare(9, Some("/web"))], |_| None, Moment(24_000_000));
    assert_eq!(levels(counted.take_late()), []);
}
