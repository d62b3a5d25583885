use super::*;
use crate::dip::prepare_dip;
use crate::dip::tests::{fake, high, prepare, set_high};
use crate::order::CgroupPlace;
use forestall_decide::{Bytes, Moment};

fn ends(recovered: &[Recovered]) -> Vec<LoweredEnd> {
    recovered.iter().map(|found| found.end).collect()
}

#[test]
fn a_crash_in_the_middle_is_repaired_at_the_next_start() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("max");
    let dip = prepare(&place);
    Journal::new(state.path()).enter(&dip).expect("a journal");
    set_high(&place, "88080384");
    drop(dip);
    let recovered = recover_lowered(state.path()).expect("a readable journal");
    assert_eq!(
        recovered,
        [Recovered {
            path: place.path.to_path_buf(),
            end: LoweredEnd::Restored
        }]
    );
    assert!(high(&place).starts_with("max"));
    assert_eq!(recover_lowered(state.path()).expect("an empty journal"), []);
}

#[test]
fn recovery_leaves_alone_what_is_not_ours_any_more() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, mut place) = fake("max");
    let journal = Journal::new(state.path());
    journal.enter(&prepare(&place)).expect("a journal");
    set_high(&place, "55555555");
    let recovered = recover_lowered(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [LoweredEnd::NotOurs]);
    assert_eq!(high(&place), "55555555");
    // Another cgroup at the same path.
    place.id = GroupId(place.id.0 + 1);
    set_high(&place, "max");
    journal.enter(&prepare(&place)).expect("a journal");
    set_high(&place, "88080384");
    let recovered = recover_lowered(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [LoweredEnd::Gone]);
    assert_eq!(high(&place), "88080384");
}

#[test]
fn torn_entries_are_struck_out() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("max");
    let journal = Journal::new(state.path());
    journal.enter(&prepare(&place)).expect("a journal");
    let entry = journal.entry(place.id);
    let whole = fs::read(&entry).expect("the entry");
    let before_path = whole.len() - place.path.as_os_str().len();
    for length in 0..before_path {
        fs::write(&entry, &whole[..length]).expect("the entry");
        assert_eq!(
            recover_lowered(state.path()).expect("a readable journal"),
            [],
            "{length}"
        );
        assert!(!entry.exists());
    }
}

#[test]
fn no_journal_is_nothing_to_recover() {
    let state = tempfile::tempdir().expect("a directory");
    assert_eq!(recover_lowered(state.path()).expect("no journal"), []);
}

#[test]
fn a_dip_that_cannot_be_put_back_is_kept_for_the_next_try() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("max");
    let journal = Journal::new(state.path());
    journal.enter(&prepare(&place)).expect("a journal");
    // What stands in the way here is a directory of the file's name, whatever this user may write.
    let high_file = place.path.join("memory.high");
    fs::remove_file(&high_file).expect("the file");
    fs::create_dir(&high_file).expect("a directory");
    for _ in 0..2 {
        let recovered = recover_lowered(state.path()).expect("a readable journal");
        assert_eq!(ends(&recovered), [LoweredEnd::Failed(Errno::ISDIR)]);
        assert!(journal.entry(place.id).exists());
    }
    fs::remove_dir(&high_file).expect("the directory");
    set_high(&place, "88080384");
    // Until then a further dip must not take the lowered limit for the one to put back.
    assert!(journal.enter(&prepare_below(&place)).is_err());
    let recovered = recover_lowered(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [LoweredEnd::Restored]);
    assert!(high(&place).starts_with("max"));
    assert!(!journal.entry(place.id).exists());
    // Once the cgroup is gone there is nothing left to put back.
    journal.enter(&prepare_below(&place)).expect("a journal");
    fs::remove_file(&high_file).expect("the file");
    let recovered = recover_lowered(state.path()).expect("a readable journal");
    assert_eq!(ends(&recovered), [LoweredEnd::Gone]);
    assert!(!journal.entry(place.id).exists());
}

/// A dip below the lowered limit of another one.
fn prepare_below(place: &CgroupPlace) -> Lowered {
    let dip = prepare_dip(place, Bytes::mebi(64), Moment(0)).expect("readable files");
    dip.expect("a limit to lower")
}

#[test]
fn a_run_that_ends_at_any_point_leaves_nothing_that_is_not_put_back() {
    let state = tempfile::tempdir().expect("a directory");
    let (_root, place) = fake("99999744");
    let journal = Journal::new(state.path());
    // Before the entry, between it and the write, after the write, and after it was put back.
    for (is_entered, is_lowered, end) in [
        (false, false, None),
        (true, false, Some(LoweredEnd::AsBefore)),
        (true, true, Some(LoweredEnd::Restored)),
        (true, false, Some(LoweredEnd::AsBefore)),
    ] {
        let lowered = prepare(&place);
        if is_entered {
            journal.enter(&lowered).expect("a journal");
        }
        if is_lowered {
            lowered.lower().expect("a plain file");
            assert_eq!(high(&place), "88080384");
        }
        drop(lowered);
        let recovered = recover_lowered(state.path()).expect("a readable journal");
        assert_eq!(ends(&recovered), end.into_iter().collect::<Vec<_>>());
        assert_eq!(high(&place), "99999744");
        assert!(!journal.entry(place.id).exists());
    }
}

#[test]
fn an_entry_that_ends_anywhere_writes_nothing_wrong_anywhere() {
    let state = tempfile::tempdir().expect("a directory");
    let (root, place) = fake("99999744");
    // The container's own, and one at every name that the front of its path could be taken for.
    let below = root.path().join("pod/c1");
    fs::create_dir_all(&below).expect("directories");
    let places = [root.path().to_owned(), root.path().join("pod"), below.clone()];
    let container = CgroupPlace {
        path: below.as_path().into(),
        id: GroupId(fs::metadata(&below).expect("a directory").ino()),
        ..place
    };
    let journal = Journal::new(state.path());
    let set = || {
        for place in &places {
            fs::write(place.join("memory.high"), "88080384").expect("a file");
        }
    };
    journal.enter(&prepare(&container)).expect("a journal");
    let entry = journal.entry(container.id);
    let whole = fs::read(&entry).expect("the entry");
    for length in 0..=whole.len() {
        set();
        fs::write(&entry, &whole[..length]).expect("the entry");
        let recovered = recover_lowered(state.path()).expect("a readable journal");
        let now: Vec<_> = places
            .iter()
            .map(|place| fs::read_to_string(place.join("memory.high")).expect("the file"))
            .collect();
        if length == whole.len() {
            assert_eq!(ends(&recovered), [LoweredEnd::Restored]);
            assert_eq!(now, ["88080384", "88080384", "99999744"]);
        } else {
            assert_eq!(now, ["88080384"; 3], "{length}");
            assert!(
                recovered.iter().all(|found| found.end == LoweredEnd::Gone),
                "{length}: {recovered:?}"
            );
        }
        assert!(!entry.exists());
    }
}
