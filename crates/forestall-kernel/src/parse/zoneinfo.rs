//! `/proc/zoneinfo`: the watermarks below which the kernel reclaims and, in the end, kills (`zoneinfo_show_print` in
//! `mm/vmstat.c`).

use super::keyed::lines;
use super::number::{unsigned, words};

/// Sums over the zones that hold memory, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zoneinfo {
    /// Only allocations that may not fail go below this.
    pub watermark_min: u64,
    /// Background reclaim starts here.
    pub watermark_low: u64,
    /// Background reclaim stops here.
    pub watermark_high: u64,
    /// Free pages.
    pub free: u64,
    /// Pages under the allocator's management.
    pub managed: u64,
}

/// One zone, in pages.
#[derive(Clone, Copy, Default)]
struct Zone {
    min: Option<u64>,
    low: Option<u64>,
    high: Option<u64>,
    free: Option<u64>,
    managed: Option<u64>,
}

impl Zoneinfo {
    /// Reads the file; `page_bytes` is the size of a page on this machine.
    pub fn parse(content: &[u8], page_bytes: u64) -> Self {
        let mut sum = Self::default();
        let mut zone = Zone::default();
        for line in lines(content) {
            if line.starts_with(b"Node ") {
                sum.add(&zone, page_bytes);
                zone = Zone::default();
            } else {
                zone.note(line);
            }
        }
        sum.add(&zone, page_bytes);
        sum
    }

    /// Zones without managed pages keep watermarks of their own (`Movable` shows 32 of each) that stand for no memory.
    fn add(&mut self, zone: &Zone, page_bytes: u64) {
        if zone.managed.unwrap_or(0) == 0 {
            return;
        }
        let add = |sum: &mut u64, pages: Option<u64>| {
            *sum = sum.saturating_add(pages.unwrap_or(0).saturating_mul(page_bytes));
        };
        add(&mut self.watermark_min, zone.min);
        add(&mut self.watermark_low, zone.low);
        add(&mut self.watermark_high, zone.high);
        add(&mut self.free, zone.free);
        add(&mut self.managed, zone.managed);
    }
}

impl Zone {
    /// The per-processor lists further down have a `high:` of their own, with a colon, which makes it another word here.
    fn note(&mut self, line: &[u8]) {
        let mut words = words(line);
        let (field, value) = match words.next() {
            Some(b"pages") => match words.next() {
                Some(b"free") => (&mut self.free, words.next()),
                _ => return,
            },
            Some(b"min") => (&mut self.min, words.next()),
            Some(b"low") => (&mut self.low, words.next()),
            Some(b"high") => (&mut self.high, words.next()),
            Some(b"managed") => (&mut self.managed, words.next()),
            _ => return,
        };
        if field.is_none() {
            *field = value.and_then(unsigned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    #[test]
    fn zones_with_memory_are_added_up_and_empty_ones_left_out() {
        let read = Zoneinfo::parse(include_bytes!("../../fixtures/zoneinfo-5.10"), PAGE);
        let expected = Zoneinfo {
            watermark_min: (58 + 1_365) * PAGE,
            watermark_low: (72 + 1_706) * PAGE,
            watermark_high: (86 + 2_047) * PAGE,
            free: (3_840 + 16_469) * PAGE,
            managed: (3_840 + 118_976) * PAGE,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_per_processor_lists_of_6_12_do_not_pass_for_watermarks() {
        let read = Zoneinfo::parse(include_bytes!("../../fixtures/zoneinfo-6.12"), PAGE);
        assert_eq!(read.watermark_min, (58 + 1_877) * PAGE);
        assert_eq!(read.watermark_high, (86 + 2_559) * PAGE);
    }

    #[test]
    fn the_page_size_is_the_callers() {
        let content = b"Node 0, zone   Normal\n  pages free     7\n        min      3\n        managed  10\n";
        let read = Zoneinfo::parse(content, 65_536);
        assert_eq!((read.free, read.watermark_min), (7 * 65_536, 3 * 65_536));
        assert_eq!(Zoneinfo::parse(content, u64::MAX).free, u64::MAX);
    }
}
