//! The talk thread: log, HTTP, signals and reloads, on one tokio `current_thread` runtime.
//!
//! It may be slow, hang on a reader or panic without the guard noticing: it only reads what the guard left on the board
//! and in the channel. A panic is caught and the thread goes on with a fresh runtime after a pause. What it refuses to
//! do: decide anything.

mod cluster;
mod eye;
mod kubelet;
mod metrics;
mod pages;
mod reload;
mod server;
mod stance;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use forestall_act::EvictionDesk;
use forestall_decide::kubelet::KubeletConfig;
use forestall_decide::{Mode, Moment, Policy, Span};
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

pub(crate) use self::cluster::ClusterSetup;
use self::eye::Eye;
use self::kubelet::KUBELET_SPACING;
use self::pages::Pages;
use self::reload::FILE_SPACING;
pub(crate) use self::reload::FileMark;
use self::stance::{RIGHTS_SPACING, standby_spacing};
use crate::agent::shared::{Board, Commander, EventKind, Health, Inbox, KillNews, Snapshot};
use crate::agent::{AgentArgs, Ground, Holder, Kept, KubeletNews, KubeletWatch, clock, say_left_out};
use crate::cluster::Notices;
use crate::config::{Listen, Settings};
use crate::exit::Exit;
use crate::log::{Level, Logger};
use crate::supervise::{BACKOFF_MAX, keep_going};
use crate::systemd::Notifier;

/// Deep enough for rendering and parsing, shallow enough for the budget of the agent.
const STACK_BYTES: usize = 512 << 10;
/// Between two attempts to write what stdout did not take.
const FLUSH_PAUSE: Duration = Duration::from_millis(100);
/// Between two status lines in a pipe, and two looks at the walls on a terminal.
const STATUS_SPACING: Duration = Duration::from_mins(1);
const LIVE_SPACING: Duration = Duration::from_secs(1);
/// How long the end may take: for the guard after a signal, and for the last lines after the guard.
const END_TIME_MAX: Duration = Duration::from_secs(10);
const LAST_LINES_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the guard has to end once it was asked for twice: a dip is put back within that time.
const HURRIED_END_TIME_MAX: Duration = Duration::from_millis(200);
/// A change in the number of cgroups that are left out is told no sooner than this after the one before.
const LEFT_OUT_SPACING: Span = Span::secs(60);

/// What the thread needs.
pub(crate) struct TalkSetup {
    /// What the guard leaves.
    pub(crate) board: Arc<Board>,
    /// What the guard tells.
    pub(crate) inbox: Inbox,
    /// The way back to the guard.
    pub(crate) commander: Commander,
    /// The log.
    pub(crate) logger: Logger,
    /// The flags, to lay over the file at a reload.
    pub(crate) args: AgentArgs,
    /// Where the last configuration that was good is kept.
    pub(crate) kept: Kept,
    /// The configuration that the agent was started with, to be kept.
    pub(crate) unkept: Option<String>,
    /// Its file, as it was before it was read last.
    pub(crate) file: Option<FileMark>,
    /// What holds now.
    pub(crate) settings: Settings,
    /// The policy that the guard started with, cut down to what can be done here.
    pub(crate) granted: Policy,
    /// The mode the guard was told last: not the one that was asked for while another agent acts.
    pub(crate) mode: Mode,
    /// What the kubelet runs with.
    pub(crate) kubelet: KubeletWatch,
    /// What was found at start, to be told.
    pub(crate) kubelet_news: Option<KubeletNews>,
    /// What acting needs.
    pub(crate) ground: Ground,
    /// Why processes cannot all be placed among the cgroups.
    pub(crate) unplaced: Option<&'static str>,
    /// Who acts instead.
    pub(crate) holder: Option<Holder>,
    /// The priority (nice value) this thread is meant to have.
    pub(crate) nice: i32,
    /// The cluster, where this node is in one.
    pub(crate) cluster: Option<ClusterSetup>,
    /// Evictions to be carried out there.
    pub(crate) desk: Option<Arc<EvictionDesk>>,
    /// The service manager, if there is one that listens.
    pub(crate) notifier: Option<Notifier>,
}

