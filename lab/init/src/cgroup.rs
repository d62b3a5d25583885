//! The guest's cgroup tree, laid out as the kubelet and the container runtime lay out a node's.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forestall_lab_init::plan::{Class, Hierarchy, Naming, Pod};

use crate::machine;

/// Where things are in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    naming: Naming,
    hierarchy: Hierarchy,
}

/// One reading of a cgroup's memory, bytes.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the unit belongs to each name")]
pub(crate) struct Usage {
    pub(crate) current_bytes: u64,
    pub(crate) anon_bytes: u64,
    pub(crate) active_file_bytes: u64,
    pub(crate) inactive_file_bytes: u64,
}

impl Tree {
    pub(crate) fn new(naming: Naming, hierarchy: Hierarchy) -> Self {
        let root = match hierarchy {
            Hierarchy::V2 => "/sys/fs/cgroup",
            Hierarchy::V1 => "/sys/fs/cgroup/memory",
        };
        Self {
            root: root.into(),
            naming,
            hierarchy,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A cgroup's path, as the kernel and the counters name it.
    pub(crate) fn shown(&self, cgroup: &Path) -> String {
        let below = cgroup.strip_prefix(self.root()).unwrap_or(cgroup);
        format!("/{}", below.display())
    }

    pub(crate) fn kubepods(&self) -> PathBuf {
        self.root.join(match self.naming {
            Naming::Cgroupfs => "kubepods",
            Naming::Systemd => "kubepods.slice",
        })
    }

    /// The cgroup of a class; guaranteed pods sit right below `kubepods`.
    fn class(&self, class: Class) -> PathBuf {
        let (plain, slice) = match class {
            Class::Guaranteed => return self.kubepods(),
            Class::Burstable => ("burstable", "kubepods-burstable.slice"),
            Class::BestEffort => ("besteffort", "kubepods-besteffort.slice"),
        };
        self.kubepods().join(match self.naming {
            Naming::Cgroupfs => plain,
            Naming::Systemd => slice,
        })
    }

    pub(crate) fn pod(&self, pod: &Pod) -> PathBuf {
        let class = self.class(pod.class);
        match self.naming {
            Naming::Cgroupfs => class.join(format!("pod{}", pod.uid)),
            Naming::Systemd => {
                let parent = match pod.class {
                    Class::Guaranteed => "kubepods",
                    Class::Burstable => "kubepods-burstable",
                    Class::BestEffort => "kubepods-besteffort",
                };
                class.join(format!("{parent}-pod{}.slice", pod.uid.replace('-', "_")))
            }
        }
    }

    /// The cgroup of one of a pod's containers.
    pub(crate) fn container(&self, pod: &Pod, id: &str) -> PathBuf {
        self.pod(pod).join(match self.naming {
            Naming::Cgroupfs => id.to_owned(),
            Naming::Systemd => format!("cri-containerd-{id}.scope"),
        })
    }

    pub(crate) fn service(&self, name: &str) -> PathBuf {
        self.root.join("system.slice").join(format!("{name}.service"))
    }

    /// The cgroup of a container of Docker's, below a systemd.
    pub(crate) fn docker(&self, id: &str) -> PathBuf {
        self.root.join("system.slice").join(format!("docker-{id}.scope"))
    }

    /// Makes `cgroup` and what lies above it, and hands the controllers down to it.
    pub(crate) fn make(&self, cgroup: &Path) -> Result<()> {
        let below = cgroup
            .strip_prefix(&self.root)
            .with_context(|| format!("{} is outside", cgroup.display()))?;
        let mut here = self.root.clone();
        for part in below {
            if self.hierarchy == Hierarchy::V2 {
                for controller in ["memory", "cpu", "pids", "io"] {
                    // A controller that this kernel lacks is no reason to stop; memory's absence shows at the next write.
                    let _ = std::fs::write(here.join("cgroup.subtree_control"), format!("+{controller}"));
                }
            }
            here.push(part);
            if !here.is_dir() {
                std::fs::create_dir(&here).with_context(|| format!("making {}", here.display()))?;
            }
        }
        Ok(())
    }

    /// Sets the limit of a cgroup.
    pub(crate) fn limit(&self, cgroup: &Path, bytes: u64) -> Result<()> {
        let file = cgroup.join(match self.hierarchy {
            Hierarchy::V2 => "memory.max",
            Hierarchy::V1 => "memory.limit_in_bytes",
        });
        std::fs::write(&file, bytes.to_string()).with_context(|| format!("writing {}", file.display()))
    }

    /// As the kubelet does on cgroup v2 for a container that may not swap; on v1 there is no such file.
    pub(crate) fn forbid_swap(&self, cgroup: &Path) -> Result<()> {
        if self.hierarchy == Hierarchy::V1 {
            return Ok(());
        }
        let file = cgroup.join("memory.swap.max");
        std::fs::write(&file, "0").with_context(|| format!("writing {}", file.display()))
    }

    /// As the kubelet does on cgroup v2: an OOM kill takes the whole container.
    pub(crate) fn kill_as_one(&self, cgroup: &Path) -> Result<()> {
        if self.hierarchy == Hierarchy::V1 {
            return Ok(());
        }
        let file = cgroup.join("memory.oom.group");
        std::fs::write(&file, "1").with_context(|| format!("writing {}", file.display()))
    }

    pub(crate) fn usage(&self, cgroup: &Path) -> Usage {
        let stat = std::fs::read_to_string(cgroup.join("memory.stat")).unwrap_or_default();
        let of = |v2: &str, v1: &str| {
            machine::field(&stat, if self.hierarchy == Hierarchy::V2 { v2 } else { v1 }).unwrap_or(0)
        };
        let current = match self.hierarchy {
            Hierarchy::V2 => "memory.current",
            Hierarchy::V1 => "memory.usage_in_bytes",
        };
        Usage {
            current_bytes: machine::number_in(&cgroup.join(current)).unwrap_or(0),
            anon_bytes: of("anon", "total_rss"),
            active_file_bytes: of("active_file", "total_active_file"),
            inactive_file_bytes: of("inactive_file", "total_inactive_file"),
        }
    }

    /// How many of a cgroup's processes the kernel's OOM killers have killed.
    pub(crate) fn oom_kills(&self, cgroup: &Path) -> u64 {
        let file = match self.hierarchy {
            Hierarchy::V2 => "memory.events",
            Hierarchy::V1 => "memory.oom_control",
        };
        let text = std::fs::read_to_string(cgroup.join(file)).unwrap_or_default();
        machine::field(&text, "oom_kill").unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use forestall_lab_init::plan::{Role, Share, Work};

    use super::*;

    fn pod(class: Class) -> Pod {
        Pod {
            name: "a".into(),
            uid: "0b1c-2d".into(),
            class,
            role: Role::Innocent,
            request: Share(0),
            limit: None,
            container: "c0ffee".into(),
            pause: "ba5e".into(),
            pid_namespace: false,
            work: Work::Pause,
            nested: false,
            sidecar: None,
        }
    }

    // The expected paths are those a kubelet with each cgroup driver makes.
    #[test]
    fn paths_are_those_of_both_cgroup_drivers() {
        let plain = Tree::new(Naming::Cgroupfs, Hierarchy::V2);
        let path = plain.container(&pod(Class::Burstable), "c0ffee");
        assert_eq!(
            path,
            Path::new("/sys/fs/cgroup/kubepods/burstable/pod0b1c-2d/c0ffee")
        );
        let slices = Tree::new(Naming::Systemd, Hierarchy::V2);
        let path = slices.container(&pod(Class::BestEffort), "c0ffee");
        assert_eq!(
            path,
            Path::new(
                "/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0b1c_2d.slice/cri-containerd-c0ffee.scope"
            )
        );
        let path = slices.pod(&pod(Class::Guaranteed));
        assert_eq!(
            path,
            Path::new("/sys/fs/cgroup/kubepods.slice/kubepods-pod0b1c_2d.slice")
        );
    }

    // cgroups(7): each controller of version 1 has a hierarchy of its own, by convention below /sys/fs/cgroup.
    #[test]
    fn version_1_has_the_tree_below_its_memory_controller() {
        let tree = Tree::new(Naming::Cgroupfs, Hierarchy::V1);
        assert_eq!(tree.kubepods(), Path::new("/sys/fs/cgroup/memory/kubepods"));
        assert_eq!(
            tree.service("kubelet"),
            Path::new("/sys/fs/cgroup/memory/system.slice/kubelet.service")
        );
    }
}
