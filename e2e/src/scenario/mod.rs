//! The scenarios: what happens on a real cluster, by name.
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::course::Course;
use crate::kubectl::Kubectl;
use crate::node::{Node, NodeSpec};
use crate::plane::Plane;

mod agreed;
mod blind;
mod cache;
mod crowd;
mod deployed;
mod eviction;
mod fault;
mod graceful;
mod guarded;
mod host;
mod ledger;
mod limit;
mod plain;
mod plateau;
mod refusal;
mod rehearsal;
mod rights;
mod taint;
mod tokens;

/// One scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What it shows, in a sentence.
    pub(crate) shows: &'static str,
    /// The node that it takes place on.
    pub(crate) node: NodeSpec,
    /// Whether the API server knows constrained impersonation, as from Kubernetes 1.36 on.
    pub(crate) impersonation: bool,
    /// It has held so often that it has to hold.
    pub(crate) is_gate: bool,
    pub(crate) run: fn(&mut Stage<'_>) -> Result<()>,
}

/// What a scenario takes place on, and what it tells besides its verdict.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) kubectl: &'a Kubectl,
    pub(crate) node: &'a Node,
    pub(crate) plane: &'a Plane,
    /// The agent's binary.
    pub(crate) agent: &'a Path,
    courses: Vec<Course>,
}

impl<'a> Stage<'a> {
    pub(crate) const fn new(kubectl: &'a Kubectl, node: &'a Node, plane: &'a Plane, agent: &'a Path) -> Self {
        Self {
            kubectl,
            node,
            plane,
            agent,
            courses: Vec::new(),
        }
    }

    /// Has a course stand in the table of times.
    fn tell(&mut self, course: Course) {
        eprintln!("e2e:   {}: {course}", course.who);
        self.courses.push(course);
    }

    /// All that were told.
    pub(crate) fn into_courses(self) -> Vec<Course> {
        self.courses
    }
}

/// The node of whoever asks for no other.
pub(crate) const NODE: NodeSpec = NodeSpec {
    number: 1,
    memory_mib: 1280,
    multi_gen: Some(false),
    kills_single: false,
    agent: None,
};

/// The same with the multi-gen LRU.
const MULTI_GEN: NodeSpec = NodeSpec {
    multi_gen: Some(true),
    ..NODE
};

/// How long what fills a node slowly may take: three times the longest that was seen.
const PATIENCE: Duration = Duration::from_mins(5);

