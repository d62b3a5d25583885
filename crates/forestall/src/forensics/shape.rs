//! What the beginning of a file shows: a log as text, a journal as JSON, or no log that can be read, with what to do about it.
//!
//! It refuses nothing that may be a log: a few bytes that are no text, and holes of zero bytes where a machine lost its power, are
//! found in sound ones.

use forestall_kernel::parse::find;

/// How a log is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Lines of text, in whatever form.
    Text,
    /// `journalctl -o json`, and what a container printed as Docker and log stores keep it: an object a line.
    Journal,
    /// One JSON document, over as many lines as it likes.
    Document,
}

/// Why it is no log that can be read, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    pub(crate) advice: String,
}

/// What stands in front of text that says in which bytes it is written.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How files begin that are packed, by what, and what unpacks them.
const PACKED: [(&[u8], &str, &str); 6] = [
    (b"\x1f\x8b", "gzip", "zcat"),
    (b"\xfd7zXZ\0", "xz", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat"),
    (b"BZh", "bzip2", "bzcat"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4cat"),
    (b"PK\x03\x04", "zip", "unzip -p"),
];

/// So much of a file shows what it is.
const JUDGED_BYTES: usize = 16 << 10;

/// One byte in so many may be no text.
const ODD_ONE_IN: usize = 8;

/// Judges by the first block.
pub(crate) fn judge(begin: &[u8]) -> Result<Shape, Refusal> {
    let begin = begin.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begin);
    let begin = begin.get(..JUDGED_BYTES).unwrap_or(begin);
    if let Some((_, packer, unpack)) = PACKED.iter().find(|(mark, ..)| begin.starts_with(mark)) {
        return refuse(
            &format!("is packed with {packer}"),
            &format!("unpack it on the way: {unpack} FILE | forestall explain --log -"),
        );
    }
    if begin.starts_with(b"LPKSHHRH") {
        let advice = "let journalctl read it: journalctl -k --file FILE | forestall explain --log -";
        return refuse("is a journal of systemd's, which is no text", advice);
    }
    if begin.starts_with(&forestall_trace::MAGIC) {
        let advice = "look into it with forestall trace info, or replay it";
        return refuse("is a recording of forestall's, not a log", advice);
    }
    if is_wide(begin) {
        let advice = "convert it on the way: iconv -f UTF-16 -t UTF-8 FILE | forestall explain --log -";
        return refuse("is UTF-16, not UTF-8", advice);
    }
    if is_binary(begin) {
        return refuse(
            "is binary, not a log",
            "name a text such as kern.log, or what dmesg or journalctl -k prints",
        );
    }
    shape(begin)
}

fn shape(begin: &[u8]) -> Result<Shape, Refusal> {
    // A record of `-o json-seq` begins with this.
    let text = begin.trim_ascii_start();
    let text = text.strip_prefix(b"\x1e").unwrap_or(text);
    let line = memchr::memchr(b'\n', text)
        .and_then(|end| text.get(..end))
        .unwrap_or(text);
    let is_object = line.first() == Some(&b'{');
    let is_journals = find(line, b"\"__REALTIME_TIMESTAMP\"").is_some()
        || find(line, b"\"MESSAGE\"").is_some()
        || super::journal::CARRIED_IN.iter().any(|key| {
            let quoted = [b"\"", key.as_bytes(), b"\":"].concat();
            find(line, &quoted).is_some()
        });
    if super::document::is_begun(line) {
        return Ok(Shape::Document);
    }
    if is_object && is_journals {
        return Ok(Shape::Journal);
    }
    if is_export(line) {
        return refuse(
            "holds records of several lines each",
            "have one in each line: journalctl -k -o json",
        );
    }
    Ok(Shape::Text)
}

/// `journalctl -o export`: a field a line.
fn is_export(line: &[u8]) -> bool {
    line.starts_with(b"__CURSOR=") || line.starts_with(b"__REALTIME_TIMESTAMP=")
}

fn refuse(why: &str, advice: &str) -> Result<Shape, Refusal> {
    Err(Refusal {
        why: why.to_owned(),
        advice: advice.to_owned(),
    })
}

/// Text in units of two bytes: its mark, or every other byte zero and no others.
fn is_wide(begin: &[u8]) -> bool {
    if begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff") {
        return true;
    }
    let (mut even, mut odd) = (0_usize, 0_usize);
    for pair in begin.chunks_exact(2) {
        even += usize::from(pair.first() == Some(&0));
        odd += usize::from(pair.last() == Some(&0));
    }
    let pairs = begin.len() / 2;
    let (more, less) = (even.max(odd), even.min(odd));
    pairs >= 8 && more > pairs * 3 / 4 && less < pairs / 16
}

