//! Evictions within a budget: what they take, and what becomes of it.

use forestall_decide::{Bytes as Amount, Elsewhere};

use super::*;
use crate::config::budget::{Budget, Tokens};

/// One token for the whole cluster, which is free.
fn with_a_token(more: Vec<Answer>) -> Vec<Answer> {
    let list = answer("leases?labelSelector=", r#"{"items":[]}"#);
    let made = created(r#"{"metadata":{"name":"forestall-evictions-0","uid":"7"}}"#);
    [vec![list, made], more].concat()
}

fn one_token() -> Budget {
    Budget {
        evictions: Some(Tokens::Count(1)),
        ..Budget::default()
    }
}

#[tokio::test]
async fn an_eviction_takes_a_token_first_and_one_that_is_refused_gives_it_back() {
    let trial = Trial::set(with_a_token(vec![created(CREATED), created("{}")])).await;
    trial.shelf.purse().set(one_token());
    assert_eq!(trial.outcomes().await, [OutcomeKind::Progress, OutcomeKind::Done]);
    let asked = trial.stage.asked();
    assert!(
        asked.len() == 4 && asked[2].contains("eviction") && asked[3].contains("events"),
        "{asked:?}"
    );
    let trial = Trial::set(with_a_token(vec![
        refusal("eviction", 429, BUDGET),
        answer("DELETE", "{}"),
    ]))
    .await;
    trial.shelf.purse().set(one_token());
    assert_eq!(trial.outcomes().await, [OutcomeKind::Blocked]);
    let asked = trial.stage.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(
        asked[3].starts_with("DELETE") && asked[3].ends_with("leases/forestall-evictions-0"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn where_no_token_is_left_or_nobody_can_say_the_server_is_asked_for_no_eviction() {
    // 2100-03-01, which no clock of a test shows.
    let held = r#"{"items":[{"metadata":{"name":"forestall-evictions-0","uid":"7","creationTimestamp":"2100-03-01T00:00:00Z"}}]}"#;
    let forbidden = r#"{"reason":"Forbidden","message":"leases.coordination.k8s.io is forbidden: User \"a\" cannot list resource \"leases\""}"#;
    for (list, kind, says) in [
        (
            answer("leases", held),
            OutcomeKind::Blocked,
            "the budget of evictions of the cluster is spent: all of its 1 tokens",
        ),
        // EACCES.
        (
            refusal("leases", 403, forbidden),
            OutcomeKind::Failed(13),
            "deploy/ has the rules",
        ),
    ] {
        let trial = Trial::set(vec![list]).await;
        trial.shelf.purse().set(one_token());
        assert_eq!(trial.outcomes().await, [kind]);
        assert_eq!(trial.stage.asked().len(), 1);
        assert!(trial.told().contains(says), "{}", trial.told());
    }
}

/// Where the pod's 1 MiB would go: another node's figures, which leave 51 MiB to its wall, 1 MiB above a twentieth of it, or none.
fn other_node(left: u64) -> Answer {
    let seen_at = crate::log::time::rfc3339_seconds(SystemTime::now());
    let node = json!({"apiVersion": "forestall.io/v1alpha1", "metadata": {"name": "n2"}, "seenAt": seen_at,
        "memory": {"total": "1000Mi", "available": format!("{left}Mi")}, "walls": []});
    answer("nodememories", &json!({ "items": [node] }).to_string())
}

fn with_room() -> Budget {
    Budget {
        room: true,
        ..one_token()
    }
}

#[tokio::test]
async fn where_no_other_node_has_room_nobody_is_evicted_no_token_is_taken_and_the_engine_is_told() {
    let own = || answer("GET /api/v1/nodes/n1", "{}");
    let trial = Trial::set(vec![own(), other_node(50)]).await;
    trial.shelf.purse().set(with_room());
    let before = Instant::now();
    assert_eq!(trial.shelf.purse().elsewhere(before), Elsewhere::Unknown);
    assert_eq!(trial.outcomes().await, [OutcomeKind::Blocked]);
    assert_eq!(trial.stage.asked().len(), 2);
    let told = trial.told();
    assert!(
        told.contains("it holds 1 MiB, and of 1 other nodes") && told.contains("0 MiB at the most"),
        "{told}"
    );
    let purse = trial.shelf.purse();
    assert_eq!(purse.elsewhere(before), Elsewhere::Room(Amount::ZERO));
    assert_eq!(
        purse.elsewhere(Instant::now() + Duration::from_mins(1)),
        Elsewhere::Unknown
    );
    // With room it takes its token, and goes.
    let answers = with_a_token(vec![created(CREATED), created("{}")]);
    let trial = Trial::set([vec![own(), other_node(51)], answers].concat()).await;
    trial.shelf.purse().set(with_room());
    assert_eq!(trial.outcomes().await, [OutcomeKind::Progress, OutcomeKind::Done]);
    assert_eq!(trial.told(), "");
}

#[tokio::test]
async fn where_nobody_knows_of_room_it_is_said_and_the_pod_goes() {
    let missing = refusal("nodememories", 404, "404 page not found");
    let answers = with_a_token(vec![created(CREATED), created("{}")]);
    let trial = Trial::set([vec![answer("GET /api/v1/nodes/n1", "{}"), missing], answers].concat()).await;
    trial.shelf.purse().set(with_room());
    assert_eq!(trial.outcomes().await, [OutcomeKind::Progress, OutcomeKind::Done]);
    assert!(
        trial
            .told()
            .contains("cart-0 goes anywhere: the API server answers 404"),
        "{}",
        trial.told()
    );
}
