//! Where the kernel's files are, and how much of them is followed.

use std::path::PathBuf;

use forestall_kernel::cgroup::Bounds;

/// Settings of a [`Sensor`](crate::Sensor). The default reads this machine.
#[derive(Clone, Debug)]
pub struct SenseConfig {
    /// Below which the host's file systems are looked for among the mounts: `/`, or `/host` in a pod that has them there.
    pub prefix: PathBuf,
    /// The host's proc file system.
    pub proc_root: PathBuf,
    /// The host's sysfs.
    pub sys_root: PathBuf,
    /// The memory hierarchy's mount point; `None`: found among the mounts.
    pub cgroup_root: Option<PathBuf>,
    /// Take `cgroup_root` as it is, without checking that it is a cgroup file system: for saved trees and tests.
    pub trusting: bool,
    /// How many cgroups are followed, and how deep.
    pub bounds: Bounds,
    /// Our own PID as `proc_root` shows it; `None`: where its `self` points to.
    pub own_pid: Option<u32>,
    /// Processes outside `kubepods` that are followed at most, the largest first.
    pub processes_max: usize,
    /// A process is followed from this share of the machine's memory on, permille.
    pub process_share_permille: u64,
}

impl Default for SenseConfig {
    fn default() -> Self {
        Self {
            prefix: PathBuf::from("/"),
            proc_root: PathBuf::from("/proc"),
            sys_root: PathBuf::from("/sys"),
            cgroup_root: None,
            trusting: false,
            bounds: Bounds::default(),
            own_pid: None,
            processes_max: 256,
            process_share_permille: 1,
        }
    }
}
