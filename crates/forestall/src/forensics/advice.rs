//! What to change, so that it does not happen again: a few sentences that follow from the report, the most useful first.
//!
//! It says nothing that a report does not support, and no figure for a limit: how much would have been enough no log of a kill knows.

use forestall_kernel::oom::{Level, Report};

use super::place::is_within_container;
use super::share::{self, Kind, Share, is_machines};
use crate::commands::free::shown::human;

/// From this share on a kind is worth a word, percent.
const NOTABLE: u64 = 20;

/// So many sentences are read.
const SENTENCES_MAX: usize = 4;

/// Runtimes that size their heap themselves, by the name of their process, and what bounds it.
const RUNTIMES: [(&[u8], &str); 4] = [
    (
        b"java",
        "a JVM's heap is bounded by -XX:MaxRAMPercentage (75 leaves room for threads, metaspace and direct buffers)",
    ),
    (
        b"node",
        "Node's heap is bounded by --max-old-space-size, in MiB; buffers come on top",
    ),
    (
        b"dotnet",
        ".NET's heap is bounded by DOTNET_GCHeapHardLimitPercent",
    ),
    (
        b"beam.smp",
        "Erlang's allocators are bounded by +MMscs and by limits on processes' heaps",
    ),
];

/// The sentences for a report.
pub(crate) fn of(report: &Report) -> Vec<String> {
    let share = Share::of(report);
    let mut said = Vec::new();
    if report.is_sysrq() {
        said.push("Find out who asked: SysRq f comes from a console, from a write to /proc/sysrq-trigger, or from a tool such as a memory guard.".to_owned());
        return said;
    }
    if report.no_killable > 0 && !share::has_victim(report) {
        said.push(nobody(report, share.as_ref()));
    }
    if report.is_panic() {
        said.push(
            "The machine was set to panic rather than kill (vm.panic_on_oom), or had nobody left to kill."
                .to_owned(),
        );
    }
    by_level(report, share.as_ref(), &mut said);
    by_kind(report, share.as_ref(), &mut said);
    by_victim(report, &mut said);
    said.truncate(SENTENCES_MAX);
    said
}

fn nobody(report: &Report, share: Option<&Share>) -> String {
    let is_tmpfs = share.is_some_and(|share| share.percent(Kind::Shmem) >= NOTABLE);
    let what = if is_tmpfs {
        "The memory is in tmpfs or shared memory, which no kill gives back: delete files there, or bound it (sizeLimit of the emptyDir)."
    } else if is_machines(report.level) {
        "Whoever is left is exempt (oom_score_adj -1000) or a kernel thread: find what holds the memory with forestall node."
    } else {
        "Whoever is left in there is exempt (oom_score_adj -1000) or there is nobody: whoever asks for memory there waits or fails until the limit is raised."
    };
    what.to_owned()
}

