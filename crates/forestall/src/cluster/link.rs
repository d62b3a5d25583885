//! One connection to the API server, over which everything goes: HTTP/2, so that an eviction waits for no handshake and no other request.
//!
//! That it lives is known within [`PING_EVERY`] and [`PING_TIME_MAX`]: a watch on which nothing happens is told from a server that is gone. Every
//! request has a deadline. What it refuses to do: try again (whoever asks knows whether that is harmless), and read answers without end.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::access::Access;
use super::error::{Refusal, Trouble};
use super::header::{Skew, retry_after};
use super::tls::SPEAKS_NO_HTTP2;

/// A connection that is silent is asked so often, and given up when no answer has come for so long.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(10);
pub(crate) const PING_TIME_MAX: Duration = Duration::from_secs(10);

/// For the connection with its handshakes, and for each request.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
const ASK_TIME_MAX: Duration = Duration::from_secs(10);

/// No answer that is read is larger: an object has at most 1.5 MiB in etcd and six times that in JSON, and a list whose page does not fit is asked for in
/// smaller ones.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// No line of a watch is longer.
const LINE_BYTES_MAX: usize = 4 << 20;

/// So much of why something was refused is read, and waited for so long: the refusal itself is there already.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(2);

/// What may be on its way unread.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// With its query.
    pub(crate) path: &'a str,
    /// The body's type, and the body.
    pub(crate) content: Option<(&'static str, Bytes)>,
}

impl<'a> Ask<'a> {
    /// Asks for what is there.
    pub(crate) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            content: None,
        }
    }
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// By the API server: many requests at once.
    Http2,
    /// By the kubelet, which knows no other (k/k `pkg/kubelet/server/server.go`): one after the other.
    Http1,
}

impl Protocol {
    /// By its name in TLS (RFC 7301; IANA "ALPN Protocol IDs").
    pub(super) const fn name(self) -> &'static [u8] {
        match self {
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

#[derive(Clone, Debug)]
enum Sender {
    Http2(http2::SendRequest<Full<Bytes>>),
    Http1(Arc<Mutex<http1::SendRequest<Full<Bytes>>>>),
}

/// The connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    sender: Sender,
    access: Access,
    /// Whom requests are made as; nobody else where there is none.
    impersonated: Option<String>,
    /// By the answer that came last.
    skew: Arc<std::sync::Mutex<Option<Skew>>>,
}

impl Link {
    /// Connects to an API server, with the files as they are now.
    pub(crate) async fn connect(access: &Access) -> Result<Self, Trouble> {
        Self::connect_by(access, Protocol::Http2).await
    }

    /// Connects, with the files as they are now.
    pub(super) async fn connect_by(access: &Access, protocol: Protocol) -> Result<Self, Trouble> {
        let end_by = Instant::now() + CONNECT_TIME_MAX;
        // Read first: without them nobody is called.
        let tls = access.tls(protocol.name())?;
        access.server_name()?;
        let opened = timeout_at(end_by, open(access)).await;
        let tcp = opened.unwrap_or_else(|_| {
            let by = access.proxy().map(|proxy| format!(" through the proxy {proxy}"));
            let what = format!(
                "{} has not accepted a connection{}",
                access.authority(),
                by.unwrap_or_default()
            );
            Err(Trouble::Slow(what, CONNECT_TIME_MAX))
        })?;
        Self::shake_hands(tcp, tls, access, protocol, end_by).await
    }

    /// Begins TLS, and what is spoken over it.
    pub(super) async fn shake_hands<S>(
        tcp: S,
        tls: Arc<ClientConfig>,
        access: &Access,
        protocol: Protocol,
        end_by: Instant,
    ) -> Result<Self, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let authority = access.authority();
        let stream = timeout_at(
            end_by,
            TlsConnector::from(tls).connect(access.server_name()?, tcp),
        )
        .await
        .map_err(|_| {
            let what = format!("{authority} takes connections and has not answered a TLS handshake");
            Trouble::Slow(what, CONNECT_TIME_MAX)
        })?
        .map_err(|error| access.explain(&error, protocol == Protocol::Http1))?;
        let stream_is = stream.get_ref().1.alpn_protocol();
        match protocol {
            // Who speaks it need not say so.
            Protocol::Http1 => Self::over_http1(TokioIo::new(stream), access).await,
            Protocol::Http2 if stream_is == Some(protocol.name()) => {
                Self::over(TokioIo::new(stream), access).await
            }
            Protocol::Http2 => Err(Trouble::Unreachable(format!("{authority}: {SPEAKS_NO_HTTP2}"))),
        }
    }