/// The running thread.
pub(crate) struct Talk {
    ending: Arc<Ending>,
    ended: mpsc::Receiver<()>,
}

#[derive(Default)]
struct Ending {
    flag: AtomicBool,
    bell: Notify,
}

/// Starts the thread.
pub(crate) fn start(setup: TalkSetup) -> io::Result<Talk> {
    let ending = Arc::new(Ending::default());
    let (done, ended) = mpsc::sync_channel(1);
    let eye = Eye::new(Arc::clone(&setup.board), setup.commander.clone());
    let talker = Talker {
        pages: Arc::new(Pages::new(Arc::clone(&setup.board), eye.clone())),
        eye,
        seen: Board::empty_snapshot(),
        ending: Arc::clone(&ending),
        late: false,
        left_out: LeftOut::default(),
        is_untold: false,
        kubelet_config: None,
        notices: Notices::default(),
        setup,
    };
    thread::Builder::new()
        .name("talk".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            supervise(talker);
            // Nobody waits any more when this fails.
            let _ = done.send(());
        })?;
    Ok(Talk { ending, ended })
}

impl Talk {
    /// The guard has ended: says the last lines, and waits for them no longer than they are worth.
    pub(crate) fn end(self) {
        self.ending.flag.store(true, Ordering::Release);
        self.ending.bell.notify_one();
        let _ = self.ended.recv_timeout(2 * LAST_LINES_TIME_MAX);
    }
}

/// Runs the talker until the end, through its panics.
fn supervise(mut talker: Talker) {
    // Only ever down, which is always allowed; where it fails the thread is merely quicker than it needs to be.
    let _ = rustix::process::setpriority_process(None, talker.setup.nice);
    talker.keep_configuration();
    keep_going(
        "talk",
        &mut talker,
        |talker| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(talker.talk())
        },
        |talker, why, pause| {
            let again = format!("{why}; it starts again in {} s", pause.as_secs());
            talker.setup.logger.say(Level::Error, "talk", &again);
            talker.setup.logger.flush();
            thread::sleep(pause);
            !talker.ending.flag.load(Ordering::Acquire)
        },
    );
}

struct Talker {
    setup: TalkSetup,
    pages: Arc<Pages>,
    eye: Eye,
    seen: Snapshot,
    ending: Arc<Ending>,
    late: bool,
    left_out: LeftOut,
    /// The guard has not taken what the rights are now.
    is_untold: bool,
    /// What the kubelet runs with, as far as it is known.
    kubelet_config: Option<Arc<KubeletConfig>>,
    /// What the cluster is told of this node.
    notices: Notices,
}

/// What was told of the cgroups that are left out, and when.
#[derive(Debug, Default)]
struct LeftOut {
    told: Option<(u64, Moment)>,
}

impl LeftOut {
    /// The sentence that is due, if there is one. What was there at the first look is told at start.
    fn due(&mut self, count: u64, now: Moment) -> Option<String> {
        let Some((told, at)) = self.told else {
            self.told = Some((count, now));
            return None;
        };
        if count == told || now.since(at) < LEFT_OUT_SPACING {
            return None;
        }
        self.told = Some((count, now));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Some(say_left_out(count).unwrap_or_else(|| "all cgroups are followed again".to_owned()))
    }
}

/// The signals that mean something.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
}

/// Makes the bell silent until the next event; also tells the runtime that it is.
fn hush(bell: &Receiver) {
    while bell.try_read(&mut [0; 8]).is_ok_and(|count| count > 0) {}
}

