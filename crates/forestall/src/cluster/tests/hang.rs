//! Servers that hang, each at another place. Nobody waits for them longer than is said, by a clock that stands still until somebody waits.

use std::time::Duration;

use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::super::link::Ask;
use super::*;

/// For a connection with its handshakes, and for each answer.
const DEADLINE: Duration = Duration::from_secs(10);

fn access(folder: &TempDir) -> Access {
    std::fs::write(folder.path().join("token"), "the.token\n").expect("room");
    Access::of_service("127.0.0.1", "6443", folder.path()).expect("a port")
}

/// What a connection comes to with somebody at its other end who signs its own certificate, which is believed.
async fn connect<F>(other: impl FnOnce(DuplexStream, TlsAcceptor) -> F) -> Result<(Link, TempDir), Trouble>
where
    F: Future<Output = ()> + Send + 'static,
{
    let folder = TempDir::new().expect("a directory");
    let key = KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let pem = params.self_signed(&key).expect("signed").pem();
    std::fs::write(folder.path().join("ca.crt"), &pem).expect("room");
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(other(theirs, TlsAcceptor::from(Arc::new(config))));
    let access = access(&folder);
    let tls = access.tls(b"h2").expect("an authority");
    let link = Link::shake_hands(ours, tls, &access, Protocol::Http2, Instant::now() + DEADLINE).await?;
    Ok((link, folder))
}

/// Reads and says nothing, as long as anybody is there.
async fn swallow(mut stream: impl tokio::io::AsyncRead + Unpin) {
    while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_connection_and_says_nothing_is_given_up_by_the_deadline() {
    let begun = Instant::now();
    let silent = connect(|stream, _| swallow(stream)).await.expect_err("no TLS");
    assert_eq!(begun.elapsed(), DEADLINE);
    assert!(matches!(silent, Trouble::Slow(..)), "{silent}");
    assert!(
        silent
            .to_string()
            .contains("127.0.0.1:6443 takes connections and has not answered a TLS handshake within 10s"),
        "{silent}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_shakes_hands_and_says_nothing_is_given_up_by_the_deadline_of_the_first_request() {
    let connected = connect(|stream, acceptor| async move {
        swallow(acceptor.accept(stream).await.expect("TLS")).await;
    });
    let (link, _folder) = connected.await.expect("TLS");
    let begun = Instant::now();
    let silent = link.ask(Ask::get("/")).await.expect_err("nobody speaks HTTP/2");
    assert_eq!(begun.elapsed(), DEADLINE);
    assert_eq!(silent.to_string(), "127.0.0.1:6443 has not answered within 10s");
    // The ping that was due after ten seconds has no answer either.
    tokio::time::sleep(PING_TIME_MAX + Duration::from_secs(1)).await;
    let begun = Instant::now();
    let gone = link.ask(Ask::get("/")).await.expect_err("it is gone");
    assert!(
        matches!(gone, Trouble::Broken(_)) && begun.elapsed().is_zero(),
        "{gone}"
    );
}

/// A server whose answers have this body, over HTTP/2.
fn answering<B>(body: fn() -> B) -> (Access, DuplexStream, TempDir)
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let (client, server) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        let service = service_fn(move |_request: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(body()))
        });
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), service)
            .await;
    });
    let folder = TempDir::new().expect("a directory");
    (access(&folder), client, folder)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_with_its_head_is_given_up_by_the_deadline() {
    let (access, client, _folder) = answering(|| Nothing);
    let link = Link::over(TokioIo::new(client), &access).await.expect("HTTP/2");
    let begun = Instant::now();
    let silent = link.ask(Ask::get("/")).await.expect_err("no body");
    assert!(matches!(silent, Trouble::Slow(..)), "{silent}");
    assert_eq!(begun.elapsed(), DEADLINE);
    let begun = Instant::now();
    let silent = Pods::of_node("n1").begin(&link).await.expect_err("no list");
    assert!(matches!(silent, Trouble::Slow(..)), "{silent}");
    assert_eq!(begun.elapsed(), DEADLINE);
}

/// Something between answers the pings, and the server has forgotten the watch: at most ten minutes and a half, by a watch's own length.
#[tokio::test(start_paused = true)]
async fn a_watch_that_its_server_does_not_end_is_ended_here() {
    let (access, client, _folder) = answering(|| Nothing);
    let link = Link::over(TokioIo::new(client), &access).await.expect("HTTP/2");
    let mut pods = Pods::of_node("n1");
    pods.know_place("10");
    let mut lines = pods.begin(&link).await.expect("a watch");
    let begun = Instant::now();
    assert_eq!(pods.step(&mut lines).await, Ok(Step::Ended));
    let seconds = begun.elapsed().as_secs();
    assert!((330..=630).contains(&seconds), "{seconds}");
}
