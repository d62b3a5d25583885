//! `free` and `node` on machines whose files are empty, cut off, or say what cannot be: the rest is shown, the gap is told
//! with its place, and the exit code is that of a partial answer.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const OWN: &str = "sys/fs/cgroup/a";

/// A machine of 8124016 kB; a process in a cgroup with 477 MiB of 1 GiB, 48 MiB of them page cache.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::new().expect("a directory"));
        for (path, text) in [
            (
                "proc/meminfo",
                "MemTotal: 8124016 kB\nMemFree: 346844 kB\nMemAvailable: 3358232 kB\nBuffers: 999768 kB\nCached: 1690344 kB\n\
                 Inactive(file): 1000000 kB\nAnonPages: 4000000 kB\n",
            ),
            ("proc/self/cgroup", "0::/a\n"),
            (
                "proc/self/mountinfo",
                "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/a/memory.high", "max\n"),
            ("sys/fs/cgroup/a/memory.current", "500000000\n"),
            ("sys/fs/cgroup/a/memory.swap.current", "0\n"),
            ("sys/fs/cgroup/a/memory.swap.max", "max\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 400000000\nfile 60000000\nactive_file 1000\ninactive_file 50000000\n",
            ),
        ] {
            machine.write(path, text);
        }
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.0.path().join(path)).expect("it was there");
    }

    /// Exit code, and stdout and stderr together.
    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_forestall"))
            .args(args)
            .arg("--root")
            .arg(self.0.path())
            .output()
            .expect("the binary was built");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("UTF-8"))
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.run(&[command, "-o", "json"]).1).expect("JSON")
    }

    /// Both as people see it: partial, with the place and what is wrong there.
    fn is_partial(&self, command: &str, place: &str, why: &str) -> String {
        let (code, text) = self.run(&[command]);
        assert_eq!(code, Some(4), "{place} {why}: {text}");
        assert!(
            text.lines()
                .any(|line| line.contains(place) && line.contains(why)),
            "{place} {why}: {text}"
        );
        assert!(text.contains("try again, or as root"), "{text}");
        text
    }
}

#[test]
fn a_whole_machine_is_a_whole_answer() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["free"]).0, Some(0));
    assert_eq!(machine.json("free")["complete"], true);
    assert_eq!(machine.run(&["node"]).0, Some(0));
    assert_eq!(machine.json("node")["complete"], true);
}

#[test]
fn a_limit_that_cannot_be_read_is_not_taken_for_none() {
    for (text, why) in [
        ("", "is empty"),
        ("garbled\n", "says \"garbled\", which is no size"),
        ("-1\n", "says \"-1\""),
        ("10737", "ends in the middle of a line"),
        ("\u{1b}[2J\n", "says \"\\\\u{1b}[2J\""),
    ] {
        let machine = Machine::new();
        machine.write("sys/fs/cgroup/a/memory.max", text);
        let shown = machine.is_partial("free", "/sys/fs/cgroup/a/memory.max", why);
        assert!(shown.contains("none that could be read"), "{shown}");
        assert!(!shown.contains("none but the machine"), "{shown}");
        let free = machine.json("free");
        assert_eq!(
            (&free["complete"], &free["limit"]),
            (&Value::Bool(false), &Value::Null)
        );
    }
    let machine = Machine::new();
    machine.remove("sys/fs/cgroup/a/memory.max");
    machine.is_partial("free", "/sys/fs/cgroup/a/memory.max", "is not there");
}

#[test]
fn a_usage_that_cannot_be_is_not_shown_as_one() {
    for (text, why) in [
        ("18446744073709551615\n", "says 16384Pi, and there are only 7.7Gi"),
        ("", "is empty"),
        ("half\n", "which is no size"),
    ] {
        let machine = Machine::new();
        machine.write("sys/fs/cgroup/a/memory.current", text);
        let shown = machine.is_partial("free", "/sys/fs/cgroup/a/memory.current", why);
        assert!(shown.contains("distance     not known"), "{shown}");
        assert_eq!(shown.matches("16384Pi").count(), why.matches("16384Pi").count());
        let free = machine.json("free");
        assert_eq!(free["limit"]["bytes"], 1_073_741_824);
        for absent in [&free["limit"]["distance_bytes"], &free["limited"], &free["own"]] {
            assert!(absent.is_null(), "{free}");
        }
    }
}

