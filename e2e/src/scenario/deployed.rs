//! The agent as it is handed out: the image that `cargo xtask dist` makes, by the manifests in `deploy/kustomize`.
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::wait::{wait_for, wait_within};

use super::PATIENCE;

/// A profile, and what the kernel says of the agent's process there: its user and what it may (proc_pid_status(5)). `CAP_KILL` is the
/// fifth bit (capabilities(7), `include/uapi/linux/capability.h`).
type Profile = (&'static str, &'static str, &'static str);
const ACT: (&str, &str) = ("0", "0000000000000020");
const READ: (&str, &str) = ("65532", "0000000000000000");

/// As its own node, where the API server knows how.
pub(super) fn as_node(kubectl: &Kubectl, node: &Node) -> Result<()> {
    profiles(kubectl, node, [("act", ACT.0, ACT.1), ("read", READ.0, READ.1)])
}

/// By its own right, where it does not.
pub(super) fn own(kubectl: &Kubectl, node: &Node) -> Result<()> {
    let all = [
        ("act-before-1.36", ACT.0, ACT.1),
        ("read-before-1.36", READ.0, READ.1),
    ];
    profiles(kubectl, node, all)
}

/// From acting to reading, each rolled out until one ready pod is left.
fn profiles(kubectl: &Kubectl, node: &Node, all: [Profile; 2]) -> Result<()> {
    let shown = all.iter().try_for_each(|(profile, user, capabilities)| {
        kubectl.apply_profile(profile)?;
        let pod = wait_for_agent(kubectl)?;
        eprintln!("e2e:   {profile}: {} is ready", pod.name);
        follows_its_pods(kubectl, &pod)?;
        has_no_right_but(node, &pod, user, capabilities)?;
        stands_on_the_node(kubectl, "True or False", |status| {
            ["True", "False"].contains(&status)
        })?;
        tells_of_its_memory(kubectl)?;
        for line in degraded(node, &pod)? {
            eprintln!("e2e:     {line}");
        }
        reads_its_policy_again(kubectl, &pod)
    });
    let shown = shown.and_then(|()| ends_in_order(kubectl));
    let log = kubectl.run(&["logs", "-n", "forestall", "daemonset/forestall"]);
    if let (Err(_), Ok(log)) = (&shown, log) {
        eprintln!("e2e:   the agent's log:\n{log}");
    }
    let [(first, ..), _] = all;
    let cleared = kubectl.delete_profile(first);
    shown.and(cleared)
}

/// The one pod of the agent.
pub(super) struct Agent {
    name: String,
    uid: String,
    address: String,
}

/// Waits until the last change is rolled out: one pod, of the newest kind, and ready by its own word.
pub(super) fn wait_for_agent(kubectl: &Kubectl) -> Result<Agent> {
    let mut found = None;
    wait_for("one ready agent", || {
        let set = kubectl.get(&["daemonset", "forestall", "-n", "forestall"])?;
        let figure = |name: &str| set["status"][name].as_i64();
        let is_rolled_out = figure("observedGeneration") == set["metadata"]["generation"].as_i64()
            && figure("updatedNumberScheduled") == Some(1)
            && figure("numberAvailable") == Some(1);
        let pods = kubectl.get(&["pods", "-n", "forestall"])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        if let ([pod], true) = (&*pods, is_rolled_out) {
            found = Agent::of(pod);
        }
        Ok(found.is_some())
    })?;
    found.context("the pod that was just seen")
}

impl Agent {
    fn of(pod: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            name: text(&pod["metadata"]["name"])?,
            uid: text(&pod["metadata"]["uid"])?,
            address: text(&pod["status"]["podIP"])?,
        })
    }
}

/// It says how many pods the API server knows of on its node: itself at least.
pub(super) fn follows_its_pods(kubectl: &Kubectl, pod: &Agent) -> Result<()> {
    wait_for("the agent's word of its node's pods", || {
        let log = kubectl.run(&["logs", "-n", "forestall", &pod.name])?;
        let said = log.lines().find(|line| line.contains("pods on this node"));
        Ok(said.is_some())
    })
    .map(drop)
}

