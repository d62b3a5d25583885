//! The disk of a node, which all nodes share and none writes to: QEMU keeps each one's writes to itself.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::Parts;
use crate::pki::{NODES, Pki};

const DISK_BYTES: u64 = 4 << 30;
/// The files of the guest, as they stand in `e2e/guest`, and where they go.
const FILES: [(&str, &str, bool); 12] = [
    ("inittab", "etc/inittab", false),
    ("boot", "etc/node/boot", true),
    ("containerd", "etc/node/containerd", true),
    ("forestall", "etc/node/forestall", true),
    ("forestall.yaml", "etc/forestall.yaml", false),
    ("kubelet", "etc/node/kubelet", true),
    ("shell", "etc/node/shell", true),
    ("service", "etc/node/service", true),
    ("containerd.toml", "etc/containerd/config.toml", false),
    ("kubelet.yaml", "etc/kubernetes/kubelet.yaml", false),
    ("network", "opt/cni/bin/wire", true),
    ("network.conflist", "etc/cni/net.d/10-wire.conflist", false),
];

/// Makes it in `folder`, with certificates and container images; its path.
pub(crate) fn make(parts: &Parts, pki: &Pki, folder: &Path) -> Result<PathBuf> {
    let tree = Tree::new(&folder.join("disk"))?;
    tree.busybox(parts)?;
    tree.folder("sbin")?;
    symlink("../bin/busybox", tree.root.join("sbin/init"))?;
    for place in [
        "dev", "proc", "sys", "run", "tmp", "root", "var/log", "var/lib", "images", "usr/bin",
    ] {
        tree.folder(place)?;
    }
    for (name, place, is_program) in FILES {
        tree.take(&parts.guest.join(name), place, is_program)?;
    }
    tree.modules(&parts.machine.join("modules"))?;
    for name in ["kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "runc"] {
        tree.take(&parts.program(name)?, &format!("usr/local/bin/{name}"), true)?;
    }
    for (name, program) in [("work", &parts.worker), ("forestall", &parts.agent)] {
        tree.take(program, &format!("usr/local/bin/{name}"), true)?;
    }
    tree.take(&pki.path("ca.crt"), "etc/kubernetes/ca.crt", false)?;
    for node in NODES {
        for kind in [".crt", ".key", ".kubeconfig", "-serving.crt", "-serving.key"] {
            let name = format!("n{node}{kind}");
            tree.take(&pki.path(&name), &format!("etc/kubernetes/{name}"), false)?;
        }
    }
    for image in &parts.images {
        let name = image.file_name().context("an image without a name")?;
        tree.take(image, &format!("images/{}", name.display()), false)?;
    }
    tree.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    tree.write("etc/group", "root:x:0:\n")?;
    tree.write("etc/resolv.conf", "")?;
    tree.write("etc/os-release", "NAME=e2e\nID=e2e\nPRETTY_NAME=e2e\n")?;
    let image = folder.join("disk.img");
    fs::File::create(&image)?.set_len(DISK_BYTES)?;
    let status = Command::new("mke2fs")
        .args([
            "-q",
            "-t",
            "ext4",
            "-O",
            "^has_journal",
            "-E",
            "lazy_itable_init=1,root_owner=0:0",
            "-d",
        ])
        .args([&tree.root, &image])
        .status()
        .context("mke2fs cannot be run; install e2fsprogs")?;
    if !status.success() {
        bail!("mke2fs: {status}");
    }
    Ok(image)
}

/// A file system's content, laid out in a folder.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn new(root: &Path) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("clearing {}", root.display()))?;
        }
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    fn folder(&self, place: &str) -> Result<()> {
        fs::create_dir_all(self.root.join(place)).with_context(|| format!("making {place}"))
    }

    fn take(&self, from: &Path, place: &str, is_program: bool) -> Result<()> {
        let to = self.root.join(place);
        fs::create_dir_all(to.parent().context("a place")?)?;
        fs::copy(from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
        let mode = if is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn write(&self, place: &str, text: &str) -> Result<()> {
        let to = self.root.join(place);
        fs::create_dir_all(to.parent().context("a place")?)?;
        fs::write(&to, text).with_context(|| format!("writing {}", to.display()))
    }

    fn busybox(&self, parts: &Parts) -> Result<()> {
        self.take(&parts.busybox, "bin/busybox", true)?;
        let output = Command::new(&parts.busybox)
            .arg("--list")
            .output()
            .context("busybox")?;
        for name in String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|name| *name != "busybox")
        {
            symlink("busybox", self.root.join("bin").join(name)).with_context(|| format!("naming {name}"))?;
        }
        Ok(())
    }

    /// The modules of a folder; they are loaded in the order of their names.
    fn modules(&self, folder: &Path) -> Result<()> {
        self.folder("modules")?;
        for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().context("a module's name")?.display().to_string();
            self.take(&path, &format!("modules/{name}"), false)?;
        }
        Ok(())
    }
}
