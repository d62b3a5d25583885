//! This machine as it is: the kernel's figures and the kubelet's, and what the second does not see.
//!
//! The kubelet's figure of the node is anonymous memory and page cache less inactive page cache, on both cgroup versions
//! (the root of v1 shows nothing else either). What is in neither, and cannot be given away, is blind: the kubelet lets the
//! node run into the kernel's own end with it.

use std::path::Path;

use forestall_decide::Bytes;
use forestall_kernel::parse::{Limit, Meminfo};
use serde::Serialize;

use super::wall::Usage;
use crate::commands::free::level::{Level, Most};
use crate::commands::free::locate::{Located, locate};
use crate::commands::free::meminfo::{Believed, read_meminfo};
use crate::commands::free::shown;

/// Where `kubepods` may lie below the top of the hierarchy: cgroupfs driver, systemd driver, and both again in kind.
const KUBEPODS: [&str; 4] = [
    "kubepods",
    "kubepods.slice",
    "kubelet/kubepods",
    "kubelet.slice/kubelet-kubepods.slice",
];

/// Memory that the kernel cannot give away and the kubelet does not count, by kind, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "every figure carries its unit, last in its name"
)]
pub(crate) struct Blind {
    /// All of it.
    pub(crate) total_bytes: u64,
    /// Kernel objects that cannot be dropped.
    pub(crate) slab_bytes: u64,
    /// Page tables, those of virtual machines and IOMMUs with them.
    pub(crate) page_tables_bytes: u64,
    /// A stack for each thread.
    pub(crate) kernel_stack_bytes: u64,
    /// Per-processor data.
    pub(crate) percpu_bytes: u64,
    /// Huge pages set aside.
    pub(crate) hugetlb_bytes: u64,
    /// Network buffers; `None` where the kernel does not tell (cgroup v1).
    pub(crate) sockets_bytes: Option<u64>,
    /// What no counter names: drivers, vmalloc, and sockets where they are not told.
    pub(crate) unnamed_bytes: u64,
}

impl Blind {
    /// What `meminfo` leaves to be blind for.
    pub(crate) fn of(meminfo: &Meminfo, sockets: Option<u64>) -> Self {
        let page_tables = meminfo.page_tables.saturating_add(meminfo.secondary_page_tables);
        let named = [
            meminfo.slab_unreclaimable,
            page_tables,
            meminfo.kernel_stack,
            meminfo.percpu,
            meminfo.hugetlb,
            sockets.unwrap_or(0),
        ];
        let named: u64 = named.into_iter().fold(0, u64::saturating_add);
        let elsewhere = [
            meminfo.free,
            meminfo.anon,
            cache_of(meminfo),
            meminfo.slab_reclaimable.max(meminfo.kernel_reclaimable),
            named,
        ];
        let unnamed = elsewhere.into_iter().fold(meminfo.total, u64::saturating_sub);
        Self {
            total_bytes: named.saturating_add(unnamed),
            slab_bytes: meminfo.slab_unreclaimable,
            page_tables_bytes: page_tables,
            kernel_stack_bytes: meminfo.kernel_stack,
            percpu_bytes: meminfo.percpu,
            hugetlb_bytes: meminfo.hugetlb,
            sockets_bytes: sockets,
            unnamed_bytes: unnamed,
        }
    }
}

impl Blind {
    /// Each kind by the name people read; `None` where the kernel does not tell.
    pub(crate) const fn parts(&self) -> [(&'static str, Option<u64>); 7] {
        [
            ("slab", Some(self.slab_bytes)),
            ("page tables", Some(self.page_tables_bytes)),
            ("kernel stacks", Some(self.kernel_stack_bytes)),
            ("per processor", Some(self.percpu_bytes)),
            ("huge pages", Some(self.hugetlb_bytes)),
            ("sockets", self.sockets_bytes),
            ("unnamed", Some(self.unnamed_bytes)),
        ]
    }
}

/// All page cache, shared memory and cache of block devices with it.
const fn cache_of(meminfo: &Meminfo) -> u64 {
    meminfo
        .cached
        .saturating_add(meminfo.buffers)
        .saturating_add(meminfo.swap_cached)
}

/// The same memory, counted twice. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Views {
    /// `MemTotal` − `MemAvailable`.
    pub(crate) kernel_used_bytes: u64,
    /// `MemAvailable`.
    pub(crate) kernel_available_bytes: u64,
    /// `MemFree`: given to nobody.
    pub(crate) free_bytes: u64,
    /// The kubelet's working set of the node.
    pub(crate) kubelet_used_bytes: u64,
    /// `memory.available` as the kubelet signals it.
    pub(crate) kubelet_available_bytes: u64,
    /// Active page cache: the kubelet counts it as used, the kernel can drop it.
    pub(crate) active_cache_bytes: u64,
    /// What only the kernel knows of.
    pub(crate) blind: Blind,
}

