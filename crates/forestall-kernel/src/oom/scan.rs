//! A whole log, block by block: lines are looked at only where a report may begin or is being told.
//!
//! Most logs are mostly about other things. While no report is open, a block is searched for the few words without which none begins, and
//! what lies between them is not even split into lines.

use memchr::memmem::Finder;

use super::collector::{Collector, Heard};
use super::label;
use super::report::Report;
use super::unread::Unread;
use crate::kmsg::Line;
use crate::parse::find;

/// A longer line is cut: the longest that a kernel writes is half of it.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// So much is searched for all words at a time: it stays in the processor's cache.
const BLOCK_BYTES: usize = 64 * 1024;

/// Every line with which a report may begin has one of these in it.
const WORDS: [&[u8]; 5] = [b"oom", b"OOM", b"illed ", b"ut of memory", b"emory cgroup"];

/// Reads a log from its beginning to its end.
#[derive(Debug)]
pub struct LogScanner {
    ear: Ear,
    words: Words,
    /// The beginning of a line whose end has not come yet, as far as a line is read.
    partial: Vec<u8>,
}

type Words = [Finder<'static>; WORDS.len()];

/// Hears the lines that matter.
#[derive(Debug, Default)]
struct Ear {
    collector: Collector,
    unread: Unread,
}

impl Default for LogScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl LogScanner {
    /// With nothing read.
    pub fn new() -> Self {
        Self {
            ear: Ear::default(),
            words: WORDS.map(Finder::new),
            partial: Vec::with_capacity(LINE_BYTES_MAX),
        }
    }

    /// Whether a line may be one of a report: some report is being told, or the line has a word without which none begins. For whoever has
    /// to turn lines into text first and would rather not do so for all of them.
    pub fn may_matter(&self, line: &[u8]) -> bool {
        !self.ear.collector.is_idle() || has_word(&self.words, line)
    }

    /// The lines that have the kernel's words for a kill and became part of no report.
    pub fn unread(&self) -> &Unread {
        &self.ear.unread
    }

    /// Takes note of a line that is not to be read, as somebody else's, where it has those words.
    pub fn leave_out(&mut self, line: &[u8]) {
        self.ear.leave_out(&self.words, line);
    }

    /// Reads the next block of any size, which may begin and end within a line.
    pub fn feed(&mut self, block: &[u8], done: &mut dyn FnMut(Report)) {
        for block in block.chunks(BLOCK_BYTES) {
            self.feed_block(block, done);
        }
    }

    fn feed_block(&mut self, block: &[u8], done: &mut dyn FnMut(Report)) {
        let mut rest = block;
        if !self.partial.is_empty() {
            let (line, after) = split_line(rest);
            self.keep(line);
            let Some(after) = after else { return };
            rest = after;
            self.end_line(done);
        }
        let mut hits = Hits::new(&self.words, rest);
        let mut at = 0;
        while at < rest.len() {
            if self.ear.collector.is_idle() {
                // Nothing is open: on to the line of the next word.
                let Some(hit) = hits.next_from(at) else {
                    at = last_end(rest).map_or(at, |end| at.max(end + 1));
                    break;
                };
                at = rest
                    .get(at..hit)
                    .and_then(last_end)
                    .map_or(at, |end| at + end + 1);
            }
            let Some((line, Some(after))) = rest.get(at..).map(split_line) else {
                break;
            };
            // A word behind where a line is cut is none.
            let line = without_hole(line);
            if line.len() <= LINE_BYTES_MAX || self.may_matter(cut(line)) {
                self.ear.hear(&self.words, line, done);
            }
            self.ear
                .leave_out(&self.words, line.get(LINE_BYTES_MAX..).unwrap_or_default());
            at = rest.len() - after.len();
        }
        if let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
            self.keep(tail);
        }
    }

    /// The log is at its end.
    pub fn finish(&mut self, done: &mut dyn FnMut(Report)) {
        self.end_line(done);
        self.ear.collector.finish(done);
    }

    fn keep(&mut self, piece: &[u8]) {
        let piece = if self.partial.is_empty() {
            without_hole(piece)
        } else {
            piece
        };
        let room = LINE_BYTES_MAX - self.partial.len().min(LINE_BYTES_MAX);
        let (kept, cut_off) = piece.split_at_checked(room).unwrap_or((piece, &[]));
        self.partial.extend_from_slice(kept);
        self.ear.leave_out(&self.words, cut_off);
    }

    fn end_line(&mut self, done: &mut dyn FnMut(Report)) {
        let line = std::mem::take(&mut self.partial);
        // Where a block happens to end must not matter, so that what is passed over within one is passed over here.
        if self.may_matter(&line) {
            self.ear.hear(&self.words, &line, done);
        }
        self.partial = line;
        self.partial.clear();
    }
}

