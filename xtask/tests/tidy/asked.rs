//! Rules about what our manifests ask a cluster and its nodes for, by what they mean and not by how they are written: what is allowed is listed here,
//! and anything else is a breach.

use serde_json::{Value, json};

use crate::budgeted;
use crate::tree::{Breach, File, Tree};
use crate::{holds, is_broken_by, is_kept_by};

const FOLDER: &str = "deploy/kustomize/";
/// Who may do more than look, on a node and in the cluster.
const ACT: &str = "deploy/kustomize/components/act/";
const STAY: &str = "deploy/kustomize/components/stay-in-memory/";
const ACT_ROLES: [&str; 2] = ["deploy/kustomize/act/", "deploy/kustomize/act-before-1.36/"];
/// Where there is no constrained impersonation, rights are the account's own.
pub(crate) const BEFORE: &str = "-before-1.36/";
pub(crate) const AS_NODE: &str = "impersonate-on:associated-node:";

/// What the account may do, as its node or by itself: API group, resource, verbs.
const RIGHTS: [(&str, &str, &[&str]); 4] = [
    ("", "pods", &["list", "watch"]),
    ("", "nodes", &["get"]),
    ("", "nodes/status", &["patch"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];
const RIGHTS_TO_ACT: [(&str, &str, &[&str]); 1] = [("", "pods/eviction", &["create"])];
/// What it may by itself everywhere: the kubelet knows nobody by impersonation, and a node has no right to a kind that Kubernetes does not know, which an admission
/// policy confines to the own one (`confined.rs`). Never `nodes/proxy`, which is root on every node, and of NodeMemories neither `get` nor `delete`.
const OWN_RIGHTS: [(&str, &str, &[&str]); 3] = [
    ("", "nodes/configz", &["get"]),
    ("", "nodes/stats", &["get"]),
    ("forestall.io", "nodememories", &["create", "patch"]),
];
/// Where an evicted pod could go.
const RIGHTS_TO_KNOW_OTHERS: [(&str, &str, &[&str]); 1] = [("forestall.io", "nodememories", &["list"])];
/// One taint of the own node, by an admission policy.
const TAINT: &str = "deploy/kustomize/components/taint/";
const RIGHTS_TO_TAINT: [(&str, &str, &[&str]); 1] = [("", "nodes", &["patch"])];
/// Whose roles have names of their own.
const COMPONENTS: [(&str, &str); 2] = [(budgeted::FOLDER, "forestall-budget"), (TAINT, "forestall-taint")];
const TO_BE_A_NODE: [(&str, &str, &[&str]); 1] =
    [("authentication.k8s.io", "nodes", &["impersonate:associated-node"])];

const KINDS: [&str; 14] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "Component",
    "ConfigMap",
    "CustomResourceDefinition",
    "DaemonSet",
    "Kustomization",
    "Namespace",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "ServiceAccount",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];
const VOLUMES: [&str; 5] = ["$patch", "configMap", "emptyDir", "hostPath", "name"];
const HOST_PATHS: [&str; 2] = ["/sys/fs/cgroup", "/var/lib/kubelet/config.yaml"];
const HOST_PATHS_TO_ACT: [&str; 4] = [
    "/sys/kernel/tracing",
    "/var/lib/forestall",
    "/var/log/containers",
    "/var/log/pods",
];
/// Every node has the first, every kernel with CONFIG_TRACING the second, which the component `without-tracing` leaves out.
const SURE_PATHS: [&str; 2] = ["/sys/fs/cgroup", "/sys/kernel/tracing"];

/// One file's documents, those within it included that a kustomization patches others with.
pub(crate) fn documents(file: &File) -> Result<Vec<Value>, String> {
    let mut all: Vec<Value> = serde_saphyr::from_multiple(&file.text).map_err(|error| error.to_string())?;
    let mut patches = Vec::new();
    for entry in all.iter().flat_map(|one| each(&one["patches"])) {
        let Some(text) = entry["patch"].as_str() else {
            continue;
        };
        let patch: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        match patch.as_array() {
            None => patches.push(patch),
            Some(steps) => {
                for step in steps {
                    patches
                        .push(spread(step).ok_or("a step of a JSON patch that neither adds nor replaces")?);
                }
            }
        }
    }
    all.extend(patches);
    Ok(all)
}

/// A step of a JSON patch (RFC 6902) as the document that it makes: places in lists, and behind their end, as the only one.
fn spread(step: &Value) -> Option<Value> {
    if !matches!(step["op"].as_str()?, "add" | "replace") {
        return None;
    }
    let value = step["value"].clone();
    let path = step["path"].as_str()?.strip_prefix('/')?;
    Some(path.rsplit('/').fold(value, |inner, name| {
        if name == "-" || name.bytes().all(|byte| byte.is_ascii_digit()) {
            json!([inner])
        } else {
            json!({ name.replace("~1", "/").replace("~0", "~"): inner })
        }
    }))
}

pub(crate) fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

pub(crate) fn words(list: &Value) -> impl Iterator<Item = &str> {
    each(list).filter_map(Value::as_str)
}

/// Every key of every mapping, with its value.
fn walk<'a>(value: &'a Value, tell: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                tell(key, value);
                walk(value, tell);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| walk(value, tell)),
        _ => {}
    }
}

