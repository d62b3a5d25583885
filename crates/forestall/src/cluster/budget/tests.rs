//! Tokens before a scripted server, and many nodes before one that keeps Leases as the real one does.

mod crowd;

use forestall_decide::Span;

use super::super::evict::tests::{created, pod};
use super::super::shelf::Controller;
use super::super::tests::{Answer, Stage, answer, refusal};
use super::*;

const LIST: &str = "GET /apis/coordination.k8s.io/v1/namespaces/guards/leases?labelSelector=forestall.io%2Fbudget%3Devictions&limit=5000";
const MAKE: &str = "POST /apis/coordination.k8s.io/v1/namespaces/guards/leases";
const REMOVE: &str = "DELETE /apis/coordination.k8s.io/v1/namespaces/guards/leases/";
/// The server's clock, and what it was a minute and ten minutes before.
const DATE: &str = "Mon, 23 Nov 2026 12:00:00 GMT";
const NOW: &str = "2026-11-23T12:00:00Z";
const A_MINUTE_AGO: &str = "2026-11-23T11:59:00Z";
const LONG_AGO: &str = "2026-11-23T11:50:00Z";

fn budget(evictions: Option<Tokens>) -> Budget {
    Budget {
        evictions,
        cooldown: Span::secs(300),
        ..Budget::default()
    }
}

fn of_cluster(count: u32) -> Budget {
    budget(Some(Tokens::Count(count)))
}

/// A list of Leases of these names, made at these times.
fn list(leases: &[(&str, &str)]) -> Answer {
    let items = leases.iter().map(|(name, made)| {
        json!({ "metadata": { "name": name, "uid": format!("uid-of-{name}"), "creationTimestamp": made }, "spec": { "holderIdentity": "n7" } })
    });
    let items: Vec<_> = items.collect();
    Answer {
        header: Some(("date", DATE)),
        ..answer("GET", &json!({ "items": items }).to_string())
    }
}

fn made(name: &str) -> Answer {
    created(&json!({ "metadata": { "name": name, "uid": format!("uid-of-{name}") } }).to_string())
}

fn taken() -> Answer {
    refusal("POST", 409, r#"{"reason":"AlreadyExists"}"#)
}

fn removed() -> Answer {
    answer("DELETE", "{}")
}

async fn take(budget: Budget, answers: Vec<Answer>) -> (Stage, Purse, Result<Vec<Token>, Trouble>) {
    let stage = Stage::set(answers).await;
    let purse = Purse::of(budget);
    let taken = purse.take(&stage.link, "n1", &pod()).await;
    (stage, purse, taken)
}

fn names(taken: Result<Vec<Token>, Trouble>) -> Vec<String> {
    let tokens = taken.expect("tokens").into_iter();
    tokens.map(|token| token.name).collect()
}

#[tokio::test]
async fn without_a_bound_nobody_is_asked_for_a_token() {
    let (stage, purse, taken) = take(Budget::default(), Vec::new()).await;
    assert!(names(taken).is_empty() && stage.asked().is_empty());
    assert_eq!(purse.left(Instant::now()), None);
    // A bound of others is none of this pod's.
    let others = Budget {
        namespaces: [("web".to_owned(), 0)].into(),
        ..Budget::default()
    };
    let (stage, _, taken) = take(others, Vec::new()).await;
    assert!(names(taken).is_empty() && stage.asked().is_empty());
}

#[tokio::test]
async fn a_token_is_a_lease_that_says_who_has_it_and_is_made_as_the_account_itself() {
    let (stage, purse, taken) = take(of_cluster(2), vec![list(&[]), made("forestall-evictions-0")]).await;
    assert_eq!(names(taken), ["forestall-evictions-0"]);
    assert_eq!(stage.asked(), [LIST, MAKE]);
    let lease: serde_json::Value = serde_json::from_str(&stage.bodies()[1]).expect("JSON");
    assert_eq!(lease["metadata"]["name"], "forestall-evictions-0");
    assert_eq!(lease["metadata"]["namespace"], "guards");
    assert_eq!(lease["metadata"]["labels"]["forestall.io/budget"], "evictions");
    assert_eq!(lease["spec"]["holderIdentity"], "n1");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 300);
    assert_eq!(purse.left(Instant::now()), Some(1));
}

