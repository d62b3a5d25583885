//! A proxy between this agent and the API server, where the environment names one: `HTTPS_PROXY`, and `NO_PROXY` for whom it is passed by, as client-go has them.
//!
//! It is asked for a tunnel (CONNECT), through which TLS goes from end to end: it sees neither token nor answer. What it refuses to do: speak TLS or SOCKS to the
//! proxy itself, and go past one that does not let it through.
//!
//! Source: golang.org/x/net `http/httpproxy` (`useProxy`, `init`), RFC 9110, 9.3.6 (CONNECT) and 11.7.1 (`Proxy-Authenticate`), RFC 7617 (Basic).

use std::fmt;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::Trouble;
use crate::log::escape;

/// The head of a proxy's answer is no longer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// One that is asked for a tunnel.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// `user:password`.
    credentials: Option<Vec<u8>>,
}

/// Without the credentials, which nobody is told.
impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = escape::bytes(self.host.as_bytes());
        if host.contains(':') {
            write!(out, "[{host}]:{}", self.port)
        } else {
            write!(out, "{host}:{}", self.port)
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Proxy({self})")
    }
}

impl Proxy {
    /// The one that stands between us and this server by these variables; `None` where there is none, or it is passed by.
    pub(super) fn find(
        variable: impl Fn(&str) -> Option<String>,
        host: &str,
        port: u16,
    ) -> Result<Option<Self>, Trouble> {
        let either = |one, other| variable(one).or_else(|| variable(other));
        let Some(url) = either("HTTPS_PROXY", "https_proxy") else {
            return Ok(None);
        };
        let spared = either("NO_PROXY", "no_proxy").unwrap_or_default();
        if is_spared(&spared, host, port) {
            return Ok(None);
        }
        // What it is may hold a password, and is not quoted.
        Self::parse(&url).map(Some).ok_or_else(|| {
            Trouble::Setup(
                "HTTPS_PROXY is no proxy that is spoken to: write http://HOST:PORT, or name the API server in NO_PROXY".to_owned(),
            )
        })
    }

    fn parse(url: &str) -> Option<Self> {
        let rest = match url.trim().split_once("://") {
            Some((scheme, rest)) => Some(rest).filter(|_| scheme.eq_ignore_ascii_case("http"))?,
            None => url.trim(),
        };
        let place = rest.split(['/', '?', '#']).next()?;
        let (credentials, place) = match place.rsplit_once('@') {
            Some((user, place)) if !user.contains(':') => (Some(decoded(&format!("{user}:"))?), place),
            Some((both, place)) => (Some(decoded(both)?), place),
            None => (None, place),
        };
        let (host, port) = split(place);
        let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        Some(Self {
            host: Some(host.to_owned()).filter(|_| is_host)?,
            port: port.map_or(Some(80), |port| port.parse().ok())?,
            credentials,
        })
    }

    /// Has it connect what is connected to it to `target`, a name or address with its port.
    pub(super) async fn tunnel<S>(&self, mut stream: S, target: &str) -> Result<S, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed =
            |why: &str| Trouble::Unreachable(format!("the proxy {self} does not connect to {target}: {why}"));
        let credentials = self
            .credentials
            .as_deref()
            .map_or_else(String::new, |credentials| {
                format!("Proxy-Authorization: Basic {}\r\n", base64(credentials))
            });
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credentials}\r\n");
        let broke_off = |error: std::io::Error| failed(&error.to_string());
        stream.write_all(request.as_bytes()).await.map_err(broke_off)?;
        let mut head = Vec::new();
        // What comes after the head is the server's: nothing of it is read here.
        while !head.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await.map_err(broke_off)?;
            head.push(byte);
            if head.len() > HEAD_BYTES_MAX {
                return Err(failed("its answer has no end"));
            }
        }
        match status_of(&head) {
            Some(200..=299) => Ok(stream),
            Some(407) => Err(failed(
                "it asks for credentials (407); write them into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT), or name the API server in NO_PROXY",
            )),
            Some(status) => Err(failed(&format!(
                "it answers {status}; have it let that through, or name the API server in NO_PROXY"
            ))),
            None => Err(failed("its answer is no HTTP; see that HTTPS_PROXY is a proxy")),
        }
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let (_, rest) = line.strip_prefix("HTTP/1.")?.split_once(' ')?;
    rest.get(..3)?.parse().ok()
}

/// Whether `NO_PROXY` names this server: by `*`, an address, a range of them, or a name or what it ends with, each with or without a port.
fn is_spared(spared: &str, host: &str, port: u16) -> bool {
    let host = host.to_ascii_lowercase();
    let address = host.parse().ok().map(|it: IpAddr| it.to_canonical());
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    spared
        .to_ascii_lowercase()
        .split(',')
        .map(str::trim)
        .any(|entry| {
            if let Some((range, bits)) = entry.split_once('/') {
                let range = range.parse().ok().zip(bits.parse().ok());
                return address
                    .zip(range)
                    .is_some_and(|(address, range)| holds(range, address));
            }
            let (name, its_port) = split(entry);
            if entry == "*" || name.is_empty() {
                return entry == "*";
            }
            let is_port = its_port.is_none_or(|its| its.is_empty() || its.parse() == Ok(port));
            if let Ok(other) = name.parse::<IpAddr>() {
                return is_port && address == Some(other.to_canonical());
            }
            let name = name
                .strip_prefix('*')
                .filter(|rest| rest.starts_with('.'))
                .unwrap_or(name);
            let end = name.strip_prefix('.').unwrap_or(name);
            let is_below = host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
            is_port && (is_below || host == name)
        })
}

fn holds((range, bits): (IpAddr, u32), address: IpAddr) -> bool {
    match (range, address) {
        (IpAddr::V4(range), IpAddr::V4(address)) => {
            let differ = range.to_bits() ^ address.to_bits();
            bits <= 32 && differ.leading_zeros() >= bits
        }
        (IpAddr::V6(range), IpAddr::V6(address)) => {
            let differ = range.to_bits() ^ address.to_bits();
            bits <= 128 && differ.leading_zeros() >= bits
        }
        _ => false,
    }
}

/// Host and port; an IPv6 address with a port stands in brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Percent-encoding (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    Some(out)
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            // Six bits are one of 64.
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}
