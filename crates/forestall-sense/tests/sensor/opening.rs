//! What a machine lacks, and that nothing on it changes.

use std::fs;

use forestall_kernel::cgroup::Version;
use forestall_sense::{SenseConfig, Sensor};

use crate::fixture::{CID, Fixture, UID, sample_at};
use crate::{container, kib};

#[test]
fn without_memory_cgroups_the_machine_alone_is_sampled() {
    for (fixture, said) in [
        (Fixture::bare(Version::V2), "no cgroup hierarchy"),
        (
            {
                let fixture = Fixture::v2();
                fs::write(fixture.cgroup_root().join("cgroup.controllers"), "cpu pids\n").expect("written");
                fixture
            },
            "the memory controller is not available",
        ),
    ] {
        let mut sensor = fixture.open();
        let sample = sample_at(&mut sensor, 100);
        assert_eq!(sample.node.total, kib(1_000_000));
        assert!(sample.groups.is_empty() && sensor.roster().is_empty());
        let capabilities = sensor.capabilities();
        assert_eq!(capabilities.version, None);
        assert!(
            capabilities.notes.iter().any(|note| note.contains(said)),
            "{capabilities:?}"
        );
    }
}

#[test]
fn an_ordinary_directory_is_not_taken_for_cgroupfs() {
    let fixture = Fixture::v2();
    fixture.group("/kubepods", 1);
    let sensor = Sensor::open(&SenseConfig {
        trusting: false,
        ..fixture.config()
    })
    .expect("a sensor");
    assert!(
        sensor
            .capabilities()
            .notes
            .iter()
            .any(|note| note.contains("not a cgroup file system"))
    );
}

#[test]
fn without_proc_there_is_no_sensor_and_the_error_names_the_file() {
    let fixture = Fixture::v2();
    let missing = fixture.path("nothing");
    let error = Sensor::open(&SenseConfig {
        proc_root: missing.clone(),
        ..fixture.config()
    })
    .expect_err("none");
    assert!(
        error.to_string().contains(&missing.display().to_string()),
        "{error}"
    );
    fixture.set("proc/meminfo", "");
    let error = Sensor::open(&fixture.config()).expect_err("empty");
    assert!(error.to_string().contains("MemTotal"), "{error}");
}

#[test]
fn nothing_is_written() {
    fn contents(dir: &std::path::Path, into: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .expect("listed")
            .map(|entry| entry.expect("read").path())
            .collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                into.push((path.clone(), Vec::new()));
                contents(&path, into);
            } else {
                into.push((path.clone(), fs::read(&path).expect("read")));
            }
        }
    }
    let fixture = Fixture::v2();
    fixture.group(&container(UID, CID), 1);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    contents(fixture.root(), &mut before);
    let mut sensor = fixture.open();
    sensor.set_attention(true);
    for tick in 0..20 {
        sample_at(&mut sensor, tick * 1000);
    }
    contents(fixture.root(), &mut after);
    assert!(before == after);
}