fn by_level(report: &Report, share: Option<&Share>, said: &mut Vec<String>) {
    let limit = share::limit(report).map_or_else(String::new, |limit| format!(" of {}", human(limit)));
    match report.level {
        Level::Container if report.limit.as_ref().is_some_and(is_within_container) => said.push(format!(
            "Raise the limit{limit} of that cgroup within the container, where what runs there has set it: the container's own was not reached."
        )),
        Level::Container => said.push(format!(
            "Raise the container's memory limit{limit}, or make it hold less; only this container was short of memory, not the node."
        )),
        Level::Pod => {
            said.push(format!(
                "Raise the pod's limit{limit}, or find which of its containers took it. It counts all of them and memory-backed emptyDirs; in a pod of one container it is that container's limit."
            ));
        }
        Level::Qos | Level::Kubepods => {
            said.push("No container was at its own limit: the pods together took more than the node gives to pods. Bring requests nearer to what is used, so that fewer pods are put there.".to_owned());
            said.push("The kubelet should have evicted before: raise its eviction-hard threshold for memory.available, so that it acts before this limit (forestall node shows where both stand).".to_owned());
        }
        Level::Node => {
            let all = share.map_or(0, |share| share.total);
            let largest = report.victims.iter().filter_map(|victim| share::held(report, victim.pid)).max();
            if let Some(held) = largest.filter(|held| *held >= all / 2 && all > 0) {
                said.push(format!("It alone held {} % of the machine's {}: give it a limit, or a lower one.", share::percent(held, all), human(all)));
            }
            said.push("No limit was reached, the machine was: what is not in pods, and pods without limits, took the rest. Raise kube-reserved or system-reserved so that kubepods' limit lies below what is really there, or find who grew in the table.".to_owned());
            if share.is_some_and(|share| share.percent(Kind::Free) >= NOTABLE) {
                said.push("Much was free all the same: a large block in one piece, or memory of one zone, was asked for.".to_owned());
            }
        }
        Level::Numa | Level::Cpuset => said.push(
            "Memory ran out on the NUMA nodes that were allowed, while others may have had some: widen cpuset.mems or the memory policy, or move the work.".to_owned(),
        ),
        Level::OtherCgroup => said.push(format!(
            "Raise the limit{limit} of that cgroup (MemoryMax= of a systemd unit, --memory of a container), or make what runs in it hold less."
        )),
        Level::SomeCgroup => said.push(
            "Get the rest of the report to learn whose limit it was: journalctl -k or dmesg around that time, on the node itself.".to_owned(),
        ),
        Level::Unknown if share::has_victim(report) => {
            said.push("Get the rest of the report to learn where memory ran out: journalctl -k or dmesg around that time, on the node itself.".to_owned());
        }
        Level::Unknown => said.push("This is the beginning of a report, without its end: get the rest from journalctl -k or dmesg on the node itself.".to_owned()),
    }
}

fn by_kind(report: &Report, share: Option<&Share>, said: &mut Vec<String>) {
    let Some(share) = share else { return };
    if share.percent(Kind::Shmem) >= NOTABLE && report.no_killable == 0 {
        said.push(format!(
            "{} is shared memory or tmpfs: /dev/shm, or an emptyDir of medium Memory. Its files stay when a container is killed, so it will be short again at once: bound it (sizeLimit) or delete files.",
            human(share.bytes(Kind::Shmem))
        ));
    }
    if share.percent(Kind::Kernel) >= NOTABLE {
        let what = if is_machines(report.level) {
            "no process holds it, and few limits count it"
        } else {
            "its processes held less than it was charged for"
        };
        said.push(format!(
            "{} is the kernel's own{}: {what}. Many open files, sockets or threads are behind that, seldom a heap.",
            human(share.bytes(Kind::Kernel)),
            largest_of_kernel(report)
        ));
    }
    if share.percent(Kind::File) >= NOTABLE && !is_machines(report.level) {
        let dirty = report
            .domain
            .file_dirty
            .unwrap_or(0)
            .saturating_add(report.domain.file_writeback.unwrap_or(0));
        let why = if share::percent(dirty, share.bytes(Kind::File)) >= 50 {
            format!(
                "{} of it was still to be written to a disk that was too slow: write less at a time, or sync in between",
                human(dirty)
            )
        } else {
            "it can be taken back as a rule, so that a slow disk or a burst of reads kept the kernel from it"
                .to_owned()
        };
        said.push(format!(
            "{} is page cache; {why}.",
            human(share.bytes(Kind::File))
        ));
    }
}

fn largest_of_kernel(report: &Report) -> String {
    let domain = &report.domain;
    let parts = [
        ("slab that cannot be taken back", domain.slab_unreclaimable),
        ("slab that could be taken back", domain.slab_reclaimable),
        ("slab", domain.slab),
        ("page tables", domain.page_tables),
        ("stacks of threads", domain.kernel_stack),
        ("buffers of sockets", domain.sock),
        ("percpu", domain.percpu),
        ("vmalloc", domain.vmalloc),
    ];
    let largest = parts
        .iter()
        .filter_map(|(name, bytes)| Some((bytes.filter(|bytes| *bytes > 0)?, name)))
        .max();
    largest.map_or_else(String::new, |(bytes, name)| {
        format!(" (most of it {name}, {})", human(bytes))
    })
}