    /// Over what is connected already.
    pub(super) async fn over<I>(io: I, access: &Access) -> Result<Self, Trouble>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIME_MAX)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(io)
            .await
            .map_err(broken)?;
        // Its end is seen by whoever asks next, or waits on a stream.
        tokio::spawn(connection);
        Ok(Self::new(Sender::Http2(sender), access))
    }

    /// The same, one request after the other.
    pub(super) async fn over_http1<I>(io: I, access: &Access) -> Result<Self, Trouble>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
        tokio::spawn(connection);
        Ok(Self::new(Sender::Http1(Arc::new(Mutex::new(sender))), access))
    }

    fn new(sender: Sender, access: &Access) -> Self {
        Self {
            sender,
            access: access.clone(),
            impersonated: None,
            skew: Arc::default(),
        }
    }

    /// How far the server's clock is from ours, by its last answer that had a date.
    pub(super) fn skew(&self) -> Option<Skew> {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same connection, as somebody else.
    pub(super) fn impersonating(&self, user: String) -> Self {
        Self {
            impersonated: Some(user),
            ..self.clone()
        }
    }

    /// The same connection, as nobody else.
    pub(super) fn as_itself(&self) -> Self {
        Self {
            impersonated: None,
            ..self.clone()
        }
    }

    /// The namespace of whom it is itself.
    pub(super) fn own_namespace(&self) -> Result<String, Trouble> {
        self.access.namespace()
    }

    /// Whether requests are made as somebody else.
    pub(super) const fn is_impersonating(&self) -> bool {
        self.impersonated.is_some()
    }

    /// Asks, and reads the answer; what is not of the 200s is a refusal.
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Bytes, Trouble> {
        let answer = async { read_whole(self.send(ask).await?.into_body()).await };
        timeout(ASK_TIME_MAX, answer)
            .await
            .unwrap_or_else(|_| Err(self.slow()))
    }

    /// Asks for an answer that comes line by line and may never end.
    pub(crate) async fn follow(&self, path: &str) -> Result<Lines, Trouble> {
        let answer = timeout(ASK_TIME_MAX, self.send(Ask::get(path))).await;
        let answer = answer.unwrap_or_else(|_| Err(self.slow()))?;
        Ok(Lines::new(answer.into_body()))
    }

    fn slow(&self) -> Trouble {
        let what = format!("{} has not answered", self.access.authority());
        Trouble::Slow(what, ASK_TIME_MAX)
    }

    async fn send(&self, ask: Ask<'_>) -> Result<Response<Incoming>, Trouble> {
        let authority = self.access.authority();
        let mut request = Request::builder().method(ask.method);
        request = match self.sender {
            Sender::Http2(_) => request.uri(format!("https://{authority}{}", ask.path)),
            Sender::Http1(_) => request.uri(ask.path).header(HOST, authority),
        };
        request = request
            .header(USER_AGENT, concat!("forestall/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json");
        let mut token = HeaderValue::try_from(format!("Bearer {}", self.access.token()?))
            .map_err(|_| Trouble::Setup("the token is none".to_owned()))?;
        token.set_sensitive(true);
        request = request.header(AUTHORIZATION, token);
        if let Some(user) = &self.impersonated {
            request = request.header("Impersonate-User", user);
        }
        let mut body = Bytes::new();
        if let Some((content_type, content)) = ask.content {
            request = request.header(CONTENT_TYPE, content_type);
            body = content;
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| Trouble::Setup(error.to_string()))?;
        let asked = SystemTime::now();
        let answer = match &self.sender {
            Sender::Http2(sender) => {
                let mut sender = sender.clone();
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)?
            }
            Sender::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)?
            }
        };
        let answered = SystemTime::now();
        if let Some(skew) = Skew::read(answer.headers(), asked, answered) {
            *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let code = answer.status().as_u16();
        let after = retry_after(answer.headers(), answered);
        let mut body = Vec::new();
        let read = read_some(answer.into_body(), REFUSAL_BYTES_MAX, &mut body);
        // Whatever has come by then says as much as there is to say.
        let _ = timeout(REFUSAL_TIME_MAX, read).await;
        Err(Trouble::Refused(Refusal::read(code, &body, after)))
    }
}

/// Connects to the server, or has its proxy do so.
async fn open(access: &Access) -> Result<TcpStream, Trouble> {
    let authority = access.authority();
    let (host, port, whom) = match access.proxy() {
        Some(proxy) => (&*proxy.host, proxy.port, format!("the proxy {proxy}")),
        None => (&*access.host, access.port, authority.clone()),
    };
    let tcp = async {
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        Ok::<_, std::io::Error>(tcp)
    };
    let unreachable = |error| Trouble::Unreachable(format!("{whom}: {error}"));
    let tcp = tcp.await.map_err(unreachable)?;
    match access.proxy() {
        Some(proxy) => proxy.tunnel(tcp, &authority).await,
        None => Ok(tcp),
    }
}

/// Reads a body to its end.
async fn read_whole(body: Incoming) -> Result<Bytes, Trouble> {
    let mut bytes = Vec::new();
    if read_some(body, ANSWER_BYTES_MAX, &mut bytes).await? {
        Ok(bytes.into())
    } else {
        Err(Trouble::TooLarge(ANSWER_BYTES_MAX))
    }
}

/// Reads as much of a body as there is, or more than `bytes_max`; false where there is more.
async fn read_some(mut body: Incoming, bytes_max: usize, out: &mut Vec<u8>) -> Result<bool, Trouble> {
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(broken)?.data_ref() {
            out.extend_from_slice(data);
        }
        if out.len() > bytes_max {
            out.truncate(bytes_max);
            return Ok(false);
        }
    }
    Ok(true)
}

/// What comes line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    /// What has come of lines that are not handed out yet, and how far no end of one is.
    held: Vec<u8>,
    searched: usize,
}

impl Lines {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            held: Vec::new(),
            searched: 0,
        }
    }

    /// The next line, without its end; `None` at the end of all. Half a line at the end is one that broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            let found = memchr::memchr(b'\n', self.held.get(self.searched..).unwrap_or_default());
            if let Some(at) = found {
                let rest = self.held.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.held.len();
            if self.held.len() > LINE_BYTES_MAX {
                return Err(Trouble::TooLarge(LINE_BYTES_MAX));
            }
            match self.body.frame().await {
                None if self.held.is_empty() => return Ok(None),
                None => return Err(Trouble::Broken("a watch broke off within a line".to_owned())),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.held.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(broken(error)),
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: hyper::Error) -> Trouble {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    Trouble::Broken(format!("the connection to the API server broke off: {why}"))
}
