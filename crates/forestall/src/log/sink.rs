//! Lines on their way to stdout, which may be a pipe that nobody reads, or a stopped terminal. Nothing here waits.
//!
//! Lines queue up to a bound; what does not fit is dropped whole and counted, and the log says so when it flows again.
//! Stdout is never made non-blocking, because that would hold for every process that shares it; instead the kernel is
//! asked first whether it takes more, and no more than one page is written at a time (pipe(7): a pipe that polls
//! writable takes `PIPE_BUF` bytes without blocking).

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What may queue: about a thousand lines.
const QUEUE_BYTES_MAX: usize = 256 << 10;
/// What a writable pipe takes without blocking (`PIPE_BUF` on Linux).
const CHUNK_BYTES_MAX: usize = 4096;

/// A queue of lines before a file descriptor.
#[derive(Debug)]
pub(crate) struct Sink {
    out: OwnedFd,
    queue: VecDeque<u8>,
    dropped: u64,
    gone: bool,
}

impl Sink {
    /// Before `out`.
    pub(crate) fn new(out: OwnedFd) -> Self {
        Self {
            out,
            queue: VecDeque::new(),
            dropped: 0,
            gone: false,
        }
    }

    /// Queues one line; the newline is added here.
    pub(crate) fn push(&mut self, line: &str) {
        if self.gone {
            return;
        }
        if self.queue.len() + line.len() + 1 > QUEUE_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.queue.extend(line.as_bytes());
        self.queue.push_back(b'\n');
    }

    /// Writes what the other side takes at once.
    pub(crate) fn flush(&mut self) {
        while !self.queue.is_empty() && !self.gone && self.is_writable() {
            let (front, _) = self.queue.as_slices();
            let chunk = front.get(..CHUNK_BYTES_MAX).unwrap_or(front);
            match rustix::io::write(&self.out, chunk) {
                Ok(written) => {
                    self.queue.drain(..written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(Errno::PIPE) => {
                    self.gone = true;
                    self.queue = VecDeque::new();
                }
                // A full disk may have room again: what queued is lost, the next lines are tried.
                Err(_) => {
                    self.dropped += self.queue.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.queue = VecDeque::new();
                }
            }
        }
        if self.queue.is_empty() && self.queue.capacity() > CHUNK_BYTES_MAX {
            self.queue = VecDeque::new();
        }
    }

    /// Lines that were dropped since the last call, once there is room to say so.
    pub(crate) fn take_dropped(&mut self) -> Option<u64> {
        (self.dropped > 0 && self.queue.len() < QUEUE_BYTES_MAX / 2)
            .then(|| std::mem::take(&mut self.dropped))
    }

    /// Nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn is_writable(&self) -> bool {
        let mut fds = [PollFd::new(&self.out, PollFlags::OUT)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut fds, Some(&at_once)) {
            // An error or a hang-up is reported as ready too: the write then tells which.
            Ok(ready) => ready > 0,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_stops_nothing_and_loses_whole_lines() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut sink = Sink::new(writer.into());
        let line = "x".repeat(999);
        for _ in 0..1000 {
            sink.push(&line);
            sink.flush();
        }
        assert!(!sink.is_empty());
        assert_eq!(sink.take_dropped(), None, "there is no room to say so yet");
        let mut reader = reader;
        let mut seen = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while !sink.is_empty() {
            let count = reader.read(&mut buffer).expect("it has data");
            seen.extend_from_slice(&buffer[..count]);
            sink.flush();
        }
        let dropped = sink.take_dropped().expect("a megabyte does not fit");
        drop(sink);
        reader.read_to_end(&mut seen).expect("the rest");
        let lines: Vec<&str> = std::str::from_utf8(&seen).expect("text").lines().collect();
        assert_eq!(lines.len() as u64 + dropped, 1000);
        assert!(lines.iter().all(|seen| *seen == line));
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("every Linux has it");
        let mut sink = Sink::new(full.into());
        sink.push("one");
        sink.push("two");
        sink.flush();
        assert!(sink.is_empty());
        assert_eq!(sink.take_dropped(), Some(2));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut sink = Sink::new(writer.into());
        sink.push("anybody?");
        sink.flush();
        assert!(sink.is_empty());
        sink.push("no");
        assert!(sink.is_empty());
    }
}