/// The first of two was taken a minute ago, and is spent for four more.
#[tokio::test]
async fn where_all_are_spent_nobody_is_evicted_and_it_is_known_for_how_long() {
    let leases = [
        ("forestall-evictions-0", A_MINUTE_AGO),
        ("forestall-evictions-1", NOW),
    ];
    let (stage, purse, taken) = take(of_cluster(2), vec![list(&leases)]).await;
    let Err(Trouble::Spent {
        whose,
        tokens,
        left,
        holders,
    }) = taken
    else {
        panic!("{taken:?}");
    };
    assert_eq!((&*whose, tokens), ("the cluster", 2));
    assert_eq!(holders, ["n7"]);
    // A `Date` has whole seconds, and so has a time of creation.
    assert!((238..=240).contains(&left.as_secs()), "{left:?}");
    assert_eq!(stage.asked(), [LIST]);
    assert_eq!(purse.left(Instant::now()), Some(0));
    assert_eq!(purse.left(Instant::now() + Duration::from_secs(241)), Some(2));
}

#[tokio::test]
async fn a_token_whose_time_is_over_is_removed_by_its_uid_and_made_anew() {
    let leases = [
        ("forestall-evictions-0", A_MINUTE_AGO),
        ("forestall-evictions-1", LONG_AGO),
    ];
    let answers = vec![list(&leases), removed(), made("forestall-evictions-1")];
    let (stage, _, taken) = take(of_cluster(2), answers).await;
    assert_eq!(names(taken), ["forestall-evictions-1"]);
    let remove = format!("{REMOVE}forestall-evictions-1");
    assert_eq!(stage.asked(), [LIST, &remove, MAKE]);
    let options: serde_json::Value = serde_json::from_str(&stage.bodies()[1]).expect("JSON");
    assert_eq!(options["preconditions"]["uid"], "uid-of-forestall-evictions-1");
}

