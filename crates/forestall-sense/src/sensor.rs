//! The sensor: everything opened once, read again and again.

use std::os::fd::BorrowedFd;
use std::path::Path;

use forestall_decide::{Bytes, Moment, NodeSample, ProcessId, Sample, Span};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::{
    Bounds, GroupFile, Hearing, Hierarchy, HierarchyError, Tree, Vantage, Version,
};
use forestall_kernel::file::Buffer;
use forestall_kernel::parse::memory_path;
use forestall_kernel::proc::ProcRoot;
use forestall_kernel::process::ProcessFile;
use rustix::process::{Resource, getrlimit};

use crate::capabilities::Capabilities;
use crate::config::SenseConfig;
use crate::error::Error;
use crate::essentials::Essentials;
use crate::glances::Glances;
use crate::groups::{GroupReader, Surroundings};
use crate::node::{NodeReader, is_due};
use crate::processes::{ProcessBounds, ProcessReader, View};
use crate::rest::{Breadth, Rest, TELL_EVERY, taken};
use crate::roster::Roster;
use crate::stopwatch::Stopwatch;
use crate::traits::{TraitReader, assign_protections};

/// More mounts than this fills are no machine's.
const MOUNTINFO_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Descriptors left to everybody else in this process.
const DESCRIPTORS_SPARE: u64 = 256;
/// While every wall is far away and there are no pods, the host's kills and new cgroups are looked for this often.
const SELDOM_EVERY: Span = Span::secs(60);
/// PID 1 lives outside of what is mounted.
const ONLY_A_PART: &str = "only a part of the cgroup hierarchy is mounted here, and PID 1 does not live in it: the cgroups of the \
    machine's processes cannot be seen, and whose home cannot be placed is never blamed or signalled; mount the host's \
    /sys/fs/cgroup here (hostPath), or start this container in the host's cgroup namespace (--cgroupns=host)";
/// The rest of the machine is seen, and only what shares a part of our own path is not.
const NO_STANDPOINT: &str = "this process has a cgroup namespace of its own and is in none of the followed cgroups: whoever \
    lives near it cannot be placed, and is never blamed or signalled as one of the host's; start it in the host's cgroup \
    namespace (--cgroupns=host), or in its container's own cgroup";
/// A followed cgroup holds its directory and two files.
const DESCRIPTORS_PER_GROUP: u64 = 3;

/// Reads this machine.
#[derive(Debug)]
pub struct Sensor {
    proc: ProcRoot,
    node: NodeReader,
    groups: Option<GroupReader>,
    vantage: Vantage,
    traits: TraitReader,
    processes: ProcessReader,
    sample: Sample,
    capabilities: Capabilities,
    attention: bool,
    rest: Rest,
    told: bool,
    glances: Glances,
    sampled_at: Moment,
    seldom_due: Moment,
}

/// The machine's own figures at a look that found them as they were in the last sample.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'a> {
    /// The figures.
    pub node: &'a NodeSample,
    /// How much less is left, in memory and in swap, than in the last sample.
    pub taken: Bytes,
}

impl Sensor {
    /// Opens what there is. Each followed cgroup takes three descriptors: raise the soft limit of open files before, or
    /// fewer are followed (the capabilities say so).
    pub fn open(config: &SenseConfig) -> Result<Self, Error> {
        let proc = ProcRoot::open(&config.proc_root)?;
        let mut node = NodeReader::open(&proc, &config.sys_root)?;
        let mut capabilities = Capabilities {
            node_pressure: node.has_pressure(),
            counts_oom_kills: node.counts_oom_kills(),
            ..Capabilities::default()
        };
        let bounds = affordable(config, &mut capabilities);
        let mut vantage = Vantage::new(b"/");
        let groups = match find_hierarchy(config, &proc) {
            Ok(hierarchy) => {
                vantage = Vantage::new(&hierarchy.mount_root);
                open_groups(&hierarchy, bounds, &mut capabilities)
            }
            Err(error) => {
                capabilities
                    .notes
                    .push(format!("{error}; only the machine's own figures are sampled"));
                None
            }
        };
        let mut buffer = Buffer::with_capacity(4096);
        let own = config.own_pid.unwrap_or_else(|| own_pid(&config.proc_root));
        if own == 1 {
            capabilities.notes.push(
                "this process is PID 1 of its PID namespace: other processes cannot be seen (hostPID is needed)"
                    .to_owned(),
            );
        }
        let tree = groups.as_ref().map(GroupReader::tree);
        capabilities.unplaced = take_stand(&mut vantage, tree, &proc, own, &mut buffer);
        let mut sensor = Self {
            traits: TraitReader::new(Essentials::read(&proc, own, &vantage, &mut buffer)),
            proc,
            node,
            groups,
            vantage,
            processes: ProcessReader::new(ProcessBounds {
                count_max: config.processes_max,
                share_permille: config.process_share_permille,
            }),
            sample: Sample {
                processes: Vec::with_capacity(config.processes_max),
                ..Sample::default()
            },
            capabilities,
            attention: false,
            rest: Rest::default(),
            told: false,
            glances: Glances::new(),
            sampled_at: Moment(0),
            seldom_due: Moment(0),
        };
        // The switch of the LRU is known from the first reading on.
        sensor.node.read_memory(&mut sensor.sample.node, Moment(0), false);
        sensor.node.read_counters(&mut sensor.sample.node);
        sensor.capabilities.lru = sensor.sample.node.lru;
        Ok(sensor)
    }

