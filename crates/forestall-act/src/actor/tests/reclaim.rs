//! Reclaims and dips through the threads.

use super::*;
use crate::order::Price;

#[test]
fn a_reclaim_writes_steps_and_reports_what_it_got() {
    let handle = start();
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[], CgroupVersion::V2);
    fs::write(root.path().join("memory.reclaim"), "").expect("a file");
    let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
    (reclaim.action.rung, reclaim.action.bytes) = (Rung::Reclaim, Bytes::mebi(20));
    assert_eq!(handle.submit(reclaim), Ok(()));
    let report = wait_for(&handle, 1).0;
    // A plain file takes every write, which stands for a kernel that always got what it was asked for.
    assert_eq!(
        (report.outcome.kind, report.outcome.freed),
        (OutcomeKind::Done, Bytes::mebi(20))
    );
    let written = fs::read_to_string(root.path().join("memory.reclaim")).expect("the file");
    // 16 MiB and then 4 MiB over it: the shorter number leaves the longer one's last digit.
    assert_eq!(written.get(..7), Some("4194304"));
}

#[test]
fn v1_is_not_reclaimed_from_unless_asked() {
    let handle = start();
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[], CgroupVersion::V1);
    fs::write(root.path().join("memory.force_empty"), "").expect("a file");
    let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
    reclaim.action.rung = Rung::Reclaim;
    assert_eq!(handle.submit(reclaim), Ok(()));
    let report = wait_for(&handle, 1).0;
    assert_eq!(report.note, Note::ReclaimEnded(ReclaimEnd::Unsupported));
    assert_eq!(
        fs::read(root.path().join("memory.force_empty")).expect("the file"),
        b""
    );
}

#[test]
fn v1_is_emptied_by_force_where_that_was_asked_for_and_no_more_than_the_leaf() {
    let ask = |children: bool, swaps: &str| {
        let (root, proc_root) = (
            tempfile::tempdir().expect("a directory"),
            tempfile::tempdir().expect("a directory"),
        );
        fs::write(proc_root.path().join("swaps"), swaps).expect("a file");
        let config = ActConfig {
            proc_root: proc_root.path().into(),
            force_empty: true,
            ..ActConfig::default()
        };
        let handle = Actor::start(&config).expect("three threads");
        let place = fake_group(root.path(), &[], CgroupVersion::V1);
        fs::write(root.path().join("memory.usage_in_bytes"), "104857600\n").expect("a file");
        fs::write(root.path().join("memory.force_empty"), "").expect("a file");
        if children {
            fs::create_dir(root.path().join("below")).expect("a directory");
        }
        let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
        (reclaim.action.rung, reclaim.action.bytes) = (Rung::Reclaim, Bytes::mebi(20));
        assert_eq!(handle.submit(reclaim), Ok(()));
        let note = wait_for(&handle, 1).0.note;
        let written = fs::read(root.path().join("memory.force_empty")).expect("the file");
        (note, written)
    };
    let none = "Filename\tType\tSize\tUsed\tPriority\n";
    // The counter of a plain file does not fall: one write, and it is known that there is no more to have.
    assert_eq!(
        ask(false, none),
        (
            Note::Reclaimed(Price {
                ended: Some(ReclaimEnd::Exhausted),
                ..Price::default()
            }),
            b"0".to_vec()
        )
    );
    assert_eq!(
        ask(true, none),
        (Note::ReclaimEnded(ReclaimEnd::Unsupported), Vec::new())
    );
    let swap = format!("{none}/dev/sda2\tpartition\t1000\t0\t-2\n");
    assert_eq!(
        ask(false, &swap),
        (Note::ReclaimEnded(ReclaimEnd::WouldSwap), Vec::new())
    );
}

#[test]
fn a_kernel_without_memory_reclaim_is_served_by_a_dip_that_leaves_nothing_behind() {
    let (root, state) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let config = ActConfig {
        state_dir: Some(state.path().into()),
        ..ActConfig::default()
    };
    let handle = Actor::start(&config).expect("three threads");
    let place = fake_group(root.path(), &[], CgroupVersion::V2);
    fs::write(root.path().join("memory.high"), "99999744").expect("a file");
    let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
    reclaim.action.rung = Rung::Reclaim;
    assert_eq!(handle.submit(reclaim), Ok(()));
    let report = wait_for(&handle, 1).0;
    // The files do not change by themselves, so nothing came back.
    assert_eq!(
        (report.outcome.kind, report.outcome.freed),
        (OutcomeKind::NoEffect, Bytes::ZERO)
    );
    assert_eq!(
        fs::read(root.path().join("memory.high")).expect("the file"),
        b"99999744"
    );
    assert_eq!(
        fs::read_dir(state.path().join("dips"))
            .expect("the journal")
            .count(),
        0
    );
}

