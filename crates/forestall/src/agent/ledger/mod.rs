//! The ledger's thread: follows the kernel's log and, where it may, its tracing, keeps each kill once, and says so at once.
//!
//! It waits in poll(2) for what comes next and has no tick. Where the log may not be read, as in a container that is not privileged, tracing and
//! the cgroups' counters tell of kills by themselves. Whatever fails here, a panic included, costs the ledger and nothing else:
//! it begins again from what is on disk, hears the ring once more, and keeps what is new. Before the disk is asked the kill is said,
//! so that a disk that hangs delays no alarm.

mod counted;
mod eyes;
mod marks;
mod names;
mod relation;
mod traced;
mod witness;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use forestall_decide::{Moment, Span};
use forestall_kernel::cgroup::Hierarchy;
use forestall_kernel::kmsg::{KmsgReader, Start};
use forestall_kernel::parse::Vmstat;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use self::counted::Counted;
use self::eyes::Eyes;
use self::names::Names;
use self::traced::Traced;
use self::witness::Witness;
use super::clock::now;
use super::shared::{Heard, Herald, Keeping, KillNews};
use crate::forensics::time::zero_of_log_clock;
use crate::ledger::{Book, Intake, Signal, Signals, boot_id};
use crate::supervise::keep_going;

/// The ledger's place in the agent's own directory.
const DIRECTORY: &str = "ledger";
/// Deep enough for parsing and writing.
const STACK_BYTES: usize = 256 << 10;
/// The agent's start waits so long for what the log holds already: what that takes of the program is given back afterwards.
const FIRST_LOOK_TIME_MAX: Duration = Duration::from_secs(1);
/// So many reports are kept in one write: a storm waits for the disk once and not for each kill.
const REPORTS_AT_ONCE: usize = 64;
/// Kills of a burst are kept so far apart.
const KEPT_APART: Span = Span::millis(200);
/// What was heard is noted at the latest when so many records have come since: they need not be heard again.
const RECORDS_UNTOLD_MAX: u64 = 512;
/// How long the end may take.
const END_TIME_MAX: Duration = Duration::from_secs(1);
/// What it costs not to keep kills.
const NOT_KEEPING: &str = "kills are counted and not told of or kept";

/// Where, and of which machine.
#[derive(Clone, Debug)]
pub(crate) struct LedgerSetup {
    /// Where the ledger is kept.
    pub(crate) directory: PathBuf,
    /// Where the host's `/dev` and `/proc` are.
    pub(crate) root: PathBuf,
    /// The cgroups whose counters tell what the log leaves out.
    pub(crate) hierarchy: Option<Hierarchy>,
    /// An instance of the kernel's tracing is made for what the log does not tell.
    pub(crate) tracing: bool,
    /// The priority (nice value) the thread is meant to have.
    pub(crate) nice: i32,
}

/// Opens the kernel's log with the oldest record.
type Source = Box<dyn Fn() -> Result<KmsgReader, forestall_kernel::Error> + Send>;

/// The running thread.
pub(crate) struct Ledger {
    thread: thread::JoinHandle<()>,
    ending: Arc<Ending>,
}

struct Ending {
    flag: AtomicBool,
    bell: OwnedFd,
}