    /// Reads everything once more, or while it may rest what matters at any time. `wake_late` is how late the caller was
    /// woken up. Allocates only where cgroups or large processes have come or gone.
    pub fn sample(&mut self, now: Moment, wake_late: Span) -> &Sample {
        let watch = Stopwatch::start();
        self.glances.clear();
        self.sampled_at = now;
        let told = self.hear();
        self.told = false;
        let sample = &mut self.sample;
        let kills_before = sample.node.oom_kills;
        let may_rest = self.rest.is_allowed() && !self.attention;
        self.node.read_memory(&mut sample.node, now, may_rest);
        let had_pods = self.groups.as_ref().is_some_and(GroupReader::has_pods);
        let breadth = match self.rest.breadth(&sample.node, now, had_pods) {
            _ if self.attention => Breadth::Everything,
            Breadth::Least if told => Breadth::Seldom,
            breadth => breadth,
        };
        let rests = breadth == Breadth::Least;
        // Without pods the host's kills and new cgroups are looked for once a minute.
        let is_seldom_due = is_due(&mut self.seldom_due, now, SELDOM_EVERY);
        if !rests || had_pods || is_seldom_due {
            self.node.read_counters(&mut sample.node);
        }
        if let Some(groups) = &mut self.groups
            && (!rests || had_pods || is_seldom_due)
        {
            let around = Surroundings {
                swap: sample.node.swap_total.0 > 0,
                killed: sample.node.oom_kills != kills_before,
                told,
                breadth,
            };
            if groups.read(&mut sample.groups, now, around) {
                // Whose limit a kill was at shows only where everybody has counted it.
                self.node.read_counters(&mut sample.node);
                let around = Surroundings {
                    killed: true,
                    ..around
                };
                groups.read(&mut sample.groups, now, around);
            }
            self.traits.refresh(groups, &self.proc, now, breadth);
            assign_protections(&mut sample.groups, |index| groups.traits(index));
        }
        if !rests {
            let view = View {
                proc: &self.proc,
                tree: self.groups.as_ref().map(GroupReader::tree),
                vantage: &self.vantage,
                groups: &sample.groups,
                essentials: self.traits.essentials(),
                total: sample.node.total,
                may_rest: breadth != Breadth::Everything,
                now,
            };
            self.processes.read(&mut sample.processes, view, self.attention);
        }
        sample.node.kubelet_present = self.processes.has_kubelet();
        sample.node.kubelet_heard_at = self.processes.kubelet_heard_at(now);
        sample.node.wake_late = wake_late;
        sample.node.sample_cost = watch.elapsed();
        sample.node.sample_processor = Some(watch.on_processor());
        &self.sample
    }

