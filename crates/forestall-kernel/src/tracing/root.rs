//! Where tracefs is mounted.
//!
//! It refuses to mount it, and takes no directory for it that is not of that file system.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FsWord, Mode, OFlags, StatVfsMountFlags};

use crate::Error;
use crate::file::{Buffer, HeldFile};
use crate::parse::{mounts, unescape};

/// `linux/magic.h`.
const TRACEFS_MAGIC: FsWord = 0x7472_6163;

/// Where systems mount it; the second is mounted by the kernel once it is looked at.
const USUAL: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// Longer tables of mounts are read up to here, bytes.
const MOUNTS_BYTES_MAX: usize = 1 << 20;

/// Finds tracefs: at the usual places below `root` (the machine's own root directory, `/` outside of a container), else wherever
/// `mountinfo` (usually `/proc/self/mountinfo`) says that it is mounted. One that can be written is preferred.
///
/// [`Error::Gone`]: it is mounted nowhere, or the kernel has none. [`Error::Denied`]: it may be there, and may not be looked at.
pub fn find_tracefs(root: &Path, mountinfo: &Path) -> Result<PathBuf, Error> {
    let mut places: Vec<PathBuf> = USUAL.iter().map(|place| root.join(place)).collect();
    let mut buffer = Buffer::with_capacity(4096);
    // Without the table the usual places are left.
    if let Ok(file) = HeldFile::open(mountinfo) {
        let _ = file.read_enlarging(&mut buffer, MOUNTS_BYTES_MAX);
        let traced = mounts(buffer.as_bytes()).filter(|mount| mount.kind == b"tracefs" && mount.root == b"/");
        places.extend(traced.map(|mount| PathBuf::from(OsString::from_vec(unescape(mount.point).collect()))));
    }
    let mut read_only = None;
    let mut denied = None;
    for place in places {
        match look(&place) {
            Ok(Some(Access::ReadWrite)) => return Ok(place),
            Ok(Some(Access::ReadOnly)) => read_only = read_only.or(Some(place)),
            Err(error @ Error::Denied { .. }) => denied = denied.or(Some(error)),
            Ok(None) | Err(_) => {}
        }
    }
    let path: Arc<Path> = Arc::from(root.join(USUAL[0]));
    read_only.ok_or_else(|| denied.unwrap_or(Error::Gone { path }))
}

enum Access {
    ReadOnly,
    ReadWrite,
}

fn look(place: &Path) -> Result<Option<Access>, Error> {
    let shown: Arc<Path> = Arc::from(place);
    let failed = |errno| Error::from_errno(&shown, errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(place, flags, Mode::empty()).map_err(failed)?;
    if rustix::fs::fstatfs(&dir).map_err(failed)?.f_type != TRACEFS_MAGIC {
        return Ok(None);
    }
    let mounted = rustix::fs::fstatvfs(&dir).map_err(failed)?;
    Ok(Some(if mounted.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_file_system_is_not_tracefs() {
        let root = tempfile::tempdir().expect("a directory");
        let place = root.path().join(USUAL[0]);
        std::fs::create_dir_all(&place).expect("made");
        let mountinfo = root.path().join("mountinfo");
        let line = format!("30 25 0:12 / {} rw - tracefs none rw\n", place.display());
        std::fs::write(&mountinfo, line).expect("written");
        let error = find_tracefs(root.path(), &mountinfo).expect_err("no tracefs");
        assert!(error.is_gone());
        assert_eq!(error.path(), place);
        assert!(find_tracefs(root.path(), &root.path().join("none")).is_err());
    }
}
