//! Who sent SIGKILL to whom, beside the kills: what an end that no kill explains is asked of later.
//!
//! A file and the one before it, small, so that whoever ends processes all day pushes out no kill. The frames are the ledger's. What it
//! refuses to do: wait for the disk. The last of a machine that fails are missing, and prove nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use forestall_trace::frame;

use super::entry::Signal;
use super::pages::{End, MAGIC, VERSION, Word, kind, read_file};

const NEWER: &str = "signals.ledger";
const OLDER: &str = "signals.1.ledger";

/// A file of more than this becomes the older one: some 4,000 signals.
const FILE_BYTES_MAX: u64 = 512 << 10;

/// Where they are kept.
#[derive(Debug)]
pub(crate) struct Signals {
    directory: PathBuf,
    file: File,
    size: u64,
    chain: u32,
}

impl Signals {
    /// Beside the kills in a directory that is there, for whoever has the ledger's lock. What cannot be read is begun anew.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(NEWER);
        let end = read_file(&path, End::default(), &mut |_| {}).unwrap_or_default();
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.set_len(end.at)?;
        file.seek(SeekFrom::Start(end.at))?;
        Ok(Self {
            directory: directory.to_owned(),
            file,
            size: end.at,
            chain: end.chain,
        })
    }

    /// Appends these.
    pub(crate) fn append(&mut self, signals: &[Signal]) -> io::Result<()> {
        if self.size > FILE_BYTES_MAX {
            std::fs::rename(self.directory.join(NEWER), self.directory.join(OLDER))?;
            *self = Self::open(&self.directory)?;
        }
        let mut out = Vec::new();
        let mut chain = self.chain;
        if self.size == 0 {
            out.extend(MAGIC);
            chain = frame::write(kind::HEAD, &[VERSION], 0, &mut out);
        }
        for signal in signals {
            chain = frame::write(kind::SIGNAL, &signal.encode(), chain, &mut out);
        }
        self.file.write_all(&out)?;
        self.size += out.len() as u64;
        self.chain = chain;
        Ok(())
    }
}

/// Hands over all that are kept, the oldest first.
pub(crate) fn read_signals(directory: &Path, mut hear: impl FnMut(Signal)) -> anyhow::Result<()> {
    for name in [OLDER, NEWER] {
        read_file(&directory.join(name), End::default(), &mut |word| {
            if let Word::Signal(signal) = word {
                hear(*signal);
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ledger::Sender;

    fn signal(pid: u32) -> Signal {
        Signal {
            boot: (*b"boot").into(),
            zero_micros: -7,
            at_micros: 9,
            pid,
            comm: (*b"java").into(),
            is_inside: Some(false),
            is_of_first: Some(true),
            more: 3,
            sender: Sender {
                is_kernel: false,
                pid: 1,
                comm: (*b"systemd\n").into(),
                uid: Some(0),
                is_on_node: Some(true),
            },
            ..Signal::default()
        }
    }

    fn pids(directory: &Path) -> Vec<u32> {
        let mut pids = Vec::new();
        read_signals(directory, |signal| pids.push(signal.pid)).expect("read");
        pids
    }

    #[test]
    fn signals_outlive_a_restart_and_a_torn_end_and_are_bounded() {
        let folder = TempDir::new().expect("a directory");
        let mut all = Vec::new();
        read_signals(folder.path(), |signal| all.push(signal)).expect("nothing is there");
        Signals::open(folder.path())
            .expect("made")
            .append(&[signal(1), signal(2)])
            .expect("room");
        read_signals(folder.path(), |signal| all.push(signal)).expect("read");
        assert_eq!(all, [signal(1), signal(2)]);
        let path = folder.path().join(NEWER);
        let length = std::fs::metadata(&path).expect("there").len();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("there")
            .set_len(length - 1)
            .expect("cut");
        let mut signals = Signals::open(folder.path()).expect("there");
        signals.append(&[signal(3)]).expect("room");
        assert_eq!(pids(folder.path()), [1, 3]);
        let many: Vec<Signal> = (0..1000).map(signal).collect();
        for _ in 0..40 {
            signals.append(&many).expect("room");
        }
        let sizes =
            [OLDER, NEWER].map(|name| std::fs::metadata(folder.path().join(name)).expect("there").len());
        assert!(sizes.iter().all(|size| *size < 2 * FILE_BYTES_MAX), "{sizes:?}");
        assert_eq!(pids(folder.path()).last(), Some(&999));
    }
}