/// A dip that was lowered and whose worker is still inside the kernel.
fn lowered_dip(root: &Path, until: Option<Moment>) -> (CgroupPlace, Arc<Lowered>) {
    let place = fake_group(root, &[], CgroupVersion::V2);
    fs::write(root.join("memory.high"), "99999744").expect("a file");
    let prepared =
        crate::dip::prepare_dip(&place, Bytes::mebi(16), crate::clock::now()).expect("readable files");
    let mut dip = prepared.expect("a limit to lower");
    dip.until = until.unwrap_or(dip.until);
    dip.lower().expect("a plain file");
    // 100 MiB less 16 MiB.
    assert_eq!(fs::read(root.join("memory.high")).expect("the file"), b"88080384");
    (place, Arc::new(dip))
}

fn wait_until_restored(root: &Path) {
    let until = Instant::now() + PATIENCE;
    while fs::read(root.join("memory.high")).expect("the file") != b"99999744" {
        assert!(Instant::now() < until, "memory.high was never restored");
        thread::yield_now();
    }
}

#[test]
fn a_dip_whose_worker_is_held_up_is_restored_in_time_by_the_kill_thread() {
    let (handle, root) = (start(), tempfile::tempdir().expect("a directory"));
    let (_place, dip) = lowered_dip(root.path(), None);
    handle.shared.watch(dip);
    wait_until_restored(root.path());
}

#[test]
fn a_dip_is_lifted_before_a_kill_and_at_the_end() {
    let never = Some(Moment(u64::MAX));
    let (handle, root) = (start(), tempfile::tempdir().expect("a directory"));
    let (place, dip) = lowered_dip(root.path(), never);
    handle.shared.watch(dip);
    assert_eq!(
        handle.submit(order(1, Span::secs(1), Place::Cgroup(place))),
        Ok(())
    );
    // Nobody lives in it, so nothing is sent.
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Gone);
    assert_eq!(
        fs::read(root.path().join("memory.high")).expect("the file"),
        b"99999744"
    );

    let (_place, dip) = lowered_dip(root.path(), never);
    handle.shared.watch(dip);
    drop(handle);
    assert_eq!(
        fs::read(root.path().join("memory.high")).expect("the file"),
        b"99999744"
    );
}

#[test]
fn where_swap_is_on_reclaim_keeps_out_of_it_or_does_nothing() {
    let proc_root = tempfile::tempdir().expect("a directory");
    // The heading and one line of /proc/swaps, proc(5).
    let swaps = "Filename\tType\t\tSize\tUsed\tPriority\n/dev/zram0 partition\t262140\t0\t-2\n";
    fs::write(proc_root.path().join("swaps"), swaps).expect("a file");
    let state = tempfile::tempdir().expect("a directory");
    let config = ActConfig {
        proc_root: proc_root.path().into(),
        state_dir: Some(state.path().into()),
        ..ActConfig::default()
    };
    let handle = Actor::start(&config).expect("three threads");
    let root = tempfile::tempdir().expect("a directory");
    let place = fake_group(root.path(), &[], CgroupVersion::V2);
    fs::write(root.path().join("memory.high"), "99999744").expect("a file");
    let mut reclaim = order(1, Span::default(), Place::Cgroup(place));
    (reclaim.action.rung, reclaim.action.bytes) = (Rung::Reclaim, Bytes::mebi(16));
    // A dip would swap, so there is none.
    assert_eq!(handle.submit(reclaim.clone()), Ok(()));
    assert_eq!(
        wait_for(&handle, 1).0.note,
        Note::ReclaimEnded(ReclaimEnd::WouldSwap)
    );
    assert_eq!(
        fs::read(root.path().join("memory.high")).expect("the file"),
        b"99999744"
    );
    // memory.reclaim that takes the key is told to leave anonymous memory alone.
    fs::write(root.path().join("memory.reclaim"), "").expect("a file");
    assert_eq!(handle.submit(reclaim), Ok(()));
    assert_eq!(wait_for(&handle, 1).0.outcome.kind, OutcomeKind::Done);
    let written = fs::read(root.path().join("memory.reclaim")).expect("the file");
    assert_eq!(written, b"16777216 swappiness=0");
}
