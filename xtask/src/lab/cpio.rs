//! Writes an initramfs: a cpio archive in the kernel's "newc" format, uncompressed.
//!
//! The format is that of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: a header of 110 ASCII
//! characters, the name, the content, each padded to four bytes, and a last entry named `TRAILER!!!`.
use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// An archive that is being written.
pub(crate) struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// A directory; its parents come first.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, &[], (0, 0))
    }

    /// A file that anybody may read and run.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, content, (0, 0))
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, DEVICE, &[], (major, minor))
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[], (0, 0))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) -> io::Result<()> {
        self.entries += 1;
        let too_large = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path}: too large for an initramfs"),
            )
        };
        let content_bytes = u32::try_from(content.len()).map_err(|_| too_large())?;
        let name_bytes = u32::try_from(path.len() + 1).map_err(|_| too_large())?;
        // Fields in order: inode, mode, uid, gid, links, mtime, size, major and minor of the file's own device, major
        // and minor of the device that it is, length of the name with its NUL, and a checksum that "newc" leaves at 0.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            content_bytes,
            0,
            0,
            device.0,
            device.1,
            name_bytes,
            0,
        ];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + name_bytes as usize)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..(4 - written % 4) % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Built by hand from the format's description, field by field.
    #[test]
    fn one_file_and_the_trailer_are_these_bytes() {
        let mut archive = Archive::new(Vec::new());
        archive.file("ab", b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let mut expected: Vec<u8> = Vec::new();
        expected.extend(b"070701");
        for field in [
            "00000001", "000081ed", "00000000", "00000000", "00000001", "00000000", "00000005", "00000000",
            "00000000", "00000000", "00000000", "00000003", "00000000",
        ] {
            expected.extend(field.as_bytes());
        }
        // 110 + 3 bytes are padded to 116, 5 to 8.
        expected.extend(b"ab\0\0\0\0hello\0\0\0");
        expected.extend(b"070701");
        for field in [
            "00000002", "00000000", "00000000", "00000000", "00000001", "00000000", "00000000", "00000000",
            "00000000", "00000000", "00000000", "0000000b", "00000000",
        ] {
            expected.extend(field.as_bytes());
        }
        // 110 + 11 bytes are padded to 124.
        expected.extend(b"TRAILER!!!\0\0\0\0");
        assert_eq!(bytes, expected);
    }
}
