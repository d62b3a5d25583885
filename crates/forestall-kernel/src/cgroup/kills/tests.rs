use std::fs;
use std::path::PathBuf;

use super::*;

/// A hierarchy of files, whose counters are added up as the kernel does it.
struct Node(tempfile::TempDir);

impl Node {
    fn make() -> Self {
        let node = Self(tempfile::tempdir().expect("a directory"));
        fs::write(node.0.path().join("cgroup.controllers"), "cpu memory\n").expect("written");
        fs::write(node.0.path().join("cgroup.subtree_control"), "cpu memory\n").expect("written");
        node
    }

    fn path(&self, group: &str) -> PathBuf {
        self.0.path().join(group.trim_start_matches('/'))
    }

    fn group(&self, group: &str) {
        let mut here = String::new();
        for name in group.trim_start_matches('/').split('/') {
            here = format!("{here}/{name}");
            if fs::create_dir(self.path(&here)).is_ok() {
                for file in ["memory.events", "memory.events.local"] {
                    fs::write(
                        self.path(&here).join(file),
                        "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
                    )
                    .expect("written");
                }
            }
        }
    }

    fn add(&self, group: &str, file: &str, key: &str) {
        let path = self.path(group).join(file);
        let before = fs::read_to_string(&path).expect("there");
        let lines = before.lines().map(|line| match line.split_once(' ') {
            Some((name, value)) if name == key => {
                format!("{key} {}\n", value.parse::<u64>().expect("a number") + 1)
            }
            _ => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>()).expect("written");
    }

    /// What the kernel counts: at the cgroup by itself, and at all that lie above it (`memcg_memory_event`).
    fn count(&self, group: &str, key: &str) {
        self.add(group, "memory.events.local", key);
        let mut above = group;
        while !above.is_empty() {
            self.add(above, "memory.events", key);
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }

    fn kill(&self, limit: Option<&str>, victim: &str) {
        if let Some(limit) = limit {
            self.count(limit, "oom");
        }
        self.count(victim, "oom_kill");
    }

    fn open(&self) -> KillCounters {
        let hierarchy = Hierarchy::at(self.0.path(), true).expect("a hierarchy");
        KillCounters::open(&hierarchy, b"").expect("it counts")
    }
}

/// Looks a minute after the last time.
fn look(counters: &mut KillCounters) -> Vec<KillCount> {
    let last = counters.known.values().map(|known| known.moved_at).max();
    look_after(counters, last.unwrap_or_default() + Duration::from_mins(1))
}

fn look_after(counters: &mut KillCounters, now: Duration) -> Vec<KillCount> {
    let mut changes = Vec::new();
    counters.look(now, &mut changes).expect("looked");
    changes
}

/// Path, kills, limits met, and the same of the cgroup's own.
fn figures(changes: &[KillCount]) -> Vec<(String, [u64; 2], Option<[u64; 2]>)> {
    let figures = changes.iter().map(|change| {
        let path = String::from_utf8_lossy(&change.path).into_owned();
        let own = change.own.map(|own| [own.kills, own.limits_met]);
        (path, [change.kills, change.limits_met], own)
    });
    figures.collect()
}

const POD: &str = "/kubepods/burstable/pod1";
const CONTAINER: &str = "/kubepods/burstable/pod1/a";
const OTHER: &str = "/kubepods/burstable/pod2/b";

fn node() -> Node {
    let node = Node::make();
    for group in [CONTAINER, OTHER, "/kubepods/pod3/c", "/system.slice/sshd.service"] {
        node.group(group);
    }
    node
}

fn at(changes: &[KillCount], victim: &str) -> String {
    let path = |change: &KillCount| String::from_utf8_lossy(&change.path).into_owned();
    match LimitMet::of(changes, victim.as_bytes()) {
        LimitMet::At(change) => path(change),
        LimitMet::Below(change) => format!("below {}", path(change)),
        LimitMet::None => "none".into(),
        LimitMet::Unclear => "unclear".into(),
    }
}

#[test]
fn a_change_is_followed_down_to_where_it_was_and_told_once() {
    let node = node();
    node.kill(Some(CONTAINER), CONTAINER);
    let mut counters = node.open();
    assert_eq!(look(&mut counters), [], "what was before nobody is told");
    node.kill(Some(CONTAINER), CONTAINER);
    node.kill(Some(CONTAINER), CONTAINER);
    let expected =
        ["/kubepods", "/kubepods/burstable", POD].map(|path| (path.to_owned(), [2, 2], Some([0, 0])));
    let mut expected = expected.to_vec();
    expected.push((CONTAINER.to_owned(), [2, 2], Some([2, 2])));
    let changes = look(&mut counters);
    assert_eq!(figures(&changes), expected);
    assert_eq!(at(&changes, CONTAINER), CONTAINER);
    assert_eq!(look(&mut counters), []);
    // The file changes for other reasons, too.
    node.count(CONTAINER, "max");
    assert_eq!(look(&mut counters), []);
    assert!(!counters.is_partial());
}

#[test]
fn the_level_is_where_the_limit_was_met() {
    let node = node();
    let mut counters = node.open();
    for (limit, victim) in [
        (Some(CONTAINER), CONTAINER),
        (Some(POD), CONTAINER),
        (Some("/kubepods/burstable"), OTHER),
        (Some("/kubepods"), "/kubepods/pod3/c"),
        (None, CONTAINER),
        (None, "/system.slice/sshd.service"),
    ] {
        node.kill(limit, victim);
        assert_eq!(
            at(&look(&mut counters), victim),
            limit.unwrap_or("none"),
            "{victim}"
        );
    }
}

#[test]
fn kills_at_once_are_told_apart_or_left_unclear() {
    let node = node();
    let mut counters = node.open();
    // One at its own limit, another for want of memory of all pods.
    node.kill(Some(CONTAINER), CONTAINER);
    node.kill(Some("/kubepods"), OTHER);
    let changes = look(&mut counters);
    assert_eq!(
        [at(&changes, CONTAINER), at(&changes, OTHER)],
        ["unclear", "/kubepods"]
    );
    // One at its own limit, another for want of memory of the machine.
    node.kill(Some(CONTAINER), CONTAINER);
    node.kill(None, OTHER);
    let changes = look(&mut counters);
    assert_eq!(
        [at(&changes, CONTAINER), at(&changes, OTHER)],
        [CONTAINER, "none"]
    );
    // Its pod counts nothing: it is gone, or this is of somebody else.
    assert_eq!(at(&changes, "/kubepods/pod3/c"), "below /kubepods");
    assert_eq!(at(&changes, "/system.slice/sshd.service"), "unclear");
    assert_eq!(at(&changes, "/kubepodsfoo"), "unclear");
}

#[test]
fn what_a_removed_cgroup_counted_is_told_by_those_above_it() {
    let node = node();
    let mut counters = node.open();
    node.kill(Some(CONTAINER), CONTAINER);
    fs::remove_dir_all(node.path(CONTAINER)).expect("removed");
    let changes = look(&mut counters);
    assert_eq!(
        changes.last().map(|change| (&*change.path, change.kills)),
        Some((POD.as_bytes(), 1))
    );
    assert_eq!(at(&changes, CONTAINER), format!("below {POD}"));
    // One of the same name begins at 0.
    node.group(CONTAINER);
    node.kill(Some(POD), CONTAINER);
    let changes = look(&mut counters);
    assert_eq!(changes.last().map(|change| change.kills), Some(1));
    assert_eq!(at(&changes, CONTAINER), POD);
}

#[test]
fn a_limit_that_is_met_before_its_kill_is_remembered_until_then_and_not_for_long() {
    let node = node();
    let mut counters = node.open();
    let after = Duration::from_millis;
    node.count(POD, "oom");
    let changes = look_after(&mut counters, after(100_000));
    assert_eq!(changes.iter().map(|change| change.kills).sum::<u64>(), 0);
    assert_eq!(
        changes
            .last()
            .and_then(|change| change.own)
            .map(|own| own.limits_met),
        Some(1)
    );
    node.count(CONTAINER, "oom_kill");
    assert_eq!(at(&look_after(&mut counters, after(100_010)), CONTAINER), POD);
    // It has led to that one: the next is at nobody's limit.
    node.count(CONTAINER, "oom_kill");
    assert_eq!(at(&look_after(&mut counters, after(100_020)), CONTAINER), "none");
    // Met when the kill was under way already, and to no end.
    node.count(POD, "oom");
    look_after(&mut counters, after(100_030));
    node.count(CONTAINER, "oom_kill");
    assert_eq!(at(&look_after(&mut counters, after(102_100)), CONTAINER), "none");
}

#[test]
fn a_group_that_the_kernel_counts_as_one_may_die_slowly() {
    let node = node_with_groups();
    let mut counters = node.open();
    let mut limit = |millis: u64, events: &[&str]| {
        for event in events {
            node.count(CONTAINER, event);
        }
        let now = Duration::from_millis(millis);
        let changes = look_after(&mut counters, now);
        match counters.limit_of(now, &changes, CONTAINER.as_bytes()) {
            LimitMet::At(change) => String::from_utf8_lossy(&change.path).into_owned(),
            other => format!("{other:?}"),
        }
    };
    let told = [
        limit(100_000, &["oom", "oom_kill"]),
        // It is counted as one when its first member has been killed.
        limit(103_000, &["oom_group_kill", "oom_kill"]),
        limit(109_000, &["oom_kill"]),
        limit(130_000, &["oom_kill"]),
        // One that is alone, and somebody else so much later.
        limit(140_000, &["oom", "oom_kill"]),
        limit(143_000, &["oom_kill"]),
        // So much later another group.
        limit(160_000, &["oom", "oom_kill", "oom_group_kill"]),
        limit(165_000, &["oom_group_kill", "oom_kill"]),
    ];
    let is_its = [true, true, true, false, true, false, true, false];
    assert_eq!(told, is_its.map(|is_its| if is_its { CONTAINER } else { "None" }));
}

#[test]
fn the_limit_of_a_groups_first_holds_for_all_of_it() {
    let node = node();
    let mut counters = node.open();
    let mut limit = |millis: u64, victim: &str| {
        node.count(victim, "oom_kill");
        let now = Duration::from_millis(millis);
        let changes = look_after(&mut counters, now);
        match counters.limit_of(now, &changes, victim.as_bytes()) {
            LimitMet::At(change) => String::from_utf8_lossy(&change.path).into_owned(),
            LimitMet::Below(change) => format!("below {}", String::from_utf8_lossy(&change.path)),
            other => format!("{other:?}"),
        }
    };
    node.count(POD, "oom");
    assert_eq!(
        [
            limit(100_000, CONTAINER),
            limit(100_900, CONTAINER),
            limit(101_700, CONTAINER)
        ],
        [POD; 3]
    );
    // Somebody else, at the same time, and another one in the same cgroup later.
    assert_eq!([limit(101_800, OTHER), limit(102_900, CONTAINER)], ["None"; 2]);
    // A limit that was met below comes as no more than that.
    fs::rename(
        node.path(CONTAINER).join("memory.events.local"),
        node.path(CONTAINER).join("kept"),
    )
    .expect("moved");
    for group in ["/kubepods", "/kubepods/burstable", POD, CONTAINER] {
        node.add(group, "memory.events", "oom");
    }
    fs::rename(
        node.path(CONTAINER).join("kept"),
        node.path(CONTAINER).join("memory.events.local"),
    )
    .expect("back");
    let below = format!("below {CONTAINER}");
    assert_eq!(
        [limit(110_000, CONTAINER), limit(110_100, CONTAINER)],
        [below.as_str(); 2]
    );
}

#[test]
fn what_those_below_have_counted_first_is_told_of_all_at_once() {
    let node = node();
    let mut counters = node.open();
    // The kernel has come as far as the pod with the second kill, and as far as the container with the limit that the third one meets.
    node.kill(Some(CONTAINER), CONTAINER);
    for group in [CONTAINER, POD] {
        node.add(group, "memory.events", "oom_kill");
    }
    for file in ["memory.events", "memory.events.local"] {
        node.add(CONTAINER, file, "oom");
    }
    node.add(CONTAINER, "memory.events.local", "oom_kill");
    let changes = look_after(&mut counters, Duration::from_secs(100));
    let kills = |changes: &[KillCount]| {
        changes
            .iter()
            .map(|change| (change.kills, change.limits_met))
            .collect::<Vec<_>>()
    };
    assert_eq!(kills(&changes), [(2, 2); 4]);
    assert_eq!(at(&changes, CONTAINER), CONTAINER);
    // The rest of it, which is nothing new.
    for group in ["/kubepods/burstable", "/kubepods"] {
        node.add(group, "memory.events", "oom_kill");
    }
    for group in [POD, "/kubepods/burstable", "/kubepods"] {
        node.add(group, "memory.events", "oom");
    }
    assert_eq!(look_after(&mut counters, Duration::from_secs(100)), []);
    node.kill(Some(POD), CONTAINER);
    let changes = look_after(&mut counters, Duration::from_secs(200));
    assert_eq!(kills(&changes)[..3], [(1, 1); 3]);
    assert_eq!(at(&changes, CONTAINER), POD);
}

/// A kernel from 5.17 on.
fn node_with_groups() -> Node {
    let node = node();
    for group in ["/kubepods", "/kubepods/burstable", POD, CONTAINER] {
        for file in ["memory.events", "memory.events.local"] {
            let path = node.path(group).join(file);
            fs::write(&path, "oom 0\noom_kill 0\noom_group_kill 0\n").expect("written");
        }
    }
    node
}

#[test]
fn a_killed_group_is_counted_as_one_too() {
    let node = node_with_groups();
    let mut counters = node.open();
    for _ in 0..5 {
        node.kill(None, CONTAINER);
    }
    node.count(CONTAINER, "oom_group_kill");
    let changes = look(&mut counters);
    assert!(
        changes
            .iter()
            .all(|change| (change.kills, change.group_kills) == (5, 1)),
        "{changes:?}"
    );
}

#[test]
fn cgroups_at_the_top_come_and_go() {
    let node = node();
    let mut counters = node.open();
    node.group("/kubelet/kubepods/pod4/d");
    assert_eq!(look(&mut counters), []);
    node.kill(Some("/kubelet/kubepods/pod4/d"), "/kubelet/kubepods/pod4/d");
    assert_eq!(
        at(&look(&mut counters), "/kubelet/kubepods/pod4/d"),
        "/kubelet/kubepods/pod4/d"
    );
    fs::remove_dir_all(node.path("/kubelet")).expect("removed");
    assert_eq!(look(&mut counters), []);
    assert_eq!(counters.tops.len(), 2);
    let mut changes = Vec::new();
    node.kill(None, OTHER);
    counters
        .look_everywhere(Duration::from_hours(1), &mut changes)
        .expect("looked");
    assert_eq!(changes.len(), 4);
    assert_eq!(look(&mut counters), []);
}

#[test]
fn without_local_counts_the_level_is_no_more_than_at_or_below() {
    let node = node();
    for group in ["/kubepods", "/kubepods/burstable", POD, CONTAINER] {
        fs::rename(
            node.path(group).join("memory.events.local"),
            node.path(group).join("kept"),
        )
        .expect("moved");
    }
    let mut counters = node.open();
    for group in ["/kubepods", "/kubepods/burstable", POD] {
        node.add(group, "memory.events", "oom");
    }
    for group in ["/kubepods", "/kubepods/burstable", POD, CONTAINER] {
        node.add(group, "memory.events", "oom_kill");
    }
    let changes = look(&mut counters);
    assert!(changes.iter().all(|change| change.own.is_none()));
    assert_eq!(at(&changes, CONTAINER), "unclear");
    assert_eq!(at(&changes, POD), format!("below {POD}"));
}

#[test]
fn who_hears_nothing_finds_all_the_same_and_can_look_back() {
    let node = node();
    let hierarchy = Hierarchy::at(node.0.path(), true).expect("a hierarchy");
    node.kill(Some(POD), CONTAINER);
    node.kill(Some(POD), CONTAINER);
    let mut counters = KillCounters::open_deaf(&hierarchy, b"").expect("it counts");
    let now = Duration::from_secs(100);
    let before = counters.look_back(now);
    assert_eq!(at(&before, CONTAINER), POD);
    assert_eq!(before.first().map(|change| change.kills), Some(2));
    node.group("/kubelet");
    node.kill(None, OTHER);
    node.kill(Some("/kubelet"), "/kubelet");
    assert_eq!(look_after(&mut counters, now), [], "nobody told of it");
    let mut changes = Vec::new();
    counters.look_everywhere(now, &mut changes).expect("looked");
    assert_eq!(
        [
            at(&changes, OTHER),
            at(&changes, "/kubelet"),
            at(&changes, CONTAINER)
        ],
        ["none", "/kubelet", "none"]
    );
}

#[test]
fn where_the_root_is_a_cgroup_itself_it_is_the_top() {
    let node = node();
    for file in ["memory.events", "memory.events.local"] {
        fs::write(node.0.path().join(file), "oom 0\noom_kill 0\n").expect("written");
    }
    let mut counters = node.open();
    node.kill(Some(CONTAINER), CONTAINER);
    node.add("/", "memory.events", "oom_kill");
    node.add("/", "memory.events", "oom");
    let changes = look(&mut counters);
    assert_eq!(changes.first().map(|change| &*change.path), Some(&b"/"[..]));
    assert_eq!(
        changes.last().map(|change| &*change.path),
        Some(CONTAINER.as_bytes())
    );
    assert_eq!(at(&changes, CONTAINER), CONTAINER);
}

#[test]
fn what_cannot_be_told_is_refused_with_a_reason() {
    let node = node();
    let hierarchy = Hierarchy::at(node.0.path(), true).expect("a hierarchy");
    let v1 = Hierarchy {
        version: Version::V1,
        ..hierarchy.clone()
    };
    let why = |hierarchy: &Hierarchy, mountinfo: &[u8]| {
        KillCounters::open(hierarchy, mountinfo)
            .expect_err("refused")
            .to_string()
    };
    assert!(why(&v1, b"").contains("cgroup v1"));
    let local = b"30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_localevents\n";
    assert!(why(&hierarchy, local).contains("memory_localevents"));
    for group in ["/kubepods", "/system.slice"] {
        fs::remove_file(node.path(group).join("memory.events")).expect("removed");
    }
    assert!(why(&hierarchy, b"").contains("memory.events"));
}

#[test]
fn many_are_looked_at_within_bounds() {
    let node = node();
    let deep = (0..DEPTH_MAX + 2).fold(String::from("/deep"), |path, _| format!("{path}/d"));
    node.group(&deep);
    let mut counters = node.open();
    node.kill(None, &deep);
    let changes = look(&mut counters);
    assert_eq!(changes.len(), DEPTH_MAX);
    assert!(counters.is_partial());
}
