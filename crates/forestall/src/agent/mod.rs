//! `forestall agent`: puts the threads together and runs until it is told to stop.
//!
//! The guard runs on this, the first thread; the talk thread and the act threads are started before it. A panic of the
//! guard ends the process, because a guard that does not look must not seem to be there.

mod args;
mod banner;
mod calm;
pub(crate) mod clock;
mod fill;
mod ground;
mod guard;
mod keep;
mod kept;
mod kubelet;
pub(crate) mod ledger;
mod neighbours;
mod place;
mod recorder;
mod seat;
pub(crate) mod shared;
mod start;
mod trigger;

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::Context;
use forestall_act::ignore_file_size_signal;
use forestall_decide::{Mode, Policy, Rung};
use forestall_kernel::cgroup::Hierarchy;
use forestall_trace::tap::Tap;

pub(crate) use self::args::AgentArgs;
pub(crate) use self::banner::say_degraded;
#[cfg(test)]
pub(crate) use self::ground::tests::{node_before_its_first_pod, start_a_pod};
pub(crate) use self::ground::{Ground, NO_HAND, OpenGroup, has_hand};
use self::guard::GuardSetup;
#[cfg(test)]
pub(crate) use self::guard::tests::own_wall;
pub(crate) use self::kept::Kept;
pub(crate) use self::kubelet::{KubeletNews, KubeletWatch};
use self::ledger::{Ledger, LedgerSetup};
use self::neighbours::find_neighbours;
use self::recorder::{NOT_RECORDING, Recorder, RecorderSetup};
pub(crate) use self::seat::Holder;
use self::shared::{Board, Degraded, Herald, Keeping, Recording};
use self::start::Started;
pub(crate) use self::start::say_left_out;
use crate::cluster::{Access, Purse, TaintWish};
use crate::config::Settings;
use crate::exit::Exit;
use crate::log::sink::Sink;
use crate::log::{Level, Logger, Style, escape};
use crate::notify::Notifications;
use crate::systemd::Notifier;
use crate::talk::{self, ClusterSetup, FileMark, TalkSetup};

/// Runs the agent until it is told to stop.
pub(crate) fn run(args: AgentArgs) -> anyhow::Result<Exit> {
    // A log or a recording that meets a limit on file sizes is an error of its write, and no end of the guard.
    ignore_file_size_signal().context("cannot ignore SIGXFSZ")?;
    let kept = Kept::new(&args);
    // Marked before it is read: what is written while the machine is looked at is read once more.
    let file = args.config.as_deref().and_then(FileMark::of);
    // A person who reads it is told at once; whoever starts it otherwise wants a guard above all.
    let may_be_kept = args.or_shadow || !std::io::stderr().is_terminal();
    let (settings, text, wrong) = kept.load(&args, may_be_kept)?;
    // Another agent finds this one by it, whatever its file is called. Where it cannot be set, the file's name stands.
    let _ = rustix::thread::set_name(c"forestall");
    if let Some(refusal) = refuse_beside(&settings) {
        return Ok(refuse(&refusal));
    }
    let notifier = Notifier::from_environment();
    // The guard raises its priority at start, and threads inherit it; the talk thread goes back to what was given.
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    // Everything is reckoned from it: one that cannot be true is told here and not acted upon.
    crate::commands::free::read_meminfo(&settings.root)?;
    // Before memory is locked: what reading it takes is needed once.
    let mut kubelet = KubeletWatch::new(&settings.root, &settings.kubelet);
    let kubelet_news = kubelet.look(true);
    let cluster = find_cluster(&settings);
    let mut started = start::start(&settings, nice, matches!(cluster, Some(Ok(_))))?;
    if let Some((rung, why)) = started
        .degraded
        .iter()
        .find(|(rung, _)| settings.require.contains(rung))
    {
        return Ok(refuse(&format!(
            "{} is required and cannot be used here: {why}",
            rung.label()
        )));
    }
    // To say what was found and to begin recording takes code that is not needed again.
    let needed = started.ground.resident_code();
    let node = node_name();
    let mut logger = open_log(started.policy.mode, &node).context("cannot use stdout")?;
    banner::say_banner(&mut logger, &settings, &started, &node);
    if let Some(why) = started.capabilities.unplaced {
        logger.say(Level::Warn, "unplaced", why);
    }
    let neighbours = find_neighbours(&settings.root.join("proc"));
    if !neighbours.is_empty() {
        let names = neighbours.join(", ");
        logger.say(
            Level::Warn,
            "neighbours",
            &format!("{names} runs here too: it may kill before forestall would"),
        );
    }
    let ends = shared::open().context("cannot make an eventfd")?;
    ends.board.set_degraded(degraded(
        &started.degraded,
        &started.ground,
        started.holder,
        started.capabilities.unplaced,
    ));
    if matches!(cluster, Some(Ok(_)))
        && let Some(why) = say_evict_off(&settings.policy, &started.granted)
    {
        logger.say(Level::Warn, "evict", why);
    }
    if let Some(wrong) = &wrong {
        logger.say(Level::Error, "configuration", wrong);
    }
    let is_the_files = wrong.is_none();
    ends.board.set_configuration(wrong);
    let ledger_herald = ends.herald.clone();
    let recording = start_recorder(
        &settings,
        &started,
        &node,
        nice,
        ends.herald,
        &ends.board,
        &mut logger,
    );
    let ledger = start_ledger(&settings, &started, nice, &ledger_herald, &mut logger);
    let mut others = Notifications::new(Arc::clone(&ends.board.told), nice);
    others
        .follow(&settings.notify)
        .context("cannot start the notify thread")?;
    logger.tell_others(others);
    if let Some(holder) = started.holder {
        logger.say(Level::Warn, "standby", &standby(holder));
    }
    started.ground.give_back_code(needed.as_ref());
    let cluster = cluster.and_then(|found| {
        let complain = |why: &String| logger.say(Level::Warn, "cluster", why);
        found.inspect_err(complain).ok()
    });
    let desk = cluster.as_ref().and_then(|_| started.actor.take_desk());
    let talk = talk::start(TalkSetup {
        cluster,
        desk: desk.map(Arc::new),
        kubelet,
        kubelet_news,
        board: ends.board,
        inbox: ends.inbox,
        commander: ends.commander,
        logger,
        notifier,
        args,
        kept,
        unkept: is_the_files.then_some(text),
        file,
        settings,
        granted: started.granted,
        mode: started.policy.mode,
        ground: started.ground,
        unplaced: started.capabilities.unplaced,
        holder: started.holder,
        nice,
    })
    .context("cannot start the talk thread")?;
    let (tap, recorder) = recording.unzip();
    guard::run(GuardSetup {
        tap,
        sensor: started.sensor,
        actor: started.actor,
        triggers: started.triggers,
        post: ends.post,
        commands: ends.commands,
        policy: started.policy,
    });
    if let Some(recorder) = recorder {
        recorder.end();
    }
    if let Some(ledger) = ledger {
        ledger.end();
    }
    talk.end();
    Ok(Exit::Clean)
}

