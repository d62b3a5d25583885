use super::*;

/// A machine of files, and a cgroup on it with these files.
fn machine(files: &[&str]) -> (tempfile::TempDir, Arc<OwnedFd>) {
    let root = tempfile::tempdir().expect("a directory");
    let group = root.path().join("group");
    for directory in [root.path().join("proc"), group.clone()] {
        std::fs::create_dir(directory).expect("a directory");
    }
    for file in files {
        std::fs::write(group.join(file), "").expect("a file");
    }
    let group = std::fs::File::open(group).expect("a directory");
    (root, Arc::new(group.into()))
}

fn ground(root: &Path, group: Option<(Arc<OwnedFd>, CgroupVersion)>, swaps: bool) -> Ground {
    let proc_dir = std::fs::File::open(root.join("proc")).expect("a directory");
    Ground::new(root, proc_dir.into(), group, swaps, false, 0)
}

fn why_no_reclaim(ground: &Ground) -> Option<String> {
    let (_, degraded) = ground.cut(&Policy::default());
    let mut reclaim = degraded.into_iter().filter(|(rung, _)| *rung == Rung::Reclaim);
    reclaim.next().map(|(_, why)| why)
}

#[test]
fn the_reason_for_no_reclaim_is_the_true_one() {
    use CgroupVersion::{V1, V2};
    for (files, version, swaps, word) in [
        (
            &["memory.high", "memory.reclaim"][..],
            Some(V1),
            false,
            "cgroup v1",
        ),
        (&[], None, false, "no memory cgroup"),
        (&[], Some(V2), false, "nor memory.high can be written"),
        (&["memory.high"], Some(V2), true, "would swap"),
    ] {
        let (root, group) = machine(files);
        let ground = ground(root.path(), version.map(|version| (group, version)), swaps);
        let why = why_no_reclaim(&ground).expect("it lacks something");
        assert!(why.contains(word), "{why}");
    }
    let (root, group) = machine(&["memory.reclaim"]);
    assert_eq!(
        why_no_reclaim(&ground(root.path(), Some((group, V2)), false)),
        None
    );
}

#[test]
fn the_reason_for_no_brake_is_the_true_one() {
    use CgroupVersion::{V1, V2};
    let why = |files: &[&str], version: Option<CgroupVersion>, is_named: bool| {
        let (root, group) = machine(files);
        if is_named {
            live_in_a_namespace(root.path());
        }
        let ground = ground(root.path(), version.map(|version| (group, version)), false);
        let asked = Policy {
            rungs: Rungs::of(&[Rung::Brake]),
            ..Policy::default()
        };
        let (left, degraded) = ground.cut(&asked);
        assert_eq!(left.rungs.has(Rung::Brake), degraded.is_empty());
        degraded.into_iter().map(|(_, why)| why).next()
    };
    for (files, version, is_named, word) in [
        (&["memory.high"][..], Some(V1), true, "cgroup v1"),
        (&["memory.high"], None, true, "no memory cgroup"),
        (
            &["memory.reclaim"],
            Some(V2),
            true,
            "memory.high cannot be written",
        ),
        (&["memory.high"], Some(V2), false, "hostPID"),
    ] {
        let why = why(files, version, is_named).expect("it lacks something");
        assert!(why.contains(word), "{why}");
    }
    assert_eq!(why(&["memory.high", "cgroup.procs"], Some(V2), true), None);
}

#[test]
fn v1_is_reclaimed_from_by_force_where_that_was_asked_for() {
    use CgroupVersion::{V1, V2};
    let asked = |files: &[&str], version, swaps| {
        let (root, group) = machine(files);
        let proc_dir = std::fs::File::open(root.path().join("proc")).expect("a directory");
        let ground = Ground::new(
            root.path(),
            proc_dir.into(),
            Some((group, version)),
            swaps,
            true,
            0,
        );
        (
            ground.say_force_empty().expect("it was asked for"),
            why_no_reclaim(&ground),
        )
    };
    let (said, why) = asked(&["memory.force_empty"], V1, false);
    assert!(said.contains("takes all page cache"), "{said}");
    assert_eq!(why, None);
    let (_, why) = asked(&["memory.force_empty"], V1, true);
    assert!(why.is_some_and(|why| why.contains("would swap")));
    let (_, why) = asked(&[], V1, false);
    assert!(why.is_some_and(|why| why.contains("cannot be written")));
    let (said, why) = asked(&["memory.reclaim"], V2, false);
    assert!(said.contains("of no use"), "{said}");
    assert_eq!(why, None);
}

#[test]
fn whoever_cannot_be_placed_is_missed() {
    let (root, _) = machine(&[]);
    let ground = ground(root.path(), None, false);
    let missed = |unplaced| {
        let degraded = crate::agent::degraded(&[], &ground, None, unplaced);
        degraded.into_iter().find(|degraded| degraded.what == "cgroups")
    };
    assert_eq!(missed(None), None);
    let missed = missed(Some("mount the host's /sys/fs/cgroup"));
    assert_eq!(
        missed.map(|missed| missed.why),
        Some("mount the host's /sys/fs/cgroup".to_owned())
    );
}

