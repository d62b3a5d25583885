//! Trees of cgroups shaped like those of a kubelet: pods of two containers below `kubepods/burstable`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::tools;

/// Where v1 mounts the memory controller on Debian and everywhere else that systemd mounts it.
const V1_MEMORY: &str = "/sys/fs/cgroup/memory";

const CONTAINERS_PER_POD: usize = 2;

/// The path of container `number` below the hierarchy's root, as the kubelet's cgroupfs driver names it.
fn container_path(number: usize) -> String {
    let pod = number / CONTAINERS_PER_POD;
    format!("kubepods/burstable/pod00000000-0000-4000-8000-{pod:012x}/{number:064x}")
}

/// Real cgroups of the v1 memory controller, one sleeping process in each container. Everything goes away with it.
pub(super) struct RealTree {
    root: PathBuf,
    processes: Vec<Child>,
}

impl RealTree {
    /// Makes it. Refused where a `kubepods` exists already, because that is somebody's node.
    pub(super) fn make(containers: usize) -> Result<Self> {
        let root = Path::new(V1_MEMORY).join("kubepods");
        if !tools::is_root() {
            bail!("cgroups can only be made by root");
        }
        if !Path::new(V1_MEMORY).join("memory.usage_in_bytes").exists() {
            bail!("the memory controller is not on v1 here");
        }
        if root.exists() {
            bail!(
                "{} exists: this machine has pods of its own, or an earlier run was cut off",
                root.display()
            );
        }
        let mut tree = Self {
            root,
            processes: Vec::with_capacity(containers),
        };
        for number in 0..containers {
            let folder = Path::new(V1_MEMORY).join(container_path(number));
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let process = Command::new("sleep")
                .arg("3600")
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start sleep")?;
            let pid = process.id().to_string();
            tree.processes.push(process);
            let procs = folder.join("cgroup.procs");
            fs::write(&procs, pid).with_context(|| format!("cannot write {}", procs.display()))?;
        }
        Ok(tree)
    }

    /// The `kubepods` cgroup.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for RealTree {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Whoever has ended already needs no ending.
            let _ = process.kill();
            let _ = process.wait();
        }
        if let Err(error) = remove_cgroups(&self.root) {
            eprintln!(
                "cannot remove {}: {error}; remove its directories by hand",
                self.root.display()
            );
        }
    }
}

/// Removes a cgroup and those below it, children first; their files go with them.
fn remove_cgroups(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    // The last process may still be on its way out of the cgroup after it was waited for.
    for _ in 0..100 {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
    fs::remove_dir(folder)
}
