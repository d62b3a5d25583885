//! A fleet: many nodes of one kind with the same mix of pods on each, every one of them a little different.
//!
//! What speed is measured with, and a model of an ordinary cluster: most pods hold still, some swing by the hour, heaps
//! collect, a job bursts once a day, and here and there something leaks for days. It refuses to be an incident.

use forestall_decide::kubelet::{KubeletConfig, Signal, Threshold};
use forestall_decide::{Bytes, BytesPerSecond, Policy, Span};

use crate::memory::Part;
use crate::spec::{ContainerSpec, Load, NodeSpec, Place, PodSpec, World};

const HOUR: u64 = 3600;

/// So many nodes of 64 GiB, 30 pods on each, for so long.
pub fn fleet(seed: u64, nodes: u32, duration: Span, policy: Option<Policy>) -> World {
    let memory = Bytes(64 << 30);
    let threshold = |signal| Threshold {
        signal,
        value: Bytes::mebi(500),
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    let kubelet = KubeletConfig {
        capacity: memory,
        kube_reserved: Bytes(4 << 30),
        thresholds: vec![
            threshold(Signal::MemoryAvailable),
            threshold(Signal::AllocatableMemoryAvailable),
        ],
        ..KubeletConfig::default()
    };
    let spec = NodeSpec {
        cpus: 16,
        kubelet: Some(kubelet),
        kernel: Bytes::mebi(800),
        ..NodeSpec::plain("node", memory)
    };
    World {
        title: format!("{nodes} nodes with 30 pods each"),
        seed,
        duration,
        nodes: (0..nodes)
            .map(|index| NodeSpec {
                name: format!("node-{index}").into(),
                ..spec.clone()
            })
            .collect(),
        pods: pods(),
        faults: Vec::new(),
        policy,
        reschedule: Span::secs(3),
    }
}

/// Thirty pods on every node.
fn pods() -> Vec<PodSpec> {
    let kind = |name: &str, count, base_mebi, load| PodSpec {
        place: Place::Each,
        count,
        spread: Span::secs(HOUR),
        containers: vec![ContainerSpec {
            request: Bytes::mebi(base_mebi),
            base: Bytes::mebi(base_mebi),
            load,
            jitter_permille: 200,
            ..ContainerSpec::plain("app")
        }],
        ..PodSpec::plain(name, Vec::new())
    };
    vec![
        kind("steady", 14, 600, Load::Steady),
        kind(
            "swing",
            6,
            400,
            Load::Periodic {
                size: Bytes::mebi(1500),
                period: Span::secs(6 * HOUR),
            },
        ),
        kind(
            "heap",
            5,
            500,
            Load::Heap {
                step: Bytes::mebi(300),
                interval: Span::secs(HOUR / 2),
                freed_permille: 900,
                plateau: Bytes::mebi(1500),
            },
        ),
        kind(
            "job",
            2,
            200,
            Load::Burst {
                size: Bytes::mebi(2000),
                rise: Span::secs(60),
                hold: Span::secs(HOUR),
                every: Span::secs(24 * HOUR),
            },
        ),
        kind(
            "cache",
            2,
            200,
            Load::Reader {
                file: Bytes::mebi(5000),
                rate: BytesPerSecond(40 << 20),
            },
        ),
        kind(
            "leak",
            1,
            300,
            Load::Leak {
                part: Part::Anon,
                rate: BytesPerSecond(100 << 10),
                total: None,
                delay: Span::secs(HOUR),
            },
        ),
    ]
}
