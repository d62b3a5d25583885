//! Where the memory of a process is counted: its cgroup as a directory that can be read from here.
//!
//! A process knows its cgroup only by a path inside a hierarchy, and sees only what is mounted. Both may be cut: a
//! container's mount may begin at its own cgroup, and with a cgroup namespace the path may be `/` or lead out of it
//! (`/../..`, `cgroup_namespaces(7)`). What cannot be found is said; nothing is guessed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use forestall_kernel::parse::{Mount, memberships, memory_path, mounts, unescape};

use super::shown;
use crate::input;

/// Most directories looked into when a cgroup has to be searched for.
const SEARCHED_MAX: usize = 20_000;

/// The two generations of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

impl Version {
    /// `v1` or `v2`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A cgroup and the part of its hierarchy that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Generation of the hierarchy that counts memory.
    pub(crate) version: Version,
    /// The highest directory that is visible.
    pub(crate) top: PathBuf,
    /// The process's own cgroup, at or below `top`.
    pub(crate) dir: PathBuf,
}

impl Place {
    /// The cgroup and its visible ancestors, innermost first.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &Path> {
        self.dir.ancestors().take_while(|dir| dir.starts_with(&self.top))
    }
}

/// What came of looking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// Here.
    At(Place),
    /// Not visible, for this reason.
    Hidden(String),
}

/// Finds the memory cgroup of process `pid`, or of this one; `/proc` and `/sys` are looked for below `root`.
pub(crate) fn locate(root: &Path, pid: Option<u32>) -> anyhow::Result<Located> {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let file = root.join("proc").join(&process).join("cgroup");
    let membership = match input::read_system(&file) {
        Ok(membership) => membership,
        Err(error) if pid.is_none() => {
            return Ok(Located::Hidden(format!(
                "cannot read {}: {error}",
                shown::path(&file)
            )));
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read {}; is there such a process?", file.display()));
        }
    };
    if memberships(&membership).next().is_none() {
        let why = "it names no cgroup, as it does for every process: is it damaged?";
        return Ok(Located::Hidden(format!("{}: {why}", shown::path(&file))));
    }
    let mountinfo = root.join("proc/self/mountinfo");
    let mountinfo = match input::read_system(&mountinfo) {
        Ok(content) => content,
        Err(error) => {
            let file = shown::path(&mountinfo);
            return Ok(Located::Hidden(format!("cannot read {file}: {error}")));
        }
    };

    let version = if memberships(&membership).any(|line| line.has_controller(b"memory")) {
        Version::V1
    } else {
        Version::V2
    };
    let Some(path) = memory_path(&membership) else {
        return Ok(Located::Hidden(
            "this kernel counts no memory by cgroup".to_owned(),
        ));
    };
    let path = Steps::of(path);
    let mounted: Vec<(PathBuf, Steps)> = mounts(&mountinfo)
        .filter(|mount| counts_memory(mount, version))
        .map(|mount| {
            (
                below(root, &bytes_of(mount.point)),
                Steps::of(&bytes_of(mount.root)),
            )
        })
        .filter(|(point, _)| point.is_dir())
        .collect();
    if mounted.is_empty() {
        return Ok(Located::Hidden(format!(
            "no cgroup {} hierarchy with memory is mounted",
            version.name()
        )));
    }
    // The mount that shows the most ancestors tells the most.
    let seen = mounted
        .iter()
        .filter_map(|(point, shown)| Some((point, path.below(shown)?)))
        .max_by_key(|(_, rest)| rest.len());
    if let Some((point, rest)) = seen {
        let dir = rest.iter().fold(point.clone(), |dir, name| {
            dir.join(OsString::from_vec(name.clone()))
        });
        if dir.is_dir() {
            return Ok(Located::At(Place {
                version,
                top: point.clone(),
                dir,
            }));
        }
    }
    if pid.is_none() {
        let own = std::process::id();
        let found = mounted
            .iter()
            .find_map(|(point, _)| Some((point, search(point, own)?)));
        if let Some((point, dir)) = found {
            return Ok(Located::At(Place {
                version,
                top: point.clone(),
                dir,
            }));
        }
    }
    Ok(Located::Hidden(
        "the cgroup lies outside of what is mounted here".to_owned(),
    ))
}

