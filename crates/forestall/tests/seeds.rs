//! `forestall simulate` of many seeds: how many, and what is kept of each.

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
