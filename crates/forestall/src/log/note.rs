//! What the act threads say of an outcome whose kind alone does not tell why: who is protected, what was marked, who moved.
//!
//! Names are the processes' own choice and are escaped here.

use std::fmt::Write;

use forestall_act::{Note, Price, ReclaimEnd};
use forestall_decide::Span;
use serde::Serialize;

use super::sentence::fine;
use super::{escape, words};

/// The fields of a note; all are `null` where there is nothing to add.
#[derive(Serialize)]
pub(super) struct NoteBody {
    note: Option<&'static str>,
    /// Why whoever is meant may not be touched.
    protection: Option<&'static str>,
    /// Which process it is about; 0 is one of another PID namespace.
    pid: Option<u32>,
    process_name: Option<String>,
    /// What the system said to TERM.
    term_errno: Option<i32>,
    /// What a reclaim took out of memory, and what of it came back.
    taken_bytes: Option<u64>,
    refaulted_bytes: Option<u64>,
    /// How long its cgroup is left alone.
    rest_millis: Option<u64>,
}

impl NoteBody {
    pub(super) fn new(note: Note) -> Self {
        let mut body = Self {
            note: label(note),
            protection: None,
            pid: None,
            process_name: None,
            term_errno: None,
            taken_bytes: None,
            refaulted_bytes: None,
            rest_millis: None,
        };
        match note {
            Note::Protected {
                pid,
                name,
                protection,
            } => {
                body.pid = Some(pid);
                body.process_name = super::json::name(name.as_bytes());
                body.protection = Some(words::protection(protection));
            }
            Note::ProtectedGroup { protection } => body.protection = Some(words::protection(protection)),
            Note::Moved { pid } | Note::OutOfSight { pid } | Note::Hidden { pid } => body.pid = Some(pid),
            Note::TermRefused(errno) => body.term_errno = Some(errno),
            Note::Reclaimed(price) => {
                body.taken_bytes = Some(price.taken.0);
                body.refaulted_bytes = Some(price.came_back.0);
                body.rest_millis = (price.rest > Span(0)).then(|| price.rest.as_millis());
            }
            Note::None
            | Note::NotAContainer
            | Note::Misplaced
            | Note::ForeignProc
            | Note::ReclaimEnded(_) => {}
        }
        body
    }
}

/// One word for each.
const fn label(note: Note) -> Option<&'static str> {
    Some(match note {
        Note::None => return None,
        Note::Protected { .. } => "protected-process",
        Note::ProtectedGroup { .. } => "protected-cgroup",
        Note::Moved { .. } => "moved",
        Note::OutOfSight { .. } => "out-of-sight",
        Note::Hidden { .. } => "hidden",
        Note::NotAContainer => "not-a-container",
        Note::Misplaced => "misplaced",
        Note::ForeignProc => "foreign-proc",
        Note::TermRefused(_) => "term-refused",
        Note::ReclaimEnded(end) => ended(end),
        Note::Reclaimed(price) => {
            return match price.ended {
                Some(end) => Some(ended(end)),
                None => None,
            };
        }
    })
}

const fn ended(end: ReclaimEnd) -> &'static str {
    match end {
        ReclaimEnd::Stopped => "reclaim-stopped",
        ReclaimEnd::Stall => "reclaim-stalls",
        ReclaimEnd::Refaults => "reclaim-refaults",
        ReclaimEnd::Exhausted => "reclaim-exhausted",
        ReclaimEnd::Deadline => "reclaim-deadline",
        ReclaimEnd::WouldSwap => "reclaim-would-swap",
        ReclaimEnd::Unsupported => "reclaim-unsupported",
    }
}

