//! What is added to a ledger while somebody reads it: from where reading ended, over the turn from one file to the next.
//!
//! It takes no lock and writes nothing. Files that are gone before they were read are not made up for: two hold thousands of kills.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::entry::Entry;
use super::pages::{End, NEWER, OLDER, Word, read_file};

/// The end of a ledger.
#[derive(Debug)]
pub(crate) struct Tail {
    directory: PathBuf,
    /// Which file it was, and how far it was read.
    inode: u64,
    end: End,
    ear: OwnedFd,
}

impl Tail {
    /// From the beginning on: [`Tail::read`] gives all of the newer file first.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let ear = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&ear, directory, changes)?;
        Ok(Self {
            directory: directory.to_owned(),
            inode: 0,
            end: End::default(),
            ear,
        })
    }

    /// What was added since. What is just being written comes the next time.
    pub(crate) fn read(&mut self) -> anyhow::Result<Vec<Entry>> {
        // Before the file is looked at: what is added meanwhile is told again.
        let mut told = [0_u8; 4096];
        while rustix::io::read(&self.ear, &mut told).is_ok_and(|count| count > 0) {}
        let mut entries = Vec::new();
        let mut hear = |word| {
            if let Word::Entry(entry) = word {
                entries.push(*entry);
            }
        };
        let inode = |name: &str| std::fs::metadata(self.directory.join(name)).map(|about| about.ino());
        let newer = inode(NEWER).unwrap_or(0);
        if newer != self.inode {
            if self.inode != 0 && inode(OLDER).is_ok_and(|older| older == self.inode) {
                read_file(&self.directory.join(OLDER), self.end, &mut hear)?;
            }
            (self.inode, self.end) = (newer, End::default());
        }
        self.end = read_file(&self.directory.join(NEWER), self.end, &mut hear)?;
        Ok(entries)
    }
}

impl AsFd for Tail {
    /// Readable when something may have been added.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}