fn is_right(path: &str, group: &str, resource: &str, verb: &str) -> bool {
    let may_act = ACT_ROLES.iter().any(|folder| path.starts_with(folder));
    let has = |rights: &[(&str, &str, &[&str])], verb: &str| {
        rights
            .iter()
            .any(|(of, what, verbs)| (*of, *what) == (group, resource) && verbs.contains(&verb))
    };
    let has_listed = |verb: &str| has(&RIGHTS, verb) || may_act && has(&RIGHTS_TO_ACT, verb);
    let is_before = path.contains(BEFORE);
    let knows_others = path.starts_with(budgeted::FOLDER);
    has(&OWN_RIGHTS, verb)
        || path.starts_with(TAINT) && has(&RIGHTS_TO_TAINT, verb)
        || knows_others && has(&RIGHTS_TO_KNOW_OTHERS, verb)
        || match verb.strip_prefix(AS_NODE) {
            Some(verb) => !is_before && has_listed(verb),
            None if is_before => has_listed(verb),
            None => has(&TO_BE_A_NODE, verb),
        }
}

/// Group, resource and verb, each way that they go together.
pub(crate) fn rights(document: &Value) -> Vec<(&str, &str, &str)> {
    let mut all = Vec::new();
    for rule in each(&document["rules"]) {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                all.extend(words(&rule["verbs"]).map(|verb| (group, resource, verb)));
            }
        }
    }
    all
}

/// What is wrong with a document as a whole.
fn judge_document(path: &str, document: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let kind = document["kind"].as_str();
    if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
        wrong.push(format!("kind `{kind}` is none that we apply"));
    }
    let only = |value: &Value, known: &[&str]| {
        let keys = value.as_object().into_iter().flat_map(|map| map.keys());
        keys.filter(|key| !known.contains(&key.as_str()))
            .map(|key| format!("`{key}` is not looked at here, so it may not be used"))
            .collect::<Vec<_>>()
    };
    match kind {
        Some("ClusterRole") => {
            wrong.extend(only(document, &["apiVersion", "kind", "metadata", "rules"]));
            for rule in each(&document["rules"]) {
                wrong.extend(only(rule, &["apiGroups", "resources", "verbs"]));
            }
            for (group, resource, verb) in rights(document) {
                if !is_right(path, group, resource, verb) {
                    wrong.push(format!(
                        "`{verb}` on `{resource}` of group `{group}` is no right of ours"
                    ));
                }
            }
        }
        Some("Role" | "RoleBinding") => wrong.extend(budgeted::judge(path, document)),
        Some("ClusterRoleBinding") => {
            let component = COMPONENTS.iter().find(|(folder, _)| path.starts_with(folder));
            let role = component.map_or("forestall", |(_, role)| role);
            let account = json!([{"kind": "ServiceAccount", "name": "forestall", "namespace": "forestall"}]);
            if document["roleRef"]["name"] != role || document["subjects"] != account {
                wrong.push(format!(
                    "a binding gives the account `forestall` the role `{role}`, and nobody anything else"
                ));
            }
        }
        Some("Kustomization" | "Component") => {
            wrong.extend(only(
                document,
                &["apiVersion", "components", "kind", "patches", "resources"],
            ));
        }
        _ => {}
    }
    wrong
}

