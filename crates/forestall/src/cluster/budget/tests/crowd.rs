//! Many nodes at once, a server that keeps Leases as the API server does, and time that passes by its clock alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::{JoinSet, yield_now};

use super::super::super::access::Access;
use super::*;
use crate::log::time::rfc3339_seconds;

const COOLDOWN: u64 = 300;
const TOKENS: u32 = 3;

/// Names, with what is kept of each: its UID, and when it was made.
#[derive(Default)]
struct Server {
    leases: Mutex<BTreeMap<String, (u64, u64)>>,
    next: AtomicU64,
    /// Seconds since 1970, by its clock.
    now: AtomicU64,
}

impl Server {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        // Others come first, now and then.
        for _ in 0..self.next.fetch_add(1, Ordering::Relaxed) % 7 {
            yield_now().await;
        }
        let (status, answer) = self.keep(&method, &path, &body);
        Response::builder()
            .status(status)
            .header("date", http_date(self.now()))
            .body(Full::new(Bytes::from(answer.to_string())))
            .expect("an answer")
    }

    fn keep(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let mut leases = self.leases.lock().expect("a map");
        let at = |secs: u64| rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(secs));
        match *method {
            Method::GET => {
                let items = leases.iter().map(|(name, (uid, made))| {
                    json!({ "metadata": { "name": name, "uid": uid.to_string(), "creationTimestamp": at(*made) } })
                });
                (200, json!({ "items": items.collect::<Vec<_>>() }))
            }
            Method::POST => {
                let name = body["metadata"]["name"].as_str().expect("a name").to_owned();
                if leases.contains_key(&name) {
                    return (409, json!({ "reason": "AlreadyExists" }));
                }
                let uid = self.next.fetch_add(1, Ordering::Relaxed);
                leases.insert(name.clone(), (uid, self.now()));
                (
                    201,
                    json!({ "metadata": { "name": name, "uid": uid.to_string() } }),
                )
            }
            Method::DELETE => {
                let name = path.rsplit('/').next().expect("a name");
                let Some((uid, _)) = leases.get(name) else {
                    return (404, json!({ "reason": "NotFound" }));
                };
                if body["preconditions"]["uid"].as_str() != Some(&*uid.to_string()) {
                    return (409, json!({ "reason": "Conflict" }));
                }
                leases.remove(name);
                (200, json!({}))
            }
            _ => (405, json!({})),
        }
    }
}

/// IMF-fixdate of seconds in November 2026, which begins 1,793,491,200 s after 1970 (GNU `date`).
fn http_date(secs: u64) -> String {
    let since = secs - 1_793_491_200;
    let (day, rest) = (1 + since / 86_400, since % 86_400);
    format!(
        "Sun, {day:02} Nov 2026 {:02}:{:02}:{:02} GMT",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

async fn connect(server: &Arc<Server>, access: &Access) -> Link {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let service = service_fn(move |request: Request<Incoming>| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(theirs), service)
            .await;
    });
    Link::over(TokioIo::new(ours), access)
        .await
        .expect("a connection")
}

/// Twelve nodes want to evict at the same moment, again and again while five cooldowns pass, and some of them give back what they took: within no cooldown more
/// tokens are spent than there are.
#[tokio::test]
async fn however_many_try_at_once_no_more_are_spent_within_a_cooldown_than_there_are() {
    let folder = TempDir::new().expect("a directory");
    for (name, text) in [("token", "t"), ("namespace", "guards")] {
        std::fs::write(folder.path().join(name), text).expect("room");
    }
    let access = Access::of_service("127.0.0.1", "6443", folder.path()).expect("a port");
    let server = Arc::new(Server::default());
    // 2026-11-23T12:00:00Z.
    server.now.store(1_795_435_200, Ordering::Relaxed);
    let mut links = Vec::new();
    for _ in 0..12 {
        links.push(connect(&server, &access).await);
    }
    let (mut kept, mut given_back): (Vec<u64>, u64) = (Vec::new(), 0);
    for step in 0..50 {
        let mut tries = JoinSet::new();
        for (nth, link) in links.iter().cloned().enumerate() {
            tries.spawn(async move {
                let purse = Purse::of(of_cluster(TOKENS));
                let taken = purse.take(&link, &format!("n{nth}"), &pod()).await;
                let tokens = match taken {
                    Ok(tokens) => tokens,
                    Err(Trouble::Spent { .. }) => return 0,
                    Err(why) => panic!("{why}"),
                };
                // Its eviction came to nothing.
                if nth % 4 == 0 {
                    give_back(&link, &tokens).await;
                    return -1;
                }
                i64::try_from(tokens.len()).expect("a few")
            });
        }
        while let Some(taken) = tries.join_next().await {
            match taken.expect("no panic") {
                1 => kept.push(server.now()),
                0 => {}
                _ => given_back += 1,
            }
        }
        let held = server.leases.lock().expect("a map").len();
        assert!(held <= TOKENS as usize, "{held} Leases at step {step}");
        server.now.fetch_add(30, Ordering::Relaxed);
    }
    for (nth, at) in kept.iter().enumerate() {
        let later = kept.iter().skip(nth);
        let within = later.take_while(|later| **later < at + COOLDOWN).count();
        assert!(within <= TOKENS as usize, "{within} within a cooldown from {at}");
    }
    // Five cooldowns of three tokens each.
    assert!(
        kept.len() >= 12 && given_back > 0,
        "{} kept, {given_back} given back",
        kept.len()
    );
}
