//! A rule about our rights that admission has to confine, since RBAC cannot: a node may write anything into its own status, and the account any NodeMemory. A role that
//! lets the account do so goes with a policy in the same kustomization.

use crate::asked::{AS_NODE, BEFORE, documents, manifests, rights, words};
use crate::tree::{Breach, Tree};
use crate::{holds, is_broken_by, is_kept_by};

/// Who may change these in a role of this path needs that policy.
fn policies(path: &str) -> [(&'static str, &'static str); 3] {
    let of_status = if path.contains(BEFORE) {
        "../confine"
    } else {
        "../confine-as-node"
    };
    [
        ("nodes/status", of_status),
        ("nodememories", "../node-memory"),
        ("nodes", "confine.yaml"),
    ]
}

fn who_may_change_what_names_a_node_is_confined(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (file, (resource, policy)) in
        manifests(tree).flat_map(|file| policies(&file.path).map(|policy| (file, policy)))
    {
        let documents_of_it = documents(file).unwrap_or_default();
        let may_change = documents_of_it.iter().flat_map(rights).any(|(_, what, verb)| {
            let verb = verb.strip_prefix(AS_NODE).unwrap_or(verb);
            what == resource && ["create", "patch", "update"].contains(&verb)
        });
        let Some((folder, _)) = file.path.rsplit_once('/').filter(|_| may_change) else {
            continue;
        };
        let kustomization = tree.file(&format!("{folder}/kustomization.yaml"));
        let is_confined = kustomization.is_some_and(|file| {
            let documents = documents(file).unwrap_or_default();
            documents
                .iter()
                .any(|one| words(&one["resources"]).any(|path| path == policy))
        });
        if !is_confined {
            breaches.push(file.breach(
                1,
                format!("who may change {resource} may change those of any node, or anything in them: have the kustomization of this folder bring `{policy}`"),
            ));
        }
    }
    breaches
}

#[test]
fn who_may_change_what_names_a_node_is_confined_here() {
    let rule = who_may_change_what_names_a_node_is_confined;
    holds(rule);
    let role = |verb: &str| {
        format!(
            "kind: ClusterRole\nrules:\n  - apiGroups: [\"\"]\n    resources: [nodes/status]\n    verbs: [\"{verb}\"]\n"
        )
    };
    let own = role("patch");
    let as_node = role("impersonate-on:associated-node:patch");
    let with = |policy: &str| format!("kind: Kustomization\nresources: [role.yaml, {policy}]\n");
    let after = (
        "deploy/kustomize/a/role.yaml",
        "deploy/kustomize/a/kustomization.yaml",
    );
    let before = (
        "deploy/kustomize/a-before-1.36/role.yaml",
        "deploy/kustomize/a-before-1.36/kustomization.yaml",
    );
    is_broken_by(rule, &[(after.0, &as_node)], after.0);
    let taint = own.replace("nodes/status", "nodes");
    is_broken_by(rule, &[(after.0, &taint)], after.0);
    is_kept_by(rule, &[(after.0, &taint), (after.1, &with("confine.yaml"))]);
    // The one policy knows the account's own name, the other the node's.
    for ((path, kustomization), role, policy, other) in [
        (after, &as_node, "../confine-as-node", "../confine"),
        (before, &own, "../confine", "../confine-as-node"),
    ] {
        is_broken_by(rule, &[(path, role), (kustomization, &with(other))], path);
        is_kept_by(rule, &[(path, role), (kustomization, &with(policy))]);
    }
    let reads = role("get");
    is_kept_by(rule, &[(after.0, &reads)]);
    let figures = role("create").replace("nodes/status", "nodememories");
    for (path, kustomization) in [after, before] {
        is_broken_by(
            rule,
            &[(path, &figures), (kustomization, &with("../confine"))],
            path,
        );
        is_kept_by(
            rule,
            &[(path, &figures), (kustomization, &with("../node-memory"))],
        );
    }
}
