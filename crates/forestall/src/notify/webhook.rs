//! An HTTP POST, by hand: one request, one answer, and the connection is closed.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::notify::Webhook;
use crate::log::escape;

/// As much of an answer as has its first line.
const ANSWER_BYTES_MAX: usize = 512;

/// Sends it. The error says why nobody has taken it.
pub(super) fn post(webhook: &Webhook, line: &str, timeout: Duration) -> Result<(), String> {
    let by = Instant::now() + timeout;
    let answer = exchange(webhook, line, by).map_err(|error| error.to_string())?;
    let first = answer
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let mut words = first.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let is_http = words.next().is_some_and(|word| word.starts_with(b"HTTP/1."));
    match words.next() {
        Some([b'2', _, _]) if is_http => Ok(()),
        _ if first.is_empty() => Err("answered nothing".to_owned()),
        _ => Err(format!("answered {}", escape::bytes(first))),
    }
}

fn exchange(webhook: &Webhook, line: &str, by: Instant) -> std::io::Result<Vec<u8>> {
    let mut last = None;
    for address in webhook.address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(by)?) {
            Ok(stream) => return talk(stream, webhook, line, by),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("the name has no address")))
}

fn talk(mut stream: TcpStream, webhook: &Webhook, line: &str, by: Instant) -> std::io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(left(by)?))?;
    let Webhook { host, path, .. } = webhook;
    let version = env!("CARGO_PKG_VERSION");
    let length = line.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: forestall/{version}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{line}"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let mut count = 0;
    while count < answer.len() && !answer.iter().take(count).any(|byte| *byte == b'\n') {
        // Each read by itself may be slow; all of them together may not.
        stream.set_read_timeout(Some(left(by)?))?;
        match stream.read(answer.get_mut(count..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(more) => count += more,
            // A signal, such as the one for a new configuration, ends a read that has a time limit (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    answer.truncate(count);
    Ok(answer)
}

fn left(by: Instant) -> std::io::Result<Duration> {
    let left = by.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}
