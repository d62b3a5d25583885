//! `forestall explain`: one out-of-memory kill, or any other end of a container, on one screen. Who died, at which limit, what filled it, who else was there, what to
//! change, and how sure all that is.
//!
//! It reads this machine's kernel or a log that is named, from wherever it comes, and changes nothing. Of a log of any size it keeps
//! the one report that it explains, and counts.

#[cfg(any(test, fuzzing))]
pub(crate) mod any_log;
mod end;
mod growth;
mod headline;
mod homes;
mod killed;
mod page;
mod screen;
mod seeker;
mod sent;
mod timeline;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use forestall_kernel::oom::Report;
use serde_json::{Map, Value};

use self::end::EndArgs;
use self::growth::Growth;
use self::screen::Shown;
use self::seeker::{Seeker, Who};
use self::sent::Sent;
use self::timeline::Timeline;
use crate::commands::foretold::object;
use crate::commands::kills::AGENTS_LEDGER;
use crate::commands::node::report::yaml;
use crate::commands::terminal::Terminal;
use crate::exit::Exit;
use crate::forensics::ending::Ending;
use crate::forensics::share::is_unfinished;
use crate::forensics::source::{self, Read};
use crate::forensics::{time, value};
use crate::ledger::{self, Pages, Signal};
use crate::log::escape;

pub(crate) use self::headline::headline;

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// Whose end: a PID, a pod's UID, a container's ID or how it begins, a process's name, or, where an agent keeps a ledger, a pod's name
    /// ([NAMESPACE/]POD) or a container's; the last kill where nobody is named
    #[arg(allow_negative_numbers = true)]
    who: Option<String>,
    /// The last kill, as where nobody is named
    #[arg(long, conflicts_with = "who")]
    last: bool,
    /// Read this log instead of this machine's kernel: kern.log, or what dmesg, journalctl -k (-o json, too) or kubectl get events
    /// printed; `-` is stdin
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Say what grew before by the recordings in this directory, or in this file [default: those of this machine's agent, but not for --log]
    #[arg(long, value_name = "DIR|FILE")]
    trace: Option<PathBuf>,
    /// Look into the ledger in this directory (`forestall kills --ledger DIR`) instead, which outlasts the kernel's log
    #[arg(long, value_name = "DIR", conflicts_with = "log")]
    ledger: Option<PathBuf>,
    /// What to print
    #[arg(short = 'o', long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
    #[command(flatten)]
    end: EndArgs,
}

/// Formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For people, with whole paths and the kernel's own words
    Wide,
    /// For programs: amounts in bytes
    Json,
    /// The same as YAML
    Yaml,
}

/// No process has a higher number (`PID_MAX_LIMIT` in `include/linux/threads.h`).
const PID_MAX: u32 = 4_194_304;

/// Where an agent records.
const AGENTS_TRACE: &str = "/var/lib/forestall/trace";

/// Reads, and explains. A report in the middle of which records were lost is a partial answer.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let (text, exit) = explained(args, Terminal::of_stdout())?;
    super::print(text.as_bytes())?;
    Ok(exit)
}

