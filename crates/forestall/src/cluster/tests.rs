//! A scripted API server: what it expects to be asked, in order, and what it answers, over HTTP/2 as the real one.

mod bad;
mod hang;
mod line;
mod proxy;
pub(super) mod tls;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::Notify;

use super::access::Access;
use super::error::Trouble;
use super::follow::{Pods, Step, pause_after};
use super::link::{Link, PING_EVERY, PING_TIME_MAX, Protocol};

/// The status of an answer that never comes.
pub(super) const SILENCE: u16 = 0;

/// Of one that begins well and never ends.
const OPEN: u16 = 1;

/// What is asked for has to hold this text, and is answered so.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) expected: &'static str,
    pub(super) status: u16,
    pub(super) header: Option<(&'static str, &'static str)>,
    pub(super) body: Bytes,
}

pub(super) fn answer(expected: &'static str, body: &str) -> Answer {
    Answer {
        expected,
        status: 200,
        header: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

pub(super) fn refusal(expected: &'static str, status: u16, body: &str) -> Answer {
    Answer {
        status,
        ..answer(expected, body)
    }
}

/// The script as far as it was not used, and what was asked for.
#[derive(Clone, Default)]
struct Script {
    /// Whatever asks for this is answered so, whenever it comes, and is not noted.
    always: Option<Answer>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn reply(&self, request: Request<Incoming>) -> Response<Either<Full<Bytes>, Nothing>> {
        let bearer = request
            .headers()
            .get("authorization")
            .map(|value| value.as_bytes().to_vec());
        assert_eq!(bearer.as_deref(), Some(&b"Bearer the.token"[..]));
        let user = request.headers().get("impersonate-user");
        let asked = format!(
            "{} {}{}",
            request.method(),
            request.uri().path_and_query().expect("a path"),
            user.map_or_else(String::new, |user| format!(
                " as {}",
                user.to_str().expect("a name")
            ))
        );
        if let Some(always) = self
            .always
            .as_ref()
            .filter(|always| asked.contains(always.expected))
        {
            return Response::new(Either::Left(Full::new(always.body.clone())));
        }
        self.asked.lock().expect("a list").push(asked.clone());
        let next = self.answers.lock().expect("a script").pop_front();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        self.bodies
            .lock()
            .expect("a list")
            .push(String::from_utf8(body.to_vec()).expect("text"));
        let Some(next) = next.filter(|next| asked.contains(next.expected)) else {
            let body = Either::Left(Full::new(Bytes::from(format!("not in the script: {asked}"))));
            return Response::builder().status(500).body(body).expect("an answer");
        };
        if next.status == SILENCE {
            return std::future::pending().await;
        }
        if next.status == OPEN {
            return Response::new(Either::Right(Nothing));
        }
        let mut response = Response::builder().status(next.status);
        if let Some((name, value)) = next.header {
            response = response.header(name, value);
        }
        response
            .body(Either::Left(Full::new(next.body)))
            .expect("an answer")
    }
}

/// Speaks with a server that follows a script.
pub(super) struct Stage {
    script: Script,
    pub(super) link: Link,
    _folder: TempDir,
}

impl Stage {
    pub(super) async fn set(answers: Vec<Answer>) -> Self {
        Self::set_for(Protocol::Http2, answers, None).await
    }

    /// With an answer that does not belong to the script.
    pub(super) async fn set_beside(always: Answer, answers: Vec<Answer>) -> Self {
        Self::set_for(Protocol::Http2, answers, Some(always)).await
    }

    async fn set_for(protocol: Protocol, answers: Vec<Answer>, always: Option<Answer>) -> Self {
        let script = Script {
            always,
            answers: Arc::new(Mutex::new(answers.into())),
            ..Script::default()
        };
        let (ours, stream) = tokio::io::duplex(1 << 16);
        let theirs = script.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let script = theirs.clone();
                async move { Ok::<_, Infallible>(script.reply(request).await) }
            });
            let stream = TokioIo::new(stream);
            let _ = match protocol {
                Protocol::Http2 => {
                    let server = http2::Builder::new(TokioExecutor::new());
                    server.serve_connection(stream, service).await
                }
                Protocol::Http1 => http1::Builder::new().serve_connection(stream, service).await,
            };
        });
        let folder = TempDir::new().expect("a directory");
        std::fs::write(folder.path().join("token"), "the.token\n").expect("room");
        std::fs::write(folder.path().join("namespace"), "guards").expect("room");
        let access = Access::of_service("127.0.0.1", "6443", folder.path()).expect("a port");
        let stream = TokioIo::new(ours);
        let link = match protocol {
            Protocol::Http2 => Link::over(stream, &access).await,
            Protocol::Http1 => Link::over_http1(stream, &access).await,
        };
        let link = link.expect("a connection");
        Self {
            script,
            link,
            _folder: folder,
        }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.script.asked.lock().expect("a list").clone()
    }

    /// What stood in the requests, in order.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.script.bodies.lock().expect("a list").clone()
    }
}

