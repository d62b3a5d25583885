//! What stdout is: how wide, and whether colours are understood and wanted.

use std::io::{self, IsTerminal};

/// Where an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Columns; 100 where nobody says.
    pub(crate) columns: usize,
    /// Whether escape sequences are understood and wanted.
    pub(crate) colour: bool,
}

impl Terminal {
    /// Colour is for terminals, and for those who did not ask to be spared (no-color.org).
    pub(crate) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let columns = size
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0);
        Self {
            columns: columns.unwrap_or(100),
            colour: stdout.is_terminal() && !refused,
        }
    }

    /// A text in a colour.
    pub(crate) fn paint(self, sgr: &str, text: &str) -> String {
        if self.colour && !text.is_empty() && !sgr.is_empty() {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
