//! Lists of other nodes' figures, as a server gives them, and what is found in them.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::cluster::tests::{Answer, Stage, answer, refusal};

const LIST: &str = "GET /apis/forestall.io/v1alpha1/nodememories?limit=250";
const OWN: &str = "GET /api/v1/nodes/n1";

/// 2026-11-21T07:36:33Z, by GNU date.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_246_593)
}

/// A node of 1,000 MiB with so much left.
fn node(name: &str, left: u64) -> Value {
    json!({
        "apiVersion": "forestall.io/v1alpha1",
        "metadata": {"name": name},
        "seenAt": "2026-11-21T07:36:00Z",
        "memory": {"total": "1000Mi", "available": "900Mi"},
        "walls": [{"name": "kernel", "left": format!("{left}Mi"), "alarm": false}],
        "scheduling": {"allocatable": "900Mi", "requested": "500Mi", "taints": []},
    })
}

fn with(mut node: Value, path: &str, value: Value) -> Value {
    *node.pointer_mut(path).expect("a field") = value;
    node
}

fn page(nodes: &[Value], rest: &str) -> Answer {
    answer(
        LIST,
        &json!({"metadata": {"continue": rest}, "items": nodes}).to_string(),
    )
}

/// This node, with these taints.
fn own(taints: &Value) -> Answer {
    answer(
        OWN,
        &json!({"metadata": {"uid": "u"}, "spec": {"taints": taints}}).to_string(),
    )
}

async fn found(load: (u64, u64), answers: Vec<Answer>) -> (Stage, Result<Found, Trouble>) {
    let stage = Stage::set(answers).await;
    let load = Load {
        holds: Bytes::mebi(load.0),
        request: Bytes::mebi(load.1),
    };
    let found = find(&stage.link, "n1", load, now()).await;
    (stage, found)
}

async fn among(load: (u64, u64), nodes: &[Value]) -> Found {
    let (_, found) = found(load, vec![own(&json!([])), page(nodes, "")]).await;
    found.expect("an answer")
}

fn nowhere(nodes: usize, most: u64) -> Found {
    Found::Nowhere {
        nodes,
        most: Bytes::mebi(most),
    }
}

/// A twentieth of 1,000 MiB has to be left: of 250, 200 may go.
#[tokio::test]
async fn there_is_room_where_what_it_holds_leaves_a_twentieth_and_its_request_is_free() {
    let others = [node("n2", 100), node("n3", 250)];
    assert_eq!(among((200, 0), &others).await, Found::Room);
    assert_eq!(among((201, 0), &others).await, nowhere(2, 200));
    assert_eq!(among((10, 400), &others).await, Found::Room);
    assert_eq!(among((10, 401), &others).await, nowhere(2, 200));
}

#[tokio::test]
async fn a_node_in_trouble_of_its_own_is_no_place_however_much_it_has_left() {
    for (path, value) in [
        ("/walls/0/alarm", json!(true)),
        (
            "/walls/0",
            json!({"name": "kernel", "left": "800Mi", "alarm": false, "runway": {"p10Seconds": 119}}),
        ),
    ] {
        assert_eq!(
            among((1, 0), &[with(node("n2", 800), path, value)]).await,
            nowhere(1, 0)
        );
    }
    let later = json!({"name": "kernel", "left": "800Mi", "alarm": false, "runway": {"p10Seconds": 120}});
    assert_eq!(
        among((1, 0), &[with(node("n2", 800), "/walls/0", later)]).await,
        Found::Room
    );
}

/// Those of the control plane have room on every cluster, and take nobody.
#[tokio::test]
async fn where_a_taint_keeps_it_away_is_no_place_unless_it_lives_beside_the_same_one() {
    let control = with(
        node("c1", 800),
        "/scheduling/taints",
        json!(["node-role.kubernetes.io/control-plane:NoSchedule"]),
    );
    assert_eq!(among((1, 0), &[control]).await, nowhere(1, 0));
    let batch = with(
        node("n2", 800),
        "/scheduling/taints",
        json!(["dedicated=batch:NoExecute"]),
    );
    let taints = json!([{"key": "dedicated", "value": "batch", "effect": "NoExecute"}]);
    let (_, found) = found((1, 0), vec![own(&taints), page(&[batch], "")]).await;
    assert_eq!(found, Ok(Found::Room));
}

#[tokio::test]
async fn what_is_old_or_absurd_is_no_room_and_no_wall() {
    let itself = node("n1", 800);
    let old = with(node("n2", 800), "/seenAt", json!("2026-11-21T07:30:00Z"));
    let absurd = with(node("n3", 800), "/walls/0/left", json!("1001Mi"));
    let newer = with(node("n4", 800), "/apiVersion", json!("forestall.io/v9"));
    let unknown = Found::Unknown("no other node's figures are known".to_owned());
    assert_eq!(among((1, 0), &[itself, old, absurd, newer]).await, unknown);
    assert_eq!(among((1, 0), &[]).await, unknown);
}

#[tokio::test]
async fn pages_are_read_until_one_has_room_and_no_further() {
    let answers = vec![
        own(&json!([])),
        page(&[node("n2", 60)], "a b"),
        page(&[node("n3", 800)], "more"),
    ];
    let (stage, found) = found((100, 0), answers).await;
    assert_eq!(found, Ok(Found::Room));
    assert_eq!(stage.asked(), [OWN, LIST, &format!("{LIST}&continue=a%20b")]);
}

/// A kind that is not there, a right that is missing and a page that is forgotten are no reason to hold anybody back; a server that does not answer is trouble.
#[tokio::test]
async fn what_cannot_be_found_out_is_told_apart_from_a_server_in_trouble() {
    for status in [403, 404, 410] {
        let (_, found) = found((1, 0), vec![own(&json!([])), refusal("GET", status, "{}")]).await;
        assert!(matches!(found, Ok(Found::Unknown(_))), "{status}: {found:?}");
    }
    for (status, body) in [(500, "{}"), (429, "{}"), (200, "<html>")] {
        let (_, found) = found((1, 0), vec![own(&json!([])), refusal("GET", status, body)]).await;
        assert!(found.is_err(), "{status}: {found:?}");
    }
    // Whoever may not read its own Node is not known to tolerate anything.
    let (_, found) = found(
        (1, 0),
        vec![refusal("GET", 403, "{}"), page(&[node("n2", 800)], "")],
    )
    .await;
    assert_eq!(found, Ok(Found::Room));
}
