//! What the node's kubelet runs with, on its way from its files to the log, the engine and a recording.

use serde_json::Value;

use crate::machine::{Agent, Machine, forestall, get, until};

fn json(args: &[&str]) -> Vec<Value> {
    let output = forestall(args).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    serde_json::Deserializer::from_str(&text)
        .into_iter()
        .map(|line| line.unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

fn machine(file: &str) -> Machine {
    let machine = Machine::new(4_000_000);
    machine.process(77, "kubelet");
    machine.write(
        "proc/77/cmdline",
        "/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0--eviction-hard=memory.available<10%\0",
    );
    machine.write("var/lib/kubelet/config.yaml", file);
    let stat = "77 (kubelet) S 1 77 77 0 -1 4194560 0 0 0 0 40 2 0 0 20 0 9 0 500 0 900 1\n";
    machine.write("proc/77/stat", stat);
    machine.write("proc/77/status", "Name:\tkubelet\nRssAnon:\t50000 kB\n");
    machine.write("proc/77/cgroup", "0::/system.slice/kubelet.service\n");
    machine
}

/// Every threshold: signal, bytes, grace in seconds, minimum reclaim.
type Thresholds = Vec<(String, u64, u64, u64)>;

fn thresholds(list: &Value, names: [&str; 3], per_second: u64) -> Thresholds {
    let number = |one: &Value, name: &str| one[name].as_u64().expect("a number");
    let list = list.as_array().expect("a list").iter();
    list.map(|one| {
        (
            one["signal"].as_str().expect("a name").to_owned(),
            number(one, names[0]),
            number(one, names[1]) / per_second,
            number(one, names[2]),
        )
    })
    .collect()
}

#[test]
fn the_engine_is_told_what_node_shows_and_a_recording_keeps_it() {
    let machine = machine(
        "kubeReserved: {memory: 1Gi}\nevictionSoft: {memory.available: 2Gi}\nevictionSoftGracePeriod: {memory.available: 1m30s}\n\
         evictionMinimumReclaim: {memory.available: 64Mi}\nmemorySwap: {swapBehavior: LimitedSwap}\nsystemReserved: {memory: 105%}\n",
    );
    let place = machine.path("recordings");
    let place = place.to_str().expect("a path of letters");
    let mut agent = Agent::start(machine.command(&["--listen", "127.0.0.1:0", "--record", place]));
    let address = agent.address();
    let warned = agent.wait_for("kubelet");
    let message = warned["message"].as_str().expect("a message");
    assert_eq!(warned["level"], "warn");
    assert!(
        message.contains("system-reserved in ") && message.contains("config.yaml:6: "),
        "{message}"
    );
    let said = agent.wait_for("kubelet");
    let message = said["message"].as_str().expect("a message");
    for part in [
        "--eviction-hard of the running kubelet",
        "config.yaml:1)",
        "for 90s",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // The kubelet counts 4000000 + 1690344 + 999768 − 1000000 = 5690112 kB as used, which leaves 2433904 kB; the soft threshold
    // of 2 GiB is met before the hard one, a tenth of 8124016 kB.
    let distance = (2_433_904_u64 - (2 << 20)) * 1024;
    until(|| {
        let page = get(address, "/metrics");
        let mut lines = page.lines();
        lines.any(|line| {
            line.starts_with("forestall_wall_distance_bytes")
                && line.contains("kubelet-node")
                && line.ends_with(&format!(" {distance}"))
        })
    });
    let (_, status) = agent.stop();
    assert!(status.success(), "{status}");

    let inputs = json(&["trace", "dump", place]);
    let told: Vec<&Value> = inputs
        .iter()
        .filter(|input| input["kind"] == "kubelet-config")
        .collect();
    let [told] = told.as_slice() else {
        panic!("it is told once: {inputs:?}")
    };
    let told = &told["kubelet-config"];
    assert_eq!(
        (&told["source"], &told["swap"]),
        (&"file".into(), &"LimitedSwap".into())
    );
    let engine = thresholds(
        &told["thresholds"],
        ["value_bytes", "grace_micros", "min_reclaim_bytes"],
        1_000_000,
    );
    assert_eq!(engine.len(), 3, "{engine:?}");
    // Of 8124016 kB less 1 GiB for the pods.
    assert_eq!((engine[0].1, engine[2].1 >> 20), (831_899_250, 690));

    let root = machine.path("");
    let root = root.to_str().expect("a path of letters");
    // `node` refuses what the agent passes over.
    machine.write(
        "var/lib/kubelet/config.yaml",
        &machine
            .read("var/lib/kubelet/config.yaml")
            .replace("systemReserved: {memory: 105%}\n", ""),
    );
    let map = &json(&["node", "--root", root, "-o", "json"])[0];
    let shown = thresholds(
        &map["thresholds"],
        ["below_bytes", "grace_seconds", "minimum_reclaim_bytes"],
        1,
    );
    assert_eq!(shown, engine);

    let replay = || json(&["replay", place, "--policy", "recorded", "-o", "json"]);
    assert_eq!(replay(), replay());
    let info = &json(&["trace", "info", place, "-o", "json"])[0];
    assert_eq!(
        (&info["kubelet_configs"], &info["inputs_lost"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn a_reason_for_not_knowing_is_told_and_the_agent_goes_on() {
    let machine = machine("kubeReserved: [\n");
    machine.write(
        "proc/77/cmdline",
        "kubelet\0--config=/var/lib/kubelet/config.yaml\0",
    );
    let mut agent = Agent::start(machine.command(&["--listen", "none"]));
    let first = agent.wait_for("kubelet");
    assert!(
        first["message"]
            .as_str()
            .is_some_and(|message| message.contains("config.yaml:1:")),
        "{first}"
    );
    let second = agent.wait_for("kubelet");
    assert!(
        second["message"]
            .as_str()
            .is_some_and(|message| message.contains("kubeletEvictionHard is assumed")),
        "{second}"
    );
    let (_, status) = agent.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn a_named_file_is_taken_and_a_contradiction_is_told() {
    let machine = machine("");
    machine.write(
        "named.json",
        r#"{"kubeletconfig":{"evictionHard":{"memory.available":"300Mi"}}}"#,
    );
    let named = machine.path("named.json");
    machine.write(
        "agent.yaml",
        &format!(
            "kubeletEvictionHard: 750Mi\nkubeletConfig: {:?}\n",
            named.display().to_string()
        ),
    );
    let config = machine.path("agent.yaml");
    let flags = ["--listen", "none", "--config", config.to_str().expect("letters")];
    let mut agent = Agent::start(machine.command(&flags));
    let said = agent.wait_for("kubelet");
    assert!(
        said["message"]
            .as_str()
            .is_some_and(|message| message.contains("below 300.0MiB")),
        "{said}"
    );
    let warned = loop {
        let line = agent.wait_for("kubelet");
        if line["level"] == "warn" {
            break line;
        }
    };
    assert!(
        warned["message"]
            .as_str()
            .is_some_and(|message| message.contains("750.0MiB") && message.contains("latter counts")),
        "{warned}"
    );
    agent.stop();
}
