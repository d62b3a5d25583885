//! A cgroup v2 tree of plain files in memory, shaped like that of a kubelet: pods of two containers below
//! `kubepods/burstable`. Gone when it is dropped.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const CONTAINERS_PER_POD: usize = 2;

/// The keys of `memory.stat` on Linux 6.12, in its order (`mm/memcontrol.c`, `memory_stats`), with figures of a small web
/// service.
const STAT: [(&str, u64); 49] = [
    ("anon", 52_428_800),
    ("file", 31_457_280),
    ("kernel", 4_194_304),
    ("kernel_stack", 262_144),
    ("pagetables", 524_288),
    ("sec_pagetables", 0),
    ("percpu", 7_392),
    ("sock", 4_096),
    ("vmalloc", 0),
    ("shmem", 1_048_576),
    ("zswap", 0),
    ("zswapped", 0),
    ("file_mapped", 12_582_912),
    ("file_dirty", 4_096),
    ("file_writeback", 0),
    ("swapcached", 0),
    ("anon_thp", 10_485_760),
    ("file_thp", 0),
    ("shmem_thp", 0),
    ("inactive_anon", 51_380_224),
    ("active_anon", 2_097_152),
    ("inactive_file", 20_971_520),
    ("active_file", 9_437_184),
    ("unevictable", 0),
    ("slab_reclaimable", 2_097_152),
    ("slab_unreclaimable", 1_048_576),
    ("slab", 3_145_728),
    ("workingset_refault_anon", 0),
    ("workingset_refault_file", 1_204),
    ("workingset_activate_anon", 0),
    ("workingset_activate_file", 310),
    ("workingset_restore_anon", 0),
    ("workingset_restore_file", 87),
    ("workingset_nodereclaim", 0),
    ("pgscan", 18_230),
    ("pgsteal", 17_990),
    ("pgscan_kswapd", 18_230),
    ("pgscan_direct", 0),
    ("pgscan_khugepaged", 0),
    ("pgsteal_kswapd", 17_990),
    ("pgsteal_direct", 0),
    ("pgsteal_khugepaged", 0),
    ("pgfault", 482_113),
    ("pgmajfault", 214),
    ("pgrefill", 3_120),
    ("pgactivate", 22_870),
    ("pgdeactivate", 3_110),
    ("pglazyfree", 0),
    ("thp_fault_alloc", 5),
];

/// The tree.
pub(crate) struct FileTree {
    root: PathBuf,
}

impl FileTree {
    pub(crate) fn make(containers: usize) -> Self {
        let root = PathBuf::from(format!("/dev/shm/forestall-bench-{}", std::process::id()));
        let tree = Self { root };
        let pods = containers.div_ceil(CONTAINERS_PER_POD);
        tree.add("", containers);
        tree.add("kubepods", containers);
        tree.add("kubepods/burstable", containers);
        for pod in 0..pods {
            let folder = format!("kubepods/burstable/pod00000000-0000-4000-8000-{pod:012x}");
            tree.add(&folder, CONTAINERS_PER_POD);
            for container in 0..CONTAINERS_PER_POD {
                tree.add(
                    &format!("{folder}/{:064x}", pod * CONTAINERS_PER_POD + container),
                    1,
                );
            }
        }
        tree
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// One cgroup that holds so many containers.
    fn add(&self, path: &str, containers: usize) {
        let folder = self.root.join(path);
        fs::create_dir_all(&folder).expect("a folder in /dev/shm");
        let scale = u64::try_from(containers).expect("a small number");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file in /dev/shm");
        let mut stat = String::new();
        for (key, value) in STAT {
            // Writing to a String cannot fail.
            let _ = writeln!(stat, "{key} {}", value * scale);
        }
        write("memory.stat", &stat);
        write("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
        write("cgroup.subtree_control", "cpu io memory pids\n");
        write("cgroup.procs", "");
        write("cgroup.stat", "nr_descendants 387\nnr_dying_descendants 0\n");
        // The root cgroup has neither figures of its own nor limits.
        if !path.is_empty() {
            write("memory.current", &format!("{}\n", 92_274_688 * scale));
            write(
                "memory.max",
                if containers == 1 { "268435456\n" } else { "max\n" },
            );
            write("memory.swap.current", "0\n");
            write("memory.swap.max", "max\n");
            write(
                "memory.events",
                "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
            );
            write("cgroup.events", "populated 1\nfrozen 0\n");
            let stall = "avg10=0.00 avg60=0.00 avg300=0.00 total=48211";
            write("memory.pressure", &format!("some {stall}\nfull {stall}\n"));
        }
    }
}

impl Drop for FileTree {
    fn drop(&mut self) {
        // Left over, it would cost memory until the next boot; saying so is all that can be done.
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("cannot remove {}: {error}", self.root.display());
        }
    }
}
