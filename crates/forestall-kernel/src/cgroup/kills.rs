//! How many were killed for memory in which cgroup, by the kernel's own counters, which outlive the cgroup of whoever was killed.
//!
//! On cgroup v2 `memory.events` of a cgroup counts all that lie below it, removed ones too. So it is enough to have the kernel
//! tell (inotify) of changes at the cgroups right below the root, and to follow a change down from there: whoever has the counts that were
//! seen last has nothing new below it. `memory.events.local` (5.3) says at which of them the limit was met, and in which the killed
//! process lived. The kernel tells of a change at most every 10 ms for each file (`CGROUP_FILE_NOTIFY_MIN_INTV` in
//! `kernel/cgroup/cgroup.c`), of every other event of the file, too: `max` and `high` of a busy container.
//!
//! Nothing is held open but the cgroups at the top, because a file that was read keeps a page of the kernel's memory. What it
//! refuses to do: work on v1, where the count is that of one cgroup alone, goes with it, and wakes nobody; and say who was killed, which
//! no counter knows.

mod counts;
mod limit;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Access, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::hierarchy::{Hierarchy, Version};
use super::identity::Identity;
use crate::Error;
use crate::file::{Buffer, read_record};
use crate::parse::{MemoryEvents, mounts};

use counts::{Counts, Known};
use limit::Recent;

pub use limit::LimitMet;

/// Cgroups right below the root that are heard of; a machine has a handful.
const TOPS_MAX: usize = 64;
/// Cgroups that are looked at in one look, and levels below the root.
const LOOKS_MAX: usize = 8192;
const DEPTH_MAX: usize = 16;
/// Cgroups whose counts are remembered. Only those with a kill or a limit met have any.
const KNOWN_MAX: usize = 4096;

/// Longer than the file, bytes.
const EVENTS_BYTES_MAX: usize = 1024;

/// What changed at one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillCount {
    /// Its path from the root of the hierarchy, with a leading `/`.
    pub path: Box<[u8]>,
    /// Its inode.
    pub inode: u64,
    /// Kills here and below since the last look: `oom_kill`, of the machine's own shortage, too. A killed group counts whom the
    /// kernel chose twice, as a rule.
    pub kills: u64,
    /// Groups that were killed as one here and below since the last look (`oom_group_kill`, 5.17; 0 before).
    pub group_kills: u64,
    /// How often a limit here or below was met, with no room left (`oom`), within the last second or two and since the last
    /// look that found a kill here. It comes before its kill, and without one where nobody can be killed.
    pub limits_met: u64,
    /// The same of this cgroup alone; `None` without `memory.events.local`.
    pub own: Option<OwnCount>,
}

/// What a cgroup counts without those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnCount {
    /// Processes that lived in it and were killed, since the last look.
    pub kills: u64,
    /// How often its own limit was met, in that time.
    pub limits_met: u64,
}

/// One look on its way.
struct Look<'a> {
    now: Duration,
    /// So many cgroups may still be looked at.
    left: usize,
    changes: &'a mut Vec<KillCount>,
}

/// A cgroup right below the root, or the root itself where that is not the machine's.
#[derive(Debug)]
struct Top {
    dir: OwnedFd,
    inode: u64,
    path: Box<[u8]>,
    /// `None` where nothing is heard.
    watch: Option<i32>,
}

/// The counters of a hierarchy.
#[derive(Debug)]
pub struct KillCounters {
    ear: OwnedFd,
    root: OwnedFd,
    shown: Arc<Path>,
    root_watch: Option<i32>,
    /// Nobody waits for it, and the kernel need not tell of anything.
    is_deaf: bool,
    tops: Vec<Top>,
    known: BTreeMap<u64, Known>,
    recent: Recent,
    buffer: Buffer,
    told: Box<[MaybeUninit<u8>]>,
    is_partial: bool,
}

