//! What stands on the Node over simulated time, before a scripted server.

use serde_json::Value;

use super::*;
use crate::cluster::rights::user_of;
use crate::cluster::tests::{Answer, Stage, answer, refusal};

const READ: &str = "GET /api/v1/nodes/n1 as system:node:n1";
/// As itself.
const WRITE: &str = "PATCH /api/v1/nodes/n1";

/// The Node with these taints.
fn node(taints: &Value) -> Answer {
    let node = json!({"metadata": {"resourceVersion": "41"}, "spec": {"taints": taints}});
    answer(READ, &node.to_string())
}

fn done() -> Answer {
    answer(WRITE, "{}")
}

fn ours(effect: &str) -> Value {
    json!({"key": "forestall.io/memory-runway-low", "effect": effect})
}

fn other() -> Value {
    json!({"key": "dedicated", "value": "batch", "effect": "NoExecute", "timeAdded": "2026-11-21T07:36:00Z"})
}

/// The taints that were written last.
fn written(stage: &Stage) -> Value {
    let bodies = stage.bodies();
    let body: Value = serde_json::from_str(bodies.last().expect("a request")).expect("JSON");
    assert_eq!(
        body["metadata"]["resourceVersion"], "41",
        "or another one's taint is lost"
    );
    body["spec"]["taints"].clone()
}

async fn begin(wish: Taint, answers: Vec<Answer>) -> (Stage, Link, NodeTaint) {
    let stage = Stage::set(answers).await;
    let link = stage.link.impersonating(user_of("n1"));
    (stage, link, NodeTaint::of("n1", TaintWish::of(wish)))
}

fn after(seconds: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
}

#[tokio::test]
async fn it_is_set_beside_others_while_memory_runs_low_and_lifted_three_minutes_later() {
    let low = json!([other(), ours("NoSchedule")]);
    let answers = vec![node(&json!([other()])), done(), node(&low), node(&low), done()];
    let (stage, link, mut taint) = begin(Taint::NoSchedule, answers).await;
    assert!(!taint.is_due(after(0)), "in peace nobody is asked");
    taint.look(true, false, after(10));
    assert!(taint.is_due(after(10)));
    assert_eq!(taint.write(&link, after(10)).await, Ok(()));
    assert!(taint.is_set() && !taint.is_due(after(69)));
    assert_eq!(written(&stage), json!([other(), ours("NoSchedule")]));
    // While it stands it is looked at each minute, and nothing is written where it does.
    taint.look(true, false, after(70));
    assert!(taint.is_due(after(70)));
    assert_eq!(taint.write(&link, after(70)).await, Ok(()));
    taint.look(false, false, after(71));
    assert!(!taint.is_due(after(71)));
    assert_eq!(stage.asked(), [READ, WRITE, READ]);
    assert_eq!(taint.wanted(after(249)), Taint::NoSchedule);
    assert!(taint.is_due(after(250)));
    assert_eq!(taint.write(&link, after(250)).await, Ok(()));
    assert_eq!(written(&stage), json!([other()]));
    assert!(!taint.is_set() && !taint.is_due(after(9_999)));
}

/// What an agent has left that was killed, or another policy has wished for.
#[tokio::test]
async fn what_stands_without_reason_or_wish_is_lifted() {
    for wish in [Taint::None, Taint::NoSchedule] {
        let (stage, link, mut taint) =
            begin(wish, vec![node(&json!([ours("NoSchedule"), other()])), done()]).await;
        taint.look(false, true, after(0));
        assert!(taint.is_due(after(0)), "somebody has read it");
        assert_eq!(taint.write(&link, after(0)).await, Ok(()));
        assert_eq!(written(&stage), json!([other()]));
        // What was read before that is old.
        assert!(!taint.is_due(after(1)));
    }
    // Of another effect it is made what it should be, and once.
    let twice = json!([ours("PreferNoSchedule"), ours("NoExecute")]);
    let (stage, link, mut taint) = begin(
        Taint::PreferNoSchedule,
        vec![node(&twice), done(), node(&Value::Null)],
    )
    .await;
    taint.look(true, false, after(0));
    assert_eq!(taint.write(&link, after(0)).await, Ok(()));
    assert_eq!(written(&stage), json!([ours("PreferNoSchedule")]));
    // The wish goes, and somebody was quicker.
    taint.wish.set(Taint::None);
    assert!(taint.is_due(after(1)));
    assert_eq!(taint.write(&link, after(1)).await, Ok(()));
    assert_eq!(stage.asked(), [READ, WRITE, READ]);
}

#[tokio::test]
async fn the_last_word_lifts_it_however_low_memory_runs() {
    let answers = vec![
        node(&json!([])),
        done(),
        node(&json!([ours("NoSchedule")])),
        done(),
    ];
    let (stage, link, mut taint) = begin(Taint::NoSchedule, answers).await;
    taint.look(true, false, after(0));
    assert_eq!(taint.write(&link, after(0)).await, Ok(()));
    assert_eq!(taint.lift(&link).await, Ok(()));
    assert_eq!(written(&stage), json!([]));
    assert!(!taint.is_set());
}

#[tokio::test]
async fn what_is_refused_is_due_again_and_a_node_that_is_odd_loses_nothing() {
    let conflict = || refusal(WRITE, 409, r#"{"reason":"Conflict"}"#);
    let forbidden = r#"{"reason":"Forbidden","message":"nodes \"n1\" is forbidden: User \"a\" cannot patch resource \"nodes\""}"#;
    let odd = json!([other(), 7, null, {"key": 7}]);
    let answers = vec![
        node(&odd),
        conflict(),
        node(&odd),
        refusal(WRITE, 403, forbidden),
        node(&odd),
        done(),
    ];
    let (stage, link, mut taint) = begin(Taint::NoSchedule, answers).await;
    taint.look(true, false, after(0));
    assert!(taint.write(&link, after(0)).await.is_err() && taint.is_due(after(0)));
    let said = taint
        .write(&link, after(1))
        .await
        .expect_err("forbidden")
        .to_string();
    assert!(
        said.contains("cannot patch resource \"nodes\"") && taint.is_due(after(1)),
        "{said}"
    );
    assert_eq!(taint.write(&link, after(2)).await, Ok(()));
    assert_eq!(
        written(&stage),
        json!([other(), 7, null, {"key": 7}, ours("NoSchedule")])
    );
    taint.forget();
    assert!(taint.is_due(after(3)), "the connection was another one");
}
