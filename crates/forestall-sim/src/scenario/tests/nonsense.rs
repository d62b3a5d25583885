//! What would be taken and ignored, or could never be meant, is refused at its place.

use super::*;

fn world(policy: &str, node: &str, container: &str) -> String {
    format!(
        "title: a\nduration: 5m\npolicy: {{ {policy} }}\nnodes: [{{ name: a, memory: 1Gi{node} }}]\npods: [{{ name: p, node: 0, containers: [{{ name: \
         c{container} }}] }}]\n"
    )
}

fn is_refused(text: &str, place: &str, why: &str) {
    let error = parse_scenario(text).expect_err(text).to_string();
    assert!(
        error.starts_with(&format!("{place}: ")) && error.contains(why),
        "{error}"
    );
}

#[test]
fn thresholds_of_presets_that_would_always_or_never_act_are_refused() {
    for fine in [
        "preset: gist, minAvailable: 1023Mi",
        "preset: war-story-a, used: 100%, cache: 99.9%",
        "preset: war-story-a, used: 0.1%, cache: 100%",
    ] {
        assert!(parse_scenario(&world(fine, "", "")).is_ok(), "{fine}");
    }
    for (policy, column, why) in [
        ("preset: gist, minAvailable: 0", 39, "would never act"),
        ("preset: gist, minAvailable: 1Gi", 39, "would always act"),
        ("preset: gist, minAvailable: 64Ti", 39, "would always act"),
        (
            "preset: war-story-a, used: 0%",
            38,
            "more than 0% and at most 100%",
        ),
        (
            "preset: war-story-a, used: 101%",
            38,
            "more than 0% and at most 100%",
        ),
        ("preset: war-story-a, cache: 0%", 39, "such as 15%"),
        (
            "preset: war-story-a, used: 100%, cache: 100%",
            38,
            "would never act",
        ),
        ("minAvailable: 350Mi", 25, "belongs to preset: gist"),
        ("preset: gist, used: 85%", 31, "belongs to preset: war-story-a"),
        (
            "preset: forestall, cache: 15%",
            37,
            "belongs to preset: war-story-a",
        ),
    ] {
        is_refused(&world(policy, "", ""), &format!("3:{column}"), why);
    }
}

#[test]
fn shares_of_more_than_there_is_are_refused() {
    for (node, column) in [
        (", kubelet: { minimumReclaim: 200% }", 60),
        (", kubelet: { minimumReclaim: 100.1% }", 60),
        (", kubelet: { minimumReclaim: 65Ti }", 60),
    ] {
        is_refused(&world("", node, ""), &format!("4:{column}"), "at most 100%");
    }
    is_refused(
        &world("", ", kubelet: { cacheCounted: 101% }", ""),
        "4:58",
        "at most 100%",
    );
    for jitter in ["1000%", "100.1%"] {
        is_refused(
            &world("", "", &format!(", jitter: {jitter}")),
            "5:60",
            "jitter is at most 100%",
        );
    }
    let most = world(
        "",
        ", kubelet: { minimumReclaim: 100%, cacheCounted: 100% }",
        ", jitter: 100%",
    );
    assert!(parse_scenario(&most).is_ok());
}

#[test]
fn a_kubelet_where_there_is_none_is_refused() {
    let kubelet = ", kubelet: { evictionHard: 15% }";
    assert!(parse_scenario(&world("", kubelet, "")).is_ok());
    assert!(parse_scenario(&world("", ", kubernetes: false", "")).is_ok());
    let both = format!("{kubelet}, kubernetes: false");
    is_refused(
        &world("", &both, ""),
        "4:42",
        "without kubernetes there is no kubelet",
    );
}

#[test]
fn pods_that_are_pinned_where_no_kubelet_would_take_them_are_refused() {
    // Of 1,024 MiB the hard threshold of 100 is not allocatable.
    let text = |node: &str, pods: &str| {
        format!(
            "title: a\nduration: 5m\nnodes:\n  - {{ name: a, memory: 1Gi{node} }}\n  - {{ name: b, memory: 2Gi }}\npods:\n{pods}"
        )
    };
    let pod = |name: &str, at: &str, request: u64| {
        format!("  - {{ name: {name}, {at}, containers: [{{ name: c, request: {request}Mi }}] }}\n")
    };
    let two = |node, place, request| text(node, &(pod("p", "node: 0", 400) + &pod("q", place, request)));
    for fine in [
        two("", "node: 0", 524),
        two("", "node: 0, count: 2", 262),
        two("", "node: each", 524),
        two("", "node: 1", 1948),
        two("", "node: anywhere", 9000),
        two(", kubernetes: false", "node: 0", 9000),
        two("", "node: 0", 0),
    ] {
        assert!(parse_scenario(&fine).is_ok(), "{fine}");
    }
    let why = "pinned to node \"a\" than the 924.0MiB allocatable there, so that its kubelet would refuse it (OutOfmemory)";
    for place in ["node: 0", "node: each"] {
        is_refused(&two("", place, 525), "8:22", why);
    }
    is_refused(&two("", "node: 0, count: 2", 263), "8:22", why);
    is_refused(&two("", "node: 1", 1949), "8:22", "pinned to node \"b\"");
}
