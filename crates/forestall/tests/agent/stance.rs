//! Agents that act and agents that only watch: who may, and how one becomes the other.

use rustix::process::Signal;

use crate::PLENTY_KIB;
use crate::machine::{Agent, Machine, get, holds, series, until};

const ENFORCE: [&str; 4] = ["--mode", "enforce", "--listen", "none"];

#[test]
fn of_two_that_enforce_the_second_watches_until_the_first_has_crashed() {
    let machine = Machine::new(PLENTY_KIB);
    let mut first = Agent::start(machine.command(&ENFORCE));
    assert_eq!(first.wait_for("ready")["mode"], "enforce");
    let mut second = Agent::start(machine.command(&ENFORCE));
    assert_eq!(second.wait_for("start")["mode"], "shadow");
    let standby = second.wait_for("standby");
    let message = standby["message"].as_str().expect("a message");
    let pid = format!("with PID {},", first.pid());
    assert!(
        message.contains(&pid) && message.contains("--mode shadow"),
        "{message}"
    );
    // Another machine is not concerned.
    let elsewhere = Machine::new(PLENTY_KIB);
    let mut third = Agent::start(elsewhere.command(&ENFORCE));
    assert_eq!(third.wait_for("start")["mode"], "enforce");
    // Dropped is killed.
    drop(first);
    let message = second.wait_for("standby")["message"].to_string();
    assert!(message.contains("enforces now"), "{message}");
    assert_eq!(second.wait_for("policy")["mode"], "enforce");
}

#[test]
fn an_agent_in_another_container_is_found_by_the_lock_that_proc_shows() {
    let machine = Machine::new(PLENTY_KIB);
    machine.process(77, "forestall");
    machine.write("proc/77/status", "Name:\tforestall\nNSpid:\t77\n");
    machine.write("proc/locks", "1: POSIX  ADVISORY  WRITE 77 00:1b:45678 0 EOF\n");
    let mut agent = Agent::start(machine.command(&ENFORCE));
    let message = agent.wait_for("standby")["message"].to_string();
    assert!(message.contains("with PID 77,"), "{message}");
    machine.write("proc/locks", "");
    assert_eq!(agent.wait_for("policy")["mode"], "enforce");
}

/// The gist calls the kernel's killer as soon as too little is available: what it does shows in one file.
#[test]
fn a_reload_into_enforce_is_no_less_than_a_start_in_it_and_back_is_the_end_of_acting() {
    let machine = Machine::new(349 << 10);
    machine.write("proc/sysrq-trigger", "");
    machine.write("proc/self/oom_score_adj", "0500");
    let file = "preset: gist\nlisten: 127.0.0.1:0\ntiming: {interval: 50ms}\nmode: ";
    let switch = |mode: &str| machine.write("agent.yaml", &format!("{file}{mode}\n"));
    switch("shadow");
    let path = machine.path("agent.yaml");
    let mut agent = Agent::start(machine.command(&["--config", path.to_str().expect("text")]));
    let address = agent.address();
    assert_eq!(agent.wait_for("action")["mode"], "shadow");
    assert!(!machine.path("var/lib/forestall").exists());
    assert_eq!(machine.read("proc/self/oom_score_adj"), "0500");

    switch("enforce");
    agent.signal(Signal::HUP);
    assert_eq!(agent.wait_for("action")["mode"], "enforce");
    until(|| holds(&machine.path("proc/sysrq-trigger"), "f"));
    assert!(machine.path("var/lib/forestall/enforce.lock").exists());
    assert_eq!(machine.read("proc/self/oom_score_adj"), "-999");
    let mut second = Agent::start(machine.command(&ENFORCE));
    second.wait_for("standby");
    drop(second);

    switch("shadow");
    agent.signal(Signal::HUP);
    assert_eq!(agent.wait_for("policy")["mode"], "shadow");
    // In enforce each of these looks would call the killer once more.
    machine.write("proc/sysrq-trigger", "");
    let looks = || series(&get(address, "/metrics"), "forestall_ticks_total");
    let before = looks();
    until(|| looks() >= before + 20.0);
    assert_eq!(machine.read("proc/sysrq-trigger"), "");
    // A plain file keeps what a shorter write leaves over.
    assert_eq!(machine.read("proc/self/oom_score_adj"), "5009");
    // The seat is free again.
    let mut second = Agent::start(machine.command(&ENFORCE));
    assert_eq!(second.wait_for("start")["mode"], "enforce");
}

#[test]
fn who_asks_twice_for_the_end_has_it_at_once() {
    let machine = Machine::new(349 << 10);
    // A fifo without a reader holds up whoever opens it for writing: the act thread, and the end that waits for it.
    let fifo = machine.path("proc/sysrq-trigger");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .expect("a fifo");
    let mut agent =
        Agent::start(machine.command(&["--preset", "gist", "--mode", "enforce", "--listen", "none"]));
    agent.wait_for("action");
    agent.signal(Signal::TERM);
    // Another signal, because two of the same kind may count as one.
    agent.signal(Signal::INT);
    let mut rest = Vec::new();
    while let Some(line) = agent.line() {
        rest.push(line);
    }
    let last = rest.last().expect("a last line");
    assert_eq!((&last["event"], &last["level"]), (&"end".into(), &"info".into()));
    assert!(last["ticks"].as_u64() >= Some(1), "{last}");
    assert!(agent.wait().success());
}
