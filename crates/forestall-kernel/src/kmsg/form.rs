//! What programs put before the kernel's text: each form is told by the line itself.
//!
//! A prefix is taken only when all of it fits; a line that merely resembles one is text alone. Nothing is copied.

use super::calendar::{Calendar, fraction};
use super::carrier;
use super::line::{Behind, Line, Origin, When};
use super::record::{Caller, Flag};
use crate::parse::{Cursor, find};

/// The words by which a kill begins in an event's message.
const IN_EVENTS: [&[u8]; 3] = [
    b"Memory cgroup out of memory",
    b"Out of memory",
    b"Killed process ",
];

/// Reads a line that is no record of `/dev/kmsg`.
pub(crate) fn read(line: &[u8]) -> Line<'_> {
    let Some((when, inner)) = carrier::peel(line) else {
        return read_plain(line);
    };
    let mut found = read_plain(inner);
    found.behind = Behind::Container;
    // A container may print a log of long ago: when it did is no moment of the kernel's where the line has one.
    if found.when == When::default() {
        found.when.calendar = when;
    }
    found
}

/// In the program once, though it is called from two places.
#[inline(never)]
fn read_plain(line: &[u8]) -> Line<'_> {
    let found = read_dressed(line);
    if !found.is_bare {
        return found;
    }
    let inner = quoted(line).map(read_dressed).filter(|inner| !inner.is_bare);
    inner.unwrap_or(found)
}

/// What stands behind `> `, as in a mail, or behind what grep puts before a line, `/var/log/kern.log:17:`.
fn quoted(line: &[u8]) -> Option<&[u8]> {
    const NAME_BYTES_MAX: usize = 256;
    if let Some(inner) = line.strip_prefix(b"> ") {
        return Some(inner);
    }
    let mut rest = Cursor::new(line);
    let name = rest.take_while(|byte| byte > b' ' && byte != b':');
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let is_named = name.contains(&b'/') || name.contains(&b'.') || is_number(name);
    if !is_named || name.len() > NAME_BYTES_MAX {
        return None;
    }
    rest.take(b":")?;
    let mut numbered = rest;
    if is_number(numbered.take_while(|byte| byte.is_ascii_digit())) && numbered.take(b":").is_some() {
        rest = numbered;
    }
    Some(rest.rest())
}

/// In the program once, though it is called from two places.
#[inline(never)]
fn read_dressed(line: &[u8]) -> Line<'_> {
    let mut rest = Cursor::new(line);
    let mut found = Line {
        when: When::default(),
        origin: Origin::Unsaid,
        caller: None,
        flag: Flag::Whole,
        is_escaped: false,
        is_bare: false,
        behind: Behind::Nothing,
        text: line,
    };
    let is_dressed = [priority, facility, protocol, syslog, unix, tag, brackets]
        .into_iter()
        .filter(|strip| strip(&mut rest, &mut found).is_some())
        .count()
        > 0;
    found.text = rest.rest();
    if !is_dressed {
        match event(line) {
            Some(text) => found.text = text,
            None => found.is_bare = true,
        }
    }
    found
}

/// `<6>`: `dmesg -r`, a serial console.
fn priority<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    let mut ahead = *line;
    ahead.take(b"<")?;
    let priority = ahead.digits()?;
    ahead.take(b">")?;
    found.origin = origin_of(priority >> 3 == 0);
    *line = ahead;
    Some(())
}

/// `kern  :warn  : ` (`dmesg -x`) and `kern: warning: ` (`talosctl dmesg`, which has its node before it), when a stamp follows.
fn facility<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    facility_at(line, found).or_else(|| {
        let mut ahead = *line;
        ahead.word().strip_suffix(b":")?;
        ahead.take(b" ")?;
        facility_at(&mut ahead, found)?;
        *line = ahead;
        Some(())
    })
}

