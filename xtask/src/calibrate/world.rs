//! A run of the lab as a world of the simulator, made from the plan that the guest carried out.
//!
//! The world begins when the culprit does. What it cannot express is refused with the reason, never bent.
use forestall_decide::kubelet::{KubeletConfig, LOOK, Signal, Threshold};
use forestall_decide::{Bytes, Limit, Lru, Moment, Span};
use forestall_lab_init::plan::{Plan, Pod, Service, Work};
use forestall_sim::{ContainerSpec, NodeSpec, Place, PodSpec, World};

use super::doing::{Doing, Scale};
use super::measured::Measured;
use super::parameters::Parameters;

/// The kubelet's own default of `evictionHard`'s `memory.available`, which the lab's stand-in uses.
const EVICTION_HARD: Bytes = Bytes(100 << 20);
/// An agent starts so long after the bystanders, and the calm before the culprit begins after that.
const AGENT_AFTER: Span = Span::millis(1500);
/// What the second container of a pod is called, as the lab calls the first one beside it.
pub(crate) const APP: &str = "app";

/// Of a node with swap there is no world.
pub(crate) const SWAP: &str = "swap in memory (zram), which the simulator leaves out";

/// Why a plan has no world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inexpressible(pub(crate) &'static str);

/// The world of a run.
pub(crate) fn world(run: &Measured, parameters: &Parameters) -> Result<World, Inexpressible> {
    let plan = &run.plan;
    if plan.zram.is_some() {
        return Err(Inexpressible(SWAP));
    }
    if plan.trial.is_some() || plan.reactions.is_some() {
        return Err(Inexpressible("no story of a node"));
    }
    let scale = Scale {
        memory: run.memory_bytes,
        parameters,
        lead: lead(plan),
    };
    let mut pods = Vec::new();
    for pod in &plan.pods {
        pods.push(scale.pod(pod)?);
    }
    if plan.agent.as_ref().is_some_and(|agent| agent.as_pod) && plan.agent_late_millis.is_none() {
        pods.push(scale.agent());
    }
    let mut host = Vec::new();
    for service in &plan.services {
        host.extend(scale.service(service)?);
    }
    let memory = Bytes(run.memory_bytes);
    Ok(World {
        title: plan.scenario.clone(),
        seed: plan.seed,
        duration: Span::millis(plan.deadline_millis),
        nodes: vec![NodeSpec {
            lru: if run.multi_gen {
                Lru::MultiGen
            } else {
                Lru::Classic
            },
            kubelet: Some(kubelet(plan, memory)),
            first_look: Some(first_look(plan)),
            kernel: parameters.own_bytes(&run.kernel),
            agent: false,
            host,
            ..NodeSpec::plain("guest", memory)
        }],
        pods,
        faults: Vec::new(),
        policy: None,
        reschedule: Span::secs(600),
    })
}

/// How long the bystanders are there before the culprit.
fn lead(plan: &Plan) -> Span {
    let agent_first = plan.agent.is_some() && plan.agent_late_millis.is_none();
    let wait = if agent_first { AGENT_AFTER } else { Span(0) };
    Span::millis(plan.calm_millis) + wait
}

/// The stand-in looks every ten seconds from the bystanders' start on.
fn first_look(plan: &Plan) -> Moment {
    let looks = lead(plan).0.div_ceil(LOOK.0).max(1);
    Moment(LOOK.times(looks).0 - lead(plan).0)
}

fn kubelet(plan: &Plan, capacity: Bytes) -> KubeletConfig {
    let limit = plan.kubepods_limit.map(|share| Bytes(share.bytes_of(capacity.0)));
    let hard = Threshold {
        signal: Signal::AllocatableMemoryAvailable,
        value: EVICTION_HARD,
        grace: Span(0),
        min_reclaim: Bytes::ZERO,
    };
    KubeletConfig {
        capacity,
        kube_reserved: limit.map_or(Bytes::ZERO, |limit| capacity - limit),
        system_reserved: Bytes::ZERO,
        enforces_pods: limit.is_some(),
        thresholds: if plan.kubelet_evicts {
            vec![hard]
        } else {
            Vec::new()
        },
        ..KubeletConfig::default()
    }
}

impl Scale<'_> {
    fn pod(&self, pod: &Pod) -> Result<PodSpec, Inexpressible> {
        let doing = self.doing(&pod.work, pod.role)?;
        let limit = pod
            .limit
            .map_or(Limit::Max, |limit| Limit::Bytes(self.bytes(limit)));
        let start = doing.start;
        let mut containers = vec![ContainerSpec {
            request: self.bytes(pod.request),
            limit,
            ..self.container(APP, doing)
        }];
        let mut spec_start = start;
        if let Some(sidecar) = &pod.sidecar {
            let doing = self.doing(&sidecar.work, pod.role)?;
            spec_start = doing.start;
            containers.push(self.container("sidecar", doing));
        }
        // The pause process.
        if let Some(first) = containers.first_mut() {
            first.base += self.parameters.process();
        }
        Ok(PodSpec {
            place: Place::Node(0),
            start: Moment(spec_start.0),
            limit,
            ..PodSpec::plain(&pod.name, containers)
        })
    }

    fn agent(&self) -> PodSpec {
        let container = ContainerSpec {
            base: self.parameters.agent(),
            request: Bytes(1),
            limit: Limit::Bytes(Bytes(1 << 30)),
            ..ContainerSpec::plain("agent")
        };
        PodSpec {
            place: Place::Node(0),
            // The kubelet's score of a node-critical pod.
            priority: 2_000_001_000,
            ..PodSpec::plain("forestall", vec![container])
        }
    }

    fn container(&self, name: &str, doing: Doing) -> ContainerSpec {
        ContainerSpec {
            base: doing.base + self.parameters.process(),
            load: doing.load,
            volume: doing.volume,
            largest_process: doing.largest_process,
            ..ContainerSpec::plain(name)
        }
    }

    /// A crew is as many processes of the host; what starts later than the world does so by its load's delay.
    fn service(&self, service: &Service) -> Result<Vec<ContainerSpec>, Inexpressible> {
        let works = match &service.work {
            Work::Crew { works } => works.as_slice(),
            one => core::slice::from_ref(one),
        };
        works
            .iter()
            .map(|work| {
                let doing = self.doing(work, service.role)?;
                Ok(ContainerSpec {
                    oom_score_adj: service.oom_score_adj,
                    restarts: false,
                    ..self.container(&service.name, doing)
                })
            })
            .collect()
    }
}
