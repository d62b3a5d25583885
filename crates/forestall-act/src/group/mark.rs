//! The marks by which somebody spares a cgroup: attributes of its directory, which may be set at any moment. The engine's
//! knowledge of them may be a minute old, so they are read once more, through the handle that is held, right before a signal and
//! before every step of a reclaim.
//!
//! A mark is read as the kernel shows it to this process. `trusted.*` is shown with `CAP_SYS_ADMIN` only (`xattr(7)`), and to
//! everybody else looks as if it were not set; forestall is not given that right, so a mark that is to hold belongs in
//! `user.*`. A static pod's mark is its name, and nobody can rename a cgroup below the handle: it is not asked for again.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use forestall_decide::{GroupKind, Protection};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::order::CgroupPlace;

/// Levels that are climbed; a container lies five below the root of its hierarchy, a nested one a few more.
const LEVELS_MAX: usize = 64;

/// How somebody has marked the cgroup, or one above it, so that nobody in it may be ended. The root of the hierarchy is not
/// looked at: whoever started a nested machine may have marked that for its own purposes.
pub(crate) fn mark_of(place: &CgroupPlace) -> Result<Option<Protection>> {
    // runc asks systemd for Delegate=yes on every container's scope, so below kubepods that mark says nothing.
    let is_host = place.kind == GroupKind::Host;
    find_upwards(place, |dir| {
        if is_opted_out(dir)? {
            return Ok(Some(Protection::OptedOut));
        }
        let is_delegated =
            is_host && (is_set(dir, c"user.delegate", b"1")? || is_set(dir, c"trusted.delegate", b"1")?);
        Ok(is_delegated.then_some(Protection::Delegated))
    })
}

/// Whether somebody has opted out the cgroup, or one above it. Nothing else keeps reclaim away: whoever is given a part of
/// the hierarchy (Delegate=yes) was not promised his cache.
pub(crate) fn has_opted_out(place: &CgroupPlace) -> Result<bool> {
    let found = find_upwards(place, |dir| Ok(is_opted_out(dir)?.then_some(())));
    found.map(|found| found.is_some())
}

/// What `look` finds first on the way from the cgroup up to the root of the hierarchy, which is not looked at.
fn find_upwards<T>(
    place: &CgroupPlace,
    look: impl Fn(BorrowedFd<'_>) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let mut below: Option<OwnedFd> = None;
    for _ in 0..LEVELS_MAX {
        let dir = below.as_ref().map_or(place.dir.as_fd(), AsFd::as_fd);
        let above = match open_above(dir) {
            Ok(None) => break,
            Ok(above) => above,
            // What may not be entered ends the climb: nobody without the right to look there is told more.
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        if let Some(found) = look(dir)? {
            return Ok(Some(found));
        }
        match above {
            Some(above) => below = Some(above),
            None => break,
        }
    }
    Ok(None)
}

/// The directory above this one, `None` for the root of a file system.
fn open_above(dir: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let above = rustix::fs::openat(dir, c"..", flags, Mode::empty())?;
    let (here, there) = (rustix::fs::fstat(dir)?, rustix::fs::fstat(&above)?);
    let is_root = here.st_dev != there.st_dev || here.st_ino == there.st_ino;
    Ok((!is_root).then_some(above))
}

/// Opting out is done under either name.
pub(super) fn is_opted_out(dir: BorrowedFd<'_>) -> Result<bool> {
    Ok(is_set(dir, c"user.forestall", b"never")? || is_set(dir, c"trusted.forestall", b"never")?)
}

/// Whether the attribute begins with `value`. One that is absent, or that this kernel or our rights do not show, is not set;
/// neither is one too long to be any of ours.
fn is_set(dir: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<bool> {
    let mut found = [0_u8; 16];
    match rustix::fs::fgetxattr(dir, name, &mut found[..]) {
        Ok(length) => Ok(found.get(..length).is_some_and(|found| found.starts_with(value))),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::NOSYS | Errno::RANGE) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::CgroupVersion;
    use forestall_decide::{GroupId, Qos};
    use rustix::fs::XattrFlags;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::sync::Arc;

    const CONTAINER: GroupKind = GroupKind::Container(Qos::Burstable);

    fn place(dir: &Path, kind: GroupKind) -> CgroupPlace {
        let file = fs::File::open(dir).expect("a directory");
        CgroupPlace {
            id: GroupId(file.metadata().expect("its inode").ino()),
            dir: Arc::new(file.into()),
            kind,
            path: dir.into(),
            version: CgroupVersion::V2,
        }
    }

    fn set(dir: &Path, name: &str, value: &[u8]) {
        rustix::fs::setxattr(dir, name, value, XattrFlags::empty()).expect("a file system with attributes");
    }

    #[test]
    fn opting_out_holds_for_all_below_and_for_no_neighbour() {
        let root = tempfile::tempdir().expect("a directory");
        let (pod, other) = (root.path().join("pod1"), root.path().join("pod2"));
        fs::create_dir_all(pod.join("a")).expect("directories");
        fs::create_dir_all(other.join("b")).expect("directories");
        assert_eq!(mark_of(&place(&pod.join("a"), CONTAINER)), Ok(None));
        set(&pod, "user.forestall", b"never");
        let opted_out = Ok(Some(Protection::OptedOut));
        assert_eq!(mark_of(&place(&pod.join("a"), CONTAINER)), opted_out);
        assert_eq!(mark_of(&place(&pod, CONTAINER)), opted_out);
        assert_eq!(mark_of(&place(&other.join("b"), CONTAINER)), Ok(None));
        // A line's end that came along with the value is no other value, another word is.
        set(&pod, "user.forestall", b"never\n");
        assert_eq!(mark_of(&place(&pod, CONTAINER)), opted_out);
        for other in [&b"nev"[..], b"", b"sometimes, and never on a sunday"] {
            set(&pod, "user.forestall", other);
            assert_eq!(mark_of(&place(&pod, CONTAINER)), Ok(None));
        }
    }

    #[test]
    fn delegation_counts_outside_kubepods_only() {
        let root = tempfile::tempdir().expect("a directory");
        let inner = root.path().join("payload");
        fs::create_dir(&inner).expect("a directory");
        set(root.path(), "user.delegate", b"1");
        let delegated = Ok(Some(Protection::Delegated));
        assert_eq!(mark_of(&place(root.path(), GroupKind::Host)), delegated);
        assert_eq!(mark_of(&place(&inner, GroupKind::Host)), delegated);
        assert_eq!(mark_of(&place(&inner, CONTAINER)), Ok(None));
        set(root.path(), "user.delegate", b"0");
        assert_eq!(mark_of(&place(&inner, GroupKind::Host)), Ok(None));
    }

    #[test]
    fn a_file_system_without_attributes_has_no_marks() {
        // proc has none: fgetxattr(2) answers EOPNOTSUPP.
        assert_eq!(
            mark_of(&place(Path::new("/proc/self"), GroupKind::Host)),
            Ok(None)
        );
    }
}