fn facility_at<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    const FACILITIES: [&[u8]; 12] = [
        b"kern",
        b"user",
        b"mail",
        b"daemon",
        b"auth",
        b"syslog",
        b"lpr",
        b"news",
        b"uucp",
        b"cron",
        b"authpriv",
        b"ftp",
    ];
    let mut ahead = *line;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    let name = ahead.take_while(is_word);
    if !FACILITIES.contains(&name) && !name.starts_with(b"local") {
        return None;
    }
    ahead.blanks();
    ahead.take(b":")?;
    ahead.blanks();
    ahead.take_while(is_word);
    ahead.blanks();
    ahead.take(b":")?;
    ahead.blanks();
    if !ahead.rest().starts_with(b"[") {
        return None;
    }
    found.origin = origin_of(name == b"kern");
    *line = ahead;
    Some(())
}

/// `1 2024-05-01T12:00:00Z host kernel - - - ` behind a priority: RFC 5424.
fn protocol<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    let mut ahead = *line;
    ahead.take(b"1 ")?;
    let calendar = Calendar::iso(&mut ahead)?;
    ahead.take(b" ")?;
    ahead.word();
    ahead.take(b" ")?;
    let is_kernels = ahead.word() == b"kernel" && found.origin == Origin::Kernel;
    // No process, kind of message or further data: the kernel's have none.
    ahead.take(b" - - - ")?;
    found.when.calendar = Some(calendar);
    found.origin = origin_of(is_kernels);
    *line = ahead;
    Some(())
}

/// `Feb 20 08:18:28 host kernel: ` and the same with an ISO stamp; `dmesg --time-format iso` has the stamp alone.
fn syslog<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    let mut ahead = *line;
    let Some(calendar) = Calendar::syslog(&mut ahead)
        .or_else(|| Calendar::iso(&mut ahead))
        .or_else(|| Calendar::ctime(&mut ahead))
    else {
        Calendar::pass_foreign(&mut ahead)?;
        ahead.take(b" ")?;
        found.origin = host_and_tag(&mut ahead)?;
        *line = ahead;
        return Some(());
    };
    // A zone may be named behind the time, which no offset follows from.
    let named = |text: &[u8]| (2..6).contains(&text.len()) && text.iter().all(u8::is_ascii_uppercase);
    if calendar.year.is_some() && calendar.offset_minutes.is_none() {
        let mut zone = ahead;
        zone.take(b" ")?;
        if named(zone.word()) && host_and_tag(&mut zone.clone()).is_some() {
            ahead = zone;
        }
    }
    ahead.take(b" ")?;
    found.when.calendar = Some(calendar);
    if let Some(origin) = host_and_tag(&mut ahead) {
        found.origin = origin;
    } else if calendar.year.is_none() {
        return None;
    }
    *line = ahead;
    Some(())
}

/// `1700000000.123456 host kernel: `: `journalctl -o short-unix`.
fn unix<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    let mut ahead = *line;
    ahead.digits()?;
    ahead.take(b".")?;
    ahead.digits()?;
    ahead.take(b" ")?;
    found.origin = host_and_tag(&mut ahead)?;
    *line = ahead;
    Some(())
}

/// `kernel: ` or `host kernel: `, of which somebody has cut the date off.
fn tag<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    let mut ahead = *line;
    let is_first = found.origin == Origin::Unsaid && found.when.calendar.is_none();
    // What else ends in a colon may be the kernel's own text.
    host_and_tag(&mut ahead).filter(|origin| is_first && *origin == Origin::Kernel)?;
    found.origin = Origin::Kernel;
    *line = ahead;
    Some(())
}

/// `host kernel: ` or `host name[12]: `, and the kernel without a host.
fn host_and_tag(line: &mut Cursor<'_>) -> Option<Origin> {
    let mut ahead = *line;
    ahead.blanks();
    if ahead.take(b"kernel: ").is_some() {
        *line = ahead;
        return Some(Origin::Kernel);
    }
    let host = ahead.word();
    ahead.take(b" ")?;
    let mut tag = ahead.word();
    // busybox has `kern.err` before the tag.
    if tag.contains(&b'.') && !tag.ends_with(b":") {
        ahead.take(b" ")?;
        tag = ahead.word();
    }
    let tag = tag.strip_suffix(b":")?;
    if host.is_empty() || host.ends_with(b":") || tag.is_empty() {
        return None;
    }
    ahead.take(b" ").unwrap_or_default();
    *line = ahead;
    Some(origin_of(tag == b"kernel"))
}

