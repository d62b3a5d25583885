//! What an agent costs on a full node: a hundred pods, ten thousand changes of them, minutes in which nothing changes, and a server that stands still. It runs on the machine of whoever runs this, without an emulator, for a
//! node that is no more than an object, so that no kubelet is measured along with it. It only looks on there.
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::caller::{Caller, Request};
use crate::child::{self, Running};
use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::plane::Plane;
use crate::wait::wait_for;

use super::Stage;

/// A node without a machine.
const NODE: &str = "n8";
/// As many as a kubelet takes (`maxPods`), one of them the agent's own.
const PODS: usize = 110;
const CHANGES: usize = 10_000;
/// What an agent may hold, and how much of that the changes may add: what an allocator keeps of them, and no more for more of them.
const RESIDENT_KIB_MAX: u64 = 14 << 10;
const ADDED_KIB_MAX: u64 = 1 << 10;
/// So long nothing changes, and fewer requests than one a minute are made besides the watch.
const IDLE_MINUTES: u64 = 3;
/// The guard looks once a second where nothing is near, and no look is later than by as much again, whatever the server does.
const GAP_SECONDS_MAX: f64 = 2.0;
const ADDRESS: &str = "127.0.0.1:9191";

pub(super) fn changes(stage: &mut Stage<'_>) -> Result<()> {
    let kubectl = stage.kubectl;
    let shown = show(stage, kubectl);
    let cleared = clear(kubectl);
    shown.and(cleared)
}

fn show(stage: &Stage<'_>, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply_profile("read")?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
    let own = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own", "namespace": "forestall"},
        "spec": {
            "nodeName": NODE,
            "serviceAccountName": "forestall",
            "containers": [{"name": "c", "image": WORK_IMAGE}],
        },
    });
    let mut items = vec![node, own];
    items.extend((1..PODS).map(pod));
    kubectl.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    let mut agent = start(kubectl, stage.agent)?;
    let mut all = 0;
    wait_for("the agent's count of all pods", || {
        agent.check()?;
        all = known().unwrap_or(0);
        Ok(all >= PODS as u64)
    })?;
    let before = resident_kib(&agent)?;
    change(kubectl)?;
    // What a watch tells comes in order: who has seen this one go has seen all before it.
    remove(kubectl, &["pod", &name(1)])?;
    wait_for("the agent's word of the last change", || {
        agent.check()?;
        Ok(known()? < all)
    })?;
    let after = resident_kib(&agent)?;
    eprintln!("e2e:   {all} pods: {before} KiB resident, {after} after {CHANGES} changes");
    ensure!(
        before.max(after) <= RESIDENT_KIB_MAX,
        "it may hold {RESIDENT_KIB_MAX} KiB"
    );
    ensure!(
        after <= before + ADDED_KIB_MAX,
        "changes added more than {ADDED_KIB_MAX} KiB"
    );
    is_quiet(stage.plane)?;
    keeps_its_pace(stage.plane)
}

/// Where nothing changes it hardly asks for anything: of thousands of nodes each request counts.
fn is_quiet(plane: &Plane) -> Result<()> {
    let before = plane.asked_by_agent()?.len();
    thread::sleep(Duration::from_mins(IDLE_MINUTES));
    let asked = plane.asked_by_agent()?;
    let since: Vec<String> = asked
        .iter()
        .skip(before)
        .filter(|event| event["verb"] != "watch")
        // An agent of the scenario before may say its last word yet.
        .filter(|event| {
            event["requestURI"]
                .as_str()
                .is_some_and(|uri| !uri.contains("/nodes/n1"))
        })
        .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
        .collect();
    eprintln!(
        "e2e:   {} requests besides the watch in {IDLE_MINUTES} minutes without a change: {since:?}",
        since.len()
    );
    ensure!(
        (since.len() as u64) < IDLE_MINUTES,
        "as many as one a minute, or more"
    );
    Ok(())
}

