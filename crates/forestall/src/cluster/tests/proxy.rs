//! Proxies: whom they are asked for, and what they answer.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::super::proxy::Proxy;
use super::*;

fn find(https_proxy: &str, no_proxy: &str, host: &str) -> Result<Option<Proxy>, Trouble> {
    let variable = |name: &str| match name {
        "HTTPS_PROXY" => Some(https_proxy.to_owned()),
        "no_proxy" => Some(no_proxy.to_owned()),
        _ => None,
    };
    Proxy::find(variable, host, 6443)
}

/// Rows as golang.org/x/net `http/httpproxy/proxy_test.go` has them, and as its documentation says.
#[test]
fn a_proxy_is_passed_by_for_whom_no_proxy_names() {
    let is_asked =
        |no_proxy: &str, host: &str| find("proxy:3128", no_proxy, host).expect("a proxy").is_some();
    for (no_proxy, host) in [
        ("", "localhost"),
        ("", "127.0.0.1"),
        ("", "::1"),
        ("*", "api.example"),
        ("other, *", "10.96.0.1"),
        ("10.96.0.1", "10.96.0.1"),
        ("10.96.0.1:6443", "10.96.0.1"),
        ("10.0.0.0/8", "10.96.0.1"),
        ("10.96.0.1/0", "192.0.2.1"),
        (" fd00::/8 ", "fd00::1"),
        ("fd00::1", "fd00:0:0::1"),
        ("[fd00::1]:6443", "fd00::1"),
        ("example", "api.example"),
        ("example", "example"),
        (".example", "api.example"),
        ("*.example", "api.example"),
        ("EXAMPLE:6443", "api.Example"),
    ] {
        assert!(!is_asked(no_proxy, host), "{no_proxy} for {host}");
    }
    for (no_proxy, host) in [
        ("", "10.96.0.1"),
        ("10.96.0.2,10.96.0.1:443", "10.96.0.1"),
        ("11.0.0.0/8", "10.96.0.1"),
        ("10.0.0.0/33", "10.96.0.1"),
        ("10.0.0.0/-1,/8,10.0.0.0/", "10.96.0.1"),
        ("::/0", "10.96.0.1"),
        ("fd00::/16", "fd01::1"),
        (".example", "example"),
        ("*.example", "example"),
        ("xample", "example"),
        ("example:443", "api.example"),
        ("*x", "x"),
        (":6443,,", "api.example"),
    ] {
        assert!(is_asked(no_proxy, host), "{no_proxy} for {host}");
    }
}

#[test]
fn what_is_no_proxy_is_told_and_no_password_with_it() {
    assert_eq!(Proxy::find(|_| None, "api.example", 6443), Ok(None));
    for (url, place) in [
        ("proxy", "proxy:80"),
        ("proxy:3128", "proxy:3128"),
        ("http://proxy:3128/path?query", "proxy:3128"),
        ("HTTP://user:p%40ss@[fd00::2]:3128", "[fd00::2]:3128"),
    ] {
        let proxy = find(url, "", "api.example").expect(url).expect(url);
        assert_eq!(proxy.to_string(), place);
        assert_eq!(format!("{proxy:?}"), format!("Proxy({place})"), "no credentials");
    }
    for url in [
        "https://user:secret@proxy:3128",
        "socks5://secret",
        "http://",
        "http://proxy:99999",
        "http://secret%4@proxy",
        "http://user:secret@a b",
        "http://\u{1b}[2J",
    ] {
        let said = find(url, "", "api.example").expect_err(url).to_string();
        assert!(
            said.starts_with("HTTPS_PROXY") && !said.contains("secret") && !said.contains('\u{1b}'),
            "{said}"
        );
        assert_eq!(
            find(url, "api.example", "api.example"),
            Ok(None),
            "nobody asks for it"
        );
    }
}

/// A proxy that reads the head of a request and answers so; what it was asked comes back.
async fn ask(url: &str, answer: &[u8]) -> (Result<DuplexStream, Trouble>, String) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    let answer = answer.to_vec();
    let proxy = tokio::spawn(async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(theirs.read_u8().await.expect("a request"));
        }
        let _ = theirs.write_all(&answer).await;
        String::from_utf8(head).expect("text")
    });
    let found = find(url, "", "10.96.0.1").expect("a proxy").expect("a proxy");
    let tunnel = found.tunnel(ours, "10.96.0.1:6443").await;
    (tunnel, proxy.await.expect("a request"))
}

