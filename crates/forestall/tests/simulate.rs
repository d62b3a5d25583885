//! `forestall simulate` as it is typed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const LEAK: &str = "\
title: a leak
duration: 5m
seed: 3
nodes:
  - name: worker
    memory: 1000Mi
    kubelet: { evictionHard: 100Mi }
pods:
  - name: leak
    node: 0
    containers:
      - name: app
        load:
          leak: { rate: 10Mi/s }
";

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .arg("simulate")
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built")
}

fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("scenario.yaml");
    std::fs::write(&path, text).expect("a writable directory");
    path
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn the_answer_is_the_same_every_time_and_holds_no_progress() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let path = path.to_str().expect("text");
    for args in [
        vec![path, "--compare"],
        vec![path, "-o", "json"],
        vec!["random", "--seed", "2"],
    ] {
        let (first, second) = (run(&args), run(&args));
        assert_eq!(first.status.code(), Some(0), "{args:?}: {}", text(&first.stderr));
        assert_eq!(first.stdout, second.stdout, "{args:?}");
        assert!(first.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn without_an_agent_the_kubelet_evicts_and_the_table_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let output = run(&[path.to_str().expect("text"), "--no-agent"]);
    let said = text(&output.stdout);
    let row = said
        .lines()
        .find(|line| line.starts_with("evictions by the kubelet"));
    // 900 MiB at 10 MiB/s: 90 s and up to ten more; the pressure that follows lasts five minutes, so there is no second one.
    assert!(row.is_some_and(|row| row.ends_with(" 1")), "{said}");
    assert!(said.contains("kubelet evicts leak-0"), "{said}");
}

#[test]
fn many_seeds_are_summed_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), LEAK);
    let output = run(&[path.to_str().expect("text"), "--seeds", "1..5"]);
    let said = text(&output.stdout);
    assert!(
        said.lines()
            .any(|line| line.starts_with("no agent") && line.contains(" 5 ")),
        "{said}"
    );
}

#[test]
fn what_is_no_scenario_is_usage_and_says_where() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = file(dir.path(), &LEAK.replace("duration", "durration"));
    let output = run(&[path.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("scenario.yaml:2:1: "),
        "{}",
        text(&output.stderr)
    );
    for args in [
        vec!["random", "--seeds", "5..1"],
        vec!["random", "--seeds", "5"],
        vec!["random", "--seed", "1", "--seeds", "1..2"],
        vec!["random", "--no-agent", "--compare"],
    ] {
        assert_eq!(run(&args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&["nothing-here.yaml"]).status.code(), Some(1));
}
