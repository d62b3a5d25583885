//! The journal of what was lowered: each `memory.high` that a dip or a brake is about to change, on disk and synced before the
//! change, so that after a crash at any point the next start puts it back.
//!
//! The directory and the form of its entries are older than the brake and are kept: an agent of before puts back what one of now has
//! left, and the other way round. What it refuses to do: write to a cgroup that is not the one of the entry, whatever its path
//! says, or where something else stands than what was written then.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forestall_decide::GroupId;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::ActError;
use crate::file;
use crate::lowered::{Lowered, read_high};

const FIRST_LINE: &[u8] = b"forestall dip 1";

/// The directory with one file for each `memory.high` that is lowered.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
}

impl Journal {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            directory: state_dir.join("dips"),
        }
    }

    /// Writes down what is about to be changed, so that it is on disk before the change.
    pub(crate) fn enter(&self, lowered: &Lowered) -> Result<(), ActError> {
        let path = self.entry(lowered.group);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let mut text = FIRST_LINE.to_vec();
            for (key, value) in [
                (&b"\nbefore "[..], lowered.before),
                (&b"\nours "[..], lowered.ours),
            ] {
                text.extend_from_slice(key);
                text.extend_from_slice(value.as_bytes());
            }
            // The path comes last and up to the end, because a cgroup's name may hold any byte but a slash.
            text.extend_from_slice(b"\npath ");
            text.extend_from_slice(lowered.path.as_os_str().as_bytes());
            // One that is there already could not be put back: what this cgroup had before stands there alone.
            let mut file = fs::File::create_new(&path)?;
            let synced = file.write_all(&text).and_then(|()| file.sync_all());
            if synced.is_err() {
                // Torn, and nothing was changed: it must not keep the next one out.
                let _ = fs::remove_file(&path);
            }
            synced?;
            fs::File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| ActError::Journal { path, source })
    }

    /// Strikes out what was put back.
    pub(crate) fn strike(&self, group: GroupId) -> Result<(), ActError> {
        let path = self.entry(group);
        fs::remove_file(&path).map_err(|source| ActError::Journal { path, source })
    }

    fn entry(&self, group: GroupId) -> PathBuf {
        self.directory.join(group.0.to_string())
    }
}

/// What became of a `memory.high` that an earlier run left lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The cgroup.
    pub path: PathBuf,
    /// How it ended.
    pub end: LoweredEnd,
}

/// How that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoweredEnd {
    /// `memory.high` was put back now.
    Restored,
    /// It is as it was before: the run ended before it was lowered, or after it was put back.
    AsBefore,
    /// Somebody else has set it since, and has the last word.
    NotOurs,
    /// The cgroup is gone.
    Gone,
    /// It could not be put back. Its entry is kept for the next try.
    Failed(Errno),
}

/// Puts back what an earlier run left lowered. To be called before acting, and by nobody while another agent acts:
/// what stands in its journal is on its way. What cannot be put back is kept for the next call. `state_dir`: the
/// agent's own directory.
pub fn recover_lowered(state_dir: &Path) -> Result<Vec<Recovered>, ActError> {
    let directory = Journal::new(state_dir).directory;
    let failed = |path: &Path, source| ActError::Journal {
        path: path.to_owned(),
        source,
    };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&directory, error)),
    };
    let mut recovered = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(&directory, error))?.path();
        recovered.extend(recover_entry(&path));
    }
    Ok(recovered)
}

/// Puts back one, and strikes it out unless that failed. `None`: its entry is torn; it was not synced, so the write it
/// announces never came.
fn recover_entry(entry: &Path) -> Option<Recovered> {
    let of_entry = |error: &std::io::Error| Recovered {
        path: entry.to_owned(),
        end: LoweredEnd::Failed(Errno::from_io_error(error).unwrap_or(Errno::IO)),
    };
    let text = match fs::read(entry) {
        Ok(text) => text,
        Err(error) => return Some(of_entry(&error)),
    };
    let id = entry
        .file_name()
        .and_then(|name| file::parse_number(name.as_bytes()));
    let found = parse_entry(&text).map(|(before, ours, cgroup)| {
        let end = id.map_or(Ok(LoweredEnd::Gone), |id| {
            restore_after_crash(cgroup, GroupId(id), before, ours)
        });
        Recovered {
            path: cgroup.to_owned(),
            end: end.unwrap_or_else(|errno| match errno {
                Errno::NOENT | Errno::NODEV | Errno::NOTDIR => LoweredEnd::Gone,
                errno => LoweredEnd::Failed(errno),
            }),
        }
    });
    let is_kept = matches!(&found, Some(found) if matches!(found.end, LoweredEnd::Failed(_)));
    if !is_kept && let Err(error) = fs::remove_file(entry) {
        return Some(of_entry(&error));
    }
    found
}

fn parse_entry(text: &[u8]) -> Option<(&[u8], &[u8], &Path)> {
    let text = text.strip_prefix(FIRST_LINE)?.strip_prefix(b"\nbefore ")?;
    let (before, text) = split_line(text)?;
    let (ours, text) = split_line(text.strip_prefix(b"ours ")?)?;
    let path = text.strip_prefix(b"path ")?;
    Some((before, ours, Path::new(std::ffi::OsStr::from_bytes(path))))
}

fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

fn restore_after_crash(cgroup: &Path, id: GroupId, before: &[u8], ours: &[u8]) -> Result<LoweredEnd, Errno> {
    let said = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let found = fs::symlink_metadata(cgroup).map_err(said)?;
    if !found.is_dir() || GroupId(found.ino()) != id {
        return Ok(LoweredEnd::Gone);
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let high = rustix::fs::open(cgroup.join("memory.high"), flags, Mode::empty())?;
    let now = read_high(&high)?;
    if now.as_bytes() == ours {
        file::write_once(&high, before)?;
        return Ok(LoweredEnd::Restored);
    }
    if now.as_bytes() == before {
        return Ok(LoweredEnd::AsBefore);
    }
    Ok(LoweredEnd::NotOurs)
}

#[cfg(test)]
mod tests;