#[tokio::test]
async fn a_proxy_that_connects_is_handed_nothing_but_where_to_and_who_asks() {
    // RFC 7617, 2: Aladdin and his password.
    let (tunnel, asked) = ask(
        "http://Aladdin:open%20sesame@proxy",
        b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nTLS",
    )
    .await;
    assert_eq!(
        asked,
        "CONNECT 10.96.0.1:6443 HTTP/1.1\r\nHost: 10.96.0.1:6443\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
    );
    let mut rest = String::new();
    tunnel
        .expect("a tunnel")
        .read_to_string(&mut rest)
        .await
        .expect("text");
    assert_eq!(rest, "TLS", "what the server says is the server's");
    // Without a password it is an empty one: `user:`.
    let (_, asked) = ask("http://user@proxy", b"HTTP/1.1 200\r\n\r\n").await;
    assert!(asked.contains("Basic dXNlcjo=\r\n"), "{asked}");
    let (_, asked) = ask("proxy", b"HTTP/1.1 200\r\n\r\n").await;
    assert!(!asked.contains("Authorization"), "{asked}");
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_named_with_the_reason() {
    let endless = b"HTTP/1.1 200 OK\r\nX: "
        .iter()
        .copied()
        .chain(std::iter::repeat_n(b'x', 17 << 10))
        .collect::<Vec<u8>>();
    for (answer, says) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"[..],
            "asks for credentials (407)",
        ),
        (b"HTTP/1.1 403 \x1b[2JForbidden\r\n\r\n", "it answers 403"),
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", "it answers 503"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 \xff\xff\xff\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 20\r\n\r\n", "no HTTP"),
        (b"", "end of file"),
        (b"HTTP/1.1 200 OK\r\n", "end of file"),
        (&endless, "no end"),
    ] {
        let (tunnel, _) = ask("http://u:secret@proxy:3128", answer).await;
        let said = tunnel.expect_err(says).to_string();
        assert!(
            said.starts_with("the proxy proxy:3128 does not connect to 10.96.0.1:6443: "),
            "{said}"
        );
        assert!(
            said.contains(says) && !said.contains("secret") && !said.contains('\u{1b}'),
            "{said}"
        );
    }
}

#[tokio::test]
async fn tls_goes_through_a_proxy_from_end_to_end_and_one_that_hangs_is_given_up() {
    let proxy = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = proxy.local_addr().expect("an address");
    let authority = tls::Authority::new();
    // The name leads nowhere but through the proxy.
    let scene = tls::Scene::set(
        "127.0.0.1:0",
        &authority.pem(),
        vec![authority.vouch_today("api.invalid")],
    )
    .await
    .expect("a port");
    let server = scene.address;
    tokio::spawn(async move {
        let (mut caller, _) = proxy.accept().await.expect("a caller");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(caller.read_u8().await.expect("a request"));
        }
        assert!(head.starts_with(b"CONNECT api.invalid:6443 HTTP/1.1\r\n"));
        caller.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("room");
        let mut called = tokio::net::TcpStream::connect(server).await.expect("the server");
        let _ = tokio::io::copy_bidirectional(&mut caller, &mut called).await;
        // The next one is taken, and gets no answer.
        let _held = proxy.accept().await.expect("a caller");
        std::future::pending::<()>().await;
    });
    let variable = |name: &str| (name == "https_proxy").then(|| "proxy.invalid:1".to_owned());
    let mut proxy = Proxy::find(variable, "api.invalid", 6443)
        .expect("a proxy")
        .expect("a proxy");
    (proxy.host, proxy.port) = (address.ip().to_string(), address.port());
    let access = Access::of_service("api.invalid", "6443", scene.folder.path())
        .expect("a port")
        .through(Some(proxy));
    Link::connect(&access).await.expect("believed");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let hangs = Link::connect(&access).await.expect_err("no answer");
    assert!(
        matches!(&hangs, Trouble::Slow(what, _) if what.contains("api.invalid:6443") && what.contains("proxy")),
        "{hangs}"
    );
    // A timer of tokio's has whole milliseconds.
    assert_eq!(begun.elapsed().as_secs(), 10);
}
