//! What no API server should send: objects, lists, watches and refusals that are absurd. None of it costs the pods that are well, and none is heard for ever.

use std::time::Duration;

use super::super::error::Refusal;
use super::super::line::Line;
use super::super::shelf::Shelf;
use super::line::{BOOT, Heard, OURS};
use super::*;

/// Follows what is answered: the pods at the end, and all that was heard.
async fn follow(answers: Vec<Answer>) -> (Pods, Vec<Result<Step, Trouble>>, Vec<String>) {
    let stage = Stage::set(answers).await;
    let mut pods = Pods::of_node("n1");
    let mut heard = Vec::new();
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    while !matches!(heard.last(), Some(Ok(Step::Ended) | Err(_))) {
        heard.push(pods.step(&mut lines).await);
    }
    // How it would go on.
    let _ = pods.begin(&stage.link).await;
    (pods, heard, stage.asked())
}

#[tokio::test]
async fn one_absurd_object_costs_neither_the_list_nor_the_others() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let absurd = [
        "null".to_owned(),
        "7".to_owned(),
        "[]".to_owned(),
        "\"pod\"".to_owned(),
        "{}".to_owned(),
        r#"{"metadata":null,"spec":null}"#.to_owned(),
        r#"{"metadata":7,"spec":{"nodeName":"n1"}}"#.to_owned(),
        r#"{"metadata":{"name":"nobody"},"spec":{"nodeName":"n1"}}"#.to_owned(),
        r#"{"metadata":{"uid":"8"},"metadata":{"uid":"9"},"spec":{"nodeName":"n1"}}"#.to_owned(),
        format!(r#"{{"metadata":{{"uid":"10"}},"spec":{{"nodeName":"n1","containers":{deep}}}}}"#),
        // What is odd in this one costs nothing else of it.
        r#"{"metadata":{"uid":"11","name":"p11","labels":{"a":1,"b":"c"},"annotations":[]},
            "spec":{"nodeName":"n1","priority":9223372036854775808,"terminationGracePeriodSeconds":-9223372036854775808,
            "containers":[null,{"name":"c","resources":{"requests":{"memory":"lots"}}}]},
            "status":{"containerStatuses":[{"restartCount":-1},{"restartCount":1e300}]}}"#
            .to_owned(),
        pod(1, 5),
    ];
    let (pods, _, _) = follow(vec![
        answer("limit", &page(10, "", &absurd)),
        answer("watch=1", ""),
    ])
    .await;
    assert_eq!(names(&pods), ["p1", "p11"]);
    let odd = pods.of_uid("11").expect("it is known");
    assert_eq!(odd.metadata.labels["b"], "c");
    assert_eq!((odd.spec.priority, odd.spec.containers.len()), (0, 1));
    assert_eq!(odd.status.container_statuses.len(), 2);
    assert_eq!(pods.left_out(), 0);
}

