//! What grew in the minutes before a kill, by the agent's flight recorder: in the victim's cgroup, and beside it where the limit was not its
//! own; and what the agent itself did meanwhile.
//!
//! It says what the recording shows and where that ends: a leak that fills its limit between two looks shows as nothing at all. Cgroups are
//! told by their paths, a pod by its UID within them; no name is compared.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use forestall_decide::{Bytes, GroupSample, Input, OutcomeKind, Rung, Span};
use forestall_kernel::oom::{CgroupPath, Report};
use forestall_trace::{Item, Reader};
use serde_json::{Map, Value};

use crate::commands::foretold::object;
use crate::commands::free::shown::human;
use crate::commands::trace::source::Source;
use crate::forensics::place::Place;
use crate::forensics::share::is_machines;
use crate::log::words::outcome;

/// So long before a kill is looked at.
const WINDOW_MICROS: u64 = 600_000_000;

/// So many who grew beside the victim are told, and none that grew by less.
const OTHERS_MAX: usize = 3;
const GROWTH_MIN: Bytes = Bytes::mebi(1);

/// The kinds of memory that are told.
const KINDS: [&str; 4] = ["current", "anon", "shmem", "file"];

/// A look at a cgroup: when, microseconds since 1970, and what it held of each kind, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    at: u64,
    held: [u64; KINDS.len()],
}

impl Look {
    fn of(at: u64, group: &GroupSample) -> Self {
        let file = group.active_file + group.inactive_file;
        Self {
            at,
            held: [group.current, group.anon, group.shmem, file].map(|bytes| bytes.0),
        }
    }

    fn current(&self) -> u64 {
        self.held[0]
    }
}

/// From the first look within the window to the last one before the kill.
#[derive(Clone, Copy, Debug)]
struct Course {
    from: Look,
    to: Look,
}

impl Course {
    fn grown(&self) -> u64 {
        self.to.current().saturating_sub(self.from.current())
    }
}

/// Something that the agent did.
#[derive(Clone, Copy, Debug)]
struct Deed {
    at: u64,
    rung: Rung,
    kind: OutcomeKind,
    freed: Bytes,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    /// When the kill was, microseconds since 1970.
    killed: u64,
    /// The victim's own cgroup, or the nearest above it that was followed.
    own: Option<(String, Course)>,
    others: Vec<(String, Course)>,
    deeds: Vec<Deed>,
}

impl Growth {
    /// Of a kill at this moment, by the recordings in a directory; `None` where there are none of that time.
    pub(super) fn of(report: &Report, killed_unix_micros: u64, directory: &Path) -> Option<Self> {
        let source = Source::load(directory).ok()?;
        let mut reader = source.reader().ok()?;
        Self::read(report, killed_unix_micros, &mut reader)
    }

    fn read(report: &Report, killed: u64, reader: &mut Reader<'_>) -> Option<Self> {
        let mut courses: BTreeMap<Box<[u8]>, Course> = BTreeMap::new();
        let mut deeds = Vec::new();
        while reader.advance() {
            let Some(Item::Input(at, input)) = reader.item() else {
                continue;
            };
            let at = reader.unix_micros(at);
            if at > killed || killed - at > WINDOW_MICROS {
                continue;
            }
            match input {
                Input::Sample(sample) => {
                    for group in &sample.groups {
                        let Some(name) = reader.names().group(group.id) else {
                            continue;
                        };
                        let name = trimmed(name);
                        let look = Look::of(at, group);
                        if let Some(course) = courses.get_mut(name) {
                            course.to = look;
                        } else {
                            courses.insert(name.into(), Course { from: look, to: look });
                        }
                    }
                }
                Input::Outcome(outcome) if outcome.kind != OutcomeKind::Progress => deeds.push(Deed {
                    at,
                    rung: outcome.rung,
                    kind: outcome.kind,
                    freed: outcome.freed,
                }),
                _ => {}
            }
        }
        if courses.is_empty() && deeds.is_empty() {
            return None;
        }
        let own = find_own(report, &courses);
        let others = find_others(report, own.as_ref().map(|(path, _)| &**path), &courses);
        let named = |(path, course): (Box<[u8]>, Course)| (words(&path), course);
        Some(Self {
            killed,
            own: own.map(named),
            others: others.into_iter().map(named).collect(),
            deeds,
        })
    }

