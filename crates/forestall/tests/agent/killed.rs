//! An agent that is ended by force: what its flight recorder had written is there, is read whole, and can be replayed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::PLENTY_KIB;
use super::machine::{Agent, Machine, forestall, until};

/// What this command says of a recording, which is whole.
fn told(command: &[&str], place: &Path) -> Value {
    let output = forestall(command)
        .arg(place)
        .args(["-o", "json"])
        .output()
        .expect("the binary was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_was_recorded_is_there_after_the_agent_was_ended_by_force() {
    let machine = Machine::new(PLENTY_KIB);
    let place = machine.path("recordings");
    let flags = [
        "--listen",
        "none",
        // It looks at an even pace, however far every wall is.
        "--preset",
        "war-story-a",
        "--interval",
        "10ms",
        "--record",
        place.to_str().expect("a path of letters"),
    ];
    let info = || told(&["trace", "info"], &place);
    let mut agent = Agent::start(machine.command(&flags));
    agent.wait_for("ready");
    until(|| info()["samples"].as_u64() >= Some(20));
    let before = info();
    assert_eq!((&before["runs"], &before["end"]), (&1.into(), &"open".into()));
    agent.signal(Signal::KILL);
    assert_eq!(agent.wait().signal(), Some(9));
    // Nothing that had been written is gone, and nothing else tells that nobody ended it.
    let after = info();
    assert!(after["samples"].as_u64() >= before["samples"].as_u64(), "{after}");
    assert_eq!(
        (&after["end"], &after["inputs_lost"]),
        (&"open".into(), &0.into())
    );
    let replayed = told(&["replay", "--policy", "recorded"], &place);
    assert_eq!(replayed["trace"]["samples"], after["samples"]);
    // Nobody holds its place any more, and the next one says where the first run broke off.
    let mut agent = Agent::start(machine.command(&flags));
    agent.wait_for("ready");
    until(|| info()["samples"].as_u64() > after["samples"].as_u64());
    let (_, status) = agent.stop();
    assert!(status.success());
    let both = info();
    assert_eq!(
        (&both["runs"], &both["open_ends"], &both["end"]),
        (&2.into(), &1.into(), &"whole".into())
    );
}
