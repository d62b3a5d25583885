//! Lines that came in pieces are put together again.
//!
//! Up to 4.9 the first piece has the flag `c` and the others `+`; since then the first has `-` and the others `c`, and only a line that is
//! not finished says that another will come: the verdict, which is longer than a record with long paths. In files a piece has no
//! flag at all, and whoever pasted a line may have wrapped it.
//!
//! One line is held at a time, and not for long: whoever prints a report holds the kernel's `oom_lock`.

use super::kill::Kill;
use super::part::Part;
use super::verdict::Verdict;
use crate::kmsg::{Behind, Caller, Flag, Line, When};
use crate::parse::find;

/// No line of a report is longer; more is cut.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// So many lines of others may stand between two pieces where nobody says who prints.
const PATIENCE: u8 = 4;

/// The same where everybody does.
const PATIENCE_WITH_CALLERS: u8 = 255;

/// Why a line is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is a verdict without its end.
    Verdict,
    /// It is a kill without its end, in a file.
    Kill,
    /// Its end cannot be known, in a file.
    Wrapped,
    /// Its flag says so.
    Piece,
}

/// A line that is told with its text apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) when: When,
    pub(crate) caller: Option<Caller>,
    pub(crate) is_escaped: bool,
    pub(crate) is_bare: bool,
    pub(crate) behind: Behind,
}

impl Head {
    pub(crate) fn of(line: &Line<'_>) -> Self {
        Self {
            when: line.when,
            caller: line.caller,
            is_escaped: line.is_escaped,
            is_bare: line.is_bare,
            behind: line.behind,
        }
    }
}

/// What a line is to the one that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It was a piece of it, and more may come.
    Taken,
    /// It was its last piece.
    Completed,
    /// It is another line; the held one has waited long enough.
    Over,
    /// It is another line, which may stand between two pieces.
    Between,
}

/// Holds a line back until its other pieces are there.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    held: Option<(Head, Why)>,
    text: Vec<u8>,
    patience: u8,
}

impl Joiner {
    pub(crate) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// When the line that is held was written.
    pub(crate) fn held_since(&self) -> Option<When> {
        self.held.map(|(head, _)| head.when)
    }

    /// Whether more of this line may come. If so it is held, and nothing else may be.
    pub(crate) fn hold(&mut self, line: &Line<'_>) -> bool {
        let Some(why) = why(line) else { return false };
        self.text.clear();
        self.held = Some((Head::of(line), why));
        self.patience = line.caller.map_or(PATIENCE, |_| PATIENCE_WITH_CALLERS);
        self.append(line.text);
        true
    }

    /// Tries a line against the one that is held.
    pub(crate) fn offer(&mut self, line: &Line<'_>) -> Fit {
        let Some((head, why)) = self.held else {
            return Fit::Over;
        };
        let are_known = head.caller.is_some() && line.caller.is_some();
        if are_known && head.caller != line.caller {
            return self.wait();
        }
        let is_piece = match line.flag {
            Flag::Further => true,
            Flag::Piece => why != Why::Piece,
            Flag::Whole | Flag::Other(_) => {
                // `journalctl` marks boots with lines of its own.
                let is_text = !line.text.is_empty() && !line.text.starts_with(b"-- ");
                let is_wrapped = line.is_bare && !head.is_bare && !head.is_escaped && is_text;
                is_wrapped || (why == Why::Verdict && is_rest_of_verdict(line.text))
            }
        };
        if is_piece {
            if line.is_bare && line.text.starts_with(b"  ") {
                // dmesg puts what follows a newline below what stands before it.
                self.append(b"\n");
                self.append(line.text.trim_ascii_start());
            } else {
                self.append(line.text);
            }
            return if is_finished(why, &self.text) {
                Fit::Completed
            } else {
                Fit::Taken
            };
        }
        let is_anybodys = why == Why::Verdict && !are_known && Part::of(line.text).is_none();
        if is_anybodys { self.wait() } else { Fit::Over }
    }

    /// Hands out what is held, in a buffer that is to be given back.
    pub(crate) fn take(&mut self) -> Option<(Head, Vec<u8>)> {
        let (head, _) = self.held.take()?;
        Some((head, std::mem::take(&mut self.text)))
    }

    pub(crate) fn give_back(&mut self, text: Vec<u8>) {
        if !self.is_holding() {
            self.text = text;
        }
    }

    fn wait(&mut self) -> Fit {
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 {
            Fit::Over
        } else {
            Fit::Between
        }
    }

    fn append(&mut self, piece: &[u8]) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        self.text.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

fn why(line: &Line<'_>) -> Option<Why> {
    if let Some(verdict) = Verdict::parse(line.text) {
        return (!verdict.is_whole).then_some(Why::Verdict);
    }
    match line.flag {
        Flag::Piece => return Some(Why::Piece),
        // A record ends where it ends, and a piece that is missing has a flag of its own.
        Flag::Whole if line.is_escaped => return is_begun(line.text).then_some(Why::Wrapped),
        Flag::Whole => {}
        Flag::Further | Flag::Other(_) => return None,
    }
    let is_figures = line.text.starts_with(STATS_OF) && !line.text.ends_with(b":");
    if is_figures || line.text.starts_with(b"Task in ") || is_begun(line.text) {
        return Some(Why::Wrapped);
    }
    let is_cut = |kill: Kill<'_>| !kill.is_whole();
    Kill::parse(line.text)
        .filter(|kill| is_cut(*kill))
        .map(|_| Why::Kill)
}

const STATS_OF: &[u8] = b"Memory cgroup stats for ";

/// A line that the kernel prints in pieces, and has not finished.
fn is_begun(text: &[u8]) -> bool {
    let has = |words: &[u8]| find(text, words).is_some();
    if text.starts_with(b"Task in ") {
        !has(b" killed as a result of limit of /")
    } else if text.starts_with(b"Tasks in ") {
        !text.ends_with(b"memory.oom.group set")
    } else if text.starts_with(STATS_OF) {
        !text.ends_with(b":") && !has(b": cache:")
    } else {
        text.ends_with(b", nodemask=") && has(b" invoked oom-killer: gfp_mask=")
    }
}

fn is_finished(why: Why, text: &[u8]) -> bool {
    match why {
        Why::Verdict => Verdict::parse(text).is_some_and(|verdict| verdict.is_whole),
        Why::Kill => Kill::parse(text).is_some_and(|kill| kill.is_whole()),
        Why::Wrapped | Why::Piece => false,
    }
}

/// A path, or the fields behind one.
fn is_rest_of_verdict(text: &[u8]) -> bool {
    let is_field = [&b",task"[..], b",oom_memcg=", b",global_oom", b",mems_allowed="]
        .iter()
        .any(|key| text.starts_with(key));
    is_field || (text.starts_with(b"/") && find(text, b",task").is_some())
}
