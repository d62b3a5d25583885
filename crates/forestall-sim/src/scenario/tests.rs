//! Scenario files that are fine and ones that are refused, with the place where they are.

use forestall_decide::kubelet::Signal;
use forestall_decide::{Bytes, Span};

use super::*;
use crate::spec::Load;

mod bounds;
mod nonsense;

const FINE: &str = "\
title: two pods
duration: 10m
nodes:
  - name: worker
    memory: 4Gi
    kubelet:
      kubeReserved: 512Mi
      evictionHard: 5%
pods:
  - name: app
    node: 0
    containers:
      - name: app
        request: 64Mi
        load:
          leak: { rate: 4Mi/s, total: 1Gi }
      - name: proxy
        load:
          follow: { container: app, share: 22% }
faults:
  - kind: clock-jump
    from: 1m
    by: -20s
";

fn refused(from: &str, to: &str) -> String {
    let text = FINE.replace(from, to);
    assert_ne!(text, FINE, "{from:?} is not in the file");
    parse_scenario(&text).expect_err(to).to_string()
}

#[test]
fn a_scenario_means_what_it_says() {
    let scenario = parse_scenario(FINE).expect("fine");
    let world = &scenario.world;
    assert_eq!(world.duration, Span::secs(600));
    let kubelet = world.nodes[0].kubelet.as_ref().expect("there is one");
    // 5 % of 4 GiB are 204.8 MiB, as the kubelet's 32-bit floats have it; allocatable is 4096 − 512 − 204.8.
    assert_eq!(kubelet.kubepods_limit(), Bytes::mebi(3584));
    assert_eq!(kubelet.allocatable(), Bytes::mebi(3584) - Bytes(214_748_368));
    assert_eq!(
        world.pods[0].containers[1].load,
        Load::Follow { of: 0, permille: 220 }
    );
    assert!(world.check().is_ok());
}

#[test]
fn thresholds_are_those_that_a_kubelet_makes_of_them() {
    let thresholds = |to: &str| {
        let text = FINE.replace("kubeReserved: 512Mi", "kubeReserved: 1Gi");
        let world = parse_scenario(&text.replace("evictionHard: 5%", to))
            .expect(to)
            .world;
        let config = world.nodes[0].kubelet.clone().expect("there is one");
        let made = config.thresholds.iter();
        made.map(|one| (one.signal, one.value, one.grace, one.min_reclaim))
            .collect::<Vec<_>>()
    };
    let (node, pods) = (Signal::MemoryAvailable, Signal::AllocatableMemoryAvailable);
    // Of 4 GiB a quarter is 1024 MiB; of the 3 GiB that pods may have it is 768 MiB, and an eighth is 512 and 384 MiB.
    let expected = [(node, 1024, 512), (pods, 768, 384)]
        .map(|(signal, value, reclaim)| (signal, Bytes::mebi(value), Span(0), Bytes::mebi(reclaim)));
    assert_eq!(
        thresholds("evictionHard: 25%\n      minimumReclaim: 12.5%"),
        expected
    );
    // Without any grace a soft threshold is a hard one, and guards the pods as well.
    let soft = |grace: &str| {
        let text = format!("evictionHard: 0%\n      evictionSoft: 1Gi\n      evictionSoftGrace: {grace}");
        thresholds(&text)
    };
    let gibi = |signal, grace| (signal, Bytes::mebi(1024), grace, Bytes::ZERO);
    assert_eq!(soft("0s"), [gibi(node, Span(0)), gibi(pods, Span(0))]);
    assert_eq!(soft("30s"), [gibi(node, Span::secs(30))]);
}

