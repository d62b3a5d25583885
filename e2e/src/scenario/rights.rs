//! What the agent's account may do in the cluster by the manifests that are handed out, tried with a token such as its pod has: what must not
//! work is refused. The rows of both tables are the promises of `deploy/README.md`.

mod figures;
mod status;
pub(super) mod taint;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::status::{condition, settle, status};
use crate::caller::{Caller, Request};
use crate::cluster::WORK_IMAGE;
use crate::kubectl::Kubectl;
use crate::node::Node;
use crate::pod::{Pod, State};

/// As whom the agent speaks where it may: the node of every scenario.
const OWN: Option<&str> = Some("system:node:n1");
/// A node without a machine, and whom the agent has no business to be.
const FAR: Option<&str> = Some("system:node:n9");
const NOBODY: Option<&str> = None;

/// A `SelfSubjectAccessReview`'s verdict.
const MAY: &str = "\"allowed\":true";
const MAY_NOT: &str = "\"allowed\":false";

/// What is tried, and what has to be answered: a code, and words.
type Row = (&'static str, Request, u16, &'static str);

/// From 1.36 on: nothing by itself, and as its own node what that node may do to itself and its pods.
pub(super) fn as_node(kubectl: &Kubectl, _node: &Node) -> Result<()> {
    let rows = |caller: &Caller, stranger: &Caller| {
        let own = [
            ("list the own node's pods", list(OWN, "n1"), 200, "near"),
            ("list all pods", get(OWN, "/api/v1/pods"), 403, ""),
            ("list another node's pods", list(OWN, "n9"), 403, ""),
            (
                "evict a pod of the own node (dry run)",
                evict(OWN, "near", true),
                201,
                "",
            ),
            (
                "evict a pod of another node",
                evict(OWN, "far", false),
                403,
                "spec.nodeName set to itself",
            ),
            ("evict it as that other node", evict(FAR, "far", false), 403, ""),
            (
                "delete a pod of the own node",
                request("DELETE", pod_path("near"), OWN),
                403,
                "",
            ),
            ("a condition of another node", condition(OWN, "n9"), 403, ""),
            (
                "a taint of the own node",
                patch(OWN, "/api/v1/nodes/n1", &json!({"spec": {"taints": []}})),
                403,
                "",
            ),
            ("read the own node", get(OWN, "/api/v1/nodes/n1"), 200, ""),
            ("read another node", get(OWN, "/api/v1/nodes/n9"), 403, ""),
            (
                "secrets",
                get(OWN, "/api/v1/namespaces/forestall/secrets"),
                403,
                "",
            ),
            ("a token for somebody", token_request(OWN), 403, ""),
            ("an event about the own node", event(OWN, "default"), 201, ""),
            (
                "OPEN: an event in any namespace",
                event(OWN, "kube-system"),
                201,
                "",
            ),
            ("list pods without impersonation", list(NOBODY, "n1"), 403, ""),
            (
                "evict without impersonation",
                evict(NOBODY, "near", true),
                403,
                "",
            ),
            (
                "a condition without impersonation",
                condition(NOBODY, "n1"),
                403,
                "",
            ),
            ("be an administrator", list(Some("admin"), "n1"), 403, ""),
            taint::without(),
        ];
        let mut failed = try_all("as system:node:n1", caller, &own)?;
        failed.extend(try_all("", caller, &status(OWN))?);
        failed.extend(try_all("", caller, &kubelets())?);
        failed.extend(try_all("by its own right", caller, &figures::figures())?);
        // The policy goes by what the server knows of who asks, and the kubelet asks by the same name.
        let kubelet = Caller::kubelet(kubectl, "n1")?;
        failed.extend(try_all("the kubelet itself", &kubelet, &status::of_kubelet())?);
        let unbound = [
            ("list the own node's pods", list(OWN, "n1"), 403, ""),
            ("evict a pod of the own node", evict(OWN, "near", true), 403, ""),
            figures::unbound(),
        ];
        failed.extend(try_all("with a token of no pod", stranger, &unbound)?);
        let last = [("evict a pod of the own node", evict(OWN, "near", false), 201, "")];
        failed.extend(try_all("as system:node:n1", caller, &last)?);
        Ok(failed)
    };
    let in_force = |caller: &Caller| {
        settle(kubectl, caller, OWN)?;
        figures::settle(caller)
    };
    on_stage(kubectl, "act", in_force, rows)?;
    // Who goes back to reading loses what only acting had.
    let rows = |caller: &Caller, _: &Caller| {
        let own = [
            ("list the own node's pods", list(OWN, "n1"), 200, "near"),
            ("evict a pod of the own node", evict(OWN, "near", true), 403, ""),
        ];
        let mut failed = try_all("profile read, as system:node:n1", caller, &own)?;
        failed.extend(try_all("", caller, &status(OWN))?);
        failed.extend(try_all("by its own right", caller, &figures::figures())?);
        Ok(failed)
    };
    on_stage(kubectl, "read", in_force, rows)?;
    let tried = on_stage(
        kubectl,
        "act",
        |caller| {
            taint::component(kubectl, &["apply"])?;
            taint::settle(caller)
        },
        |caller, _| try_all("component taint, by its own right", caller, &taint::with()),
    );
    tried.and(taint::component(kubectl, &["delete", "--ignore-not-found"]))
}