/// What is wrong with a key of a pod's, wherever it stands.
fn judge_key(path: &str, key: &str, value: &Value) -> Option<String> {
    let acts = path.starts_with(ACT);
    let is_fine = match key {
        "privileged" | "allowPrivilegeEscalation" | "shareProcessNamespace" => *value == false,
        "hostPID" => acts || *value == false,
        "hostPath" => value["path"].as_str().is_some_and(|path| {
            // What has to be there and may not be keeps the guard from starting at all.
            let is_sure = value["type"] != "Directory" || SURE_PATHS.contains(&path);
            is_sure && (HOST_PATHS.contains(&path) || acts && HOST_PATHS_TO_ACT.contains(&path))
        }),
        // A node that is made while there is none has an agent all the same.
        "configMap" => value["optional"] == true,
        // A rolling update has two agents on a node, which want the same port.
        key if key.starts_with("host") => false,
        // Of these a file that is mounted by subPath never changes, and the policy is read again when it does.
        "subPath" | "subPathExpr" | "envFrom" | "imagePullSecrets" | "procMount" | "seLinuxOptions"
        | "secrets" | "sysctls" | "volumeDevices" => false,
        "valueFrom" => value
            .as_object()
            .is_some_and(|from| from.keys().all(|key| key == "fieldRef")),
        "volumes" => each(value)
            .filter_map(Value::as_object)
            .all(|volume| volume.keys().all(|kind| VOLUMES.contains(&kind.as_str()))),
        // What forbids something is not taken away again: `null` and `$patch` do.
        "securityContext" => value.is_object() && value.get("$patch").is_none(),
        "readOnlyRootFilesystem" => *value == true,
        "capabilities" if !value.is_object() => false,
        "capabilities" => {
            let drops_all = value.get("drop").is_none_or(|drop| *drop == json!(["ALL"]));
            drops_all
                && words(&value["add"]).all(|name| match name {
                    "KILL" => acts,
                    "IPC_LOCK" | "SYS_RESOURCE" => path.starts_with(STAY),
                    _ => false,
                })
        }
        "runAsUser" | "runAsGroup" => acts || value.as_u64().is_some_and(|id| id > 0),
        "runAsNonRoot" => acts || *value == true,
        "seccompProfile" => value["type"] == "RuntimeDefault",
        "appArmorProfile" => acts || value["type"] == "RuntimeDefault",
        // Who brings a container keeps it small. A patch changes one that is there.
        "containers" | "initContainers" => each(value).all(|one| {
            let set = &one["securityContext"];
            let is_patch = one.get("image").is_none() && one.get("$patch").is_none();
            is_patch
                || set["privileged"] == false
                    && set["allowPrivilegeEscalation"] == false
                    && set["readOnlyRootFilesystem"] == true
                    && set["capabilities"]["drop"] == json!(["ALL"])
        }),
        _ => true,
    };
    (!is_fine).then(|| {
        format!(
            "`{key}` asks for more than a pod of ours needs here: say less, or argue for it in the allow-list"
        )
    })
}

pub(crate) fn manifests_ask_for_no_more(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in manifests(tree) {
        let documents = match documents(file) {
            Ok(documents) => documents,
            Err(error) => {
                breaches.push(file.breach(
                    1,
                    format!("this cannot be read, so that nobody knows what it asks for: {error}"),
                ));
                continue;
            }
        };
        for document in &documents {
            for what in judge_document(&file.path, document) {
                breaches.push(file.breach(1, what));
            }
            walk(document, &mut |key, value| {
                if let Some(what) = judge_key(&file.path, key, value) {
                    let line = file.text.lines().position(|line| line.contains(key)).unwrap_or(0);
                    breaches.push(file.breach(line + 1, what));
                }
            });
        }
    }
    breaches
}

