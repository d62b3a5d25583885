//! What stands before the kernel's words and is no form that anybody knows: the name of a pod, a file or a host, a klog head, labels, a field of
//! JSON. It is passed over, and whatever time is in it is taken where the line has no other.
//!
//! The kernel's words are looked for, and not one form after the other: a stamp, a tag, or a line that begins as only the kernel's do. It
//! refuses to believe them as if nothing stood there: whoever reads the report is told ([`Behind`]).

use super::part::Part;
use super::table::row_start;
use crate::kmsg::{Behind, Calendar, Line, Origin, When};
use crate::parse::{Cursor, find_all, rfind};

/// Labels are no longer.
const LABEL_BYTES_MAX: usize = 1024;

/// What stands so far in follows a newline within the line above, and may be of a name that the kernel prints.
const INDENT_BYTES: usize = 15;

/// The line as it reads behind a label; `None` where none stands there, or nothing of the kernel's behind it.
#[inline(never)]
pub(super) fn pass<'a>(read: &Line<'a>) -> Option<Line<'a>> {
    let text = read.text;
    if !may_stand(read) {
        return None;
    }
    let mut when = read.when;
    when.calendar = when.calendar.or_else(|| date(text));
    let label = text.get(..LABEL_BYTES_MAX).unwrap_or(text);
    for at in 1..label.len() {
        if !may_begin(text, at) {
            continue;
        }
        let rest = text.get(at..)?;
        if let Some(calendar) = date(rest) {
            when.calendar = Some(calendar);
        }
        let inner = Line::of_text(rest);
        let is_said = inner.when.micros.is_some() || inner.origin != Origin::Unsaid;
        if is_said || begins(inner.text) {
            let is_quoted = at > 0 && text.get(at - 1) == Some(&b'"');
            let inner = behind(inner, when, is_quoted);
            return Some(Line {
                is_bare: false,
                ..inner
            });
        }
    }
    let name = header_name(text)?;
    let inner = Line {
        text: text.get(name..)?,
        is_bare: false,
        ..*read
    };
    Some(behind(inner, when, false))
}

/// Whether anything of the kernel's may stand behind a label in this line: nothing of it is known to be the kernel's yet.
pub(super) fn may_stand(read: &Line<'_>) -> bool {
    let text = read.text;
    let is_plain = read.origin == Origin::Unsaid && read.when.micros.is_none() && !read.is_escaped;
    let indent = text.iter().take_while(|byte| **byte == b' ').count();
    is_plain && indent < INDENT_BYTES && !begins(text) && row_start(text).is_none()
}

/// A newline within a text in quotation marks, as JSON and others write it.
pub(super) const NEWLINE: &[u8] = b"\\n";

/// Hands out the lines that are within one, each ended by such a newline or by the quotation.
pub(super) fn pieces(read: &Line<'_>, each: &mut dyn FnMut(&Line<'_>)) {
    let mut rest = Some(read.text);
    let mut is_within = false;
    while let Some(text) = rest {
        // A backslash before it makes it a backslash and a letter.
        let end = find_all(text, NEWLINE).find(|at| *at == 0 || text.get(at - 1) != Some(&b'\\'));
        rest = end.and_then(|end| text.get(end + NEWLINE.len()..));
        let piece = Line::of_text(text.get(..end.unwrap_or(text.len())).unwrap_or(text));
        let inner = pass(&piece).unwrap_or(piece);
        each(&behind(inner, read.when, is_within));
        is_within = true;
    }
}

fn behind(inner: Line<'_>, when: When, is_quoted: bool) -> Line<'_> {
    let end = inner.text.len();
    let quote = is_quoted
        .then(|| (0..end).find(|at| ends_quote(inner.text, *at)))
        .flatten();
    Line {
        when: if inner.when == When::default() {
            when
        } else {
            inner.when
        },
        behind: inner.behind.max(Behind::Unknown),
        text: inner.text.get(..quote.unwrap_or(end)).unwrap_or(inner.text),
        ..inner
    }
}

/// A quotation mark that no backslash stands before.
fn ends_quote(text: &[u8], at: usize) -> bool {
    text.get(at) == Some(&b'"') && (at == 0 || text.get(at - 1) != Some(&b'\\'))
}

/// Whether a line begins as only the kernel's do.
fn begins(text: &[u8]) -> bool {
    Part::of_own_words(text).is_some()
}

/// Whether something may begin here: behind what ends a label or parts it.
fn may_begin(text: &[u8], at: usize) -> bool {
    let [before, first] = [at - 1, at].map(|at| text.get(at).copied().unwrap_or(b' '));
    b" \t:|>\"]}=".contains(&before) && !b" \t".contains(&first)
}

/// A date within a label, klog's among them.
fn date(text: &[u8]) -> Option<Calendar> {
    let mut line = Cursor::new(text);
    Calendar::iso(&mut line)
        .or_else(|| Calendar::syslog(&mut line))
        .or_else(|| Calendar::klog(&mut line))
}

/// Where the name begins that a header begins with, if more stands before it than a name can have: its last word.
fn header_name(text: &[u8]) -> Option<usize> {
    const NAME_BYTES_MAX: usize = 15;
    let Some(Part::Header(header)) = Part::of(text) else {
        return None;
    };
    let blank = rfind(header.comm, b" ")?;
    (header.comm.len() > NAME_BYTES_MAX).then_some(blank + 1)
}

#[cfg(test)]
mod tests;