/// Before: its own rights, and a policy that confines them where an object names a node. What no policy can confine is shown as it is.
pub(super) fn own(kubectl: &Kubectl, _node: &Node) -> Result<()> {
    let rows = |caller: &Caller, stranger: &Caller| {
        let own = [
            ("list the own node's pods", list(NOBODY, "n1"), 200, "near"),
            (
                "evict a pod of the own node (dry run)",
                evict(NOBODY, "near", true),
                201,
                "",
            ),
            (
                "a condition of another node",
                condition(NOBODY, "n9"),
                403,
                "bound to another node",
            ),
            (
                "a taint of the own node",
                patch(NOBODY, "/api/v1/nodes/n1", &json!({"spec": {"taints": []}})),
                403,
                "",
            ),
            (
                "delete a pod of the own node",
                request("DELETE", pod_path("near"), NOBODY),
                403,
                "",
            ),
            (
                "secrets",
                get(NOBODY, "/api/v1/namespaces/forestall/secrets"),
                403,
                "",
            ),
            ("a token for somebody", token_request(NOBODY), 403, ""),
            ("be the own node", list(OWN, "n1"), 403, ""),
            (
                "OPEN: an event in any namespace",
                event(NOBODY, "kube-system"),
                201,
                "",
            ),
            (
                "OPEN: read another node",
                get(NOBODY, "/api/v1/nodes/n9"),
                200,
                "n9",
            ),
            ("OPEN: list all pods", get(NOBODY, "/api/v1/pods"), 200, "far"),
            (
                "OPEN: evict a pod of another node (dry run)",
                evict(NOBODY, "far", true),
                201,
                "",
            ),
        ];
        let mut failed = try_all("by its own right", caller, &own)?;
        failed.extend(try_all("", caller, &status(NOBODY))?);
        failed.extend(try_all("", caller, &kubelets())?);
        failed.extend(try_all("", caller, &figures::figures())?);
        let unbound = [
            (
                "evict a pod",
                evict(NOBODY, "near", true),
                403,
                "bound to no node",
            ),
            (
                "a condition of a node",
                condition(NOBODY, "n1"),
                403,
                "or to none",
            ),
            figures::unbound(),
        ];
        failed.extend(try_all("with a token of no pod", stranger, &unbound)?);
        Ok(failed)
    };
    let in_force = |caller: &Caller| {
        settle(kubectl, caller, NOBODY)?;
        figures::settle(caller)
    };
    on_stage(kubectl, "act-before-1.36", in_force, rows)
}

/// What the kubelet is to answer is asked of it, and it asks the API server who may: about its figures, and never for all that it can do.
fn kubelets() -> [Row; 6] {
    let may = |part: &str, node: &str| {
        let attributes = json!({"verb": "get", "resource": "nodes", "subresource": part, "name": node});
        Request {
            body: json!({
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }),
            ..request(
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
                NOBODY,
            )
        }
    };
    [
        ("nodes/configz: may", may("configz", "n1"), 201, MAY),
        ("nodes/stats: may", may("stats", "n1"), 201, MAY),
        ("nodes/proxy: may not", may("proxy", "n1"), 201, MAY_NOT),
        (
            "nodes/proxy of another node: may not",
            may("proxy", "n9"),
            201,
            MAY_NOT,
        ),
        (
            "OPEN: nodes/configz of another node",
            may("configz", "n9"),
            201,
            MAY,
        ),
        ("OPEN: nodes/stats of another node", may("stats", "n9"), 201, MAY),
    ]
}

/// Tries each; those that were answered otherwise.
fn try_all(how: &str, caller: &Caller, rows: &[Row]) -> Result<Vec<String>> {
    if !how.is_empty() {
        eprintln!("e2e:   {how}:");
    }
    let mut failed = Vec::new();
    for (what, request, code, words) in rows {
        let answer = caller.ask(request)?;
        eprintln!("e2e:     {}  {what}", answer.code);
        if answer.code != *code || !answer.text.contains(words) {
            failed.push(format!(
                "{how}: {what}: {code} {words:?} was to be answered, and {} was: {}",
                answer.code, answer.text
            ));
        }
    }
    Ok(failed)
}

