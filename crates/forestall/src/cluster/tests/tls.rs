//! Real certificates over loopback: who is believed, who is not and why, and what is read again.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::link::Ask;
use super::*;

/// An authority, and whom it vouches for.
pub(in crate::cluster) struct Authority(CertifiedIssuer<'static, KeyPair>);

const DAY: Duration = Duration::from_hours(24);

impl Authority {
    pub(in crate::cluster) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(in crate::cluster) fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a server shows that has this name, from one time to another.
    fn vouch(&self, name: &str, from: SystemTime, until: SystemTime, protocol: &[u8]) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (from.into(), until.into());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        let chain = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a pair");
        let protocols = (!protocol.is_empty()).then(|| protocol.to_vec());
        config.alpn_protocols = protocols.into_iter().collect();
        Arc::new(config)
    }

    pub(in crate::cluster) fn vouch_today(&self, name: &str) -> Arc<ServerConfig> {
        let now = SystemTime::now();
        self.vouch(name, now - DAY, now + DAY, b"h2")
    }
}

/// What a server has been told: the token of each request, and the number of the connection that it came over.
pub(in crate::cluster) type Seen = Arc<Mutex<Vec<(usize, String)>>>;

/// One that shows these, one after the other, the last one for ever.
async fn serve(listener: TcpListener, mut configs: Vec<Arc<ServerConfig>>, seen: Seen) {
    for connection in 0.. {
        let (tcp, _) = listener.accept().await.expect("a caller");
        let config = Arc::clone(configs.first().expect("a certificate"));
        if configs.len() > 1 {
            configs.remove(0);
        }
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let stream = TlsAcceptor::from(config).accept(tcp).await?;
            let service = service_fn(move |request: Request<Incoming>| {
                let token = request.headers()["authorization"]
                    .to_str()
                    .expect("text")
                    .to_owned();
                seen.lock().expect("a list").push((connection, token));
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}")))) }
            });
            let server = http2::Builder::new(TokioExecutor::new());
            server
                .serve_connection(TokioIo::new(stream), service)
                .await
                .map_err(io::Error::other)
        });
    }
}

pub(in crate::cluster) struct Scene {
    pub(super) folder: TempDir,
    pub(in crate::cluster) access: Access,
    pub(super) address: SocketAddr,
    seen: Seen,
}

impl Scene {
    /// A server at this address that shows these, and a client that believes whoever `ca` vouches for.
    pub(in crate::cluster) async fn set(
        at: &str,
        ca: &str,
        configs: Vec<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        tokio::spawn(serve(listener, configs, Arc::clone(&seen)));
        Ok(Self::for_address(address, ca, seen))
    }

