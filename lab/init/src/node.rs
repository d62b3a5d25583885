//! The guest as a node: its cgroups, its pods, its daemons, and the agent as it is shipped.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use forestall_lab_init::plan::{Agent, Class, Plan, Pod, Role, Service, Share, Work};
use forestall_lab_init::report::Speaker;
use forestall_lab_init::rights::Rights;

use crate::cgroup::Tree;
use crate::kubelet::{PodView, View};
use crate::launch::{self, Place};
use crate::reporter::Reporter;
use crate::resident::Resident;

/// The kubelet's own default of `evictionHard`'s `memory.available`, which the stand-in uses too.
const EVICTION_HARD_BYTES: u64 = 100 << 20;
/// What the shipped manifests give the agent.
const AGENT_LIMIT_BYTES: u64 = 64 << 20;
/// `oom_score_adj` of guaranteed and node-critical pods (the kubelet's `guaranteedOOMScoreAdj`).
const GUARANTEED_SCORE: i32 = -997;
/// `oom_score_adj` of pause containers (the container runtime's).
const PAUSE_SCORE: i32 = -998;

/// The guest while it runs a plan.
pub(crate) struct Node {
    pub(crate) plan: Plan,
    pub(crate) tree: Tree,
    pub(crate) memory_bytes: u64,
    pub(crate) residents: Vec<Resident>,
    pub(crate) reporter: Reporter,
    /// The agent's process, while it runs.
    pub(crate) agent: Option<i32>,
}

impl Node {
    /// Makes the tree and its limit.
    pub(crate) fn shape(plan: Plan, memory_bytes: u64, reporter: Reporter) -> Result<Self> {
        let tree = Tree::new(plan.naming, plan.hierarchy);
        if !plan.plain {
            tree.make(&tree.kubepods())?;
        }
        if let Some(share) = plan.kubepods_limit {
            tree.limit(&tree.kubepods(), share.bytes_of(memory_bytes))?;
        }
        for daemon in ["containerd", "kubelet"] {
            tree.make(&tree.service(daemon))?;
        }
        Ok(Self {
            plan,
            tree,
            memory_bytes,
            residents: Vec::new(),
            reporter,
            agent: None,
        })
    }

    /// The limit that `kubepods` has, bytes.
    pub(crate) fn kubepods_limit_bytes(&self) -> Option<u64> {
        self.plan
            .kubepods_limit
            .map(|share| share.bytes_of(self.memory_bytes))
    }

    /// Starts the pods and services of a role.
    pub(crate) fn start(&mut self, role: Role) -> Result<()> {
        for pod in self.plan.pods.clone().iter().filter(|pod| pod.role == role) {
            self.start_pod(pod)?;
        }
        for service in self
            .plan
            .services
            .clone()
            .iter()
            .filter(|service| service.role == role)
        {
            self.start_service(service)?;
        }
        Ok(())
    }

    /// Starts one pod.
    pub(crate) fn start_pod(&mut self, pod: &Pod) -> Result<()> {
        let score = self.score(pod.class, pod.request);
        // The verdict does not look at a culprit's pause process: whoever ends the pod ends it too.
        let pause_role = (pod.role == Role::Innocent).then_some(Role::Innocent);
        let pause = self.container(pod, &pod.pause, None, PAUSE_SCORE)?;
        let words = launch::worker("pause", &Work::Pause)?;
        self.spawn(format!("{}/pause", pod.name), pause_role, &pause, &words, false)?;

        if let Some(limit) = pod.limit {
            self.tree
                .limit(&self.tree.pod(pod), limit.bytes_of(self.memory_bytes))?;
        }
        let mut place = self.container(pod, &pod.container, pod.limit, score)?;
        if pod.nested {
            place.cgroup.push("inner");
            self.tree.make(&place.cgroup)?;
        }
        let words = launch::worker(&pod.name, &pod.work)?;
        let Some(sidecar) = &pod.sidecar else {
            return self.spawn(
                pod.name.clone(),
                Some(pod.role),
                &place,
                &words,
                pod.pid_namespace,
            );
        };
        let app = format!("{}/app", pod.name);
        self.spawn(app, Some(Role::Innocent), &place, &words, pod.pid_namespace)?;
        let place = self.container(pod, &sidecar.container, None, score)?;
        let words = launch::worker(&pod.name, &sidecar.work)?;
        self.spawn(
            pod.name.clone(),
            Some(pod.role),
            &place,
            &words,
            pod.pid_namespace,
        )
    }

