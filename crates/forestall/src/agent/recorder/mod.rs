//! The flight recorder: what the engine was told in the last hour, kept on disk, so that any decision can be replayed.
//!
//! The guard hands copies of its inputs over without waiting; a thread of its own encodes and writes them. Whatever fails here
//! costs the recording and nothing else. It writes below its own directory only.

mod ring;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forestall_decide::{GroupId, Moment, Policy, ProcessId, Span};
use forestall_sense::Sensor;
use forestall_trace::tap::{self, Intake, Namer, Slot, Tap, Waited};
use forestall_trace::{Encoder, Origin};

use self::ring::{Ring, Segment, Syncer};
use super::clock::now;
use super::place::SensorNames;
use super::shared::{Herald, Names, Recording, Trouble};

/// The recordings' place in the agent's own directory.
const DIRECTORY: &str = "trace";
/// Deep enough for encoding and writing.
const STACK_BYTES: usize = 256 << 10;
/// Room for what one input is written as, and the room that is given back.
const OUT_BYTES: usize = 64 << 10;
const OUT_BYTES_MAX: usize = 2 * OUT_BYTES;
/// A crash of the machine costs at most this much, beside what the disk itself loses.
const SYNC_SPACING: Span = Span::secs(5);
/// What it costs not to record.
pub(super) const NOT_RECORDING: &str = "not recording, so no decision can be replayed";
/// After a failed write the next segment is not tried before this.
const RETRY_SPACING: Span = Span::secs(60);

/// How much is kept.
#[derive(Clone, Debug)]
pub(crate) struct RecorderSetup {
    /// The agent's own directory, or the one that was named.
    pub(crate) directory: PathBuf,
    /// How long.
    pub(crate) keep: Span,
    /// At most so many bytes, which wins over the time.
    pub(crate) size_bytes_max: u64,
    /// The node's name.
    pub(crate) node: String,
    /// The policy to begin with.
    pub(crate) policy: Policy,
    /// The priority (nice value) the thread is meant to have.
    pub(crate) nice: i32,
}

/// The running thread.
pub(crate) struct Recorder {
    thread: thread::JoinHandle<()>,
}

/// Where an agent with this state directory records.
pub(crate) fn directory_in(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY)
}

/// Starts recording. The error says why it cannot; the agent goes on without.
pub(crate) fn start(
    setup: &RecorderSetup,
    sensor: &Sensor,
    herald: Herald,
) -> std::io::Result<(Tap, Recorder)> {
    let ring = Ring::open(&setup.directory, setup.keep, setup.size_bytes_max)?;
    let sample = sensor.last();
    // Room for twice of what is there; more is made when it is needed.
    let room = |there: usize| (there * 2).max(64);
    let (tap, intake) = tap::open(room(sample.groups.len()), room(sample.processes.len()));
    let origin = Origin {
        run: unix_micros(),
        node: setup.node.as_str().into(),
        kernel: rustix::system::uname().release().to_string_lossy().into(),
        program: concat!("forestall ", env!("CARGO_PKG_VERSION")).into(),
        boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .into(),
        ..Origin::default()
    };
    let mut writer = Writer {
        encoder: Encoder::new(origin, setup.policy),
        ring,
        segment: None,
        syncer: Syncer::start()?,
        out: Vec::with_capacity(OUT_BYTES),
        not_before: None,
        sync_at: None,
        herald,
    };
    writer.open_segment(now())?;
    let nice = setup.nice;
    let thread = thread::Builder::new()
        .name("record".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Only ever down, which is always allowed.
            let _ = rustix::process::setpriority_process(None, nice);
            writer.run(intake);
        })?;
    Ok((tap, Recorder { thread }))
}

