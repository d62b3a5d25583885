//! Where reports come from: a log that somebody names, of whatever size and form, or this machine's own kernel.
//!
//! A log is read block by block and nothing of it is kept but what a report needs. What cannot be a log is refused by its beginning.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use forestall_kernel::Error;
use forestall_kernel::kmsg::{KmsgReader, Line, Start};
use forestall_kernel::oom::{Collector, LogScanner, Report, Unread};
use rustix::fs::{FileType, makedev};

use super::document;
use super::journal::{self, Journal};
use super::kubelet::{self, Deed, Watch};
use super::plain::Plain;
use super::shape::{self, Shape};
use super::twice::Twice;
use super::unread::LeftOut;
use crate::input::Flow;

/// What is read at a time.
const BLOCK_BYTES: usize = 256 << 10;

/// The kernel's own log.
const DEVICE: &str = "/dev/kmsg";
/// Its numbers (`Documentation/admin-guide/devices.txt`).
const MEMORY_DEVICES: u32 = 1;
const KMSG: u32 = 11;

/// Whoever wants reports.
pub(crate) trait Listener {
    /// The next one.
    fn hear(&mut self, report: Report);

    /// One of whose victims all were told before, by less: now it says what they held or, where `says_limit`, at whose limit. They have been
    /// counted.
    fn hear_better(&mut self, _report: Report, _says_limit: bool) {}

    /// Nothing more is wanted: nobody reads what would be written.
    fn is_done(&self) -> bool;

    /// What the kubelet says in the same log is wanted, too.
    fn wants_kubelet(&self) -> bool {
        false
    }

    /// The kubelet's next deed, as it stands in the log; reports come when they are over.
    fn hear_kubelet(&mut self, _deed: Deed) {}
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    /// Of a file.
    pub(crate) bytes: u64,
    /// Records of the kernel's ring that were overwritten before they were read, as far as the ring tells it.
    pub(crate) lost: u64,
    /// Kills that were told again, and are counted once.
    pub(crate) told_twice: u64,
    /// Kills of which nobody knows whether they are: there are too many.
    pub(crate) not_compared: u64,
    /// Lines that tell of a kill and were not read.
    pub(crate) left_out: LeftOut,
}

/// Reads `log`, or this machine's kernel where none is named.
pub(crate) fn read(log: Option<&Path>, listener: &mut dyn Listener) -> anyhow::Result<Read> {
    match log {
        Some(path) => read_log(path, listener),
        None => read_kernel(listener),
    }
}

fn read_log(path: &Path, listener: &mut dyn Listener) -> anyhow::Result<Read> {
    let mut flow = Flow::open(path, "log")?;
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut count = flow.read_full(&mut buffer)?;
    let first = buffer.get(..count).unwrap_or_default();
    let shape = shape::judge(first).map_err(|refusal| flow.refuse(&refusal.why, &refusal.advice))?;
    let mark = usize::from(first.starts_with(shape::BYTE_ORDER_MARK)) * shape::BYTE_ORDER_MARK.len();
    let mut read = Read::default();
    let mut skip = mark;
    let mut stages = Stages::new(shape);
    let mut values = document::Count::default();
    while count > 0 && !listener.is_done() {
        read.bytes += count as u64;
        let block = buffer.get(skip..count).unwrap_or_default();
        if shape == Shape::Document {
            values.feed(block);
            let advice = "have one record in each line: jq -c '.data.result[].values[]' FILE";
            if read.bytes > document::BYTES_MAX {
                let why = "is one JSON document of more than 64 MiB";
                return Err(flow.refuse(why, advice).into());
            }
            if values.values > document::VALUES_MAX {
                let why = "is one JSON document of more than a million values";
                return Err(flow.refuse(why, advice).into());
            }
        }
        stages.feed(block, listener);
        skip = 0;
        count = flow.read(&mut buffer)?;
    }
    stages.finish(listener);
    read.left_out = LeftOut::of(stages.unread(), path);
    (read.told_twice, read.not_compared) = stages.told_twice();
    Ok(read)
}

/// What a block goes through.
pub(crate) struct Stages {
    plain: Plain,
    journal: Option<Journal>,
    /// All of it, until it is at its end.
    document: Option<Vec<u8>>,
    scan: Scan,
    watch: Watch,
}

/// Reads reports, each kill once.
struct Scan {
    scanner: LogScanner,
    twice: Twice,
}

impl Scan {
    fn feed(&mut self, block: &[u8], listener: &mut dyn Listener) {
        let twice = &mut self.twice;
        self.scanner
            .feed(block, &mut |report| twice.hand_on(report, listener));
    }

