//! The marks by which somebody spares a cgroup: attributes of its directory, which may be set at any moment. The engine's
//! knowledge of them may be a minute old, so they are read once more, through the handle that is held, right before a signal and
//! before every step of a reclaim.
//!
//! A mark is read as the kernel shows it to this process. `trusted.*` is shown with `CAP_SYS_ADMIN` only (`xattr(7)`), and to
//! everybody else looks as if it were not set; forestall is not given that right, so a mark that is to hold belongs in
//! `user.*`. A static pod's mark is its name, and so is that of CRI-O's conmon, which watches over a container and is none: both
//! are told by the path by which the handle was opened, and spare what the caller takes for an ordinary container.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use forestall_decide::{GroupKind, Protection};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::order::CgroupPlace;

/// Levels that are climbed; a container lies five below the root of its hierarchy, a nested one a few more.
const LEVELS_MAX: usize = 64;

/// How somebody has marked the cgroup, or one above it, so that nobody in it may be touched. The root of the hierarchy is not
/// looked at: whoever started a nested machine may have marked that for its own purposes.
pub(crate) fn mark_of(place: &CgroupPlace) -> Result<Option<Protection>> {
    // runc asks systemd for Delegate=yes on every container's scope, so below kubepods that mark says nothing.
    let is_host = place.kind == GroupKind::Host;
    let by_name = if is_host { None } else { name_mark_of(&place.path) };
    if by_name.is_some() {
        return Ok(by_name);
    }
    find_upwards(place, |dir| {
        if is_opted_out(dir)? {
            return Ok(Some(Protection::OptedOut));
        }
        let is_delegated =
            is_host && (is_set(dir, c"user.delegate", b"1")? || is_set(dir, c"trusted.delegate", b"1")?);
        Ok(is_delegated.then_some(Protection::Delegated))
    })
}

/// What the names on the way from the last `kubepods` to a cgroup say: a static pod's UID is the hash of its manifest, 32 hexadecimal
/// digits without dashes (kubelet, `pkg/kubelet/config/common.go`), and conmon lives beside its container in `crio-conmon-ID`.
fn name_mark_of(path: &Path) -> Option<Protection> {
    let names = path.iter().rev().map(OsStrExt::as_bytes);
    let is_below = |name: &&[u8]| *name != b"kubepods" && !name.ends_with(b"kubepods.slice");
    names.take_while(is_below).find_map(|name| {
        if name.starts_with(b"crio-conmon-") {
            return Some(Protection::NodeAgent);
        }
        let name = name.strip_suffix(b".slice").unwrap_or(name);
        let (above, uid) = name.split_at_checked(name.len().checked_sub(32)?)?;
        let is_static = above.ends_with(b"pod") && uid.iter().all(u8::is_ascii_hexdigit);
        is_static.then_some(Protection::StaticPod)
    })
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
    fn static_pods_and_monitors_are_told_by_their_names() {
        const HASH: &str = "6c5b6c2f8a1d4c7e9b0a3f5d7e9c1b2a";
        const UID: &str = "6c5b6c2f-8a1d-4c7e-9b0a-3f5d7e9c1b2a";
        let marked = |path: String, kind| {
            mark_of(&CgroupPlace {
                path: Path::new(&path).into(),
                ..place(Path::new("/proc/self"), kind)
            })
        };
        let fixed = Ok(Some(Protection::StaticPod));
        for pod in [
            format!("/sys/fs/cgroup/kubepods/burstable/pod{HASH}"),
            format!(
                "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice"
            ),
        ] {
            assert_eq!(marked(format!("{pod}/c1"), CONTAINER), fixed, "{pod}");
            assert_eq!(marked(pod, GroupKind::Pod(Qos::Burstable)), fixed);
        }
        let conmon = format!("/sys/fs/cgroup/kubepods/pod{UID}/crio-conmon-{HASH}{HASH}");
        assert_eq!(marked(conmon, CONTAINER), Ok(Some(Protection::NodeAgent)));
        for free in [
            format!("/kubepods/burstable/pod{UID}/{HASH}{HASH}"),
            format!(
                "/kubepods.slice/kubepods-pod{}.slice/crio-{HASH}{HASH}.scope",
                UID.replace('-', "_")
            ),
            format!("/kubepods/pod{UID}/{HASH}"),
            format!("/kubepods/pod{UID}/pod"),
            // A node that itself runs in a static pod.
            format!("/kubepods/pod{HASH}/c1/kubepods/pod{UID}/c2"),
        ] {
            assert_eq!(marked(free.clone(), CONTAINER), Ok(None), "{free}");
        }
        // Outside of the pods a name says nothing.
        assert_eq!(
            marked(format!("/user.slice/pod{HASH}"), GroupKind::Host),
            Ok(None)
        );
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
