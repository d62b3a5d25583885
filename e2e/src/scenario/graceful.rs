//! A pod that grows slowly beside one that serves, first with the kubelet alone and then with forestall: with it the pod goes before the kubelet
//! would end it, with its own grace period, and whoever asked the other one for something got it each time.
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster::clear;
use crate::course::Course;
use crate::pod::State;
use crate::wait::{wait_for, wait_within};

use super::eviction::is_evicted;
use super::guarded::{LEFT, THRESHOLD_MIB, growth, guarded, is_over, pod};
use super::{PATIENCE, Stage};

/// How long the recovery took after which the article that this comes from calls a node rescued, and that of the kubelet there.
const ARTICLE: &str = "the article: 47 s with its agent, 23 min without";

pub(super) fn slow(stage: &mut Stage<'_>) -> Result<()> {
    let (course, left) = run(stage, "kubelet")?;
    is_evicted(stage.kubectl, &State::of(stage.kubectl, "batch")?)?;
    ensure!(
        !left.contains("handled") && !left.contains("stopped"),
        "the kubelet's two seconds of grace were enough for three, or five: {left}"
    );
    eprintln!("e2e:   the kubelet alone: {}", left.replace('\n', " "));
    stage.tell(course);
    clear(stage.node, stage.kubectl)?;
    guarded(stage, |stage, guard| {
        let (mut course, left) = run(stage, "forestall")?;
        guard.say()?;
        course.of_agent(&guard.told(&["alarm", "action"])?);
        eprintln!("e2e:   {course}; {ARTICLE}");
        ensure!(
            left.contains("stopped\nhandled\n"),
            "it was not let end by itself: {left}"
        );
        ensure!(!left.contains("lost"), "somebody was not answered: {left}");
        let answered: f64 = left.lines().last().unwrap_or_default().trim().parse()?;
        eprintln!("e2e:   {answered} requests, all answered");
        // Five a second are asked for where a look and an answer take no time, and here they take several times as long.
        let seconds = course.seconds().context("it never recovered")?;
        ensure!(
            answered >= seconds / 2.0,
            "{answered} requests in {seconds} s: nobody asked"
        );
        ensure!(
            course.least_allocatable_mib() >= THRESHOLD_MIB,
            "the kubelet's threshold was crossed: {course}"
        );
        let events = stage
            .kubectl
            .get(&["events", "--field-selector=reason=ForestallEvicted"])?;
        for kind in ["Pod", "Node"] {
            let mut events = events["items"].as_array().into_iter().flatten();
            let event = events.find(|event| event["involvedObject"]["kind"] == kind);
            let event = event.with_context(|| format!("no Event on the {kind} says why"))?;
            eprintln!("e2e:   {}", event["message"].as_str().unwrap_or_default());
        }
        stage.tell(course);
        Ok(())
    })
}

/// Until the one that grows is gone and its memory is back; and what is left of it, with how many were answered.
fn run(stage: &Stage<'_>, who: &'static str) -> Result<(Course, String)> {
    let (kubectl, node) = (stage.kubectl, stage.node);
    node.run(&format!("rm -rf {LEFT}; mkdir -p {LEFT}"))?;
    let server = "cd /tmp; echo here > index.html; exec busybox httpd -f -p 127.0.0.1:8099";
    let mut shop = pod("shop", 5, server);
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
    let line = format!(
        "trap 'sleep 5; echo handled > /left/handled; exit 0' TERM; {} & wait",
        growth(4, None)
    );
    let mut batch = pod("batch", 20, &line);
    batch["spec"]["containers"][0]["lifecycle"] = json!({"preStop": {"exec": {"command": ["/bin/busybox", "sh", "-c", "sleep 3; echo stopped > /left/stopped"]}}});
    kubectl.apply(&batch.to_string())?;
    State::wait_for(kubectl, "batch", "Running", |state| state.phase() == "Running")?;
    let mut course = Course::begin(who, node)?;
    wait_within(PATIENCE, "the end of batch, and its memory", || {
        course.look(node)?;
        Ok(is_over(kubectl, "batch")? && course.has_recovered())
    })?;
    course.of_kubelet(node)?;
    node.run(&format!("touch {LEFT}/stop"))?;
    let shop = State::of(kubectl, "shop")?;
    ensure!(
        shop.phase() == "Running" && shop.restarts() == 0,
        "shop was touched: {shop:?}"
    );
    let left = node.run(&format!(
        "cat {LEFT}/stopped {LEFT}/handled; ls {LEFT}; wc -l <{LEFT}/answered"
    ))?;
    Ok((course, left))
}

/// As whoever looks at the shop does.
const ASK: &str = "wget -qO- http://127.0.0.1:8099/index.html";
