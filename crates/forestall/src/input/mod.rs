//! The one way in for files that somebody names: opened without ever waiting for it, looked at, and read up to a bound.
//!
//! Who types a path may hit a directory, a device, a socket, or a FIFO that nobody writes to; each gets an answer and none
//! a command that hangs. Text that is read once may also come through a pipe (`<(…)`, `/dev/stdin`, `-`): there it waits
//! for a writer that is there, and not for one that is silent for long. What it refuses to do: guess what was meant.

mod flow;

use std::fmt;
use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub(crate) use self::flow::Flow;

/// What stands for the input that is there already.
const STDIN: &str = "-";
/// A writer that says nothing for so long is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// No file of a machine that is read here is nearly this large.
const SYSTEM_BYTES_MAX: u64 = 16 << 20;

/// What is wanted of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What it should hold, for messages: `configuration`.
    pub(crate) what: &'static str,
    /// One that is larger is some other file.
    pub(crate) bytes_max: u64,
    /// How such a file begins: of one that begins otherwise no more is read than shows it. Empty where it may begin in any way.
    pub(crate) mark: &'static [u8],
    /// A pipe will do: it is read once and never again.
    pub(crate) may_flow: bool,
}

/// Why a file was not read; the message is complete and names the file as it was named, unescaped.
#[derive(Debug)]
pub(crate) struct Unreadable {
    path: PathBuf,
    /// Line and column, where it is about one place in it.
    place: Option<(usize, usize)>,
    why: String,
    kind: ErrorKind,
}

impl Unreadable {
    /// What kind of error it was; [`ErrorKind::InvalidInput`] where the file is of the wrong kind or size.
    pub(crate) const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// It could be opened, and holds what cannot be meant, or nothing.
    pub(crate) const fn is_about_content(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
        )
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str() == STDIN {
            out.write_str("stdin")?;
        } else {
            write!(out, "{}", self.path.display())?;
        }
        if let Some((line, column)) = self.place {
            write!(out, ":{line}:{column}")?;
        }
        write!(out, ": {}", self.why)
    }
}

impl std::error::Error for Unreadable {}

/// Reads all of a file that was named on the command line, or found where such a file is looked for.
pub(crate) fn read(path: &Path, wanted: &Wanted) -> Result<Vec<u8>, Unreadable> {
    read_within(path, wanted, PATIENCE).map_err(|failure| failure.of(path, wanted.what))
}

/// The same as text; a column is a letter, as the parser of YAML counts them.
pub(crate) fn read_text(path: &Path, wanted: &Wanted) -> Result<String, Unreadable> {
    String::from_utf8(read(path, wanted)?).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let valid = String::from_utf8_lossy(valid.unwrap_or_default());
        let line = valid.split('\n').count();
        let column = valid.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        Unreadable {
            path: path.to_owned(),
            place: Some((line, column)),
            why: "is not UTF-8; save the file as UTF-8".to_owned(),
            kind: ErrorKind::InvalidData,
        }
    })
}

/// Reads a file of a machine, below its `/proc` or `/sys`, or below what stands for them: a tree that somebody copied may
/// hold anything.
pub(crate) fn read_system(path: &Path) -> io::Result<Vec<u8>> {
    let wanted = Wanted {
        what: "file of a machine",
        bytes_max: SYSTEM_BYTES_MAX,
        mark: b"",
        may_flow: false,
    };
    read_within(path, &wanted, PATIENCE).map_err(|failure| match failure {
        Failure::System(error) => error,
        // Nobody named it, so that there is no other name to give.
        Failure::Refused(kind, why, _) => io::Error::new(kind, why),
    })
}

/// The whole lines of a file, and what follows the last of them. A kernel's file ends with its last line; another one was
/// cut off.
pub(crate) fn cut_line(content: &[u8]) -> (&[u8], &[u8]) {
    let end = content.iter().rposition(|byte| *byte == b'\n');
    content
        .split_at_checked(end.map_or(0, |end| end + 1))
        .unwrap_or((content, &[]))
}

/// Why nothing came of it: the system said so, or we do, with what whoever named the file can do.
#[derive(Debug)]
enum Failure {
    System(io::Error),
    Refused(ErrorKind, String, String),
}