impl Ear {
    /// Hears a line, or the lines that somebody has put into one.
    fn hear(&mut self, words: &Words, line: &[u8], done: &mut dyn FnMut(Report)) {
        let line = cut(line);
        if line.is_empty() {
            return;
        }
        let read = Line::of_text(line);
        if !label::may_stand(&read) {
            return self.hear_read(words, &read, line, done);
        }
        if find(line, label::NEWLINE).is_some() {
            return label::pieces(&read, &mut |piece| self.hear_read(words, piece, piece.text, done));
        }
        let Some(passed) = label::pass(&read) else {
            return self.hear_read(words, &read, line, done);
        };
        self.hear_read(words, &passed, line, done);
        // Whatever it is that has several kills in one line, the first of them was read.
        self.leave_out(words, after_first_kill(line));
    }

    fn hear_read(&mut self, words: &Words, read: &Line<'_>, line: &[u8], done: &mut dyn FnMut(Report)) {
        if self.collector.hear(read, done) == Heard::Nothing {
            self.leave_out(words, line);
        }
    }

    fn leave_out(&mut self, words: &Words, line: &[u8]) {
        if !line.is_empty() && has_word(words, line) {
            let collector = &self.collector;
            self.unread
                .look(line, |pid, comm| collector.has_killed(pid, comm));
        }
    }
}

fn has_word(words: &Words, line: &[u8]) -> bool {
    words.iter().any(|word| word.find(line).is_some())
}

fn after_first_kill(line: &[u8]) -> &[u8] {
    const KILLED: &[u8] = b"Killed process ";
    let rest = find(line, KILLED).and_then(|at| line.get(at + KILLED.len()..));
    rest.unwrap_or_default()
}

/// Without the zero bytes that a machine left in a file when it lost its power: what it wrote next follows them at once.
fn without_hole(line: &[u8]) -> &[u8] {
    let zeros = line.iter().take_while(|byte| **byte == 0).count();
    line.get(zeros..).unwrap_or_default()
}

fn cut(line: &[u8]) -> &[u8] {
    line.get(..LINE_BYTES_MAX).unwrap_or(line)
}

/// The next place of each word in a block, looked for only when the last one has been passed.
struct Hits<'a> {
    words: &'a Words,
    block: &'a [u8],
    next: [Option<usize>; WORDS.len()],
}

impl<'a> Hits<'a> {
    fn new(words: &'a Words, block: &'a [u8]) -> Self {
        Self {
            words,
            block,
            next: [Some(0); WORDS.len()],
        }
    }

    /// The first place of any word from `at` on.
    fn next_from(&mut self, at: usize) -> Option<usize> {
        let mut first: Option<usize> = None;
        for (word, next) in self.words.iter().zip(&mut self.next) {
            let Some(known) = *next else { continue };
            if known < at || known == 0 {
                *next = self
                    .block
                    .get(at..)
                    .and_then(|rest| word.find(rest))
                    .map(|hit| at + hit);
            }
            if let Some(hit) = *next {
                first = Some(first.map_or(hit, |first| first.min(hit)));
            }
        }
        first
    }
}

/// The line and what follows its end, a newline or what Macs of old and some consoles end lines with; `None` for what follows where there is
/// none.
fn split_line(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    // Nearly every line ends with a newline, and what is searched for both takes longer.
    let newline = memchr::memchr(b'\n', text);
    let line = newline.and_then(|end| text.get(..end)).unwrap_or(text);
    match memchr::memchr(b'\r', line).or(newline) {
        Some(end) => (text.get(..end).unwrap_or(text), text.get(end + 1..)),
        None => (text, None),
    }
}

/// Where the last line ends that ends in a text.
fn last_end(text: &[u8]) -> Option<usize> {
    let newline = memchr::memrchr(b'\n', text);
    let begun = newline.map_or(0, |end| end + 1);
    let tail = text.get(begun..)?;
    memchr::memrchr(b'\r', tail).map(|end| begun + end).or(newline)
}

#[cfg(test)]
mod tests;
