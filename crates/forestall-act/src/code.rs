//! The program's own code, as far as it is in memory.
//!
//! Reading a command line and a configuration takes more code than guarding a machine. Its pages stay mapped as long as the
//! process lives, and where memory is locked they even stay in memory: they are given back once they have done their work.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::mm::{Advice, madvise};

use crate::{file, process};

/// Gives back the code that was needed so far; what is needed again comes back from the page cache, or from disk. To be called
/// before memory is locked (`EINVAL` otherwise, `madvise(2)`) and before what is to stay there runs for the first time.
/// `proc_root`: where proc is mounted.
pub fn give_back_code(proc_root: BorrowedFd<'_>) -> Result<()> {
    let mut buffer = [0; file::BUFFER_BYTES];
    let own = process::shown_pid(proc_root)?;
    let own = file::open_dir(proc_root, rustix::path::DecInt::new(own).as_c_str())?;
    let maps = file::read_into(own, c"maps", &mut buffer)?;
    let here = (give_back_code as fn(BorrowedFd<'_>) -> Result<()>) as *const () as usize;
    let (from, to) = code_around(maps, here).ok_or(Errno::NOENT)?;
    // SAFETY: the range is one mapping of this program's file that can be executed and not written, so every page of it is as in
    // the file and comes back from there when it is touched.
    unsafe {
        madvise(
            std::ptr::with_exposed_provenance_mut(from),
            to - from,
            Advice::LinuxDontNeed,
        )
    }
}

/// The private mapping that is read and executed but never written, and that has this address (`proc_pid_maps(5)`).
fn code_around(maps: &[u8], address: usize) -> Option<(usize, usize)> {
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        let to = usize::from_str_radix(to, 16).ok()?;
        (words.next()? == "r-xp" && (from..to).contains(&address)).then_some((from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const MAPS: &[u8] = b"\
        7f00-8000 r--p 00000000 fe:00 12  /bin/it\n\
        8000-9000 r-xp 00001000 fe:00 12  /bin/it\n\
        9000-a000 rwxp 00002000 fe:00 12  /bin/it\n\
        a000-b000 r-xs 00002000 fe:00 12  /bin/other \xff\n\
        c000-";

    #[test]
    fn only_code_that_nobody_writes_is_given_back() {
        assert_eq!(code_around(MAPS, 0x8000), Some((0x8000, 0x9000)));
        assert_eq!(code_around(MAPS, 0x8fff), Some((0x8000, 0x9000)));
        for elsewhere in [0x7fff, 0x9000, 0xa000, 0xc000] {
            assert_eq!(code_around(MAPS, elsewhere), None, "{elsewhere:x}");
        }
    }

    #[test]
    fn what_is_given_back_comes_back() {
        let proc_root = std::fs::File::open("/proc").expect("/proc");
        for _ in 0..3 {
            assert_eq!(give_back_code(proc_root.as_fd()), Ok(()));
        }
    }
}
