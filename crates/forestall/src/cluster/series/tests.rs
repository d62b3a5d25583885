//! Evictions one after another, and what a scripted server is asked to write of them.

use super::super::evict::tests::{Told, created, pod};
use super::super::tests::{Answer, Stage, answer, refusal};
use super::*;
use crate::agent::own_wall;

const MADE: &str = "POST /apis/events.k8s.io/v1/namespaces/default/events";
/// 1,700,000,000 s since 1970, in nanoseconds and hexadecimal digits.
const NAME: &str = "n1.17979cfe362a0000";
const COUNTED: &str = "PATCH /apis/events.k8s.io/v1/namespaces/default/events/n1.17979cfe362a0000";

fn at(secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + secs)
}

fn evidence() -> Evidence {
    Evidence {
        reading: own_wall(),
        time_to_effect: forestall_decide::Span(0),
        rule: "in-time",
    }
}

/// So many pods are evicted at these seconds, and it is written.
async fn write(series: &mut Series, stage: &Stage, seconds: &[u64]) -> Result<(), Trouble> {
    let news = NodeNews::default();
    for second in seconds {
        news.note(&pod(), &evidence(), at(*second));
    }
    series.take("n1", &news.next().await);
    series.write(&stage.link).await
}

fn body(stage: &Stage, nth: usize) -> Value {
    serde_json::from_str(&stage.bodies()[nth]).expect("JSON")
}

#[tokio::test]
async fn one_event_on_the_node_tells_of_the_first_eviction_and_counts_those_after_it() {
    let answers = [(); 3].map(|()| created("{}"));
    let stage = Stage::set(answers.into()).await;
    let mut series = Series::default();
    write(&mut series, &stage, &[0]).await.expect("made");
    write(&mut series, &stage, &[20, 21, 22]).await.expect("counted");
    write(&mut series, &stage, &[300]).await.expect("counted");
    assert_eq!(stage.asked(), [MADE, COUNTED, COUNTED]);
    let event = body(&stage, 0);
    assert_eq!(event["metadata"], json!({ "namespace": "default", "name": NAME }));
    // As the kubelet named its node until 1.36, and `kubectl describe node` looks for it.
    let node = json!({ "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1" });
    assert_eq!(event["regarding"], node);
    assert_eq!(event["eventTime"], "2023-11-14T22:13:20.000000Z");
    let note = event["note"].as_str().expect("a note");
    assert!(
        note.contains("shop/cart-0") && note.contains("rule in-time"),
        "{note}"
    );
    // A series has two at least (`validateV1EventSeries`).
    assert_eq!(event.get("series"), None);
    for (nth, count, last) in [
        (1, 4, "2023-11-14T22:13:42.000000Z"),
        (2, 5, "2023-11-14T22:18:20.000000Z"),
    ] {
        let series = json!({ "series": { "count": count, "lastObservedTime": last } });
        assert_eq!(body(&stage, nth), series);
    }
}

#[tokio::test]
async fn what_comes_long_after_is_another_series_and_several_at_once_are_one_event() {
    let stage = Stage::set([(); 2].map(|()| created("{}")).into()).await;
    let mut series = Series::default();
    write(&mut series, &stage, &[0, 1]).await.expect("made");
    // Six minutes after the last one, and a second.
    write(&mut series, &stage, &[362]).await.expect("made");
    assert_eq!(stage.asked(), [MADE, MADE]);
    assert_eq!(body(&stage, 0)["series"]["count"], 2);
    let (one, two) = (body(&stage, 0), body(&stage, 1));
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
    assert_eq!(two.get("series"), None);
}

#[tokio::test]
async fn an_event_that_is_gone_is_made_again_with_its_count_and_one_that_is_there_is_counted_up() {
    let stage = Stage::set(vec![
        created("{}"),
        refusal("PATCH", 404, "{}"),
        created("{}"),
        answer("PATCH", "{}"),
    ])
    .await;
    let mut series = Series::default();
    for second in [0, 20, 40] {
        write(&mut series, &stage, &[second]).await.expect("written");
    }
    assert_eq!(stage.asked(), [MADE, COUNTED, MADE, COUNTED]);
    assert_eq!(body(&stage, 2)["series"]["count"], 2);
    assert_eq!(body(&stage, 2)["metadata"]["name"], NAME);
    // It was made, and the answer did not come.
    let lost = Answer {
        status: 504,
        ..answer("POST", "")
    };
    let stage = Stage::set(vec![lost, refusal("POST", 409, "{}"), answer("PATCH", "{}")]).await;
    let mut series = Series::default();
    write(&mut series, &stage, &[0]).await.expect_err("lost");
    assert!(series.is_to_be_tried_again());
    write(&mut series, &stage, &[20]).await.expect("counted");
    assert_eq!(stage.asked(), [MADE, MADE, COUNTED]);
    assert_eq!(body(&stage, 2)["series"]["count"], 2);
    assert!(!series.is_to_be_tried_again());
}

#[tokio::test(start_paused = true)]
async fn without_a_server_it_is_tried_again_told_once_and_given_up() {
    let (news, told) = (NodeNews::default(), Told::default());
    let kept = keep(news.clone(), Shelf::default(), "n1".into(), told.clone());
    let kept = tokio::spawn(async move { match kept.await {} });
    for second in 0..5 {
        news.note(&pod(), &evidence(), at(second));
        sleep(Duration::from_mins(10)).await;
    }
    assert_eq!(
        told.all().matches("unmarked on the node").count(),
        1,
        "{}",
        told.all()
    );
    kept.abort();
}