impl Recorder {
    /// The guard has ended and its end of the exchange is gone: what is on its way is written. A disk that hangs is not waited
    /// for longer than a second.
    pub(crate) fn end(self) {
        for _ in 0..100 {
            if self.thread.is_finished() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Writer {
    encoder: Encoder,
    ring: Ring,
    segment: Option<Segment>,
    syncer: Syncer,
    out: Vec<u8>,
    /// Not tried again before then, after a failure.
    not_before: Option<Moment>,
    /// When the disk is to have what was written since it was told last; `None` where it has all.
    sync_at: Option<Moment>,
    herald: Herald,
}

impl Writer {
    fn run(&mut self, mut intake: Intake) {
        loop {
            match intake.wait(self.patience()) {
                Waited::Slot(slot) => {
                    self.record(&slot);
                    intake.give_back(slot);
                }
                Waited::Nothing => {}
                Waited::Closed => break,
            }
            self.sync();
        }
        if let Some(segment) = &mut self.segment {
            self.out.clear();
            self.encoder.end(&mut self.out);
            // Nothing is left to tell a failure to: the guard has ended.
            let _ = segment.append(&self.out).and_then(|()| segment.finish());
        }
    }

    fn record(&mut self, slot: &Slot) {
        let at = slot.at();
        let full = self
            .segment
            .as_ref()
            .is_none_or(|segment| self.ring.is_full(segment, at));
        let may = self.not_before.is_none_or(|not_before| at >= not_before);
        if full
            && may
            && let Err(error) = self.open_segment(at)
        {
            self.fail(at, &error);
        }
        self.encoder.set_clock(at, unix_micros());
        slot.record(&mut self.encoder, &mut self.out);
        // Without a segment the encoder goes on alone, so that the next one begins with what is known then.
        if let Some(segment) = &mut self.segment {
            match segment.append(&self.out) {
                Ok(()) => self.sync_at = self.sync_at.or(Some(now() + SYNC_SPACING)),
                Err(error) => self.fail(at, &error),
            }
        }
        self.out.clear();
        if self.out.capacity() > OUT_BYTES_MAX {
            // A crowd has been told in full.
            self.out.shrink_to(OUT_BYTES);
        }
    }

    fn open_segment(&mut self, at: Moment) -> std::io::Result<()> {
        self.out.clear();
        self.encoder.open_segment(at, unix_micros(), &mut self.out);
        let opened = self.ring.begin(at, &self.out);
        self.out.clear();
        self.segment = Some(opened?);
        self.not_before = None;
        self.herald.recording(Recording::On);
        Ok(())
    }

    fn fail(&mut self, at: Moment, error: &std::io::Error) {
        self.segment = None;
        self.not_before = Some(at + RETRY_SPACING);
        let why = format!("{NOT_RECORDING}: {error}; it is tried again every minute");
        self.herald.recording(Recording::Failed(why));
        self.herald.trouble(
            at,
            Trouble {
                what: "record",
                errno: error.raw_os_error().unwrap_or(0),
            },
        );
    }

    /// How long the next input is waited for: for ever where the disk has everything.
    fn patience(&self) -> Duration {
        self.sync_at.map_or(Duration::MAX, |sync_at| {
            Duration::from_micros(sync_at.since(now()).0)
        })
    }

    fn sync(&mut self) {
        let at = now();
        if self.sync_at.is_none_or(|sync_at| at < sync_at) {
            return;
        }
        self.sync_at = None;
        match self.segment.as_ref().map(|segment| self.syncer.sync(segment)) {
            // One is under way, and may have begun before the last was written.
            Some(Ok(false)) => self.sync_at = Some(at + SYNC_SPACING),
            Some(Err(error)) => self.fail(at, &error),
            Some(Ok(true)) | None => {}
        }
    }
}

impl Namer for SensorNames<'_> {
    fn group(&self, id: GroupId) -> Option<&[u8]> {
        Names::group(self, id)
    }

    fn process(&self, id: ProcessId) -> Option<&[u8]> {
        Names::process(self, id)
    }
}

/// The wall clock; a clock before 1970 is a broken clock.
fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
