//! What is said of lines that have the kernel's words for a kill and were not read: how many, and which was the first.
//!
//! Only a file's lines can be numbered, by reading it once more: counting them on the way would cost every log that is read.

use std::path::Path;

use forestall_kernel::oom::Unread;
use forestall_kernel::parse::find;
use serde_json::{Map, Value};

use crate::commands::foretold::object;
use crate::input::Flow;
use crate::log::escape;

/// What is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// What was left out of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    unread: Unread,
    /// The number of the first line, where it is a file's.
    line: Option<u64>,
}

impl LeftOut {
    pub(crate) fn of(unread: &Unread, path: &Path) -> Self {
        Self {
            line: (unread.lines > 0).then(|| number(path, &unread.first)).flatten(),
            unread: unread.clone(),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.unread.lines == 0
    }

    /// As a sentence without an end; `None` where nothing was left out.
    pub(crate) fn sentence(&self) -> Option<String> {
        let lines = match self.unread.lines {
            0 => return None,
            1 => "1 line has".to_owned(),
            lines => format!("{lines} lines have"),
        };
        let line = self
            .line
            .map_or_else(String::new, |line| format!("line {line}: "));
        let text = escape::bytes(&self.unread.first);
        Some(format!(
            "{lines} the kernel's words for a kill and could not be read as the kernel's (first: {line}{text})"
        ))
    }

    /// The same for programs.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let first = (!self.is_empty()).then(|| {
            object([
                ("line", self.line.into()),
                ("text", escape::bytes(&self.unread.first).into()),
            ])
        });
        object([
            ("unread_lines", self.unread.lines.into()),
            ("first_unread", first.into()),
        ])
    }
}

/// The number of the first line of a file that has `text`; `None` for what cannot be read twice, or where colours have been taken out of it.
fn number(path: &Path, text: &[u8]) -> Option<u64> {
    if path.as_os_str() == "-" || !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut flow = Flow::open(path, "log").ok()?;
    let (mut block, mut kept, mut line) = (vec![0; BLOCK_BYTES + text.len()], 0, 1);
    loop {
        let count = flow
            .read(block.get_mut(kept..)?)
            .ok()
            .filter(|count| *count > 0)?;
        let read = block.get(..kept + count)?;
        let found = find(read, text);
        let passed = found.unwrap_or_else(|| read.len().saturating_sub(text.len()));
        line += memchr::memchr_iter(b'\n', read.get(..passed)?).count() as u64;
        if found.is_some() {
            return Some(line);
        }
        let end = read.len();
        block.copy_within(passed..end, 0);
        kept = end - passed;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_is_numbered_wherever_blocks_end() {
        for before in [0, 1, BLOCK_BYTES - 3, BLOCK_BYTES + 7, 3 * BLOCK_BYTES] {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            let lines = "x\n".repeat(before);
            writeln!(file, "{lines}a Killed process z").expect("room");
            assert_eq!(number(file.path(), b"Killed process z"), Some(before as u64 + 1));
            assert_eq!(number(file.path(), b"nowhere"), None);
        }
        assert_eq!(number(Path::new("-"), b"x"), None);
    }
}
