//! What an agent cannot do is told as a warning, in `/readyz` and in the metrics, and what it can do at its start.

use std::fs::{Permissions, set_permissions};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::PLENTY_KIB;
use crate::machine::{Agent, Machine, get, metrics_of_a_look, readiness_after_a_look, series, until};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A line that has to be a warning which says this.
fn warns(line: &Value, said: &str) {
    assert_eq!(line["level"], "warn", "{line}");
    let message = line["message"].as_str().expect("a message");
    assert!(message.contains(said), "{said}: {message}");
}

#[test]
fn a_recorder_that_cannot_record_is_a_warning_and_a_metric() {
    let machine = Machine::new(PLENTY_KIB);
    let mut agent = Agent::start(machine.command(&LISTEN));
    warns(
        &agent.wait_for("recorder"),
        "/var/lib/forestall does not exist; make it",
    );
    let address = agent.address();
    agent.wait_for("ready");
    let metrics = get(address, "/metrics");
    assert!(series(&metrics, "forestall_recording").abs() < 0.5);
    assert!(series(&metrics, "forestall_degraded{what=\"recorder\"}") > 0.5);
    let readiness = readiness_after_a_look(address);
    assert!(
        readiness.contains("degraded: recorder: not recording, so no decision can be replayed"),
        "{readiness}"
    );
    agent.stop();
    // One that records, and one that was told not to, miss nothing.
    let place = machine.path("recordings");
    let records = ["--record", place.to_str().expect("a path of letters")];
    machine.write("off.yaml", "recorder: {enabled: false}\n");
    let off = machine.path("off.yaml");
    let is_off = ["--config", off.to_str().expect("a path of letters")];
    for (flags, recording) in [(records, 1.0), (is_off, 0.0)] {
        let mut agent = Agent::start(machine.command(&[&LISTEN[..], &flags].concat()));
        let address = agent.address();
        agent.wait_for("ready");
        let metrics = get(address, "/metrics");
        assert!((series(&metrics, "forestall_recording") - recording).abs() < 0.5);
        assert!(!metrics.contains("forestall_degraded{what=\"recorder\"}"));
        assert!(!readiness_after_a_look(address).contains("recorder"));
        agent.stop();
    }
}

#[test]
fn a_ledger_that_cannot_be_kept_is_a_warning_and_a_metric() {
    let machine = Machine::new(PLENTY_KIB);
    machine.write(
        "proc/sys/kernel/random/boot_id",
        "11111111-2222-3333-4444-555555555555\n",
    );
    machine.write("off.yaml", "ledger: {enabled: false}\n");
    let off = machine.path("off.yaml");
    let is_off = ["--config", off.to_str().expect("a path of letters")];
    let mut agent = Agent::start(machine.command(&LISTEN));
    let line = agent.wait_for("ledger");
    warns(&line, "make the directory that it lies in");
    agent.stop();
    let mut agent = Agent::start(machine.command(&LISTEN));
    let address = agent.address();
    agent.wait_for("ready");
    assert!(series(&get(address, "/metrics"), "forestall_degraded{what=\"ledger\"}") > 0.5);
    agent.stop();
    // What is not wanted is not missing, and with a directory and without the kernel's log kills are counted.
    machine.write("var/lib/forestall/here", "");
    let mut agent = Agent::start(machine.command(&LISTEN));
    warns(&agent.wait_for("ledger"), "dev/kmsg");
    agent.stop();
    let mut agent = Agent::start(machine.command(&LISTEN));
    let address = agent.address();
    agent.wait_for("ready");
    let metrics = get(address, "/metrics");
    assert!(series(&metrics, "forestall_degraded{what=\"ledger\"}") > 0.5);
    assert!(
        metrics.contains("forestall_ledger_gap "),
        "what is counted is shown"
    );
    agent.stop();
    let mut agent = Agent::start(machine.command(&[&LISTEN[..], &is_off].concat()));
    let address = agent.address();
    agent.wait_for("ready");
    assert!(!get(address, "/metrics").contains("forestall_degraded{what=\"ledger\"}"));
    agent.stop();
}