#[tokio::test]
async fn a_list_of_nothing_is_a_list_and_one_without_a_version_is_none() {
    let nothing = r#"{"kind":"PodList","metadata":{"resourceVersion":"10"},"items":null}"#;
    let (pods, _, _) = follow(vec![answer("limit", nothing), answer("resourceVersion=10&", "")]).await;
    assert_eq!(pods.iter().count(), 0);
    for absurd in [
        r#"{"metadata":null,"items":[]}"#,
        r#"{"metadata":{"resourceVersion":7},"items":[]}"#,
        r#"{"items":7}"#,
        "[]",
        "null",
        "",
        "\u{1b}[2J",
    ] {
        let stage = Stage::set(vec![
            answer("limit", &page(10, "", &[pod(1, 5)])),
            answer("watch", ""),
            answer("limit", absurd),
        ])
        .await;
        let mut pods = Pods::of_node("n1");
        pods.begin(&stage.link).await.expect("a watch");
        pods.know_place("");
        let trouble = pods.begin(&stage.link).await.expect_err("no list");
        let said = trouble.to_string();
        assert!(
            matches!(trouble, Trouble::Broken(_)) && !said.contains('\u{1b}'),
            "{absurd}: {said}"
        );
        assert_eq!(
            names(&pods),
            ["p1"],
            "what was known is known until there is better"
        );
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    let pages = (0..1_001).map(|_| answer("limit", &page(10, "same", &[pod(1, 5)])));
    let stage = Stage::set(pages.collect()).await;
    let trouble = Pods::of_node("n1").begin(&stage.link).await.expect_err("no end");
    assert!(
        trouble.to_string().contains("no end within 1000 pages"),
        "{trouble}"
    );
    assert_eq!(stage.asked().len(), 1_000);
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let heavy = |uid| {
        format!(
            r#"{{"metadata":{{"uid":"{uid}","name":"p{uid}"}},"spec":{{"nodeName":"n1","args":"{}"}}}}"#,
            "x".repeat(6 << 20)
        )
    };
    let (pods, _, asked) = follow(vec![
        answer(
            "limit=250&resourceVersion=0",
            &page(10, "", &[heavy(1), heavy(2), heavy(3)]),
        ),
        answer("limit=62&resourceVersion=", &page(10, "b", &[heavy(1), heavy(2)])),
        answer("limit=62&continue=b", &page(10, "", &[heavy(3)])),
        answer("watch=1", ""),
    ])
    .await;
    assert_eq!(names(&pods), ["p1", "p2", "p3"], "{asked:?}");
}

#[tokio::test]
async fn what_a_watch_says_of_others_or_of_nobody_changes_nothing() {
    let of_other = r#"{"metadata":{"uid":"7","name":"p7","resourceVersion":"11"},"spec":{"nodeName":"n2"}}"#;
    let of_none = r#"{"metadata":{"uid":"8","name":"p8","resourceVersion":"12"},"spec":{}}"#;
    let watch = [
        event("ADDED", of_other),
        event("MODIFIED", of_none),
        event("DELETED", of_other),
        event("DELETED", &pod(9, 13)),
        event("BOOKMARK", r#"{"kind":"Pod"}"#),
        event(
            "BOOKMARK",
            r#"{"kind":"Pod","metadata":{"resourceVersion":null}}"#,
        ),
        event("EXPLODED", &pod(1, 14)),
        event("", &pod(1, 15)),
    ];
    let (pods, heard, asked) = follow(vec![
        answer("limit", &page(10, "", &[pod(1, 5), of_other.to_owned()])),
        answer("watch=1", &watch.concat()),
        answer("resourceVersion=15&", ""),
    ])
    .await;
    assert_eq!(heard[..8], [const { Ok(Step::Told) }; 8]);
    assert_eq!(names(&pods), ["p1"]);
    assert!(asked[2].contains("watch=1"), "{asked:?}");
}

#[tokio::test]
async fn after_a_word_that_cannot_be_understood_there_is_a_list() {
    let long = format!("{{\"type\":\"ADDED\",\"object\":\"{}", "x".repeat(5 << 20));
    for (line, says) in [
        ("no JSON\n", "not what was asked for"),
        ("\n", "not what was asked for"),
        ("null\n", "not what was asked for"),
        ("{\"type\":\"ADDED\"}\n", "not what was asked for"),
        ("{\"type\":\"ADDED\",\"object\":7}\n", "not what was asked for"),
        (
            "{\"type\":\"\u{1b}[2J\",\"object\":\"\u{1b}[2J\"}\n",
            "not what was asked for",
        ),
        (&long, "more than 4194304 bytes"),
        ("{\"type\":\"ERROR\",\"object\":null}\n", "not what was asked for"),
        ("{\"type\":\"ERROR\",\"object\":{}}\n", "answers 0"),
        (
            "{\"type\":\"ERROR\",\"object\":{\"code\":-1,\"reason\":[],\"message\":\"odd\"}}\n",
            "answers 0: odd",
        ),
        (
            "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"reason\":\"InternalError\",\"details\":7}}\n",
            "500 InternalError",
        ),
    ] {
        let (pods, heard, asked) = follow(vec![
            answer("limit", &page(10, "", &[pod(1, 5)])),
            answer("watch=1", &format!("{}{line}", event("ADDED", &pod(2, 11)))),
            answer("limit", &page(20, "", &[pod(3, 15)])),
            answer("resourceVersion=20&", ""),
        ])
        .await;
        assert_eq!(heard[0], Ok(Step::Changed));
        let said = heard[1].as_ref().expect_err(line).to_string();
        assert!(
            said.contains(says) && !said.contains('\u{1b}') && said.len() < 400,
            "{said}"
        );
        assert_eq!((names(&pods), asked.len()), (vec!["p3"], 4), "{line}");
    }
}

#[tokio::test]
async fn a_place_that_a_server_does_not_know_is_left_for_a_list_and_one_that_it_only_refuses_is_not() {
    // k8s.io/apiserver pkg/storage/errors.go (NewTooLargeResourceVersionError) and pkg/storage/etcd3 (an RV that is no number).
    let too_large = r#"{"kind":"Status","message":"Timeout: Too large resource version: 10, current: 5","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]},"code":504}"#;
    for (status, body, goes_on) in [
        (504, too_large, false),
        (400, "Invalid value: \"10\"", false),
        (410, "", false),
        (200, "", true),
        (401, "", true),
        (403, "", true),
        (429, "", true),
        (500, "", true),
        (503, "", true),
    ] {
        let stage = Stage::set(vec![
            answer("limit", &page(10, "", &[pod(1, 5)])),
            refusal("watch=1", status, body),
            answer("", &page(20, "", &[])),
        ])
        .await;
        let mut pods = Pods::of_node("n1");
        let _ = pods.begin(&stage.link).await;
        let _ = pods.begin(&stage.link).await;
        assert_eq!(stage.asked()[2].contains("watch=1"), goes_on, "{status}");
    }
}

#[tokio::test]
async fn a_pod_that_no_pod_is_as_large_as_is_left_out_and_counted_until_it_is_gone() {
    let large = |version: u32| {
        format!(
            r#"{{"metadata":{{"uid":"2","name":"p2","resourceVersion":"{version}","annotations":{{"forestall.io/evict":"{}"}}}},"spec":{{"nodeName":"n1"}}}}"#,
            "x".repeat(1 << 20)
        )
    };
    let watch = [
        event("MODIFIED", &large(11)),
        event("DELETED", &large(12)),
        event("ADDED", &large(13)),
        event("MODIFIED", &pod(2, 14)),
    ];
    let stage = Stage::set(vec![
        answer("limit", &page(10, "", &[pod(1, 5), pod(2, 6)])),
        answer("watch=1", &watch.concat()),
    ])
    .await;
    let mut pods = Pods::of_node("n1");
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    let mut seen = Vec::new();
    for _ in 0..watch.len() {
        pods.step(&mut lines).await.expect("a word");
        seen.push((pods.iter().count(), pods.left_out()));
    }
    assert_eq!(seen, [(1, 1), (1, 0), (1, 1), (2, 0)]);
}

/// What a server answers is more than anybody reads, and it does not even end.
#[tokio::test(start_paused = true)]
async fn of_a_refusal_without_end_its_status_is_enough() {
    let (client, server) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let service = service_fn(|_request: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::builder().status(403).body(Nothing).expect("an answer"))
        });
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), service)
            .await;
    });
    let folder = TempDir::new().expect("a directory");
    std::fs::write(folder.path().join("token"), "the.token\n").expect("room");
    let access = Access::of_service("127.0.0.1", "6443", folder.path()).expect("a port");
    let link = Link::over(TokioIo::new(client), &access).await.expect("HTTP/2");
    let trouble = link.follow("/").await.expect_err("refused");
    assert!(
        matches!(&trouble, Trouble::Refused(refusal) if refusal.code == 403),
        "{trouble}"
    );
}