    fn for_address(address: SocketAddr, ca: &str, seen: Seen) -> Self {
        let folder = TempDir::new().expect("a directory");
        std::fs::write(folder.path().join("token"), "one").expect("room");
        std::fs::write(folder.path().join("ca.crt"), ca).expect("room");
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let access = Access::of_service(&host, &port, folder.path()).expect("a port");
        Self {
            folder,
            access,
            address,
            seen,
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("room");
    }

    /// Asks over a new connection.
    async fn ask(&self) -> Result<Bytes, Trouble> {
        Link::connect(&self.access).await?.ask(Ask::get("/")).await
    }
}

pub(in crate::cluster) const HERE: &str = "127.0.0.1:0";

#[tokio::test]
async fn a_server_for_whom_the_authority_vouches_is_spoken_to_and_its_token_read_for_each_request() {
    let authority = Authority::new();
    let scene = Scene::set(HERE, &authority.pem(), vec![authority.vouch_today("127.0.0.1")])
        .await
        .expect("a port");
    let link = Link::connect(&scene.access).await.expect("believed");
    link.ask(Ask::get("/")).await.expect("an answer");
    scene.write("token", "two\n");
    link.ask(Ask::get("/")).await.expect("an answer");
    let seen = scene.seen.lock().expect("a list").clone();
    assert_eq!(seen, [(0, "Bearer one".to_owned()), (0, "Bearer two".to_owned())]);
}

#[tokio::test]
async fn an_authority_that_was_changed_is_believed_from_the_next_connection_on() {
    let (before, after) = (Authority::new(), Authority::new());
    let shown = vec![before.vouch_today("127.0.0.1"), after.vouch_today("127.0.0.1")];
    let scene = Scene::set(HERE, &before.pem(), shown).await.expect("a port");
    scene.ask().await.expect("believed");
    let why = scene.ask().await.expect_err("another authority's").to_string();
    assert!(
        why.contains("not signed by the authority in") && why.contains("ca.crt"),
        "{why}"
    );
    // As while authorities are changed: both, and among them one that cannot be read.
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    scene.write("ca.crt", &[&before.pem(), odd, &after.pem()].concat());
    scene.ask().await.expect("believed");
}

#[tokio::test]
async fn over_ipv6_it_is_the_same() {
    let authority = Authority::new();
    let Ok(scene) = Scene::set("[::1]:0", &authority.pem(), vec![authority.vouch_today("::1")]).await else {
        println!("this machine has no [::1]: nothing was tried");
        return;
    };
    scene.ask().await.expect("believed");
    let other = Scene::set(
        "[::1]:0",
        &authority.pem(),
        vec![authority.vouch_today("127.0.0.1")],
    )
    .await;
    let why = other
        .expect("a port")
        .ask()
        .await
        .expect_err("it names another")
        .to_string();
    assert!(
        why.starts_with("[::1]:") && why.contains("does not name ::1"),
        "{why}"
    );
}

#[tokio::test]
async fn who_is_not_believed_is_told_with_the_reason_and_what_to_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let now = SystemTime::now();
    let ours = |name: &str, from, until| authority.vouch(name, from, until, b"h2");
    let speaks = |protocol: &[u8]| authority.vouch("127.0.0.1", now - DAY, now + DAY, protocol);
    for (shown, says) in [
        (
            other.vouch_today("127.0.0.1"),
            ["not signed by the authority in", "kube-root-ca.crt"],
        ),
        (
            ours("api.example", now - DAY, now + DAY),
            ["does not name 127.0.0.1, but api.example;", "reach the server by"],
        ),
        (
            ours("127.0.0.1", now - 2 * DAY, now - DAY),
            ["it was valid until", "if this machine's clock is wrong"],
        ),
        (
            ours("127.0.0.1", now + DAY, now + 2 * DAY),
            ["it is valid from", "if this machine's clock is wrong"],
        ),
        (
            speaks(b"http/1.1"),
            ["speaks no HTTP/2", "reach the API server itself"],
        ),
        (speaks(b""), ["speaks no HTTP/2", "reach the API server itself"]),
    ] {
        let scene = Scene::set(HERE, &authority.pem(), vec![shown])
            .await
            .expect("a port");
        let trouble = scene.ask().await.expect_err(says[0]);
        let why = trouble.to_string();
        assert!(matches!(trouble, Trouble::Unreachable(_)), "{why}");
        assert!(why.starts_with(&scene.address.to_string()), "{why}");
        assert!(says.iter().all(|part| why.contains(part)), "{why}");
        assert!(
            scene.seen.lock().expect("a list").is_empty(),
            "no token is shown to it"
        );
    }
}

#[tokio::test]
async fn a_kubelet_that_signed_its_own_certificate_is_told_what_it_lacks() {
    let now = SystemTime::now();
    let own = Authority::new().vouch("127.0.0.1", now - DAY, now + DAY, b"http/1.1");
    let scene = Scene::set(HERE, &Authority::new().pem(), vec![own])
        .await
        .expect("a port");
    let kubelet = Link::connect_by(&scene.access, Protocol::Http1).await;
    let why = kubelet.expect_err("its own").to_string();
    assert!(
        why.contains("serverTLSBootstrap: true") && !why.contains("kube-root-ca"),
        "{why}"
    );
}

/// Answers whatever comes with this, once, and hangs up.
async fn answer_with(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(HERE).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a caller");
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
    });
    address
}

#[tokio::test]
async fn what_is_no_tls_or_not_there_is_told_with_its_address() {
    let closed = TcpListener::bind(HERE)
        .await
        .expect("a port")
        .local_addr()
        .expect("an address");
    for (address, says) in [
        (
            answer_with(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[2J").await,
            "speaks no TLS",
        ),
        (
            answer_with(b"").await,
            "ended the connection instead of a TLS handshake",
        ),
        (closed, "refused"),
    ] {
        let scene = Scene::for_address(address, &Authority::new().pem(), Seen::default());
        let why = scene.ask().await.expect_err(says).to_string();
        assert!(
            why.starts_with(&address.to_string()) && why.contains(says),
            "{why}"
        );
    }
}
