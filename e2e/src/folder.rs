//! The folder of a run: disks, certificates and data of a cluster that are worth nothing after it. It is gone with the run, and where a
//! run was ended by force, with the next one.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = "run-";

/// Dropped, it is removed with all that is in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held locked: that is how others know that it is in use.
    _lock: File,
}

impl Folder {
    /// Makes one in `cache`, and removes those that nobody uses any more.
    pub(crate) fn make(cache: &Path) -> Result<Self> {
        fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        clear(cache)?;
        let path = cache.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        let lock = try_lock(&path)?.with_context(|| format!("{} is somebody else's", path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("e2e: {} stays: {error}", self.path.display());
        }
    }
}

/// A folder for logs, emptied; held locked while this is.
#[derive(Debug)]
pub(crate) struct Logs {
    _lock: File,
}

impl Logs {
    /// Makes it; an error where another run writes there.
    pub(crate) fn make(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let lock = try_lock(path)?
            .with_context(|| format!("another run has its logs in {}; wait for its end", path.display()))?;
        for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
            let old = entry?.path();
            let removed = if old.is_dir() {
                fs::remove_dir_all(&old)
            } else {
                fs::remove_file(&old)
            };
            removed.with_context(|| format!("removing {}", old.display()))?;
        }
        Ok(Self { _lock: lock })
    }
}

fn clear(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache).with_context(|| format!("reading {}", cache.display()))? {
        let path = entry?.path();
        let is_run = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if is_run && try_lock(&path)?.is_some() {
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// The lock, unless somebody has it.
fn try_lock(path: &Path) -> Result<Option<File>> {
    let folder = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(flock(&folder, FlockOperation::NonBlockingLockExclusive)
        .is_ok()
        .then_some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_run_left_is_removed_and_what_a_live_one_has_stays() {
        let cache = tempfile::tempdir().expect("a folder");
        let (dead, live) = (cache.path().join("run-1"), cache.path().join("run-2"));
        let kept = cache.path().join("etcd-0123");
        for folder in [&dead, &live, &kept] {
            fs::create_dir(folder).expect("a folder");
        }
        fs::write(dead.join("disk.img"), "x").expect("a file");
        let held = try_lock(&live).expect("a folder").expect("nobody else has it");
        let own = Folder::make(cache.path()).expect("a folder of its own");
        assert!(!dead.exists() && live.exists() && kept.exists());
        let path = own.path().to_owned();
        fs::write(path.join("disk.img"), "x").expect("a file");
        drop(own);
        assert!(!path.exists());
        drop(held);
    }

    #[test]
    fn logs_of_a_run_that_goes_on_are_not_touched() {
        let target = tempfile::tempdir().expect("a folder");
        let path = target.path().join("e2e");
        let first = Logs::make(&path).expect("nobody has it");
        fs::write(path.join("n1.log"), "x").expect("a file");
        let said = Logs::make(&path).expect_err("somebody has it").to_string();
        assert!(
            said.contains("another run") && path.join("n1.log").exists(),
            "{said}"
        );
        drop(first);
        let _second = Logs::make(&path).expect("nobody has it");
        assert!(!path.join("n1.log").exists());
    }
}
