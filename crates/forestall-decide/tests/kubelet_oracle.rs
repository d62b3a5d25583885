//! What Kubernetes' own code answered in 500 cases of each kind, recorded by `cargo xtask oracle --record`: hostile texts,
//! percentages of odd sizes, pods with every combination of requests, and runs of the eviction manager.

mod oracle;

use oracle::{Kind, check};

fn agrees(kind: Kind, recorded: &str) {
    let differences: Vec<String> = recorded
        .lines()
        .filter_map(|line| {
            check(kind, line)
                .err()
                .map(|what| format!("{what}\n    in {line}"))
        })
        .collect();
    assert_eq!(recorded.lines().count(), 500);
    assert!(
        differences.is_empty(),
        "{} differ; the first: {}",
        differences.len(),
        differences[0]
    );
}

#[test]
fn quantities_are_what_kubernetes_reads() {
    agrees(Kind::Quantity, include_str!("oracle/quantity.tsv"));
}

#[test]
fn thresholds_are_what_the_kubelet_reads() {
    agrees(Kind::Share, include_str!("oracle/share.tsv"));
}

#[test]
fn pods_are_ranked_as_the_kubelet_ranks_them() {
    agrees(Kind::Rank, include_str!("oracle/rank.tsv"));
}

#[test]
fn looks_end_as_the_kubelets_own_manager_ends_them() {
    agrees(Kind::Loop, include_str!("oracle/loop.tsv"));
}

#[test]
fn a_wrong_answer_is_seen() {
    for (kind, line) in [
        (Kind::Quantity, "1Ki\t1025\t1024000000000"),
        (Kind::Quantity, "1Ki\terror\tsuffix"),
        (Kind::Share, "5%\t1000\t51\t50"),
        (Kind::Rank, "0/api/5/-//-/-,0/api/9/-//-/-\t0,0\t0<1\t0"),
        (
            Kind::Loop,
            "100Mi/-/0/-/no/300/0\t8589934592/6442450944\t10/10/8589934591/-/0:1:0:1>false/-/0/yyyy",
        ),
    ] {
        assert!(check(kind, line).is_err(), "{line}");
    }
}
