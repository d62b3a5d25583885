//! A SIGKILL that was not for memory, where a ledger's agent has the kernel's tracing tell of them: who sent it to whom, and when.

use std::path::Path;

use serde_json::{Map, Value};

use super::seeker::Who;
use crate::commands::foretold::object;
use crate::forensics::place::Place;
use crate::forensics::time;
use crate::forensics::value;
use crate::ledger::{Signal, read_signals};
use crate::log::escape;

/// A signal, and what it has to do with whoever is asked for.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) signal: Signal,
    /// It is the process itself that is asked for, by its number, and no container.
    is_by_pid: bool,
}

impl Sent {
    /// Whether it ended whoever is asked for: a process ends by its own SIGKILL, a container by that of its first process.
    pub(super) fn is_of_end(&self) -> Option<bool> {
        if self.is_by_pid {
            Some(true)
        } else {
            self.signal.is_of_first
        }
    }
}

/// The last one that was sent to whoever is asked for; rather one that ended it than one that may have, and that than one that did not.
/// A process's number is one of `boot`'s.
pub(super) fn find(directory: &Path, who: &Who, boot: Option<&[u8]>) -> Option<Sent> {
    let mut found: Option<Sent> = None;
    let rank = |sent: &Sent| match sent.is_of_end() {
        Some(true) => 2,
        None => 1,
        Some(false) => 0,
    };
    // What cannot be read tells of nobody.
    let _ = read_signals(directory, |signal| {
        if who.is_of_signal(&signal, boot) {
            let is_by_pid = who.is_pid_of(&signal, boot);
            let sent = Sent { signal, is_by_pid };
            found = found
                .take()
                .filter(|found| rank(found) > rank(&sent))
                .or(Some(sent));
        }
    });
    found
}

/// For people.
pub(super) fn sentence(signal: &Signal) -> String {
    let place = signal.cgroup.as_ref().map(Place::of);
    let place = place.map_or_else(String::new, |place| format!(" in {}", place.words));
    let more = match signal.more {
        0 => String::new(),
        more => format!("; {more} more of that name were sent it by that name before"),
    };
    format!(
        "PID {} ({}){place} was sent SIGKILL at {} by {}; the kernel did not kill it for memory{more}",
        signal.pid,
        escape::bytes(&signal.comm),
        time::date(signal.unix_micros()),
        signal.sender.words(),
    )
}

/// For programs.
pub(super) fn to_value(signal: &Signal) -> Map<String, Value> {
    object([
        ("pid", signal.pid.into()),
        ("comm", escape::bytes(&signal.comm).into()),
        ("unix_micros", signal.unix_micros().into()),
        ("cgroup", signal.cgroup.as_ref().map(value::cgroup).into()),
        ("sender", value::sender(&signal.sender).into()),
        ("sender_is_inside", signal.is_inside.into()),
        ("is_of_first", signal.is_of_first.into()),
        ("more_before", signal.more.into()),
    ])
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::CgroupPath;
    use tempfile::TempDir;

    use super::*;
    use crate::commands::explain::end::EndArgs;
    use crate::ledger::{Sender, Signals};

    const CONTAINER: &str = "b27201334a41cd0749d053b18378d7ea65617b8e26277197ea25c974da1a5a8a";

    fn signal(pid: u32, is_of_first: Option<bool>) -> Signal {
        Signal {
            boot: (*b"boot").into(),
            pid,
            comm: (*b"java").into(),
            cgroup: Some(CgroupPath {
                path: format!("/kubepods/pod1/{CONTAINER}").into_bytes().into(),
                is_cut: false,
            }),
            is_inside: Some(false),
            is_of_first,
            sender: Sender {
                comm: (*b"bash").into(),
                is_on_node: Some(false),
                ..Sender::default()
            },
            ..Signal::default()
        }
    }

    /// Who is said to have been sent it, and how the end is called.
    fn told(signals: &[Signal], who: &str) -> (u32, String) {
        let folder = TempDir::new().expect("a directory");
        let mut kept = Signals::open(folder.path()).expect("made");
        kept.append(signals).expect("room");
        let sent = find(folder.path(), &Who::new(who), Some(b"boot")).expect("one of them");
        let ending = EndArgs::default().ending(None, Some(&sent), false);
        let called = format!("{} {}", ending.class.label(), ending.confidence.label());
        (sent.signal.pid, called)
    }

    #[test]
    fn a_container_ends_by_the_signal_to_its_first_process_alone() {
        let (first, child, unread) = (
            signal(1000, Some(true)),
            signal(1001, Some(false)),
            signal(1002, None),
        );
        let ending = |pid, called: &str| (pid, called.to_owned());
        assert_eq!(
            told(std::slice::from_ref(&child), CONTAINER),
            ending(1001, "unknown low")
        );
        assert_eq!(
            told(&[child.clone(), unread.clone()], CONTAINER),
            ending(1002, "manual-kill low")
        );
        assert_eq!(
            told(&[first, unread, child.clone()], CONTAINER),
            ending(1000, "manual-kill high")
        );
        // A process of another boot had this number.
        let other = Signal {
            boot: (*b"other").into(),
            ..signal(1001, Some(true))
        };
        let folder = TempDir::new().expect("a directory");
        let mut kept = Signals::open(folder.path()).expect("made");
        kept.append(&[other]).expect("room");
        assert!(find(folder.path(), &Who::new("1001"), Some(b"boot")).is_none());
        // The process itself ends by it.
        assert_eq!(told(&[child], "1001"), ending(1001, "manual-kill high"));
    }
}
