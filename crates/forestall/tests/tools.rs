//! `node`, `free` and `leak` as they are run: the built binary, on fixture trees and with a few mebibytes.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const MEBI: u64 = 1 << 20;

fn forestall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(args)
        .env_remove("NO_COLOR")
        .output()
        .expect("the binary was built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(args: &[&str]) -> Value {
    let output = forestall(&[args, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
}

/// A tree that looks like a machine of 8,124,016 kB with 3,358,232 kB available.
struct Machine(TempDir);

impl Machine {
    fn new(membership: &str, mountinfo: &str) -> Self {
        let machine = Self(TempDir::new().expect("a directory"));
        let meminfo = "MemTotal: 8124016 kB\nMemFree: 346844 kB\nMemAvailable: 3358232 kB\nBuffers: 999768 kB\n\
                       Cached: 1690344 kB\nInactive(file): 1000000 kB\nAnonPages: 4000000 kB\n";
        machine.write("proc/meminfo", meminfo);
        machine.write("proc/self/cgroup", membership);
        machine.write("proc/self/mountinfo", mountinfo);
        machine
    }

    fn v1() -> Self {
        let mountinfo = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        Self::new(
            "4:memory:/kubepods/burstable/podA/c1\n0::/system.slice\n",
            mountinfo,
        )
    }

    fn v2(membership: &str, shown: &str) -> Self {
        Self::new(
            membership,
            &format!("30 23 0:26 {shown} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n"),
        )
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("a file");
    }

    /// A v2 cgroup below /sys/fs/cgroup: limit, use in MiB, and active file cache of it.
    fn cgroup(&self, path: &str, max: &str, current: u64, active_file: u64) {
        let dir = format!("sys/fs/cgroup{path}");
        self.write(&format!("{dir}/memory.max"), &format!("{max}\n"));
        self.write(&format!("{dir}/memory.current"), &format!("{}\n", current * MEBI));
        let stat = format!(
            "anon {}\nfile {1}\nactive_file {1}\ninactive_file 0\n",
            current * MEBI,
            active_file * MEBI
        );
        self.write(&format!("{dir}/memory.stat"), &stat);
    }

    fn root(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    fn free(&self) -> Value {
        json(&["free", "--root", self.root()])
    }
}

fn bytes(value: &Value, pointer: &str) -> u64 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}

// ---- node ----

#[test]
fn a_node_is_reckoned_to_the_kibibyte() {
    let map = json(&["node", "--capacity", "7120616Ki", "--provider", "aks-legacy"]);
    assert_eq!((text(&map, "/kind"), bytes(&map, "/version")), ("node", 1));
    assert_eq!(bytes(&map, "/division/allocatable_bytes"), 4_675_304 << 10);
    assert_eq!(bytes(&map, "/division/kubepods_limit_bytes"), 5_573_943_296);
    assert_eq!(bytes(&map, "/division/kube_reserved_bytes"), 1638 * MEBI);

    let flags = [
        "--kube-reserved",
        "cpu=100m,memory=1638Mi",
        "--eviction-hard",
        "memory.available<1000Mi",
    ];
    let map = json(&[&["node", "--capacity", "7120616Ki"], &flags[..]].concat());
    assert_eq!(bytes(&map, "/division/allocatable_bytes"), 4_419_304 << 10);
    assert_eq!(bytes(&map, "/division/kubepods_limit_bytes"), 5_573_943_296);
}

#[test]
fn the_picture_names_every_wall_and_has_no_colour_in_a_pipe() {
    let output = forestall(&["node", "--capacity", "7120616Ki", "--provider", "aks-legacy"]);
    let shown = stdout(&output);
    for part in [
        "4675304Ki",
        "65.66 %",
        "kubelet-allocatable      4565.73",
        "kubepods                 5315.73",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    for part in [
        "kubelet-node             6203.73",
        "kernel                   6953.73",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains('\x1b'), "{shown}");
    let longest = shown.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(120), "{longest:?}");
}

#[test]
fn given_use_shows_the_next_wall() {
    let used = ["--pods-used", "4450Mi", "--node-used", "5836Mi"];
    let map = json(
        &[
            &["node", "--capacity", "7120616Ki", "--provider", "aks-legacy"],
            &used[..],
        ]
        .concat(),
    );
    // 4565.73 − 4450 is nearer than 6203.73 − 5836.
    assert_eq!(text(&map, "/next_wall"), "kubelet-allocatable");
    assert_eq!(
        bytes(&map, "/walls/0/distance_bytes"),
        (4_675_304 << 10) - 4450 * MEBI
    );
    assert_eq!(bytes(&map, "/top_node_percent"), 127);
}

#[test]
fn yaml_says_what_json_says() {
    let output = forestall(&["node", "--capacity", "8Gi", "--provider", "gke", "-o", "yaml"]);
    let yaml: Value = serde_saphyr::from_str(&stdout(&output)).expect("YAML");
    assert_eq!(yaml, json(&["node", "--capacity", "8Gi", "--provider", "gke"]));
}

#[test]
fn reservations_beyond_the_capacity_are_refused() {
    let output = forestall(&["node", "--capacity", "1Gi", "--kube-reserved", "2Gi"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("2147483648 bytes exceed the capacity"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        forestall(&["node", "--capacity", "7 apples"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_machine_with_kubepods_is_read() {
    let machine = Machine::v2("0::/kubepods.slice/kubepods-podA.slice/c1\n", "/");
    machine.cgroup("/kubepods.slice", "6000000000", 3000, 500);
    machine.cgroup("/kubepods.slice/kubepods-podA.slice/c1", "max", 10, 0);
    machine.write("sys/fs/cgroup/memory.stat", "anon 1\nfile 2\nsock 1048576\n");
    let config = "kubeReserved:\n  memory: 1Gi\nevictionHard:\n  memory.available: 200Mi\n";
    machine.write("var/lib/kubelet/config.yaml", config);
    let map = json(&["node", "--root", machine.root()]);
    assert_eq!(bytes(&map, "/pods/working_set_bytes"), 3000 * MEBI);
    assert_eq!(bytes(&map, "/pods/unreclaimable_bytes"), 2500 * MEBI);
    // The kernel's own limit decides, and the disagreement is told.
    assert_eq!(bytes(&map, "/walls/1/at_bytes"), 6_000_000_000);
    assert!(
        text(&map, "/notes/0").contains("the kernel limits kubepods to 5859375Ki"),
        "{map:#}"
    );
    // 4000000 + 1690344 + 999768 − 1000000 kB, of 8124016 − 200 × 1024.
    assert_eq!(bytes(&map, "/walls/2/used_bytes"), 5_690_112 << 10);
    assert_eq!(
        bytes(&map, "/walls/2/distance_bytes"),
        (8_124_016 - 204_800 - 5_690_112) << 10
    );
    assert_eq!(bytes(&map, "/walls/3/distance_bytes"), 3_358_232 << 10);
    assert_eq!(bytes(&map, "/views/blind/sockets_bytes"), MEBI);
}

#[test]
fn without_a_configuration_reservations_follow_from_the_limit() {
    let machine = Machine::v2("0::/\n", "/");
    // 8124016 − 2097152 = 6026864 kB.
    machine.cgroup("/kubepods", &(6_026_864_u64 << 10).to_string(), 100, 0);
    let map = json(&["node", "--root", machine.root()]);
    assert_eq!(bytes(&map, "/division/kube_reserved_bytes"), 2048 * MEBI);
    assert_eq!(bytes(&map, "/division/eviction_hard_bytes"), 100 * MEBI);
    // A what-if about the threshold keeps them.
    let map = json(&["node", "--root", machine.root(), "--eviction-hard", "5%"]);
    assert_eq!(bytes(&map, "/division/kube_reserved_bytes"), 2048 * MEBI);
    // 5 % in the kubelet's floating point: 0.05 as a float is a little more than a twentieth.
    let five_percent = (8_124_016_u64 << 10) / 20;
    assert!(bytes(&map, "/division/eviction_hard_bytes").abs_diff(five_percent) < 16);
}

#[test]
fn a_machine_without_a_kubelet_has_one_wall() {
    let machine = Machine::v2("0::/\n", "/");
    let map = json(&["node", "--root", machine.root()]);
    assert_eq!(
        map.pointer("/walls").and_then(Value::as_array).map(Vec::len),
        Some(1)
    );
    assert_eq!(text(&map, "/next_wall"), "kernel");
}

// ---- free ----

#[test]
fn a_machine_without_limits_is_as_meminfo_says() {
    let machine = Machine::v2("0::/user.slice\n", "/");
    machine.cgroup("/user.slice", "max", 100, 0);
    let free = machine.free();
    assert_eq!((text(&free, "/kind"), bytes(&free, "/version")), ("free", 1));
    assert!(free.pointer("/limited").is_some_and(Value::is_null), "{free:#}");
    assert_eq!(bytes(&free, "/node/available_bytes"), 3_358_232 << 10);
    let table = stdout(&forestall(&["free", "--root", machine.root(), "-b", "--wide"]));
    assert!(table.starts_with("               total"), "{table}");
    assert!(table.contains("Mem:      8318992384"), "{table}");
}

#[test]
fn v2_the_tightest_of_nested_limits_counts() {
    let machine = Machine::v2("0::/kubepods/podA/c1\n", "/");
    machine.cgroup("/kubepods", "7000000000", 4000, 100);
    machine.cgroup("/kubepods/podA", "1073741824", 900, 300);
    machine.cgroup("/kubepods/podA/c1", "2147483648", 200, 50);
    let free = machine.free();
    assert_eq!(bytes(&free, "/limit/bytes"), 1024 * MEBI);
    assert_eq!(text(&free, "/limit/owner"), "ancestor");
    assert!(text(&free, "/limit/file").ends_with("/kubepods/podA/memory.max"));
    // 1024 − (900 − 300).
    assert_eq!(bytes(&free, "/limit/distance_bytes"), 424 * MEBI);
    assert_eq!(bytes(&free, "/limited/available_bytes"), 424 * MEBI);
    assert_eq!(bytes(&free, "/own/usage_bytes"), 200 * MEBI);
    assert!(
        text(&free, "/notes/0").contains("shows the node's 7.7Gi, not this limit of 1.0Gi"),
        "{free:#}"
    );
}

#[test]
fn v1_and_hybrid_use_the_memory_hierarchy() {
    let machine = Machine::v1();
    let dir = "sys/fs/cgroup/memory/kubepods/burstable/podA/c1";
    machine.write(&format!("{dir}/memory.limit_in_bytes"), "3145728000\n");
    machine.write(&format!("{dir}/memory.usage_in_bytes"), "2133876736\n");
    let stat = "cache 7\ntotal_active_file 0\ntotal_inactive_file 0\ntotal_rss 2130006016\nhierarchical_memory_limit 3145728000\n";
    machine.write(&format!("{dir}/memory.stat"), stat);
    let above = "sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes";
    machine.write(above, "9223372036854771712\n");
    let free = machine.free();
    assert_eq!(bytes(&free, "/limit/bytes"), 3000 * MEBI);
    assert_eq!(text(&free, "/own/version"), "v1");
    assert_eq!(bytes(&free, "/own/working_set_bytes"), 2_133_876_736);
    assert_eq!(
        bytes(&free, "/limit/distance_bytes"),
        3_145_728_000 - 2_133_876_736
    );
}

#[test]
fn a_namespaced_container_sees_its_own_limit() {
    // With a cgroup namespace path and mount both begin at the container.
    let machine = Machine::v2("0::/\n", "/");
    machine.cgroup("", "536870912", 256, 0);
    assert_eq!(bytes(&machine.free(), "/limit/bytes"), 512 * MEBI);
    // Without one the mount begins at the container and the path does not.
    let machine = Machine::v2("0::/docker/abc\n", "/docker/abc");
    machine.cgroup("", "536870912", 256, 0);
    assert_eq!(bytes(&machine.free(), "/limit/bytes"), 512 * MEBI);
}

#[test]
fn a_cgroup_that_cannot_be_seen_is_a_partial_answer() {
    let machine = Machine::v2("0::/../other\n", "/");
    machine.cgroup("", "536870912", 256, 0);
    let output = forestall(&["free", "--root", machine.root()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        stdout(&output).contains("outside of what is mounted here"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn the_host_seen_through_its_root_is_searched_for_the_own_process() {
    // The mount begins two levels above the namespace: names are not told, but the process is listed.
    let machine = Machine::v2("0::/\n", "/../..");
    machine.cgroup("/kubepods/c1", "536870912", 256, 0);
    let output = forestall(&["free", "--root", machine.root()]);
    assert_eq!(output.status.code(), Some(4), "no cgroup lists the process yet");
    // A process cannot know its number before it runs; a shell in between does, and keeps it.
    let script =
        "echo $$ > \"$1/sys/fs/cgroup/kubepods/c1/cgroup.procs\"; exec \"$2\" free --root \"$1\" -o json";
    let output = Command::new("sh")
        .args([
            "-c",
            script,
            "sh",
            machine.root(),
            env!("CARGO_BIN_EXE_forestall"),
        ])
        .output()
        .expect("a shell");
    let free: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(text(&free, "/own/path").ends_with("/kubepods/c1"), "{free:#}");
}

#[test]
fn a_hostile_cgroup_name_does_not_reach_the_terminal() {
    let machine = Machine::v2("0::/\u{1b}[31m\u{7}\n", "/");
    machine.cgroup("/\u{1b}[31m\u{7}", "536870912", 256, 0);
    let shown = stdout(&forestall(&["free", "--root", machine.root()]));
    assert!(shown.contains("\\u{1b}[31m\\u{7}"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn what_is_no_machine_is_an_error_with_its_place() {
    let empty = TempDir::new().expect("a directory");
    let output = forestall(&["free", "--root", empty.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("proc/meminfo"), "{}", stderr(&output));
    let output = forestall(&["free", "--pid", "4294967295"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is there such a process?"),
        "{}",
        stderr(&output)
    );
}

// ---- leak ----

fn leak(args: &[&str]) -> Output {
    forestall(&[&["leak", "-e", "0", "--hold", "0"], args].concat())
}

/// The figures of the last line of the report, in hundredths of a MiB.
fn last_line(output: &Output) -> Vec<u64> {
    let shown = stdout(output);
    let line = shown
        .lines()
        .rfind(|line| line.ends_with(" s") && line.starts_with(' '))
        .unwrap_or_else(|| panic!("{shown}"));
    let figures = line
        .split_whitespace()
        .filter_map(|word| word.replace('.', "").parse().ok());
    figures.collect()
}

#[test]
fn every_kind_of_memory_is_held_and_none_beyond_what_was_asked() {
    let dir = TempDir::new().expect("a directory");
    let dir_name = dir.path().to_str().expect("UTF-8");
    for kind in ["anon", "file", "shmem", "page-tables", "processes"] {
        let output = leak(&["-m", "2", "-x", "5", "--kind", kind, "--dir", dir_name]);
        assert!(output.status.success(), "{kind}: {}", stderr(&output));
        let figures = last_line(&output);
        // Blocks of 2, 2 and 1 MiB.
        assert_eq!(figures[..3], [3, 500, 500], "{kind}: {}", stdout(&output));
        if kind == "page-tables" {
            assert!(figures[5] >= 500, "{}", stdout(&output));
        }
        if kind == "anon" {
            assert!((500..2000).contains(&figures[4]), "{}", stdout(&output));
        }
    }
    assert_eq!(
        fs::read_dir(dir.path()).map(Iterator::count).ok(),
        Some(0),
        "a file was left behind"
    );
}

#[test]
fn threads_touch_their_stacks() {
    let output = leak(&["-m", "2", "-x", "4", "--kind", "threads"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Four stacks of 1 MiB, of which 64 KiB each are left to the thread.
    assert_eq!(last_line(&output)[..3], [2, 400, 375], "{}", stdout(&output));
}

#[test]
fn what_is_not_touched_is_not_used() {
    let output = leak(&["-m", "64", "-x", "64", "-f", "0.125"]);
    let figures = last_line(&output);
    assert_eq!(figures[..3], [1, 6400, 800]);
    assert!((800..3000).contains(&figures[4]), "{}", stdout(&output));
}

#[test]
fn reports_come_after_so_many_blocks() {
    let output = leak(&["-m", "1", "-x", "7", "-p", "3", "--fill", "random", "--seed", "9"]);
    let shown = stdout(&output);
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let numbers: Vec<_> = shown
        .lines()
        .filter(|line| line.ends_with(" s") && line.starts_with(' '))
        .filter_map(first)
        .collect();
    assert_eq!(numbers, ["3", "6", "7"], "{shown}");
}

#[test]
fn a_cap_ends_it_as_a_runtime_would() {
    let output = leak(&["-m", "2", "-x", "100", "--cap", "7Mi"]);
    assert_eq!(output.status.code(), Some(134));
    assert!(
        stderr(&output).contains("the cap of 7.00 MiB"),
        "{}",
        stderr(&output)
    );
    assert_eq!(last_line(&output)[..2], [3, 600]);
    let output = leak(&["-m", "2", "-x", "0", "--cap", "7Mi", "--cap-exit", "139"]);
    assert_eq!(output.status.code(), Some(139));
}

#[test]
fn nonsense_is_refused_before_anything_is_allocated() {
    for bad in [
        &["-f", "1.5"][..],
        &["-m", "0"],
        &["-p", "0"],
        &["--cap", "75"],
        &["--rate", "0"],
        &["--cap-exit", "3"],
    ] {
        let output = leak(bad);
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
        assert!(output.stdout.is_empty(), "{bad:?}");
    }
    let output = leak(&["-m", "1", "-x", "1", "--kind", "file", "--dir", "/proc/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/proc/nowhere"), "{}", stderr(&output));
}

#[test]
fn a_plan_beyond_what_is_available_is_warned_of() {
    // One block of 1 MiB ends at the cap, so that nothing of the plan comes true.
    let output = leak(&["-m", "1", "-x", "0", "--cap", "1Mi"]);
    assert_eq!(output.status.code(), Some(134));
    assert!(!stdout(&output).contains("warning"), "{}", stdout(&output));
    let output = leak(&["-m", "100000000000", "-x", "0"]);
    assert_eq!(output.status.code(), Some(2), "a block is bounded");
}

#[test]
fn the_machine_is_not_mistaken_for_the_fixture() {
    // Visible memory is that of the process that leaks, wherever the test runs.
    let output = leak(&["-m", "1", "-x", "1"]);
    let free = json(&["free"]);
    let visible = free
        .pointer("/limit/bytes")
        .and_then(Value::as_u64)
        .unwrap_or_else(|| bytes(&free, "/node/total_bytes"));
    let mebi = |bytes: u64| format!("{}.{:02}", bytes / MEBI, (bytes % MEBI * 100 + MEBI / 2) / MEBI);
    assert!(
        stdout(&output).starts_with(&format!("visible    {} MiB", mebi(visible))),
        "{}",
        stdout(&output)
    );
}
