//! Memory that the kubelet does not see, because it counts what the node uses as anonymous memory and file cache: page tables of the host, and sockets, whose messages lie in slab. It
//! waits for a threshold that is never met while the kernel runs out. First with the kubelet alone, then with forestall, in one boot.
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::agent::Agent;
use crate::cluster::clear;
use crate::kernel;
use crate::kubectl::Kubectl;
use crate::kubelet;
use crate::memory::Memory;
use crate::node::Node;
use crate::pod::{Pod, State};
use crate::wait::{wait_for, wait_within};

use super::PATIENCE;
use super::eviction::{hold, is_untouched};

/// Where the host's process lives.
const SERVICE: &str = "/sys/fs/cgroup/system.slice/blind.service";
/// What it takes before it stands still, in MiB: the pods may have more than what is left.
const BLIND_MIB: u64 = 450;
/// The kubelet's hard threshold, as `e2e/guest/kubelet.yaml` has it.
const THRESHOLD_MIB: u64 = 150;

/// The host's process grows and stands still; then a pod grows, within what all pods may have. One of the node's own services, which nobody ends,
/// holds the blind memory, so that a pod has to go.
pub(super) fn bytes(kubectl: &Kubectl, node: &Node) -> Result<()> {
    // Others had this node before.
    let before = kernel::kills(node)?.len();
    let alone = run(kubectl, node, || Ok(()))?;
    eprintln!("e2e:   the kubelet alone: {alone}");
    let state = State::of(kubectl, "grower")?;
    state.ended_by("OOMKilled", 137)?;
    ensure!(state.reason() != "Evicted", "the kubelet saw it: {state:?}");
    let is_of_the_machine =
        |kill: &kernel::Kill| kill.constraint == "CONSTRAINT_NONE" && kill.limit.is_none();
    let kills = kernel::kills(node)?.split_off(before);
    ensure!(
        !kills.is_empty() && kills.iter().all(is_of_the_machine),
        "the kernel tells otherwise: {kills:?}"
    );

    clear(node, kubectl)?;
    let agent = Agent::start(node, "enforce")?;
    let blind = || {
        agent
            .metric("forestall_blind_bytes")?
            .context("no blind bytes among the metrics")
    };
    let blind_before = blind()?;
    let mut risen_mib = 0;
    let guarded = run(kubectl, node, || {
        risen_mib = blind()?.saturating_sub(blind_before) >> 20;
        Ok(())
    })?;
    eprintln!("e2e:   with forestall: {guarded}; its blind bytes rose by {risen_mib} MiB");
    let later = kernel::kills(node)?.split_off(before + kills.len());
    ensure!(later.is_empty(), "the kernel killed all the same: {later:?}");
    ensure!(
        risen_mib > BLIND_MIB * 9 / 10,
        "forestall saw {risen_mib} MiB of {BLIND_MIB}"
    );
    let told = agent.told(&["alarm", "action", "outcome"])?;
    for line in &told {
        eprintln!("e2e:   {}", line["message"]);
    }
    let warned = told.iter().any(|line| {
        line["stage"] == "raised"
            && line["evidence"]["wall"] == "kernel"
            && line["evidence"]["runway_p50_millis"].is_u64()
    });
    ensure!(
        warned,
        "no alarm at the kernel's wall said how long it would last"
    );
    let uid = State::of(kubectl, "grower")?.uid()?.to_owned();
    let is_of_the_grower = |name: &serde_json::Value| name.as_str().is_some_and(|name| name.contains(&uid));
    let mut kills = told
        .iter()
        .filter(|line| line["event"] == "action" && line["rung"] == "kill");
    ensure!(
        kills.clone().next().is_some() && kills.all(|line| is_of_the_grower(&line["target_name"])),
        "forestall ended somebody else: {told:?}"
    );
    agent.end()
}

/// What the node came to by the kernel's count and the kubelet's, from before to after the blind memory, and at the pod's end.
struct Course {
    before: Figures,
    after: Figures,
    /// At the worst of the kubelet's looks.
    least_mib: u64,
}

#[derive(Clone, Copy)]
#[allow(
    clippy::struct_field_names,
    reason = "a quantity says its unit, last in its name"
)]
struct Figures {
    available_mib: u64,
    /// The kubelet's own figure for the node, as everybody is told it.
    kubelet_mib: u64,
    page_tables_mib: u64,
    /// What of slab the kernel cannot give away, the sockets' messages among it.
    slab_mib: u64,
}

