//! A machine whose files partly belong to somebody else: what may be read is told, and what may not is counted and made up by
//! nobody. The test runs once more as a user that has no right to them, if it has every right itself.
#![expect(
    clippy::disallowed_methods,
    reason = "the machine is made of files of this test, and runs under no memory pressure"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use forestall_decide::{Bytes, Limit};
use forestall_sense::{SenseConfig, Sensor};

use crate::fixture::{Fixture, config_of, group, paths, sample_at};
use crate::kib;

/// Tells the second process where the machine is.
const PLACE: &str = "FORESTALL_TEST_MACHINE";
const NOBODY: u32 = 65_534;

/// Runs `seen` on the machine as somebody without rights.
fn without_rights(test: &str, fixture: &Fixture) {
    // Leads past directories that nobody else may enter, as root's home.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", test, "--nocapture"])
        .env(PLACE, fixture.root());
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(fixture.root(), Permissions::from_mode(0o755)).expect("its owner may");
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().expect("it starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn place() -> Option<SenseConfig> {
    std::env::var_os(PLACE).map(|place| config_of(&PathBuf::from(place)))
}

fn forbid(fixture: &Fixture, path: &str) {
    let path = fixture.path(path);
    fs::set_permissions(path, Permissions::from_mode(0o000)).expect("its owner may");
}

#[test]
fn what_may_not_be_read_is_counted_and_the_rest_is_told() {
    if let Some(config) = place() {
        let mut sensor = Sensor::open(&config).expect("a sensor");
        for millis in [100, 1_200, 2_300] {
            let node = sample_at(&mut sensor, millis).node;
            assert_eq!((node.total, node.oom_kills), (kib(1_000_000), 0));
        }
        let open = group(&sensor, "/open");
        assert_eq!(
            (open.current, open.limit),
            (Bytes(7_000), Limit::Bytes(Bytes::mebi(8)))
        );
        // Its figures are not known, and it is still there.
        let closed = group(&sensor, "/closed");
        assert_eq!((closed.current, closed.anon), (Bytes(9_000), Bytes::ZERO));
        // A whole cgroup that may not be entered is not made up.
        assert!(!paths(&sensor).contains(&"/hidden".to_owned()));
        return assert!(sensor.failures() >= 3, "{}", sensor.failures());
    }
    let fixture = Fixture::v2();
    fixture.group("/open", 7_000);
    fixture.file("/open", "memory.max", "8388608\n");
    fixture.group("/closed", 9_000);
    fixture.file("/closed", "memory.stat", "anon 5000\n");
    fixture.group("/hidden", 3_000);
    for path in [
        "cgroup/closed/memory.stat",
        "cgroup/closed/memory.max",
        "cgroup/closed/memory.events",
        "cgroup/hidden",
        "proc/vmstat",
    ] {
        forbid(&fixture, path);
    }
    let test = "rights::what_may_not_be_read_is_counted_and_the_rest_is_told";
    without_rights(test, &fixture);
    let hidden = fixture.path("cgroup/hidden");
    fs::set_permissions(hidden, Permissions::from_mode(0o755)).expect("its owner may");
}

#[test]
fn without_meminfo_there_is_no_sensor_and_the_error_names_the_file() {
    if let Some(config) = place() {
        let error = Sensor::open(&config).expect_err("it may not be read").to_string();
        return assert!(
            error.contains("proc/meminfo") && error.contains("ermission"),
            "{error}"
        );
    }
    let fixture = Fixture::v2();
    forbid(&fixture, "proc/meminfo");
    let test = "rights::without_meminfo_there_is_no_sensor_and_the_error_names_the_file";
    without_rights(test, &fixture);
}
