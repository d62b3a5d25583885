//! Lines with a label before them, broken at the terminal's edge.

use std::fmt::Write as _;

use crate::commands::terminal::Terminal;

/// Columns left of what is said.
const MARGIN: usize = 12;

/// Text that is broken at the terminal's edge.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) terminal: Terminal,
}

impl Page {
    pub(super) const fn new(terminal: Terminal) -> Self {
        Self {
            text: String::new(),
            terminal,
        }
    }

    /// Columns for what is said.
    pub(super) fn width(&self) -> usize {
        self.terminal.columns.clamp(48, 110) - MARGIN
    }

    pub(super) fn title(&mut self, said: &str) {
        for line in wrap(said, self.width() + MARGIN) {
            let line = self.terminal.paint("1", line);
            let _ = writeln!(self.text, "{line}");
        }
    }

    pub(super) fn dim(&mut self, said: &str) {
        for line in wrap(said, self.width() + MARGIN) {
            let line = self.terminal.paint("2", line);
            let _ = writeln!(self.text, "{line}");
        }
    }

    pub(super) fn line(&mut self, label: &str, said: &str) {
        let mut label = label;
        for line in wrap(said, self.width()) {
            self.raw(label, line);
            label = "";
        }
    }

    pub(super) fn raw(&mut self, label: &str, said: &str) {
        let label = self.terminal.paint("2", &format!("{label:<MARGIN$}"));
        let _ = writeln!(self.text, "{label}{said}");
    }
}

/// Breaks at blanks; a word that is longer than a line has one for itself.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.chars().count() > width {
        let reach = rest
            .char_indices()
            .nth(width + 1)
            .map_or(rest.len(), |(at, _)| at);
        let within = rest.get(..reach).and_then(|part| part.rfind(' '));
        let Some(at) = within.filter(|at| *at > 0).or_else(|| rest.find(' ')) else {
            break;
        };
        let (line, after) = rest.split_at(at);
        lines.push(line.trim_end());
        rest = after.trim_start();
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub(super) fn lines_break_at_blanks_and_no_word_is_torn() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 6), ["one", "two", "three"]);
        assert_eq!(wrap("/a/long/path and more", 5), ["/a/long/path", "and", "more"]);
        assert_eq!(wrap("größe größe", 5), ["größe", "größe"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("abcdefgh", 5), ["abcdefgh"]);
    }
}
