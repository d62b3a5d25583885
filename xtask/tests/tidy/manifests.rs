//! Rules about what is applied to clusters: what no pod of ours may ask for, and which image it is.

use crate::tree::{Breach, Tree};
use crate::{holds, is_broken_by, is_kept_by};

const FOLDER: &str = "deploy/kustomize/";

/// What would give a container the node, or keep a second agent from coming before the first one goes.
const FORBIDDEN: [(&str, &str); 6] = [
    ("privileged: true", "no container of ours is privileged"),
    (
        "hostNetwork: true",
        "a rolling update has two agents on a node, which want the same port",
    ),
    (
        "hostPort:",
        "a rolling update has two agents on a node, which want the same port",
    ),
    (
        "subPath:",
        "a file that is mounted so never changes, and the policy is read again when it does",
    ),
    ("nodes/proxy]", "whoever may use it is root on every node"),
    ("secrets", "the agent has no business with any"),
];

fn manifests_ask_for_no_more(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        for (index, line) in file.text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or(line);
            for (mark, why) in FORBIDDEN {
                if line.contains(mark) {
                    breaches.push(file.breach(index + 1, format!("`{mark}`: {why}")));
                }
            }
        }
    }
    breaches
}

/// Who may evict may say so: on the pod, in whatever namespace, and on the Node, in `default`, where an Event is counted up.
fn who_may_evict_may_write_events(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        let is_of_cluster = lines.contains(&"kind: ClusterRole");
        let has = |resource: &str, group: &str, verbs: &[&str]| {
            lines.windows(3).any(|rule| {
                let [groups, resources, allowed] = rule else {
                    return false;
                };
                groups.starts_with("- apiGroups:")
                    && groups.contains(group)
                    && *resources == format!("resources: [{resource}]")
                    && verbs.iter().all(|verb| allowed.contains(verb))
            })
        };
        let may_evict = has("pods/eviction", "", &["create"]);
        if may_evict && !(is_of_cluster && has("events", "events.k8s.io", &["create", "patch"])) {
            breaches.push(
                file.breach(
                    1,
                    "who may evict needs `create` and `patch` on events of events.k8s.io in every namespace"
                        .to_owned(),
                ),
            );
        }
    }
    breaches
}

/// Its tag is the workspace's version, by which `cargo xtask dist` calls it.
fn manifests_name_the_image_of_this_version(tree: &Tree) -> Vec<Breach> {
    let version = tree.file("Cargo.toml").and_then(|manifest| {
        let mut lines = manifest.text.lines();
        let line = lines.find(|line| line.starts_with("version = "))?;
        line.split('"').nth(1)
    });
    let Some(version) = version else {
        return Vec::new();
    };
    let wanted = format!("image: ghcr.io/forestall/forestall:{version}");
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        for (index, line) in file.text.lines().enumerate() {
            if line.trim().starts_with("image:") && line.trim() != wanted {
                breaches.push(file.breach(
                    index + 1,
                    format!("write `{wanted}`, as the image of this version is called"),
                ));
            }
        }
    }
    breaches
}

#[test]
fn manifests_ask_for_no_more_here() {
    let rule = manifests_ask_for_no_more;
    holds(rule);
    let path = "deploy/kustomize/a/daemonset.yaml";
    for line in [
        "privileged: true",
        "hostNetwork: true",
        "- {hostPort: 9090}",
        "resources: [nodes/proxy]",
    ] {
        is_broken_by(rule, &[(path, line)], path);
    }
    is_kept_by(
        rule,
        &[(path, "privileged: false\n# Never nodes/proxy], and no secrets.\n")],
    );
}

#[test]
fn who_may_evict_may_write_events_here() {
    let rule = who_may_evict_may_write_events;
    holds(rule);
    let path = "deploy/kustomize/a/role.yaml";
    let evicts = "kind: ClusterRole\nrules:\n  - apiGroups: [\"\"]\n    resources: [pods/eviction]\n    verbs: [create]\n";
    let may = |verbs: &str| {
        format!(
            "{evicts}  - apiGroups: [\"\", events.k8s.io]\n    resources: [events]\n    verbs: [{verbs}]\n"
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

#[test]
fn manifests_name_the_image_of_this_version_here() {
    let rule = manifests_name_the_image_of_this_version;
    holds(rule);
    let path = "deploy/kustomize/a/daemonset.yaml";
    let manifest = ("Cargo.toml", "[workspace.package]\nversion = \"0.2.0\"\n");
    let old = (path, "          image: ghcr.io/forestall/forestall:0.1.0\n");
    let new = (path, "          image: ghcr.io/forestall/forestall:0.2.0\n");
    is_broken_by(rule, &[manifest, old], path);
    is_kept_by(rule, &[manifest, new]);
}