#[tokio::test]
async fn a_refusal_that_is_no_status_is_told_in_a_few_letters() {
    let binary: Vec<u8> = (0..32_u32 << 20).map(|at| (at % 251) as u8).collect();
    let stage = Stage::set(vec![Answer {
        body: binary.into(),
        ..refusal("", 502, "")
    }])
    .await;
    let trouble = Pods::of_node("n1").begin(&stage.link).await.expect_err("refused");
    let said = trouble.to_string();
    assert!(said.starts_with("the API server answers 502: "), "{said}");
    assert!(
        said.len() < 2_000 && said.chars().all(|letter| !letter.is_control()),
        "{said}"
    );
}

#[test]
fn what_is_odd_in_a_refusal_costs_nothing_else_of_it() {
    let odd = br#"{"kind":7,"status":[],"message":"no","reason":"TooManyRequests","code":"429",
        "details":{"retryAfterSeconds":-3,"causes":[null,7,{"reason":"DisruptionBudget","message":"\u001b[2J web"},{"reason":{}}]}}"#;
    let read = Refusal::read(429, odd, None);
    assert!(read.is_budget && read.retry_after.is_none());
    assert_eq!(
        (&*read.reason, &*read.message),
        ("TooManyRequests", "no \\x1b[2J web")
    );
    let long = format!(r#"{{"reason":"{0}","message":"{0}"}}"#, "\u{1b}x".repeat(1 << 20));
    let read = Refusal::read(500, long.as_bytes(), None);
    assert!(read.reason.len() + read.message.len() < 8_000);
    for body in [
        &b"\xff\xfe\x00"[..],
        b"[1,2]",
        b"{\"details\":",
        b"null",
        "ü".repeat(400).as_bytes(),
    ] {
        let said = Trouble::Refused(Refusal::read(500, body, None)).to_string();
        assert!(said.chars().all(|letter| !letter.is_control()), "{said}");
    }
}

