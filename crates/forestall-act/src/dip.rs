//! A dip: `memory.high` lowered for at most 200 ms where the kernel has no `memory.reclaim` (before 5.19).
//!
//! It leaves nothing behind. What was there before is written to a journal and synced before the first write, and it is
//! restored only if what is there now is still ours; whoever changed it in between has the last word. The worker that
//! lowers it may be held up inside the kernel, so the kill thread restores it in time, and after a crash the next start does.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use forestall_decide::{Bytes, GroupId, Moment, Span};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::ActError;
use crate::file::{self, ShortText};
use crate::group;
use crate::order::CgroupPlace;

/// The longest a dip lasts.
pub(crate) const DIP_MAX: Span = Span::millis(200);

const FIRST_LINE: &[u8] = b"forestall dip 1";

/// A `memory.high` that was lowered, or is about to be.
#[derive(Debug)]
pub(crate) struct Dip {
    group: GroupId,
    high: OwnedFd,
    before: ShortText,
    ours: ShortText,
    pub(crate) restore_by: Moment,
}

impl Dip {
    /// Prepares to lower `memory.high` by `step` below what the cgroup holds. `None`: it is that low already.
    pub(crate) fn prepare(place: &CgroupPlace, step: Bytes, now: Moment) -> Result<Option<Self>, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let high = rustix::fs::openat(&*place.dir, c"memory.high", flags, Mode::empty())?;
        let before = read_high(&high)?;
        let current = group::current_bytes(place).ok_or(Errno::NODATA)?;
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096).max(1);
        // The kernel rounds down to pages, and only a value that reads back unchanged can be known as ours.
        let target = current.saturating_sub(step.0) / page * page;
        if target == 0 || file::parse_number(before.as_bytes()).is_some_and(|before| before <= target) {
            return Ok(None);
        }
        let ours = ShortText::number(target, b"");
        Ok(Some(Self {
            group: place.id,
            high,
            before,
            ours,
            restore_by: now + DIP_MAX,
        }))
    }

    /// Whose it is.
    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Lowers it. The kernel reclaims within this write.
    pub(crate) fn lower(&self) -> Result<(), Errno> {
        file::write_once(&self.high, self.ours.as_bytes())
    }

    /// Puts back what was there before, if what is there now is ours. Doing it twice does no harm, and raising the
    /// limit never blocks. A cgroup that was removed needs nothing.
    pub(crate) fn restore(&self) -> Result<(), Errno> {
        match read_high(&self.high) {
            Ok(now) if now == self.ours => file::write_once(&self.high, self.before.as_bytes()),
            Ok(_) | Err(Errno::NODEV | Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn read_high(high: impl AsFd) -> Result<ShortText, Errno> {
    let mut buffer = [0; 48];
    let length = rustix::io::pread(high, &mut buffer, 0)?;
    let text = buffer.get(..length).unwrap_or_default().trim_ascii();
    ShortText::copy(text)
        .filter(|text| !text.as_bytes().is_empty())
        .ok_or(Errno::INVAL)
}

/// The directory with one file for each dip on its way.
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

    /// Writes down what a dip is about to change, so that it is on disk before the change.
    pub(crate) fn enter(&self, place: &CgroupPlace, dip: &Dip) -> Result<(), ActError> {
        let path = self.entry(dip.group);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let mut text = FIRST_LINE.to_vec();
            for (key, value) in [(&b"\nbefore "[..], dip.before), (&b"\nours "[..], dip.ours)] {
                text.extend_from_slice(key);
                text.extend_from_slice(value.as_bytes());
            }
            // The path comes last and up to the end, because a cgroup's name may hold any byte but a slash.
            text.extend_from_slice(b"\npath ");
            text.extend_from_slice(place.path.as_os_str().as_bytes());
            // One that is there already is a dip that could not be put back: what this cgroup had before stands there alone.
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

    /// Strikes out a dip that was restored.
    pub(crate) fn strike(&self, group: GroupId) -> Result<(), ActError> {
        let path = self.entry(group);
        fs::remove_file(&path).map_err(|source| ActError::Journal { path, source })
    }

    fn entry(&self, group: GroupId) -> PathBuf {
        self.directory.join(group.0.to_string())
    }
}

/// What became of a dip that an earlier run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The cgroup.
    pub path: PathBuf,
    /// How it ended.
    pub end: DipEnd,
}

/// How a dip ended that an earlier run left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DipEnd {
    /// `memory.high` was put back now.
    Restored,
    /// Somebody else has set it since, and has the last word.
    NotOurs,
    /// The cgroup is gone.
    Gone,
    /// It could not be put back. Its entry is kept for the next try.
    Failed(Errno),
}

/// Puts back what dips of an earlier run left lowered. To be called before acting, and by nobody while another agent acts:
/// the dips of its journal are on their way. One that cannot be put back is kept for the next call. `state_dir`: the
/// agent's own directory.
pub fn recover_dips(state_dir: &Path) -> Result<Vec<Recovered>, ActError> {
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
        recovered.extend(recover_dip(&path));
    }
    Ok(recovered)
}

/// Puts back one, and strikes it out unless that failed. `None`: its entry is torn; it was not synced, so the write it
/// announces never came.
fn recover_dip(entry: &Path) -> Option<Recovered> {
    let of_entry = |error: &std::io::Error| Recovered {
        path: entry.to_owned(),
        end: DipEnd::Failed(Errno::from_io_error(error).unwrap_or(Errno::IO)),
    };
    let text = match fs::read(entry) {
        Ok(text) => text,
        Err(error) => return Some(of_entry(&error)),
    };
    let id = entry
        .file_name()
        .and_then(|name| file::parse_number(name.as_bytes()));
    let found = parse_entry(&text).map(|(before, ours, cgroup)| {
        let end = id.map_or(Ok(DipEnd::Gone), |id| {
            restore_after_crash(cgroup, GroupId(id), before, ours)
        });
        Recovered {
            path: cgroup.to_owned(),
            end: end.unwrap_or_else(|errno| match errno {
                Errno::NOENT | Errno::NODEV => DipEnd::Gone,
                errno => DipEnd::Failed(errno),
            }),
        }
    });
    let is_kept = matches!(&found, Some(found) if matches!(found.end, DipEnd::Failed(_)));
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

fn restore_after_crash(cgroup: &Path, id: GroupId, before: &[u8], ours: &[u8]) -> Result<DipEnd, Errno> {
    let said = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let found = fs::symlink_metadata(cgroup).map_err(said)?;
    if !found.is_dir() || GroupId(found.ino()) != id {
        return Ok(DipEnd::Gone);
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let high = rustix::fs::open(cgroup.join("memory.high"), flags, Mode::empty())?;
    if read_high(&high)?.as_bytes() != ours {
        return Ok(DipEnd::NotOurs);
    }
    file::write_once(&high, before)?;
    Ok(DipEnd::Restored)
}

#[cfg(test)]
mod tests;