fn counts_memory(mount: &Mount<'_>, version: Version) -> bool {
    match version {
        Version::V1 => mount.kind == b"cgroup" && mount.has_super_option(b"memory"),
        Version::V2 => mount.kind == b"cgroup2",
    }
}

fn bytes_of(escaped: &[u8]) -> Vec<u8> {
    unescape(escaped).collect()
}

/// A mount point as it is reached below `root`; a host's file system mounted at `root` lists its points with it.
fn below(root: &Path, point: &[u8]) -> PathBuf {
    let point = PathBuf::from(OsString::from_vec(point.to_vec()));
    if point.starts_with(root) {
        return point;
    }
    point
        .strip_prefix("/")
        .map_or_else(|_| point.clone(), |relative| root.join(relative))
}

/// A cgroup path: how often it leaves the namespace upwards, and the names that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Steps {
    up: usize,
    names: Vec<Vec<u8>>,
}

impl Steps {
    fn of(path: &[u8]) -> Self {
        let mut steps = Self {
            up: 0,
            names: Vec::new(),
        };
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if name == b".." {
                // The kernel writes them at the beginning only.
                steps.up += 1;
            } else {
                steps.names.push(name.to_vec());
            }
        }
        steps
    }

    /// The names from `shown`, the directory a mount begins at, down to here. `None` where this lies elsewhere, or where
    /// the names in between are not known because the namespace hides them.
    fn below(&self, shown: &Self) -> Option<&[Vec<u8>]> {
        if self.up != shown.up {
            return None;
        }
        self.names.strip_prefix(shown.names.as_slice())
    }
}

/// The directory below `top` that lists the process.
fn search(top: &Path, pid: u32) -> Option<PathBuf> {
    let mut waiting = vec![top.to_path_buf()];
    let mut looked = 0;
    while let Some(dir) = waiting.pop() {
        looked += 1;
        if looked > SEARCHED_MAX {
            return None;
        }
        let listed = input::read_system(&dir.join("cgroup.procs")).unwrap_or_default();
        if String::from_utf8_lossy(&listed)
            .lines()
            .any(|line| line.trim().parse() == Ok(pid))
        {
            return Some(dir);
        }
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        // The type in the entry, not that of a link's target: a link could lead in circles.
        let dirs = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        waiting.extend(dirs.map(|entry| entry.path()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(path: &str, shown: &str) -> Option<Vec<String>> {
        let path = Steps::of(path.as_bytes());
        let names = path.below(&Steps::of(shown.as_bytes()))?;
        Some(
            names
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
        )
    }

    #[test]
    fn a_path_is_followed_from_where_the_mount_begins() {
        assert_eq!(
            rest("/kubepods/pod1/c", "/"),
            Some(vec!["kubepods".into(), "pod1".into(), "c".into()])
        );
        assert_eq!(rest("/docker/abc", "/docker/abc"), Some(vec![]));
        assert_eq!(rest("/docker/abc/x", "/docker/abc"), Some(vec!["x".into()]));
        assert_eq!(rest("/", "/"), Some(vec![]));
    }

    #[test]
    fn a_path_outside_of_the_namespace_is_followed_only_where_names_are_known() {
        assert_eq!(rest("/../pod2/c", "/../pod2"), Some(vec!["c".into()]));
        // The mount begins two levels above the namespace; the names of these two are not told.
        assert_eq!(rest("/", "/../.."), None);
        assert_eq!(rest("/../other", "/"), None);
        // A name that merely begins alike is another cgroup.
        assert_eq!(rest("/docker/abcdef", "/docker/abc"), None);
    }
}