#[test]
fn what_is_wrong_is_refused_at_its_place() {
    for (from, to, place, word) in [
        ("    memory: 4Gi", "    memroy: 4Gi", "5:5", "memroy"),
        ("memory: 4Gi", "memory: -4Gi", "5:13", "negative"),
        ("memory: 4Gi", "memory: 4Gib", "5:13", "4Gib"),
        ("memory: 4Gi", "memory: 0", "5:13", "64Mi"),
        ("memory: 4Gi", "memory: 99999Ti", "5:13", "64Ti"),
        ("duration: 10m", "duration: 10", "2:11", "5m"),
        ("duration: 10m", "duration: 0s", "2:11", "nothing"),
        ("rate: 4Mi/s", "rate: 4Mi", "16:25", "16Mi/s"),
        ("node: 0", "node: 7", "11:11", "each"),
        ("container: app,", "container: db,", "19:32", "db"),
        ("container: app,", "container: proxy,", "19:32", "circle"),
        ("share: 22%", "share: 22", "19:44", "percentage"),
        ("by: -20s", "takes: 20s", "21:11", "by"),
        (
            "request: 64Mi",
            "oomScoreAdj: -1000",
            "14:22",
            "the kubelet gives",
        ),
        (
            "- name: proxy",
            "- base: 10Mi\n        name: proxy",
            "17:15",
            "leave base out",
        ),
        (
            "    memory: 4Gi",
            "    host: [{ name: d, oomScoreAdj: 1001 }]\n    memory: 4Gi",
            "5:36",
            "-1000 to 1000",
        ),
        ("by: -20s", "by: -61s", "21:11", "before the run began"),
        ("evictionHard: 5%", "evictionHard: -5%", "8:21", "small"),
        (
            "evictionHard: 5%",
            "evictionSoft: 1Gi",
            "8:21",
            "evictionSoftGrace",
        ),
        ("evictionHard: 5%", "minimumReclaim: -5%", "8:23", "small"),
        ("kubeReserved: 512Mi", "kubeReserved: 5Gi", "5:13", "no memory"),
        (
            "evictionHard: 5%",
            "memoryThrottlingFactor: 0%",
            "8:31",
            "at most 100%",
        ),
        (
            "evictionHard: 5%",
            "memoryReservationPolicy: Tiered",
            "8:32",
            "TieredReservation",
        ),
        (
            "evictionHard: 5%",
            "swapBehavior: Unlimited",
            "8:21",
            "LimitedSwap",
        ),
        (
            "    memory: 4Gi",
            "    memory: 4Gi\n    swap: -1Gi",
            "6:11",
            "negative",
        ),
        (
            "    memory: 4Gi",
            "    memory: 4Gi\n    swapp: 1Gi",
            "6:5",
            "did you mean swap?",
        ),
        ("evictionHard: 5%", "qosReserved: 110%", "8:20", "at most 100%"),
        (
            "evictionHard: 5%",
            "qosReserved: 12.5%",
            "8:20",
            "whole percentage",
        ),
        ("evictionHard: 5%", "qosReserved: -5%", "8:20", "percentage"),
        (
            "    memory: 4Gi",
            "    memroy: 4Gi",
            "5:5",
            "did you mean memory?",
        ),
        ("node: 0", "nodes: 0", "11:5", "did you mean node?"),
        ("leak: {", "leek: {", "16:11", "did you mean leak?"),
        (
            "kind: clock-jump",
            "kind: clock-jmup",
            "21:11",
            "did you mean clock-jump?",
        ),
        ("request: 64Mi", "request: .nan", "14:18", ".nan"),
        ("request: 64Mi", "request: .inf", "14:18", ".inf"),
        ("request: 64Mi", "request: 1e400", "14:18", "1e400"),
        ("request: 64Mi", "request: [64Mi]", "14:18", "350Mi"),
        ("share: 22%", "share: .nan", "19:44", "percentage"),
        ("share: 22%", "share: -1%", "19:44", "percentage"),
        ("share: 22%", "share: 1001%", "19:44", "percentage"),
        ("duration: 10m", "duration: -10m", "2:11", "5m"),
        ("duration: 10m", "duration: 10min", "2:11", "5m"),
        ("duration: 10m", "duration: 800d", "2:11", "year"),
        ("rate: 4Mi/s", "rate: -4Mi/s", "16:25", "negative"),
        ("rate: 4Mi/s", "rate: 4Mi/m", "16:25", "16Mi/s"),
        ("total: 1Gi", "total: -1Gi", "16:39", "negative"),
        ("node: 0", "node: 0\n    count: -1", "12:5", "whole number from 0"),
        (
            "node: 0",
            "node: 0\n    count: 1.5",
            "12:5",
            "whole number from 0",
        ),
        (
            "node: 0",
            "node: 0\n    priority: 9999999999",
            "12:5",
            "whole number from -2147483648",
        ),
        ("node: 0", "node: 0\n    static: yes", "12:5", "boolean"),
        (
            "node: 0",
            "node: 0\n    static: \"true\"",
            "12:5",
            "without quotes",
        ),
        ("node: 0", "node: 0\n    static: 1", "12:5", "boolean"),
        ("node: 0", "node: 0\n    count: \"3\"", "12:5", "without quotes"),
        (
            "node: 0",
            "node: 0\n    count: true",
            "12:5",
            "whole number from 0",
        ),
        ("node: 0", "node: \"0\"", "11:11", "each"),
        (
            "title: two pods",
            "title: two pods\npolicy: { rungs: { kill: 'false' } }",
            "2:20",
            "without quotes",
        ),
        (
            "title: two pods",
            "title: two pods\nseed: \"7\"",
            "2:1",
            "without quotes",
        ),
        ("name: proxy", "name: app", "17:15", "container is named \"app\""),
        ("name: proxy", "name: \"\"", "17:15", "empty"),
        (
            "node: 0",
            "node: 0\n    grow: 64Mi",
            "12:11",
            "no container has a limit",
        ),
        ("node: 0", "node: 0\n    beforeOom: 0s", "12:16", "takes time"),
        ("node: 0", "node: 0\n    beforeOom: 5", "12:16", "5m"),
        ("title: two pods", "title: two pods\ntitle: again", "2:1", "title"),
        (
            "title: two pods",
            "title: two pods\npolicy: { preferences: [{ never: true, weight: 3 }] }",
            "2:25",
            "either",
        ),
        (
            "title: two pods",
            "title: two pods\npolicy: { preferences: [{ labels: { a: b } }] }",
            "2:25",
            "either",
        ),
        ("title: two pods", "title: two pods\n\tabout: a", "1:8", "tab"),
        (
            "title: two pods",
            "title: two pods\npolicy: { preset: gist, interval: 1us }",
            "2:35",
            "shorter than 1ms",
        ),
        (
            "title: two pods",
            "title: two pods\npolicy: { idle: 999us }",
            "2:17",
            "shorter than 1ms",
        ),
        ("request: 64Mi", "limit: 0", "14:16", "leave it out for no limit"),
        ("node: 0", "limit: 0", "11:12", "leave it out for no limit"),
        ("node: 0", "node: 0\n    request: 63Mi", "12:14", "make it more"),
        ("node: 0", "node: 0\n    limit: 63Mi", "12:12", "raise the limit"),
        (
            "node: 0",
            "node: 0\n    request: 65Mi\n    limit: 64Mi",
            "13:12",
            "raise the limit",
        ),
        (
            "node: 0\n    containers:\n      - name: app\n        request: 64Mi",
            "node: 0\n    limit: 64Mi\n    containers:\n      - name: app\n        request: 1Mi\n        limit: 65Mi",
            "16:16",
            "above the pod's own",
        ),
        (
            "request: 64Mi",
            "request: 65Mi\n        limit: 64Mi",
            "14:18",
            "lower it, or raise the limit",
        ),
        (
            "    memory: 4Gi",
            "    memory: 4Gi\n    cpus: 0",
            "6:11",
            "write 1 or more",
        ),
        (
            "    memory: 4Gi",
            "    memory: 4Gi\n    kernel: 5Gi",
            "6:13",
            "kernel leaves less than 64Mi",
        ),
        (
            "evictionHard: 5%",
            "hugepages: 4Gi",
            "8:18",
            "hugepages leaves less than 64Mi",
        ),
        // Neither alone: 4,096 − 2,000 − 2,033 = 63.
        (
            "    kubelet:\n",
            "    kernel: 2000Mi\n    kubelet:\n      hugepages: 2033Mi\n",
            "8:18",
            "hugepages leaves less than 64Mi",
        ),
        (
            "kind: clock-jump",
            "kind: [clock-jump]",
            "21:11",
            "write one of api-away, agent-restart, clock-jump",
        ),
        (
            "title: two pods",
            "title: two pods\npolicy: { mode: [enforce] }",
            "2:17",
            "write one of observe, shadow, enforce",
        ),
        (
            "evictionHard: 5%",
            "swapBehavior: { NoSwap: 1 }",
            "8:21",
            "write one of NoSwap, LimitedSwap",
        ),
        ("from: 1m", "from: 10m", "21:11", "when the run is over"),
        (
            "node: 0",
            "node: 0\n    start: 10m",
            "10:11",
            "when the run is over",
        ),
        // 4,096 − 512 = 3,584.
        (
            "evictionHard: 5%",
            "evictionHard: 3585Mi",
            "8:21",
            "refuses to start",
        ),
        (
            "leak: { rate: 4Mi/s, total: 1Gi }",
            "[leak]",
            "16:11",
            "a load is its name",
        ),
        ("node: 0", "node: [0]", "11:11", "each or anywhere"),
    ] {
        let error = refused(from, to);
        assert!(
            error.starts_with(&format!("{place}: ")) && error.contains(word),
            "{to}: {error}"
        );
    }
}