    /// Looks at the machine's memory, and every five seconds at its pressure, where that is enough: it may rest, nobody but
    /// the host's own cgroups is followed, and hardly anything has been taken, given back or waited for since the last
    /// sample, which is less than a minute old. `None` where it is not: [`Sensor::recall`] and then [`Sensor::sample`] have to follow. The last sample stays
    /// what it was. Never allocates.
    pub fn glance(&mut self, now: Moment, wake_late: Span) -> Option<Glance<'_>> {
        let told = &self.sample.node;
        let has_pods = self.groups.as_ref().is_some_and(GroupReader::has_pods);
        let is_due = now.since(self.sampled_at) >= TELL_EVERY;
        if !self.rest.is_allowed() || self.attention || has_pods || told.kubelet_present || is_due {
            return None;
        }
        let failures = self.node.failures();
        let mut seen = *self.glances.newest().unwrap_or(told);
        seen.wake_late = wake_late;
        self.node.glance(&mut seen, now, true);
        if self.node.failures() > failures || !self.rest.may_be_kept(told, &seen, now) {
            return None;
        }
        let taken = taken(told, &seen);
        self.glances.keep(now, &seen);
        let node = self.glances.newest()?;
        Some(Glance { node, taken })
    }

    /// Readable where the kernel has told something of cgroups: [`Sensor::hear`] says what. `None` where it cannot be heard.
    pub fn ear(&self) -> Option<BorrowedFd<'_>> {
        self.groups.as_ref().and_then(|groups| groups.tree().ear())
    }

    /// Takes what the kernel has told since the last sample: true where a cgroup was made, removed or renamed, or a limit written,
    /// outside `kubepods`. The next sample then follows it, also at rest. Never allocates.
    pub fn hear(&mut self) -> bool {
        self.told |= self.groups.as_mut().is_some_and(GroupReader::hear);
        self.told
    }

    /// Whether the kernel can be heard, once after every change of that. Where it cannot it is tried again once a minute.
    pub fn take_hearing(&mut self) -> Option<Hearing> {
        self.groups.as_mut().and_then(GroupReader::take_hearing)
    }

    /// New cgroups and limits would be noticed too late at rest: nobody tells of them, and without pods nobody looks.
    pub fn is_deaf(&self) -> bool {
        self.ear().is_none() && self.groups.as_ref().is_some_and(|groups| !groups.has_pods())
    }

    /// Makes the oldest glance that was not told yet the last sample, and says when it was. After the newest: `None`.
    pub fn recall(&mut self) -> Option<Moment> {
        let (at, node) = self.glances.take()?;
        self.sample.node = node;
        Some(at)
    }

    /// The last sample.
    pub const fn last(&self) -> &Sample {
        &self.sample
    }

    /// A wall is near, or no longer: whether every sample reads all processes outside `kubepods`.
    pub const fn set_attention(&mut self, attention: bool) {
        self.attention = attention;
    }

    /// Every wall is far away, or no longer: whether processes and cgroups outside `kubepods` are read once a minute
    /// instead of at every sample, as long as memory is neither taken nor waited for.
    pub const fn set_rest(&mut self, allowed: bool) {
        self.rest.allow(allowed);
    }

    /// Who is behind the numbers of the last sample.
    pub fn roster(&self) -> Roster<'_> {
        Roster::new(self.groups.as_ref().map(GroupReader::tree))
    }

    /// The name of a process of the last sample, at most 15 bytes of its own choosing.
    pub fn process_name(&self, id: ProcessId) -> Option<&[u8]> {
        self.processes.comm(id)
    }

    /// What this machine offers, as found when the sensor was opened.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Reads that failed although the file or cgroup was there, since the sensor was opened. The sample keeps the figures
    /// of the read before.
    pub fn failures(&self) -> u64 {
        self.node.failures() + self.groups.as_ref().map_or(0, GroupReader::failures)
    }

    /// What failed last of what was not taken yet: the machine's own files first.
    pub fn take_failure(&mut self) -> Option<KernelError> {
        let of_node = self.node.take_failure();
        let of_groups = self.groups.as_mut().and_then(GroupReader::take_failure);
        of_node.or(of_groups)
    }
}

fn find_hierarchy(config: &SenseConfig, proc: &ProcRoot) -> Result<Hierarchy, HierarchyError> {
    let Some(root) = &config.cgroup_root else {
        return read_mountinfo(proc, |content| Hierarchy::find(content, &config.prefix))?;
    };
    let mut hierarchy = Hierarchy::at(root, config.trusting)?;
    // Where nobody can say what is mounted there, it is taken for the whole hierarchy.
    let _ = read_mountinfo(proc, |content| hierarchy.learn_mount_root(content));
    Ok(hierarchy)
}

