//! What a role of one namespace may hold: the tokens of the budget of evictions are Leases, and nothing else of ours lies in a namespace.

use serde_json::{Value, json};

use crate::asked::{each, rights};

/// Its own, for tokens, and that of the kubelets' Leases, which are counted.
const RIGHTS: [(&str, &[&str]); 2] = [
    ("forestall", &["list", "create", "delete"]),
    ("kube-node-lease", &["list"]),
];
/// Whose component brings them.
pub(crate) const FOLDER: &str = "deploy/kustomize/components/budget/";

/// What is wrong with a role or a binding of a namespace.
pub(crate) fn judge(path: &str, document: &Value) -> Vec<String> {
    let namespace = &document["metadata"]["namespace"];
    let mut wrong = Vec::new();
    if document["kind"] == "RoleBinding" {
        let account = json!([{"kind": "ServiceAccount", "name": "forestall", "namespace": "forestall"}]);
        let role =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "forestall-budget"});
        if document["roleRef"] != role || document["subjects"] != account {
            wrong.push("a binding in a namespace gives the account `forestall` the role `forestall-budget`, and nobody anything else".to_owned());
        }
    }
    for key in each(&document["rules"])
        .filter_map(Value::as_object)
        .flat_map(|rule| rule.keys())
    {
        if !["apiGroups", "resources", "verbs"].contains(&key.as_str()) {
            wrong.push(format!("`{key}` is not looked at here, so it may not be used"));
        }
    }
    for (group, resource, verb) in rights(document) {
        let is_ours = |(of, verbs): &(&str, &[&str])| namespace == of && verbs.contains(&verb);
        let is_lease = (group, resource) == ("coordination.k8s.io", "leases");
        if !path.starts_with(FOLDER) || !is_lease || !RIGHTS.iter().any(is_ours) {
            wrong.push(format!(
                "`{verb}` on `{resource}` of group `{group}` in {namespace} is no right of ours"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use crate::asked::manifests_ask_for_no_more;
    use crate::{is_broken_by, is_kept_by};

    #[test]
    fn in_a_namespace_there_are_rights_to_tokens_and_to_no_more() {
        let rule = manifests_ask_for_no_more;
        let role = |namespace: &str, resource: &str, verbs: &str| {
            format!(
                "kind: Role\nmetadata: {{namespace: {namespace}}}\nrules:\n  - {{apiGroups: [coordination.k8s.io], resources: [{resource}], verbs: {verbs}}}\n"
            )
        };
        let path = "deploy/kustomize/components/budget/role.yaml";
        let tokens = role("forestall", "leases", "[list, create, delete]");
        is_kept_by(rule, &[(path, &tokens)]);
        is_kept_by(rule, &[(path, &role("kube-node-lease", "leases", "[list]"))]);
        let elsewhere = "deploy/kustomize/read/role.yaml";
        is_broken_by(
            rule,
            &[(elsewhere, &role("forestall", "leases", "[list]"))],
            elsewhere,
        );
        // Other nodes' figures are read with the budget, and by nobody else.
        let figures = "kind: ClusterRole\nrules:\n  - {apiGroups: [forestall.io], resources: [nodememories], verbs: [list]}\n";
        is_kept_by(rule, &[(path, figures)]);
        let before = "deploy/kustomize/read/roles.yaml";
        is_broken_by(rule, &[(before, figures)], before);
        let binding = |kind: &str, account: &str| {
            format!(
                "kind: RoleBinding\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: forestall-budget}}\nsubjects: [{{kind: ServiceAccount, name: {account}, namespace: forestall}}]\n"
            )
        };
        is_kept_by(rule, &[(path, &binding("Role", "forestall"))]);
        for text in [
            figures.replace("list", "delete"),
            role("kube-system", "leases", "[list]"),
            role("forestall", "leases", "[update]"),
            role("forestall", "secrets", "[list]"),
            role("kube-node-lease", "leases", "[create]"),
            tokens.replace("verbs:", "resourceNames: [a], verbs:"),
            binding("ClusterRole", "forestall"),
            binding("Role", "default"),
        ] {
            is_broken_by(rule, &[(path, &text)], path);
        }
    }
}