#[test]
fn what_is_just_enough_is_taken() {
    let enough = FINE
        .replace("request: 64Mi", "request: 64Mi\n        limit: 64Mi")
        .replace(
            "    kubelet:\n",
            "    cpus: 1\n    kernel: 2000Mi\n    kubelet:\n      hugepages: 2032Mi\n",
        );
    let world = parse_scenario(&enough).expect("fine").world;
    assert_eq!(world.nodes[0].cpus, 1);
    assert_eq!(world.nodes[0].kernel, Bytes::mebi(2000));
    assert_eq!(world.pods[0].containers[0].request, Bytes::mebi(64));
}

#[test]
fn a_container_with_a_limit_alone_requests_it_and_a_pod_may_ask_for_itself() {
    let text = FINE
        .replace("request: 64Mi", "limit: 64Mi")
        .replace("node: 0", "node: 0\n    request: 64Mi\n    limit: 128Mi");
    let pod = &parse_scenario(&text).expect("fine").world.pods[0];
    assert_eq!(pod.containers[0].request, Bytes::mebi(64));
    assert_eq!(
        (pod.request, pod.limit),
        (
            Some(Bytes::mebi(64)),
            forestall_decide::Limit::Bytes(Bytes::mebi(128))
        )
    );
}

#[test]
fn a_circle_of_two_is_refused_too() {
    let error = refused(
        "leak: { rate: 4Mi/s, total: 1Gi }",
        "follow: { container: proxy, share: 50% }",
    );
    assert!(
        error.starts_with("16:32: ") && error.contains("circle"),
        "{error}"
    );
}