pub(crate) fn manifests(tree: &Tree) -> impl Iterator<Item = &File> {
    let is_ours = |file: &&File| file.path.starts_with(FOLDER) && file.has_extension("yaml");
    tree.files.iter().filter(is_ours)
}

/// A component that appends to a list needs a profile that has one, or kustomize ends there. `read` has no capability to append to: what a component is
/// for stands in deploy/README.md.
fn components_append_to_what_is_there(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let daemon_set = |path: &str| {
        let text = &tree.file(path)?.text;
        serde_saphyr::from_str::<Value>(text).ok()
    };
    let there = [
        format!("{FOLDER}base/daemonset.yaml"),
        format!("{ACT}daemonset.yaml"),
    ];
    let there: Vec<Value> = there.iter().filter_map(|path| daemon_set(path)).collect();
    for file in manifests(tree).filter(|file| file.path.contains("/components/")) {
        for (index, line) in file.text.lines().enumerate() {
            let Some((_, path)) = line.split_once("path: /") else {
                continue;
            };
            let path = path.split([',', '}']).next().unwrap_or(path).trim();
            let list = path.strip_suffix("/-").map(|list| format!("/{list}"));
            let is_there = |list: &String| {
                there
                    .iter()
                    .any(|set| set.pointer(list).is_some_and(Value::is_array))
            };
            if list.is_some_and(|list| !is_there(&list)) {
                breaches.push(file.breach(
                    index + 1,
                    "no profile has this list, so that kustomize ends: patch by a mapping",
                ));
            }
        }
    }
    breaches
}

/// Who may evict may say so: on the pod, in whatever namespace, and on the Node, in `default`, where an Event is counted up.
fn who_may_evict_may_write_events(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in manifests(tree) {
        for document in documents(file).unwrap_or_default() {
            let rights = rights(&document);
            let has = |group: &str, resource: &str, verb: &str| {
                rights.iter().any(|(of, what, may)| {
                    (*of, *what) == (group, resource) && may.strip_prefix(AS_NODE).unwrap_or(may) == verb
                })
            };
            let is_told = document["kind"] == "ClusterRole"
                && ["create", "patch"]
                    .iter()
                    .all(|verb| has("events.k8s.io", "events", verb));
            if has("", "pods/eviction", "create") && !is_told {
                let what =
                    "who may evict needs `create` and `patch` on events of events.k8s.io in every namespace";
                breaches.push(file.breach(1, what));
            }
        }
    }
    breaches
}

