//! The agent as it is run: on a machine made of files, seen through its log, its pages and its signals.

#[path = "agent/degraded.rs"]
mod degraded;
#[path = "agent/killed.rs"]
mod killed;
#[path = "agent/kubelet.rs"]
mod kubelet;
mod machine;
#[path = "agent/stance.rs"]
mod stance;

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use machine::{Agent, Machine, get, holds, metrics_of_a_look, readiness_after_a_look, series, until};
use rustix::process::Signal;

/// Enough for every rule to be content.
const PLENTY_KIB: u64 = 3_358_232;

#[test]
fn it_says_what_it_can_do_and_how_it_ended() {
    let machine = Machine::new(PLENTY_KIB);
    let mut agent = Agent::start(machine.command(&["--listen", "none"]));
    let start = agent.wait_for("start");
    assert_eq!(
        (&start["v"], &start["mode"], &start["node"]),
        (&1.into(), &"shadow".into(), &"node-1".into())
    );
    assert_eq!(start["total_bytes"], 8_124_016_u64 << 10);
    assert!(
        start["rights"]
            .as_array()
            .is_some_and(|rights| !rights.is_empty()),
        "{start}"
    );
    let (rest, status) = agent.stop();
    assert!(status.success(), "{status}");
    let end = rest.last().expect("a last line");
    assert_eq!((&end["event"], &end["actions"]), (&"end".into(), &0.into()));
}

#[test]
fn war_story_a_logs_its_six_values_at_every_poll() {
    let machine = Machine::new(PLENTY_KIB);
    let flags = [
        "--preset",
        "war-story-a",
        "--interval",
        "10ms",
        "--listen",
        "none",
    ];
    let mut agent = Agent::start(machine.command(&flags));
    for _ in 0..3 {
        let poll = agent.wait_for("poll");
        // The figures of the post, by hand: 8124016 kB are 7933.61 MiB; used without cache is 74.92 %; cache is 20.81 %.
        let message = poll["message"].as_str().expect("a message");
        for value in [
            "total 7933.61 MiB",
            "available 3279.52 MiB",
            "cache 1650.73 MiB",
            "slab 292.97 MiB",
            "actual 74.92%",
            "cache 20.81%",
        ] {
            assert!(message.contains(value), "{value} is not in {message}");
        }
        assert_eq!(poll["available_bytes"], PLENTY_KIB << 10);
    }
}

#[test]
fn the_gist_in_one_line_calls_the_kernels_killer() {
    let machine = Machine::new(349 << 10);
    machine.write("proc/sysrq-trigger", "");
    let flags = [
        "--preset",
        "gist",
        "--mode",
        "enforce",
        "--min-available",
        "350Mi",
        "--interval",
        "60s",
        "--listen",
        "none",
    ];
    let mut agent = Agent::start(machine.command(&flags));
    let action = agent.wait_for("action");
    assert_eq!(
        (&action["rung"], &action["mode"]),
        (&"sysrq".into(), &"enforce".into())
    );
    assert_eq!(action["evidence"]["wall"], "kernel");
    until(|| holds(&machine.path("proc/sysrq-trigger"), "f"));
}

#[test]
fn the_gist_is_content_at_its_threshold() {
    let machine = Machine::new(350 << 10);
    machine.write("proc/sysrq-trigger", "");
    let flags = [
        "--preset",
        "gist",
        "--mode",
        "enforce",
        "--interval",
        "10ms",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut agent = Agent::start(machine.command(&flags));
    let address = agent.address();
    until(|| series(&get(address, "/metrics"), "forestall_ticks_total") >= 5.0);
    assert_eq!(machine.read("proc/sysrq-trigger"), "");
    let (_, status) = agent.stop();
    assert!(status.success());
}

#[test]
fn who_asks_for_figures_gets_those_of_now() {
    // So large that its guard, left alone, looks again in ten minutes.
    let give = |machine: &Machine, available_kib: u64| {
        let meminfo = format!(
            "MemTotal: 90000000000 kB\nMemFree: {available_kib} kB\nMemAvailable: {available_kib} kB\n\
             SwapTotal: 0 kB\nSwapFree: 0 kB\n"
        );
        machine.write("proc/meminfo", &meminfo);
    };
    let machine = Machine::new(PLENTY_KIB);
    give(&machine, 80_000_000_000);
    let flags = ["--interval", "10m", "--listen", "127.0.0.1:0"];
    let mut agent = Agent::start(machine.command(&flags));
    let address = agent.address();
    let terabytes_available = |page: &str| {
        series(
            page,
            "forestall_node_memory_bytes{view=\"kernel\",part=\"available\"}",
        ) / 1_024_000_000_000.0
    };
    assert!((terabytes_available(&metrics_of_a_look(address)) - 80.0).abs() < 0.1);
    give(&machine, 79_000_000_000);
    // A page is kept for half a second.
    until(|| (terabytes_available(&get(address, "/metrics")) - 79.0).abs() < 0.1);
}

#[test]
fn shadow_decides_and_touches_nothing() {
    let machine = Machine::new(100 << 10);
    machine.write("proc/sysrq-trigger", "");
    let mut agent = Agent::start(machine.command(&["--preset", "gist", "--listen", "none"]));
    let action = agent.wait_for("action");
    assert_eq!(action["mode"], "shadow");
    assert!(
        action["message"]
            .as_str()
            .is_some_and(|message| message.contains("would sysrq")),
        "{action}"
    );
    let (rest, _) = agent.stop();
    assert_eq!(rest.last().map(|end| &end["actions"]), Some(&0.into()));
    assert_eq!(machine.read("proc/sysrq-trigger"), "");
}

#[test]
fn clients_that_hang_do_not_keep_others_from_their_answer() {
    let machine = Machine::new(PLENTY_KIB);
    let mut agent = Agent::start(machine.command(&["--listen", "127.0.0.1:0"]));
    let address = agent.address();
    // More than it holds open at once: some say nothing, some half a header, some never read their answer.
    let hung: Vec<TcpStream> = (0..150)
        .map(|at| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            let half = [
                "",
                "GET /metrics HTTP/1.1\r\nHost:",
                "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
            ][at % 3];
            stream.write_all(half.as_bytes()).expect("it takes a few bytes");
            stream
        })
        .collect();
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
    let page = get(address, "/metrics");
    assert!(
        page.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{page}"
    );
    assert!(page.ends_with("# EOF\n"));
    readiness_after_a_look(address);
    assert!(get(address, "/nothing").starts_with("HTTP/1.1 404 "));
    drop(hung);
}