    /// As lines, each with its label.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let own = self.own.iter().map(|own| ("grew", own));
        let others = self.others.iter().map(|other| ("beside it", other));
        own.chain(others)
            .map(|(label, (name, course))| (label, self.told(name, course)))
            .collect()
    }

    /// What the agent did: how long before the kill, microseconds, and what.
    pub(super) fn deeds(&self) -> Vec<(u64, String)> {
        let mut deeds = Vec::new();
        for deed in &self.deeds {
            let (rung, what, freed) = (deed.rung.label(), outcome(deed.kind), human(deed.freed.0));
            deeds.push((self.killed - deed.at, format!("{rung} {what}, {freed} freed")));
        }
        deeds
    }

    fn told(&self, name: &str, course: &Course) -> String {
        let Course { from, to } = course;
        let changed = KINDS.iter().zip(from.held).zip(to.held).skip(1);
        let changed: Vec<String> = changed
            .filter(|((_, before), now)| before != now)
            .map(|((kind, before), now)| {
                let sign = if now > before { '+' } else { '-' };
                format!("{kind} {sign}{}", human(now.abs_diff(before)))
            })
            .collect();
        let kinds = if changed.is_empty() {
            String::new()
        } else {
            format!(" ({})", changed.join(", "))
        };
        format!(
            "{name}: {} to {} in {}{kinds}; last seen {} before the kill",
            human(from.current()),
            human(to.current()),
            Span(to.at - from.at),
            Span(self.killed - to.at)
        )
    }

    /// For programs.
    pub(super) fn value(&self) -> Map<String, Value> {
        let look = |look: &Look| -> Value {
            let held = KINDS.iter().zip(look.held);
            let held = held.map(|(kind, bytes)| (format!("{kind}_bytes"), Value::from(bytes)));
            let at = ("unix_micros".to_owned(), look.at.into());
            Value::Object(held.chain([at]).collect())
        };
        let course = |(name, course): &(String, Course)| -> Value {
            let fields = object([
                ("cgroup", name.as_str().into()),
                ("from", look(&course.from)),
                ("to", look(&course.to)),
            ]);
            fields.into()
        };
        let deed = |deed: &Deed| -> Value {
            let fields = object([
                ("unix_micros", deed.at.into()),
                ("rung", deed.rung.label().into()),
                ("outcome", outcome(deed.kind).into()),
                ("freed_bytes", deed.freed.0.into()),
            ]);
            fields.into()
        };
        object([
            ("killed_unix_micros", self.killed.into()),
            ("own", self.own.as_ref().map(course).into()),
            ("others", self.others.iter().map(course).collect()),
            ("actions", self.deeds.iter().map(deed).collect()),
        ])
    }
}

/// The victim's cgroup, or the nearest above it that was followed.
fn find_own(report: &Report, courses: &BTreeMap<Box<[u8]>, Course>) -> Option<(Box<[u8]>, Course)> {
    let victim = report.victims.first().and_then(|victim| victim.memcg.as_ref());
    let home = victim.or(report.group.as_ref()).or(report.task_memcg.as_ref())?;
    let mut path = trimmed(&home.path);
    loop {
        if let Some(course) = courses.get(path) {
            return Some((path.into(), *course));
        }
        let end = path.iter().rposition(|byte| *byte == b'/')?;
        path = path.get(..end)?;
    }
}

/// Who grew most beside it below the same limit; below a limit that is the victim's own there is nobody.
fn find_others(
    report: &Report,
    own: Option<&[u8]>,
    courses: &BTreeMap<Box<[u8]>, Course>,
) -> Vec<(Box<[u8]>, Course)> {
    let limit = report
        .limit
        .as_ref()
        .map_or(&b""[..], |limit| trimmed(&limit.path));
    if !is_machines(report.level) && (limit.is_empty() || Some(limit) == own) {
        return Vec::new();
    }
    let is_leaf = |path: &[u8]| !courses.keys().any(|other| is_below(other, path));
    let is_beside =
        |path: &[u8]| own.is_none_or(|own| own != path && !is_below(own, path) && !is_below(path, own));
    let mut others: Vec<(Box<[u8]>, Course)> = courses
        .iter()
        .filter(|(path, course)| {
            let is_within = limit.is_empty() || is_below(path, limit);
            course.grown() >= GROWTH_MIN.0 && is_within && is_beside(path) && is_leaf(path)
        })
        .map(|(path, course)| (path.clone(), *course))
        .collect();
    others.sort_by_key(|(_, course)| Reverse(course.grown()));
    others.truncate(OTHERS_MAX);
    others
}

