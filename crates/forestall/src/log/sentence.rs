//! Events and walls as sentences for people. The same numbers as in the JSON line, in fewer words.

use std::fmt::Write;

use forestall_decide::{
    Action, Bytes, Evidence, Ignored, NodeSample, OutcomeKind, RefusalReason, Rung, Span, WallReading,
};

use super::json::PollBody;
use super::{Level, escape, note, words};
use crate::agent::shared::{Age, AlarmStage, Event, EventKind, Passed, Row, Trouble, Unbelieved};

/// The event's gravity and sentence.
pub(super) fn of(event: &Event) -> (Level, String) {
    let scope = event.scope.as_bytes();
    let target = known_as(event.target.as_bytes());
    match &event.kind {
        EventKind::Alarm(alarm) => {
            let place = place(&alarm.reading, scope);
            let (level, verb) = match AlarmStage::of(alarm.verdict) {
                AlarmStage::Raised => (Level::Warn, "ALARM"),
                AlarmStage::True => (Level::Error, "alarm came true"),
                AlarmStage::False => (Level::Info, "alarm was false"),
                AlarmStage::Intervened => (Level::Info, "alarm overtaken by an action or by another ending"),
                AlarmStage::Missed => (Level::Error, "somebody ended without an alarm"),
            };
            let age = if alarm.verdict.is_some() {
                format!(" after {}", fine(alarm.age))
            } else {
                String::new()
            };
            (
                level,
                format!("{verb}{age}: {place}: {}, by {target}", figures(&alarm.reading)),
            )
        }
        EventKind::Named(alarm) => {
            let (place, age) = (place(&alarm.reading, scope), fine(alarm.age));
            let sentence = format!(
                "ALARM goes on after {age}: {place}: {}, now by {target}",
                figures(&alarm.reading)
            );
            (Level::Warn, sentence)
        }
        EventKind::Action(action) => {
            let target = aimed_at(action.rung, event.target.as_bytes());
            let tense = if event.mode == forestall_decide::Mode::Enforce {
                ""
            } else {
                "would "
            };
            let sentence = format!(
                "ACTION {}: {tense}{} {target}, {} ({})",
                action.id.0,
                action.rung.label(),
                intent(action),
                because(&action.evidence, scope)
            );
            (Level::Warn, sentence)
        }
        EventKind::Refusal(refusal) => {
            let has_culprit = refusal.evidence.reading.culprit.is_some();
            let said = words::reason_sentence(refusal.reason, has_culprit, event.mode);
            let why = match refusal.reason {
                RefusalReason::Protected(protection) => format!("{said} ({})", words::protection(protection)),
                RefusalReason::Spared(why) => format!("{said} ({})", words::why_not(why)),
                _ => said.to_owned(),
            };
            (
                Level::Warn,
                format!(
                    "nothing done, {why}: {target} ({})",
                    because(&refusal.evidence, scope)
                ),
            )
        }
        EventKind::PassedOver(list) => (Level::Info, passed(list, scope)),
        EventKind::Ignored(what) => (Level::Warn, ignored(what, &target)),
        EventKind::Outcome(outcome, note) => {
            let target = aimed_at(outcome.rung, event.target.as_bytes());
            let level = match outcome.kind {
                OutcomeKind::Progress | OutcomeKind::Done | OutcomeKind::Gone => Level::Info,
                OutcomeKind::NoEffect | OutcomeKind::Vetoed | OutcomeKind::Blocked => Level::Warn,
                OutcomeKind::Failed(_) => Level::Error,
            };
            let errno = match outcome.kind {
                OutcomeKind::Failed(errno) => {
                    let said = std::io::Error::from_raw_os_error(errno);
                    let remedy =
                        rustix::io::Errno::from_io_error(&said).and_then(forestall_act::limit_behind);
                    remedy.map_or_else(|| format!(", {said}"), |remedy| format!(", {said}: {remedy}"))
                }
                _ => String::new(),
            };
            // A brake holds back and frees nothing; what it held back stands in its note.
            let freed = if outcome.rung == Rung::Brake {
                String::new()
            } else {
                format!("{} freed ", outcome.freed)
            };
            let sentence = format!(
                "OUTCOME {}: {} {target}: {}{errno}{}, {freed}in {}",
                outcome.action.0,
                outcome.rung.label(),
                words::outcome(outcome.kind),
                note::sentence(*note),
                fine(outcome.took)
            );
            (level, sentence)
        }
        EventKind::KernelKills(1) => (
            Level::Error,
            "the kernel's OOM killer has killed a process".to_owned(),
        ),
        EventKind::KernelKills(count) => (
            Level::Error,
            format!("the kernel's OOM killer has killed {count} processes"),
        ),
        EventKind::Poll(node) => (Level::Info, poll(node)),
        EventKind::PolicyTaken => (Level::Info, "the new policy is in force".to_owned()),
        EventKind::Trouble(trouble) => {
            let why = match trouble.errno {
                0 => String::new(),
                errno => format!(": {}", std::io::Error::from_raw_os_error(errno)),
            };
            let path = event.target.as_bytes();
            let (of, then) = match trouble.what {
                Trouble::WATCH => (
                    " in ",
                    "; without pods the guard does not rest until it can, which is tried once a minute; raise \
                     fs.inotify.max_user_watches",
                ),
                _ if path.is_empty() => ("", ""),
                _ => (" ", ""),
            };
            (
                Level::Warn,
                format!("could not {}{of}{}{why}{then}", trouble.what, escape::bytes(path)),
            )
        }
        EventKind::Mended(what) => {
            let then = match *what {
                Trouble::WATCH => ": the guard rests as before",
                _ => "",
            };
            (Level::Info, format!("can {what} again{then}"))
        }
    }
}

