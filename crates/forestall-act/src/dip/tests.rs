use super::*;
use crate::order::CgroupVersion;
use forestall_decide::{GroupKind, Qos};
use std::sync::Arc;

/// A cgroup directory made of plain files: 100 MiB in use, and `high` in `memory.high`.
fn fake(high: &str) -> (tempfile::TempDir, CgroupPlace) {
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

fn high(place: &CgroupPlace) -> String {
    fs::read_to_string(place.path.join("memory.high")).expect("memory.high")
}

/// A plain file is not cut by a shorter write as a kernel file is.
fn set_high(place: &CgroupPlace, value: &str) {
    fs::write(place.path.join("memory.high"), value).expect("memory.high");
}

fn prepare(place: &CgroupPlace) -> Dip {
    let dip = Dip::prepare(place, Bytes::mebi(16), Moment(0)).expect("readable files");
    dip.expect("a limit to lower")
}

fn ends(recovered: &[Recovered]) -> Vec<DipEnd> {
    recovered.iter().map(|found| found.end).collect()
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
        Dip::prepare(&place, Bytes::mebi(16), Moment(0))
            .expect("readable files")
            .is_none()
    );
}

#[test]
fn a_crash_in_the_middle_is_repaired_at_the_next_start() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("max");
    let dip = prepare(&place);
    Journal::new(state.path()).enter(&place, &dip).expect("a journal");
    set_high(&place, "88080384");
    drop(dip);
    let recovered = recover_dips(state.path()).expect("a readable journal");
    assert_eq!(
        recovered,
        [Recovered {
            path: place.path.to_path_buf(),
            end: DipEnd::Restored
        }]
    );
    assert!(high(&place).starts_with("max"));
    assert_eq!(recover_dips(state.path()).expect("an empty journal"), []);
}

#[test]
fn recovery_leaves_alone_what_is_not_ours_any_more() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, mut place) = fake("max");
    let journal = Journal::new(state.path());
    journal.enter(&place, &prepare(&place)).expect("a journal");
    set_high(&place, "55555555");
    let recovered = recover_dips(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [DipEnd::NotOurs]);
    assert_eq!(high(&place), "55555555");
    // Another cgroup at the same path.
    place.id = GroupId(place.id.0 + 1);
    set_high(&place, "max");
    journal.enter(&place, &prepare(&place)).expect("a journal");
    set_high(&place, "88080384");
    let recovered = recover_dips(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [DipEnd::Gone]);
    assert_eq!(high(&place), "88080384");
}

#[test]
fn torn_entries_are_struck_out() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("max");
    let journal = Journal::new(state.path());
    journal.enter(&place, &prepare(&place)).expect("a journal");
    let entry = journal.entry(place.id);
    let whole = fs::read(&entry).expect("the entry");
    let before_path = whole.len() - place.path.as_os_str().len();
    for length in 0..before_path {
        fs::write(&entry, &whole[..length]).expect("the entry");
        assert_eq!(
            recover_dips(state.path()).expect("a readable journal"),
            [],
            "{length}"
        );
        assert!(!entry.exists());
    }
}

#[test]
fn no_journal_is_nothing_to_recover() {
    let state = tempfile::tempdir().expect("a directory");
    assert_eq!(recover_dips(state.path()).expect("no journal"), []);
}

#[test]
fn a_dip_that_cannot_be_put_back_is_kept_for_the_next_try() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("max");
    let journal = Journal::new(state.path());
    journal.enter(&place, &prepare(&place)).expect("a journal");
    // What stands in the way here is a directory of the file's name, whatever this user may write.
    let high_file = place.path.join("memory.high");
    fs::remove_file(&high_file).expect("the file");
    fs::create_dir(&high_file).expect("a directory");
    for _ in 0..2 {
        let recovered = recover_dips(state.path()).expect("a readable journal");
        assert_eq!(ends(&recovered), [DipEnd::Failed(Errno::ISDIR)]);
        assert!(journal.entry(place.id).exists());
    }
    fs::remove_dir(&high_file).expect("the directory");
    set_high(&place, "88080384");
    // Until then a further dip must not take the lowered limit for the one to put back.
    assert!(journal.enter(&place, &prepare_below(&place)).is_err());
    let recovered = recover_dips(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [DipEnd::Restored]);
    assert!(high(&place).starts_with("max"));
    assert!(!journal.entry(place.id).exists());
    // Once the cgroup is gone there is nothing left to put back.
    journal.enter(&place, &prepare_below(&place)).expect("a journal");
    fs::remove_file(&high_file).expect("the file");
    let recovered = recover_dips(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [DipEnd::Gone]);
    assert!(!journal.entry(place.id).exists());
}

/// A dip below the lowered limit of another one.
fn prepare_below(place: &CgroupPlace) -> Dip {
    let dip = Dip::prepare(place, Bytes::mebi(64), Moment(0)).expect("readable files");
    dip.expect("a limit to lower")
}
