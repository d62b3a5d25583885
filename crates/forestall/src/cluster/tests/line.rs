//! As whom the API server is spoken to, and what the kubelet is asked.

use super::super::header::Skew;
use super::super::kubelet::{Believed, KubeletAudience, ask_over};
use super::super::line::{Audience, Line};
use super::super::shelf::Shelf;
use super::*;

/// What a line tells.
#[derive(Clone, Default)]
pub(super) struct Heard {
    said: Arc<Mutex<Vec<String>>>,
}

impl Audience for Heard {
    fn pods(&mut self, pods: forestall_decide::Pods, _: u64) -> bool {
        self.note(format!("{} pods", pods.list.len()))
    }
    fn is_there(&mut self, _: usize, not_as_node: Option<&str>) {
        self.note(format!("not as node: {not_as_node:?}"));
    }
    fn skew(&mut self, skew: Skew) {
        self.note(format!("skew: {}", skew.millis));
    }
    fn may_evict(&mut self, may: Result<(), String>) {
        self.note(format!("may evict: {may:?}"));
    }
    fn is_away(&mut self, why: &Trouble) {
        self.note(format!("away: {why}"));
    }
    fn complain(&mut self, what: &str) {
        self.note(what.to_owned());
    }
}

impl Heard {
    fn note(&self, what: String) -> bool {
        self.said.lock().expect("a list").push(what);
        true
    }
}

async fn hold(answers: Vec<Answer>) -> (Stage, String, Trouble) {
    let stage = Stage::set(answers).await;
    let heard = Heard::default();
    let access = Access::of_service("h", "1", std::path::Path::new("/nowhere")).expect("a port");
    let mut line = Line::new(
        access,
        "n1",
        Some(BOOT.to_owned()),
        "/nowhere".into(),
        Shelf::default(),
        heard.clone(),
    );
    let Err(trouble) = line.hold_over(&stage.link).await;
    let said = heard.said.lock().expect("a list").join("; ");
    (stage, said, trouble)
}

/// This machine's boot, and a Node that is on it.
pub(super) const BOOT: &str = "8a9f0c62-1c05-4b5e-9d3e-2f3f5b1b7a10";
pub(super) const OURS: &str = r#"{"kind":"Node","metadata":{"uid":"8d1f"},"status":{"nodeInfo":{"machineID":"m","bootID":"8A9F0C62-1c05-4b5e-9d3e-2f3f5b1b7a10"}}}"#;

fn ours() -> Answer {
    answer("GET /api/v1/nodes/n1", OURS)
}

const MAY: &str = r#"{"kind":"SelfSubjectAccessReview","status":{"allowed":true}}"#;
const MAY_NOT: &str = r#"{"kind":"SelfSubjectAccessReview","status":{"allowed":false}}"#;

