//! What a node's machine starts from: the lab's kernel, a first file system with the modules for its disk, and modules for the rest.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::lab::cpio::Archive;
use crate::lab::kernels::{Image, Kernel};

/// cgroup v2, both kinds of LRU, and ext4 built in.
const KERNEL: &str = "6.1";
const DISK_MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
const NODE_MODULES: [&str; 3] = ["virtio_net", "overlay", "veth"];

/// A folder with `vmlinuz`, `initrd` and `modules`; they are loaded in the order of their names.
pub(super) fn make(cache: &Path, source: &Path, busybox: &Path) -> Result<PathBuf> {
    let image = Kernel::named(KERNEL).context("a kernel of the lab")?.fetch()?;
    let folder = cache.join(format!("machine-{}", image.version));
    let modules = folder.join("modules");
    fs::create_dir_all(&modules).with_context(|| format!("making {}", modules.display()))?;
    for (name, content) in modules_of(&image, &NODE_MODULES)? {
        put(&modules.join(name), |path| Ok(fs::write(path, content)?))?;
    }
    put(&folder.join("vmlinuz"), |path| {
        Ok(fs::copy(&image.vmlinuz, path).map(drop)?)
    })?;
    put(&folder.join("initrd"), |path| {
        write_initrd(&image, source, busybox, path)
    })?;
    Ok(folder)
}

fn write_initrd(image: &Image, source: &Path, busybox: &Path, path: &Path) -> Result<()> {
    let mut archive = Archive::new(File::create(path)?);
    for place in ["bin", "proc", "sys", "dev", "disk", "modules"] {
        archive.directory(place)?;
    }
    archive.file("bin/busybox", &fs::read(busybox)?)?;
    archive.file("init", &fs::read(source.join("guest/init"))?)?;
    for (name, content) in modules_of(image, &DISK_MODULES)? {
        archive.file(&format!("modules/{name}"), &content)?;
    }
    archive.finish()?;
    Ok(())
}

/// Modules with those that they depend on, named in the order in which they are to be loaded.
fn modules_of(image: &Image, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let modules = image.modules_named(names)?.into_iter().enumerate();
    Ok(modules
        .map(|(index, (name, content))| (format!("{index:02}-{name}.ko"), content))
        .collect())
}

/// Makes a file whole or not at all: another run may be reading it.
fn put(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let partly = path.with_extension(format!("part{}", std::process::id()));
    write(&partly).with_context(|| format!("writing {}", partly.display()))?;
    fs::rename(&partly, path).with_context(|| format!("keeping {}", path.display()))
}