/// Who was passed over for one rung, each with the reason.
fn passed(list: &Passed, scope: &[u8]) -> String {
    let mut line = format!("passed over for {} at {}", list.rung.label(), list.wall.label());
    // Writing to a String cannot fail.
    if !scope.is_empty() {
        let _ = write!(line, " {}", escape::bytes(scope));
    }
    if let Some(action) = list.action {
        let _ = write!(line, ", before action {}", action.0);
    }
    let mut last = list.first;
    for (nth, pod) in list.pods.iter().flatten().enumerate() {
        let before = if nth == 0 { ":" } else { "," };
        let who = known_as(pod.name.as_bytes());
        let _ = write!(line, "{before} {who} ({})", words::why_not(pod.why));
        last += 1;
    }
    if last < list.count || list.first > 0 {
        let _ = write!(line, "; {} to {last} of {}", list.first + 1, list.count);
    }
    line
}

/// What of the inputs was not believed, and what that means.
fn ignored(ignored: &Unbelieved, target: &str) -> String {
    let count = ignored.count;
    match ignored.what {
        Ignored::SameMoment => "ignored: a second look at the same moment".to_owned(),
        Ignored::ClockBack(back) => format!(
            "ignored: the growth from before now, because the clock went back by {}",
            fine(back)
        ),
        Ignored::NoMachine => {
            "ignored: a look at a machine that has no memory at all; is its proc file system mounted?"
                .to_owned()
        }
        Ignored::ImpossibleMachine(figure) => format!(
            "ignored: a look at a machine that has more of {figure} than it has in all; nothing of that look is decided upon or \
             shown"
        ),
        Ignored::Misplaced(_) => format!(
            "ignored: the parent of {target}, which does not stand before it ({count} such in all); it counts as standing at \
             the top"
        ),
        Ignored::CounterJumped(None) => format!(
            "ignored: a counter of the machine's that went back or stood up by more than time allows ({count} such in all); \
             it is counted from here on"
        ),
        Ignored::CounterJumped(Some(_)) => format!(
            "ignored: a counter of {target} that went back or stood up by more than time allows ({count} such in all); it is \
             counted from here on"
        ),
        Ignored::ProcessTooLarge(id) => format!(
            "ignored: process {}, because it holds more than the machine and its swap have ({count} such in all); it is not \
             acted upon",
            id.pid
        ),
        Ignored::TookTooLong(id) => format!(
            "ignored: how long action {} took, because it is not known for as long",
            id.0
        ),
        Ignored::PodsRepeated(_) => format!("ignored: {count} pods whose UID or cgroup was told already"),
        Ignored::Repeated(_) => format!(
            "ignored: {target}, whose number stands in one look more than once ({count} such in all); it has no history \
             and no wall"
        ),
        Ignored::TooLarge(_) if count > 1 => format!(
            "ignored: {target} and {} more, because each holds more than the machine and its swap have; none of them is \
             acted upon",
            count - 1
        ),
        Ignored::TooLarge(_) => {
            format!(
                "ignored: {target}, because it holds more than the machine and its swap have; it is not acted upon"
            )
        }
        Ignored::UnknownAction(id) => format!(
            "ignored: an outcome of action {}, which is not known, or not any more",
            id.0
        ),
        Ignored::PodsWithoutUid(_) => format!("ignored: {count} pods without a UID"),
        Ignored::KillUnplaced(_) => format!(
            "ignored: {count} kills by the kernel for the score of alarms: at which limit they were, or whether for want of \
             memory on the machine, cannot be known"
        ),
    }
}

