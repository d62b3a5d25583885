//! What carries lines of a container's output puts before them: somebody has a container print the kernel's log, and copies it from there.
//!
//! `kubectl logs --prefix`, the files of CRI runtimes, `logcli`'s lines of Loki, and `docker compose logs`. A prefix is taken off only when all of it
//! fits, and several may stand one before the other. What the container printed says by itself whether the kernel spoke.

use super::calendar::Calendar;
use crate::parse::{Cursor, find};

/// So many stand one before the other: kubectl's before a time before a runtime's.
const CARRIERS_MAX: usize = 3;

/// No name of a pod's with its container's is longer, and no labels are.
const NAMES_BYTES_MAX: usize = 1024;

/// When the line was carried, and what it says; `None` where nobody carried it.
pub(super) fn peel(line: &[u8]) -> Option<(Option<Calendar>, &[u8])> {
    let mut found: Option<(Option<Calendar>, &[u8])> = None;
    for _ in 0..CARRIERS_MAX {
        let (when, rest) = found.unwrap_or((None, line));
        let Some((inner_when, inner)) = one(rest) else {
            break;
        };
        found = Some((inner_when.or(when), inner));
    }
    found
}

fn one(line: &[u8]) -> Option<(Option<Calendar>, &[u8])> {
    match line.first()? {
        b'[' => Some((None, prefixed(line)?)),
        b'0'..=b'9' => timed(line),
        _ => Some((None, composed(line)?)),
    }
}

/// `[pod/web-0/app] `: `kubectl logs --prefix`.
fn prefixed(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"[pod/")?;
    let end = memchr::memchr(b']', rest).filter(|end| *end <= NAMES_BYTES_MAX)?;
    let is_named = rest.get(..end)?.iter().all(|byte| *byte > b' ');
    rest.get(end + 1..)?.strip_prefix(b" ").filter(|_| is_named)
}

/// `2024-05-01T12:00:00.123456789Z stdout F `, as runtimes keep it (`kubelet/cri/remote`: `F` for full, `P` for a part), and
/// `2024-05-01T12:00:00Z {pod="web-0"} `, as `logcli` prints it.
fn timed(line: &[u8]) -> Option<(Option<Calendar>, &[u8])> {
    let mut ahead = Cursor::new(line);
    let when = Calendar::iso(&mut ahead)?;
    ahead.take(b" ")?;
    if ahead
        .take(b"stdout ")
        .or_else(|| ahead.take(b"stderr "))
        .is_some()
    {
        ahead.take(b"F ").or_else(|| ahead.take(b"P "))?;
        return Some((Some(when), ahead.rest()));
    }
    ahead.blanks();
    let labels = ahead.rest();
    labels.strip_prefix(b"{")?;
    // A label's value may hold a brace, and a line, too: the first that ends a value ends the labels.
    let end = find(labels, b"\"}").filter(|end| *end <= NAMES_BYTES_MAX)?;
    let has_label = find(labels.get(..end)?, b"=\"").is_some();
    let rest = labels.get(end + 2..)?;
    let text = rest.trim_ascii_start();
    (has_label && text.len() < rest.len()).then_some((Some(when), text))
}

/// `web-1  | `: `docker compose logs`.
fn composed(line: &[u8]) -> Option<&[u8]> {
    let mut ahead = Cursor::new(line);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = ahead.take_while(is_name);
    if name.is_empty() || name.len() > NAMES_BYTES_MAX {
        return None;
    }
    ahead.take(b" ")?;
    ahead.blanks();
    ahead.take(b"| ")?;
    Some(ahead.rest())
}
