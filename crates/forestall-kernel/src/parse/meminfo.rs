//! `/proc/meminfo`: the machine's memory by use (`Documentation/filesystems/proc.rst`, `fs/proc/meminfo.c`).

use super::keyed::entries;

/// The fields in bytes, named after the kernel's. A field that the kernel does not print is 0, or `None` where 0 would be
/// taken for a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// `MemTotal`; 0 means that this was no meminfo.
    pub total: u64,
    /// `MemFree`.
    pub free: u64,
    /// `MemAvailable`, the kernel's estimate of what can be had without swapping. Some containers' replacements of
    /// `/proc/meminfo` leave it out.
    pub available: Option<u64>,
    /// `Buffers`: cache of block devices.
    pub buffers: u64,
    /// `Cached`: page cache without `Buffers` and `SwapCached`; shmem is in it.
    pub cached: u64,
    /// `SwapCached`.
    pub swap_cached: u64,
    /// `Active(anon)`.
    pub active_anon: u64,
    /// `Inactive(anon)`.
    pub inactive_anon: u64,
    /// `Active(file)`.
    pub active_file: u64,
    /// `Inactive(file)`.
    pub inactive_file: u64,
    /// `Unevictable`.
    pub unevictable: u64,
    /// `Mlocked`.
    pub mlocked: u64,
    /// `SwapTotal`.
    pub swap_total: u64,
    /// `SwapFree`.
    pub swap_free: u64,
    /// `Zswap`: memory the compressed pool takes (5.19 and later).
    pub zswap: u64,
    /// `Dirty`.
    pub dirty: u64,
    /// `Writeback`.
    pub writeback: u64,
    /// `AnonPages`.
    pub anon: u64,
    /// `Mapped`.
    pub mapped: u64,
    /// `Shmem`: tmpfs, System V and anonymous shared memory.
    pub shmem: u64,
    /// `KReclaimable`.
    pub kernel_reclaimable: u64,
    /// `SReclaimable`.
    pub slab_reclaimable: u64,
    /// `SUnreclaim`.
    pub slab_unreclaimable: u64,
    /// `KernelStack`.
    pub kernel_stack: u64,
    /// `PageTables`.
    pub page_tables: u64,
    /// `SecPageTables`: page tables of virtual machines and IOMMUs (6.1 and later).
    pub secondary_page_tables: u64,
    /// `VmallocUsed`.
    pub vmalloc_used: u64,
    /// `Percpu`.
    pub percpu: u64,
    /// `CommitLimit`.
    pub commit_limit: u64,
    /// `Committed_AS`.
    pub committed: u64,
    /// All huge pages set aside, of every size: `Hugetlb`, or the default size alone where that line is absent.
    pub hugetlb: u64,
}

impl Meminfo {
    /// Reads the file.
    pub fn parse(content: &[u8]) -> Self {
        let mut read = Self::default();
        let mut huge_pages = 0_u64;
        let mut huge_page_size = 0_u64;
        let mut hugetlb = None;
        for entry in entries(content) {
            let Some(value) = entry.bytes() else { continue };
            let field = match entry.key {
                b"MemTotal" => &mut read.total,
                b"MemFree" => &mut read.free,
                b"MemAvailable" => {
                    read.available = Some(value);
                    continue;
                }
                b"Buffers" => &mut read.buffers,
                b"Cached" => &mut read.cached,
                b"SwapCached" => &mut read.swap_cached,
                b"Active(anon)" => &mut read.active_anon,
                b"Inactive(anon)" => &mut read.inactive_anon,
                b"Active(file)" => &mut read.active_file,
                b"Inactive(file)" => &mut read.inactive_file,
                b"Unevictable" => &mut read.unevictable,
                b"Mlocked" => &mut read.mlocked,
                b"SwapTotal" => &mut read.swap_total,
                b"SwapFree" => &mut read.swap_free,
                b"Zswap" => &mut read.zswap,
                b"Dirty" => &mut read.dirty,
                b"Writeback" => &mut read.writeback,
                b"AnonPages" => &mut read.anon,
                b"Mapped" => &mut read.mapped,
                b"Shmem" => &mut read.shmem,
                b"KReclaimable" => &mut read.kernel_reclaimable,
                b"SReclaimable" => &mut read.slab_reclaimable,
                b"SUnreclaim" => &mut read.slab_unreclaimable,
                b"KernelStack" => &mut read.kernel_stack,
                b"PageTables" => &mut read.page_tables,
                b"SecPageTables" => &mut read.secondary_page_tables,
                b"VmallocUsed" => &mut read.vmalloc_used,
                b"Percpu" => &mut read.percpu,
                b"CommitLimit" => &mut read.commit_limit,
                b"Committed_AS" => &mut read.committed,
                b"HugePages_Total" => &mut huge_pages,
                b"Hugepagesize" => &mut huge_page_size,
                b"Hugetlb" => {
                    hugetlb = Some(value);
                    continue;
                }
                _ => continue,
            };
            *field = value;
        }
        read.hugetlb = hugetlb.unwrap_or_else(|| huge_pages.saturating_mul(huge_page_size));
        read
    }

