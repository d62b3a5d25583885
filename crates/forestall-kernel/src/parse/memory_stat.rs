//! `memory.stat` of a cgroup, on v2 (`Documentation/admin-guide/cgroup-v2.rst`) and on v1
//! (`Documentation/admin-guide/cgroup-v1/memory.rst`). Both include the descendants: on v1 that is what the `total_` keys
//! are for.

use super::keyed::{Entry, entries};
use super::limit::Limit;

/// The parts of a cgroup's memory in bytes, unless a name says pages. What the kernel does not print is 0, or `None` where
/// 0 would be taken for a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Anonymous memory. On v1 this is `total_rss`, which counts the swap cache in.
    pub anon: u64,
    /// Page cache with shmem in it. On v1 `total_cache`.
    pub file: u64,
    /// tmpfs, System V and shared anonymous memory; also in `file`.
    pub shmem: u64,
    /// Page cache that processes have mapped.
    pub file_mapped: u64,
    /// Page cache that has to be written back before it can go.
    pub file_dirty: u64,
    /// Page cache being written back.
    pub file_writeback: u64,
    /// Anonymous and shmem pages on the active list.
    pub active_anon: u64,
    /// Anonymous and shmem pages on the inactive list.
    pub inactive_anon: u64,
    /// Page cache on the active list.
    pub active_file: u64,
    /// Page cache on the inactive list.
    pub inactive_file: u64,
    /// Locked or otherwise out of reclaim's reach.
    pub unevictable: u64,
    /// Dentries, inodes and the like. Not on v1, which accounts kernel memory elsewhere (`memory.kmem.usage_in_bytes`).
    pub slab_reclaimable: u64,
    /// Other slab. Not on v1.
    pub slab_unreclaimable: u64,
    /// Kernel stacks. Not on v1.
    pub kernel_stack: u64,
    /// Page tables (5.11 and later). Not on v1.
    pub page_tables: u64,
    /// Page tables of virtual machines and IOMMUs (6.1 and later). Not on v1.
    pub secondary_page_tables: u64,
    /// Network buffers. Not on v1.
    pub sock: u64,
    /// Per-processor allocations (5.9 and later). Not on v1.
    pub percpu: u64,
    /// `vmalloc` (5.17 and later). Not on v1.
    pub vmalloc: u64,
    /// All kernel memory of the cgroup (5.18 and later); `None` where the kernel does not add it up.
    pub kernel: Option<u64>,
    /// Memory that the compressed swap pool takes for this cgroup (5.19 and later).
    pub zswap: u64,
    /// What lies in that pool, as it was before compression (5.19 and later).
    pub zswapped: u64,
    /// Swap cache: pages both in memory and in swap (5.12 and later).
    pub swap_cached: u64,
    /// Swap in use; v1 only, v2 has `memory.swap.current`.
    pub swap: Option<u64>,
    /// Pages of page cache that were read again soon after they had been dropped, since the cgroup was made. Before 5.9 anon
    /// and file are one figure; on v1 it came years later and is 0 before.
    pub refault_file_pages: u64,
    /// The same for anonymous pages, read back from swap.
    pub refault_anon_pages: u64,
    /// Pages looked at by reclaim.
    pub pgscan_pages: u64,
    /// Pages freed by reclaim.
    pub pgsteal_pages: u64,
    /// Page faults that had to wait for a disk.
    pub major_faults: u64,
    /// The smallest limit of this cgroup and its ancestors; v1 only.
    pub hierarchical_limit: Option<Limit>,
}

impl MemoryStat {
    /// Reads the v2 file.
    pub fn parse_v2(content: &[u8]) -> Self {
        let mut read = Self::default();
        for entry in entries(content) {
            if let Some(field) = read.field_v2(entry.key) {
                *field = entry.number();
            } else if entry.key == b"kernel" {
                read.kernel = Some(entry.number());
            }
        }
        read
    }

