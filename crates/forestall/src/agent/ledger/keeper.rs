//! Who keeps kills: hears each source, says a kill at once, and then has it written down.
//!
//! It refuses to say a kill twice, whatever has to begin again meanwhile.

mod words;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use forestall_decide::{Moment, Span};
use forestall_kernel::parse::Vmstat;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::again::Again;
use super::counted::Counted;
use super::eyes::{Eyes, count_unplaced};
use super::log::Log;
use super::names::Names;
use super::said::Said;
use super::signals::SignalFile;
use super::traced::Traced;
use super::unwritten::Unwritten;
use super::witness::Witness;
use super::{BLIND_LOOK, Ending, LedgerSetup, NOT_KEEPING};
use crate::agent::clock::now;
use crate::agent::shared::{Heard, Herald, Keeping, KillNews};
use crate::forensics::time::zero_of_log_clock;
use crate::ledger::{Book, Intake, Missed, boot_id};
use crate::supervise::keep_going;

/// So many reports are kept in one write: a storm waits for the disk once and not for each kill.
const REPORTS_AT_ONCE: usize = 64;
/// Kills of a burst are kept so far apart.
const KEPT_APART: Span = Span::millis(200);
/// What was heard is noted at the latest when so many records have come since: they need not be heard again.
const RECORDS_UNTOLD_MAX: u64 = 512;

/// What has been told when the end comes is heard for so long: half of the time that the end may take.
const HEARD_AT_END: Span = Span::millis(500);

/// Tracing that cannot be had is tried again at the latest after so long.
const UNTRACED_MAX: Span = Span::secs(600);

pub(super) struct Keeper {
    setup: LedgerSetup,
    log: Log,
    herald: Herald,
    ending: Arc<Ending>,
    /// Told once, when what the log held at the start has been heard.
    caught_up: Option<SyncSender<()>>,
    /// What was told before the log was opened is still being heard.
    is_behind: bool,
    said: Said,
    /// What was said of sources that are missing, each once.
    missing: Vec<String>,
    /// What is open of the ledger: it outlives a life, with what the disk has not taken.
    book: Option<Book>,
    /// When tracing is tried again: a mount or a name may come later.
    tracing: Again,
    /// Why something waits to be written.
    unwritten: Option<Unwritten>,
    /// Who sent SIGKILL to whom is kept beside the kills.
    signals: SignalFile,
    /// The kernel's own count at the last look, while nobody tells of kills.
    counted: Option<u64>,
    /// This look is the last one.
    is_ending: bool,
    /// Until when the end waits for what is still to be heard.
    ends_by: Option<Moment>,
}

impl Keeper {
    pub(super) fn new(
        setup: LedgerSetup,
        log: Log,
        herald: Herald,
        ending: Arc<Ending>,
        caught_up: SyncSender<()>,
        book: Option<Book>,
    ) -> Self {
        Self {
            setup,
            log,
            herald,
            ending,
            caught_up: Some(caught_up),
            is_behind: true,
            said: Said::default(),
            missing: Vec::new(),
            book,
            tracing: Again::new(BLIND_LOOK.times(2), UNTRACED_MAX),
            unwritten: None,
            signals: SignalFile::default(),
            counted: None,
            is_ending: false,
            ends_by: None,
        }
    }

