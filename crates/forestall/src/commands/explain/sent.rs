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

/// The last one that was sent to whoever is asked for.
pub(super) fn find(directory: &Path, who: &Who) -> Option<Signal> {
    let mut found = None;
    // What cannot be read tells of nobody.
    let _ = read_signals(directory, |signal| {
        if who.is_of_signal(&signal) {
            found = Some(signal);
        }
    });
    found
}

/// For people.
pub(super) fn sentence(signal: &Signal) -> String {
    let place = signal.cgroup.as_ref().map(Place::of);
    let place = place.map_or_else(String::new, |place| format!(" in {}", place.words));
    format!(
        "PID {} ({}){place} was sent SIGKILL at {} by {}; the kernel did not kill it for memory",
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
    ])
}