/// What is printed, on a terminal like this one.
fn explained(args: &ExplainArgs, terminal: Terminal) -> anyhow::Result<(String, Exit)> {
    let log = args.log.as_deref().or(args.ledger.as_deref());
    let mut zero_micros = log.is_none().then(time::zero_of_log_clock);
    let mut seeker = Seeker::new(args.who.as_deref().map(Who::new));
    // What is typed about an end of somebody who is not named is about no kill of this machine's.
    let is_of_end_alone = !args.end.is_empty() && args.who.is_none() && !args.last && log.is_none();
    let mut name = name(log);
    let read = if is_of_end_alone {
        Read::default()
    } else if let Some(directory) = &args.ledger {
        seeker.boot = asked_boot(directory, true);
        read_ledger(directory, &mut seeker)?
    } else {
        let (read, is_kept) = match read_here(args, log, &mut seeker) {
            // Where the kernel's log may not be read somebody else may have seen the end.
            Err(_) if find_sent(args, &seeker).is_some() => (Read::default(), true),
            read => read?,
        };
        if is_kept {
            // What a ledger keeps is dated.
            (name, zero_micros) = (AGENTS_LEDGER.to_owned(), None);
        }
        read
    };
    let sent = find_sent(args, &seeker);
    let is_killed = seeker.killed().is_some();
    let is_known = !args.end.is_empty() || sent.is_some() || is_killed;
    let ending = is_known.then(|| {
        let report = seeker.found.as_ref();
        args.end.ending(report, sent.as_ref(), is_killed)
    });
    let sent = sent.map(|sent| sent.signal);
    let growth = find_growth(args, &seeker, zero_micros);
    if let (Some(who), None, None) = (&args.who, &seeker.found, &ending) {
        let who = escape::text(who);
        let kills = match seeker.kills {
            1 => "1 kill".to_owned(),
            kills => format!("{kills} kills"),
        };
        let digits = who.strip_prefix('-').unwrap_or(&who);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_pid = digits.len() == who.len() && who.parse().is_ok_and(|pid: u32| pid <= PID_MAX);
        if is_number && !is_pid {
            bail!(
                "{who} is in no report of an out-of-memory kill in {name}, and no PID: those are from 1 to {PID_MAX}"
            );
        }
        let left_out = read.left_out.sentence();
        let left_out = left_out.map_or_else(String::new, |left_out| format!("; {left_out}"));
        bail!(
            "{who} is in no report of an out-of-memory kill in {name}, which has {kills}; forestall kills lists them{left_out}"
        );
    }
    let text = match args.output {
        Output::Json => {
            serde_json::to_string_pretty(&answer(
                &seeker,
                &read,
                log,
                zero_micros,
                ending.as_ref(),
                growth.as_ref(),
                sent.as_ref(),
            ))? + "\n"
        }
        Output::Yaml => {
            let (ending, growth) = (ending.as_ref(), growth.as_ref());
            yaml(&answer(&seeker, &read, log, zero_micros, ending, growth, sent.as_ref()).into())
        }
        Output::Table | Output::Wide => {
            let shown = Shown {
                seeker: &seeker,
                read: &read,
                name: &name,
                zero_micros,
                is_wide: args.output == Output::Wide,
                ending,
                growth: growth.as_ref(),
                is_of_end_alone,
                sent: sent.as_ref(),
            };
            shown.screen(terminal)
        }
    };
    let is_partial = |report: &Report| report.has_gap || is_unfinished(report);
    let is_whole = read.left_out.is_empty() && !seeker.found.as_ref().is_some_and(is_partial);
    Ok((text, if is_whole { Exit::Clean } else { Exit::Stale }))
}

/// What grew before, as far as it was recorded. A log is of another machine, unless somebody says that a recording is of it.
fn find_growth(args: &ExplainArgs, seeker: &Seeker, zero_micros: Option<i64>) -> Option<Growth> {
    let report = seeker.found.as_ref()?;
    let directory = match &args.trace {
        Some(directory) => directory,
        None if args.log.is_none() => Path::new(AGENTS_TRACE),
        None => return None,
    };
    let when = report.victims.first().map_or(&report.when, |victim| &victim.when);
    let killed = u64::try_from(time::unix_micros(when, zero_micros)?).ok()?;
    Growth::of(report, killed, directory)
}

/// Who sent SIGKILL to whom no kill explains, as far as an agent's ledger tells.
fn find_sent(args: &ExplainArgs, seeker: &Seeker) -> Option<Sent> {
    if args.log.is_some() || seeker.found.is_some() {
        return None;
    }
    let directory = args.ledger.as_deref().unwrap_or(Path::new(AGENTS_LEDGER));
    let boot = asked_boot(directory, args.ledger.is_some());
    sent::find(directory, &Who::new(args.who.as_deref()?), boot.as_deref())
}

