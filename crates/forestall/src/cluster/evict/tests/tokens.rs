//! Evictions within a budget: what they take, and what becomes of it.

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
