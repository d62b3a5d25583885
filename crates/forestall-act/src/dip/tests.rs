use super::*;
use crate::order::CgroupVersion;
use forestall_decide::{GroupId, GroupKind, Qos};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// A cgroup directory made of plain files: 100 MiB in use, and `high` in `memory.high`.
pub(crate) fn fake(high: &str) -> (tempfile::TempDir, CgroupPlace) {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("memory.high"), high).expect("a file");
    fs::write(root.path().join("memory.current"), "104857600\n").expect("a file");
    let dir = fs::File::open(root.path()).expect("a directory");
    let place = CgroupPlace {
        id: GroupId(dir.metadata().expect("its inode").ino()),
        dir: Arc::new(dir.into()),
        kind: GroupKind::Container(Qos::Burstable),
        path: root.path().into(),
        version: CgroupVersion::V2,
    };
    (root, place)
}

pub(crate) fn high(place: &CgroupPlace) -> String {
    fs::read_to_string(place.path.join("memory.high")).expect("memory.high")
}

/// A plain file is not cut by a shorter write as a kernel file is.
pub(crate) fn set_high(place: &CgroupPlace, value: &str) {
    fs::write(place.path.join("memory.high"), value).expect("memory.high");
}

pub(crate) fn prepare(place: &CgroupPlace) -> Lowered {
    let dip = prepare_dip(place, Bytes::mebi(16), Moment(0)).expect("readable files");
    dip.expect("a limit to lower")
}

#[test]
fn a_dip_goes_one_step_below_what_is_held_and_back() {
    // As long as the value of the dip, 84 MiB, so that the plain file is overwritten whole.
    let (_root, place) = fake("99999744");
    let dip = prepare(&place);
    assert_eq!(dip.lower(), Ok(()));
    assert_eq!(high(&place), "88080384");
    assert_eq!(dip.restore(), Ok(()));
    assert_eq!(high(&place), "99999744");
    assert_eq!(dip.restore(), Ok(()));
    assert_eq!(high(&place), "99999744");
}

#[test]
fn what_somebody_else_wrote_stays() {
    let (_root, place) = fake("99999744");
    let dip = prepare(&place);
    assert_eq!(dip.lower(), Ok(()));
    set_high(&place, "12345678");
    assert_eq!(dip.restore(), Ok(()));
    assert_eq!(high(&place), "12345678");
}

#[test]
fn a_limit_that_is_lower_already_is_left_alone() {
    let (_root, place) = fake("4096000");
    assert!(
        prepare_dip(&place, Bytes::mebi(16), Moment(0))
            .expect("readable files")
            .is_none()
    );
}
