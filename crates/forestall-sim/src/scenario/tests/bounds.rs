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
