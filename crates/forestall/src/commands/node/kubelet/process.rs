//! A kubelet that runs here, found by its name. Of that one process the command line is read, and of no other.

use std::fs;
use std::path::Path;

use super::flags::Flags;
use crate::input;

/// The flags of the kubelet that runs below `root`, the one with the lowest number of several; `None` where there is none
/// or its flags are not shown to us.
pub(crate) fn running(root: &Path) -> Option<(u32, Flags)> {
    let entries = fs::read_dir(root.join("proc")).ok()?;
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().find_map(|number| {
        let dir = root.join("proc").join(number.to_string());
        let comm = input::read_system(&dir.join("comm")).ok()?;
        if comm.trim_ascii_end() != b"kubelet" {
            return None;
        }
        let line = input::read_system(&dir.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        let words = line.split('\0').filter(|word| !word.is_empty());
        let flags = Flags::of_words(words);
        // A script may bear the name, too; only one with flags of a kubelet says anything.
        (flags != Flags::default()).then_some((number, flags))
    })
}