#[test]
fn manifests_ask_for_no_more_here() {
    let rule = manifests_ask_for_no_more;
    holds(rule);
    let daemon_set = |inner: &str| format!("kind: DaemonSet\nspec: {{template: {{spec: {{{inner}}}}}}}\n");
    let role = |resources: &str, verbs: &str| {
        format!(
            "kind: ClusterRole\nrules:\n  - apiGroups: [\"\"]\n    resources: {resources}\n    verbs: {verbs}\n"
        )
    };
    let appends = "kind: Component\npatches:\n  - patch: |\n      - {op: add, path: /spec/template/spec/containers/0/securityContext/capabilities/add/-, value: SYS_ADMIN}\n";
    let path = "deploy/kustomize/read/some.yaml";
    for text in [
        daemon_set("containers: [{securityContext: {privileged: true}}]"),
        daemon_set("containers: [{securityContext: {allowPrivilegeEscalation: true}}]"),
        daemon_set("containers: [{securityContext: {capabilities: {add: [SYS_ADMIN]}}}]"),
        daemon_set("containers: [{securityContext: {capabilities: {add: [KILL]}}}]"),
        daemon_set("containers: [{image: a}]"),
        daemon_set("containers: [{$patch: replace}]"),
        daemon_set("containers: [{securityContext: {capabilities: null}}]"),
        daemon_set("containers: [{securityContext: {readOnlyRootFilesystem: false}}]"),
        daemon_set("securityContext: {$patch: delete}"),
        daemon_set("containers: [{ports: [{hostPort: 9090}]}]"),
        daemon_set("hostNetwork: true"),
        daemon_set("hostIPC: true"),
        daemon_set("hostPID: true"),
        daemon_set("securityContext: {runAsUser: 0}"),
        daemon_set("volumes: [{name: root, hostPath: {path: /}}]"),
        daemon_set("volumes: [{name: any, secret: {secretName: any}}]"),
        daemon_set("volumes: [{name: policy, configMap: {name: any}}]"),
        daemon_set("volumes: [{name: policy, configMap: {name: any, optional: false}}]"),
        role("[nodes/proxy, nodes/stats]", "[get]"),
        role("\n      - nodes/proxy", "[get]"),
        role("[\"*\"]", "[get]"),
        role("[pods]", "[\"*\"]"),
        // Of its node alone, and not of all.
        role("[pods]", "[list]"),
        role("[pods/eviction]", "[\"impersonate-on:associated-node:create\"]"),
        // One taint of it, which takes the component's policy.
        role("[nodes]", "[patch]"),
        role("[nodememories]", "[delete]").replace("\"\"", "forestall.io"),
        "kind: ClusterRole\naggregationRule: {}\n".to_owned(),
        "kind: ClusterRoleBinding\nroleRef: {name: cluster-admin}\n".to_owned(),
        "kind: Secret\n".to_owned(),
        "kind: [DaemonSet\n".to_owned(),
        appends.to_owned(),
    ] {
        is_broken_by(rule, &[(path, &text)], path);
    }
    let logs = daemon_set("volumes: [{name: logs, hostPath: {path: /var/log/pods, type: Directory}}]");
    let act = "deploy/kustomize/components/act/daemonset.yaml";
    is_broken_by(rule, &[(act, &logs)], act);
    is_kept_by(rule, &[(act, &logs.replace("Directory", "DirectoryOrCreate"))]);
    let policy = daemon_set("volumes: [{name: policy, configMap: {name: any, optional: true}}]");
    is_kept_by(rule, &[(path, &policy)]);
    let kept = role("[pods]", "[\"impersonate-on:associated-node:list\"]");
    is_kept_by(
        rule,
        &[(
            path,
            &format!("# Never nodes/proxy, and privileged: true.\n{kept}"),
        )],
    );
    is_kept_by(
        rule,
        &[(
            "deploy/kustomize/read-before-1.36/role.yaml",
            &role("[pods]", "[list]"),
        )],
    );
    is_kept_by(
        rule,
        &[(
            "deploy/kustomize/components/act/daemonset.yaml",
            &daemon_set("hostPID: true"),
        )],
    );
}

#[test]
fn components_append_to_what_is_there_here() {
    let rule = components_append_to_what_is_there;
    holds(rule);
    let component = "deploy/kustomize/components/a/kustomization.yaml";
    let appends = (
        component,
        "patches:\n  - patch: |\n      - {op: add, path: /spec/list/-, value: a}\n",
    );
    let act = "deploy/kustomize/components/act/daemonset.yaml";
    is_broken_by(rule, &[appends, (act, "spec: {other: []}\n")], component);
    is_kept_by(rule, &[appends, (act, "spec: {list: [b]}\n")]);
}

#[test]
fn who_may_evict_may_write_events_here() {
    let rule = who_may_evict_may_write_events;
    holds(rule);
    let path = "deploy/kustomize/a/role.yaml";
    let evicts = "kind: ClusterRole\nrules:\n  - apiGroups: [\"\"]\n    resources: [pods/eviction]\n    verbs: [create]\n";
    let may = |verbs: &str| {
        format!(
            "{evicts}  - apiGroups: [\"\", events.k8s.io]\n    resources:\n      - events\n    verbs: [{verbs}]\n"
        )
    };
    is_broken_by(rule, &[(path, evicts)], path);
    is_broken_by(rule, &[(path, &may("create"))], path);
    is_kept_by(rule, &[(path, &may("create, patch"))]);
    is_broken_by(
        rule,
        &[(path, &may("create, patch").replace("ClusterRole", "Role"))],
        path,
    );
}