/// The same as a part of a sentence; empty where there is nothing to add.
pub(super) fn sentence(note: Note) -> String {
    let said = match note {
        Note::None => return String::new(),
        Note::Protected { pid: 0, .. } => {
            "a process of another PID namespace is in it, and nobody can say who that is".to_owned()
        }
        Note::Protected {
            pid,
            name,
            protection,
        } => {
            let name = escape::bytes(name.as_bytes());
            let why = words::protection(protection);
            format!("process {pid} ({name}) may not be touched ({why})")
        }
        Note::ProtectedGroup { protection } => {
            let why = words::protection(protection);
            format!("its cgroup or one above it is marked ({why})")
        }
        Note::Moved { pid } => format!("process {pid} lives in another cgroup by now"),
        Note::OutOfSight { pid } => format!(
            "process {pid} lives outside of this process's cgroup namespace, and nobody can say whose it is (--cgroupns=host)"
        ),
        Note::Hidden { pid } => format!("proc hides process {pid} (hidepid), and nobody can say who it is"),
        Note::NotAContainer => "it is no container, and nothing else is ended as a whole".to_owned(),
        Note::Misplaced => "that cannot be done to a target of this kind".to_owned(),
        Note::ForeignProc => {
            "proc belongs to another PID namespace than this process, so that nobody can be named (hostPID is needed)"
                .to_owned()
        }
        Note::TermRefused(errno) => format!(
            "TERM was refused ({}), so KILL follows at once",
            std::io::Error::from_raw_os_error(errno)
        ),
        Note::ReclaimEnded(end) => say_end(end).to_owned(),
        Note::Reclaimed(Price {
            ended,
            taken,
            came_back,
            rest,
        }) => {
            let mut why = ended.map_or_else(String::new, |end| format!("{}, ", say_end(end)));
            if rest > Span(0) {
                // Writing to a String cannot fail.
                let _ = write!(why, "so it is left alone for {}, ", fine(rest));
            }
            format!("{why}{taken} of cache taken, {came_back} read again")
        }
    };
    format!(", {said}")
}

const fn say_end(end: ReclaimEnd) -> &'static str {
    match end {
        ReclaimEnd::Stopped => "it was told to stop, or a kill was ordered",
        ReclaimEnd::Stall => "its tasks waited for memory too much of the time",
        ReclaimEnd::Refaults => "more than half of what was freed was read again",
        ReclaimEnd::Exhausted => "nothing more could be reclaimed",
        ReclaimEnd::Deadline => "its time was over",
        ReclaimEnd::WouldSwap => "this kernel cannot reclaim here without swapping",
        ReclaimEnd::Unsupported => "there is no way to reclaim here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forestall_act::ProcessName;
    use forestall_decide::{Bytes, Protection};

    fn json(note: Note) -> serde_json::Value {
        serde_json::to_value(NoteBody::new(note)).expect("a map")
    }

    #[test]
    fn who_is_protected_is_named_and_cannot_forge_a_line() {
        let note = Note::Protected {
            pid: 812,
            name: ProcessName::new(b"x\x1b[2J\n\xff"),
            protection: Protection::OomScoreAdj,
        };
        let body = json(note);
        assert_eq!(
            (&body["note"], &body["pid"]),
            (&"protected-process".into(), &812.into())
        );
        assert_eq!(body["process_name"], "x\\x1b[2J\\x0a\\xff");
        assert_eq!(body["protection"], "oom-score-adj");
        let said = sentence(note);
        assert!(said.contains("812 (x\\x1b[2J\\x0a\\xff)"), "{said}");
    }

    #[test]
    fn a_mark_and_a_move_are_told() {
        let marked = Note::ProtectedGroup {
            protection: Protection::OptedOut,
        };
        let body = json(marked);
        assert_eq!(
            (&body["note"], &body["protection"], &body["pid"]),
            (
                &"protected-cgroup".into(),
                &"opted-out".into(),
                &serde_json::Value::Null
            )
        );
        assert!(sentence(marked).contains("opted-out"));
        let moved = Note::Moved { pid: 7 };
        assert_eq!(
            (&json(moved)["note"], &json(moved)["pid"]),
            (&"moved".into(), &7.into())
        );
        assert!(sentence(moved).contains("process 7"));
    }

    #[test]
    fn a_reclaim_says_what_it_cost() {
        let note = Note::Reclaimed(Price {
            ended: Some(ReclaimEnd::Stall),
            taken: Bytes::mebi(8),
            came_back: Bytes::mebi(2),
            rest: Span(0),
        });
        let body = json(note);
        assert_eq!(
            (&body["note"], &body["taken_bytes"], &body["refaulted_bytes"]),
            (&"reclaim-stalls".into(), &8_388_608.into(), &2_097_152.into())
        );
        let said = sentence(note);
        assert!(
            said.ends_with("8.0MiB of cache taken, 2.0MiB read again"),
            "{said}"
        );
        let rests = Note::Reclaimed(Price {
            ended: Some(ReclaimEnd::Refaults),
            rest: Span::secs(12),
            ..Price::default()
        });
        assert_eq!(json(rests)["rest_millis"], 12_000);
        let said = sentence(rests);
        assert!(said.contains("read again, so it is left alone for 12"), "{said}");
        let body = json(Note::Reclaimed(Price::default()));
        assert_eq!(body["note"], serde_json::Value::Null);
    }

    #[test]
    fn nothing_to_add_is_null_and_no_words() {
        assert_eq!(json(Note::None)["note"], serde_json::Value::Null);
        assert_eq!(sentence(Note::None), "");
    }
}