#[test]
fn a_limit_on_file_sizes_costs_the_recording_and_nothing_else() {
    let machine = Machine::new(PLENTY_KIB);
    let place = machine.path("recordings");
    let command = machine.command(&[
        "--listen",
        "none",
        "--record",
        place.to_str().expect("a path of letters"),
    ]);
    // A shell can lower the limit between fork and exec; the log goes through a pipe, which has no size.
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", "ulimit -f 0 && exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    let mut agent = Agent::start(limited);
    // EFBIG.
    warns(&agent.wait_for("recorder"), "(os error 27)");
    agent.wait_for("ready");
    let (_, status) = agent.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn the_rungs_that_are_on_are_said_at_start() {
    let machine = Machine::new(PLENTY_KIB);
    let gist = ["--preset", "gist", "--listen", "none"];
    // Without the file the rung is on and cannot be used; it is not off.
    let start = Agent::start(machine.command(&gist)).wait_for("start");
    assert_eq!(start["rungs"], json!([]));
    assert_eq!(start["degraded"][0]["rung"], "sysrq", "{start}");
    assert!(!start.to_string().contains("sysrq is off"), "{start}");
    assert!(!start.to_string().contains("rung sysrq is off"), "{start}");
    machine.write("proc/sysrq-trigger", "");
    let start = Agent::start(machine.command(&gist)).wait_for("start");
    assert_eq!(start["rungs"], json!(["sysrq"]));
    assert_eq!(start["degraded"], json!([]), "{start}");
}

#[test]
fn a_rung_that_a_reload_asks_for_in_vain_is_a_warning_as_at_start() {
    let machine = Machine::new(PLENTY_KIB);
    machine.write("agent.yaml", "rungs: {reclaim: false}\n");
    let path = machine.path("agent.yaml");
    let config = ["--config", path.to_str().expect("a path of letters")];
    let mut agent = Agent::start(machine.command(&[&LISTEN[..], &config].concat()));
    let address = agent.address();
    agent.wait_for("ready");
    assert!(!readiness_after_a_look(address).contains("degraded: warn"));
    machine.write("agent.yaml", "rungs: {reclaim: false, warn: true}\n");
    agent.signal(rustix::process::Signal::HUP);
    warns(&agent.wait_for("degraded"), "warn is on and cannot be used: ");
    assert_eq!(agent.wait_for("reload")["level"], "info");
    assert!(get(address, "/readyz").contains("degraded: warn: "));
    assert!(series(&get(address, "/metrics"), "forestall_degraded{what=\"warn\"}") > 0.5);
}

#[test]
fn a_first_start_that_is_to_begin_without_a_good_file_is_degraded_until_there_is_one() {
    let machine = Machine::new(PLENTY_KIB);
    let path = machine.path("agent.yaml");
    let config = ["--config", path.to_str().expect("a path of letters")];
    // Whoever does not ask for it is told, and nothing begins; the same where the file is there and wrong.
    let refused = |status| {
        let output = machine
            .command(&[&LISTEN[..], &config].concat())
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(status));
    };
    refused(1);
    machine.write("agent.yaml", "mode: observe\nmood: bad\n");
    refused(2);
    let mut agent = Agent::start(machine.command(&[&LISTEN[..], &config, &["--or-shadow"]].concat()));
    let start = agent.wait_for("start");
    assert_eq!(start["mode"], "shadow");
    let said = agent.wait_for("configuration");
    assert_eq!(said["level"], "error");
    let message = said["message"].as_str().unwrap_or_default();
    assert!(message.contains("agent.yaml:2:1: "), "{said}");
    let address = agent.address();
    let is_degraded = |is: bool| {
        let page = readiness_after_a_look(address);
        assert_eq!(page.contains("degraded: configuration: "), is, "{page}");
        // A page of metrics is kept for a moment.
        let shown = "forestall_degraded{what=\"configuration\"} 1";
        until(|| get(address, "/metrics").contains(shown) == is);
    };
    is_degraded(true);
    machine.write("agent.yaml", "mode: observe\n");
    agent.signal(rustix::process::Signal::HUP);
    assert_eq!(agent.wait_for("policy")["mode"], "observe");
    is_degraded(false);
    agent.stop();
}