impl Failure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::System(error) => error.kind(),
            Self::Refused(kind, ..) => *kind,
        }
    }

    /// The same as a message about a file that should hold a `what`.
    fn of(self, path: &Path, what: &str) -> Unreadable {
        Unreadable {
            path: path.to_owned(),
            place: None,
            kind: self.kind(),
            why: match self {
                Self::System(error) => format!("cannot read the {what}: {error}"),
                Self::Refused(_, why, advice) => format!("{why}; {advice}"),
            },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

fn read_within(path: &Path, wanted: &Wanted, patience: Duration) -> Result<Vec<u8>, Failure> {
    let (file, is_nonblocking) = open_file(path, wanted)?;
    read_open(file, wanted, patience, is_nonblocking)
}

/// Opens what was named, and says whether reading it never blocks.
fn open_file(path: &Path, wanted: &Wanted) -> Result<(File, bool), Failure> {
    if wanted.may_flow && path.as_os_str() == STDIN {
        // A descriptor of its own; its flags are shared with whoever started us, and stay as they are.
        return Ok((File::from(io::stdin().as_fd().try_clone_to_owned()?), false));
    }
    // Not blocking, so that a FIFO without a writer is no reason to wait; no terminal becomes ours by being looked at.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        // A socket can be looked at and not opened.
        let about = std::fs::metadata(path).ok().filter(|_| errno == Errno::NXIO);
        match about.and_then(|about| refuse_kind(about.file_type(), wanted)) {
            Some(refusal) => refusal,
            None => Failure::System(errno.into()),
        }
    })?;
    Ok((File::from(file), true))
}

fn read_open(
    mut file: File,
    wanted: &Wanted,
    patience: Duration,
    is_nonblocking: bool,
) -> Result<Vec<u8>, Failure> {
    let kind = file.metadata()?.file_type();
    if let Some(refusal) = refuse_kind(kind, wanted) {
        return Err(refusal);
    }
    let mut bytes = Vec::new();
    if kind.is_file() {
        let mark_bytes = wanted.mark.len() as u64;
        file.by_ref().take(mark_bytes).read_to_end(&mut bytes)?;
        if bytes == wanted.mark {
            file.take(wanted.bytes_max + 1 - mark_bytes)
                .read_to_end(&mut bytes)?;
        }
    } else {
        drain(file, wanted, patience, is_nonblocking, &mut bytes)?;
    }
    if bytes.len() as u64 > wanted.bytes_max {
        let why = format!(
            "is larger than {}, which no {} is",
            size(wanted.bytes_max),
            wanted.what
        );
        return Err(refuse(ErrorKind::InvalidInput, &why, "name the right file"));
    }
    Ok(bytes)
}

/// Reads what a writer on the other end has to say.
fn drain(
    mut pipe: File,
    wanted: &Wanted,
    patience: Duration,
    is_nonblocking: bool,
    bytes: &mut Vec<u8>,
) -> Result<(), Failure> {
    let what = wanted.what;
    let mut chunk = [0; 16 << 10];
    // Without a writer a FIFO says at once that it is at its end; asked whether there is something to read, it would wait.
    let mut waits = !is_nonblocking;
    while bytes.len() as u64 <= wanted.bytes_max {
        if waits && !is_readable(pipe.as_fd(), patience) {
            let why = format!("nothing came out of it for {} s", patience.as_secs());
            let advice = format!("is the {what} still being written?");
            return Err(refuse(ErrorKind::TimedOut, &why, &advice));
        }
        match pipe.read(&mut chunk) {
            Ok(0) if bytes.is_empty() => {
                let advice = format!("name the file with the {what}, or start its writer first");
                let why = "nothing is in this pipe and nobody writes to it";
                return Err(refuse(ErrorKind::UnexpectedEof, why, &advice));
            }
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => waits = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn is_readable(pipe: BorrowedFd<'_>, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    // Where polling fails, reading says why.
    poll(
        &mut [PollFd::from_borrowed_fd(pipe, PollFlags::IN)],
        Some(&timeout),
    ) != Ok(0)
}

/// Why a file of this kind is not read; `None` where it is.
fn refuse_kind(kind: FileType, wanted: &Wanted) -> Option<Failure> {
    if kind.is_file() || (wanted.may_flow && kind.is_fifo()) {
        return None;
    }
    let is = if kind.is_dir() {
        let advice = "name the file in it";
        return Some(refuse(ErrorKind::InvalidInput, "is a directory", advice));
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let advice = format!("write the {} to a file and name that", wanted.what);
    let why = format!("is {is}, not a regular file");
    Some(refuse(ErrorKind::InvalidInput, &why, &advice))
}

fn refuse(kind: ErrorKind, why: &str, advice: &str) -> Failure {
    Failure::Refused(kind, why.to_owned(), advice.to_owned())
}

/// A bound as people read it; all bounds are whole mebibytes.
fn size(bytes: u64) -> String {
    if bytes >= 1 << 30 {
        format!("{}GiB", bytes >> 30)
    } else {
        format!("{}MiB", bytes >> 20)
    }
}

#[cfg(test)]
mod tests;
