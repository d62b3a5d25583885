//! As whom the API server is spoken to, and what that one may do there.
//!
//! From Kubernetes 1.36 on the agent speaks as its own node, by constrained impersonation (KEP-5284), and its ServiceAccount itself holds no right on any pod; below,
//! or where that is not granted, it speaks as the ServiceAccount. Whether it may evict is asked before it is needed (`SelfSubjectAccessReview`), because a right
//! that is missing when memory runs out is found out too late.

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::error::{Refusal, Trouble};
use super::link::{Ask, Link};

/// The node's own user (k/k `pkg/auth/nodeidentifier`).
pub(super) fn user_of(node: &str) -> String {
    format!("system:node:{node}")
}

/// Neither as its node nor as itself: either would do, and what is told last is not what a cluster of today should be granted.
pub(super) fn refused_as_both(as_node: &str, as_itself: Refusal) -> Trouble {
    let message = format!(
        "{}; nor as the node: {as_node}; it takes a ClusterRole with list and watch of pods, as \"impersonate-on:associated-node:list\" beside \
         \"impersonate:associated-node\" from Kubernetes 1.36 on (deploy/kustomize/read), or as they are before (deploy/kustomize/read-before-1.36)",
        as_itself.message
    );
    Trouble::Refused(Refusal { message, ..as_itself })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Review {
    status: Verdict,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Verdict {
    allowed: bool,
}

/// Why pods cannot be evicted, if so; asked as the ServiceAccount itself, whose rules it is that count.
pub(super) async fn lacks_to_evict(link: &Link) -> Result<Option<String>, Trouble> {
    let verb = if link.is_impersonating() {
        "impersonate-on:associated-node:create"
    } else {
        "create"
    };
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": verb, "resource": "pods", "subresource": "eviction" } },
    });
    let ask = Ask {
        method: Method::POST,
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        content: Some(("application/json", review.to_string().into())),
    };
    let answer = link.as_itself().ask(ask).await?;
    let review: Review = super::follow::read(&answer)?;
    Ok((!review.status.allowed).then(|| {
        format!(
            "its ServiceAccount has no right to \"{verb}\" pods/eviction; grant it (deploy/ has the rules)"
        )
    }))
}