fn by_victim(report: &Report, said: &mut Vec<String>) {
    let Some(victim) = report.victims.first() else {
        return;
    };
    if let Some((_, advice)) = RUNTIMES.iter().find(|(name, _)| **name == *victim.comm) {
        said.push(format!("If its heap grew: {advice}."));
    }
    if report.group.is_some() {
        said.push(
            "All of the cgroup was killed because memory.oom.group is set, as kubelets from 1.28 on do on cgroup v2; singleProcessOOMKill: true in the kubelet's configuration goes back to one process at a time.".to_owned(),
        );
    }
    let is_protected = |adj: i32| adj <= -997;
    if is_machines(report.level) && victim.adj.is_some_and(is_protected) {
        said.push(
            "A process that is meant to be spared was killed: hardly anybody else was left to take."
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use forestall_kernel::oom::{Charge, Victim};
    use forestall_kernel::parse::Limit;

    use super::*;

    fn full(level: Level, anon: u64, shmem: u64, file: u64, kernel: u64) -> Report {
        let mut report = Report {
            level,
            ..Report::default()
        };
        let usage = anon + shmem + file + kernel;
        report.domain.memory = Some(Charge {
            usage,
            limit: Limit::from_bytes(usage),
            failures: 1,
        });
        report.domain.anon = Some(anon);
        report.domain.shmem = Some(shmem);
        report.domain.file = Some(file);
        report.domain.kernel = Some(kernel);
        report.victims = vec![Victim {
            pid: 7,
            comm: (*b"java").into(),
            ..Victim::default()
        }];
        report
    }

    fn has(report: &Report, part: &str) -> bool {
        of(report).iter().any(|said| said.contains(part))
    }

    #[test]
    fn it_follows_the_level_and_what_is_there() {
        let heap = full(Level::Container, 95 << 20, 0, 4 << 20, 1 << 20);
        assert!(has(&heap, "container's memory limit of 100Mi") && has(&heap, "MaxRAMPercentage"));
        let mut inner = heap.clone();
        let path = (*b"/kubepods/pod1/b27201334a41/inner").into();
        inner.limit = Some(forestall_kernel::oom::CgroupPath { path, is_cut: false });
        assert!(has(&inner, "100Mi of that cgroup within the container"));
        assert!(!has(&inner, "container's memory limit"));
        assert!(!has(&heap, "tmpfs") && !has(&heap, "page cache") && !has(&heap, "kernel's own"));
        let tmpfs = full(Level::Pod, 60 << 20, 40 << 20, 0, 0);
        assert!(has(&tmpfs, "40Mi is shared memory") && has(&tmpfs, "pod of one container"));
        let mut slab = full(Level::Container, 60 << 20, 0, 0, 40 << 20);
        slab.domain.sock = Some(30 << 20);
        assert!(has(
            &slab,
            "40Mi is the kernel's own (most of it buffers of sockets, 30Mi)"
        ));
        let mut dirty = full(Level::Container, 10 << 20, 0, 90 << 20, 0);
        dirty.domain.file_dirty = Some(80 << 20);
        assert!(has(
            &dirty,
            "90Mi is page cache; 80Mi of it was still to be written"
        ));
        let mut leak = full(Level::Node, 60 << 20, 0, 0, 40 << 20);
        leak.victims[0].anon = Some(60 << 20);
        assert!(has(&leak, "It alone held 60 % of the machine's 100Mi"));
        leak.victims[0].anon = Some(40 << 20);
        assert!(!has(&leak, "It alone"));
        assert!(has(&full(Level::Kubepods, 1, 0, 0, 0), "eviction-hard"));
    }

    #[test]
    fn who_asked_by_sysrq_is_told_nothing_about_limits() {
        let mut asked = full(Level::Node, 1, 0, 0, 0);
        asked.trigger = Some(forestall_kernel::oom::Trigger {
            order: -1,
            ..Default::default()
        });
        assert_eq!(of(&asked).len(), 1);
        assert!(has(&asked, "SysRq f"));
    }

    #[test]
    fn where_nobody_could_be_killed_a_limit_is_not_all() {
        let mut nobody = full(Level::Container, 1 << 20, 99 << 20, 0, 0);
        nobody.victims.clear();
        nobody.no_killable = 3;
        assert!(has(&nobody, "which no kill gives back"));
    }
}