/// All of them, in the order in which they run: those of one node after each other.
pub(crate) const ALL: [Scenario; 28] = [
    Scenario {
        name: "container-limit",
        shows: "a container that grows beyond its own limit ends OOMKilled with 137, again and again, and forestall leaves it to that",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: limit::container_twice,
    },
    Scenario {
        name: "kubepods-limit",
        shows: "a pod without a limit that fills what all pods may have ends with the same words, or evicted, or both",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: limit::kubepods_twice,
    },
    Scenario {
        name: "heap-cap",
        shows: "a container whose heap is capped ends by its own hand: Error, 139, and no line of the kernel",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: limit::heap_twice,
    },
    Scenario {
        name: "slow-leak",
        shows: "the kubelet evicts a pod that grows slowly, as forestall has foretold; the node is short of memory for a while, and the pod never comes back",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: eviction::slow_twice,
    },
    Scenario {
        name: "page-cache",
        shows: "the kubelet evicts a pod for page cache alone, with most of the memory available; with forestall nobody is evicted",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: |stage| cache::rereader(stage.kubectl, stage.node),
    },
    Scenario {
        name: "stream",
        shows: "a reader of a file larger than memory moves forestall to nothing",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: |stage| cache::streamer(stage.kubectl, stage.node),
    },
    Scenario {
        name: "host-leak",
        shows: "a process of the host leaks, and a bystander goes for it: evicted, or killed by the kernel; with forestall the process goes",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: host::leak,
    },
    Scenario {
        name: "deployed",
        shows: "image and manifests as they are handed out: the agent is ready on a node, follows its pods, and has no right there but those it needs",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: |stage| deployed::as_node(stage.kubectl, stage.node),
    },
    Scenario {
        name: "rights",
        shows: "with its own token the agent reaches its own node and its pods as that node, and nothing else of the cluster",
        node: NODE,
        impersonation: true,
        is_gate: true,
        run: |stage| rights::as_node(stage.kubectl, stage.node),
    },
    Scenario {
        name: "rights-before",
        shows: "where there is no constrained impersonation, an admission policy confines what carries a node's name, and what stays open is shown",
        node: NODE,
        impersonation: false,
        is_gate: false,
        run: |stage| rights::own(stage.kubectl, stage.node),
    },
    Scenario {
        name: "deployed-before",
        shows: "the same where the API server knows no constrained impersonation, by the account's own rights",
        node: NODE,
        impersonation: false,
        is_gate: false,
        run: |stage| deployed::own(stage.kubectl, stage.node),
    },
    Scenario {
        name: "many-pods",
        shows: "what the agent holds with as many pods as a kubelet takes, and that ten thousand changes of them add nothing",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: crowd::changes,
    },
    Scenario {
        name: "slow-leak-guarded",
        shows: "the kubelet evicts a pod that grows slowly; the agent does it before, lets it end by itself, and a server beside it loses no request",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: graceful::slow,
    },
    Scenario {
        name: "shadow",
        shows: "an agent that only rehearses asks the API server by dry run and changes nothing, and goes on by its policy where the new one is spoilt",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: rehearsal::shadow,
    },
    Scenario {
        name: "plateau",
        shows: "a heap that grows to its plateau and stops is not evicted",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: plateau::heap,
    },
    Scenario {
        name: "no-budget",
        shows: "a budget that lets nobody go is honoured: another one goes",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: refusal::budget,
    },
    Scenario {
        name: "budget-spent",
        shows: "one token of evictions for the whole cluster: the second pod is let be for want of one",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: tokens::spent,
    },
    Scenario {
        name: "tainted",
        shows: "while memory runs low the Node is tainted, and a newcomer finds no place; after the agent was killed the next one lifts it",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: taint::set_and_lifted,
    },
    Scenario {
        name: "deaf",
        shows: "a pod that does not hear SIGTERM goes at the end of its grace period, and nobody else for it",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: refusal::deaf,
    },
    Scenario {
        name: "server-halted",
        shows: "the API server answers no more while a pod grows: the node is saved without it, and it is found again",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: fault::server,
    },
    Scenario {
        name: "agent-killed",
        shows: "the agent is killed in the middle of an eviction: the next one goes on from there",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: fault::agent,
    },
    Scenario {
        name: "blind-bytes",
        shows: "page tables and sockets of the host, which the kubelet does not see: the kernel kills; with forestall it does not",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: |stage| blind::bytes(stage.kubectl, stage.node),
    },
    Scenario {
        name: "plain-machine",
        shows: "without a kubelet, a leak in a container of containerd's or in a scope of systemd's ends before the kernel kills, and nobody beside it",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: plain::machine,
    },
    Scenario {
        name: "page-cache-growth",
        shows: "the same while another pod grows within its request",
        node: NODE,
        impersonation: true,
        is_gate: false,
        run: |stage| cache::beside_growth(stage.kubectl, stage.node),
    },
    Scenario {
        name: "page-cache-multi-gen",
        shows: "that with the multi-gen LRU, for a file that is mapped",
        node: MULTI_GEN,
        impersonation: true,
        is_gate: false,
        run: |stage| cache::multi_gen(stage.kubectl, stage.node),
    },
    Scenario {
        name: "stream-multi-gen",
        shows: "and so does such a reader with the multi-gen LRU",
        node: MULTI_GEN,
        impersonation: true,
        is_gate: false,
        run: |stage| cache::streamer(stage.kubectl, stage.node),
    },
    Scenario {
        name: "container-child",
        shows: "a child is killed, its parent lives on, and Kubernetes shows nothing",
        node: NodeSpec {
            kills_single: true,
            ..NODE
        },
        impersonation: true,
        is_gate: true,
        run: |stage| limit::child(stage.kubectl, stage.node),
    },
    Scenario {
        name: "ledger-names",
        shows: "the agent keeps each kill with its pod and container, a child's, too, of which Kubernetes shows nothing",
        node: NodeSpec {
            kills_single: true,
            agent: Some("observe"),
            ..NODE
        },
        impersonation: true,
        is_gate: false,
        run: |stage| ledger::names(stage.kubectl, stage.node),
    },
];

/// Those that are wanted; an error names those there are.
pub(crate) fn choose(all: bool, names: &[String]) -> Result<Vec<Scenario>> {
    for name in names {
        if !ALL.iter().any(|scenario| scenario.name == name) {
            let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
            bail!("{name:?} is no scenario; there are {}", known.join(", "));
        }
    }
    let is_wanted = |scenario: &Scenario| {
        if names.is_empty() {
            all || scenario.is_gate
        } else {
            names.iter().any(|name| name == scenario.name)
        }
    };
    Ok(ALL.into_iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name() {
        let names = |all, names: &[&str]| -> Result<Vec<&str>> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Ok(choose(all, &names)?
                .iter()
                .map(|scenario| scenario.name)
                .collect())
        };
        assert_eq!(names(true, &[]).expect("all").len(), ALL.len());
        let one = names(true, &["container-child"]).expect("one is named");
        assert_eq!(one, ["container-child"]);
        let said = names(false, &["container-chidl"])
            .expect_err("there is none")
            .to_string();
        assert!(
            said.contains("container-chidl") && said.contains("kubepods-limit"),
            "{said}"
        );
    }
}