fn is_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.starts_with(b"/"))
}

/// Older recordings have paths without the slash that the kernel begins them with.
fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

fn words(path: &[u8]) -> String {
    let path = CgroupPath {
        path: [b"/", path].concat().into(),
        is_cut: false,
    };
    Place::of(&path).words
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::{Level, Victim};

    use super::*;

    fn path(path: &str) -> CgroupPath {
        CgroupPath {
            path: path.as_bytes().into(),
            is_cut: false,
        }
    }

    fn report(level: Level, limit: Option<&str>, home: &str) -> Report {
        Report {
            level,
            limit: limit.map(path),
            victims: vec![Victim {
                memcg: Some(path(home)),
                ..Victim::default()
            }],
            ..Report::default()
        }
    }

    fn courses(grown: &[(&str, u64)]) -> BTreeMap<Box<[u8]>, Course> {
        let course = |mebi: u64| Course {
            from: Look::default(),
            to: Look {
                at: 5_000_000,
                held: [mebi << 20, mebi << 20, 0, 0],
            },
        };
        grown
            .iter()
            .map(|(name, mebi)| (name.as_bytes().into(), course(*mebi)))
            .collect()
    }

    #[test]
    fn beside_the_victim_only_those_below_the_same_limit_are_told_the_largest_growth_first() {
        let seen = courses(&[
            ("kubepods", 90),
            ("kubepods/a", 40),
            ("kubepods/a/web", 30),
            ("kubepods/a/log", 10),
            ("kubepods/b/db", 50),
            ("system.slice/x.service", 70),
        ]);
        let told = |level, limit, home| {
            let report = report(level, limit, home);
            let own = find_own(&report, &seen).map(|(path, _)| path);
            let others = find_others(&report, own.as_deref(), &seen);
            let text = |path: Box<[u8]>| String::from_utf8(path.into()).expect("text");
            let names: Vec<String> = others.into_iter().map(|(path, _)| text(path)).collect();
            (own.map(text).unwrap_or_default(), names.join(" "))
        };
        let web = "/kubepods/a/web";
        let own = |others: &str| ("kubepods/a/web".to_owned(), others.to_owned());
        assert_eq!(told(Level::Container, Some(web), web), own(""));
        assert_eq!(told(Level::Pod, Some("/kubepods/a"), web), own("kubepods/a/log"));
        assert_eq!(
            told(Level::Kubepods, Some("/kubepods"), web),
            own("kubepods/b/db kubepods/a/log")
        );
        let all = "system.slice/x.service kubepods/b/db kubepods/a/log";
        assert_eq!(told(Level::Node, None, web), own(all));
        // What nobody followed is told by the one above it.
        assert_eq!(
            told(Level::Container, Some(web), "/kubepods/a/web/inner"),
            own("")
        );
    }

    #[test]
    fn what_grew_is_told_out_of_a_recording_of_that_time_and_out_of_no_other() {
        let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/leak-own-limit-v1.ftr");
        let source = Source::load(Path::new(trace)).expect("it is kept there");
        let (mut last, mut largest) = (0, (0, String::new()));
        let mut reader = source.reader().expect("a trace");
        while reader.advance() {
            if let Some(Item::Input(at, Input::Sample(sample))) = reader.item() {
                last = reader.unix_micros(at);
                for group in sample.groups.iter().filter(|group| group.leaf) {
                    let name = reader.names().group(group.id).expect("a name");
                    let name = String::from_utf8(name.to_vec()).expect("text");
                    largest = largest.max((group.current.0, name));
                }
            }
        }
        // As the kernel prints it.
        let home = format!("/{}", largest.1.trim_start_matches('/'));
        let report = report(Level::Container, Some(&home), &home);
        let read = |at| Growth::read(&report, at, &mut source.reader().expect("a trace"));
        let growth = read(last).expect("it was recorded");
        let (_, course) = growth.own.as_ref().expect("it was followed");
        assert!(
            course.grown() > 0 && course.from.at < course.to.at && course.to.at <= last,
            "{course:?}"
        );
        let [("grew", said), ..] = &growth.lines()[..] else {
            panic!("{:?}", growth.lines())
        };
        assert!(
            said.contains(" to ") && said.ends_with("before the kill"),
            "{said}"
        );
        assert!(read(last + 2 * WINDOW_MICROS).is_none() && read(1).is_none());
    }
}