/// Two ways in which a server may have a client ask as fast as it can.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_not_begun_again_at_once() {
    let gone = event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired"}"#);
    for end in ["", &gone] {
        let answers = (0..100).flat_map(|_| {
            [
                answer("resourceVersion=0", &page(10, "", &[])),
                answer("watch=1", end),
                answer("nodes/n1", OURS),
                answer("selfsubjectaccessreviews", "{}"),
            ]
        });
        let stage = Stage::set(answers.collect()).await;
        let access = Access::of_service("h", "1", std::path::Path::new("/nowhere")).expect("a port");
        let mut line = Line::new(
            access,
            "n1",
            Some(BOOT.to_owned()),
            "/nowhere".into(),
            Shelf::default(),
            Heard::default(),
        );
        let minute = async {
            loop {
                let Err(trouble) = line.hold_over(&stage.link).await;
                line.lose(&trouble).await;
            }
        };
        let ended: Result<(), _> = tokio::time::timeout(Duration::from_mins(1), minute).await;
        assert!(ended.is_err());
        // Pauses of 1, 2, 4, 8, 16 and 32 seconds, one of which a forgotten place may do without.
        assert!(
            stage.asked().len() <= 4 * 7,
            "{end}: {} in a minute",
            stage.asked().len()
        );
    }
}

/// The pause is what the server asks for, but for none and for ever: 1 s, and 5 min.
#[tokio::test]
async fn a_list_that_a_busy_server_puts_off_is_put_off_within_bounds() {
    for (header, pause) in [
        (None, 1),
        (Some("0"), 1),
        (Some("7"), 7),
        (Some("-7"), 1),
        (Some("later"), 1),
        (Some("18446744073709551616"), 300),
        (Some("Fri, 31 Dec 9999 23:59:59 GMT"), 300),
        (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 1),
    ] {
        let stage = Stage::set(vec![Answer {
            header: header.map(|value| ("retry-after", value)),
            ..refusal("limit", 429, "")
        }])
        .await;
        let trouble = Pods::of_node("n1").begin(&stage.link).await.expect_err("busy");
        assert_eq!(pause_after(&trouble, 0).as_secs(), pause, "{header:?}");
    }
    let in_body = Refusal::read(
        429,
        br#"{"details":{"retryAfterSeconds":18446744073709551615}}"#,
        None,
    );
    assert_eq!(pause_after(&Trouble::Refused(in_body), 0).as_secs(), 300);
}