    fn finish(&mut self, listener: &mut dyn Listener) {
        let twice = &mut self.twice;
        self.scanner.finish(&mut |report| twice.hand_on(report, listener));
    }
}

impl Stages {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            plain: Plain::default(),
            journal: (shape == Shape::Journal).then(Journal::default),
            document: (shape == Shape::Document).then(Vec::new),
            scan: Scan {
                scanner: LogScanner::new(),
                twice: Twice::default(),
            },
            watch: Watch::default(),
        }
    }

    /// The lines that have the kernel's words for a kill, and were not read.
    pub(crate) fn unread(&self) -> &Unread {
        self.scan.scanner.unread()
    }

    /// Kills that were told again, and those of which nobody knows.
    pub(crate) const fn told_twice(&self) -> (u64, u64) {
        (self.scan.twice.told, self.scan.twice.not_compared)
    }

    pub(crate) fn feed(&mut self, block: &[u8], listener: &mut dyn Listener) {
        if let Some(document) = &mut self.document {
            document.extend_from_slice(block);
            return;
        }
        let Some(journal) = &mut self.journal else {
            let block = self.plain.strip(block);
            if listener.wants_kubelet() {
                self.watch.feed(block, &mut |deed| listener.hear_kubelet(deed));
            }
            self.scan.feed(block, listener);
            return;
        };
        let (scan, watch) = (&mut self.scan, &self.watch);
        journal.lines(block, &mut |line| hear_record(scan, watch, line, listener));
    }

    pub(crate) fn finish(&mut self, listener: &mut dyn Listener) {
        if let Some(document) = self.document.take() {
            // What looks like one and is none is text.
            self.feed(
                document::lines(&document).as_deref().unwrap_or(&document),
                listener,
            );
        }
        let (scan, watch) = (&mut self.scan, &mut self.watch);
        if listener.wants_kubelet() {
            watch.finish(&mut |deed| listener.hear_kubelet(deed));
        }
        match &mut self.journal {
            Some(journal) => journal.finish(&mut |line| hear_record(scan, watch, line, listener)),
            None => scan.feed(self.plain.finish(), listener),
        }
        scan.finish(listener);
    }
}

/// Most records of a journal are about other things, and are not taken apart.
fn hear_record(scan: &mut Scan, watch: &Watch, record: &[u8], listener: &mut dyn Listener) {
    if listener.wants_kubelet() && watch.may_matter(record) {
        let line = journal::line_of_daemon(record);
        if let Some(deed) = line.and_then(|line| kubelet::read(&line)) {
            listener.hear_kubelet(deed);
        }
    }
    if !scan.scanner.may_matter(record) && !journal::is_in_bytes(record) {
        return;
    }
    match journal::line_of(record) {
        Some(line) => scan.feed(&line, listener),
        None => scan.scanner.leave_out(record),
    }
}

/// Opens a kernel's log where it begins. What stands in for it where there is none, such as an empty file or `/dev/null`, is refused: it tells
/// nothing, and whoever waited for it would never have to.
pub(crate) fn open_device(path: &Path) -> Result<KmsgReader, Error> {
    let reader = KmsgReader::open(path, Start::Oldest)?;
    let shown: Arc<Path> = Arc::from(path);
    let about = rustix::fs::fstat(&reader).map_err(|errno| Error::from_errno(&shown, errno))?;
    let is_device = FileType::from_raw_mode(about.st_mode) == FileType::CharacterDevice;
    if is_device && about.st_rdev == makedev(MEMORY_DEVICES, KMSG) {
        return Ok(reader);
    }
    Err(Error::Malformed {
        path: shown,
        what: "stands in the place of the kernel's log and is something else (the log is character device 1:11)",
    })
}

/// Opens this machine's log where it begins.
pub(crate) fn open_kernel() -> anyhow::Result<KmsgReader> {
    open_device(Path::new(DEVICE)).with_context(|| {
        format!("{DEVICE}: the kernel's log cannot be opened; run this as root, or hand it over: dmesg | forestall explain --log -")
    })
}

fn read_kernel(listener: &mut dyn Listener) -> anyhow::Result<Read> {
    let mut reader = open_kernel()?;
    let mut collector = Collector::new();
    let mut first = None;
    while let Some(record) = reader.next_record()? {
        first.get_or_insert(record.sequence);
        collector.hear(&Line::of_record(&record), &mut |report| listener.hear(report));
        if listener.is_done() {
            break;
        }
    }
    collector.finish(&mut |report| listener.hear(report));
    Ok(Read {
        bytes: 0,
        // What the ring held before its oldest record is lost, too.
        lost: reader.lost().saturating_add(first.unwrap_or(0)),
        ..Read::default()
    })
}

#[cfg(test)]
mod tests;
