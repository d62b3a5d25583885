//! A control plane on the loopback: etcd, API server, controller manager and scheduler, with certificates and with the authorizers that
//! a managed cluster has.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::child::{self, Halt, Running};
use crate::kubectl::Kubectl;
use crate::parts::Parts;
use crate::pki::{Pki, SERVICE};
use crate::wait::wait_for;

const ETCD: &str = "http://127.0.0.1:2379";

/// The running control plane.
#[derive(Debug)]
pub(crate) struct Plane {
    // Ended in this order: who asks before who answers.
    scheduler: Running,
    controllers: Running,
    /// None between two.
    server: Option<Running>,
    impersonation: bool,
    etcd: Running,
    audit: PathBuf,
}

impl Plane {
    /// Starts it, and waits until pods can be made.
    pub(crate) fn start(parts: &Parts, pki: &Pki, data: &Path, kubectl: &Kubectl) -> Result<Self> {
        let mut etcd = start(parts, "etcd", &etcd(data))?;
        let impersonation = true;
        let server = start_server(impersonation, parts, pki, kubectl, &mut etcd)?;
        let as_client = |name: &str, words: &[&str]| {
            let own = pki.path(&format!("{name}.kubeconfig")).display().to_string();
            let kubeconfigs = [
                "kubeconfig",
                "authentication-kubeconfig",
                "authorization-kubeconfig",
            ];
            let mut all: Vec<String> = kubeconfigs.iter().map(|flag| format!("--{flag}={own}")).collect();
            all.extend(["--bind-address=127.0.0.1", "--leader-elect=false"].map(str::to_owned));
            all.extend(words.iter().map(|word| (*word).to_owned()));
            all
        };
        let key = format!(
            "--service-account-private-key-file={}",
            display(pki, "accounts.key")
        );
        let root = format!("--root-ca-file={}", display(pki, "ca.crt"));
        // By default the first service account takes some ten seconds.
        let words = [
            &*key,
            &*root,
            "--use-service-account-credentials",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ];
        let controllers = as_client("controller-manager", &words);
        let mut controllers = start(parts, "kube-controller-manager", &controllers)?;
        let mut scheduler = start(parts, "kube-scheduler", &as_client("scheduler", &[]))?;
        wait_for("the first service account", || {
            controllers.check()?;
            scheduler.check()?;
            Ok(kubectl.run(&["get", "serviceaccount", "default"]).is_ok())
        })?;
        Ok(Self {
            scheduler,
            controllers,
            server: Some(server),
            impersonation,
            etcd,
            audit: parts.logs.join(AUDIT_LOG),
        })
    }

    /// Has the API server know constrained impersonation or not: another one takes its place where this one does not. Everybody else goes on, and
    /// finds the new one.
    pub(crate) fn serve(
        &mut self,
        impersonation: bool,
        parts: &Parts,
        pki: &Pki,
        kubectl: &Kubectl,
    ) -> Result<()> {
        if self.server.is_some() && self.impersonation == impersonation {
            return Ok(());
        }
        self.server = None;
        self.server = Some(start_server(impersonation, parts, pki, kubectl, &mut self.etcd)?);
        self.impersonation = impersonation;
        Ok(())
    }

    /// Has the API server stand still, with its connections open, for as long as the value lives.
    pub(crate) fn halt_server(&self) -> Result<Halt<'_>> {
        self.server.as_ref().context("an API server")?.halt()
    }

    /// What the agent's account has asked for, by the server's own word: an `Event` of `audit.k8s.io/v1` for each answer, in order.
    pub(crate) fn asked_by_agent(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(&self.audit).with_context(|| self.audit.display().to_string())?;
        // The last line may be on its way.
        let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let lines = whole.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().context("the audit log")
    }

    /// An error where a part of it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let parts = [&mut self.etcd, &mut self.controllers, &mut self.scheduler];
        let parts = parts.into_iter().chain(&mut self.server);
        parts.into_iter().try_for_each(Running::check)
    }
}

fn start_server(
    impersonation: bool,
    parts: &Parts,
    pki: &Pki,
    kubectl: &Kubectl,
    etcd: &mut Running,
) -> Result<Running> {
    fs::write(parts.logs.join(AUDIT_POLICY), audit_policy().to_string())?;
    let mut server = start(parts, "kube-apiserver", &server(parts, pki, impersonation))?;
    wait_for("the API server", || {
        etcd.check()?;
        server.check()?;
        Ok(kubectl.run(&["get", "--raw", "/readyz"]).is_ok())
    })?;
    Ok(server)
}

fn start(parts: &Parts, name: &str, words: &[String]) -> Result<Running> {
    let mut command = child::command(&parts.program(name)?);
    Running::start(name, command.args(words), &parts.logs)
}

fn display(pki: &Pki, name: &str) -> String {
    pki.path(name).display().to_string()
}

fn etcd(data: &Path) -> Vec<String> {
    let peers = "http://127.0.0.1:2380";
    let data = data.join("etcd");
    // What a test keeps is worth no wait for the disk.
    let flags = [
        ("data-dir", data.display().to_string()),
        ("listen-client-urls", ETCD.to_owned()),
        ("advertise-client-urls", ETCD.to_owned()),
        ("listen-peer-urls", peers.to_owned()),
        ("initial-advertise-peer-urls", peers.to_owned()),
        ("initial-cluster", format!("default={peers}")),
        ("unsafe-no-fsync", "true".to_owned()),
    ];
    flags.map(|(flag, value)| format!("--{flag}={value}")).to_vec()
}

/// What the agent's account asks for is written down, one line each when it is answered; whom it is impersonating does not matter (k8s.io/apiserver
/// `pkg/audit/policy/checker.go` looks at who is authenticated).
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "Metadata", "users": ["system:serviceaccount:forestall:forestall"]},
            {"level": "None"},
        ],
    })
}

const AUDIT_POLICY: &str = "audit.yaml";
/// Where that is written, beside the logs.
const AUDIT_LOG: &str = "audit.log";

fn server(parts: &Parts, pki: &Pki, impersonation: bool) -> Vec<String> {
    let beside = |name: &str| parts.logs.join(name).display().to_string();
    let file = |name: &str| display(pki, name);
    let flags = [
        ("etcd-servers", ETCD.to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("secure-port", "6443".to_owned()),
        ("advertise-address", "127.0.0.1".to_owned()),
        // The address of the service is not the loopback's: nodes have it by themselves.
        ("endpoint-reconciler-type", "none".to_owned()),
        (
            "service-cluster-ip-range",
            format!("{}/16", SERVICE.replace(".0.1", ".0.0")),
        ),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
        ("client-ca-file", file("ca.crt")),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        (
            "service-account-issuer",
            "https://kubernetes.default.svc".to_owned(),
        ),
        ("service-account-key-file", file("accounts.pub")),
        ("service-account-signing-key-file", file("accounts.key")),
        (
            "feature-gates",
            format!("ConstrainedImpersonation={impersonation}"),
        ),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("kubelet-certificate-authority", file("ca.crt")),
        ("kubelet-client-certificate", file("kubelet-client.crt")),
        ("kubelet-client-key", file("kubelet-client.key")),
        ("audit-policy-file", beside(AUDIT_POLICY)),
        ("audit-log-path", beside(AUDIT_LOG)),
    ];
    flags.map(|(flag, value)| format!("--{flag}={value}")).to_vec()
}
