//! The agent as it is handed out, acting: pods that have to go, go with their own grace period, and nobody else does.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::memory::Memory;
use crate::node::Node;
use crate::pod::State;
use crate::wait::{wait_for, wait_within};

use super::PATIENCE;
use super::deployed::{Agent, wait_for_agent};

/// Where pods leave on the node what has to outlive them.
const LEFT: &str = "/var/tmp/e2e";

/// A pod that grows slowly beside one that serves: it is evicted before the kubelet would, its preStop hook and its handler of SIGTERM ran to
/// the end, and whoever asked the other for something got it each time.
pub(super) fn slow(kubectl: &Kubectl, node: &Node) -> Result<()> {
    node.run(&format!("rm -rf {LEFT}; mkdir -p {LEFT}"))?;
    kubectl.apply_profile("act")?;
    let shown = wait_for_agent(kubectl).and_then(|agent| {
        enforce(kubectl, &agent)?;
        evicts(kubectl, node, &agent)
    });
    let log = kubectl.run(&["logs", "-n", "forestall", "daemonset/forestall"]);
    if let (Err(_), Ok(log)) = (&shown, log) {
        eprintln!("e2e:   the agent's log:\n{log}");
    }
    node.run("touch /var/tmp/e2e/stop")?;
    kubectl.delete_profile("act").and(shown)
}

/// Changes the policy, and waits until the agent has it.
fn enforce(kubectl: &Kubectl, agent: &Agent) -> Result<()> {
    let policy = "mode: enforce\nlisten: \":9090\"\nrungs: {evict: true}\nkubeletEvictionHard: 150Mi\n";
    let change = json!({"data": {"forestall.yaml": policy}}).to_string();
    let words = [
        "patch",
        "configmap",
        "forestall",
        "-n",
        "forestall",
        "-p",
        &change,
    ];
    kubectl.run(&words)?;
    wait_within(PATIENCE, "the agent's word of its new policy", || {
        Ok(agent.log(kubectl)?.contains("the configuration was read again"))
    })
    .map(drop)
}

fn evicts(kubectl: &Kubectl, node: &Node, agent: &Agent) -> Result<()> {
    let server = "cd /tmp; echo here > index.html; exec busybox httpd -f -p 127.0.0.1:8099";
    let mut shop = pod("shop", 5, server, &Value::Null);
    shop["spec"]["hostNetwork"] = json!(true);
    shop["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "32Mi"}});
    kubectl.apply(&shop.to_string())?;
    State::wait_for(kubectl, "shop", "Running", |state| state.phase() == "Running")?;
    wait_for("an answer of shop", || Ok(node.run(ASK)?.contains("here")))?;
    node.run(&format!(
        "setsid sh -c 'while [ ! -e {LEFT}/stop ]; do \
         if {ASK} >/dev/null 2>&1; then echo >>{LEFT}/answered; else echo >>{LEFT}/lost; fi; sleep 0.2; done' \
         >/dev/null 2>&1 </dev/null &"
    ))?;
    // Its leak goes on while it is being told to end.
    let batch = "trap 'sleep 2; echo handled > /left/handled; exit 0' TERM; \
                 /work work '{\"grow\": {\"rate\": 4, \"total\": null, \"start\": 0}}' & wait";
    let hook = json!({"preStop": {"exec": {"command": ["/bin/busybox", "sh", "-c", "sleep 1; echo stopped > /left/stopped"]}}});
    kubectl.apply(&pod("batch", 10, batch, &hook).to_string())?;
    State::wait_for(kubectl, "batch", "Running", |state| state.phase() == "Running")?;
    let mut least = Memory::of(node)?;
    wait_within(PATIENCE, "the end of batch", || {
        let now = Memory::of(node)?;
        if now.allocatable_available_mib < least.allocatable_available_mib {
            least = now;
        }
        let left = kubectl.run(&["get", "pod", "batch", "--ignore-not-found", "-o=name"])?;
        Ok(left.is_empty())
    })?;
    eprintln!("e2e:   at the worst: {least}");
    let log = agent.log(kubectl)?;
    for word in ["ACTION", "OUTCOME"] {
        let line = log
            .lines()
            .rfind(|line| line.contains(word) && line.contains("evict"));
        eprintln!("e2e:   {}", line.unwrap_or("the agent said nothing"));
    }
    let left = node.run(&format!(
        "cat {LEFT}/stopped {LEFT}/handled; ls {LEFT}; wc -l <{LEFT}/answered"
    ))?;
    ensure!(
        left.contains("stopped\nhandled\n"),
        "it was not let end by itself: {left}"
    );
    ensure!(!left.contains("lost"), "somebody was not answered: {left}");
    eprintln!(
        "e2e:   {} requests, all answered",
        left.lines().last().unwrap_or_default()
    );
    ensure!(
        least.allocatable_available_mib >= 150,
        "the kubelet's threshold was crossed: {least}"
    );
    let events = kubectl.get(&["events", "--field-selector=reason=ForestallEvicted"])?;
    let event = events["items"].get(0).context("no Event says why")?;
    eprintln!("e2e:   {}", event["message"].as_str().unwrap_or_default());
    let shop = State::of(kubectl, "shop")?;
    ensure!(
        shop.phase() == "Running" && shop.restarts() == 0,
        "shop was touched: {shop:?}"
    );
    Ok(())
}

/// As whoever looks at the shop does.
const ASK: &str = "wget -qO- http://127.0.0.1:8099/index.html";

/// One that says of itself that it may be evicted for good, with so many seconds of grace.
fn pod(name: &str, grace_seconds: u32, line: &str, lifecycle: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"forestall.io/evict": "final"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": grace_seconds,
            "volumes": [{"name": "left", "hostPath": {"path": LEFT}}, {"name": "tmp", "emptyDir": {}}],
            "containers": [{
                "name": "work",
                "image": WORK_IMAGE,
                "imagePullPolicy": "Never",
                "command": ["/bin/busybox", "sh", "-c", line],
                "lifecycle": lifecycle,
                "volumeMounts": [{"name": "left", "mountPath": "/left"}, {"name": "tmp", "mountPath": "/tmp"}],
            }],
        },
    })
}
