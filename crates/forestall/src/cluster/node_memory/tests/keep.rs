//! What is written, over simulated time, by a scripted server.

use std::sync::Arc;

use forestall_decide::{Bytes, Pod, Pods, Span, WallKind, WallReading};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Duration, far, node};
use crate::agent::shared::{self, Ends};
use crate::cluster::condition::tests::keep::Heard;
use crate::cluster::follow;
use crate::cluster::node_memory::keep;
use crate::cluster::own_node::OwnNode;
use crate::cluster::rights::user_of;
use crate::cluster::seen::tests::{publish, reading};
use crate::cluster::shelf::Shelf;
use crate::cluster::tests::{Answer, Stage, answer, refusal};

/// As itself, though the connection is its node's.
const WRITTEN: &str = "PATCH /apis/forestall.io/v1alpha1/nodememories/n1?fieldManager=forestall&force=true";

/// An agent on n1 and its server.
struct Trial {
    stage: Stage,
    ends: Ends,
    shelf: Shelf,
    heard: Heard,
    kept: JoinHandle<()>,
}

impl Trial {
    /// One that has looked and has a connection.
    async fn begin(answers: Vec<Answer>) -> Self {
        // What it was when the line began, and what it has become.
        let changed = r#"{"metadata":{"uid":"8d1f"},"spec":{"taints":[{"key":"a","effect":"NoExecute"}]},"status":{"allocatable":{"memory":"800Mi"}}}"#;
        let stage = Stage::set_beside(answer("GET /api/v1/nodes/n1", changed), answers).await;
        let mut ends = shared::open().expect("an eventfd");
        publish(&mut ends, &node(), &[far(WallKind::Kernel, 450)]);
        let (shelf, heard) = (Shelf::default(), Heard::default());
        shelf.set_own_node(Some(own_node()));
        shelf.set_link(Some(stage.link.impersonating(user_of("n1"))));
        let kept = keep(Arc::clone(&ends.board), shelf.clone(), "n1".into(), heard.clone());
        let kept = tokio::spawn(async move { match kept.await {} });
        Self {
            stage,
            ends,
            shelf,
            heard,
            kept,
        }
    }