/// Starts the flight recorder; an agent that cannot record guards all the same.
fn start_recorder(
    settings: &Settings,
    started: &Started,
    node: &str,
    nice: i32,
    herald: Herald,
    board: &Board,
    logger: &mut Logger,
) -> Option<(Tap, Recorder)> {
    let named = settings.record.clone();
    if !settings.recorder.on && named.is_none() {
        return None;
    }
    let mut fail = |why: &str| {
        let why = format!("{NOT_RECORDING}: {why}");
        logger.say(Level::Warn, "recorder", &why);
        board.set_recording(Recording::Failed(why));
    };
    let state_dir = started.ground.state_dir();
    // Only `enforce` makes the agent's own directory; elsewhere its installation does.
    if named.is_none() && !state_dir.is_dir() {
        fail(&format!(
            "{} does not exist; make it, name a directory with --record, or set recorder.enabled: false",
            state_dir.display()
        ));
        return None;
    }
    let setup = RecorderSetup {
        directory: named.unwrap_or_else(|| recorder::directory_in(state_dir)),
        keep: settings.recorder.keep,
        size_bytes_max: settings.recorder.size_max.0,
        node: node.to_owned(),
        policy: started.policy,
        nice,
    };
    recorder::start(&setup, &started.sensor, herald)
        .inspect_err(|error| {
            let reason = if error.kind() == std::io::ErrorKind::WouldBlock {
                "another agent records there; name another directory with --record".to_owned()
            } else {
                error.to_string()
            };
            fail(&format!("{}: {reason}", setup.directory.display()));
        })
        .ok()
}

/// Starts the ledger's thread; an agent that cannot keep kills guards all the same.
fn start_ledger(
    settings: &Settings,
    started: &Started,
    nice: i32,
    herald: &Herald,
    logger: &mut Logger,
) -> Option<Ledger> {
    if !settings.ledger.on {
        return None;
    }
    let setup = LedgerSetup {
        directory: ledger::directory_in(started.ground.state_dir()),
        root: settings.root.clone(),
        hierarchy: std::fs::read("/proc/self/mountinfo")
            .ok()
            .and_then(|mountinfo| Hierarchy::find(&mountinfo, &settings.root).ok()),
        tracing: settings.ledger.tracing,
        nice,
    };
    let mut fail = |why: String| {
        logger.say(Level::Warn, "ledger", &why);
        herald.desk().set_keeping(Keeping::Failed(why));
    };
    ledger::start(setup, herald.clone())
        .inspect_err(|error| fail(format!("the ledger's thread cannot be started: {error}")))
        .ok()
}