impl KillCounters {
    /// Looks once at what was counted so far, which is told to nobody, and asks the kernel to tell of changes. `mountinfo` is the
    /// content of `/proc/self/mountinfo`.
    ///
    /// [`Error::Refused`]: cgroup v1, or v2 with `memory_localevents`, whose counts are not added up. [`Error::Gone`]: no cgroup
    /// has `memory.events`. Whatever else is wrong with inotify is told as it is.
    pub fn open(hierarchy: &Hierarchy, mountinfo: &[u8]) -> Result<Self, Error> {
        Self::open_as(hierarchy, mountinfo, false)
    }

    /// As [`Self::open`], for whoever has another reason to look: the kernel tells of nothing, so that nothing queues up, and
    /// [`Self::look_everywhere`] is all that finds anything.
    pub fn open_deaf(hierarchy: &Hierarchy, mountinfo: &[u8]) -> Result<Self, Error> {
        Self::open_as(hierarchy, mountinfo, true)
    }

    fn open_as(hierarchy: &Hierarchy, mountinfo: &[u8], is_deaf: bool) -> Result<Self, Error> {
        let shown: Arc<Path> = Arc::from(hierarchy.root.as_path());
        let refused = |what| Error::Refused {
            path: Arc::clone(&shown),
            what,
        };
        if hierarchy.version == Version::V1 {
            return Err(refused(
                "cgroup v1 counts kills in the victim's own cgroup alone, where they go with it, and tells nobody: kills are told by the kernel's tracing and log",
            ));
        }
        let is_local = |mount: crate::parse::Mount<'_>| {
            mount.kind == b"cgroup2" && mount.has_super_option(b"memory_localevents")
        };
        if mounts(mountinfo).any(is_local) {
            return Err(refused(
                "mounted with memory_localevents, so that no cgroup counts the kills below it: mount cgroup2 without",
            ));
        }
        let failed = |errno| Error::from_errno(&shown, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&*shown, flags, Mode::empty()).map_err(failed)?;
        let ear = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(failed)?;
        let mut counters = Self {
            ear,
            root,
            shown: Arc::clone(&shown),
            root_watch: None,
            is_deaf,
            tops: Vec::new(),
            known: BTreeMap::new(),
            recent: Recent::default(),
            buffer: Buffer::with_capacity(EVENTS_BYTES_MAX),
            told: vec![MaybeUninit::uninit(); if is_deaf { 0 } else { 4096 }].into_boxed_slice(),
            is_partial: false,
        };
        if !counters.take_root_as_top()? {
            let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
            if !is_deaf {
                let watch = inotify::add_watch(&counters.ear, &*shown, flags);
                counters.root_watch = Some(watch.map_err(failed)?);
            }
            counters.list_tops()?;
        }
        if counters.tops.is_empty() {
            return Err(Error::Gone {
                path: Arc::from(shown.join("*/memory.events")),
            });
        }
        counters.begin(Duration::ZERO, &mut Vec::new());
        Ok(counters)
    }

    /// All that was counted so far, since each cgroup was made, as if it were of one look; what comes is counted from here on.
    pub fn look_back(&mut self, now: Duration) -> Vec<KillCount> {
        let mut counted = Vec::new();
        self.begin(now, &mut counted);
        counted
    }

    /// What has changed since the last look, from the top down, appended to `changes`. `now` is the time by any clock that goes on. Only where the kernel has told of something is
    /// looked at all. Polls that wake often (a container that lives at its limit) need not be answered at once: the descriptor stays readable.
    pub fn look(&mut self, now: Duration, changes: &mut Vec<KillCount>) -> Result<(), Error> {
        let Some(heard) = self.listen() else {
            self.list_tops()?;
            self.look_at(None, now, changes);
            return Ok(());
        };
        if !heard.is_empty() {
            self.look_at(Some(&heard), now, changes);
        }
        Ok(())
    }

    /// The same at every cgroup, whatever the kernel has told.
    pub fn look_everywhere(&mut self, now: Duration, changes: &mut Vec<KillCount>) -> Result<(), Error> {
        if !self.is_deaf {
            let _ = self.listen();
        }
        self.list_tops()?;
        self.look_at(None, now, changes);
        Ok(())
    }

    /// At whose limit somebody was killed who lived in the cgroup `path`, by what one look has found. The members of a group are
    /// counted one by one, often in several looks: the first one's limit holds for those that follow within a second.
    pub fn limit_of<'a>(&mut self, now: Duration, changes: &'a [KillCount], path: &[u8]) -> LimitMet<'a> {
        self.recent.limit_of(now, changes, path)
    }

    /// There is more than was looked at: changes below may have gone unnoticed.
    pub const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Takes all that was told: the watches that changed, or `None` where it may be anything.
    fn listen(&mut self) -> Option<Vec<i32>> {
        let mut heard = Vec::new();
        let mut is_anything = false;
        let mut reader = Reader::new(&self.ear, &mut self.told);
        while let Ok(event) = reader.next() {
            let is_root = Some(event.wd()) == self.root_watch;
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) || is_root {
                is_anything = true;
            } else if event.events().contains(ReadFlags::MODIFY) && !heard.contains(&event.wd()) {
                heard.push(event.wd());
            }
        }
        (!is_anything).then_some(heard)
    }

    /// In a cgroup namespace of its own the root is a cgroup as any other, and has the file.
    fn take_root_as_top(&mut self) -> Result<bool, Error> {
        let failed = |errno| Error::from_errno(&self.shown, errno);
        let inode = rustix::fs::fstat(&self.root).map_err(failed)?.st_ino;
        let dir = rustix::io::fcntl_dupfd_cloexec(&self.root, 0).map_err(failed)?;
        self.take_top(dir, inode, c"")
    }

    /// Hears of the cgroups that are right below the root now, and of no other.
    fn list_tops(&mut self) -> Result<(), Error> {
        if self.tops.iter().any(|top| &*top.path == b"/") {
            return Ok(());
        }
        let mut found = list(&self.root).map_err(|errno| Error::from_errno(&self.shown, errno))?;
        let ear = &self.ear;
        self.tops.retain(|top| {
            let is_there = found.iter().any(|(_, inode)| *inode == top.inode);
            if let Some(watch) = top.watch.filter(|_| !is_there) {
                let _ = inotify::remove_watch(ear, watch);
            }
            is_there
        });
        // Pods first, should there be too many.
        found.sort_by_key(|(name, _)| Identity::of_path(&path_of(b"", name)) == Identity::Host);
        for (name, inode) in found {
            if self.tops.iter().any(|top| top.inode == inode) {
                continue;
            }
            if self.tops.len() == TOPS_MAX {
                self.is_partial = true;
                break;
            }
            if let Ok(dir) = open_dir(&self.root, &name) {
                self.take_top(dir, inode, &name)?;
            }
        }
        Ok(())
    }

    /// Whether it has the file, and is heard of now.
    fn take_top(&mut self, dir: OwnedFd, inode: u64, name: &CStr) -> Result<bool, Error> {
        let relative = Path::new(std::str::from_utf8(name.to_bytes()).unwrap_or_default());
        let file: Arc<Path> = Arc::from(self.shown.join(relative).join("memory.events"));
        let found = if self.is_deaf {
            rustix::fs::access(&*file, Access::READ_OK).map(|()| None)
        } else {
            inotify::add_watch(&self.ear, &*file, WatchFlags::MODIFY).map(Some)
        };
        match found {
            Ok(watch) => {
                let path = path_of(b"", name);
                self.tops.push(Top {
                    dir,
                    inode,
                    path,
                    watch,
                });
                Ok(true)
            }
            // Without the memory controller, or gone again.
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(Error::from_errno(&file, errno)),
        }
    }

    fn look_at(&mut self, heard: Option<&[i32]>, now: Duration, changes: &mut Vec<KillCount>) {
        self.follow_tops(heard, now, changes);
        if self.known.len() > KNOWN_MAX {
            // Most of them are gone. Whoever is left is looked at once more, and nobody is told twice.
            self.begin(now, &mut Vec::new());
        }
    }

    /// Takes all that was counted so far for known.
    fn begin(&mut self, now: Duration, counted: &mut Vec<KillCount>) {
        self.known.clear();
        self.follow_tops(None, now, counted);
        for known in self.known.values_mut() {
            (known.met_before, known.met_next) = (known.met(), known.met());
        }
    }

    fn follow_tops(&mut self, heard: Option<&[i32]>, now: Duration, changes: &mut Vec<KillCount>) {
        let tops = std::mem::take(&mut self.tops);
        let mut look = Look {
            now,
            left: LOOKS_MAX,
            changes,
        };
        for top in &tops {
            let is_told = |heard: &[i32]| top.watch.is_some_and(|watch| heard.contains(&watch));
            if heard.is_none_or(is_told) {
                self.follow(&top.dir, top.inode, &top.path, 1, &mut look);
            }
        }
        self.tops = tops;
    }

    /// Looks at a cgroup and, where its counts have changed, at those below it. Returns by how much.
    ///
    /// The kernel counts from below (`memcg_memory_event` in `include/linux/memcontrol.h`), and those below are read after this one: they
    /// may be ahead of it. What they have is counted here, too, so that one look tells the same of all who lie above one another.
    fn follow(
        &mut self,
        dir: &OwnedFd,
        inode: u64,
        path: &[u8],
        depth: usize,
        look: &mut Look<'_>,
    ) -> Counts {
        if look.left == 0 || depth > DEPTH_MAX {
            self.is_partial = true;
            return Counts::default();
        }
        look.left -= 1;
        // Gone meanwhile: what it counted is in those above it.
        let Some(all) = self.read(dir, c"memory.events") else {
            return Counts::default();
        };
        let mut known = self.known.get(&inode).copied().unwrap_or_default();
        if all.since(known.all) == Counts::default() {
            return Counts::default();
        }
        known.forget(look.now);
        let own = self.read(dir, c"memory.events.local");
        let more_own = own.unwrap_or_default().since(known.own);
        let place = look.changes.len();
        look.changes.push(KillCount {
            path: path.into(),
            inode,
            kills: 0,
            group_kills: 0,
            limits_met: 0,
            own: None,
        });
        let mut more_below = Counts::default();
        for (name, inode) in list(dir).unwrap_or_default() {
            if let Ok(child) = open_dir(dir, &name) {
                let path = path_of(path, &name);
                more_below = more_below.plus(self.follow(&child, inode, &path, depth + 1, look));
            }
        }
        let more = all.since(known.all).with(more_own.plus(more_below), u64::max);
        known.all = known.all.plus(more);
        known.own = known.own.plus(more_own);
        if let Some(change) = look.changes.get_mut(place) {
            change.kills = more.kills;
            change.group_kills = more.groups;
            change.limits_met = known.all.met.saturating_sub(known.met_before.all);
            change.own = own.map(|_| OwnCount {
                kills: more_own.kills,
                limits_met: known.own.met.saturating_sub(known.met_before.own),
            });
        }
        if more.kills > 0 {
            // What was met has led to these, and to no later one.
            known.met_before = known.met();
            known.met_next = known.met();
        }
        self.known.insert(inode, known);
        more
    }

    fn read(&mut self, dir: &OwnedFd, name: &CStr) -> Option<Counts> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
        let shown = || Arc::clone(&self.shown);
        let read = read_record(&file, &mut self.buffer, shown).ok()?;
        Some(Counts::of(&MemoryEvents::parse(read)))
    }
}

impl AsFd for KillCounters {
    /// For poll(2): readable when the kernel has told of something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

fn path_of(parent: &[u8], name: &CStr) -> Box<[u8]> {
    let parent = if parent == b"/" { b"" } else { parent };
    [parent, b"/", name.to_bytes()].concat().into()
}

fn open_dir(parent: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The directories in `dir` with their inodes.
fn list(dir: &OwnedFd) -> Result<Vec<(CString, u64)>, Errno> {
    let mut scratch = [MaybeUninit::uninit(); 4096];
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut entries = RawDir::new(dir, &mut scratch);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == rustix::fs::FileType::Directory && name != c"." && name != c".." {
            found.push((name.to_owned(), entry.ino()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
