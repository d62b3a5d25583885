//! What an agent is told by Kubernetes: its node's pods and the cluster, at each change and now and then in between.
//!
//! It refuses to be up to date: a change is told a moment later, and nothing at all while the API server is away.

use forestall_decide::{
    Asks, Bytes, Cluster, Elsewhere, Input, Moment, Origin, Pod, PodContainer, PodUid, Pods, Span, Standing,
    weigh,
};

use crate::cast::{self, State};
use crate::memory::Part;
use crate::node::{HOST, Node};

/// The watch's own delay.
const DELAY: Span = Span::millis(200);
/// A token of the cluster's budget comes back after this.
const TOKEN_BACK: Span = Span::secs(60);
/// Where nothing changes it is said so this often.
const HEARTBEAT: Span = Span::secs(30);

impl Node {
    /// Something changed that the agent will be told.
    pub(crate) fn tell_soon(&mut self, now: Moment) {
        if let Some(agent) = &mut self.agent {
            agent.tell_at = agent.tell_at.min(now + DELAY);
        }
    }

    /// How many evictions the cluster's budget still grants this node.
    pub(crate) fn tokens_left(&self, now: Moment) -> Option<u32> {
        let is_out = |taken: &&Moment| now.since(**taken) <= TOKEN_BACK;
        let out = self.tokens_taken.iter().filter(is_out).count();
        let granted = self.spec.eviction_tokens?;
        Some(granted.saturating_sub(u32::try_from(out).unwrap_or(u32::MAX)))
    }

    /// Takes a token, if there is a budget, and says how many there were. Where there was none the eviction goes on without.
    pub(crate) fn take_token(&mut self, now: Moment) -> Option<u32> {
        let left = self.tokens_left(now)?;
        self.tokens_taken.retain(|taken| now.since(*taken) <= TOKEN_BACK);
        self.tokens_taken.push(now);
        Some(left)
    }

    /// The agent is told.
    pub(crate) fn tell(&mut self, now: Moment) {
        let Some(mut agent) = self.agent.take() else {
            return;
        };
        agent.tell_at = now + HEARTBEAT;
        let clock = agent.clock(now);
        let mut pods = core::mem::take(&mut agent.pods);
        if self.faults.api_away == 0 {
            self.fill_pods(&mut pods, now, clock);
            self.told_at = Some(now);
            self.told_elsewhere = self.elsewhere;
            self.told_tokens = self.tokens_left(now);
        } else {
            pods.cluster.api = false;
        }
        if self.faults.agent_away == 0 {
            agent.hear(clock, Input::Pods(&pods));
        }
        agent.pods = pods;
        self.agent = Some(agent);
    }

    fn fill_pods(&self, pods: &mut Pods, now: Moment, clock: Moment) {
        pods.told_at = clock;
        pods.kubelet_evictions = self.kubelet_evictions;
        pods.cluster = Cluster {
            api: true,
            eviction_tokens: self.tokens_left(now),
            elsewhere: self.elsewhere,
        };
        pods.list.clear();
        let told = self.pods.iter().skip(HOST + 1).map(|pod| Pod {
            uid: PodUid(u128::from(pod.id)),
            group: Some(pod.group),
            namespace: pod.spec.namespace.clone(),
            name: pod.name.clone(),
            qos: pod.qos,
            labels: pod.spec.labels.clone(),
            priority: pod.spec.priority,
            priority_class: pod.spec.priority_class.clone(),
            request: pod.request,
            owner: pod.spec.owner,
            origin: if pod.spec.is_static {
                Origin::Static
            } else {
                Origin::Api
            },
            grace: pod.spec.grace,
            terminating_since: pod
                .terminating
                .map(|since| Moment(clock.0.saturating_sub(now.since(since).0))),
            memory_volumes: pod
                .containers
                .iter()
                .filter(|container| container.volume)
                .map(|container| container.memory.bytes(Part::Shmem, now))
                .sum(),
            asks: asks(pod),
            containers: pod
                .containers
                .iter()
                .filter(|container| container.state == State::Running)
                .map(|container| PodContainer {
                    group: container.id,
                    request: Bytes::ZERO,
                    limit: container.limit,
                    restarts: container.restarted,
                })
                .collect(),
            ..Pod::default()
        });
        let preferred = self.pods.iter().skip(HOST + 1).map(|pod| pod.spec.preferred);
        pods.list
            .extend(told.zip(preferred).map(|(pod, preferred)| stand(pod, preferred)));
        pods.list.sort_by_key(|pod| pod.uid);
    }
}

/// What a pod's annotations would say.
fn asks(pod: &cast::Pod) -> Asks {
    let spec = &pod.spec;
    Asks {
        opted_out: spec.opted_out,
        final_eviction: spec.final_eviction,
        warning: spec.warning,
        growth: spec.grow_max,
        preference: spec.preference,
    }
}

/// Its own annotations and what the operator prefers, together.
fn stand(pod: Pod, preferred: Standing) -> Pod {
    let own = weigh(&pod, &[]);
    let standing = Standing {
        vetoed: own.vetoed || preferred.vetoed,
        weight: own.weight.saturating_add(preferred.weight),
    };
    Pod { standing, ..pod }
}

/// What a node is told of all others: room for so much, or nowhere to go.
pub(crate) fn elsewhere(room: Bytes) -> Elsewhere {
    if room == Bytes::ZERO {
        Elsewhere::Nowhere
    } else {
        Elsewhere::Room(room)
    }
}