/// Figures this young are those of the moment that a line begins with.
const YOUNG: Span = Span::secs(2);

/// How old the figures of a line are, where they are of more than one moment or not of just now.
fn aged(age: Age) -> String {
    match (age.left == age.rest, age.rest > YOUNG) {
        (true, false) => String::new(),
        (true, true) => format!("  {} ago", fine(age.rest)),
        (false, _) => format!("  left {} ago, the rest {} ago", fine(age.left), fine(age.rest)),
    }
}

/// How much older figures are than those before them in a sentence; nothing where they are not.
pub(super) fn before(older: Span) -> String {
    if older == Span(0) {
        String::new()
    } else {
        format!(" {} before", fine(older))
    }
}

/// One wall on one line.
pub(super) fn wall(row: &Row<'_>, age: Age, colour: bool) -> String {
    let reading = row.reading;
    let mut line = format!(
        "{:<19} {:>9} left  +{:<11} runway {:<14} stall {:>6}",
        reading.wall.label(),
        reading.distance.to_string(),
        reading.growth.to_string(),
        words::runway(reading.runway),
        words::permille(reading.stall_some_permille)
    );
    if !row.scope.is_empty() {
        line.push_str("  ");
        line.push_str(&escape::bytes(row.scope));
    }
    if let Some(culprit) = reading.culprit {
        let share = words::permille(culprit.share_permille);
        // Writing to a String cannot fail.
        let _ = write!(line, "  by {} ({share})", known_as(row.culprit));
    }
    line.push_str(&aged(age));
    if reading.alarmed && colour {
        format!("\x1b[31m{line}\x1b[0m")
    } else {
        line
    }
}

/// What a decision rests on.
pub(crate) fn because(evidence: &Evidence, scope: &[u8]) -> String {
    format!(
        "{}: {}; rule {}",
        place(&evidence.reading, scope),
        figures(&evidence.reading),
        evidence.rule
    )
}

/// One of the machine's own walls, and what is left of it.
pub(crate) fn say_wall(reading: &WallReading) -> String {
    format!("{}: {}", place(reading, b""), figures(reading))
}

fn place(reading: &WallReading, scope: &[u8]) -> String {
    if scope.is_empty() {
        reading.wall.label().to_owned()
    } else {
        format!("{} {}", reading.wall.label(), escape::bytes(scope))
    }
}

