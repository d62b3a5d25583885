//! Rights that are missing: cgroups that belong to somebody else, a cgroup file system that is mounted read-only, and a PID
//! namespace of one's own. Each test runs once more in a process that lacks them. Where this machine lets nobody make such a
//! process, that is said, and nothing is concluded.

use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use forestall_act::{CgroupVersion, Release, Right, SelfTest, self_test};
use rustix::io::Errno;
use tempfile::TempDir;

/// Tells the second process where the cgroup is.
const PLACE: &str = "FORESTALL_TEST_CGROUP";
/// Nobody has this user.
const NOBODY: u32 = 65_534;
const WRITTEN: [&str; 3] = ["memory.reclaim", "memory.high", "cgroup.kill"];

/// A cgroup with one process in it, that everybody may read.
fn cgroup(listed: &str, mode: u32) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("its owner may");
    fs::write(dir.path().join("cgroup.procs"), listed).expect("a file");
    for name in WRITTEN {
        let path = dir.path().join(name);
        fs::write(&path, "as it was").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its owner may");
    }
    dir
}

fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// What runs this test alone, and once more.
fn again(test: &str, place: &Path, through: &[&str]) -> Command {
    let mut words = through.iter();
    let mut command = match words.next() {
        Some(first) => {
            let own = std::env::current_exe().expect("this program");
            let mut command = Command::new(first);
            command.args(words).arg(own);
            command
        }
        // Leads past directories that nobody else may enter, as root's home.
        None => Command::new("/proc/self/exe"),
    };
    command.args(["--exact", test, "--nocapture"]).env(PLACE, place);
    command
}

#[track_caller]
fn passes(mut command: Command) {
    let output = command.output().expect("it starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Whether a process can be made that way here; if not, that is said.
fn can(through: &[&str]) -> bool {
    let output = through
        .split_first()
        .map(|(first, rest)| Command::new(first).args(rest).arg("true").output());
    let can = matches!(output, Some(Ok(output)) if output.status.success());
    if !can {
        eprintln!("not tested: this machine does not let this user run {through:?}");
    }
    can
}

fn rights_at(place: &Path) -> Vec<Right> {
    let (group, proc_root) = (File::open(place), File::open("/proc"));
    let (group, proc_root) = (group.expect("it may be opened"), proc_root.expect("/proc"));
    self_test(&SelfTest {
        proc_root: proc_root.as_fd(),
        group: Some((group.as_fd(), CgroupVersion::V2)),
        release: Release::Never,
    })
}

fn is_left_as_it_was(place: &Path) {
    for name in WRITTEN {
        assert_eq!(
            fs::read_to_string(place.join(name)).expect("it may be read"),
            "as it was",
            "{name}"
        );
    }
}

/// Nothing can be written, for this reason, and what that costs is said.
#[track_caller]
fn lacks_what_writes(rights: &[Right], errno: Errno) {
    for name in [
        "cgroup_kill",
        "memory_reclaim",
        "memory_reclaim_swappiness",
        "memory_high",
    ] {
        let right = rights.iter().find(|right| right.name == name);
        let right = right.expect("a right of this name");
        assert_eq!((right.works, right.errno), (false, Some(errno)), "{name}");
        assert!(!right.cost.is_empty(), "{name}");
    }
}

#[test]
fn cgroups_of_somebody_else_are_not_written_and_it_is_said() {
    if let Some(place) = place() {
        lacks_what_writes(&rights_at(&place), Errno::ACCESS);
        return is_left_as_it_was(&place);
    }
    let dir = cgroup("", 0o444);
    let mut command = again(
        "cgroups_of_somebody_else_are_not_written_and_it_is_said",
        dir.path(),
        &[],
    );
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    passes(command);
}

#[test]
fn a_cgroup_file_system_that_is_mounted_read_only_is_not_written_and_it_is_said() {
    if let Some(place) = place() {
        lacks_what_writes(&rights_at(&place), Errno::ROFS);
        return is_left_as_it_was(&place);
    }
    let dir = cgroup("", 0o644);
    let shown = dir.path().to_str().expect("a path of letters");
    let remount = format!("mount --bind {shown} {shown} && mount -o remount,bind,ro {shown} && exec \"$@\"");
    let through = ["unshare", "-r", "-m", "sh", "-c", &remount, "sh"];
    if can(&through) {
        let test = "a_cgroup_file_system_that_is_mounted_read_only_is_not_written_and_it_is_said";
        passes(again(test, dir.path(), &through));
    }
}

#[test]
fn without_the_hosts_pid_namespace_nobody_is_killed_and_it_is_said() {
    if let Some(place) = place() {
        let rights = rights_at(&place);
        let right = rights.iter().find(|right| right.name == "pidfd");
        let right = right.expect("a right of this name");
        assert_eq!((right.works, right.errno), (false, Some(Errno::XDEV)));
        return assert!(right.cost.contains("hostPID: true"), "{}", right.cost);
    }
    // What the kernel lists there of a process outside.
    let dir = cgroup("0\n", 0o644);
    let through = ["unshare", "-r", "-p", "-f", "--mount-proc"];
    if can(&through) {
        let test = "without_the_hosts_pid_namespace_nobody_is_killed_and_it_is_said";
        passes(again(test, dir.path(), &through));
    }
}
