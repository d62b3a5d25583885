//! A file or pipe that is read piece by piece and never kept, so that its size does not matter.
//!
//! A pipe that is silent is waited for as long as somebody holds its other end: what searches a large journal may say nothing for
//! minutes, and whoever started both can end both.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};

use super::{Failure, STDIN, Unreadable, Wanted, open_file, refuse, refuse_kind};

/// An open one.
#[derive(Debug)]
pub(crate) struct Flow {
    file: File,
    path: PathBuf,
    what: &'static str,
    /// A FIFO without a writer is at its end at once, which is told apart from one that a writer has left.
    is_untouched_pipe: bool,
}

impl Flow {
    /// Opens what should hold a `what`: a file, a pipe, and for `-` whatever stdin is, a terminal into which somebody pastes too.
    pub(crate) fn open(path: &Path, what: &'static str) -> Result<Self, Unreadable> {
        let open = || {
            let wanted = Wanted {
                what,
                bytes_max: u64::MAX,
                mark: b"",
                may_flow: true,
            };
            let (file, is_nonblocking) = open_file(path, &wanted)?;
            let kind = file.metadata()?.file_type();
            let refusal = refuse_kind(kind, &wanted);
            match refusal.filter(|_| path.as_os_str() != STDIN || kind.is_dir()) {
                Some(refusal) => Err(refusal),
                None => Ok((file, is_nonblocking && !kind.is_file())),
            }
        };
        let (file, is_untouched_pipe) = open().map_err(|failure: Failure| failure.of(path, what))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            what,
            is_untouched_pipe,
        })
    }

    /// Reads what there is, and waits where there is nothing yet; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Unreadable> {
        loop {
            let failure = match self.file.read(buffer) {
                Ok(0) if self.is_untouched_pipe => {
                    let advice = format!("name the file with the {}, or start its writer first", self.what);
                    let why = "nothing is in this pipe and nobody writes to it";
                    refuse(ErrorKind::UnexpectedEof, why, &advice)
                }
                Ok(count) => {
                    self.is_untouched_pipe = false;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_untouched_pipe = false;
                    // Where polling fails, reading says why.
                    let _ = poll(&mut [PollFd::new(&self.file.as_fd(), PollFlags::IN)], None);
                    continue;
                }
                Err(error) => Failure::System(error),
            };
            return Err(failure.of(&self.path, self.what));
        }
    }

    /// Reads until the buffer is full or there is no more.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize, Unreadable> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// That what it holds is not what it should be: why, and what to do.
    pub(crate) fn refuse(&self, why: &str, advice: &str) -> Unreadable {
        refuse(ErrorKind::InvalidData, why, advice).of(&self.path, self.what)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_file_is_read_in_pieces_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"abcde").expect("room");
        let mut flow = Flow::open(file.path(), "log").expect("a file");
        let mut buffer = [0; 3];
        assert_eq!(flow.read_full(&mut buffer).expect("readable"), 3);
        assert_eq!(flow.read_full(&mut buffer).expect("readable"), 2);
        assert_eq!(flow.read_full(&mut buffer).expect("readable"), 0);
    }

    #[test]
    fn a_pipe_is_waited_for_and_one_without_a_writer_is_not() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        // What a shell's `<(…)` hands over.
        let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        let mut flow = Flow::open(&path, "log").expect("a pipe");
        let late = std::thread::spawn(move || {
            std::thread::yield_now();
            writer.write_all(b"abc").expect("a reader");
        });
        let mut buffer = [0; 8];
        assert_eq!(flow.read_full(&mut buffer).expect("readable"), 3);
        late.join().expect("written");
        let mut again = Flow::open(&path, "log").expect("a pipe");
        let said = again.read(&mut buffer).expect_err("nobody writes").to_string();
        assert!(
            said.contains("nobody writes to it; name the file with the log"),
            "{said}"
        );
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let said = Flow::open(Path::new("/dev/zero"), "log")
            .expect_err("a device")
            .to_string();
        assert!(said.starts_with("/dev/zero: is a device"), "{said}");
        let said = Flow::open(Path::new("/"), "log")
            .expect_err("a directory")
            .to_string();
        assert!(said.contains("is a directory"), "{said}");
    }
}