impl Talker {
    async fn talk(&mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        // An eventfd reads like a pipe that holds eight bytes, and this is the one safe way to wait for it here.
        let bell = Receiver::from_owned_fd_unchecked(self.setup.inbox.bell()?)?;
        let server = self.serve().await;
        let live = self.setup.logger.is_live();
        let mut regular = interval(if live { LIVE_SPACING } else { STATUS_SPACING });
        regular.set_missed_tick_behavior(MissedTickBehavior::Skip);
        regular.tick().await;
        let watchdog = self.setup.notifier.as_ref().and_then(Notifier::alive_every);
        let mut alive = interval(watchdog.unwrap_or(STATUS_SPACING));
        alive.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.tell_ready();
        let mut standby = interval(standby_spacing());
        standby.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rights = interval(RIGHTS_SPACING);
        rights.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kubelet = interval(KUBELET_SPACING);
        kubelet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut file = interval(FILE_SPACING);
        file.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cluster = self.follow_cluster();
        let mut stops = 0_u32;
        let mut end_by = None;
        let mut is_hurried = false;
        let end = loop {
            hush(&bell);
            self.take_events();
            self.setup.logger.flush();
            let unflushed = !self.setup.logger.is_flushed();
            tokio::select! {
                ready = bell.readable() => ready?,
                _ = regular.tick() => {
                    if live {
                        self.eye.open().await;
                    }
                    self.tell_regularly(live);
                }
                _ = alive.tick(), if watchdog.is_some() => self.tell_alive(),
                () = sleep(FLUSH_PAUSE), if unflushed => {}
                _ = kubelet.tick() => self.follow_kubelet(),
                news = cluster.next() => self.take_cluster_news(news),
                _ = standby.tick(), if self.setup.holder.is_some() => self.try_to_take_over(),
                _ = rights.tick(), if self.waits_for_rights() => self.try_rights_again(),
                _ = signals.hup.recv() => self.reload(),
                _ = file.tick(), if self.setup.args.config.is_some() => self.reload_if_changed(),
                _ = signals.term.recv() => stops += 1,
                _ = signals.int.recv() => stops += 1,
                () = self.ending.bell.notified() => {}
                () = sleep_until(end_by.unwrap_or_else(Instant::now)), if end_by.is_some() => {
                    self.give_up(is_hurried).await;
                }
            }
            if self.ending.flag.load(Ordering::Acquire) {
                break Ok(());
            }
            if stops > 1 && !is_hurried {
                is_hurried = true;
                end_by = Some(Instant::now() + HURRIED_END_TIME_MAX);
            } else if stops == 1 && end_by.is_none() {
                end_by = Some(Instant::now() + END_TIME_MAX);
                self.ask_for_the_end();
            }
        };
        server.abort();
        self.leave_cluster().await;
        self.say_last_lines().await;
        end
    }

    fn take_events(&mut self) {
        while let Some(event) = self.setup.inbox.take() {
            self.setup.logger.event(&event, clock::now());
            if matches!(event.kind, EventKind::PolicyTaken) {
                self.settle(event.mode);
            }
        }
        for news in self.setup.board.kills.take_news() {
            if let KillNews::Kill(entry) = &news {
                self.tell_cluster(entry);
            }
            self.setup.logger.kill_news(&news);
        }
    }

    /// Serves HTTP in a task of its own. An address that cannot be bound is told once and tried again: a guard without
    /// metrics is better than none.
    async fn serve(&mut self) -> JoinHandle<()> {
        let pages = Arc::clone(&self.pages);
        let Listen::At(address) = self.setup.settings.listen else {
            return tokio::spawn(async {});
        };
        match server::bind(address).await {
            Ok(listener) => {
                // With port 0 the system chose one.
                let address = listener.local_addr().unwrap_or(address);
                self.setup
                    .logger
                    .say(Level::Info, "listen", &format!("listening on http://{address}"));
                tokio::spawn(server::serve(listener, pages))
            }
            Err(error) => {
                let why = format!("cannot listen on {address}: {error}; it is tried again");
                self.setup.logger.say(Level::Error, "listen", &why);
                tokio::spawn(async move {
                    let mut pause = Duration::from_secs(1);
                    loop {
                        sleep(pause).await;
                        pause = (pause * 2).min(BACKOFF_MAX);
                        if let Ok(listener) = server::bind(address).await {
                            return server::serve(listener, pages).await;
                        }
                    }
                })
            }
        }
    }