#[tokio::test]
async fn where_somebody_is_quicker_the_next_one_is_taken_and_where_all_were_none() {
    let answers = vec![list(&[]), taken(), made("forestall-evictions-1")];
    let (_, _, first) = take(of_cluster(2), answers).await;
    assert_eq!(names(first), ["forestall-evictions-1"]);
    let (_, _, none) = take(of_cluster(2), vec![list(&[]), taken(), taken()]).await;
    assert!(matches!(none, Err(Trouble::Spent { .. })), "{none:?}");
    // One that is over was removed by another, who has it now.
    let gone = refusal("DELETE", 409, r#"{"reason":"Conflict"}"#);
    let answers = vec![list(&[("forestall-evictions-0", LONG_AGO)]), gone, taken()];
    let (_, _, none) = take(of_cluster(1), answers).await;
    assert!(matches!(none, Err(Trouble::Spent { .. })), "{none:?}");
}

#[tokio::test]
async fn a_bound_of_its_own_counts_beside_the_clusters_and_nothing_is_kept_where_one_is_spent() {
    let both = Budget {
        namespaces: [("shop".to_owned(), 1)].into(),
        ..of_cluster(5)
    };
    let answers = vec![
        list(&[]),
        made("forestall-evictions-0"),
        made("forestall-evictions-ns-shop-0"),
    ];
    let (_, _, taken) = take(both.clone(), answers).await;
    assert_eq!(
        names(taken),
        ["forestall-evictions-0", "forestall-evictions-ns-shop-0"]
    );
    let spent = list(&[
        ("forestall-evictions-ns-shop-0", NOW),
        ("forestall-evictions-ns-web-0", NOW),
    ]);
    let (stage, purse, taken) = take(both, vec![spent, made("forestall-evictions-0"), removed()]).await;
    assert!(
        matches!(&taken, Err(Trouble::Spent { whose, .. }) if whose == "namespace shop"),
        "{taken:?}"
    );
    let given_back = format!("{REMOVE}forestall-evictions-0");
    assert_eq!(stage.asked(), [LIST, MAKE, &given_back]);
    // Pods of other namespaces may still go.
    assert_ne!(purse.left(Instant::now()), Some(0));
}

#[tokio::test]
async fn of_zero_nobody_has_one_and_a_lower_bound_counts_those_above_it() {
    let (stage, purse, taken) = take(of_cluster(0), vec![list(&[])]).await;
    assert!(
        matches!(taken, Err(Trouble::Spent { .. })) && stage.asked() == [LIST],
        "{taken:?}"
    );
    assert_eq!(purse.left(Instant::now() + Duration::from_hours(1)), Some(0));
    let above = [("forestall-evictions-7", NOW), ("forestall-evictions-9", NOW)];
    let (_, _, taken) = take(of_cluster(2), vec![list(&above)]).await;
    assert!(matches!(taken, Err(Trouble::Spent { .. })), "{taken:?}");
}

#[tokio::test]
async fn what_somebody_wrote_by_hand_is_no_token_and_breaks_nothing() {
    let odd = [
        ("forestall-evictions-x", NOW),
        ("forestall-evictions--1", NOW),
        ("forestall-evictions", NOW),
        ("forestall-evictions-99999999999", NOW),
        ("other-0", NOW),
        ("", NOW),
        // Nobody can say so of a Lease that the server has made: it is over.
        ("forestall-evictions-0", "soon"),
    ];
    let (_, _, taken) = take(
        of_cluster(1),
        vec![list(&odd), removed(), made("forestall-evictions-0")],
    )
    .await;
    assert_eq!(names(taken), ["forestall-evictions-0"]);
    // By a server whose clock is ahead of the one that answers.
    let ahead = list(&[("forestall-evictions-0", "2026-11-23T12:00:09Z")]);
    let (_, _, taken) = take(of_cluster(1), vec![ahead]).await;
    assert!(matches!(taken, Err(Trouble::Spent { .. })), "{taken:?}");
    for (status, body) in [(200, "<html>"), (403, r#"{"reason":"Forbidden"}"#), (500, "")] {
        let (_, _, taken) = take(of_cluster(1), vec![refusal("GET", status, body)]).await;
        assert!(taken.is_err(), "{status}: {taken:?}");
    }
    let many = answer("GET", r#"{"metadata":{"continue":"more"},"items":[]}"#);
    let (_, _, taken) = take(of_cluster(1), vec![many]).await;
    assert!(taken.is_err_and(|why| why.to_string().contains("delete those")));
}

/// Twelve nodes: an eighth of them is one and a half.
#[tokio::test]
async fn a_share_is_of_the_nodes_that_have_a_kubelets_lease_and_one_at_the_least() {
    for (permille, remaining, tokens) in [
        (125, 11, 1),
        (250, 11, 3),
        (10, 11, 1),
        (1_000, 0, 1),
        (1_000, -3, 1),
    ] {
        let counted = json!({ "metadata": { "remainingItemCount": remaining }, "items": [{}] }).to_string();
        let spent: Vec<String> = (0..tokens)
            .map(|nth| format!("forestall-evictions-{nth}"))
            .collect();
        let spent: Vec<(&str, &str)> = spent.iter().map(|name| (name.as_str(), NOW)).collect();
        let answers = vec![answer("kube-node-lease/leases?limit=1", &counted), list(&spent)];
        let (_, _, taken) = take(budget(Some(Tokens::Permille(permille))), answers).await;
        let Err(Trouble::Spent { tokens: of, .. }) = taken else {
            panic!("{taken:?}");
        };
        assert_eq!(of, tokens, "{permille} of {remaining}");
    }
}

fn of_controllers(tokens: u32) -> Budget {
    Budget {
        controllers: Some(tokens),
        controller_cooldown: Span::secs(3_600),
        ..Budget::default()
    }
}

/// A pod of this ReplicaSet.
fn replica(uid: &str) -> Named {
    Named {
        controller: Some(Controller {
            kind: "ReplicaSet".to_owned(),
            name: "cart-5d8f".to_owned(),
            uid: uid.to_owned(),
        }),
        ..pod()
    }
}

const OF_CART: &str = "forestall-evictions-of-8c1f3f0e-7f1b-4b0e-9d5a-2f6f3b1d7a10";

/// Who leaks wherever he lands: an eviction ten minutes ago, on another node, is remembered for an hour, and the other pods of the node are free to go.
#[tokio::test]
async fn a_controller_whose_pods_were_evicted_elsewhere_is_named_with_the_node_and_stays() {
    let uid = OF_CART.trim_start_matches("forestall-evictions-of-");
    let first = format!("{OF_CART}-0");
    let stage = Stage::set(vec![list(&[(&first, LONG_AGO)])]).await;
    let purse = Purse::of(of_controllers(1));
    let taken = purse
        .take(&stage.link, "n1", &replica(&uid.to_ascii_uppercase()))
        .await;
    let said = taken.expect_err("spent").to_string();
    assert!(
        said.contains("of ReplicaSet shop/cart-5d8f is spent: all of its 1 tokens")
            && said.contains(", by n7), and the first is free in "),
        "{said}"
    );
    // No bound of the cluster's is known to be spent by that.
    assert_eq!(purse.left(Instant::now()), None);
    // Another controller's pod has tokens of its own, and one of two is left.
    let stage = Stage::set(vec![list(&[(&first, LONG_AGO)]), made(&format!("{OF_CART}-1"))]).await;
    let purse = Purse::of(of_controllers(2));
    let taken = purse.take(&stage.link, "n1", &replica(uid)).await;
    assert_eq!(names(taken), [format!("{OF_CART}-1")]);
    let lease: serde_json::Value = serde_json::from_str(&stage.bodies()[1]).expect("JSON");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 3_600);
}

/// A pod that nobody makes anew, and one of an owner that no Lease can be named after.
#[tokio::test]
async fn who_has_no_controller_falls_under_no_bound_of_controllers() {
    for pod in [pod(), replica("../../secrets"), replica("")] {
        let stage = Stage::set(vec![list(&[])]).await;
        let taken = Purse::of(of_controllers(0)).take(&stage.link, "n1", &pod).await;
        assert!(names(taken).is_empty() && stage.asked().is_empty());
    }
}

/// Controllers come and go with each rollout: what is left of them is swept by whoever comes by, a few at a time, and nothing else is.
#[tokio::test]
async fn tokens_of_controllers_that_are_over_are_swept() {
    let old = "2026-11-23T10:59:59Z";
    let mut leases: Vec<(String, &str)> = (0..6).map(|nth| (format!("{OF_CART}-{nth}"), old)).collect();
    leases.push(("forestall-evictions-of-young-0".to_owned(), LONG_AGO));
    leases.push(("forestall-evictions-ns-shop-0".to_owned(), old));
    let leases: Vec<(&str, &str)> = leases.iter().map(|(name, made)| (name.as_str(), *made)).collect();
    let answers = [
        vec![
            list(&leases),
            made("forestall-evictions-of-0330b2c1-a15b-4cdd-b5e5-72d4a90bee82-0"),
        ],
        vec![removed(); 4],
    ];
    let stage = Stage::set(answers.concat()).await;
    let purse = Purse::of(of_controllers(1));
    let taken = purse
        .take(
            &stage.link,
            "n1",
            &replica("0330b2c1-a15b-4cdd-b5e5-72d4a90bee82"),
        )
        .await;
    assert_eq!(names(taken).len(), 1);
    let swept: Vec<String> = (0..4).map(|nth| format!("{REMOVE}{OF_CART}-{nth}")).collect();
    while stage.asked().len() < 6 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.asked()[2..], swept);
}
