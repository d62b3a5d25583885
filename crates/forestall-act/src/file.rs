//! Small kernel files, read and written relative to an open directory into buffers of the caller. Nothing here
//! allocates, because a kill happens when memory is short.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// Enough for `memory.stat`, `/proc/PID/stat` and every other file that is read whole here.
pub(crate) const BUFFER_BYTES: usize = 8192;

/// Opens a file below `dir` for reading, never following a link.
pub(crate) fn open_read(dir: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

/// Opens an existing file below `dir` for writing. Never creates one: a file the kernel does not offer stays missing.
pub(crate) fn open_write(dir: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(
        dir,
        name,
        OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

/// Opens a directory below `dir`.
pub(crate) fn open_dir(dir: impl AsFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Reads up to the buffer's length from the start of a file.
pub(crate) fn read_into<'a>(dir: impl AsFd, name: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let file = open_read(dir, name)?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Writes once, from the start of the file: kernel files take one write as one command.
pub(crate) fn write_once(file: impl AsFd, bytes: &[u8]) -> Result<()> {
    let written = rustix::io::pwrite(file, bytes, 0)?;
    if written == bytes.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}

/// Reads a file that holds one number.
pub(crate) fn read_number(dir: BorrowedFd<'_>, name: &CStr) -> Result<u64> {
    let mut buffer = [0; 64];
    parse_number(read_into(dir, name, &mut buffer)?).ok_or(Errno::INVAL)
}

/// Reads the value of `key` from a file of `key value` lines, such as `memory.stat`.
pub(crate) fn read_keyed(dir: BorrowedFd<'_>, name: &CStr, key: &[u8]) -> Result<Option<u64>> {
    let mut buffer = [0; BUFFER_BYTES];
    Ok(find_keyed(read_into(dir, name, &mut buffer)?, key))
}

/// The value of the line `key value`.
pub(crate) fn find_keyed(text: &[u8], key: &[u8]) -> Option<u64> {
    text.split(|byte| *byte == b'\n')
        .find_map(|line| parse_number(line.strip_prefix(key)?.strip_prefix(b" ")?))
}

/// The value of `total=` in the line `some …` of a pressure file, microseconds (`Documentation/accounting/psi.rst`).
pub(crate) fn find_stall_some_micros(text: &[u8]) -> Option<u64> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"some "))?;
    line.split(|byte| *byte == b' ')
        .find_map(|word| parse_number(word.strip_prefix(b"total=")?))
}

/// A decimal number with white space around it.
pub(crate) fn parse_number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A text of at most 48 bytes on the stack, for numbers and commands on their way into a kernel file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShortText {
    bytes: [[u8; 16]; 3],
    length: usize,
}

impl ShortText {
    /// The number in decimal, followed by `suffix` as far as there is room.
    pub(crate) fn number(value: u64, suffix: &[u8]) -> Self {
        let mut text = Self::default();
        text.push(rustix::path::DecInt::new(value).as_bytes());
        text.push(suffix);
        text
    }

    /// A copy of `bytes`, or `None` where they do not fit.
    pub(crate) fn copy(bytes: &[u8]) -> Option<Self> {
        let mut text = Self::default();
        text.push(bytes);
        (text.length == bytes.len()).then_some(text)
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes.as_flattened_mut().iter_mut().skip(self.length);
        for (to, from) in room.zip(bytes) {
            *to = *from;
            self.length += 1;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_flattened().get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_and_bounded() {
        assert_eq!(parse_number(b" 4096\n"), Some(4096));
        assert_eq!(parse_number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_number(b"18446744073709551616"), None);
        assert_eq!(parse_number(b"max"), None);
        assert_eq!(parse_number(b""), None);
    }

    #[test]
    fn keys_match_whole_words_only() {
        let text = b"anon 8192\nfile 4096\nfile_mapped 12\n";
        assert_eq!(find_keyed(text, b"file"), Some(4096));
        assert_eq!(find_keyed(text, b"fil"), None);
        assert_eq!(find_keyed(text, b"shmem"), None);
    }

    #[test]
    fn stall_is_the_some_total() {
        // The example of Documentation/accounting/psi.rst, with totals.
        let text = b"some avg10=0.22 avg60=0.17 avg300=1.11 total=58761459\nfull avg10=0.22 avg60=0.16 avg300=1.08 total=58464525\n";
        assert_eq!(find_stall_some_micros(text), Some(58_761_459));
        assert_eq!(find_stall_some_micros(b"full avg10=0.00 total=3\n"), None);
    }

    #[test]
    fn short_texts_hold_a_number_and_its_suffix() {
        assert_eq!(
            ShortText::number(u64::MAX, b" swappiness=0").as_bytes(),
            b"18446744073709551615 swappiness=0"
        );
        assert_eq!(
            ShortText::copy(&[b'x'; 48]).map(|text| text.as_bytes().len()),
            Some(48)
        );
        assert_eq!(ShortText::copy(&[b'x'; 49]), None);
    }
}