impl Views {
    /// Counts both ways.
    pub(crate) fn of(meminfo: &Meminfo, sockets: Option<u64>) -> Self {
        let available = meminfo.available.unwrap_or(meminfo.free);
        let working_set = meminfo
            .anon
            .saturating_add(cache_of(meminfo))
            .saturating_sub(meminfo.inactive_file);
        Self {
            kernel_used_bytes: meminfo.total.saturating_sub(available),
            kernel_available_bytes: available,
            free_bytes: meminfo.free,
            kubelet_used_bytes: working_set,
            kubelet_available_bytes: meminfo.total.saturating_sub(working_set),
            active_cache_bytes: meminfo.active_file,
            blind: Blind::of(meminfo, sockets),
        }
    }
}

/// The cgroup of all pods, in bytes; a figure that could not be read is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pods {
    /// Its directory.
    pub(crate) path: String,
    /// The kernel's limit on it, where it has one.
    pub(crate) limit_bytes: Option<u64>,
    /// Whether that could be read.
    #[serde(skip)]
    pub(crate) is_limit_known: bool,
    /// Charged to it.
    pub(crate) usage_bytes: Option<u64>,
    /// The kubelet's working set.
    pub(crate) working_set_bytes: Option<u64>,
    /// What the kernel could not reclaim.
    pub(crate) unreclaimable_bytes: Option<u64>,
}

impl Pods {
    /// What the kubelet counts as used and what is charged beyond that, where it could be read.
    pub(crate) fn working_set_and_cache(&self) -> Option<(u64, u64)> {
        let used = self.working_set_bytes?;
        Some((used, self.usage_bytes?.saturating_sub(used)))
    }
}

/// Everything this command reads of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Both views.
    pub(crate) views: Views,
    /// All pods, where there are any.
    pub(crate) pods: Option<Pods>,
    /// `MemTotal`.
    pub(crate) total: u64,
    /// Huge pages, which the kubelet takes off what it promises to pods.
    pub(crate) hugetlb: u64,
    /// What could not be read or cannot be true, each with its place.
    pub(crate) doubts: Vec<String>,
    /// Why no cgroup could be read.
    pub(crate) cgroups_hidden: Option<String>,
}

