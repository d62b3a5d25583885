//! The ledger's thread: follows the kernel's log, keeps each kill once, and says so at once.
//!
//! It waits in poll(2) for the next record and has no tick. Whatever fails here, a panic included, costs the ledger and nothing else:
//! it begins again from what is on disk, hears the ring once more, and keeps what is new. Before the disk is asked the kill is said,
//! so that a disk that hangs delays no alarm.

mod counted;
mod names;
mod witness;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use forestall_kernel::cgroup::Hierarchy;
use forestall_kernel::kmsg::{KmsgReader, Start};
use forestall_kernel::oom::{Report, Victim};
use forestall_kernel::parse::Vmstat;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use self::counted::Counted;
use self::names::Names;
use self::witness::Witness;
use super::clock::now;
use super::shared::{Heard, Herald, Keeping, KillNews};
use crate::forensics::place::Place;
use crate::forensics::time::zero_of_log_clock;
use crate::ledger::{Book, Entry, Home, Intake, boot_id};
use crate::supervise::keep_going;

/// The ledger's place in the agent's own directory.
const DIRECTORY: &str = "ledger";
/// Deep enough for parsing and writing.
const STACK_BYTES: usize = 256 << 10;
/// The agent's start waits so long for what the log holds already: what that takes of the program is given back afterwards.
const FIRST_LOOK_TIME_MAX: Duration = Duration::from_secs(1);
/// So many reports are kept in one write: a storm waits for the disk once and not for each kill.
const REPORTS_AT_ONCE: usize = 64;
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
        format!("{error}; give this agent the device and CAP_SYSLOG, or set ledger.enabled: false")
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
        let mut book = Book::open(&self.setup.directory)?;
        for note in &book.notes {
            self.herald.desk().say(KillNews::Damage(note.clone()));
        }
        let mut eyes = Eyes {
            names: Names::open(&self.setup.root, now()),
            witness: Witness::new(&self.setup.root),
            counted: Counted::open(self.setup.hierarchy.as_ref(), now()),
        };
        let boot = boot_id(&self.setup.root)?;
        let mut intake = book.intake(&boot, zero_of_log_clock());
        let mut reader = (self.source)()?;
        self.herald.desk().set_totals(book.totals());
        loop {
            let is_drained = self.drain(&mut reader, &mut intake, &mut eyes)?;
            if is_drained && self.caught_up.is_some() {
                intake.settle();
            }
            self.keep(&mut book, &mut intake, &mut reader, &mut eyes)?;
            let (kill_lines, lost) = intake.heard();
            self.herald.desk().set_heard(Heard { kill_lines, lost });
            if self.ending.has_come() {
                return Ok(());
            }
            if !is_drained {
                continue;
            }
            self.keeping(Keeping::On);
            eyes.counted.forget_before();
            if let Some(caught_up) = self.caught_up.take() {
                // Who waited has given up, or takes it.
                let _ = caught_up.try_send(());
            }
            if !self.wait(&reader, &mut eyes.names, intake.silence_micros())? {
                intake.settle();
            }
        }
    }

    /// Hears what there is; false where there is more.
    fn drain(&self, reader: &mut KmsgReader, intake: &mut Intake, eyes: &mut Eyes) -> anyhow::Result<bool> {
        while let Some(record) = reader.next_record()? {
            let unplaced = intake.hear(&record);
            // Whoever was killed before the start is not there any more.
            if let Some(pid) = unplaced.filter(|_| self.caught_up.is_none()) {
                eyes.witness.look(pid, now());
            }
            if intake.news() >= REPORTS_AT_ONCE || self.ending.has_come() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for the next record, or for the end; false where a report has waited long enough for its next line.
    fn wait(&self, reader: &KmsgReader, names: &mut Names, silence_micros: Option<u64>) -> io::Result<bool> {
        let patience = silence_micros.map(Duration::from_micros);
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // Where nobody tells of names, the bell is asked twice.
        let ear = names.ear().unwrap_or(self.ending.bell.as_fd());
        let mut waited = [
            PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN),
            PollFd::new(&self.ending.bell, PollFlags::IN),
            PollFd::from_borrowed_fd(ear, PollFlags::IN),
        ];
        let woken = match poll(&mut waited, patience.as_ref()) {
            Ok(woken) => woken > 0,
            Err(rustix::io::Errno::INTR) => true,
            Err(errno) => return Err(errno.into()),
        };
        if waited.last().is_some_and(|ear| !ear.revents().is_empty()) {
            names.listen(now());
        }
        Ok(woken)
    }

    /// Says and keeps what is over.
    fn keep(
        &mut self,
        book: &mut Book,
        intake: &mut Intake,
        reader: &mut KmsgReader,
        eyes: &mut Eyes,
    ) -> anyhow::Result<()> {
        let has_news = intake.news() > 0;
        if !has_news && intake.records_untold() < RECORDS_UNTOLD_MAX && !self.ending.has_come() {
            return Ok(());
        }
        // The kernel counts before it tells: what was told by now had been counted, and what is counted by now is heard below.
        let counted = has_news.then(|| self.count()).flatten();
        if counted.is_some() {
            self.drain(reader, intake, eyes)?;
        }
        intake.set_zero(zero_of_log_clock());
        let (mut entries, tally) = intake.take(counted);
        eyes.place(&mut entries);
        eyes.witness.forget(now());
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
        desk.count(&entries);
        Ok(())
    }

    /// `oom_kill` of `/proc/vmstat`.
    fn count(&self) -> Option<u64> {
        let vmstat = std::fs::read(self.setup.root.join("proc/vmstat")).ok()?;
        Vmstat::parse(&vmstat).oom_kills
    }
}

/// What tells of victims more than the kernel's log does.
struct Eyes {
    names: Names,
    witness: Witness,
    counted: Counted,
}

impl Eyes {
    /// Notes where the victims of reports lived, and whose limit it was.
    fn place(&mut self, entries: &mut [Entry]) {
        let mut seen = Vec::new();
        for report in entries.iter_mut().map(|entry| &mut entry.report) {
            let is_of_group = report.group.is_some();
            for victim in report.victims.iter_mut().filter(|_| !is_of_group) {
                if victim.memcg.is_none() {
                    victim.memcg = self.witness.cgroup_of(victim);
                    seen.extend(victim.memcg.is_some().then_some(victim.pid));
                }
            }
        }
        let counted = self.counted.complete(entries, now());
        for entry in entries {
            let report = &entry.report;
            let homes = report.victims.iter().map(|victim| {
                let mut home = self.name(report, victim);
                home.is_cgroup_from_proc = seen.contains(&victim.pid);
                home.is_cgroup_from_counters = counted.contains(&victim.pid);
                home
            });
            let homes: Vec<Home> = homes.filter(Home::says_something).collect();
            entry.homes = homes;
        }
    }

    fn name(&mut self, report: &Report, victim: &Victim) -> Home {
        let mut home = Home {
            pid: victim.pid,
            ..Home::default()
        };
        let shared = report.group.as_ref().or(report.task_memcg.as_ref());
        let path = victim.memcg.as_ref().or(shared).or(report.limit.as_ref());
        let place = path.map(Place::of).unwrap_or_default();
        let at = now();
        if let Some([namespace, pod]) = place.pod.and_then(|uid| self.names.pod(&uid, at)) {
            (home.namespace, home.pod) = (namespace.to_owned(), pod.to_owned());
        }
        if let Some(name) = place.container.and_then(|id| self.names.container(&id, at)) {
            name.clone_into(&mut home.container);
        }
        home
    }
}

#[cfg(test)]
mod tests;