/// `[ 5193605.506728] `, `[Wed Dec  6 23:54:11 2017] `, `[2026-01-12T20:27:31.91Z]: `, and a caller in brackets of its own.
fn brackets<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) -> Option<()> {
    let mut ahead = *line;
    // Copied by hand, the first bracket is easily missed.
    let is_open = ahead.take(b"[").is_some();
    ahead.blanks();
    let mut when = found.when;
    if let Some(micros) = seconds(&mut ahead) {
        when.micros = Some(micros);
        delta(&mut ahead);
    } else if !is_open || !date(&mut ahead, &mut when) {
        return None;
    }
    ahead.take(b"]")?;
    found.when = when;
    caller(&mut ahead, found);
    ahead.take(b":").unwrap_or_default();
    ahead.take(b" ").unwrap_or_default();
    // `journalctl -o short-monotonic` has its host and tag behind the stamp.
    let mut tagged = ahead;
    if found.origin == Origin::Unsaid && host_and_tag(&mut tagged) == Some(Origin::Kernel) {
        found.origin = Origin::Kernel;
        ahead = tagged;
    }
    *line = ahead;
    Some(())
}

/// A date in brackets, or what dmesg's human-readable form has there, which tells no moment.
fn date(line: &mut Cursor<'_>, when: &mut When) -> bool {
    if let Some(calendar) = Calendar::ctime(line).or_else(|| Calendar::iso(line)) {
        when.calendar = Some(calendar);
        return true;
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b" +.:".contains(&byte);
    let inside = line.take_while(is_part);
    inside.starts_with(b"+") || inside.get(3..).is_some_and(|rest| rest.contains(&b':'))
}

/// `5193605.506728` in microseconds.
fn seconds(line: &mut Cursor<'_>) -> Option<u64> {
    let mut ahead = *line;
    let whole = ahead.digits()?;
    if !ahead.rest().starts_with(b".") {
        return None;
    }
    let micros = fraction(&mut ahead);
    *line = ahead;
    Some(whole.saturating_mul(1_000_000).saturating_add(u64::from(micros)))
}

/// ` <    0.000012>`: `dmesg -d`.
fn delta(line: &mut Cursor<'_>) {
    let mut ahead = *line;
    let is_delta = ahead.take(b" <").is_some()
        && !ahead
            .take_while(|byte| byte.is_ascii_digit() || b" .".contains(&byte))
            .is_empty()
        && ahead.take(b">").is_some();
    if is_delta {
        *line = ahead;
    }
}

/// `[ T123]` or ` [    C0]`, as consoles and newer dmesg print it.
fn caller<'a>(line: &mut Cursor<'a>, found: &mut Line<'a>) {
    let mut ahead = *line;
    ahead.take(b" ").unwrap_or_default();
    if ahead.take(b"[").is_none() {
        return;
    }
    ahead.blanks();
    let caller = Caller::parse(ahead.take_while(|byte| byte.is_ascii_alphanumeric()));
    if caller.is_some() && ahead.take(b"]").is_some() {
        found.caller = caller;
        *line = ahead;
    }
}

/// The message of a node problem detector's event (`kubectl get events`, `kubectl describe node`, or as JSON).
fn event(line: &[u8]) -> Option<&[u8]> {
    let at = find(line, b"OOMKilling")?;
    let behind = line.get(at..)?;
    let starts = IN_EVENTS.iter().filter_map(|words| find(behind, words));
    behind.get(starts.min()?..)
}

fn origin_of(is_kernels: bool) -> Origin {
    if is_kernels { Origin::Kernel } else { Origin::Other }
}