#[test]
fn nothing_is_no_scenario() {
    for text in ["", "# only a comment\n", "---\n"] {
        let error = parse_scenario(text).expect_err(text).to_string();
        assert!(error.starts_with("1:1"), "{error}");
    }
    assert!(parse_scenario("- a\n- b\n").is_err());
}

#[test]
fn names_are_given_once() {
    let node = "  - name: worker\n    memory: 4Gi\n";
    let error = refused("pods:\n", &format!("{node}pods:\n"));
    assert!(
        error.starts_with("9:11: ") && error.contains("\"worker\""),
        "{error}"
    );
    let pod = "  - name: app\n    containers: [{ name: a }]\n";
    let error = refused("faults:\n", &format!("{pod}faults:\n"));
    assert!(
        error.starts_with("20:11: ") && error.contains("\"app\""),
        "{error}"
    );
    // In a namespace of its own it is another one.
    let elsewhere = pod.replace("containers", "namespace: b\n    containers");
    let text = FINE.replace("faults:\n", &format!("{elsewhere}faults:\n"));
    assert!(parse_scenario(&text).is_ok());
    // Copies count: worker-1 is the second of two.
    let twice = FINE.replace("name: worker\n", "name: worker\n    count: 2\n");
    let error = parse_scenario(&twice.replace(
        "pods:\n",
        &format!("{}pods:\n", node.replace("worker", "worker-1")),
    ))
    .expect_err("named twice")
    .to_string();
    assert!(error.starts_with("10:11: "), "{error}");
}

#[test]
fn a_pod_says_what_its_annotations_would() {
    let asking = FINE
        .replace(
            "    node: 0\n",
            "    node: 0\n    beforeOom: 5s\n    grow: 2Gi\n    finalEviction: true\n    preference: -7\n    \
             labels: { tier: batch }\n    priorityClass: low\n",
        )
        .replace("request: 64Mi", "limit: 1Gi")
        .replace("memory: 4Gi", "memory: 4Gi\n    evictionTokens: 2")
        .replace(
            "title: two pods\n",
            "title: two pods\npolicy:\n  preferences:\n    - { labels: { tier: batch }, weight: 10 }\n    \
             - { priorityClasses: [high], never: true }\n    - { namespaces: [default], weight: -3 }\n",
        );
    let scenario = parse_scenario(&asking).expect("fine");
    assert_eq!(scenario.world.nodes[0].eviction_tokens, Some(2));
    let pod = &scenario.world.pods[0];
    assert_eq!(pod.warning, Some(Span::secs(5)));
    assert_eq!(pod.grow_max, Some(Bytes::mebi(2048)));
    assert!(pod.final_eviction && pod.preference == -7 && &*pod.priority_class == "low");
    assert_eq!((pod.preferred.vetoed, pod.preferred.weight), (false, 7));
}