#[test]
fn a_journal_is_missed_where_it_cannot_be_made_and_not_while_it_is_not_needed() {
    let (root, group) = machine(&["memory.high"]);
    std::fs::write(root.path().join("var"), "no directory").expect("a file");
    let mut ground = ground(root.path(), Some((group, CgroupVersion::V2)), false);
    assert_eq!(why_no_reclaim(&ground), None);
    let notes = ground.enter().expect("the seat is free");
    assert!(
        notes
            .iter()
            .any(|note| note.contains("neither a brake nor a dip of memory.high")),
        "{notes:?}"
    );
    let why = why_no_reclaim(&ground).expect("there is no journal");
    assert!(why.contains("needs /var/lib/forestall"), "{why}");
    ground.leave();
}

#[test]
fn who_acts_is_the_only_one_who_puts_back_dips() {
    let (root, _) = machine(&[]);
    let dips = root.path().join("var/lib/forestall/dips");
    std::fs::create_dir_all(&dips).expect("a directory");
    let cgroup = root.path().join("group");
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&cgroup).expect("a directory"));
    // An entry as forestall-act writes it, and the limit it speaks of.
    let entry = format!(
        "forestall dip 1\nbefore max\nours 4096\npath {}",
        cgroup.display()
    );
    let high = cgroup.join("memory.high");
    let lower = || {
        std::fs::write(dips.join(inode.to_string()), &entry).expect("a file");
        std::fs::write(&high, "4096").expect("a file");
    };
    let mut acts = ground(root.path(), None, false);
    acts.enter().expect("the seat is free");
    lower();
    let mut watches = ground(root.path(), None, false);
    assert_eq!(watches.recover_once(), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(&high).expect("the file"), "4096");
    acts.leave();
    let said = watches.recover_once();
    assert_eq!(said, ["put back memory.high of 1 cgroups after a crash"]);
    // A plain file keeps what a shorter write leaves over.
    assert_eq!(std::fs::read_to_string(&high).expect("the file"), "max6");
    // One that cannot be put back is said, and stays for the next time.
    lower();
    std::fs::remove_file(&high).expect("the file");
    std::fs::create_dir(&high).expect("a directory");
    let said = watches.enter().expect("the seat is free");
    assert!(
        said[0].contains("cannot be put back") && said[0].contains("next start"),
        "{said:?}"
    );
    assert!(dips.join(inode.to_string()).exists());
    watches.leave();
}

/// A process as proc shows it to an agent in this PID namespace: its numbers from there down to its own (proc_pid_status(5)).
fn process(root: &Path, pid: u32, numbers: &str) {
    let place = root.join("proc").join(pid.to_string());
    std::fs::create_dir_all(place.join("ns")).expect("directories");
    let status = format!("Name:\ta\nNSpid:\t{numbers}\nCapEff:\tffffffffffffffff\n");
    std::fs::write(place.join("status"), status).expect("a file");
    let stat = std::fs::read("/proc/self/stat").expect("the own one");
    std::fs::write(place.join("stat"), stat).expect("a file");
}

/// The own process, in a namespace that is not the machine's first: on a node that is a container itself (kind), or in a pod.
fn live_in_a_namespace(root: &Path) {
    let pid = std::process::id();
    process(root, pid, &pid.to_string());
    let link = |name: &str, at: PathBuf| std::os::unix::fs::symlink(name, at).expect("a link");
    link(&pid.to_string(), root.join("proc/self"));
    link("pid:[4026532281]", root.join("proc/self/ns/pid"));
}

fn why_no_kill(ground: &Ground) -> Option<String> {
    let (_, degraded) = ground.cut(&Policy::default());
    let mut kill = degraded.into_iter().filter(|(rung, _)| *rung == Rung::Kill);
    kill.next().map(|(_, why)| why)
}

/// A node that is a container itself (kind), on cgroup v1, on which no pod runs yet.
pub(crate) fn node_before_its_first_pod() -> (tempfile::TempDir, Ground) {
    let (root, group) = machine(&["cgroup.procs"]);
    live_in_a_namespace(root.path());
    let ground = ground(root.path(), Some((group, CgroupVersion::V1)), false);
    (root, ground)
}

/// A process of a pod, the first of a namespace of its own, below `root/group`.
pub(crate) fn start_a_pod(root: &Path) {
    process(root, 80, "80\t1");
    std::fs::write(root.join("group/cgroup.procs"), "80\n").expect("a file");
}

#[test]
fn what_takes_a_pod_to_prove_is_tried_again_until_there_is_one() {
    let (root, mut ground) = node_before_its_first_pod();
    let why = why_no_kill(&ground).expect("nobody has proven anything");
    assert!(why.contains("tried again") && why.contains("hostPID"), "{why}");
    assert!(ground.waits_for_a_pod() && !ground.look_again(None));
    start_a_pod(root.path());
    assert!(ground.look_again(None));
    assert_eq!(why_no_kill(&ground), None);
    assert!(!ground.waits_for_a_pod() && !ground.look_again(None));
}

#[test]
fn the_rights_are_tried_where_the_pods_live_once_they_do() {
    let (root, mut ground) = node_before_its_first_pod();
    let (pods, kubepods) = machine(&["cgroup.procs"]);
    let kubepods = || Some((Arc::clone(&kubepods), CgroupVersion::V1));
    start_a_pod(pods.path());
    process(root.path(), 80, "80\t1");
    assert!(!ground.look_again(None), "no pod lives there");
    assert!(ground.look_again(kubepods()));
    assert_eq!(why_no_kill(&ground), None);
    assert!(!ground.look_again(kubepods()));
}
