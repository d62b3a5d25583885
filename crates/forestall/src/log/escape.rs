//! Names from outside (process names, cgroup names, paths, messages) on their way to a terminal or a log: printable
//! ASCII stays, everything else is written out, so that no name can move a cursor, forge a line or hide itself.

use std::borrow::Cow;
use std::fmt::Write;

/// Letters of a message: nobody reads more, and a value that is quoted in it may be as large as its file.
const MESSAGE_MAX: usize = 4096;
/// What stands for those in the middle that are left out.
const LEFT_OUT: &str = " … ";

/// Escapes bytes: printable ASCII but the backslash stays as it is; valid UTF-8 letters stay too; the rest is `\xNN`.
pub(crate) fn bytes(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        push_text(&mut out, chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Escapes a name that is text, so that no two look alike.
pub(crate) fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    push_text(&mut out, raw);
    out
}

/// Escapes a whole message, which may quote something from outside. A backslash stays one: what a message quotes has often been
/// escaped by whoever quoted it (a parser, `{:?}`), and twice escaped nobody reads it. Of a long one the middle is left out: what it is
/// about stands at its beginning, and what to do at its end.
pub(crate) fn message(raw: &str) -> String {
    let raw = shorten(raw);
    let mut out = String::with_capacity(raw.len());
    for (place, part) in raw.split('\\').enumerate() {
        if place > 0 {
            out.push('\\');
        }
        push_text(&mut out, part);
    }
    out
}

fn shorten(raw: &str) -> Cow<'_, str> {
    let count = raw.chars().count();
    if count <= MESSAGE_MAX {
        return raw.into();
    }
    let half = (MESSAGE_MAX - LEFT_OUT.len()) / 2;
    let begins = raw.chars().take(half);
    let ends = raw.chars().skip(count - half);
    begins.chain(LEFT_OUT.chars()).chain(ends).collect()
}

fn push_text(out: &mut String, raw: &str) {
    for letter in raw.chars() {
        if letter == ' '
            || letter.is_ascii_graphic() && letter != '\\'
            || letter.is_alphanumeric()
            || is_known_mark(letter)
        {
            out.push(letter);
        } else if letter == '\\' {
            out.push_str("\\\\");
        } else if letter.is_ascii() {
            let _ = write!(out, "\\x{:02x}", u32::from(letter));
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(letter));
        }
    }
}

/// Marks our own messages use. Not the bidirectional controls, which `is_alphanumeric` excludes as well.
fn is_known_mark(letter: char) -> bool {
    matches!(letter, '…' | '–' | '≥' | '≤' | '×')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_is_not_printable() {
        assert_eq!(bytes(b"nginx: worker"), "nginx: worker");
        assert_eq!(bytes(b"a\x1b[2J\nb\tc\x7f"), "a\\x1b[2J\\x0ab\\x09c\\x7f");
        assert_eq!(bytes(b"\xff\xfe\\"), "\\xff\\xfe\\\\");
        assert_eq!(bytes("größe\u{202e}x\u{85}".as_bytes()), "größe\\u{202e}x\\u{85}");
        assert_eq!(text("line\u{2028}"), "line\\u{2028}");
        assert_eq!(message("a\x1b[2J\n\u{202e}"), "a\\x1b[2J\\x0a\\u{202e}");
    }

    #[test]
    fn of_a_long_message_the_beginning_and_the_end_are_read() {
        let quoted = |size| {
            format!(
                "a.yaml:3:9: {:?} is no address; write 127.0.0.1:9479",
                "é".repeat(size)
            )
        };
        assert_eq!(message(&quoted(4000)), quoted(4000));
        let said = message(&quoted(900_000));
        assert!(
            said.starts_with("a.yaml:3:9: \"é") && said.ends_with("write 127.0.0.1:9479"),
            "{said}"
        );
        assert!(said.contains("é … é") && said.chars().count() <= 4096, "{said}");
        assert_eq!(message(&said), said);
    }

    #[test]
    fn a_message_is_escaped_once_however_often() {
        let once = message(&format!("{:?} of {}", "\x1b[2J", bytes(b"c\x1b\\")));
        assert_eq!(once, "\"\\u{1b}[2J\" of c\\x1b\\\\");
        assert_eq!(message(&once), once);
    }
}
