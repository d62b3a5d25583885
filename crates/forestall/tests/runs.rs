//! `forestall simulate` of several runs: many seeds, and without and with agents.

use std::process::{Command, Output, Stdio};

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .arg("simulate")
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built")
}

/// JSON keeps every run until it is written; the sums need none of them.
#[test]
fn of_more_runs_than_json_can_tell_the_sums_are_offered() {
    let output = simulate(&["random", "--seeds", "1..5001", "--compare", "-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("these are 10002 of at most 10000")
            && said.contains("leave -o json out for their sums"),
        "{said}"
    );
}

/// A reader holds 400 MiB of page cache, and nothing grows: nobody dies, unless an agent goes by the public rule, by which that is too much.
const READER: &str = "title: cache\nduration: 2m\nseed: 1\npolicy: { preset: war-story-a, interval: 2s }\n\
                      nodes: [{ name: w, memory: 1Gi, kubelet: { evictionHard: 100Mi } }]\n\
                      pods: [{ name: reader, node: 0, containers: [{ name: a, base: 50Mi, load: { reader: { file: 400Mi, \
                      rate: 40Mi/s } } }] }]\n";

#[test]
fn deaths_that_agents_alone_bring_are_told_beside_a_run_without_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("scenario.yaml");
    std::fs::write(&path, READER).expect("a writable directory");
    let path = path.to_str().expect("text");
    let said = |args: &[&str]| {
        let output = simulate(&[&[path], args].concat());
        String::from_utf8(output.stdout).expect("text")
    };
    let json: serde_json::Value = serde_json::from_str(&said(&["--compare", "-o", "json"])).expect("JSON");
    let (without, with) = (&json["runs"][0], &json["runs"][1]);
    assert!(without["deaths_added_by_agents"].is_null());
    let killed = with["agent_kills"].as_u64().expect("a number");
    assert!(killed > 0, "{with}");
    assert_eq!(with["deaths_added_by_agents"], killed);
    let row = |text: &str| {
        let row = text
            .lines()
            .find(|line| line.starts_with("deaths that agents add"));
        row.map(|row| {
            row.split_whitespace()
                .skip(4)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        row(&said(&["--compare"])),
        Some(vec!["-".to_owned(), killed.to_string()])
    );
    assert!(said(&["--compare", "-o", "html"]).contains("deaths that agents add</th>"));
    // There is nothing to compare with.
    assert_eq!(row(&said(&[])), None);
    let sums = said(&["--compare", "--seeds", "1..3"]);
    assert!(sums.contains("nodes lost  deaths that agents add\n"), "{sums}");
}

#[test]
fn a_policy_that_would_always_act_on_a_node_is_wrong_usage() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a writable directory");
        path.to_str().expect("text").to_owned()
    };
    let scenario = path("scenario.yaml", READER);
    for (size, code) in [("1023Mi", 0), ("1Gi", 2), ("64Ti", 2)] {
        let policy = path(
            "policy.yaml",
            &format!("preset: gist\ngist: {{ minAvailable: {size} }}\n"),
        );
        let output = simulate(&[&scenario, "--policy", &policy]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(
            said.contains("on node w: gist.minAvailable: "),
            code == 2,
            "{said}"
        );
    }
}

#[test]
fn whom_the_configuration_spares_is_spared_in_a_simulated_world() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("scenario.yaml");
    let leak = "title: leak\nduration: 5m\nnodes: [{ name: w, memory: 1000Mi }]\n\
                pods: [{ name: leak, node: 0, containers: [{ name: a, load: { leak: { rate: 10Mi/s } } }] }]\n";
    std::fs::write(&path, leak).expect("a writable directory");
    let policy = dir.path().join("policy.yaml");
    let kills = |preferences: &str| {
        let text = format!("mode: enforce\npreferences: [{preferences}]\n");
        std::fs::write(&policy, text).expect("a writable directory");
        let paths = [&path, &policy].map(|path| path.to_str().expect("text"));
        let said = simulate(&[paths[0], "--policy", paths[1], "-o", "json"]).stdout;
        let answer: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
        answer["runs"][0]["agent_kills"].as_u64().expect("a count")
    };
    assert!(kills("") > 0);
    assert_eq!(kills("{ namespaces: [default], never: true }"), 0);
    assert!(kills("{ namespaces: [other], never: true }") > 0);
}