#[tokio::test]
async fn it_speaks_as_its_node_where_it_may_and_asks_whether_it_may_evict_so() {
    let (stage, said, _) = hold(vec![
        answer(" as system:node:n1", &page(10, "", &[])),
        answer(" as system:node:n1", ""),
        ours(),
        answer("selfsubjectaccessreviews", MAY),
    ])
    .await;
    let asked = stage.asked();
    assert!(
        !asked[3].contains(" as "),
        "its own rules are asked for: {asked:?}"
    );
    assert!(
        stage.bodies()[3].contains(r#""verb":"impersonate-on:associated-node:create""#),
        "{:?}",
        stage.bodies()
    );
    assert!(said.contains("may evict: Ok"), "{said}");
}

#[tokio::test]
async fn where_it_may_not_speak_as_its_node_it_speaks_as_itself_and_says_so() {
    let forbidden = r#"{"code":403,"reason":"Forbidden","message":"users \"system:node:n1\" is forbidden"}"#;
    let (stage, said, _) = hold(vec![
        refusal(" as system:node:n1", 403, forbidden),
        answer("resourceVersion=0", &page(10, "", &[])),
        answer("watch=1", ""),
        ours(),
        answer("selfsubjectaccessreviews", MAY_NOT),
    ])
    .await;
    let asked = stage.asked();
    assert!(
        asked[1..].iter().all(|asked| !asked.contains(" as ")),
        "{asked:?}"
    );
    assert!(
        stage.bodies()[4].contains(r#""verb":"create""#),
        "{:?}",
        stage.bodies()
    );
    assert!(
        said.contains("may evict: Err") && said.contains("pods/eviction"),
        "{said}"
    );
}

/// The messages as k8s.io/apiserver `pkg/endpoints/handlers/responsewriters/errors.go` (`forbiddenMessage`) makes them.
#[tokio::test]
async fn who_may_list_pods_neither_as_its_node_nor_as_itself_is_told_both_and_the_rule() {
    let status = |message: &str| {
        serde_json::json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message})
            .to_string()
    };
    let account = r#"User "system:serviceaccount:forestall:forestall" cannot"#;
    let as_node = status(&format!(
        r#"nodes "n1" is forbidden: {account} impersonate:associated-node resource "nodes" in API group "authentication.k8s.io" at the cluster scope"#
    ));
    let as_itself = status(&format!(
        r#"pods is forbidden: {account} list resource "pods" in API group "" at the cluster scope"#
    ));
    let answers = vec![
        refusal(" as system:node:n1", 403, &as_node),
        refusal("resourceVersion=0", 403, &as_itself),
    ];
    let (_, _, trouble) = hold(answers).await;
    let said = trouble.to_string();
    for part in [
        r#"cannot list resource "pods""#,
        r#"cannot impersonate:associated-node resource "nodes""#,
        "impersonate-on:associated-node:list",
        "deploy/kustomize/read-before-1.36",
        "grant that right",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// What a kubelet tells.
#[derive(Default)]
struct KubeletSaid(Vec<String>);

impl KubeletAudience for KubeletSaid {
    fn runs_with(&mut self, configz: String) {
        self.0.push(configz);
    }
    fn believes(&mut self, believed: Believed) {
        self.0.push(format!("{believed:?}"));
    }
    fn is_silent(&mut self, why: &Trouble) {
        self.0.push(why.to_string());
    }
}

#[tokio::test]
async fn a_kubelet_is_asked_for_what_it_runs_with_and_believes() {
    // As `k8s.io/kubelet/pkg/apis/stats/v1alpha1` has it, with more than is read.
    let summary = r#"{"node":{"nodeName":"n1","memory":{"time":"2026-11-21T07:36:33Z","availableBytes":7,"workingSetBytes":9},
        "systemContainers":[{"name":"kubelet","memory":{"workingSetBytes":1}},{"name":"pods","memory":{"availableBytes":5}}]},"pods":null}"#;
    let stage = Stage::set_for(
        Protocol::Http1,
        vec![
            answer("/configz", r#"{"kubeletconfig":{}}"#),
            answer("/stats/summary", summary),
            answer("/configz", "{}"),
            answer("/stats/summary", "{}"),
            refusal(
                "/configz",
                403,
                "Forbidden (user=x, verb=get, resource=nodes, subresource(s)=[configz proxy])",
            ),
        ],
        None,
    )
    .await;
    let mut said = KubeletSaid::default();
    for _ in 0..2 {
        ask_over(&stage.link, &mut said).await.expect("an answer");
    }
    let trouble = ask_over(&stage.link, &mut said).await.expect_err("no right");
    assert!(trouble.to_string().contains("configz"), "{trouble}");
    let none = Believed::default();
    let both = Believed {
        node: Some(forestall_decide::Bytes(7)),
        pods: Some(forestall_decide::Bytes(5)),
    };
    let expected = [
        r#"{"kubeletconfig":{}}"#.to_owned(),
        format!("{both:?}"),
        "{}".to_owned(),
        format!("{none:?}"),
    ];
    assert_eq!(said.0, expected);
    assert!(stage.asked().iter().all(|asked| !asked.contains(" as ")));
}

#[tokio::test(start_paused = true)]
async fn why_the_server_is_away_is_told_once_and_again_when_it_is_another_reason() {
    let heard = Heard::default();
    let access = Access::of_service("h", "1", std::path::Path::new("/nowhere")).expect("a port");
    let mut line = Line::new(
        access,
        "n1",
        Some(BOOT.to_owned()),
        "/nowhere".into(),
        Shelf::default(),
        heard.clone(),
    );
    let gone = Trouble::Unreachable("h:1: connection refused".to_owned());
    let slow = Trouble::Slow(
        "h:1 has not answered".to_owned(),
        std::time::Duration::from_secs(10),
    );
    for trouble in [&gone, &gone, &slow, &slow, &gone] {
        line.lose(trouble).await;
    }
    let said = heard.said.lock().expect("a list").clone();
    let away: Vec<&String> = said.iter().filter(|said| said.starts_with("away")).collect();
    assert_eq!(away.len(), 3, "{said:?}");
    assert_eq!(said.len(), 4, "the pods are told once: {said:?}");
}

#[tokio::test]
async fn how_far_the_servers_clock_is_off_is_told_with_each_watch() {
    let (_, said, _) = hold(vec![
        answer("limit", &page(10, "", &[])),
        answer("watch=1", ""),
        Answer {
            // The answer that came last counts, and this one is from long ago.
            header: Some(("date", "Thu, 01 Jan 1970 00:00:09 GMT")),
            ..ours()
        },
        answer("selfsubjectaccessreviews", MAY),
    ])
    .await;
    assert!(said.contains("skew: -1"), "{said}");
}

/// Its own pods were known before: of those nothing is known any more either.
#[tokio::test(start_paused = true)]
async fn of_a_node_that_is_another_machine_no_pod_is_known_and_nobody_is_evicted() {
    let other = OURS.replace("7a10", "7a11");
    let uid = "0330b2c1-a15b-4cdd-b5e5-72d4a90bee82";
    let pod = format!(r#"{{"metadata":{{"uid":"{uid}","name":"p"}},"spec":{{"nodeName":"n1"}}}}"#);
    let stage = Stage::set(vec![
        answer("limit", &page(10, "", std::slice::from_ref(&pod))),
        Answer {
            status: OPEN,
            ..answer("watch=1", "")
        },
        ours(),
        answer("selfsubjectaccessreviews", MAY),
        answer("watch=1", ""),
        answer("GET /api/v1/nodes/n1", &other),
    ])
    .await;
    let heard = Heard::default();
    let shelf = Shelf::default();
    let access = Access::of_service("h", "1", std::path::Path::new("/nowhere")).expect("a port");
    let mut line = Line::new(
        access,
        "n1",
        Some(BOOT.to_owned()),
        "/nowhere".into(),
        shelf.clone(),
        heard.clone(),
    );
    let held = tokio::time::timeout(std::time::Duration::from_secs(5), line.hold_over(&stage.link)).await;
    assert!(
        held.is_err() && shelf.link().is_some(),
        "it is this machine's: {held:?}"
    );
    // By which the node's figures are its own.
    assert_eq!(
        shelf.own_node().and_then(|node| node.uid).as_deref(),
        Some("8d1f")
    );
    let Err(trouble) = line.hold_over(&stage.link).await;
    line.lose(&trouble).await;
    assert!(shelf.link().is_none());
    let said = heard.said.lock().expect("a list").join("; ");
    let (before, after) = said
        .split_once("; 1 pods")
        .expect("it was known")
        .1
        .split_once("; 0 pods")
        .expect("it is not known");
    assert!(!before.contains("away"), "{said}");
    assert!(
        after.contains(
            "away: node n1 is another machine, or its kubelet has not told of this start yet: it runs on boot"
        ) && after.contains("spec.nodeName"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_compared_is_told_and_followed() {
    for (status, node, says) in [
        (
            403,
            r#"{"message":"nodes \"n1\" is forbidden: User \"x\" cannot get resource \"nodes\""}"#,
            "cannot get resource",
        ),
        (404, "", "answers 404"),
        (200, "<html>", "not what was asked for"),
        (SILENCE, "", "within 10s"),
        (200, "{}", "its kubelet has not said"),
        (200, r#"{"status":{"nodeInfo":null}}"#, "its kubelet has not said"),
        (
            200,
            r#"{"status":{"nodeInfo":{"bootID":7}}}"#,
            "its kubelet has not said",
        ),
    ] {
        let (_, said, _) = hold(vec![
            answer("limit", &page(10, "", &[])),
            answer("watch=1", ""),
            refusal("GET /api/v1/nodes/n1 as system:node:n1", status, node),
            answer("selfsubjectaccessreviews", MAY),
        ])
        .await;
        assert!(
            said.contains("whether node n1 is this machine is not known: ") && said.contains(says),
            "{said}"
        );
        assert!(said.contains("may evict: Ok"), "{said}");
    }
}