impl Machine {
    /// Reads `/proc` and cgroups below `root`.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let Believed { meminfo, mut doubts } = read_meminfo(root)?;
        let most = Most::of(&meminfo);
        let mut sockets = None;
        let mut pods = None;
        // Without cgroups the machine's own figures still tell most of the map: a tree of files from elsewhere, or a /proc
        // of which this process is no part.
        let located = locate(root, None).unwrap_or_else(|error| Located::Hidden(format!("{error:#}")));
        let (place, cgroups_hidden) = match located {
            Located::At(place) => (Some(place), None),
            Located::Hidden(reason) => (None, Some(reason)),
        };
        if let Some(place) = place {
            let top = Level::read(&place.top, place.version, most);
            // The root of v2 has no usage of its own; where there is one, this is the top of a namespace instead.
            if top.usage.is_none() {
                sockets = Some(top.stat.sock);
            }
            let found = KUBEPODS
                .iter()
                .map(|name| place.top.join(name))
                .find(|dir| dir.is_dir());
            pods = found.map(|dir| {
                let level = Level::read(&dir, place.version, most);
                doubts.extend(level.doubts.iter().cloned());
                Pods {
                    path: shown::path(&dir),
                    limit_bytes: level
                        .limit
                        .and_then(Limit::bytes)
                        .filter(|limit| *limit < meminfo.total),
                    is_limit_known: level.limit.is_some(),
                    usage_bytes: level.usage,
                    working_set_bytes: level.working_set(),
                    unreclaimable_bytes: level.unreclaimable(),
                }
            });
        }
        Ok(Self {
            views: Views::of(&meminfo, sockets),
            pods,
            total: meminfo.total,
            hugetlb: meminfo.hugetlb,
            doubts,
            cgroups_hidden,
        })
    }

    /// The limit that the kernel holds on `kubepods`, and who says so; `None` where that is not known.
    pub(crate) fn held_limit(&self) -> Option<(forestall_decide::Limit, String)> {
        let pods = self.pods.as_ref().filter(|pods| pods.is_limit_known)?;
        let limit = match pods.limit_bytes {
            Some(limit) => forestall_decide::Limit::Bytes(Bytes(limit)),
            None => forestall_decide::Limit::Max,
        };
        Some((limit, format!("the kernel's limit on {}", pods.path)))
    }

    /// The figures that count against each wall.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            pods_working_set: self.pods.as_ref().and_then(|pods| pods.working_set_bytes),
            pods_unreclaimable: self.pods.as_ref().and_then(|pods| pods.unreclaimable_bytes),
            node_working_set: Some(self.views.kubelet_used_bytes),
            node_unavailable: Some(self.views.kernel_used_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 500 MiB of page tables on a node of 1280 MiB: the kernel's available falls, the kubelet's does not.
    #[test]
    fn page_tables_are_blind() {
        let text = |tables: u64, free: u64| {
            format!(
                "MemTotal: 1000000 kB\nMemFree: {free} kB\nMemAvailable: {} kB\nCached: 200000 kB\nBuffers: 10000 kB\n\
                 Inactive(file): 150000 kB\nActive(file): 50000 kB\nAnonPages: 100000 kB\nSReclaimable: 20000 kB\n\
                 SUnreclaim: 30000 kB\nPageTables: {tables} kB\n",
                free + 150_000
            )
        };
        let before = Views::of(&Meminfo::parse(text(1000, 600_000).as_bytes()), None);
        let after = Views::of(&Meminfo::parse(text(501_000, 100_000).as_bytes()), None);
        // 100000 + 200000 + 10000 − 150000.
        assert_eq!(before.kubelet_used_bytes, 160_000 << 10);
        assert_eq!(after.kubelet_available_bytes, before.kubelet_available_bytes);
        assert_eq!(
            before.kernel_available_bytes - after.kernel_available_bytes,
            500_000 << 10
        );
        assert_eq!(after.blind.total_bytes - before.blind.total_bytes, 500_000 << 10);
    }

    #[test]
    fn without_a_cgroup_of_its_own_the_machines_figures_are_read_and_the_gap_is_told() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("proc")).expect("made");
        std::fs::write(
            root.path().join("proc/meminfo"),
            "MemTotal: 1000 kB\nMemFree: 400 kB\n",
        )
        .expect("written");
        let machine = Machine::read(root.path()).expect("the machine's figures");
        assert_eq!((machine.total, machine.views.free_bytes), (1000 << 10, 400 << 10));
        assert_eq!((machine.pods, machine.views.blind.sockets_bytes), (None, None));
        let reason = machine.cgroups_hidden.expect("said");
        assert!(reason.contains("proc/self/cgroup"), "{reason}");
    }

    #[test]
    fn all_memory_is_somewhere() {
        // 1000000 − 600000 free − 100000 anon − 210000 cache − 20000 − 31000 leaves 39000 that no counter names.
        let meminfo = Meminfo::parse(
            b"MemTotal: 1000000 kB\nMemFree: 600000 kB\nCached: 200000 kB\nBuffers: 10000 kB\nAnonPages: 100000 kB\n\
              SReclaimable: 20000 kB\nSUnreclaim: 30000 kB\nPageTables: 1000 kB\n",
        );
        let blind = Blind::of(&meminfo, None);
        assert_eq!(blind.unnamed_bytes, 39_000 << 10);
        assert_eq!(blind.total_bytes, 70_000 << 10);
    }
}
