//! HTTP/1 on one thread, for a few callers who ask every few seconds, and against any number who never finish.
//!
//! A connection answers one request. It gets a few seconds for its headers and ten in all, whatever it does; when too
//! many are open the oldest is closed, because an honest one is done in milliseconds.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::pages::Pages;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// For the headers to arrive.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// For everything.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Headers in all; a scraper's are a few hundred bytes. hyper accepts no smaller bound.
const HEADER_BYTES_MAX: usize = 8192;
/// After an accept that failed (out of descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds the address.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS_MAX);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        let pages = Arc::clone(&pages);
        let connection = tokio::spawn(async move {
            // Too slow is the same as gone.
            let _ = timeout(CONNECTION_TIME_MAX, converse(stream, pages)).await;
        });
        open.push_back(connection.abort_handle());
    }
}

async fn converse(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let pages = Arc::clone(&pages);
        async move {
            let path = request.uri().path();
            pages.prepare(path).await;
            Ok::<_, Infallible>(pages.answer(request.method(), path))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // What a stranger sends is not ours to log: a port scan must not fill a disk.
    drop(served);
}