    /// Reads the v1 file. Only its `total_` keys are looked at: the plain ones leave the descendants out, and a pod's
    /// cgroup has no processes of its own.
    pub fn parse_v1(content: &[u8]) -> Self {
        let mut read = Self::default();
        for entry in entries(content) {
            if entry.key == b"hierarchical_memory_limit" {
                read.hierarchical_limit = entry.bytes().map(Limit::from_bytes);
            } else if let Some(key) = entry.key.strip_prefix(b"total_") {
                read.note_v1(&Entry {
                    key,
                    value: entry.value,
                });
            }
        }
        read
    }

    /// By length first: most of the file's fifty keys are then told apart by two or three comparisons instead of thirty.
    fn field_v2(&mut self, key: &[u8]) -> Option<&mut u64> {
        Some(match key.len() {
            4 => match key {
                b"anon" => &mut self.anon,
                b"file" => &mut self.file,
                b"sock" => &mut self.sock,
                _ => return None,
            },
            5 => match key {
                b"shmem" => &mut self.shmem,
                b"zswap" => &mut self.zswap,
                _ => return None,
            },
            6 => match key {
                b"percpu" => &mut self.percpu,
                b"pgscan" => &mut self.pgscan_pages,
                _ => return None,
            },
            7 => match key {
                b"vmalloc" => &mut self.vmalloc,
                b"pgsteal" => &mut self.pgsteal_pages,
                _ => return None,
            },
            8 if key == b"zswapped" => &mut self.zswapped,
            10 => match key {
                b"file_dirty" => &mut self.file_dirty,
                b"pagetables" => &mut self.page_tables,
                b"swapcached" => &mut self.swap_cached,
                b"pgmajfault" => &mut self.major_faults,
                _ => return None,
            },
            11 => match key {
                b"file_mapped" => &mut self.file_mapped,
                b"active_anon" => &mut self.active_anon,
                b"active_file" => &mut self.active_file,
                b"unevictable" => &mut self.unevictable,
                _ => return None,
            },
            12 if key == b"kernel_stack" => &mut self.kernel_stack,
            13 => match key {
                b"inactive_anon" => &mut self.inactive_anon,
                b"inactive_file" => &mut self.inactive_file,
                _ => return None,
            },
            14 => match key {
                b"file_writeback" => &mut self.file_writeback,
                b"sec_pagetables" => &mut self.secondary_page_tables,
                _ => return None,
            },
            16 if key == b"slab_reclaimable" => &mut self.slab_reclaimable,
            18 => match key {
                b"slab_unreclaimable" => &mut self.slab_unreclaimable,
                b"workingset_refault" => &mut self.refault_file_pages,
                _ => return None,
            },
            23 => match key {
                b"workingset_refault_file" => &mut self.refault_file_pages,
                b"workingset_refault_anon" => &mut self.refault_anon_pages,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn note_v1(&mut self, entry: &Entry<'_>) {
        let field = match entry.key {
            b"rss" => &mut self.anon,
            b"cache" => &mut self.file,
            b"shmem" => &mut self.shmem,
            b"mapped_file" => &mut self.file_mapped,
            b"dirty" => &mut self.file_dirty,
            b"writeback" => &mut self.file_writeback,
            b"active_anon" => &mut self.active_anon,
            b"inactive_anon" => &mut self.inactive_anon,
            b"active_file" => &mut self.active_file,
            b"inactive_file" => &mut self.inactive_file,
            b"unevictable" => &mut self.unevictable,
            b"swapcached" => &mut self.swap_cached,
            b"workingset_refault_file" => &mut self.refault_file_pages,
            b"workingset_refault_anon" => &mut self.refault_anon_pages,
            b"pgmajfault" => &mut self.major_faults,
            b"swap" => {
                self.swap = Some(entry.number());
                return;
            }
            _ => return,
        };
        *field = entry.number();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_of_5_10_has_no_page_tables_and_no_sum_of_kernel_memory() {
        let read = MemoryStat::parse_v2(include_bytes!("../../fixtures/memory.stat-v2-5.10"));
        assert_eq!(
            (read.anon, read.file, read.shmem),
            (104_857_600, 776_994_816, 1_048_576)
        );
        assert_eq!((read.active_file, read.inactive_file), (775_897_088, 49_152));
        assert_eq!(
            (read.active_anon, read.inactive_anon, read.unevictable),
            (0, 105_906_176, 12_288)
        );
        assert_eq!(
            (read.file_mapped, read.file_dirty, read.file_writeback),
            (4_194_304, 135_168, 8_192)
        );
        assert_eq!(
            (read.slab_reclaimable, read.slab_unreclaimable),
            (2_621_440, 1_310_720)
        );
        assert_eq!(
            (read.kernel_stack, read.percpu, read.sock),
            (147_456, 73_728, 4_096)
        );
        assert_eq!((read.kernel, read.page_tables, read.swap), (None, 0, None));
        assert_eq!((read.refault_anon_pages, read.refault_file_pages), (3, 41_231));
        assert_eq!(
            (read.pgscan_pages, read.pgsteal_pages, read.major_faults),
            (60_040, 59_800, 811)
        );
    }

    #[test]
    fn v2_of_6_1_is_read_whole() {
        let read = MemoryStat::parse_v2(include_bytes!("../../fixtures/memory.stat-v2-6.1"));
        let expected = MemoryStat {
            anon: 16_699_392,
            file: 8_388_608,
            shmem: 1_048_576,
            file_mapped: 20_480,
            file_dirty: 12_288,
            file_writeback: 4_096,
            active_anon: 1_093_632,
            inactive_anon: 16_654_336,
            active_file: 1_048_576,
            inactive_file: 6_291_456,
            unevictable: 32_768,
            slab_reclaimable: 1_840,
            slab_unreclaimable: 13_160,
            kernel_stack: 16_384,
            page_tables: 40_960,
            secondary_page_tables: 0,
            sock: 4_096,
            percpu: 2_048,
            vmalloc: 8_192,
            kernel: Some(77_824),
            zswap: 0,
            zswapped: 0,
            swap_cached: 28_672,
            swap: None,
            refault_file_pages: 6,
            refault_anon_pages: 5,
            pgscan_pages: 70,
            pgsteal_pages: 60,
            major_faults: 9,
            hierarchical_limit: None,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn v2_of_6_12_adds_its_kernel_memory_up() {
        let read = MemoryStat::parse_v2(include_bytes!("../../fixtures/memory.stat-v2-6.12"));
        assert_eq!(read.kernel, Some(20_971_520));
        assert_eq!(
            (read.page_tables, read.secondary_page_tables, read.vmalloc),
            (6_291_456, 4_096, 16_384)
        );
        assert_eq!(
            (read.zswap, read.zswapped, read.swap_cached),
            (524_288, 2_097_152, 4_096)
        );
        // `pgscan` is its own line and not one of `pgscan_kswapd` and its like.
        assert_eq!((read.pgscan_pages, read.pgsteal_pages), (9_000, 8_000));
    }

    #[test]
    fn v1_counts_the_descendants() {
        // A pod's cgroup has no processes of its own: its plain figures are all 0.
        let read = MemoryStat::parse_v1(include_bytes!("../../fixtures/memory.stat-v1-5.10"));
        let expected = MemoryStat {
            anon: 104_857_600,
            file: 776_994_816,
            shmem: 1_048_576,
            file_mapped: 4_194_304,
            file_dirty: 135_168,
            file_writeback: 8_192,
            active_anon: 4_096,
            inactive_anon: 105_906_176,
            active_file: 775_897_088,
            inactive_file: 49_152,
            unevictable: 12_288,
            swap: Some(40_960),
            major_faults: 1_077,
            hierarchical_limit: Some(Limit::Bytes(1_019_215_872)),
            ..MemoryStat::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn refaults_of_before_5_9_are_one_figure() {
        assert_eq!(
            MemoryStat::parse_v2(b"workingset_refault 77\n").refault_file_pages,
            77
        );
    }
}
