//! The program's own file, as far as it is in memory.
//!
//! Reading a command line and a configuration takes more code than guarding a machine. Its pages stay mapped as long as the
//! process lives, and where memory is locked they even stay in memory: they are given back once they have done their work. Only
//! pages that are as in the file are, which are page cache before and after. What it refuses to do: give back a page that was
//! written to, or one that its caller wants to keep.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MlockFlags, madvise, mlock_with, munlock};

use crate::{file, process};

/// Pages of the program's own file that were in memory at one time, by number, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResidentCode(Vec<usize>);

/// What of the program's own file is in memory now, of all that is mapped to be read or executed and not to be written.
/// `proc_root`: where proc is mounted.
pub fn resident_code(proc_root: BorrowedFd<'_>) -> Result<ResidentCode> {
    let mut buffer = [0; file::BUFFER_BYTES];
    let own = process::shown_pid(proc_root)?;
    let own = file::open_dir(proc_root, rustix::path::DecInt::new(own).as_c_str())?;
    let maps = file::read_into(&own, c"maps", &mut buffer)?;
    let here = (resident_code as fn(BorrowedFd<'_>) -> Result<ResidentCode>) as *const () as usize;
    let mappings = mappings_beside(maps, here);
    let page = rustix::param::page_size();
    let entries = file::open_read(&own, c"pagemap")?;
    let mut pages = Vec::new();
    for mapping in mappings {
        let mut next = mapping.start / page;
        let end = mapping.end / page;
        while next < end {
            let wanted = (end - next).saturating_mul(ENTRY_BYTES).min(buffer.len());
            let room = buffer.get_mut(..wanted).unwrap_or_default();
            let read = rustix::io::pread(&entries, &mut *room, (next * ENTRY_BYTES) as u64)?;
            let read = room.get(..read).unwrap_or_default().as_chunks::<ENTRY_BYTES>().0;
            if read.is_empty() {
                return Err(Errno::IO);
            }
            let there = read.iter().zip(next..).filter(|(entry, _)| is_of_file(**entry));
            pages.extend(there.map(|(_, page)| page));
            next += read.len();
        }
    }
    Ok(ResidentCode(pages))
}

/// Gives back what is in memory of the program's own file beside what is to be kept; what is needed again comes back from the page
/// cache, or from disk. Where memory is locked, whatever comes back is locked again. `proc_root`: where proc is mounted.
pub fn give_back_code(proc_root: BorrowedFd<'_>, kept: &ResidentCode) -> Result<()> {
    let ResidentCode(mut pages) = resident_code(proc_root)?;
    pages.retain(|page| kept.0.binary_search(page).is_err());
    let size = rustix::param::page_size();
    for run in pages.chunk_by(|one, next| one + 1 == *next) {
        if let [first, ..] = run {
            give_back(first * size, run.len() * size)?;
        }
    }
    Ok(())
}

/// Bytes of an entry of `/proc/PID/pagemap` (`Documentation/admin-guide/mm/pagemap.rst`).
const ENTRY_BYTES: usize = 8;

/// The page is in memory and the file's own: bits 63 and 61. A copy that was written to lacks the second.
const fn is_of_file(entry: [u8; ENTRY_BYTES]) -> bool {
    let both = 1 << 63 | 1 << 61;
    u64::from_ne_bytes(entry) & both == both
}

fn give_back(from: usize, length: usize) -> Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(from);
    // SAFETY: these are pages of a private mapping of this program's file that is not written to, and each is as in the file: it
    // comes back from there when it is touched. Locking changes no content.
    unsafe {
        match madvise(start, length, Advice::LinuxDontNeed) {
            // Locked (`madvise(2)`).
            Err(Errno::INVAL) => {
                munlock(start, length)?;
                let given = madvise(start, length, Advice::LinuxDontNeed);
                mlock_with(start, length, MlockFlags::ONFAULT)?;
                given
            }
            done => done,
        }
    }
}

/// The private mappings of the file whose code has this address that are read or executed but never written
/// (`proc_pid_maps(5)`), in order. A line that the buffer has cut off is none.
fn mappings_beside(maps: &[u8], address: usize) -> Vec<Range<usize>> {
    let end = maps.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let lines = maps.get(..end).unwrap_or_default().split(|byte| *byte == b'\n');
    let mappings: Vec<_> = lines.filter_map(parse_mapping).collect();
    let own = mappings
        .iter()
        .find(|mapping| mapping.rights == "r-xp" && mapping.range.contains(&address));
    let Some(own) = own else { return Vec::new() };
    mappings
        .iter()
        .filter(|mapping| mapping.file == own.file && matches!(mapping.rights, "r-xp" | "r--p"))
        .map(|mapping| mapping.range.clone())
        .collect()
}

struct Mapping<'a> {
    range: Range<usize>,
    rights: &'a str,
    /// Device and inode.
    file: [&'a str; 2],
}

fn parse_mapping(line: &[u8]) -> Option<Mapping<'_>> {
    // A path may be anything but is the last.
    let mut words = line
        .split(|byte| *byte == b' ')
        .map_while(|word| std::str::from_utf8(word).ok());
    let (from, to) = words.next()?.split_once('-')?;
    let from = usize::from_str_radix(from, 16).ok()?;
    let to = usize::from_str_radix(to, 16).ok()?;
    let rights = words.next()?;
    let file = [words.nth(1)?, words.next()?];
    // Without a file there is nowhere to come back from.
    (file[1] != "0").then_some(Mapping {
        range: from..to,
        rights,
        file,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const MAPS: &[u8] = b"\
        6000-7000 r--p 00000000 00:00 0 \n\
        7000-8000 r--p 00000000 fe:00 12                 /bin/it\n\
        8000-9000 r-xp 00001000 fe:00 12                 /bin/it\n\
        9000-a000 rwxp 00002000 fe:00 12                 /bin/it\n\
        a000-b000 r--p 00003000 fe:00 12                 /bin/it\n\
        b000-c000 rw-p 00004000 fe:00 12                 /bin/it\n\
        c000-d000 r-xs 00002000 fe:00 12                 /bin/it\n\
        d000-e000 r--p 00002000 fe:00 13                 /bin/other \xff\n\
        e000-f000 r--p 00002000 fe:00 12";

    #[test]
    fn only_mappings_of_the_own_file_that_nobody_writes_count() {
        for inside in [0x8000, 0x8fff] {
            assert_eq!(
                mappings_beside(MAPS, inside),
                [0x7000..0x8000, 0x8000..0x9000, 0xa000..0xb000]
            );
        }
        for elsewhere in [0x6fff, 0x7fff, 0x9000, 0xa000, 0xc000] {
            assert_eq!(mappings_beside(MAPS, elsewhere), [], "{elsewhere:x}");
        }
        assert_eq!(mappings_beside(b"", 0), []);
    }

    #[test]
    fn a_page_that_was_written_to_is_not_of_the_file() {
        // pagemap.rst: 63 present, 62 swapped, 61 of a file or shared, 55 soft-dirty.
        for (bits, is_there) in [
            (1 << 63 | 1 << 61, true),
            (1 << 63 | 1 << 61 | 1 << 55, true),
            (1 << 63, false),
            (1 << 62 | 1 << 61, false),
            (0, false),
        ] {
            assert_eq!(is_of_file(u64::to_ne_bytes(bits)), is_there, "{bits:x}");
        }
    }

    #[test]
    fn what_is_kept_stays_and_the_rest_goes_and_comes_back() {
        let proc_root = std::fs::File::open("/proc").expect("/proc");
        let all = resident_code(proc_root.as_fd()).expect("pagemap");
        assert!(all.0.is_sorted() && all.0.len() > 16, "{}", all.0.len());
        // Other tests run meanwhile and need other pages; what is kept is never taken.
        assert_eq!(give_back_code(proc_root.as_fd(), &all), Ok(()));
        let after = resident_code(proc_root.as_fd()).expect("pagemap");
        assert!(all.0.iter().all(|page| after.0.binary_search(page).is_ok()));
        assert_eq!(
            give_back_code(proc_root.as_fd(), &ResidentCode::default()),
            Ok(())
        );
        let after = resident_code(proc_root.as_fd()).expect("pagemap");
        let left = all.0.iter().filter(|page| after.0.binary_search(page).is_ok());
        let (left, all) = (left.count(), all.0.len());
        assert!(left < all, "{left} of {all}");
    }

    #[test]
    fn what_was_locked_is_locked_again() {
        let page = rustix::param::page_size();
        let here = give_back as fn(usize, usize) -> Result<()> as *const () as usize / page * page;
        let start = std::ptr::with_exposed_provenance_mut(here);
        let is_locked = || {
            // SAFETY: as in `give_back`.
            unsafe { madvise(start, page, Advice::LinuxDontNeed) == Err(Errno::INVAL) }
        };
        assert!(!is_locked());
        // SAFETY: a page of this program's code, which can be read.
        unsafe { mlock_with(start, page, MlockFlags::ONFAULT) }.expect("one page may be locked");
        assert!(is_locked());
        assert_eq!(give_back(here, page), Ok(()));
        assert!(is_locked());
    }
}