/// The kernel's log, or a file's. Of whom the kernel's ring does not know any more the agent's ledger may tell; then it is true. Of the
/// others it knows the names.
fn read_here(args: &ExplainArgs, log: Option<&Path>, seeker: &mut Seeker) -> anyhow::Result<(Read, bool)> {
    let read = source::read(log, seeker);
    let agents = Path::new(AGENTS_LEDGER);
    if log.is_some() || !ledger::is_there(agents) {
        return Ok((read?, false));
    }
    if seeker.found.is_some() {
        // Without them it is explained all the same.
        if let (Ok(pages), Ok(boot)) = (Pages::read(agents), ledger::boot_id(Path::new("/"))) {
            seeker.learn_homes(&pages.entries, &boot);
        }
    } else {
        let mut other = Seeker::new(args.who.as_deref().map(Who::new));
        other.boot = asked_boot(agents, false);
        if let Ok(kept) = read_ledger(agents, &mut other) {
            *seeker = other;
            return Ok((kept, true));
        }
    }
    Ok((read?, false))
}

/// Whose processes have the number that somebody asks for: this boot's. A ledger that somebody names may be another machine's, of which
/// it is the last boot.
fn asked_boot(directory: &Path, is_named: bool) -> Option<Box<[u8]>> {
    let own = ledger::boot_id(Path::new("/")).ok();
    if !is_named {
        return own;
    }
    let boots = Pages::read(directory).ok()?.tallies;
    let is_own = boots.iter().any(|tally| Some(&tally.boot) == own.as_ref());
    own.filter(|_| is_own)
        .or_else(|| boots.last().map(|tally| tally.boot.clone()))
}

/// All that a ledger holds. One that is not there is not made.
fn read_ledger(directory: &Path, seeker: &mut Seeker) -> anyhow::Result<Read> {
    if !directory.is_dir() {
        bail!(
            "{}: there is no ledger; forestall kills --ledger DIR keeps one in a directory that is there",
            directory.display()
        );
    }
    for entry in &Pages::read(directory)?.entries {
        seeker.hear_entry(entry);
    }
    Ok(Read::default())
}

/// Where it was read, for a terminal.
pub(crate) fn name(log: Option<&Path>) -> String {
    match log {
        None => "the kernel's log".to_owned(),
        Some(path) if path.as_os_str() == "-" => "stdin".to_owned(),
        Some(path) => escape::text(&path.display().to_string()),
    }
}

fn answer(
    seeker: &Seeker,
    read: &Read,
    log: Option<&Path>,
    zero_micros: Option<i64>,
    ending: Option<&Ending>,
    growth: Option<&Growth>,
    sent: Option<&Signal>,
) -> Map<String, Value> {
    let report = seeker.found.as_ref();
    let mut answer = object([
        ("kind", "explanation".into()),
        ("version", value::VERSION.into()),
        (
            "log",
            log.map(|path| escape::text(&path.display().to_string())).into(),
        ),
        ("ending", ending.map(end::value).into()),
        ("signal", sent.map(sent::to_value).into()),
        ("killer", seeker.killed().map(killed::to_value).into()),
        ("headline", report.map(headline).into()),
        (
            "report",
            report
                .map(|report| value::with_homes(report, zero_micros, &seeker.found_homes))
                .into(),
        ),
        ("growth", growth.map(Growth::value).into()),
        (
            "timeline",
            report
                .map(|report| Timeline::of(report, &seeker.around, growth).value())
                .into(),
        ),
        ("kills_in_log", seeker.kills.into()),
        (
            "kills_at_same_limit_before",
            seeker.before().map(|before| before.kills).into(),
        ),
        (
            "kills_of_pod_in_a_row",
            seeker.again().map(|again| again.kills).into(),
        ),
        ("lost_records", read.lost.into()),
        ("told_twice", read.told_twice.into()),
        ("not_compared", read.not_compared.into()),
    ]);
    answer.extend(read.left_out.fields());
    answer
}