    /// The guard runs from the first moment on: everything it needs was opened before this thread was started.
    fn tell_ready(&mut self) {
        let message = if self.setup.logger.is_live() {
            "guarding; each second the machine's own walls and then those that move, each by runway, then by what is left"
        } else {
            "guarding"
        };
        self.setup.logger.say(Level::Info, "ready", message);
        if let Some(notifier) = &self.setup.notifier {
            notifier.ready();
            if let Some(wrong) = notifier.say_watchdog() {
                self.setup.logger.say(Level::Warn, "watchdog", &wrong);
            }
        }
    }

    /// The watchdog guards the guard, so it hears of us only while that one looks when it said it would.
    fn tell_alive(&self) {
        let Some(notifier) = &self.setup.notifier else {
            return;
        };
        if !matches!(self.setup.board.health(clock::now()), Health::Late(_)) {
            notifier.alive();
        }
    }

    fn tell_regularly(&mut self, live: bool) {
        self.setup.board.read_snapshot(&mut self.seen);
        self.tell_lateness();
        self.tell_left_out();
        if let Some(why) = self.setup.board.told.take_failure() {
            self.setup.logger.say(Level::Warn, "notify", &why);
        }
        if self.seen.at.is_none() {
            return;
        }
        if live {
            self.setup.logger.live(&self.seen, clock::now());
        } else {
            self.setup.logger.status(&self.seen, &self.setup.board);
        }
    }

    /// A guard that does not look is told once, and once when it looks again.
    fn tell_lateness(&mut self) {
        let now: Moment = clock::now();
        let late = match self.setup.board.health(now) {
            Health::Late(by) => Some(by),
            Health::Starting | Health::Running => None,
        };
        if late.is_some() != self.late {
            self.late = late.is_some();
            match late {
                Some(by) => self.setup.logger.say(
                    Level::Error,
                    "guard",
                    &format!("the guard should have looked {by} ago"),
                ),
                None => self
                    .setup
                    .logger
                    .say(Level::Info, "guard", "the guard looks again"),
            }
        }
    }

    /// Cgroups that are not followed are told when their number changes.
    fn tell_left_out(&mut self) {
        if self.setup.board.ticks_total() == 0 {
            return;
        }
        let (_, left_out) = self.setup.board.cgroups();
        if let Some(message) = self.left_out.due(left_out, clock::now()) {
            self.setup.logger.say(Level::Warn, "cgroups", &message);
        }
    }

    fn ask_for_the_end(&self) {
        self.setup.commander.stop();
        // The cluster is told while the guard ends: who comes after this agent waits for its end.
        self.notices.end();
        if let Some(notifier) = &self.setup.notifier {
            notifier.stopping();
        }
    }

    /// The guard has not ended in time. Whoever asks twice wants it so: that is a clean end, and what a dip may have left
    /// lowered is in the journal.
    async fn give_up(&mut self, is_hurried: bool) {
        if is_hurried {
            self.say_last_lines().await;
            std::process::exit(Exit::Clean as i32);
        }
        self.setup
            .logger
            .say(Level::Error, "end", "the guard does not end; leaving without it");
        self.setup.logger.flush();
        std::process::exit(Exit::Error as i32);
    }

    async fn say_last_lines(&mut self) {
        self.take_events();
        self.setup.logger.end(&self.setup.board);
        let deadline = clock::now() + Span(u64::try_from(LAST_LINES_TIME_MAX.as_micros()).unwrap_or(0));
        loop {
            self.setup.logger.flush();
            if self.setup.logger.is_flushed() || clock::now() > deadline {
                return;
            }
            sleep(FLUSH_PAUSE / 10).await;
        }
    }
}
