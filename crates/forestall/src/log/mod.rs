//! What the agent says on stdout: lines for people on a terminal, JSON lines into anything else.
//!
//! Everything is said by the talk thread; the guard only hands events over. Every name from outside is escaped here.
//! It says nothing twice a second that it said before: on a terminal one line a wall and second, in a pipe one line a
//! decision and one a minute.

pub(crate) mod escape;
mod json;
mod kill;
mod note;
mod sentence;
pub(crate) mod sink;
#[cfg(test)]
mod tests;
pub(crate) mod time;
pub(crate) mod words;

use std::fmt::Write;
use std::time::SystemTime;

use forestall_decide::{Mode, Moment, Span};
use serde::Serialize;

use self::json::{
    ActionBody, AlarmBody, Empty, EndBody, EvidenceBody, IgnoredBody, KillsBody, MendedBody, OutcomeBody,
    PassedBody, PollBody, Record, RefusalBody, StatusBody, TroubleBody, Wall,
};
pub(crate) use self::sentence::{because, say_wall};
use self::sink::Sink;
use crate::agent::shared::{AlarmStage, Board, Event, EventKind, Row, Snapshot};
use crate::notify::Notifications;

/// Walls in a status line.
const WALLS_TOLD: usize = 5;
/// Walls that are shown live.
const WALLS_LIVE: usize = 10;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warn,
    /// Something was killed or could not be done.
    Error,
}

impl Level {
    const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Info => "\x1b[36m",
            Self::Warn => "\x1b[33m",
            Self::Error => "\x1b[31m",
        }
    }
}

/// For whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Machines.
    Json,
    /// People; in colour where the terminal and `NO_COLOR` (no-color.org) allow it.
    Plain {
        /// With colours.
        colour: bool,
    },
}

/// The log.
#[derive(Debug)]
pub(crate) struct Logger {
    sink: Sink,
    style: Style,
    node: Option<String>,
    mode: Mode,
    notifications: Option<Notifications>,
}

impl Logger {
    /// Into `sink`, from the machine called `node`.
    pub(crate) fn new(sink: Sink, style: Style, node: Option<String>, mode: Mode) -> Self {
        Self {
            sink,
            style,
            node: node.map(|node| escape::text(&node)),
            mode,
            notifications: None,
        }
    }

    /// Tells others, too, from now on.
    pub(crate) fn tell_others(&mut self, notifications: Notifications) {
        self.notifications = Some(notifications);
    }

    /// Whom, once the settings are read again.
    pub(crate) fn notifications(&mut self) -> Option<&mut Notifications> {
        self.notifications.as_mut()
    }

    /// The mode that lines without an event of their own are said in.
    pub(crate) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// People watch.
    pub(crate) fn is_live(&self) -> bool {
        self.style != Style::Json
    }

