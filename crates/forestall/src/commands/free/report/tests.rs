use std::path::PathBuf;

use forestall_kernel::parse::{Limit, MemoryStat};

use super::super::locate::Version;
use super::*;

const MEBI: u64 = 1 << 20;

/// A machine of 8 GiB: `free` shows 339 Mi free, 3279 Mi available.
fn meminfo() -> Believed {
    let meminfo = Meminfo::parse(
        b"MemTotal: 8124016 kB\nMemFree: 346844 kB\nMemAvailable: 3358232 kB\nBuffers: 999768 kB\nCached: 1690344 kB\n",
    );
    Believed {
        meminfo,
        doubts: Vec::new(),
    }
}

fn at(dir: &str) -> Located {
    Located::At(Place {
        version: Version::V2,
        top: PathBuf::from("/c"),
        dir: PathBuf::from(dir),
    })
}

fn level(dir: &str, limit: Limit, usage: u64) -> Level {
    let dir = PathBuf::from(dir);
    Level {
        limit_file: dir.join("memory.max"),
        dir,
        limit: Some(limit),
        usage: Some(usage),
        ..Level::default()
    }
}

#[test]
fn without_a_limit_it_is_what_meminfo_says() {
    let report = assess(
        &meminfo(),
        &at("/c/a"),
        &[level("/c/a", Limit::Max, 5), level("/c", Limit::Max, 9)],
    );
    assert_eq!((report.limit, report.limited), (None, None));
    assert_eq!(report.node.available_bytes, 3_358_232 << 10);
    // 8124016 − 3358232.
    assert_eq!(report.node.used_bytes, 4_765_784 << 10);
    assert_eq!(report.node.buffers_bytes, Some(999_768 << 10));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
}

#[test]
fn an_own_limit_is_the_total() {
    let own = level("/c/a", Limit::Bytes(3000 * MEBI), 2000 * MEBI);
    let report = assess(
        &meminfo(),
        &at("/c/a"),
        &[own, level("/c", Limit::Max, 2100 * MEBI)],
    );
    let limit = report.limit.expect("there is one");
    assert_eq!((limit.bytes, limit.owner), (3000 * MEBI, Owner::Own));
    assert_eq!(
        (limit.file.as_str(), limit.distance_bytes),
        ("/c/a/memory.max", Some(1000 * MEBI))
    );
    let row = report.limited.expect("there is one");
    assert_eq!((row.total_bytes, row.used_bytes), (3000 * MEBI, 2000 * MEBI));
    assert_eq!((row.free_bytes, row.available_bytes), (1000 * MEBI, 1000 * MEBI));
    assert!(
        report.notes[0].contains("shows the node's 7.7Gi, not this limit of 2.9Gi"),
        "{:?}",
        report.notes
    );
}

#[test]
fn an_ancestors_lower_limit_wins_and_its_usage_counts() {
    let own = level("/c/p/a", Limit::Bytes(900 * MEBI), 100 * MEBI);
    let pod = level("/c/p", Limit::Bytes(500 * MEBI), 450 * MEBI);
    let report = assess(&meminfo(), &at("/c/p/a"), &[own, pod]);
    let limit = report.limit.expect("there is one");
    assert_eq!(
        (limit.bytes, limit.owner, limit.distance_bytes),
        (500 * MEBI, Owner::Ancestor, Some(50 * MEBI))
    );
    assert_eq!(report.limited.map(|row| row.used_bytes), Some(450 * MEBI));
    // The own cgroup's figures are still told.
    assert_eq!(report.own.map(|own| own.usage_bytes), Some(100 * MEBI));
}

#[test]
fn a_higher_limit_that_others_fill_is_nearer() {
    let own = level("/c/p/a", Limit::Bytes(100 * MEBI), 10 * MEBI);
    let pod = level("/c/p", Limit::Bytes(150 * MEBI), 145 * MEBI);
    let report = assess(&meminfo(), &at("/c/p/a"), &[own, pod]);
    assert_eq!(report.limit.as_ref().map(|limit| limit.bytes), Some(100 * MEBI));
    assert_eq!(report.limited.map(|row| row.available_bytes), Some(5 * MEBI));
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("/c/p/memory.max leaves 5.0Mi")),
        "{:?}",
        report.notes
    );
}

#[test]
fn v1_tells_a_limit_whose_owner_is_not_visible() {
    let mut own = level("/c", Limit::Max, 300 * MEBI);
    own.stat = MemoryStat {
        hierarchical_limit: Some(Limit::Bytes(400 * MEBI)),
        ..MemoryStat::default()
    };
    let report = assess(&meminfo(), &at("/c"), &[own]);
    let limit = report.limit.expect("there is one");
    assert_eq!((limit.bytes, limit.owner), (400 * MEBI, Owner::UnseenAncestor));
    assert_eq!(limit.distance_bytes, Some(100 * MEBI));
    assert!(limit.file.ends_with("memory.stat (hierarchical_memory_limit)"));
}

#[test]
fn a_limit_beyond_the_machine_limits_nothing() {
    let report = assess(
        &meminfo(),
        &at("/c"),
        &[level("/c", Limit::Bytes(u64::MAX >> 8), 5)],
    );
    assert_eq!(report.limited, None);
    assert!(report.notes[0].contains("more than the machine has"));
}

#[test]
fn the_node_may_end_before_the_limit_does() {
    let report = assess(
        &meminfo(),
        &at("/c"),
        &[level("/c", Limit::Bytes(6000 * MEBI), 0)],
    );
    assert_eq!(
        report.limited.map(|row| row.available_bytes),
        Some(3_358_232 << 10)
    );
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("the node itself has only 3.2Gi left"))
    );
}

#[test]
fn swap_is_what_the_cgroup_may_use() {
    let node = Swap {
        total_bytes: 1000,
        used_bytes: 200,
        free_bytes: 800,
    };
    let mut own = level("/c", Limit::Max, 0);
    assert_eq!(cgroup_swap(&node, std::slice::from_ref(&own)), node);
    own.swap_limit = Limit::Bytes(0);
    assert_eq!(cgroup_swap(&node, std::slice::from_ref(&own)), Swap::default());
    own.swap_limit = Limit::Bytes(5000);
    own.swap = Some(100);
    let most = Swap {
        total_bytes: 1000,
        used_bytes: 100,
        free_bytes: 800,
    };
    assert_eq!(cgroup_swap(&node, &[own]), most);
}

#[test]
fn a_hidden_cgroup_is_said() {
    let report = assess(&meminfo(), &Located::Hidden("it is elsewhere".to_owned()), &[]);
    assert_eq!(report.own, None);
    assert!(report.notes[0].contains("it is elsewhere"));
}