fn is_binary(begin: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < b' ' && !b"\t\n\r\x0c\x1b\x1e\0".contains(byte);
    let mut odd = begin.iter().filter(|byte| is_control(byte)).count();
    let mut chunks = begin.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        // The block may end within a letter.
        if chunks.peek().is_some() {
            odd += chunk.invalid().len();
        }
    }
    let zeros = memchr::memchr_iter(0, begin).count();
    let others = begin.len() - zeros;
    let lines = memchr::memchr_iter(b'\n', begin).count();
    // Zeros alone are a hole; scattered ones are not.
    let holes = begin
        .split(|byte| *byte != 0)
        .filter(|run| !run.is_empty())
        .count();
    odd * ODD_ONE_IN > others || holes > lines.max(4) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(begin: &[u8]) -> String {
        judge(begin).expect_err("it is no log").why
    }

    #[test]
    fn what_is_packed_or_no_text_is_refused_with_what_to_do() {
        for (begin, packer) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"BZh91AY&SY", "bzip2"),
            (b"PK\x03\x04\x14", "zip"),
        ] {
            assert_eq!(why(begin), format!("is packed with {packer}"));
        }
        assert!(why(b"LPKSHHRH\0\0").contains("journal"));
        assert!(why(&forestall_trace::MAGIC).contains("recording"));
        let wide: Vec<u8> = "Feb 20 08:18:28 host kernel: x\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert!(why(&wide).contains("UTF-16"));
        let marked = [
            b"\xfe\xff".to_vec(),
            "Feb 20".encode_utf16().flat_map(u16::to_be_bytes).collect(),
        ]
        .concat();
        assert!(why(&marked).contains("UTF-16"));
        let advice = judge(b"\x1f\x8b\x08\0").expect_err("packed").advice;
        assert_eq!(
            advice,
            "unpack it on the way: zcat FILE | forestall explain --log -"
        );
    }

    #[test]
    fn a_program_is_binary() {
        let program = std::fs::read(std::env::current_exe().expect("this test")).expect("readable");
        assert_eq!(why(&program), "is binary, not a log");
        let noise: Vec<u8> = (0..4096_u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[1])
            .collect();
        assert_eq!(why(&noise), "is binary, not a log");
    }

    #[test]
    fn a_log_with_a_hole_or_with_letters_of_another_alphabet_is_a_log() {
        let line = b"Feb 20 08:18:28 host kernel: [    1.5] usb 1-1: new device\n";
        let torn = [&line[..], &[0; 5000], line].concat();
        assert_eq!(judge(&torn), Ok(Shape::Text));
        assert_eq!(judge(&[&[0; 4096][..], line].concat()), Ok(Shape::Text));
        assert_eq!(
            judge(b"Feb 20 08:18:28 host app: Gr\xf6\xdfe der Datei ist unbekannt, und mehr\n"),
            Ok(Shape::Text)
        );
        assert_eq!(
            judge("20. f\u{e9}vrier \u{65e5}\u{672c}\u{8a9e}\n".as_bytes()),
            Ok(Shape::Text)
        );
        assert_eq!(
            judge(b"\x1b[32m[    1.5] \x1b[0m\x1b[33musb: \x1b[0mnew\n"),
            Ok(Shape::Text)
        );
        assert_eq!(judge(b""), Ok(Shape::Text));
        let long = "\u{e4}".repeat(JUDGED_BYTES);
        assert_eq!(judge(&long.as_bytes()[..JUDGED_BYTES - 1]), Ok(Shape::Text));
    }

    #[test]
    fn a_journal_is_told_from_other_objects() {
        assert_eq!(
            judge(b"{\"__CURSOR\":\"s\",\"__REALTIME_TIMESTAMP\":\"1\"}\n"),
            Ok(Shape::Journal)
        );
        assert_eq!(judge(b"\x1e{\"MESSAGE\":\"x\"}\n"), Ok(Shape::Journal));
        assert_eq!(judge(b"{\"level\":\"info\"}\n"), Ok(Shape::Text));
        assert_eq!(judge(b"{\n\t\"__CURSOR\" : \"s\"\n"), Ok(Shape::Document));
        assert!(why(b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1\n").contains("several lines"));
        assert!(why(b"__REALTIME_TIMESTAMP=1\nMESSAGE=x\n").contains("several lines"));
    }
}