fn pod(uid: u32, version: u32) -> String {
    format!(
        r#"{{"metadata":{{"uid":"{uid}","name":"p{uid}","resourceVersion":"{version}"}},"spec":{{"nodeName":"n1"}}}}"#
    )
}

fn page(version: u32, rest: &str, pods: &[String]) -> String {
    format!(
        r#"{{"kind":"PodList","metadata":{{"resourceVersion":"{version}","continue":"{rest}"}},"items":[{}]}}"#,
        pods.join(",")
    )
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn names(pods: &Pods) -> Vec<&str> {
    pods.iter().map(|pod| &*pod.metadata.name).collect()
}

#[tokio::test]
async fn pods_are_listed_in_pages_and_followed_from_there() {
    let watch = [
        event("MODIFIED", &pod(2, 12)),
        event("ADDED", &pod(4, 13)),
        event("DELETED", &pod(1, 14)),
        event(
            "BOOKMARK",
            r#"{"kind":"Pod","metadata":{"resourceVersion":"20"}}"#,
        ),
    ];
    let stage = Stage::set(vec![
        answer(
            "limit=250&resourceVersion=0",
            &page(10, "a/b=", &[pod(1, 5), pod(2, 6)]),
        ),
        answer("limit=250&continue=a%2Fb%3D", &page(10, "", &[pod(3, 7)])),
        answer(
            "watch=1&allowWatchBookmarks=true&resourceVersion=10&",
            &watch.concat(),
        ),
        answer("resourceVersion=20&", ""),
    ])
    .await;
    let mut pods = Pods::of_node("n1");
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    assert_eq!(names(&pods), ["p1", "p2", "p3"]);
    let mut steps = Vec::new();
    while steps.last() != Some(&Step::Ended) {
        steps.push(pods.step(&mut lines).await.expect("a word"));
    }
    // Of the second pod nothing has changed that is read.
    assert_eq!(
        steps,
        [Step::Told, Step::Changed, Step::Changed, Step::Told, Step::Ended]
    );
    assert_eq!(names(&pods), ["p2", "p3", "p4"]);
    // A watch that has ended goes on from where it was, without a list.
    pods.begin(&stage.link).await.expect("a watch");
    let asked = stage.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    let own = "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1&";
    assert!(asked.iter().all(|asked| asked.starts_with(own)), "{asked:?}");
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_listed_again() {
    let gone =
        r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version: 10 (99)"}"#;
    let stage = Stage::set(vec![
        answer("limit=250&resourceVersion=0", &page(10, "", &[pod(1, 5)])),
        answer("watch=1", &event("ERROR", gone)),
        answer("limit=250&resourceVersion=0", &page(100, "", &[pod(2, 50)])),
        refusal("resourceVersion=100&", 410, gone),
        answer("limit=250&resourceVersion=0", &page(200, "", &[pod(3, 150)])),
        answer("resourceVersion=200&", ""),
    ])
    .await;
    let mut pods = Pods::of_node("n1");
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    let trouble = pods.step(&mut lines).await.expect_err("it has expired");
    assert_eq!(pause_after(&trouble, 0).as_secs(), 0, "{trouble}");
    assert_eq!(
        names(&pods),
        ["p1"],
        "what was known is known until there is better"
    );
    let trouble = pods.begin(&stage.link).await.expect_err("it has expired again");
    assert!(pause_after(&trouble, 1).as_secs() > 0);
    assert_eq!(names(&pods), ["p2"]);
    pods.begin(&stage.link).await.expect("a watch");
    assert_eq!(names(&pods), ["p3"]);
}

#[tokio::test]
async fn a_watch_that_breaks_off_within_a_line_costs_that_line() {
    let stage = Stage::set(vec![
        answer("limit", &page(10, "", &[pod(1, 5)])),
        answer(
            "watch=1",
            &format!("{}{{\"type\":\"ADD", event("ADDED", &pod(2, 11))),
        ),
        answer("resourceVersion=11&", "no JSON\n"),
    ])
    .await;
    let mut pods = Pods::of_node("n1");
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    assert_eq!(pods.step(&mut lines).await, Ok(Step::Changed));
    let trouble = pods.step(&mut lines).await.expect_err("half a line");
    assert!(
        matches!(&trouble, Trouble::Broken(why) if why.contains("within a line")),
        "{trouble}"
    );
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    let trouble = pods.step(&mut lines).await.expect_err("no event");
    assert!(
        trouble.to_string().contains("not what was asked for"),
        "{trouble}"
    );
    assert_eq!(names(&pods), ["p1", "p2"]);
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it_and_a_missing_right_is_named() {
    let busy = Answer {
        header: Some(("retry-after", "7")),
        ..refusal("limit", 429, "slow down")
    };
    let forbidden = r#"{"kind":"Status","code":403,"reason":"Forbidden","message":"pods is forbidden: User \"x\" cannot list resource \"pods\""}"#;
    let stage = Stage::set(vec![busy, refusal("limit", 403, forbidden)]).await;
    let mut pods = Pods::of_node("n1");
    let trouble = pods.begin(&stage.link).await.expect_err("busy");
    assert_eq!(pause_after(&trouble, 0).as_secs(), 7, "{trouble}");
    let trouble = pods.begin(&stage.link).await.expect_err("forbidden");
    assert!(trouble.to_string().contains("cannot list resource"), "{trouble}");
    let pauses: Vec<u64> = (0..9)
        .map(|tries| pause_after(&trouble, tries).as_secs())
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

/// 10,000 in pages of 250, and 10,000 changes of them: 4,096 are known, whatever comes, and the others counted.
#[tokio::test]
async fn more_pods_than_a_node_has_are_left_out_and_counted() {
    let pages = (0..40_u32).map(|nth| {
        let pods: Vec<String> = (nth * 250..(nth + 1) * 250).map(|uid| pod(uid, uid)).collect();
        answer(
            "limit=250&",
            &page(10_000, if nth == 39 { "" } else { "more" }, &pods),
        )
    });
    let mut changes = String::new();
    for uid in 0..10_000 {
        changes += &event(
            "MODIFIED",
            &pod(uid, 10_000 + uid).replace("\"spec\"", r#""status":{"phase":"Running"},"spec""#),
        );
    }
    for uid in 20_000..20_010 {
        changes += &event("ADDED", &pod(uid, uid));
    }
    let stage = Stage::set(pages.chain([answer("watch=1", &changes)]).collect()).await;
    let mut pods = Pods::of_node("n1");
    let mut lines = pods.begin(&stage.link).await.expect("a watch");
    assert_eq!((pods.iter().count(), pods.left_out()), (4096, 5904));
    let mut changed = 0;
    loop {
        match pods.step(&mut lines).await.expect("a word") {
            Step::Changed => changed += 1,
            Step::Told => {}
            Step::Ended => break,
        }
    }
    assert_eq!(
        (pods.iter().count(), pods.left_out(), changed),
        (4096, 5914, 4096)
    );
}

#[tokio::test]
async fn without_the_clusters_authority_nobody_is_called() {
    let folder = TempDir::new().expect("a directory");
    let access = Access::of_service("127.0.0.1", "1", folder.path()).expect("a port");
    let trouble = Link::connect(&access).await.expect_err("no authority");
    assert!(matches!(trouble, Trouble::Setup(_)), "{trouble}");
}

/// Hands on what either says to the other until it is told to stop, and then holds both without a word.
async fn stand_between(mut one: DuplexStream, mut other: DuplexStream, stop: Arc<Notify>) {
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut one, &mut other) => {}
        () = stop.notified() => std::future::pending().await,
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_told_from_one_that_has_nothing_to_say() {
    let (client, one) = tokio::io::duplex(1 << 16);
    let (other, server) = tokio::io::duplex(1 << 16);
    let stop = Arc::new(Notify::new());
    tokio::spawn(stand_between(one, other, Arc::clone(&stop)));
    tokio::spawn(async move {
        // It answers, and says nothing more.
        let service =
            service_fn(|_request: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(Nothing)) });
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), service)
            .await;
    });
    let folder = TempDir::new().expect("a directory");
    std::fs::write(folder.path().join("token"), "the.token\n").expect("room");
    let access = Access::of_service("127.0.0.1", "6443", folder.path()).expect("a port");
    let link = Link::over(TokioIo::new(client), &access).await.expect("HTTP/2");
    let mut lines = link.follow("/watch").await.expect("an answer");
    let quiet = tokio::time::timeout(std::time::Duration::from_hours(1), lines.next()).await;
    assert!(quiet.is_err(), "it answers its pings: {quiet:?}");
    stop.notify_one();
    let begun = tokio::time::Instant::now();
    let trouble = lines.next().await.expect_err("it is gone");
    assert!(matches!(trouble, Trouble::Broken(_)), "{trouble}");
    // A ping that was due within ten seconds, and ten seconds for its answer.
    assert!(
        begun.elapsed() <= PING_EVERY + PING_TIME_MAX,
        "{:?}",
        begun.elapsed()
    );
}

/// A body that has no end and nothing in it.
struct Nothing;

impl hyper::body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}