/// The node's figures, which go with the Node.
fn tells_of_its_memory(kubectl: &Kubectl) -> Result<()> {
    let node = kubectl.get(&["node", "n1"])?;
    wait_for("the node's figures", || {
        // Before the first word there is no such object.
        let figures = kubectl.get(&["nodememories", "n1"]).unwrap_or_default();
        let owner = &figures["metadata"]["ownerReferences"][0]["uid"];
        let total = figures["memory"]["total"].as_str().unwrap_or_default();
        Ok(total.ends_with("Mi") && *owner == node["metadata"]["uid"])
    })?;
    // What the scheduler goes by is known with the pods, which may be a word later.
    let told = wait_within(PATIENCE, "what the scheduler goes by", || {
        let figures = kubectl.get(&["nodememories", "n1"])?;
        let has = |what: &str| {
            figures["scheduling"][what]
                .as_str()
                .is_some_and(|text| text.ends_with("Mi"))
        };
        Ok(has("allocatable") && has("requested"))
    })?;
    eprintln!("e2e:     what the scheduler goes by is told after {told:.0?}");
    let shown = kubectl.run(&["get", "nodememories"])?;
    shown.lines().for_each(|line| eprintln!("e2e:     {line}"));
    Ok(())
}

/// Its two conditions, as the policy lets it write them.
fn stands_on_the_node(kubectl: &Kubectl, what: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
    // One that takes the place of another writes once more after a minute at the latest, whatever that one's last word was.
    let took = wait_within(PATIENCE, &format!("conditions that are {what}"), || {
        let node = kubectl.get(&["node", "n1"])?;
        let conditions = node["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ours = ["MemoryRunwayLow", "KernelOOM"];
        Ok(ours.iter().all(|kind| {
            let mut found = conditions.iter().filter(|one| one["type"] == *kind);
            found.any(|one| is_so(one["status"].as_str().unwrap_or_default()))
        }))
    })?;
    eprintln!(
        "e2e:     conditions of the Node are {what} after {:.0} s",
        took.as_secs_f64()
    );
    Ok(())
}

/// While it may still write them: what takes everything away takes its right with it.
fn ends_in_order(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["delete", "daemonset", "forestall", "-n", "forestall"])?;
    stands_on_the_node(kubectl, "Unknown", |status| status == "Unknown")
}

/// A ConfigMap that was changed holds without a new pod, as soon as the kubelet brings it. The next profile's manifests bring the old
/// one back.
fn reads_its_policy_again(kubectl: &Kubectl, pod: &Agent) -> Result<()> {
    let text = "mode: observe\nlisten: \":9090\"\n";
    let change = json!({"data": {"forestall.yaml": text}}).to_string();
    kubectl.run(&[
        "patch",
        "configmap",
        "forestall",
        "-n",
        "forestall",
        "-p",
        &change,
    ])?;
    let took = wait_within(PATIENCE, "the agent's word of its new policy", || {
        let log = kubectl.run(&["logs", "-n", "forestall", &pod.name])?;
        let has = |word: &str| log.lines().any(|line| line.contains(word));
        Ok(has("the configuration was read again") && has("\"mode\":\"observe\""))
    })?;
    eprintln!("e2e:     a new policy holds after {:.0} s", took.as_secs_f64());
    Ok(())
}

/// By the kernel's word of the process in the pod's cgroup.
fn has_no_right_but(node: &Node, pod: &Agent, user: &str, capabilities: &str) -> Result<()> {
    let said = node.run(&format!(
        "for place in /proc/[0-9]*; do \
         if grep -q 'pod{}' $place/cgroup && [ \"$(cat $place/comm)\" = forestall ]; then \
         grep -E '^(Uid|Cap|NoNewPrivs|Seccomp:)' $place/status; grep ' / / ' $place/mountinfo; fi; done 2>/dev/null",
        pod.uid
    ))?;
    let value = |name: &str| -> Option<&str> {
        let mut lines = said.lines().filter_map(|line| line.split_once(':'));
        let (_, rest) = lines.find(|(key, _)| *key == name)?;
        rest.split_whitespace().next()
    };
    let expected = [
        ("Uid", user),
        ("CapEff", capabilities),
        ("CapBnd", capabilities),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        // A filter.
        ("Seccomp", "2"),
    ];
    for (name, expected) in expected {
        ensure!(
            value(name) == Some(expected),
            "{name} is to be {expected} and is {:?}:\n{said}",
            value(name)
        );
    }
    eprintln!("e2e:     user {user}, capabilities {capabilities}, no new privileges, a seccomp filter");
    let root = said
        .lines()
        .find(|line| line.contains(" / / "))
        .unwrap_or_default();
    ensure!(
        root.contains(" / / ro,"),
        "its root is not read-only: {root:?} in\n{said}"
    );
    Ok(())
}

/// What it says it cannot do here, by its own page, asked for from the node as the kubelet does.
pub(super) fn degraded(node: &Node, pod: &Agent) -> Result<Vec<String>> {
    let page = node.run(&format!("wget -qO- http://{}:9090/readyz", pod.address))?;
    ensure!(
        page.starts_with("ready\n"),
        "it is not ready by its own word: {page:?}"
    );
    Ok(page.lines().skip(1).map(str::to_owned).collect())
}
