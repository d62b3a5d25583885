//! What the act threads say of an outcome whose kind alone does not tell why: who is protected, what was marked, who moved.
//!
//! Names are the processes' own choice and are escaped here.

use std::fmt::Write;

use forestall_act::{BrakeEnd, Braked, NoBrake, Note, Price, ReclaimEnd};
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
    /// Where a brake holds its container, and for how long at the most.
    high_bytes: Option<u64>,
    lasts_millis: Option<u64>,
    /// How long it was held, what it grew by all the same, about how much more it would have grown by, and how long its tasks waited.
    lasted_millis: Option<u64>,
    grew_bytes: Option<u64>,
    held_back_bytes: Option<u64>,
    stalled_millis: Option<u64>,
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
            high_bytes: None,
            lasts_millis: None,
            lasted_millis: None,
            grew_bytes: None,
            held_back_bytes: None,
            stalled_millis: None,
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
            Note::Braking { high, lasts } => {
                body.high_bytes = Some(high.0);
                body.lasts_millis = Some(lasts.as_millis());
            }
            Note::Braked(braked) => {
                body.lasted_millis = Some(braked.lasted.as_millis());
                body.grew_bytes = Some(braked.grew.0);
                body.held_back_bytes = Some(braked.held_back.0);
                body.stalled_millis = braked.stalled.map(Span::as_millis);
            }
            Note::None
            | Note::NotAContainer
            | Note::Misplaced
            | Note::ForeignProc
            | Note::ReclaimEnded(_)
            | Note::NotBraked(_)
            | Note::NotLifted => {}
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
        Note::Braking { .. } => "brake-on",
        Note::NotBraked(why) => no_brake(why).0,
        Note::Braked(braked) => match braked.ended {
            Some(end) => brake_end(end).0,
            None => "brake-lifted",
        },
        Note::NotLifted => "brake-not-lifted",
    })
}

/// Its word, and its sentence.
const fn no_brake(why: NoBrake) -> (&'static str, &'static str) {
    match why {
        NoBrake::WouldSwap => (
            "brake-would-swap",
            "swap is on and it may use it, so that a brake would only fill that",
        ),
        NoBrake::Guaranteed => (
            "brake-guaranteed",
            "all that it holds is guaranteed to it (memory.min, memory.low)",
        ),
        NoBrake::LowAlready => ("brake-low-already", "its memory.high is as low as that already"),
        NoBrake::TooLate => (
            "brake-too-late",
            "writing it down took longer than a second, and by then it is not waited for: is the disk of /var/lib/forestall slow?",
        ),
        NoBrake::NotKept => (
            "brake-not-kept",
            "memory.high did not keep what was written, and has again what it had before",
        ),
    }
}

/// The same of a brake that was let go before its time.
const fn brake_end(end: BrakeEnd) -> (&'static str, &'static str) {
    match end {
        BrakeEnd::Stopped => ("brake-stopped", "let go early, because acting was called off, "),
        BrakeEnd::Harsher => (
            "brake-harsher",
            "let go early, because something harsher was ordered, ",
        ),
        BrakeEnd::Marked => (
            "brake-marked",
            "let go early, because it was marked not to be touched, ",
        ),
        BrakeEnd::Changed => (
            "brake-changed",
            "somebody else has set its memory.high meanwhile, and that stays, ",
        ),
    }
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
        Note::Braking { high, lasts } => format!("memory.high is {high} for {} at the most", fine(lasts)),
        Note::NotBraked(why) => no_brake(why).1.to_owned(),
        Note::Braked(Braked {
            ended,
            lasted,
            grew,
            held_back,
            stalled,
        }) => {
            let why = ended.map_or("", |end| brake_end(end).1);
            let mut said = format!(
                "{why}held for {}, grew {grew}, about {held_back} less than at its pace before",
                fine(lasted)
            );
            if let Some(stalled) = stalled {
                let _ = write!(said, ", its tasks waited for memory {} of it", fine(stalled));
            }
            said
        }
        Note::NotLifted => {
            "memory.high cannot be put back; that is tried again until the agent ends, and at its next start".to_owned()
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
    fn a_brake_says_where_it_holds_and_what_it_came_to() {
        let on = Note::Braking {
            high: Bytes::mebi(104),
            lasts: Span::secs(20),
        };
        assert_eq!(
            (
                &json(on)["note"],
                &json(on)["high_bytes"],
                &json(on)["lasts_millis"]
            ),
            (&"brake-on".into(), &109_051_904.into(), &20_000.into())
        );
        assert_eq!(sentence(on), ", memory.high is 104.0MiB for 20s at the most");
        let mut braked = Braked {
            ended: None,
            lasted: Span::secs(20),
            grew: Bytes::mebi(3),
            held_back: Bytes::mebi(97),
            stalled: Some(Span::millis(1500)),
        };
        let body = json(Note::Braked(braked));
        assert_eq!(
            [
                &body["note"],
                &body["lasted_millis"],
                &body["grew_bytes"],
                &body["held_back_bytes"],
                &body["stalled_millis"]
            ],
            [
                &serde_json::Value::from("brake-lifted"),
                &20_000.into(),
                &3_145_728.into(),
                &101_711_872.into(),
                &1500.into()
            ]
        );
        assert_eq!(
            sentence(Note::Braked(braked)),
            ", held for 20s, grew 3.0MiB, about 97.0MiB less than at its pace before, its tasks waited for memory 1.5s of it"
        );
        (braked.ended, braked.stalled) = (Some(BrakeEnd::Marked), None);
        let said = sentence(Note::Braked(braked));
        assert!(said.contains("marked") && said.ends_with("pace before"), "{said}");
        let not = Note::NotBraked(NoBrake::WouldSwap);
        assert_eq!(json(not)["note"], "brake-would-swap");
        assert!(sentence(not).contains("swap is on"));
    }

    #[test]
    fn nothing_to_add_is_null_and_no_words() {
        assert_eq!(json(Note::None)["note"], serde_json::Value::Null);
        assert_eq!(sentence(Note::None), "");
    }
}
