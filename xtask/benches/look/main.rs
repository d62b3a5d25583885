//! One look of the guard, sensing and deciding, beside bare reads of the same files, in one process.
//!
//! The tree is made of plain files, so what the kernel does to render a cgroup's figures costs neither side anything and the
//! ratio shows our own work alone: an upper bound of what it is on real cgroups. Time is handed in, a second a look, so no
//! look finds its figures fresh enough to be skipped. The floor has all its files open; the guard holds two for each cgroup and
//! opens the others anew, because an open file of cgroupfs costs a page of memory. Prints one line, `look ours floor`, in
//! nanoseconds of processor time, the medians of many rounds; `cargo xtask bench` reads it.

mod tree;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use forestall_decide::{Engine, Input, Moment, Policy, Span};
use forestall_kernel::cgroup::{GroupFile, Version};
use forestall_sense::{SenseConfig, Sensor};
use rustix::time::{ClockId, clock_gettime};

const CONTAINERS: usize = 256;
const ROUNDS: u64 = 500;

/// Rounds that only warm caches and fill the engine's windows.
const WARM: u64 = 70;

fn main() {
    let tree = tree::FileTree::make(CONTAINERS);
    let config = SenseConfig {
        cgroup_root: Some(tree.root().to_path_buf()),
        trusting: true,
        ..SenseConfig::default()
    };
    let mut sensor = Sensor::open(&config).expect("a sensor over the tree");
    let mut engine = Engine::new(Policy::default());
    let mut files = Vec::new();
    files_of_looks(tree.root(), &mut files);
    let mut buffer = vec![0; 64 << 10];
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in 0..WARM + ROUNDS {
        let now = Moment(round * Span::secs(1).0);
        let look = cpu_nanos(|| {
            let sample = sensor.sample(now, Span::default());
            let decision = engine.step(now, Input::Sample(sample));
            assert!(decision.actions.is_empty(), "nothing grows in this tree");
        });
        let reads = cpu_nanos(|| read_all(&files, &mut buffer));
        if round >= WARM {
            ours.push(look);
            floor.push(reads);
        }
    }
    println!("look {} {}", median(&mut ours), median(&mut floor));
}

fn read_all(files: &[File], buffer: &mut [u8]) {
    for file in files {
        let mut offset = 0;
        while let Ok(count @ 1..) = file.read_at(buffer, offset) {
            offset += count as u64;
        }
    }
}

/// The files of every cgroup below `folder` that a look may read, whether the sensor holds them open or not.
fn files_of_looks(folder: &Path, files: &mut Vec<File>) {
    // Members are listed now and then, and swap is looked at only where there is some.
    let passed_over = [GroupFile::Procs, GroupFile::SwapCurrent];
    for file in GroupFile::ALL.iter().filter(|file| !passed_over.contains(file)) {
        let name = file.name(Version::V2).and_then(|name| name.to_str().ok());
        // The root lacks most of them.
        files.extend(name.and_then(|name| File::open(folder.join(name)).ok()));
    }
    for entry in fs::read_dir(folder).expect("a cgroup").flatten() {
        if entry.path().is_dir() {
            files_of_looks(&entry.path(), files);
        }
    }
}

fn cpu_nanos(work: impl FnOnce()) -> i64 {
    let before = clock_gettime(ClockId::ThreadCPUTime);
    work();
    let after = clock_gettime(ClockId::ThreadCPUTime);
    (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec)
}

fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}