    /// Makes a container's cgroup.
    fn container(&self, pod: &Pod, id: &str, limit: Option<Share>, oom_score_adj: i32) -> Result<Place> {
        let cgroup = self.tree.container(pod, id);
        self.tree.make(&cgroup)?;
        self.tree.kill_as_one(&cgroup)?;
        if self.plan.swap_forbidden {
            self.tree.forbid_swap(&cgroup)?;
        }
        if let Some(limit) = limit {
            self.tree.limit(&cgroup, limit.bytes_of(self.memory_bytes))?;
        }
        Ok(Place {
            cgroup,
            oom_score_adj,
            rights: Rights::Full,
        })
    }

    fn start_service(&mut self, service: &Service) -> Result<()> {
        let words = launch::worker(&service.name, &service.work)?;
        let cgroup = if service.in_root {
            self.tree.root().to_owned()
        } else if let Some(id) = &service.container {
            self.tree.docker(id)
        } else {
            self.tree.service(&service.name)
        };
        self.tree.make(&cgroup)?;
        let place = Place {
            cgroup,
            oom_score_adj: service.oom_score_adj,
            rights: Rights::Full,
        };
        self.spawn(service.name.clone(), Some(service.role), &place, &words, false)?;
        // The one that waits for a crew ends as the last of it did, as a shim does.
        if let (Work::Crew { .. }, Some(resident)) = (&service.work, self.residents.last_mut()) {
            resident.shimmed = true;
        }
        Ok(())
    }

    fn spawn(
        &mut self,
        name: String,
        role: Option<Role>,
        place: &Place,
        words: &[String],
        pid_namespace: bool,
    ) -> Result<()> {
        let mut command = if pid_namespace {
            launch::contained(&self.daemon("containerd"), place, words)?
        } else {
            launch::placed(place, words)?
        };
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let cgroup = (place.cgroup != self.tree.root()).then(|| place.cgroup.clone());
        self.residents.push(Resident {
            name,
            role,
            cgroup,
            pid: pid_of(&child)?,
            shimmed: pid_namespace,
        });
        Ok(())
    }

    fn daemon(&self, name: &str) -> Place {
        Place {
            cgroup: self.tree.service(name),
            oom_score_adj: -999,
            rights: Rights::Full,
        }
    }

    /// Starts the stand-in for the kubelet. Where the plan has it evict nobody it still is there, as on every node.
    pub(crate) fn start_kubelet(&mut self) -> Result<()> {
        let pods = self.plan.pods.iter().map(|pod| PodView {
            name: pod.name.clone(),
            cgroup: self.tree.pod(pod),
            request_bytes: pod.request.bytes_of(self.memory_bytes),
            critical: false,
        });
        let view = View {
            naming: self.plan.naming,
            hierarchy: self.plan.hierarchy,
            limit_bytes: self.kubepods_limit_bytes().unwrap_or(u64::MAX),
            threshold_bytes: if self.plan.kubelet_evicts {
                EVICTION_HARD_BYTES
            } else {
                0
            },
            pods: pods.collect(),
        };
        let words = [
            launch::named("kubelet")?,
            "kubelet".into(),
            serde_json::to_string(&view)?,
        ];
        let mut command = launch::placed(&self.daemon("kubelet"), &words)?;
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the kubelet's stand-in")?;
        pass_on(child.stdout.take(), Speaker::Kubelet, &self.reporter);
        self.residents.push(Resident {
            name: "kubelet".into(),
            role: Some(Role::Innocent),
            cgroup: Some(self.tree.service("kubelet")),
            pid: pid_of(&child)?,
            shimmed: false,
        });
        Ok(())
    }