fn figures(reading: &WallReading) -> String {
    format!(
        "{} left, +{}, runway {}, stall {}",
        reading.distance,
        reading.growth,
        words::runway(reading.runway),
        words::permille(reading.stall_some_permille)
    )
}

/// What it is to come to: memory that comes back, or where a brake holds, which frees nothing.
fn intent(action: &Action) -> String {
    if action.rung == Rung::Brake {
        format!("held at {} for {} at the most", action.bytes, fine(action.grace))
    } else {
        format!("{} expected within {}", action.bytes, fine(action.deadline))
    }
}

/// Whom an action is aimed at. SysRq has no victim of ours.
fn aimed_at(rung: Rung, target: &[u8]) -> String {
    if rung == Rung::Sysrq {
        "on whom the kernel chooses".to_owned()
    } else {
        known_as(target)
    }
}

fn known_as(name: &[u8]) -> String {
    if name.is_empty() {
        "nobody in particular".to_owned()
    } else {
        escape::bytes(name)
    }
}

/// A time with milliseconds, where tenths of a second say too little.
pub(super) fn fine(span: Span) -> String {
    if span < Span::secs(1) {
        format!("{}ms", span.as_millis())
    } else {
        span.to_string()
    }
}

/// War story A's line: its six values and its three percentages, with two decimals each.
fn poll(node: &NodeSample) -> String {
    let values = PollBody::new(node);
    let total = Bytes(values.total_bytes);
    let mebibytes = |bytes: u64| words::mebibytes(Bytes(bytes));
    let percent = |bytes: u64| words::percent(Bytes(bytes), total);
    format!(
        "total {} MiB, available {} MiB, cache {} MiB, slab {} MiB, kubelet {} MiB, actual {} MiB; \
         actual {}%, kubelet {}%, cache {}%",
        mebibytes(values.total_bytes),
        mebibytes(values.available_bytes),
        mebibytes(values.cache_bytes),
        mebibytes(values.slab_bytes),
        mebibytes(values.kubelet_bytes),
        mebibytes(values.actual_bytes),
        percent(values.actual_bytes),
        percent(values.kubelet_bytes),
        percent(values.cache_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::shared::Name;
    use forestall_decide::{Mode, Moment};

    #[test]
    fn a_read_that_failed_names_its_file() {
        let said = |path: &[u8], errno| {
            let event = Event {
                at: Moment(0),
                mode: Mode::Shadow,
                kind: EventKind::Trouble(Trouble { what: "read", errno }),
                scope: Name::NONE,
                target: Name::new(path),
            };
            of(&event).1
        };
        assert_eq!(said(b"/proc/meminfo", 0), "could not read /proc/meminfo");
        assert_eq!(
            said(b"/sys/fs/cgroup/a\x1b/memory.stat", 13),
            "could not read /sys/fs/cgroup/a\\x1b/memory.stat: Permission denied (os error 13)"
        );
        assert_eq!(
            said(b"", 28),
            "could not read: No space left on device (os error 28)"
        );
    }

    #[test]
    fn a_cgroup_that_cannot_be_watched_is_told_with_what_that_means_and_that_it_is_again() {
        let mut event = Event {
            at: Moment(0),
            mode: Mode::Shadow,
            kind: EventKind::Trouble(Trouble {
                what: Trouble::WATCH,
                errno: 28,
            }),
            scope: Name::NONE,
            target: Name::new(b"/sys/fs/cgroup/a"),
        };
        assert_eq!(
            of(&event).1,
            "could not watch for new cgroups in /sys/fs/cgroup/a: No space left on device (os error 28); without pods the guard \
             does not rest until it can, which is tried once a minute; raise fs.inotify.max_user_watches"
        );
        event.kind = EventKind::Mended(Trouble::WATCH);
        let (level, said) = of(&event);
        assert_eq!(
            (level.label(), &*said),
            (
                "info",
                "can watch for new cgroups again: the guard rests as before"
            )
        );
    }
}