/// While the server stands still with its connections open, until the agent has noticed.
fn keeps_its_pace(plane: &Plane) -> Result<()> {
    let before: f64 = figure(GAP)?.parse()?;
    let halt = plane.halt_server()?;
    wait_for("the agent's word that the server is away", || {
        Ok(figure("forestall_api_up")? == "0")
    })?;
    drop(halt);
    wait_for("the agent's word that it is back", || {
        Ok(figure("forestall_api_up")? == "1")
    })?;
    let after: f64 = figure(GAP)?.parse()?;
    eprintln!(
        "e2e:   the longest time between two looks {before} s, and {after} s after the server stood still"
    );
    // Other work on this machine may have made one longer before.
    ensure!(
        after <= before.max(GAP_SECONDS_MAX),
        "a look was late by more than a period while the server stood still"
    );
    Ok(())
}

const GAP: &str = "forestall_tick_gap_seconds_max";

/// As a pod of that node would run it: where it looks for its account there is one, for it alone.
fn start(kubectl: &Kubectl, program: &Path) -> Result<Running> {
    let folder = kubectl.config().parent().context("a folder for its log")?;
    let words = ["create", "token", "forestall", "-n", "forestall"];
    let bound = ["--bound-object-kind=Pod", "--bound-object-name=own"];
    let token = kubectl.run(&[&words[..], &bound].concat())?;
    fs::write(folder.join("crowd.token"), token.trim())?;
    let policy = format!("mode: observe\nlisten: \"{ADDRESS}\"\n");
    fs::write(folder.join("crowd.yaml"), policy)?;
    let line = "set -e; mount -t tmpfs none /run; account=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $account; \
                cp crowd.token $account/token; cp ca.crt $account/ca.crt; exec \"$0\" agent --config crowd.yaml";
    let mut command = child::command(Path::new("unshare"));
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", line])
        .arg(program)
        .current_dir(folder)
        .envs([
            ("NODE_NAME", NODE),
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "6443"),
        ]);
    Running::start("crowd", &mut command, folder)
}

/// Every pod in turn, again and again.
fn change(kubectl: &Kubectl) -> Result<()> {
    let caller = Caller::of(kubectl, "changes")?;
    for number in 0..CHANGES {
        let answer = caller.ask(&Request {
            method: "PATCH",
            path: format!(
                "/api/v1/namespaces/default/pods/{}",
                name(1 + number % (PODS - 1))
            ),
            impersonated: None,
            body: json!({"metadata": {"annotations": {"e2e/change": number.to_string()}}}),
        })?;
        let (code, said) = (answer.code, answer.text);
        ensure!(code == 200, "change {number}: {code}: {said}");
        if number % 2000 == 1999 {
            eprintln!("e2e:   {} of {CHANGES} changes", number + 1);
        }
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("crowd-{number}")
}

fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name(number), "labels": {"app": "crowd"}},
        "spec": {
            "nodeName": NODE,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "work", "image": WORK_IMAGE, "resources": {"requests": {"memory": "10Mi"}}}],
        },
    })
}

/// How many pods it knows.
fn known() -> Result<u64> {
    let figure = figure("forestall_pods{state=\"known\"}")?;
    figure.parse().with_context(|| format!("{figure:?} pods"))
}

/// What stands behind this name on the page of its metrics.
fn figure(name: &str) -> Result<String> {
    let mut stream = TcpStream::connect(ADDRESS).context("the agent's metrics")?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page).context("the agent's metrics")?;
    let found = page.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.trim_start_matches("{}");
        rest.strip_prefix(' ')
    });
    Ok(found
        .with_context(|| format!("no {name} in {page:?}"))?
        .to_owned())
}

fn resident_kib(agent: &Running) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let figure = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    figure.with_context(|| format!("no VmRSS in {status:?}"))
}

fn remove(kubectl: &Kubectl, which: &[&str]) -> Result<()> {
    // Nobody is there who could say that they have ended.
    let forced = ["--force", "--grace-period=0"];
    kubectl.run(&[&["delete"], which, &forced].concat()).map(drop)
}

fn clear(kubectl: &Kubectl) -> Result<()> {
    remove(kubectl, &["pod", "-l", "app=crowd"])?;
    remove(kubectl, &["pod", "own", "-n", "forestall"])?;
    kubectl.delete_profile("read")?;
    kubectl
        .run(&["delete", "node", NODE, "--ignore-not-found"])
        .map(drop)
}