    /// Starts the agent as it is shipped: as a pod of a `DaemonSet`, or as a service.
    pub(crate) fn start_agent(&mut self, agent: &Agent) -> Result<()> {
        let cgroup = if agent.as_pod {
            let pod = agent_pod();
            let cgroup = self.tree.container(&pod, &pod.container);
            self.tree.make(&cgroup)?;
            self.tree.kill_as_one(&cgroup)?;
            self.tree.limit(&self.tree.pod(&pod), AGENT_LIMIT_BYTES)?;
            self.tree.limit(&cgroup, AGENT_LIMIT_BYTES)?;
            cgroup
        } else {
            let cgroup = self.tree.service("forestall");
            self.tree.make(&cgroup)?;
            cgroup
        };
        for directory in ["/var/lib/forestall", "/run/forestall"] {
            std::fs::create_dir_all(directory).with_context(|| format!("making {directory}"))?;
        }
        let place = Place {
            cgroup,
            oom_score_adj: GUARANTEED_SCORE,
            rights: if agent.full_caps {
                Rights::Full
            } else {
                Rights::Shipped
            },
        };
        let words: Vec<String> = std::iter::once("/bin/forestall".to_owned())
            .chain(agent.args.clone())
            .collect();
        let mut command = launch::placed(&place, &words)?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the agent")?;
        pass_on(child.stdout.take(), Speaker::Agent, &self.reporter);
        pass_on(child.stderr.take(), Speaker::Agent, &self.reporter);
        self.agent = Some(pid_of(&child)?);
        Ok(())
    }

    /// `oom_score_adj` as the kubelet computes it (its `qos.GetContainerOOMScoreAdjust`).
    fn score(&self, class: Class, request: Share) -> i32 {
        score(class, request.bytes_of(self.memory_bytes), self.memory_bytes)
    }

    /// What a runtime does with the cgroup of a container that has ended.
    pub(crate) fn clear(cgroup: &Path) {
        // A cgroup that still holds a process stays; nothing depends on its being gone.
        let _ = std::fs::remove_dir(cgroup);
    }
}

fn score(class: Class, request_bytes: u64, memory_bytes: u64) -> i32 {
    match class {
        Class::Guaranteed => GUARANTEED_SCORE,
        Class::BestEffort => 1000,
        Class::Burstable => {
            let requested = i32::try_from(1000 * request_bytes / memory_bytes.max(1)).unwrap_or(1000);
            (1000 - requested).clamp(1000 + GUARANTEED_SCORE, 999)
        }
    }
}

/// The agent's own pod, which no plan describes: it is not part of the story.
fn agent_pod() -> Pod {
    Pod {
        name: "forestall".into(),
        uid: "f0e57a11-0000-4000-8000-000000000001".into(),
        class: Class::Burstable,
        role: Role::Innocent,
        request: Share(0),
        limit: None,
        container: "f0e57a11".repeat(8),
        pause: "f0e57a12".repeat(8),
        pid_namespace: false,
        work: Work::Pause,
        nested: false,
        sidecar: None,
    }
}

fn pid_of(child: &std::process::Child) -> Result<i32> {
    i32::try_from(child.id()).context("a process number")
}

/// Reads lines on a thread of its own and passes them on.
fn pass_on(from: Option<impl std::io::Read + Send + 'static>, by: Speaker, reporter: &Reporter) {
    let Some(from) = from else { return };
    let reporter = reporter.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            reporter.said(by, String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
}

/// Where the agent's binary is.
pub(crate) fn agent_binary() -> PathBuf {
    PathBuf::from("/bin/forestall")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Hand arithmetic after the kubelet's policy: 1000 − 1000 × request ÷ capacity, kept within 3 and 999.
    #[test]
    fn a_burstable_pods_score_falls_with_its_request() {
        assert_eq!(score(Class::Burstable, 0, 1000), 999);
        assert_eq!(score(Class::Burstable, 250, 1000), 750);
        assert_eq!(score(Class::Burstable, 1000, 1000), 3);
        assert_eq!(score(Class::BestEffort, 0, 1000), 1000);
        assert_eq!(score(Class::Guaranteed, 0, 1000), -997);
    }
}
