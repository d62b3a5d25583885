//! What the agent says first: what it can do on this machine, and what each missing part costs.

use forestall_decide::{Lru, Rung};
use forestall_kernel::cgroup::Version;
use serde::Serialize;

use super::keep::advise;
use super::start::Started;
use crate::config::Settings;
use crate::config::choice::{Preset, word};
use crate::log::{Level, Logger, words};

/// The first line, for machines.
#[derive(Serialize)]
struct StartBody {
    version: &'static str,
    preset: String,
    listen: String,
    kernel: String,
    cgroup_version: Option<u8>,
    cgroups: usize,
    cgroups_left_out: usize,
    pressure: bool,
    lru: &'static str,
    total_bytes: u64,
    /// Those that are on and can be used.
    rungs: Vec<&'static str>,
    rights: Vec<RightBody>,
    degraded: Vec<DegradedBody>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct RightBody {
    name: &'static str,
    works: bool,
    errno: Option<i32>,
    cost: Option<&'static str>,
}

#[derive(Serialize)]
struct DegradedBody {
    rung: &'static str,
    why: String,
}

/// A rung that is asked for in vain.
pub(crate) fn say_degraded(rung: Rung, why: &str) -> String {
    format!("{} is on and cannot be used: {why}", rung.label())
}

/// Says it, on one line for machines and on a few for people.
pub(crate) fn say_banner(logger: &mut Logger, settings: &Settings, started: &Started, node: &str) {
    let found = &started.capabilities;
    let sample = started.sensor.last();
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let preset = word::<Preset>(settings.policy.preset);
    let cgroup_version = found.version.map(|version| match version {
        Version::V1 => 1,
        Version::V2 => 2,
    });
    let lru = match found.lru {
        Lru::Classic => "classic",
        Lru::MultiGen => "multi-gen",
    };
    let cgroup = cgroup_version.map_or_else(
        || "no cgroup memory accounting".to_owned(),
        |v| format!("cgroup v{v}"),
    );
    let headline = format!(
        "forestall {} on {node}: mode {}, preset {preset}, http {}; Linux {kernel}, {cgroup}, pressure {}, LRU {lru}, {} memory",
        env!("CARGO_PKG_VERSION"),
        words::mode(started.policy.mode),
        settings.listen,
        if found.node_pressure { "on" } else { "off" },
        sample.node.total,
    );
    let on = started.policy.rungs;
    let on: Vec<&str> = Rung::ALL
        .into_iter()
        .filter(|rung| on.has(*rung))
        .map(Rung::label)
        .collect();
    let said = if on.is_empty() {
        "none".to_owned()
    } else {
        on.join(", ")
    };
    let mut lines = vec![(Level::Info, headline), (Level::Info, format!("rungs: {said}"))];
    let rights = started.ground.rights();
    let working: Vec<&str> = rights
        .iter()
        .filter(|right| right.works)
        .map(|right| right.name)
        .collect();
    if !working.is_empty() {
        lines.push((Level::Info, format!("rights: {}", working.join(", "))));
    }
    for right in rights.iter().filter(|right| !right.works) {
        let errno = right
            .errno
            .map_or_else(String::new, |errno| format!(" ({})", std::io::Error::from(errno)));
        lines.push((
            Level::Info,
            format!("missing {}{errno}: {}", right.name, right.cost),
        ));
    }
    for (rung, why) in &started.degraded {
        lines.push((Level::Warn, format!("degraded: {}", say_degraded(*rung, why))));
    }
    let own = advise(&settings.root, found.cgroup_root.as_deref(), started.policy.mode);
    let notes: Vec<String> = found
        .notes
        .iter()
        .chain(&started.notes)
        .cloned()
        .chain(own)
        .collect();
    lines.extend(notes.iter().map(|note| (Level::Info, note.clone())));
    let body = StartBody {
        version: env!("CARGO_PKG_VERSION"),
        preset,
        listen: settings.listen.to_string(),
        kernel,
        cgroup_version,
        cgroups: started.sensor.roster().len(),
        cgroups_left_out: started.sensor.roster().left_out(),
        pressure: found.node_pressure,
        lru,
        total_bytes: sample.node.total.0,
        rungs: on,
        rights: rights
            .iter()
            .map(|right| RightBody {
                name: right.name,
                works: right.works,
                errno: right.errno.map(rustix::io::Errno::raw_os_error),
                cost: (!right.works).then_some(right.cost),
            })
            .collect(),
        degraded: started
            .degraded
            .iter()
            .map(|(rung, why)| DegradedBody {
                rung: rung.label(),
                why: why.clone(),
            })
            .collect(),
        notes,
    };
    logger.start(&lines, body);
}