    /// What is left of the machine's memory can be told from it: by the kernel's estimate, or by what that is made of. A file that was
    /// cut off before must not read as a machine with nothing left.
    pub const fn tells_what_is_left(&self) -> bool {
        let has_parts = self.free > 0 && self.active_file.saturating_add(self.inactive_file) > 0;
        self.total > 0 && (self.available.is_some() || has_parts)
    }

    /// Swap in use.
    pub const fn swap_used(&self) -> u64 {
        self.swap_total.saturating_sub(self.swap_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KB: u64 = 1024;

    #[test]
    fn a_file_that_was_cut_off_tells_nothing_of_what_is_left() {
        let whole = include_bytes!("../../fixtures/meminfo-6.1");
        assert!(Meminfo::parse(whole).tells_what_is_left());
        // Up to the end of the second line, and in the middle of the third.
        for lines in [1, 2] {
            let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            let end = ends.map(|(at, _)| at).nth(lines - 1).expect("so many lines");
            for cut in [end + 1, end + 8] {
                assert!(!Meminfo::parse(&whole[..cut]).tells_what_is_left(), "{cut}");
            }
        }
        // Without the estimate its parts do.
        let parts = b"MemTotal: 900 kB\nMemFree: 1 kB\nActive(file): 0 kB\nInactive(file): 4 kB\n";
        assert!(Meminfo::parse(parts).tells_what_is_left());
    }

    #[test]
    fn a_machine_of_6_1_is_read_whole() {
        let read = Meminfo::parse(include_bytes!("../../fixtures/meminfo-6.1"));
        let expected = Meminfo {
            total: 1_004_480 * KB,
            free: 81_236 * KB,
            available: Some(412_900 * KB),
            buffers: 9_120 * KB,
            cached: 390_016 * KB,
            swap_cached: 12 * KB,
            active_anon: 2_048 * KB,
            inactive_anon: 401_024 * KB,
            active_file: 238_064 * KB,
            inactive_file: 159_316 * KB,
            unevictable: 3_072 * KB,
            mlocked: 3_072 * KB,
            swap_total: 524_284 * KB,
            swap_free: 500_000 * KB,
            zswap: 256 * KB,
            dirty: 340 * KB,
            writeback: 16 * KB,
            anon: 401_300 * KB,
            mapped: 96_128 * KB,
            shmem: 1_772 * KB,
            kernel_reclaimable: 41_200 * KB,
            slab_reclaimable: 41_200 * KB,
            slab_unreclaimable: 36_044 * KB,
            kernel_stack: 3_712 * KB,
            page_tables: 8_840 * KB,
            secondary_page_tables: 0,
            vmalloc_used: 14_300 * KB,
            percpu: 688 * KB,
            commit_limit: 1_026_524 * KB,
            committed: 900_112 * KB,
            // 3 pages of 2 MiB and one of 1 GiB: the other size is only in `Hugetlb`.
            hugetlb: (3 * 2_048 + 1_048_576) * KB,
        };
        assert_eq!(read, expected);
        assert_eq!(read.swap_used(), 24_284 * KB);
    }

    #[test]
    fn available_may_be_absent_and_is_not_zero_then() {
        let read = Meminfo::parse(b"MemTotal:  100 kB\nMemFree:  10 kB\n");
        assert_eq!((read.total, read.free, read.available), (102_400, 10_240, None));
    }

    #[test]
    fn without_a_hugetlb_line_the_default_size_counts() {
        let read = Meminfo::parse(b"HugePages_Total:       3\nHugepagesize:       2048 kB\n");
        assert_eq!(read.hugetlb, 3 * 2_048 * KB);
    }
}