fn read_mountinfo<T>(proc: &ProcRoot, read: impl FnOnce(&[u8]) -> T) -> Result<T, KernelError> {
    let mountinfo = proc.mountinfo()?;
    let mut buffer = Buffer::with_capacity(128 * 1024);
    loop {
        match mountinfo.read_into(&mut buffer) {
            Ok(content) => return Ok(read(content)),
            // A machine with thousands of mounts has a mountinfo of megabytes.
            Err(KernelError::Truncated { capacity, .. }) if capacity < MOUNTINFO_BYTES_MAX => {
                buffer.enlarge(capacity * 2);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Finds out from where the paths of processes are told. Returns what is to be said where they cannot all be placed.
fn take_stand(
    vantage: &mut Vantage,
    tree: Option<&Tree>,
    proc: &ProcRoot,
    own: u32,
    buffer: &mut Buffer,
) -> Option<&'static str> {
    let tree = tree?;
    let mut shown = |pid: u32| -> Option<Vec<u8>> {
        let process = proc.process(pid).ok()?;
        let content = process.read(ProcessFile::Cgroup, buffer).ok()?;
        memory_path(content).map(<[u8]>::to_vec)
    };
    let (first, own) = (shown(1), shown(own));
    if vantage.lacks_standpoint()
        && let Some(own) = own
    {
        vantage.find_standpoint(tree, &own, buffer);
    }
    if first.is_some_and(|first| !vantage.check_first(&first)) {
        return Some(ONLY_A_PART);
    }
    vantage.lacks_standpoint().then_some(NO_STANDPOINT)
}

fn open_groups(
    hierarchy: &Hierarchy,
    bounds: Bounds,
    capabilities: &mut Capabilities,
) -> Option<GroupReader> {
    let mut tree = match Tree::open(hierarchy, bounds) {
        Ok(tree) => tree,
        Err(error) => {
            capabilities
                .notes
                .push(format!("{error}; cgroups are not followed"));
            return None;
        }
    };
    if let Err(error) = tree.listen() {
        capabilities.notes.push(format!(
            "{error}; the kernel cannot tell of new cgroups and limits, so without pods the guard does not rest until it \
             can, which is tried once a minute; raise fs.inotify.max_user_instances or fs.inotify.max_user_watches"
        ));
    }
    capabilities.version = Some(hierarchy.version);
    capabilities.layout = Some(hierarchy.layout);
    capabilities.cgroup_root = Some(hierarchy.root.clone());
    if !hierarchy.hands_down_memory {
        capabilities.notes.push(format!(
            "{}: cgroup.subtree_control lacks memory, so no cgroup below has figures; a kubelet or systemd switches it on",
            hierarchy.root.display()
        ));
    }
    if hierarchy.version == Version::V1 {
        capabilities.notes.push(
            "memory is accounted by cgroup v1: no pressure of single cgroups, no reclaimable slab, no memory.reclaim, \
             no cgroup.kill"
                .to_owned(),
        );
    }
    let mut buffer = Buffer::with_capacity(4096);
    capabilities.group_pressure = tree
        .nodes()
        .iter()
        .find(|node| node.dir.has(GroupFile::Pressure))
        .is_some_and(|node| node.dir.read(GroupFile::Pressure, &mut buffer).is_ok());
    if !tree.nodes().is_empty() {
        let lacking = GroupFile::ALL
            .into_iter()
            .filter(|file| !tree.nodes().iter().any(|node| node.dir.has(*file)));
        capabilities.lacking = lacking
            .filter_map(|file| file.name(Version::V2)?.to_str().ok())
            .collect();
    }
    Some(GroupReader::new(tree))
}

/// The configured bounds, or fewer cgroups where the limit of open files does not allow as many.
fn affordable(config: &SenseConfig, capabilities: &mut Capabilities) -> Bounds {
    // Absent means unlimited.
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let spare = DESCRIPTORS_SPARE + config.processes_max as u64;
    let groups = usize::try_from(allowed.saturating_sub(spare) / DESCRIPTORS_PER_GROUP).unwrap_or(usize::MAX);
    if groups >= config.bounds.groups_max {
        return config.bounds;
    }
    capabilities.notes.push(format!(
        "at most {groups} cgroups are followed, because {allowed} files may be open; raise the limit (LimitNOFILE=)"
    ));
    Bounds {
        groups_max: groups,
        ..config.bounds
    }
}

/// Our PID as the given proc file system shows it; it may belong to another PID namespace than our own.
fn own_pid(proc_root: &Path) -> u32 {
    std::fs::read_link(proc_root.join("self"))
        .ok()
        .and_then(|pid| pid.to_str()?.parse().ok())
        .unwrap_or_else(std::process::id)
}
