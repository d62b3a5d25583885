//! `/proc/swaps` (`swap_show` in `mm/swapfile.c`).

use super::keyed::lines;
use super::number::{unsigned, words};

/// All swap areas together, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swaps {
    /// Size.
    pub total: u64,
    /// In use.
    pub used: u64,
    /// Size of those that are zram devices: swapping there takes memory to free memory.
    pub zram_total: u64,
    /// In use of those.
    pub zram_used: u64,
}

impl Swaps {
    /// Reads the file: a heading and a line for each area, sizes in units of 1024 bytes. Blanks in a file name are escaped
    /// as `\040`, so that a line has five words.
    pub fn parse(content: &[u8]) -> Self {
        let mut read = Self::default();
        for line in lines(content) {
            let mut words = words(line);
            let (Some(name), Some(_kind)) = (words.next(), words.next()) else {
                continue;
            };
            // The heading has words here, and is passed over like anything else without figures.
            let (Some(size), Some(used)) = (words.next().and_then(unsigned), words.next().and_then(unsigned))
            else {
                continue;
            };
            let (size, used) = (size.saturating_mul(1024), used.saturating_mul(1024));
            read.total = read.total.saturating_add(size);
            read.used = read.used.saturating_add(used);
            if is_zram(name) {
                read.zram_total = read.zram_total.saturating_add(size);
                read.zram_used = read.zram_used.saturating_add(used);
            }
        }
        read
    }
}

/// `/dev/zram0` and its like, wherever the device nodes are.
fn is_zram(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    last.strip_prefix(b"zram")
        .is_some_and(|number| unsigned(number).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_added_up_and_zram_is_told_apart() {
        let read = Swaps::parse(
            b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
              /dev/zram0                              partition\t2097148\t\t1000\t\t100\n\
              /swap\\040file                            file\t\t1048572\t\t24\t\t-2\n",
        );
        let expected = Swaps {
            total: (2_097_148 + 1_048_572) * 1024,
            used: 1_024 * 1024,
            zram_total: 2_097_148 * 1024,
            zram_used: 1_000 * 1024,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_heading_alone_is_no_swap() {
        assert_eq!(
            Swaps::parse(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
            Swaps::default()
        );
    }

    #[test]
    fn only_the_device_is_zram() {
        assert!(is_zram(b"/dev/zram12"));
        assert!(!is_zram(b"/dev/zram0/swapfile"));
        assert!(!is_zram(b"/zram.img"));
    }
}
