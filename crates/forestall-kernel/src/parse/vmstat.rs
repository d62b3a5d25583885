//! `/proc/vmstat`: the machine's memory events since boot (`mm/vmstat.c`).

use super::keyed::entries;

/// The counters that matter here. One that the kernel lacks is 0, or `None` where 0 would be taken for a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vmstat {
    /// Processes killed by the kernel's OOM killer, global and cgroup ones together (4.13 and later).
    pub oom_kills: Option<u64>,
    /// Pages of page cache that were read again soon after they had been dropped. Before 5.9 anon and file are one figure.
    pub refault_file_pages: u64,
    /// The same for anonymous pages.
    pub refault_anon_pages: u64,
    /// Pages looked at by reclaim in an allocating task: somebody waited for them.
    pub pgscan_direct_pages: u64,
    /// Pages looked at by the background reclaimer.
    pub pgscan_kswapd_pages: u64,
    /// Pages freed by reclaim in an allocating task.
    pub pgsteal_direct_pages: u64,
    /// Pages freed by the background reclaimer.
    pub pgsteal_kswapd_pages: u64,
    /// Pages freed because somebody wrote to `memory.reclaim` (recent kernels; counted as direct before).
    pub pgsteal_proactive_pages: u64,
    /// Pages read back from swap.
    pub swap_in_pages: u64,
    /// Pages written to swap.
    pub swap_out_pages: u64,
    /// Page faults that had to wait for a disk.
    pub major_faults: u64,
    /// How often an allocating task had to reclaim, all zones together.
    pub allocation_stalls: u64,
}

impl Vmstat {
    /// Reads the file.
    pub fn parse(content: &[u8]) -> Self {
        let mut read = Self::default();
        for entry in entries(content) {
            let field = match entry.key {
                b"oom_kill" => {
                    read.oom_kills = Some(entry.number());
                    continue;
                }
                b"workingset_refault_file" | b"workingset_refault" => &mut read.refault_file_pages,
                b"workingset_refault_anon" => &mut read.refault_anon_pages,
                b"pgscan_direct" => &mut read.pgscan_direct_pages,
                b"pgscan_kswapd" => &mut read.pgscan_kswapd_pages,
                b"pgsteal_direct" => &mut read.pgsteal_direct_pages,
                b"pgsteal_kswapd" => &mut read.pgsteal_kswapd_pages,
                b"pgsteal_proactive" => &mut read.pgsteal_proactive_pages,
                b"pswpin" => &mut read.swap_in_pages,
                b"pswpout" => &mut read.swap_out_pages,
                b"pgmajfault" => &mut read.major_faults,
                key if key.starts_with(b"allocstall_") => {
                    read.allocation_stalls = read.allocation_stalls.saturating_add(entry.number());
                    continue;
                }
                _ => continue,
            };
            *field = entry.number();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_6_1_is_read() {
        let read = Vmstat::parse(include_bytes!("../../fixtures/vmstat-6.1"));
        let expected = Vmstat {
            oom_kills: Some(3),
            refault_file_pages: 87_486,
            refault_anon_pages: 12,
            pgscan_direct_pages: 3_001,
            pgscan_kswapd_pages: 90_001,
            pgsteal_direct_pages: 2_310,
            pgsteal_kswapd_pages: 80_112,
            pgsteal_proactive_pages: 0,
            swap_in_pages: 12,
            swap_out_pages: 6_071,
            major_faults: 2_201,
            // 0 + 11 + 31 + 4.
            allocation_stalls: 46,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn an_old_kernel_has_one_refault_figure_and_no_kill_counter() {
        let read = Vmstat::parse(b"workingset_refault 5\npgscan_direct_throttle 9\n");
        assert_eq!(
            read,
            Vmstat {
                refault_file_pages: 5,
                ..Vmstat::default()
            }
        );
    }
}
