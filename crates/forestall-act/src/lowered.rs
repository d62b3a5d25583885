//! A `memory.high` that is lowered for a while: by a dip, to reclaim where the kernel has no `memory.reclaim`, or by a brake.
//!
//! It leaves nothing behind. What was there before is in the journal before the first write, and it is put back only if what is
//! there now is still ours; whoever changed it in between has the last word. The worker that lowers it may be held up inside
//! the kernel, so the kill thread puts it back in time, and after a crash the next start does ([`crate::journal`]).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use forestall_decide::{GroupId, Moment, Span};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::file::{self, ShortText};
use crate::order::{BrakeEnd, CgroupPlace};

/// A `memory.high` that was lowered, or is about to be.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) group: GroupId,
    pub(crate) path: Arc<Path>,
    pub(crate) before: ShortText,
    pub(crate) ours: ShortText,
    /// No later than this it is put back.
    pub(crate) until: Moment,
    /// A dip gives way to whatever else is done; a brake to what is harsher and done to the same.
    is_brake: bool,
    high: OwnedFd,
    /// Why it was put back early.
    ended: Mutex<Option<BrakeEnd>>,
}

/// The file, and what stands in it now.
pub(crate) struct High {
    file: OwnedFd,
    pub(crate) value: ShortText,
}

impl High {
    /// Opens it. `is_brake`: the caller wants nothing reclaimed by the write itself, which a kernel from 6.16 on is told by
    /// `O_NONBLOCK` (`Documentation/admin-guide/cgroup-v2.rst`, `memory.high`); one before it takes no notice.
    pub(crate) fn open(place: &CgroupPlace, is_brake: bool) -> Result<Self, Errno> {
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        flags.set(OFlags::NONBLOCK, is_brake);
        let file = rustix::fs::openat(&*place.dir, c"memory.high", flags, Mode::empty())?;
        let value = read_high(&file)?;
        Ok(Self { file, value })
    }

    /// Prepares to lower it to `target` bytes. Nothing where it is that low already: what is prepared here never loosens.
    pub(crate) fn lower_to(
        self,
        place: &CgroupPlace,
        target: u64,
        until: Moment,
        is_brake: bool,
    ) -> Option<Lowered> {
        let is_low = file::parse_number(self.value.as_bytes()).is_some_and(|before| before <= target);
        if target == 0 || is_low {
            return None;
        }
        Some(Lowered {
            group: place.id,
            path: Arc::clone(&place.path),
            before: self.value,
            ours: ShortText::number(target, b""),
            until,
            is_brake,
            high: self.file,
            ended: Mutex::new(None),
        })
    }
}

/// What the kernel's counters go by.
pub(crate) fn page_bytes() -> u64 {
    u64::try_from(rustix::param::page_size()).unwrap_or(4096).max(1)
}

impl Lowered {
    /// Lowers it. The kernel may reclaim within this write.
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

    /// Puts it back before its time, and keeps the first reason for that.
    pub(crate) fn let_go(&self, why: BrakeEnd) -> Result<(), Errno> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get_or_insert(why);
        drop(ended);
        self.restore()
    }

    /// Puts it back once that is due, and answers when to look again; nothing once a brake is back, whose worker looks itself after it
    /// has lowered. What cannot be put back is tried again, after a second seldom.
    pub(crate) fn restore_again(&self, now: Moment, retry: Span) -> Option<Moment> {
        const PATIENCE: Span = Span::secs(1);
        if now < self.until {
            return Some(self.until);
        }
        if self.restore().is_ok() && self.is_brake {
            return None;
        }
        let since = now.since(self.until);
        Some(now + if since < PATIENCE { retry } else { PATIENCE })
    }

    /// Why it was put back early, if it was.
    pub(crate) fn ended(&self) -> Option<BrakeEnd> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is there now is ours. `ENODEV`, `ENOENT`: the cgroup was removed.
    pub(crate) fn is_ours(&self) -> Result<bool, Errno> {
        Ok(read_high(&self.high)? == self.ours)
    }

    /// Whether it has to give way to what is done at this place and below.
    pub(crate) fn gives_way_to(&self, place: Option<&CgroupPlace>) -> bool {
        !self.is_brake || place.is_none_or(|place| self.path.starts_with(&place.path))
    }
}

/// What stands in a `memory.high`.
pub(crate) fn read_high(high: impl AsFd) -> Result<ShortText, Errno> {
    let mut buffer = [0; 48];
    let length = rustix::io::pread(high, &mut buffer, 0)?;
    let text = buffer.get(..length).unwrap_or_default().trim_ascii();
    ShortText::copy(text)
        .filter(|text| !text.as_bytes().is_empty())
        .ok_or(Errno::INVAL)
}