#[test]
fn parts_that_cannot_be_are_counted_as_nothing_to_reclaim() {
    for (text, why) in [
        ("", "is empty"),
        (
            "anon 1\nactive_file 1\ninactive_file 18446744073709551615\n",
            "16384Pi of inactive_file",
        ),
        ("anon 1\nactive_file 1\ninact", "ends in the middle"),
        ("anon 1\nactive_file 1\n", "has no inactive_file"),
        (
            "active_file many\ninactive_file 1\n",
            "has no figure for active_file",
        ),
    ] {
        let machine = Machine::new();
        machine.write("sys/fs/cgroup/a/memory.stat", text);
        machine.is_partial("free", "/sys/fs/cgroup/a/memory.stat", why);
        // 1 GiB − 500000000: all that is used counts as needed.
        assert_eq!(machine.json("free")["limit"]["distance_bytes"], 573_741_824);
    }
    for (file, text) in [
        ("memory.swap.current", "18446744073709551615\n"),
        ("memory.swap.max", "\n"),
        ("memory.high", "low\n"),
    ] {
        let machine = Machine::new();
        machine.write(&format!("{OWN}/{file}"), text);
        machine.is_partial("free", file, "says");
    }
}

#[test]
fn a_machine_that_cannot_be_is_refused_or_told() {
    for command in ["free", "node"] {
        for text in ["MemTotal: 8124", "MemTotal: 8124016 kB\nMemFr", ""] {
            let machine = Machine::new();
            machine.write("proc/meminfo", text);
            let (code, shown) = machine.run(&[command]);
            assert_eq!(code, Some(1), "{shown}");
            assert!(shown.contains("proc/meminfo has no Mem"), "{shown}");
        }
        let machine = Machine::new();
        machine.write(
            "proc/meminfo",
            "MemTotal: 8124016 kB\nMemFree: 346844 kB\nMemAvailable: 9999999999 kB\nBuffers: 0 kB\nCached: 1000 kB\n\
             Inactive(file): 1000 kB\nAnonPages: 4000000 kB\n",
        );
        let shown = machine.is_partial(command, "proc/meminfo", "more than MemTotal of 7.7Gi");
        assert_eq!(shown.matches("9.3Ti").count(), 1, "in the note alone: {shown}");
    }
}

#[test]
fn a_cgroup_that_cannot_be_seen_is_a_partial_answer_of_both() {
    let gone = |machine: &Machine| machine.remove("proc/self/cgroup");
    let garbled = |machine: &Machine| machine.write("proc/self/cgroup", "nonsense\n");
    let unmounted = |machine: &Machine| machine.remove("proc/self/mountinfo");
    for spoil in [&gone as &dyn Fn(&Machine), &garbled, &unmounted] {
        let machine = Machine::new();
        spoil(&machine);
        for command in ["free", "node"] {
            let (code, shown) = machine.run(&[command]);
            assert_eq!(code, Some(4), "{command}: {shown}");
            assert!(shown.contains("proc/self/"), "{command}: {shown}");
        }
    }
}

#[test]
fn a_limit_of_the_pods_that_cannot_be_read_is_not_taken_for_none() {
    let machine = Machine::new();
    for (file, text) in [("max", ""), ("current", "18446744073709551615\n"), ("stat", "\n")] {
        machine.write(&format!("sys/fs/cgroup/kubepods/memory.{file}"), text);
    }
    let shown = machine.is_partial("node", "/sys/fs/cgroup/kubepods/memory.max", "is empty");
    assert!(!shown.contains("kubepods has no limit of its own"), "{shown}");
    machine.is_partial("node", "/sys/fs/cgroup/kubepods/memory.current", "says 16384Pi");
    let pods = &machine.json("node")["pods"];
    assert!(
        pods["usage_bytes"].is_null() && pods["working_set_bytes"].is_null(),
        "{pods}"
    );
}
