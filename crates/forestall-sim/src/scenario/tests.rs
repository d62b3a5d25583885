//! Scenario files that are fine and ones that are refused, with the place where they are.

use forestall_decide::{Bytes, Span};

use super::*;
use crate::spec::Load;

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
        ("evictionHard: 5%", "evictionHard: -5%", "8:21", "small"),
        ("kubeReserved: 512Mi", "kubeReserved: 5Gi", "5:13", "no memory"),
    ] {
        let error = refused(from, to);
        assert!(
            error.starts_with(&format!("{place}: ")) && error.contains(word),
            "{to}: {error}"
        );
    }
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