impl Ending {
    fn has_come(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

/// Where an agent with this state directory keeps its ledger.
pub(crate) fn directory_in(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY)
}

/// Why a ledger cannot be kept here, with what to do.
pub(crate) fn find_obstacle(setup: &LedgerSetup) -> Option<String> {
    let device = device(&setup.root);
    let state_dir = setup.directory.parent().unwrap_or(&setup.directory);
    let why = if !state_dir.is_dir() {
        format!(
            "{} does not exist; make it, or set ledger.enabled: false",
            state_dir.display()
        )
    } else if let Err(error) = KmsgReader::open(&device, Start::Now) {
        let tracing = match setup.tracing.then(|| traced::find(&setup.root)) {
            Some(Ok(_)) => return None,
            Some(Err(error)) => format!("; and tracing cannot be had either: {error}"),
            None => ", or let it use the kernel's tracing (ledger.tracing: true)".to_owned(),
        };
        format!("{error}; give this agent the device and CAP_SYSLOG{tracing}, or set ledger.enabled: false")
    } else {
        return None;
    };
    Some(format!("{NOT_KEEPING}: {why}"))
}

fn device(root: &Path) -> PathBuf {
    root.join("dev/kmsg")
}

/// Starts the thread, and waits a little until it has heard what there is.
pub(crate) fn start(setup: LedgerSetup, herald: Herald) -> io::Result<Ledger> {
    let device = device(&setup.root);
    start_from(
        Box::new(move || KmsgReader::open(&device, Start::Oldest)),
        setup,
        herald,
    )
}

fn start_from(source: Source, setup: LedgerSetup, herald: Herald) -> io::Result<Ledger> {
    let ending = Arc::new(Ending {
        flag: AtomicBool::new(false),
        bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
    });
    let (caught_up, waits) = sync_channel(1);
    let mut keeper = Keeper {
        setup,
        source,
        herald,
        ending: Arc::clone(&ending),
        caught_up: Some(caught_up),
        is_behind: true,
        said: Vec::new(),
    };
    let thread = thread::Builder::new()
        .name("ledger".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || keeper.run())?;
    // Whatever comes of it, the guard begins.
    let _ = waits.recv_timeout(FIRST_LOOK_TIME_MAX);
    Ok(Ledger { thread, ending })
}

impl Ledger {
    /// The guard has ended: what was heard is noted. A disk that hangs is not waited for.
    pub(crate) fn end(self) {
        self.ending.flag.store(true, Ordering::Release);
        // It can only fail when the counter is full, and then the other side is awake.
        let _ = rustix::io::write(&self.ending.bell, &1_u64.to_ne_bytes());
        let steps = END_TIME_MAX.as_millis() / 10;
        for _ in 0..steps {
            if self.thread.is_finished() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Keeper {
    setup: LedgerSetup,
    source: Source,
    herald: Herald,
    ending: Arc<Ending>,
    /// Told once, when what the log held at the start has been heard.
    caught_up: Option<SyncSender<()>>,
    /// This life still hears what was told before it began.
    is_behind: bool,
    /// What was said of sources that are missing, each once.
    said: Vec<String>,
}

impl Keeper {
    fn run(&mut self) {
        // Only ever down, which is always allowed.
        let _ = rustix::process::setpriority_process(None, self.setup.nice);
        keep_going(
            "ledger",
            self,
            |keeper| {
                keeper
                    .follow()
                    .map_err(|error| io::Error::other(format!("{error:#}")))
            },
            |keeper, why, pause| {
                let why = format!("{NOT_KEEPING}: {why}; it is tried again");
                keeper.caught_up = None;
                keeper.keeping(Keeping::Failed(why));
                keeper.sleep(pause)
            },
        );
    }

    /// Says whether kills are kept, where that has changed.
    fn keeping(&self, keeping: Keeping) {
        if self.herald.desk().set_keeping(keeping.clone()) && self.caught_up.is_none() {
            self.herald.desk().say(KillNews::Keeping(keeping));
            self.herald.ring();
        }
    }

    /// False where the end has come meanwhile.
    fn sleep(&self, pause: Duration) -> bool {
        let mut bell = [PollFd::new(&self.ending.bell, PollFlags::IN)];
        let _ = poll(&mut bell, Timespec::try_from(pause).ok().as_ref());
        !self.ending.has_come()
    }

    /// One life: opens everything, hears what there is, and then what comes.
    fn follow(&mut self) -> anyhow::Result<()> {
        self.is_behind = true;
        let mut book = Book::open(&self.setup.directory)?;
        for note in &book.notes {
            self.herald.desk().say(KillNews::Damage(note.clone()));
        }
        let mut eyes = Eyes {
            names: Names::open(&self.setup.root, now()),
            witness: Witness::new(&self.setup.root),
            counted: Counted::open(self.setup.hierarchy.as_ref(), now()),
            traced: self.trace(),
        };
        let boot = boot_id(&self.setup.root)?;
        let mut intake = book.intake(&boot, zero_of_log_clock());
        let mut reader = self.open_log(eyes.traced.is_some())?;
        let mut signals = Signals::open(&self.setup.directory)?;
        let mut kept: Option<Moment> = None;
        let mut last = (intake.last(), now());
        self.herald.desk().set_totals(book.totals());
        loop {
            let is_drained = self.drain(&mut reader, &mut intake, &mut eyes)?;
            if is_drained {
                // Whatever else wakes this thread, however often, ends no silence of the log.
                let is_over = |silence| now().since(last.1) >= Span(silence);
                let is_silent = intake.last() == last.0 && intake.silence_micros().is_some_and(is_over);
                if self.caught_up.is_some() || is_silent {
                    intake.settle();
                }
                eyes.take_in(&mut intake, reader.is_some());
                // A report that is just being told takes its count with it.
                if intake.silence_micros().is_none() {
                    eyes.counted.rest(now());
                }
            }
            // The first of a burst is kept at once, and those that follow together: each time costs a look at all cgroups, and the disk.
            let rest = kept.map(|at| Span(KEPT_APART.0.saturating_sub(now().since(at).0)));
            let rest = rest.filter(|rest| *rest > Span(0) && intake.news() > 0);
            let is_early =
                rest.is_some() && is_drained && self.caught_up.is_none() && !self.ending.has_come();
            if !is_early && self.keep(&mut book, &mut intake, &mut reader, &mut eyes)? {
                kept = Some(now());
            }
            keep_signals(&mut signals, &boot, eyes.signals())?;
            let (told, lost) = intake.heard();
            self.herald.desk().set_heard(Heard { told, lost });
            if self.ending.has_come() {
                return Ok(());
            }
            if !is_drained {
                continue;
            }
            self.keeping(Keeping::On);
            self.is_behind = false;
            eyes.counted.forget_before();
            if let Some(caught_up) = self.caught_up.take() {
                // Who waited has given up, or takes it.
                let _ = caught_up.try_send(());
            }
            if intake.last() != last.0 {
                last = (intake.last(), now());
            }
            let passed = now().since(last.1).0;
            let left = |silence: u64| Span(silence.saturating_sub(passed));
            let silence = intake.silence_micros().map(left);
            let mark = eyes.patience(silence.is_none());
            let rest = rest.filter(|_| is_early);
            let patience = silence.into_iter().chain(mark).chain(rest).min();
            self.wait(reader.as_ref(), &mut eyes, patience)?;
        }
    }

    /// The kernel's log. Where it may not be read and tracing tells of kills, it is done without.
    fn open_log(&mut self, is_traced: bool) -> anyhow::Result<Option<KmsgReader>> {
        match (self.source)() {
            Ok(reader) => Ok(Some(reader)),
            Err(error) if is_traced => {
                self.say_once(format!(
                    "{error}: kills are told of by the kernel's tracing and the cgroups' counters alone, which say who, where and at whose \
                     limit, and not what filled it; give this agent the device and CAP_SYSLOG for that"
                ));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The kernel's tracing, where it is wanted and can be had.
    fn trace(&mut self) -> Option<Traced> {
        let traced = self.setup.tracing.then(|| Traced::open(&self.setup.root))?;
        traced.map_err(|why| self.say_untraced(&why)).ok()
    }

    fn listen(&mut self, eyes: &mut Eyes) {
        if let Err(why) = eyes.listen(!self.is_behind) {
            self.say_untraced(&why);
        }
    }

    fn say_untraced(&mut self, why: &str) {
        self.say_once(format!(
            "the kernel's tracing does not tell who sent SIGKILL, nor of kills that the log leaves out: {why}"
        ));
    }

    fn say_once(&mut self, what: String) {
        if !self.said.contains(&what) {
            self.herald.desk().say(KillNews::Missing(what.clone()));
            self.herald.ring();
            self.said.push(what);
        }
    }

    /// Hears what there is; false where there is more.
    fn drain(
        &mut self,
        reader: &mut Option<KmsgReader>,
        intake: &mut Intake,
        eyes: &mut Eyes,
    ) -> anyhow::Result<bool> {
        // Tracing tells first, while its victim is still there.
        self.listen(eyes);
        let Some(reader) = reader else {
            return Ok(true);
        };
        while let Some(record) = reader.next_record()? {
            let unplaced = intake.hear(&record);
            // Whoever was killed before the start is not there any more, and somebody else may have the number.
            if let Some(pid) = unplaced.filter(|_| !self.is_behind) {
                eyes.witness.look(pid, now());
            }
            if intake.news() >= REPORTS_AT_ONCE || self.ending.has_come() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for what comes next, for the end, or for so long.
    fn wait(&self, reader: Option<&KmsgReader>, eyes: &mut Eyes, patience: Option<Span>) -> io::Result<()> {
        let patience =
            patience.and_then(|patience| Timespec::try_from(Duration::from_micros(patience.0)).ok());
        let bell = self.ending.bell.as_fd();
        // Where nobody tells of something, the bell is asked twice.
        let ear = eyes.names.ear().unwrap_or(bell);
        let log = reader.map_or(bell, KmsgReader::as_fd);
        let trace = eyes.traced.as_ref().map_or(bell, Traced::as_fd);
        let mut waited = [log, trace, bell, ear].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut waited, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        if waited.last().is_some_and(|ear| !ear.revents().is_empty()) {
            eyes.names.listen(now());
        }
        Ok(())
    }

    /// Says and keeps what is over; false where there was nothing.
    fn keep(
        &mut self,
        book: &mut Book,
        intake: &mut Intake,
        reader: &mut Option<KmsgReader>,
        eyes: &mut Eyes,
    ) -> anyhow::Result<bool> {
        let has_news = intake.news() > 0;
        let is_much = intake.records_untold() >= RECORDS_UNTOLD_MAX || eyes.counted.has_untold();
        if !has_news && !is_much && !self.ending.has_come() {
            return Ok(false);
        }
        // The kernel counts before it tells: what was told by now had been counted, and what is counted by now is heard below.
        let counted = (has_news || eyes.counted.has_untold())
            .then(|| self.count())
            .flatten();
        if counted.is_some() {
            self.drain(reader, intake, eyes)?;
            if reader.is_none() {
                eyes.take_in(intake, false);
            }
        }
        intake.set_zero(zero_of_log_clock());
        let (mut entries, mut tally) = intake.take(counted);
        eyes.place(&mut entries);
        tally.untold = intake.hear_untold(eyes.counted.take_untold(), eyes.counted.take_late());
        eyes.witness.forget(now());
        // Whoever is killed meanwhile is gone when the disk has answered.
        self.listen(eyes);
        let desk = self.herald.desk();
        if self.caught_up.is_some() {
            let kills: usize = entries.iter().map(|entry| entry.report.victims.len()).sum();
            if kills > 0 {
                desk.say(KillNews::Before(kills as u64));
            }
        } else {
            for entry in &entries {
                desk.say(KillNews::Kill(Box::new(entry.clone())));
            }
        }
        if has_news {
            self.herald.ring();
        }
        book.append(&entries, tally)?;
        self.herald.desk().count(&entries);
        Ok(has_news)
    }

    /// `oom_kill` of `/proc/vmstat`.
    fn count(&self) -> Option<u64> {
        let vmstat = std::fs::read(self.setup.root.join("proc/vmstat")).ok()?;
        Vmstat::parse(&vmstat).oom_kills
    }
}

/// Notes who sent SIGKILL to whom, beside the kills.
fn keep_signals(kept: &mut Signals, boot: &[u8], mut signals: Vec<Signal>) -> io::Result<()> {
    if signals.is_empty() {
        return Ok(());
    }
    let zero_micros = zero_of_log_clock();
    for signal in &mut signals {
        (signal.boot, signal.zero_micros) = (boot.into(), zero_micros);
    }
    kept.append(&signals)
}

#[cfg(test)]
mod tests;