/// The cluster that this node is in, where this agent runs in a pod of it; or why it cannot be reached.
fn find_cluster(settings: &Settings) -> Option<Result<ClusterSetup, String>> {
    let access = match Access::in_cluster()? {
        Ok(access) => access,
        Err(trouble) => return Some(Err(trouble.to_string())),
    };
    let Some(node) = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()) else {
        let why = "NODE_NAME is not set, so that nobody knows which node's pods to follow: set it from spec.nodeName (downward API)";
        return Some(Err(why.to_owned()));
    };
    let boot = crate::ledger::boot_id(&settings.root).ok();
    let boot = boot.map(|boot: Box<[u8]>| String::from_utf8_lossy(&boot).into_owned());
    let mountinfo = std::fs::read("/proc/self/mountinfo").ok()?;
    let hierarchy = Hierarchy::find(&mountinfo, &settings.root).ok()?;
    Some(Ok(ClusterSetup {
        access,
        node,
        boot,
        cgroup_root: hierarchy.root,
        vmstat: settings.root.join("proc/vmstat"),
        purse: Purse::of(settings.budget.clone()),
        taint: TaintWish::of(settings.taint()),
    }))
}

/// Everything that is missing here. A rung that is off by choice misses nothing; `sysrq` and forced
/// emptying are no more than their one right.
pub(crate) fn degraded(
    rungs: &[(Rung, String)],
    ground: &Ground,
    holder: Option<Holder>,
    unplaced: Option<&'static str>,
) -> Vec<Degraded> {
    let rungs = rungs
        .iter()
        .map(|(rung, why)| Degraded::new(rung.label(), why.as_str()));
    let missing = ground
        .rights()
        .iter()
        .filter(|right| !right.works && !matches!(right.name, "sysrq" | "memory_force_empty"));
    let rights = missing.map(|right| Degraded::new(right.name, right.cost));
    let seat = holder.map(|holder| Degraded::new("enforce", standby(holder)));
    let cgroups = unplaced.map(|why| Degraded::new("cgroups", why));
    rungs.chain(rights).chain(seat).chain(cgroups).collect()
}

/// Why this agent does not act although it was told to, and what to do.
pub(crate) fn standby(holder: Holder) -> String {
    let pid = holder
        .pid
        .map_or_else(|| "of unknown PID".to_owned(), |pid| format!("with PID {pid}"));
    format!(
        "another forestall agent, {pid}, enforces on this machine: this one runs in shadow and takes over when that one \
         ends; stop one of the two, or give this one --mode shadow"
    )
}

/// What it costs to act in a cluster without evicting; `None` where nothing is lost.
pub(crate) fn say_evict_off(policy: &Policy, granted: &Policy) -> Option<&'static str> {
    let kills = policy.mode == Mode::Enforce && policy.rungs.and(granted.rungs).has(Rung::Kill);
    (kills && !policy.rungs.has(Rung::Evict)).then_some(
        "the rung evict is off: where memory runs out pods are killed, without their own grace period and whatever their disruption budget says; write \
         rungs: {evict: true}, for which the profile `act` has the right",
    )
}

/// What a new configuration's policy becomes on this machine, whose rights were tried at start.
pub(crate) fn adapt(policy: &Policy, granted: &Policy) -> Policy {
    start::adapt(policy, granted)
}

/// Why `enforce` is refused beside the killers that run here, if it is.
pub(crate) fn refuse_beside(settings: &Settings) -> Option<String> {
    if settings.policy.mode != Mode::Enforce || settings.beside {
        return None;
    }
    let neighbours = find_neighbours(&settings.root.join("proc"));
    (!neighbours.is_empty()).then(|| {
        format!(
            "{} runs here and kills for the same reasons; stop it, or use --beside to enforce next to it, or --mode shadow",
            neighbours.join(", ")
        )
    })
}

fn refuse(why: &str) -> Exit {
    eprint_line(&format!("forestall: refused: {}", escape::message(why)));
    Exit::Refused
}

fn eprint_line(line: &str) {
    use std::io::Write;
    // Nothing is left to tell it to if stderr is gone as well.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The node's name in the cluster where it is given (downward API), else the host's.
fn node_name() -> String {
    match std::env::var("NODE_NAME") {
        Ok(name) if !name.is_empty() => name,
        _ => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

fn open_log(mode: Mode, node: &str) -> std::io::Result<Logger> {
    let stdout = std::io::stdout();
    let style = if stdout.is_terminal() {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Style::Plain { colour: !plain }
    } else {
        Style::Json
    };
    let sink = Sink::new(stdout.as_fd().try_clone_to_owned()?);
    Ok(Logger::new(sink, style, Some(node.to_owned()), mode))
}
