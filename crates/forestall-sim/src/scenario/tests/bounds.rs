//! How much a scenario file may come to.

use std::fmt::Write as _;

use super::*;

#[test]
fn the_largest_cluster_that_is_supported_fits_and_one_that_memory_does_not_hold_is_refused() {
    // https://kubernetes.io/docs/setup/best-practices/cluster-large: 5,000 nodes and 150,000 pods.
    let cluster = |nodes: u32, pods: u32| {
        format!(
            "title: a\nduration: 5m\nnodes: [{{ name: a, count: {nodes}, memory: 16Gi }}]\npods:\n  - name: p\n    \
             node: each\n    count: {pods}\n    containers: [{{ name: c }}]\n"
        )
    };
    assert!(parse_scenario(&cluster(5000, 30)).is_ok());
    let full = cluster(5000, 30).replace("{ name: c }", "{ name: c }, { name: d }, { name: e }");
    for text in [cluster(20_000, 100), full] {
        let error = parse_scenario(&text).expect_err("too large").to_string();
        assert!(
            error.starts_with("8:17: ") && error.contains("more than 200,000 pods or 400,000 containers"),
            "{error}"
        );
    }
}

fn refused(text: &str) -> String {
    parse_scenario(text).expect_err("too much").to_string()
}

#[test]
fn processes_of_hosts_count_as_containers() {
    let nodes = |count: u32, processes: usize| {
        let host = (0..processes).fold(String::new(), |all, at| format!("{all}{{ name: p{at} }}, "));
        format!(
            "title: a\nduration: 5m\nnodes:\n  - {{ name: a, count: {count}, memory: 1Gi, host: [{host}] }}\n"
        )
    };
    assert!(parse_scenario(&nodes(4000, 100)).is_ok());
    let error = refused(&nodes(4000, 101));
    assert!(
        error.starts_with("4:")
            && error.contains("more than 200,000 pods or 400,000 containers, processes of hosts"),
        "{error}"
    );
    // What is on the nodes leaves less for the pods.
    let pod = "pods:\n  - { name: p, node: each, containers: [{ name: c }] }\n";
    assert!(parse_scenario(&(nodes(4000, 99) + pod)).is_ok());
    assert!(refused(&(nodes(4000, 100) + pod)).starts_with("6:40: that makes more than"));
    let error = refused(&nodes(20_001, 0));
    assert!(error.starts_with("4:13: more than 20,000 nodes"), "{error}");
    let error = refused(&nodes(1, 1001));
    assert!(
        error.contains("more than 1,000 containers in one pod, or processes on one host"),
        "{error}"
    );
}

#[test]
fn names_are_as_long_as_in_kubernetes_and_all_copies_of_them_are_bounded() {
    let text = |node: &str, pod: &str, container: &str, more: &str| {
        format!(
            "title: a\nduration: 5m\nnodes: [{{ name: {node}, count: 5000, memory: 1Gi }}]\npods:\n  - name: {pod}\n    node: each\n    \
             count: 40\n{more}    containers: [{{ name: {container} }}]\n"
        )
    };
    let (longest, long) = ("x".repeat(253), "x".repeat(254));
    assert!(parse_scenario(&text(&longest, &longest, &longest, "")).is_ok());
    let wrong = "a name has at most 253 bytes";
    for (text, place) in [
        (text(&long, "p", "c", ""), "3:17: "),
        (text("n", &long, "c", ""), "5:11: "),
        (text("n", "p", &long, ""), "8:26: "),
    ] {
        let error = refused(&text);
        assert!(error.starts_with(place) && error.contains(wrong), "{error}");
    }
    let error = refused(&text("n", "p", "c", &format!("    namespace: {long}\n")));
    assert!(
        error.starts_with("5:11: a namespace has at most 253 bytes"),
        "{error}"
    );
    // 200,000 pods with a label of 1,300 bytes and what it takes beside that: 262 of 256 MiB.
    let label = |bytes: usize| format!("    labels: {{ a: {} }}\n", "x".repeat(bytes));
    assert!(parse_scenario(&text("n", "p", "c", &label(1200))).is_ok());
    let error = refused(&text("n", "p", "c", &label(1300)));
    assert!(
        error.starts_with("5:11: names and labels of all copies are more than 256Mi together"),
        "{error}"
    );
}

#[test]
fn faults_and_preferences_are_as_many_as_can_be_gone_through() {
    let faults = |count: usize, nodes: usize, node: &str| {
        let one = format!("  - {{ kind: api-away, from: 1s{node} }}\n");
        let head =
            format!("title: a\nduration: 5m\nnodes: [{{ name: a, count: {nodes}, memory: 1Gi }}]\nfaults:\n");
        head + &one.repeat(count)
    };
    for (most, nodes, node) in [(1000, 1, ""), (1000, 5, ", node: 4"), (10, 20_000, "")] {
        assert!(parse_scenario(&faults(most, nodes, node)).is_ok());
        let error = refused(&faults(most + 1, nodes, node));
        let said = if most == 10 {
            "more than 200,000 faults on all nodes"
        } else {
            "more than 1,000 faults on one node"
        };
        assert!(error.starts_with(&format!("{}:13: {said}", 5 + most)), "{error}");
    }
    let preferences = |count: usize| {
        let one = "    - { weight: 1 }\n".repeat(count);
        format!("title: a\nduration: 5m\nnodes: [{{ name: a, memory: 1Gi }}]\npolicy:\n  preferences:\n{one}")
    };
    assert!(parse_scenario(&preferences(1000)).is_ok());
    let error = refused(&preferences(1001));
    assert!(
        error.starts_with("1006:7: more than 1,000 preferences"),
        "{error}"
    );
}

#[test]
fn whoever_follows_is_near_the_one_it_follows() {
    let row = |followers: usize| {
        let one = |at: usize| {
            format!(
                "      - {{ name: c{at}, load: {{ follow: {{ container: c{}, share: 50% }} }} }}\n",
                at - 1
            )
        };
        let all = (1..=followers).map(one).collect::<Vec<_>>().concat();
        format!(
            "title: a\nduration: 5m\nnodes: [{{ name: a, memory: 1Gi }}]\npods:\n  - name: p\n    node: 0\n    containers:\n      \
             - {{ name: c0, base: 64Mi }}\n{all}"
        )
    };
    assert!(parse_scenario(&row(16)).is_ok());
    let error = refused(&row(17));
    assert!(
        error.starts_with("25:") && error.contains("\"c17\" is more than 16 behind whom it follows"),
        "{error}"
    );
}

#[test]
fn anchors_are_fine_as_long_as_little_comes_out_of_them() {
    let text = |containers: usize, copies: usize| {
        let mut text = "title: a\nduration: 5m\nnodes: [{ name: a, memory: 1Gi }]\npods:\n".to_owned();
        text.push_str("  - name: p\n    containers: &all\n");
        for index in 0..containers {
            let _ = writeln!(text, "      - {{ name: c{index} }}");
        }
        for index in 0..copies {
            let _ = writeln!(text, "  - {{ name: p{index}, containers: *all }}");
        }
        text
    };
    let world = parse_scenario(&text(3, 5)).expect("a few").world;
    assert!(world.pods.len() == 6 && world.pods[5].containers.len() == 3);
    // 300 × 3,000 containers out of some 100 KiB.
    let error = parse_scenario(&text(300, 3000)).expect_err("a bomb").to_string();
    let place = error
        .split(':')
        .take(2)
        .all(|number| number.parse::<u64>().is_ok());
    assert!(place && error.contains("too much"), "{error}");
}
