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
pub(super) const V1_MEMORY: &str = "/sys/fs/cgroup/memory";

const CONTAINERS_PER_POD: usize = 2;

/// A cgroup of the host's beside the pods, with a limit that it never comes near: where there is one, the guard rests from nothing
/// and looks as often as it is told to.
const LIMITED: &str = "forestall-bench";
const LIMIT_BYTES: u64 = 1 << 30;

/// The path of container `number` below the hierarchy's root, as the kubelet's cgroupfs driver names it.
fn container_path(number: usize) -> String {
    let pod = number / CONTAINERS_PER_POD;
    format!("kubepods/burstable/pod00000000-0000-4000-8000-{pod:012x}/{number:064x}")
}

/// Real cgroups of the v1 memory controller, one sleeping process in each container, and a cgroup with a limit beside them.
/// Everything goes away with it.
pub(super) struct RealTree {
    root: PathBuf,
    limited: PathBuf,
    processes: Vec<Child>,
}

impl RealTree {
    /// Makes it. Refused where a `kubepods` exists already, because that is somebody's node.
    pub(super) fn make(containers: usize) -> Result<Self> {
        let root = Path::new(V1_MEMORY).join("kubepods");
        let limited = Path::new(V1_MEMORY).join(LIMITED);
        if !tools::is_root() {
            bail!("cgroups can only be made by root");
        }
        if !Path::new(V1_MEMORY).join("memory.usage_in_bytes").exists() {
            bail!("the memory controller is not on v1 here");
        }
        if let Some(there) = [&root, &limited].into_iter().find(|path| path.exists()) {
            bail!(
                "{} exists: this machine has pods of its own, or an earlier run was cut off",
                there.display()
            );
        }
        let mut tree = Self {
            root,
            limited,
            processes: Vec::with_capacity(containers + 1),
        };
        for number in 0..containers {
            tree.occupy(&Path::new(V1_MEMORY).join(container_path(number)))?;
        }
        let limited = tree.limited.clone();
        tree.occupy(&limited)?;
        let limit = limited.join("memory.limit_in_bytes");
        fs::write(&limit, LIMIT_BYTES.to_string())
            .with_context(|| format!("cannot write {}", limit.display()))?;
        Ok(tree)
    }

    /// Makes a cgroup with a sleeping process in it.
    fn occupy(&mut self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let process = Command::new("sleep")
            .arg("3600")
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start sleep")?;
        let pid = process.id().to_string();
        self.processes.push(process);
        let procs = folder.join("cgroup.procs");
        fs::write(&procs, pid).with_context(|| format!("cannot write {}", procs.display()))
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
        for path in [&self.root, &self.limited] {
            if path.exists()
                && let Err(error) = remove_cgroups(path)
            {
                eprintln!(
                    "cannot remove {}: {error}; remove its directories by hand",
                    path.display()
                );
            }
        }
    }
}

/// Removes a cgroup and those below it, children first; their files go with them.
pub(super) fn remove_cgroups(folder: &Path) -> io::Result<()> {
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
