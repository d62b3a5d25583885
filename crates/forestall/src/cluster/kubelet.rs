//! What this node's kubelet says of itself over HTTPS: what it runs with (`/configz`), and how much memory it believes to be available (`/stats/summary`).
//!
//! Asked once a minute, on a connection for each time, with the ServiceAccount's own token: a kubelet knows nobody by impersonation. Its certificate has to be
//! signed by the cluster's authority (`serverTLSBootstrap: true`); one that signed its own is not believed, and its files are read instead.
//! It refuses to ask through the API server, which would take `nodes/proxy`.
//!
//! Source: k/k `pkg/kubelet/server/server.go`, `auth.go` (KEP-2862); `k8s.io/kubelet/pkg/apis/stats/v1alpha1/types.go`.

use std::convert::Infallible;
use std::time::Duration;

use forestall_decide::Bytes;
use serde::Deserialize;
use tokio::time::sleep;

use super::access::Access;
use super::error::Trouble;
use super::follow;
use super::link::{Ask, Link, Protocol};

/// Between two times that it is asked.
const ASKED_APART: Duration = Duration::from_mins(1);

/// What the kubelet believes to be available (k/k `pkg/kubelet/eviction/helpers.go`, `makeSignalObservations`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Believed {
    /// `memory.available`.
    pub(crate) node: Option<Bytes>,
    /// `allocatableMemory.available`: of the cgroup of all pods.
    pub(crate) pods: Option<Bytes>,
}

/// Who hears of it.
pub(crate) trait KubeletAudience {
    /// What it runs with, as `/configz` has it.
    fn runs_with(&mut self, configz: String);
    /// What it believes.
    fn believes(&mut self, believed: Believed);
    /// It does not say.
    fn is_silent(&mut self, why: &Trouble);
}

/// Asks it from now on; never comes to an end by itself.
pub(crate) async fn ask_kubelet(access: Access, mut audience: impl KubeletAudience) -> Infallible {
    loop {
        let asked = async {
            let link = Link::connect_by(&access, Protocol::Http1).await?;
            ask_over(&link, &mut audience).await
        };
        if let Err(why) = asked.await {
            audience.is_silent(&why);
        }
        sleep(ASKED_APART).await;
    }
}

pub(super) async fn ask_over(link: &Link, audience: &mut impl KubeletAudience) -> Result<(), Trouble> {
    let configz = link.ask(Ask::get("/configz")).await?;
    audience.runs_with(String::from_utf8_lossy(&configz).into_owned());
    let summary: Summary = follow::read(
        &link
            .ask(Ask::get("/stats/summary?only_cpu_and_memory=true"))
            .await?,
    )?;
    audience.believes(summary.believed());
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    node: NodeStats,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeStats {
    memory: Memory,
    system_containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    memory: Memory,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Memory {
    available_bytes: Option<u64>,
}

impl Summary {
    fn believed(&self) -> Believed {
        let mut containers = self.node.system_containers.iter();
        Believed {
            node: self.node.memory.available_bytes.map(Bytes),
            pods: containers
                .find(|container| container.name == "pods")
                .and_then(|pods| pods.memory.available_bytes)
                .map(Bytes),
        }
    }
}