#[test]
fn a_log_that_nobody_reads_stops_neither_guard_nor_pages() {
    let machine = Machine::new(PLENTY_KIB);
    let config =
        "preset: war-story-a\nlisten: 127.0.0.1:0\ntiming: {interval: 1ms, tickNear: 1ms, tickMin: 1ms}\n";
    machine.write("agent.yaml", config);
    let path = machine.path("agent.yaml");
    let mut agent = Agent::start(machine.command(&["--config", path.to_str().expect("text")]));
    let address = agent.address();
    // A pipe holds 64 KiB and the log's queue 256 KiB; a poll's line has more than 300 bytes.
    until(|| series(&get(address, "/metrics"), "forestall_ticks_total") > 1500.0);
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
    // Once somebody reads, it says what is missing.
    agent.wait_for("dropped");
}

#[test]
fn a_reload_takes_what_is_right_and_keeps_the_old_where_it_is_wrong() {
    let machine = Machine::new(PLENTY_KIB);
    machine.write("agent.yaml", "mode: observe\nlisten: none\n");
    let path = machine.path("agent.yaml");
    let mut agent = Agent::start(machine.command(&["--config", path.to_str().expect("text")]));
    assert_eq!(agent.wait_for("ready")["mode"], "observe");
    machine.write("agent.yaml", "mode: shadow\nmood: good\nlisten: none\n");
    agent.signal(Signal::HUP);
    let wrong = agent.wait_for("reload");
    let message = wrong["message"].as_str().expect("a message");
    assert!(
        message.contains("agent.yaml:2:1: ") && message.contains("mood"),
        "{message}"
    );
    assert_eq!(wrong["mode"], "observe");
    machine.write("agent.yaml", "mode: shadow\nlisten: none\n");
    agent.signal(Signal::HUP);
    assert_eq!(agent.wait_for("policy")["mode"], "shadow");
}

#[test]
fn it_does_not_enforce_beside_another_killer_unless_asked_to() {
    let machine = Machine::new(PLENTY_KIB);
    machine.process(77, "earlyoom");
    let refused = machine
        .command(&["--mode", "enforce", "--listen", "none"])
        .output()
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(5));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(
        message.contains("earlyoom") && message.contains("--beside"),
        "{message}"
    );
    let mut agent = Agent::start(machine.command(&["--mode", "shadow", "--listen", "none"]));
    assert!(
        agent.wait_for("neighbours")["message"]
            .as_str()
            .is_some_and(|said| said.contains("earlyoom"))
    );
    let mut agent = Agent::start(machine.command(&["--mode", "enforce", "--beside", "--listen", "none"]));
    assert_eq!(agent.wait_for("neighbours")["mode"], "enforce");
}

#[test]
fn a_required_rung_that_cannot_be_used_is_a_refusal() {
    let machine = Machine::new(PLENTY_KIB);
    let output = machine
        .command(&["--require", "reclaim", "--listen", "none"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("reclaim is required"));
}

#[test]
fn a_threshold_that_this_machine_never_clears_is_wrong_usage() {
    let machine = Machine::new(PLENTY_KIB);
    let output = machine
        .command(&["--preset", "gist", "--min-available", "8Gi", "--listen", "none"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("gist.minAvailable: 8Gi"), "{message}");
}

#[test]
fn of_two_that_record_to_one_place_the_second_says_why_it_does_not() {
    let machine = Machine::new(4_000_000);
    let place = machine.path("recordings");
    let flags = [
        "--listen",
        "none",
        "--record",
        place.to_str().expect("a path of letters"),
    ];
    let mut first = Agent::start(machine.command(&flags));
    first.wait_for("ready");
    let mut second = Agent::start(machine.command(&flags));
    let said = second.wait_for("recorder");
    let message = said["message"].as_str().expect("a message");
    assert!(
        message.contains("another agent records there; name another directory with --record"),
        "{message}"
    );
    second.stop();
    first.stop();
}

#[test]
fn a_machine_that_is_none_is_an_error_that_names_the_file() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let mut command = machine::forestall(&["agent", "--listen", "none", "--root"]);
    let output = command
        .arg(nowhere.path())
        .stdout(Stdio::piped())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    let file = nowhere.path().join("proc").display().to_string();
    assert_eq!(message.matches(&file).count(), 1, "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}