    pub(super) fn run(&mut self) {
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
                // Nobody is alarmed later by what was before, and somebody is by what comes once the start waits no longer.
                if !keeper.said.has_begun() {
                    keeper.said.begin(keeper.log.last_sequence());
                }
                keeper.caught_up = None;
                keeper.keeping(Keeping::Failed(why));
                keeper.sleep(pause)
            },
        );
    }

    /// False where the end has come meanwhile.
    fn sleep(&self, pause: Duration) -> bool {
        let mut bell = [PollFd::new(&self.ending.bell, PollFlags::IN)];
        let _ = poll(&mut bell, Timespec::try_from(pause).ok().as_ref());
        let _ = rustix::io::read(&self.ending.bell, &mut [0_u8; 8]);
        !self.ending.has_come()
    }

    /// One life.
    fn follow(&mut self) -> anyhow::Result<()> {
        let mut book = match self.book.take() {
            Some(book) => book,
            None => self.open_book()?,
        };
        let lived = self.live(&mut book);
        // What is there now is read, and what the log still holds is heard again.
        self.book = (!book.is_stale()).then_some(book);
        lived
    }

    fn open_book(&mut self) -> anyhow::Result<Book> {
        let mut book = Book::open_or_hold(&self.setup.directory)?;
        self.write(&mut book)?;
        for note in &book.notes {
            self.herald.desk().say(KillNews::Damage(note.clone()));
        }
        Ok(book)
    }

    /// Opens everything else, hears what there is, and then what comes.
    fn live(&mut self, book: &mut Book) -> anyhow::Result<()> {
        self.is_behind = true;
        self.tracing.begin();
        let mut eyes = Eyes {
            names: Names::open(&self.setup.root, now()),
            witness: Witness::new(&self.setup.root),
            counted: Counted::open(self.setup.hierarchy.as_ref(), now()),
            traced: None,
            missed: Missed::default(),
        };
        let boot = boot_id(&self.setup.root)?;
        let mut intake = book.intake(&boot, zero_of_log_clock());
        self.log.open(now());
        let mut kept: Option<Moment> = None;
        let mut last = (intake.last(), now());
        self.herald.desk().set_totals(book.totals());
        let mut is_traced = true;
        loop {
            if self.ending.is_untraced() {
                // What it has told is heard before.
                self.listen(&mut eyes);
                eyes.take_in(&mut intake, false);
                (eyes.traced, self.setup.tracing) = (None, false);
            }
            if self.setup.tracing && eyes.traced.is_none() && self.tracing.is_due(now()) {
                eyes.traced = self.trace();
            }
            if self.log.retry(now()) {
                // What nobody could tell of until now is told again, by who it was.
                self.is_behind = true;
                self.said.begin_again();
                intake.forget_untold();
            }
            // What was told before the end came is heard by this look.
            self.is_ending = self.ending.has_come();
            if is_traced || self.is_ending {
                self.listen(&mut eyes);
            }
            let is_drained = self.hear(&mut intake, &mut eyes)?;
            if self.is_ending {
                finish(&mut intake, &mut eyes);
            } else if is_drained {
                // Whatever else wakes this thread, however often, ends no silence of the log.
                let is_over = |silence| now().since(last.1) >= Span(silence);
                let is_silent = intake.last() == last.0 && intake.silence_micros().is_some_and(is_over);
                if !self.said.has_begun() || is_silent {
                    intake.settle();
                }
                eyes.take_in(&mut intake, self.log.obstacle().is_none());
                // A report that is just being told takes its count with it.
                if intake.silence_micros().is_none() {
                    eyes.counted.rest(now());
                }
            }
            let is_counted = self.look_blindly(&intake, &mut eyes);
            // The first of a burst is kept at once, and those that follow together: each time costs a look at all cgroups, and the disk.
            let rest = kept.map(|at| Span(KEPT_APART.0.saturating_sub(now().since(at).0)));
            let rest = rest.filter(|rest| *rest > Span(0) && intake.news() > 0);
            let is_early = rest.is_some() && is_drained && !self.is_behind && !self.ending.has_come();
            if !is_early && self.keep(book, &mut intake, &mut eyes, is_counted)? {
                kept = Some(now());
            }
            let unwritten = self.unwritten.as_ref();
            if unwritten.is_some_and(|unwritten| unwritten.again.is_due(now())) {
                self.write(book)?;
            }
            let sent = eyes.signals(self.ending.has_come());
            if let Err(error) = self.signals.keep(&self.setup.directory, &boot, sent) {
                self.say_once(format!(
                    "{}: {error}: who sends SIGKILL for another reason than memory is not kept; it is tried again",
                    self.setup.directory.display()
                ));
            }
            self.herald.desk().set_heard(heard(&intake));
            if self.is_ending && (is_drained || self.is_over()) {
                return Ok(());
            }
            if !is_drained {
                is_traced = true;
                continue;
            }
            let keeping = self.how_it_keeps(&eyes);
            self.keeping(keeping);
            self.is_behind = false;
            self.said.end(intake.last());
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
            // It is this look, too, that has the log tried again.
            let blind = self.log.obstacle().map(|_| BLIND_LOOK);
            let unwritten = self.unwritten.as_ref();
            let unwritten = unwritten.map(|unwritten| unwritten.again.left(now()));
            let is_untraced = self.setup.tracing && eyes.traced.is_none();
            let untraced = is_untraced.then(|| self.tracing.left(now()));
            let patience = [silence, mark, rest, blind, unwritten, untraced]
                .into_iter()
                .flatten()
                .min();
            is_traced = self.wait(&mut eyes, patience)?;
        }
    }

    /// Where no line comes, the kernel's own count says that somebody was killed, and where tracing is not there either nothing else does.
    /// True where there is a count to be kept.
    fn look_blindly(&mut self, intake: &Intake, eyes: &mut Eyes) -> bool {
        if self.log.obstacle().is_none() {
            self.counted = None;
            return false;
        }
        let Some(counted) = self.count() else { return false };
        let before = self.counted.replace(counted).unwrap_or(counted);
        if counted > before && eyes.traced.is_none() {
            eyes.counted.look(now());
            self.herald.desk().say(KillNews::Counted(counted - before));
            self.herald.ring();
        }
        intake.tally().counted != Some(counted)
    }

    /// The kernel's tracing, where it can be had.
    fn trace(&mut self) -> Option<Traced> {
        self.tracing.tried(now());
        let traced = Traced::open(&self.setup.root);
        let traced = traced.map_err(|why| self.say_untraced(&why)).ok()?;
        if let Some(foreign) = traced.foreign() {
            self.say_once(format!(
                "{}: somebody else has made it, and it is left alone: tracing goes on beside it",
                foreign.display()
            ));
        }
        Some(traced)
    }

    fn listen(&mut self, eyes: &mut Eyes) {
        if let Err(why) = eyes.listen(!self.is_behind) {
            self.say_untraced(&why);
        }
    }

    /// Hears what the log has; false where there is more. Tracing is listened to before, while its victim is still there.
    fn hear(&mut self, intake: &mut Intake, eyes: &mut Eyes) -> anyhow::Result<bool> {
        let Some(reader) = &mut self.log.reader else {
            return Ok(true);
        };
        while let Some(record) = reader.next_record()? {
            let unplaced = intake.hear(&record);
            // Whoever was killed before the start is not there any more, and somebody else may have the number.
            if let Some(pid) = unplaced.filter(|_| !self.is_behind) {
                eyes.witness.look(pid, now());
            }
            if intake.news() >= REPORTS_AT_ONCE || is_over(&self.ending, &mut self.ends_by) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The end has come, and what there was to hear until then had its time.
    fn is_over(&mut self) -> bool {
        is_over(&self.ending, &mut self.ends_by)
    }

    /// Waits for what comes next, for the end, or for so long; true where tracing has something to tell. The log comes line by line, and
    /// tracing is a read for each processor.
    fn wait(&self, eyes: &mut Eyes, patience: Option<Span>) -> io::Result<bool> {
        let patience =
            patience.and_then(|patience| Timespec::try_from(Duration::from_micros(patience.0)).ok());
        let bell = self.ending.bell.as_fd();
        // Where nobody tells of something, the bell is asked twice.
        let ear = eyes.names.ear().unwrap_or(bell);
        let log = self.log.fd().unwrap_or(bell);
        let trace = eyes.traced.as_ref().map_or(bell, Traced::as_fd);
        let mut waited = [log, trace, bell, ear].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut waited, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [_, is_traced, _, is_named] = waited.map(|fd| !fd.revents().is_empty());
        // Whoever rang wants this thread to look, and has been heard.
        let _ = rustix::io::read(&self.ending.bell, &mut [0_u8; 8]);
        if is_named {
            eyes.names.listen(now());
        }
        Ok(is_traced)
    }

    /// Says and keeps what is over, and what was counted; false where there was nobody to tell of.
    fn keep(
        &mut self,
        book: &mut Book,
        intake: &mut Intake,
        eyes: &mut Eyes,
        is_counted: bool,
    ) -> anyhow::Result<bool> {
        let has_news = intake.news() > 0;
        let has_counts = is_counted || eyes.counted.has_untold();
        let is_much = intake.records_untold() >= RECORDS_UNTOLD_MAX || has_counts;
        if !has_news && !is_much && !self.ending.has_come() {
            return Ok(false);
        }
        // The kernel counts before it tells: what was told by now had been counted, and what is counted by now is heard below.
        let counted = (has_news || has_counts || self.ending.has_come())
            .then(|| self.count())
            .flatten();
        if counted.is_some() {
            self.listen(eyes);
            self.hear(intake, eyes)?;
            if self.is_ending {
                finish(intake, eyes);
            } else if self.log.obstacle().is_some() {
                eyes.take_in(intake, false);
            }
        }
        intake.set_zero(zero_of_log_clock());
        let (mut entries, mut tally) = intake.take(counted);
        eyes.place(&mut entries);
        tally.untold = intake.hear_untold(eyes.counted.take_untold(), eyes.counted.take_late());
        (tally.unplaced, tally.missed) = intake.hear_missed(count_unplaced(&entries), eyes.missed);
        eyes.witness.forget(now());
        // Whoever is killed meanwhile is gone when the disk has answered.
        self.listen(eyes);
        self.say(&entries);
        book.add(&entries, tally);
        self.herald.desk().count(&entries);
        if self.unwritten.is_none() || self.ending.has_come() {
            self.write(book)?;
        }
        Ok(has_news)
    }

    /// Writes what waits for it. A disk that takes nothing is tried again, more and more seldom.
    fn write(&mut self, book: &mut Book) -> io::Result<()> {
        let written = book.write();
        if book.is_stale() {
            self.unwritten = None;
            return written;
        }
        self.unwritten = written
            .err()
            .map(|error| Unwritten::new(&error, self.unwritten.as_ref()));
        Ok(())
    }

    /// `oom_kill` of `/proc/vmstat`.
    fn count(&self) -> Option<u64> {
        let vmstat = std::fs::read(self.setup.root.join("proc/vmstat")).ok()?;
        Vmstat::parse(&vmstat).oom_kills
    }
}

fn is_over(ending: &Ending, ends_by: &mut Option<Moment>) -> bool {
    ending.has_come() && now() >= *ends_by.get_or_insert(Moment(now().0.saturating_add(HEARD_AT_END.0)))
}

/// Takes what is told of only in part: the machine may be going down, and with it all that would be heard later.
fn finish(intake: &mut Intake, eyes: &mut Eyes) {
    intake.finish();
    eyes.take_in(intake, false);
}

fn heard(intake: &Intake) -> Heard {
    let (told, lost) = intake.heard();
    let tally = intake.tally();
    Heard {
        told,
        lost,
        untold: tally.untold,
        missed: tally.missed,
        doubles: tally.doubles(),
    }
}
