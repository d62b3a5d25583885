//! What each path answers: `/metrics`, `/healthz`, `/readyz`. Everything is computed from the board; of the guard
//! nothing is asked but a look before the figures are told.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::eye::Eye;
use super::metrics;
use crate::agent::clock;
use crate::agent::shared::{Board, Health};
use crate::log::escape;

/// A metrics page is rendered once for everybody who asks within this time, so that many slow readers hold one copy.
const PAGE_AGE_MAX: Duration = Duration::from_millis(500);

const TEXT: &str = "text/plain; charset=utf-8";

/// The pages.
pub(super) struct Pages {
    board: Arc<Board>,
    eye: Eye,
    metrics: Mutex<Option<(Instant, Bytes)>>,
}

impl Pages {
    /// Of `board`, which the guard behind `eye` fills.
    pub(super) fn new(board: Arc<Board>, eye: Eye) -> Self {
        Self {
            board,
            eye,
            metrics: Mutex::new(None),
        }
    }

    /// What has to be waited for before `path` is answered: the guard's look, where its figures are to be rendered.
    pub(super) async fn prepare(&self, path: &str) {
        if path == "/metrics" && self.kept().is_none() {
            self.eye.open().await;
        }
    }

    /// Answers one request.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(),
            "/healthz" => self.health(),
            "/readyz" => self.readiness(),
            "/" => text(StatusCode::OK, "forestall: /metrics /healthz /readyz\n"),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n",
            ),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let page = match self.kept() {
            Some(page) => page,
            None => match metrics::render(&self.board) {
                Ok(page) => {
                    let page = Bytes::from(page);
                    *self.lock() = Some((Instant::now(), page.clone()));
                    page
                }
                Err(_) => {
                    return text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the metrics could not be rendered\n",
                    );
                }
            },
        };
        respond(StatusCode::OK, metrics::CONTENT_TYPE, page)
    }

    /// The last page, as long as it is young.
    fn kept(&self) -> Option<Bytes> {
        let kept = self.lock();
        let (at, page) = kept.as_ref()?;
        (at.elapsed() < PAGE_AGE_MAX).then(|| page.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Bytes)>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alive: the guard looked when it said it would.
    fn health(&self) -> Response<Full<Bytes>> {
        match self.board.health(clock::now()) {
            Health::Running => text(StatusCode::OK, "ok\n"),
            Health::Starting => text(StatusCode::OK, "starting\n"),
            Health::Late(by) => text(StatusCode::SERVICE_UNAVAILABLE, late(by)),
        }
    }

    /// Ready: the guard runs. What it cannot do here is listed, because a missing right is no reason to restart it.
    fn readiness(&self) -> Response<Full<Bytes>> {
        match self.board.health(clock::now()) {
            Health::Running => {
                let mut page = String::from("ready\n");
                for degraded in self.board.degraded() {
                    let (what, why) = (escape::text(&degraded.what), escape::message(&degraded.why));
                    // Writing to a String cannot fail.
                    let _ = writeln!(page, "degraded: {what}: {why}");
                }
                text(StatusCode::OK, page)
            }
            Health::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "the guard has not looked yet\n"),
            Health::Late(by) => text(StatusCode::SERVICE_UNAVAILABLE, late(by)),
        }
    }
}

fn late(by: forestall_decide::Span) -> String {
    format!("the guard should have looked {by} ago; it is starved or stuck\n")
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Full<Bytes>> {
    respond(status, TEXT, Bytes::from(body.into()))
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