fn run(kubectl: &Kubectl, node: &Node, once_blind: impl FnOnce() -> Result<()>) -> Result<Course> {
    hold(
        kubectl,
        node,
        "bystander",
        80,
        &json!({"requests": {"memory": "300Mi"}}),
    )?;
    let before = Figures::of(kubectl, node)?;
    let work = json!({"crew": {"works": [{"page-tables": {"rate": 8}}, {"sockets": {"rate": 3}}]}});
    node.run(&format!(
        "mkdir -p {SERVICE}; setsid sh -c 'echo 0 >{SERVICE}/cgroup.procs; echo -999 >/proc/self/oom_score_adj; exec work work \"$0\"' \
         '{work}' >/dev/null 2>&1 </dev/null &"
    ))?;
    wait_within(PATIENCE, "the blind memory", || {
        Ok(Memory::of(node)?.available_mib + BLIND_MIB <= before.available_mib)
    })?;
    node.run(&format!("echo 1 >{SERVICE}/cgroup.freeze"))?;
    // The kubelet's figures of now, and not those of before.
    let seen = kubelet::looks(node)?.len();
    wait_for("two looks of the kubelet's", || {
        Ok(kubelet::looks(node)?.len() >= seen + 2)
    })?;
    let after = Figures::of(kubectl, node)?;
    once_blind()?;
    let grower = Pod {
        name: "grower",
        work: json!({"grow": {"rate": 6, "total": null, "start": 0}}),
        resources: json!({}),
        restart: "Never",
        heap_kib: None,
    };
    grower.make(kubectl)?;
    wait_within(PATIENCE, "the grower's end", || {
        Ok(State::of(kubectl, "grower")?.phase() == "Failed")
    })?;
    let looks = kubelet::looks(node)?.split_off(seen);
    let least_mib = looks.into_iter().min().context("the kubelet did not look")?;
    is_untouched(kubectl, "bystander")?;
    ensure!(
        least_mib > THRESHOLD_MIB,
        "the kubelet saw that memory is short: {least_mib} MiB"
    );
    for (what, before, after) in [
        ("page tables", before.page_tables_mib, after.page_tables_mib),
        ("slab", before.slab_mib, after.slab_mib),
    ] {
        ensure!(
            after >= before + BLIND_MIB / 10,
            "there are hardly any {what} in it: {before} MiB and then {after}"
        );
    }
    ensure!(
        after.kubelet_mib + BLIND_MIB / 10 > before.kubelet_mib,
        "the kubelet saw the blind memory: {} MiB, and before {}",
        after.kubelet_mib,
        before.kubelet_mib
    );
    node.run(&format!(
        "echo 0 >{SERVICE}/cgroup.freeze; echo 1 >{SERVICE}/cgroup.kill"
    ))?;
    wait_for("the end of the blind memory", || {
        Ok(Memory::of(node)?.available_mib + BLIND_MIB / 2 > before.available_mib)
    })?;
    Ok(Course {
        before,
        after,
        least_mib,
    })
}

impl Figures {
    fn of(kubectl: &Kubectl, node: &Node) -> Result<Self> {
        let summary = node.summary(kubectl)?;
        let bytes = summary["node"]["memory"]["availableBytes"].as_u64();
        let said = node.run("grep -E '^(PageTables|SUnreclaim):' /proc/meminfo")?;
        let held_mib = |name: &str| -> Result<u64> {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            Ok(kib.with_context(|| format!("no {name} in {said:?}"))? >> 10)
        };
        Ok(Self {
            page_tables_mib: held_mib("PageTables:")?,
            slab_mib: held_mib("SUnreclaim:")?,
            available_mib: Memory::of(node)?.available_mib,
            kubelet_mib: bytes.context("no available bytes in the kubelet's summary")? >> 20,
        })
    }
}

impl std::fmt::Display for Course {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (before, after) = (self.before, self.after);
        write!(
            formatter,
            "available to the kernel {} → {} MiB, to the kubelet {} → {}; page tables {} → {}, slab {} → {}; until the grower's end the kubelet saw at least {} MiB allocatable",
            before.available_mib,
            after.available_mib,
            before.kubelet_mib,
            after.kubelet_mib,
            before.page_tables_mib,
            after.page_tables_mib,
            before.slab_mib,
            after.slab_mib,
            self.least_mib
        )
    }
}