#[test]
fn a_reload_that_wants_no_tracing_ends_it() {
    let machine = Machine::new(PLENTY_KIB);
    machine.write("var/lib/forestall/here", "");
    machine.write(
        "proc/sys/kernel/random/boot_id",
        "11111111-2222-3333-4444-555555555555\n",
    );
    machine.write("agent.yaml", "ledger: {tracing: true}\n");
    let path = machine.path("agent.yaml");
    let config = ["--config", path.to_str().expect("a path of letters")];
    let mut agent = Agent::start(machine.command(&[&LISTEN[..], &config].concat()));
    agent.wait_for("ready");
    machine.write("agent.yaml", "ledger: {tracing: false}\n");
    agent.signal(rustix::process::Signal::HUP);
    // Nothing else changes: what is said first is that it was read, and nothing holds from the next start on only.
    let line = agent.wait_for("reload");
    assert_eq!(line["level"], "info", "{line}");
    // The thread has looked again: it asks for the tracing that it does not try any more.
    let mut said = agent.wait_for("ledger");
    while !said["message"]
        .as_str()
        .is_some_and(|message| message.contains("(ledger.tracing: true)"))
    {
        said = agent.wait_for("ledger");
    }
    agent.stop();
}

/// As a user that nobody is and that has no right to anything.
fn as_nobody(machine: &Machine, command: &Command, forbidden: &str) -> Command {
    const NOBODY: u32 = 65_534;
    set_permissions(machine.path(forbidden), Permissions::from_mode(0o000)).expect("its owner may");
    set_permissions(machine.path(""), Permissions::from_mode(0o755)).expect("its owner may");
    // An open file leads past directories that nobody else may enter, as root's home. It stays open until the test ends.
    let program = std::fs::File::open(command.get_program()).expect("the binary was built");
    let mut theirs = Command::new(format!("/proc/self/fd/{}", program.into_raw_fd()));
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    theirs
        .args(command.get_args())
        .env_clear()
        .envs(set)
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        theirs.uid(NOBODY).gid(NOBODY);
    }
    theirs
}

#[test]
fn a_file_that_may_not_be_written_costs_its_rung_and_the_figures_are_shown() {
    let machine = Machine::new(PLENTY_KIB);
    machine.write("proc/sysrq-trigger", "");
    let command = machine.command(&["--preset", "gist", "--listen", "127.0.0.1:0"]);
    let mut agent = Agent::start(as_nobody(&machine, &command, "proc/sysrq-trigger"));
    let start = agent.wait_for("start");
    assert_eq!(start["rungs"], json!([]));
    let degraded = start["degraded"][0].to_string();
    assert!(
        degraded.contains("/proc/sysrq-trigger cannot be written"),
        "{start}"
    );
    let address = agent.address();
    let metrics = metrics_of_a_look(address);
    let available = "forestall_node_memory_bytes{view=\"kernel\",part=\"available\"}";
    assert!(
        (series(&metrics, available) - 3_438_829_568.0).abs() < 1.0,
        "{metrics}"
    );
    agent.stop();
}

#[test]
fn a_meminfo_that_may_not_be_read_is_an_error_that_names_it() {
    let machine = Machine::new(PLENTY_KIB);
    let command = machine.command(&["--listen", "none"]);
    let output = as_nobody(&machine, &command, "proc/meminfo")
        .output()
        .expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), message.lines().count()),
        (Some(1), 1),
        "{message}"
    );
    assert!(
        message.contains("proc/meminfo") && message.contains("ermission denied"),
        "{message}"
    );
}