    /// Nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.sink.is_empty()
    }

    /// Writes what the other side takes.
    pub(crate) fn flush(&mut self) {
        self.sink.flush();
        if let Some(dropped) = self.sink.take_dropped() {
            self.say(
                Level::Warn,
                "dropped",
                &format!("{dropped} lines were lost, because they could not be written"),
            );
            self.sink.flush();
        }
    }

    /// Says something of its own. `message` may quote names from outside.
    pub(crate) fn say(&mut self, level: Level, event: &'static str, message: &str) {
        self.put(
            SystemTime::now(),
            level,
            event,
            self.mode,
            &escape::message(message),
            Empty {},
        );
    }

    /// Says what the agent found at start: one line for machines, all of `lines` for people. The lines may quote names
    /// from outside.
    pub(crate) fn start<T: Serialize>(&mut self, lines: &[(Level, String)], body: T) {
        let now = SystemTime::now();
        let Some(((_, headline), rest)) = lines.split_first() else {
            return;
        };
        self.put(
            now,
            Level::Info,
            "start",
            self.mode,
            &escape::message(headline),
            body,
        );
        if self.is_live() {
            for (level, line) in rest {
                self.put(now, *level, "start", self.mode, &escape::message(line), Empty {});
            }
        }
    }

    /// Says an event of the guard.
    pub(crate) fn event(&mut self, event: &Event, now: Moment) {
        let at = SystemTime::now() - std::time::Duration::from_micros(now.since(event.at).0);
        let (scope, target) = (event.scope.as_bytes(), event.target.as_bytes());
        let (level, text) = sentence::of(event);
        let mode = event.mode;
        match &event.kind {
            EventKind::Alarm(alarm) | EventKind::Named(alarm) => {
                let is_raised = matches!(event.kind, EventKind::Alarm(_));
                let body = AlarmBody {
                    stage: if is_raised {
                        AlarmStage::of(alarm.verdict).label()
                    } else {
                        "named"
                    },
                    age_millis: alarm.age.as_millis(),
                    horizon_millis: alarm.horizon.as_millis(),
                    evidence: Wall::new(&alarm.reading, scope, target),
                };
                self.put(at, level, "alarm", mode, &text, body);
            }
            EventKind::Action(action) => {
                self.put(
                    at,
                    level,
                    "action",
                    mode,
                    &text,
                    ActionBody::new(action, scope, target),
                );
            }
            EventKind::Refusal(refusal) => {
                let body = RefusalBody::new(refusal, EvidenceBody::new(&refusal.evidence, scope, target));
                self.put(at, level, "refusal", mode, &text, body);
            }
            EventKind::PassedOver(passed) => {
                let body = PassedBody::new(passed, scope);
                self.put(at, level, "passed-over", mode, &text, body);
            }
            EventKind::Ignored(ignored) => {
                let body = IgnoredBody::new(ignored, target);
                self.put(at, level, "ignored", mode, &text, body);
            }
            EventKind::Outcome(outcome, note) => {
                self.put(
                    at,
                    level,
                    "outcome",
                    mode,
                    &text,
                    OutcomeBody::new(outcome, *note, scope, target),
                );
            }
            EventKind::KernelKills(processes) => {
                self.put(
                    at,
                    level,
                    "oom-kill",
                    mode,
                    &text,
                    KillsBody {
                        processes: *processes,
                    },
                );
            }
            EventKind::Poll(node) => self.put(at, level, "poll", mode, &text, PollBody::new(node)),
            EventKind::PolicyTaken => {
                self.mode = mode;
                self.put(at, level, "policy", mode, &text, Empty {});
            }
            EventKind::Trouble(trouble) => {
                let errno = (trouble.errno != 0).then_some(trouble.errno);
                self.put(
                    at,
                    level,
                    "trouble",
                    mode,
                    &text,
                    TroubleBody {
                        what: trouble.what.to_owned(),
                        path: json::name(target),
                        errno,
                    },
                );
            }
            EventKind::Mended(what) => {
                self.put(at, level, "mended", mode, &text, MendedBody { what });
            }
        }
    }

    /// One line a wall, for people: the machine's and the kubelet's, and of the others those that move, [`nearest`] first.
    /// Figures that are not of just now say how old they are.
    pub(crate) fn live(&mut self, seen: &Snapshot, now: Moment) {
        let Style::Plain { colour } = self.style else {
            return;
        };
        let clock = time::time_of_day(SystemTime::now());
        for row in nearest(seen, WALLS_LIVE, true) {
            let line = format!("{clock} {}", sentence::wall(&row, seen.age(&row, now), colour));
            self.sink.push(&line);
        }
    }

    /// The line a minute.
    pub(crate) fn status(&mut self, seen: &Snapshot, board: &Board) {
        let walls: Vec<Row<'_>> = nearest(seen, WALLS_TOLD, false);
        let mut message = format!(
            "{} of {} available, {} looks, longest gap {}",
            seen.node.available,
            seen.node.total,
            board.ticks_total(),
            sentence::fine(board.tick_gap_max())
        );
        if let Some(figure) = seen.impossible {
            // Writing to a String cannot fail.
            let _ = write!(
                message,
                "; that was before more of {figure} was told than there can be"
            );
        }
        // How much older the walls' figures are than the machine's.
        let mut walls_age = Span(0);
        if let Some(row) = walls.first() {
            let (wall, left) = (row.reading.wall.label(), row.reading.distance);
            let age = seen.age(row, seen.at.unwrap_or_default());
            walls_age = age.rest;
            // Writing to a String cannot fail.
            let _ = match row.reading.runway.p50 {
                Span::FOREVER => write!(
                    message,
                    "; nearest by what is left{}: {wall}, {left}",
                    sentence::before(age.left)
                ),
                runway => write!(
                    message,
                    "; nearest by runway{}: {wall}, {} ({left} left)",
                    sentence::before(age.rest),
                    sentence::fine(runway)
                ),
            };
        }
        let body = StatusBody {
            ticks: board.ticks_total(),
            tick_gap_max_millis: board.tick_gap_max().as_millis(),
            total_bytes: seen.node.total.0,
            available_bytes: seen.node.available.0,
            blind_bytes: seen.node.blind().0,
            oom_kills: seen.node.oom_kills,
            walls_age_millis: walls_age.as_millis(),
            walls_total: seen.rows().count() + seen.rows_left_out,
            walls: walls
                .iter()
                .map(|row| Wall::new(row.reading, row.scope, row.culprit))
                .collect(),
        };
        self.put(
            SystemTime::now(),
            Level::Info,
            "status",
            self.mode,
            &message,
            body,
        );
    }

    /// The last line.
    pub(crate) fn end(&mut self, board: &Board) {
        let tally = board.tally();
        let body = EndBody {
            ticks: board.ticks_total(),
            tick_gap_max_millis: board.tick_gap_max().as_millis(),
            actions: tally.actions,
            actions_not_tried: tally.actions_not_tried,
            alarms: tally.alarms,
        };
        let message = format!(
            "ended after {} looks, longest gap {}; {} alarms, {} actions, {} only decided",
            body.ticks,
            sentence::fine(board.tick_gap_max()),
            body.alarms,
            body.actions,
            body.actions_not_tried
        );
        self.put(SystemTime::now(), Level::Info, "end", self.mode, &message, body);
    }

    fn put<T: Serialize>(
        &mut self,
        at: SystemTime,
        level: Level,
        event: &'static str,
        mode: Mode,
        message: &str,
        body: T,
    ) {
        let record = Record {
            v: 1,
            ts: time::rfc3339(at),
            level: level.label(),
            event,
            mode: words::mode(mode),
            node: self.node.as_deref(),
            message,
            body,
        };
        // Only a map with keys that are no strings could fail, and there is none.
        let json = || serde_json::to_string(&record).unwrap_or_default();
        let others = self.notifications.as_ref().filter(|others| others.wants(event));
        let line = match self.style {
            Style::Json => json(),
            Style::Plain { colour } => {
                let clock = time::time_of_day(at);
                if colour && level != Level::Info {
                    format!("{clock} {}{message}\x1b[0m", level.colour())
                } else {
                    format!("{clock} {message}")
                }
            }
        };
        if let Some(others) = others {
            others.tell(if self.is_live() { json() } else { line.clone() });
        }
        self.sink.push(&line);
    }
}

/// The walls that will be reached first: by median runway, then by distance. `live` keeps the machine's own walls and of
/// the others only those that move.
fn nearest(seen: &Snapshot, count: usize, live: bool) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = seen
        .rows()
        .filter(|row| !live || row.is_machines() || row.is_lively())
        .collect();
    rows.sort_by_key(|row| {
        let first = if live { !row.is_machines() } else { false };
        let runway = if row.reading.runway.p50 == Span::FOREVER {
            u64::MAX
        } else {
            row.reading.runway.p50.0
        };
        (first, runway, row.reading.distance)
    });
    rows.truncate(count);
    rows
}