    /// Every five seconds the guard has looked and seen this.
    async fn look(&mut self, seconds: u64, wall: &WallReading) {
        for _ in 0..seconds / 5 {
            publish(&mut self.ends, &node(), &[*wall]);
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn asked(&self) -> Vec<String> {
        self.stage.asked()
    }

    fn last(&self) -> Value {
        let bodies = self.stage.bodies();
        serde_json::from_str(bodies.last().expect("a request")).expect("JSON")
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.kept.abort();
    }
}

fn own_node() -> OwnNode {
    OwnNode {
        uid: Some("8d1f".to_owned()),
        allocatable: Some(Bytes::mebi(900)),
        ..OwnNode::default()
    }
}

fn some(count: usize) -> Vec<Answer> {
    (0..count).map(|_| answer(WRITTEN, "{}")).collect()
}

#[tokio::test(start_paused = true)]
async fn figures_are_written_at_the_start_and_in_peace_every_five_minutes_by_the_account_itself() {
    let mut trial = Trial::begin(some(99)).await;
    let calm = far(WallKind::Kernel, 450);
    trial.look(60, &calm).await;
    assert_eq!(trial.asked(), [WRITTEN]);
    let written = trial.last();
    assert_eq!(written["memory"]["actual"], "500Mi");
    assert_eq!(written["metadata"]["ownerReferences"][0]["uid"], "8d1f");
    trial.look(3_600, &calm).await;
    let count = trial.asked().len();
    assert!((12..=13).contains(&count), "{count} in an hour");
    assert_eq!(written["scheduling"], Value::Null, "nobody has told of pods");
    assert_eq!(trial.heard.all(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_written_within_a_minute_and_however_it_comes_and_goes_no_more_than_once_a_minute() {
    let mut trial = Trial::begin(some(99)).await;
    let calm = far(WallKind::Kernel, 450);
    trial.look(120, &calm).await;
    let alarm = WallReading {
        alarmed: true,
        ..reading(WallKind::Kernel, 100, Span::secs(20))
    };
    trial.look(10, &alarm).await;
    assert_eq!(trial.asked().len(), 2, "the last write was long ago");
    assert_eq!(trial.last()["walls"][0]["alarm"], true);
    for _ in 0..60 {
        trial.look(15, &calm).await;
        trial.look(15, &alarm).await;
    }
    let count = trial.asked().len() - 2;
    assert!((15..=30).contains(&count), "{count} in half an hour");
    // A connection that comes and goes makes it no more often.
    let before = trial.asked().len();
    for nth in 0..10 {
        trial.shelf.set_link(None);
        trial.look(5, if nth % 2 == 0 { &calm } else { &alarm }).await;
        trial.shelf.set_link(Some(trial.stage.link.clone()));
        trial.look(5, if nth % 2 == 0 { &calm } else { &alarm }).await;
    }
    assert!(trial.asked().len() - before <= 2, "{:?}", trial.asked());
}

#[tokio::test(start_paused = true)]
async fn what_the_scheduler_goes_by_is_told_when_it_changes_and_the_node_read_again_every_five_minutes() {
    let mut trial = Trial::begin(some(9)).await;
    let request = |trial: &Trial, mebi: u64| {
        let pod = Pod {
            request: Bytes::mebi(mebi),
            ..Pod::default()
        };
        let pods = Pods {
            list: vec![pod],
            ..Pods::default()
        };
        trial.shelf.set_pods(&follow::Pods::of_node("n1"), &pods);
    };
    request(&trial, 70);
    let calm = far(WallKind::Kernel, 450);
    trial.look(30, &calm).await;
    let first = serde_json::json!({"allocatable": "900Mi", "requested": "70Mi", "taints": []});
    assert_eq!(trial.last()["scheduling"], first);
    trial.look(300, &calm).await;
    let next = serde_json::json!({"allocatable": "800Mi", "requested": "70Mi", "taints": ["a:NoExecute"]});
    assert_eq!(trial.last()["scheduling"], next);
    assert_eq!(trial.last()["metadata"]["ownerReferences"][0]["uid"], "8d1f");
    assert_eq!(trial.asked().len(), 2);
    // A twentieth of the machine's 1,000 MiB more is told within a minute, and less is not.
    request(&trial, 119);
    trial.look(120, &calm).await;
    assert_eq!(trial.asked().len(), 2);
    request(&trial, 120);
    trial.look(60, &calm).await;
    assert_eq!(trial.last()["scheduling"]["requested"], "120Mi");
}

/// As a real server answers for a path that it does not know.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_know_the_kind_is_told_once_and_looked_at_every_five_minutes() {
    let unknown = (0..12).map(|_| refusal(WRITTEN, 404, "404 page not found\n"));
    let mut trial = Trial::begin(unknown.chain(some(99)).collect()).await;
    let calm = far(WallKind::Kernel, 450);
    trial.look(3_590, &calm).await;
    assert_eq!(trial.asked().len(), 12, "in an hour");
    let heard = trial.heard.all();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].contains("does not know nodememories.forestall.io; apply"),
        "{heard:?}"
    );
    trial.look(60, &calm).await;
    assert_eq!(
        trial.heard.all().get(1).map(String::as_str),
        Some("NodeMemory told")
    );
}

#[tokio::test(start_paused = true)]
async fn a_right_to_write_figures_that_is_missing_is_named_once_and_asked_for_seldom() {
    let body = r#"{"code":403,"reason":"Forbidden","message":"nodememories.forestall.io \"n1\" is forbidden: User \"system:serviceaccount:forestall:forestall\" cannot patch resource \"nodememories\" in API group \"forestall.io\" at the cluster scope"}"#;
    let mut trial = Trial::begin((0..99).map(|_| refusal(WRITTEN, 403, body)).collect()).await;
    trial.look(3_600, &far(WallKind::Kernel, 450)).await;
    let heard = trial.heard.all();
    assert_eq!(heard.len(), 1, "{heard:?}");
    let words = "cannot patch resource \"nodememories\"";
    assert!(
        heard[0].contains(words) && heard[0].contains("grant that right"),
        "{heard:?}"
    );
    let tries = trial.asked().len();
    assert!((10..=14).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn without_a_server_figures_wait_and_a_busy_one_gets_its_time() {
    let busy = Answer {
        header: Some(("retry-after", "45")),
        ..refusal(WRITTEN, 429, "slow down")
    };
    let mut trial = Trial::begin([busy].into_iter().chain(some(9)).collect()).await;
    trial.shelf.set_link(None);
    let calm = far(WallKind::Kernel, 450);
    trial.look(1_200, &calm).await;
    assert_eq!(trial.asked(), [""; 0]);
    trial.shelf.set_link(Some(trial.stage.link.clone()));
    trial.look(40, &calm).await;
    assert_eq!(trial.asked().len(), 1);
    trial.look(20, &calm).await;
    assert_eq!(trial.asked().len(), 2);
    assert_eq!(trial.heard.all(), [""; 0]);
}