/// Sets everything up, waits until it is in force, tries, and takes all of it away whatever came of it.
fn on_stage(
    kubectl: &Kubectl,
    profile: &str,
    settle: impl FnOnce(&Caller) -> Result<()>,
    rows: impl FnOnce(&Caller, &Caller) -> Result<Vec<String>>,
) -> Result<()> {
    let tried = set_up(kubectl, profile).and_then(|[caller, stranger]| {
        settle(&caller)?;
        rows(&caller, &stranger)
    });
    let cleared = clear(kubectl, profile);
    let failed = tried?;
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    cleared
}

/// The profile; a second node that is no more than an object, with a pod; a pod on the own node; and whoever has a token of the agent's
/// account, bound to a pod of the own node, and not bound.
fn set_up(kubectl: &Kubectl, profile: &str) -> Result<[Caller; 2]> {
    kubectl.apply_profile(profile)?;
    let objects = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n9"}}),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "far"},
            "spec": {"nodeName": "n9", "containers": [{"name": "c", "image": WORK_IMAGE}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller", "namespace": "forestall"},
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": "forestall",
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": WORK_IMAGE, "imagePullPolicy": "Never"}],
            },
        }),
    ];
    for object in objects {
        kubectl.apply(&object.to_string())?;
    }
    let near = Pod {
        name: "near",
        work: json!("pause"),
        resources: json!({}),
        restart: "Never",
        heap_kib: None,
    };
    near.make(kubectl)?;
    State::wait_for(kubectl, "near", "Running", |state| state.phase() == "Running")?;
    let make = ["create", "token", "forestall", "-n", "forestall"];
    let bound = [
        &make[..],
        &["--bound-object-kind=Pod", "--bound-object-name=caller"],
    ]
    .concat();
    let token = |words: &[&str]| Ok::<_, anyhow::Error>(kubectl.run(words)?.trim().to_owned());
    Ok([
        Caller::new(kubectl, "caller", &token(&bound)?)?,
        Caller::new(kubectl, "stranger", &token(&make)?)?,
    ])
}

fn clear(kubectl: &Kubectl, profile: &str) -> Result<()> {
    // Nobody is there who could say that it has ended.
    let far = [
        "delete",
        "pod",
        "far",
        "--force",
        "--grace-period=0",
        "--ignore-not-found",
    ];
    kubectl.run(&far).context("removing the pod without a machine")?;
    kubectl.run(&["delete", "node", "n9", "--ignore-not-found"])?;
    kubectl.run(&["delete", "pod", "near", "--now", "--ignore-not-found"])?;
    kubectl.delete_profile(profile)
}

fn request(method: &'static str, path: String, impersonated: Option<&'static str>) -> Request {
    Request {
        method,
        path,
        impersonated,
        body: Value::Null,
    }
}

fn get(impersonated: Option<&'static str>, path: &str) -> Request {
    request("GET", path.to_owned(), impersonated)
}

fn patch(impersonated: Option<&'static str>, path: &str, body: &Value) -> Request {
    Request {
        body: body.clone(),
        ..request("PATCH", path.to_owned(), impersonated)
    }
}

fn post(impersonated: Option<&'static str>, path: String, body: Value) -> Request {
    Request {
        body,
        ..request("POST", path, impersonated)
    }
}

fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

fn list(impersonated: Option<&'static str>, node: &str) -> Request {
    get(
        impersonated,
        &format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"),
    )
}

fn evict(impersonated: Option<&'static str>, name: &str, is_trial: bool) -> Request {
    let mut eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": "default"},
    });
    if is_trial {
        eviction["deleteOptions"] = json!({"dryRun": ["All"]});
    }
    post(impersonated, format!("{}/eviction", pod_path(name)), eviction)
}

fn token_request(impersonated: Option<&'static str>) -> Request {
    let path = "/api/v1/namespaces/kube-system/serviceaccounts/default/token";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    post(impersonated, path.to_owned(), body)
}

/// About the own node, or about a pod of this namespace.
fn event(impersonated: Option<&'static str>, namespace: &str) -> Request {
    let about = match namespace {
        "default" => json!({"kind": "Node", "name": "n1"}),
        _ => json!({"kind": "Pod", "name": "any", "namespace": namespace}),
    };
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "forestall-", "namespace": namespace},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": about,
        "action": "Try", "reason": "Tried", "note": "tried", "type": "Normal",
        "reportingController": "forestall.io/agent", "reportingInstance": "n1",
    });
    post(
        impersonated,
        format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"),
        body,
    )
}
