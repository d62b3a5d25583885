//! `node` as it is run: figures that are given, a machine made of files, and what reaches a terminal or a page.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The node of a public article on evictions: a `Standard_DS2_v2` of AKS, sold with 7 GiB.
const DS2_V2: &str = "capacity=7120616Ki,kube-reserved=1638Mi,eviction-hard=750Mi";

fn forestall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .arg("node")
        .args(args)
        .env_clear()
        .output()
        .expect("the binary was built")
}

fn stdout(args: &[&str]) -> String {
    let output = forestall(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = forestall(args);
    assert!(output.stdout.is_empty(), "{args:?}");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("UTF-8"),
    )
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(&[args, &["-o", "json"]].concat())).expect("JSON")
}

/// A machine made of files.
struct Machine(TempDir);

impl Machine {
    /// 7120616 kB, of which 2300000 kB are available, with `kubepods` limited to capacity less 1638Mi, and a configuration.
    fn new(configuration: &str) -> Self {
        let machine = Self(TempDir::new().expect("a directory"));
        machine.write(
            "proc/meminfo",
            "MemTotal: 7120616 kB\nMemFree: 900000 kB\nMemAvailable: 2300000 kB\nBuffers: 120000 kB\nCached: 2200000 kB\n\
             Active(file): 900000 kB\nInactive(file): 1100000 kB\nAnonPages: 2900000 kB\nSReclaimable: 200000 kB\n\
             SUnreclaim: 300000 kB\nKernelStack: 40000 kB\nPageTables: 160000 kB\nPercpu: 30000 kB\n",
        );
        machine.write("proc/self/cgroup", "0::/\n");
        machine.write(
            "proc/self/mountinfo",
            "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        );
        machine.write("sys/fs/cgroup/memory.stat", "anon 1\nfile 2\nsock 41943040\n");
        let pods = "sys/fs/cgroup/kubepods.slice";
        machine.write(&format!("{pods}/memory.max"), "5573943296\n");
        machine.write(&format!("{pods}/memory.current"), "3600000000\n");
        machine.write(
            &format!("{pods}/memory.stat"),
            "anon 2400000000\nfile 1000000000\ninactive_file 600000000\nactive_file 400000000\n",
        );
        machine.write("var/lib/kubelet/config.yaml", configuration);
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn root(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }
}

#[test]
fn pasted_figures_come_out_to_the_kibibyte_without_any_machine() {
    let node = |figures: &[&str]| json(&[&["--root", "/nonexistent", "--from", DS2_V2], figures].concat());
    // 7120616 − 1638 × 1024 = 5443304Ki = 5573943296 bytes; less 750 × 1024 = 768000: 4675304Ki.
    let map = node(&[]);
    assert_eq!((&map["kind"], &map["version"]), (&"node".into(), &1.into()));
    assert_eq!(map["division"]["allocatable_bytes"], 4_675_304_u64 << 10);
    assert_eq!(map["division"]["kubepods_limit_bytes"], 5_573_943_296_u64);
    // Less 1000 × 1024 = 1024000 instead; the limit stays. An option wins over the pasted figure.
    let map = node(&["--eviction-hard", "1000Mi"]);
    assert_eq!(map["division"]["allocatable_bytes"], 4_419_304_u64 << 10);
    assert_eq!(map["division"]["kubepods_limit_bytes"], 5_573_943_296_u64);
    assert_eq!(map["origins"]["eviction_hard"], "--eviction-hard");
    assert_eq!(map["origins"]["kube_reserved"], "--from");
}

#[test]
fn kubectl_top_is_explained() {
    let top = |usage: &str| json(&["--from", DS2_V2, "--top", usage])["top"].clone();
    for (usage, mebibytes, percent, reading) in [
        ("838124Ki", 818, 17, "within-allocatable"),
        ("3367460Ki", 3288, 72, "within-allocatable"),
        ("5.70Gi", 5836, 127, "above-allocatable"),
        // Past 7120616 − 768000 = 6352616Ki.
        ("6352617Ki", 6203, 135, "evicting"),
    ] {
        let top = top(usage);
        assert_eq!(top["shown_mebibytes"], mebibytes, "{usage}");
        assert_eq!(top["shown_percent"], percent, "{usage}");
        assert_eq!(top["reading"], reading, "{usage}");
    }
    let shown = stdout(&["--from", &format!("{DS2_V2},pods-used=4450Mi"), "--top", "5.70Gi"]);
    for part in [
        "kubectl top node shows 5836Mi and 127 %",
        "127.84 % of allocatable",
        "full is 135 %",
        "Daemons use 1386.80 MiB of it, 1638.00 MiB are reserved",
        "Fine while the daemons are steady and no pod can grow",
        "Serious where a pod may use more than it asked for",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let longest = shown.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(120), "{longest:?} in\n{shown}");
    let shown = stdout(&["--from", DS2_V2, "--top", "6.2Gi"]);
    assert!(
        shown.contains("the kubelet taints the node and evicts, whoever caused it"),
        "{shown}"
    );
}

#[test]
fn without_a_kubelet_there_is_no_percentage_and_the_reason_is_told() {
    let machine = Machine::new("");
    fs::remove_dir_all(machine.0.path().join("var")).expect("removed");
    fs::remove_dir_all(machine.0.path().join("sys/fs/cgroup/kubepods.slice")).expect("removed");
    let map = json(&["--root", machine.root(), "--top", "5Gi"]);
    assert_eq!(
        (&map["kubelet"], &map["top"]),
        (&Value::Bool(false), &Value::Null)
    );
    assert!(map["notes"].to_string().contains("add --provider"), "{map:#}");
    // 11 × 110 + 255 = 1465 MiB and the threshold of 100 leave 7120616 − 1602560 = 5518056Ki, of which 5 GiB are 95.01 %.
    let map = json(&["--root", machine.root(), "--top", "5Gi", "--provider", "eks"]);
    assert_eq!(map["top"]["shown_percent"], 95);
}

#[test]
fn each_provider_has_its_rule() {
    let reserved = |args: &[&str]| {
        let map = json(args);
        let division = &map["division"];
        let mebi = |name: &str| division[name].as_u64().expect("bytes") >> 20;
        (mebi("kube_reserved_bytes"), mebi("eviction_hard_bytes"))
    };
    // 20 × 30 + 50, of 7 GiB; the quarter would be 1792.
    let size = ["--capacity", "7120616Ki"];
    let rule =
        |provider, pods| reserved(&[&size[..], &["--provider", provider, "--max-pods", pods]].concat());
    assert_eq!(rule("aks", "30"), (650, 100));
    assert_eq!(rule("aks-1.29", "30"), (650, 100));
    // 20 × 110 + 50 = 2250 is more than the quarter of 7168.
    assert_eq!(rule("aks", "110"), (1792, 100));
    // 0.25 × 4096 + 0.20 × 3072 = 1638.4.
    assert_eq!(rule("aks-legacy", "30"), (1638, 750));
    // 11 × 29 + 255.
    assert_eq!(rule("eks", "29"), (574, 100));
    // 0.25 × 4096 + 0.20 × 4096 + 0.10 × 8192 + 0.06 × 16384 = 3645.44, rounded up.
    assert_eq!(
        reserved(&["--provider", "gke", "--capacity", "32Gi"]),
        (3646, 100)
    );
    let map = json(&["--from", "capacity=8Gi,provider=eks,max-pods=29"]);
    assert_eq!(map["origins"]["kube_reserved"], "EKS");
    assert!(
        map["sources"][0]
            .as_str()
            .is_some_and(|text| text.ends_with("; 29 pods")),
        "{map:#}"
    );
}

#[test]
fn a_reservation_follows_from_capacity_and_allocatable() {
    // What `kubectl describe node` shows: 7120616 − 4675304 − 768000 = 1677312Ki = 1638Mi.
    let figures = "capacity=7120616Ki allocatable=4675304Ki eviction-hard=750Mi";
    let map = json(&["--from", figures]);
    assert_eq!(map["division"]["kube_reserved_bytes"], 1638_u64 << 20);
    assert_eq!(map["division"]["allocatable_bytes"], 4_675_304_u64 << 10);
    let map = json(&["--from", &format!("{figures} kube-reserved=1Gi")]);
    let note = map["notes"][0].as_str().unwrap_or_default();
    // 7120616 − 1048576 − 768000.
    assert!(
        note.contains("reports 4675304Ki") && note.contains("make 5304040Ki"),
        "{note}"
    );
}

#[test]
fn a_soft_threshold_is_a_wall_of_its_own_and_wants_a_grace_period() {
    let soft = ["--from", DS2_V2, "--eviction-soft", "1000Mi"];
    let map = json(&[&soft[..], &["--eviction-soft-grace-period", "1m30s"]].concat());
    assert_eq!(map["walls"][2]["wall"], "kubelet-node");
    assert_eq!(map["walls"][2]["grace_seconds"], 90);
    // 7120616 − 1024000.
    assert_eq!(map["walls"][2]["at_bytes"], 6_096_616_u64 << 10);
    assert_eq!(map["walls"][3]["grace_seconds"], Value::Null);
    // It takes nothing from what the scheduler may promise.
    assert_eq!(map["division"]["allocatable_bytes"], 4_675_304_u64 << 10);
    // One that is switched off needs none.
    let map = json(&["--from", DS2_V2, "--eviction-soft", "0%"]);
    assert_eq!(map["walls"].as_array().map(Vec::len), Some(4));
    let (code, error) = refused(&soft);
    assert_eq!(code, Some(1));
    assert!(error.contains("--eviction-soft-grace-period 1m30s"), "{error}");
}

#[test]
fn what_is_no_figure_is_usage() {
    for (args, part) in [
        (&["--from", "capacity"][..], "no NAME=AMOUNT"),
        (&["--from", "memory=7Gi"], "memory: no such figure"),
        (&["--from", "capacity=7Gi,capacity=8Gi"], "given twice"),
        (&["--from", "capacity=7 apples"], "apples"),
        (&["--capacity", "8Gi", "--provider", "acme"], "acme"),
        (
            &["--capacity", "8Gi", "--top", "1Gi", "--node-used", "1Gi"],
            "cannot be used with",
        ),
        (
            &["--capacity", "8Gi", "--eviction-hard", "101%"],
            "more than there is",
        ),
        (
            &["--capacity", "8Gi", "--eviction-soft-grace-period", "soon"],
            "1m30s",
        ),
    ] {
        let (code, error) = refused(args);
        assert_eq!(code, Some(2), "{args:?}");
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[test]
fn each_figure_of_a_machine_says_where_it_comes_from() {
    let machine = Machine::new("kubeReserved:\n  memory: 1638Mi\nevictionHard:\n  memory.available: 100Mi\n");
    machine.write("proc/77/comm", "kubelet\n");
    machine.write(
        "proc/77/cmdline",
        "/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0--eviction-hard=memory.available<750Mi\0",
    );
    let map = json(&["--root", machine.root()]);
    let origin = |name: &str| map["origins"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(origin("capacity"), "MemTotal in /proc/meminfo");
    assert!(
        origin("kube_reserved").ends_with("/var/lib/kubelet/config.yaml:2"),
        "{map:#}"
    );
    assert_eq!(origin("eviction_hard"), "--eviction-hard of the running kubelet");
    assert_eq!(origin("system_reserved"), "the kubelet's default");
    assert!(
        origin("kubepods_limit").ends_with("/sys/fs/cgroup/kubepods.slice"),
        "{map:#}"
    );
    // The flag wins over the file, and the file agrees with the kernel.
    assert_eq!(map["division"]["allocatable_bytes"], 4_675_304_u64 << 10);
    assert_eq!(map["notes"], Value::Array(Vec::new()));
    let table = stdout(&["--root", machine.root()]);
    assert!(
        table.contains("768000Ki     10.79 %  --eviction-hard of the running kubelet"),
        "{table}"
    );
}

#[test]
fn both_views_and_the_blind_bytes_are_in_every_format() {
    let machine = Machine::new("kubeReserved:\n  memory: 1638Mi\n");
    // Kernel: 7120616 − 2300000 = 4820616 kB = 4707.63 MiB. Kubelet: 2900000 + 2200000 + 120000 − 1100000 = 4120000 kB =
    // 4023.44 MiB. Blind: what free 900000, anon 2900000, cache 2320000 and reclaimable slab 200000 leave: 800616 kB.
    let map = json(&["--root", machine.root()]);
    assert_eq!(map["views"]["kernel_used_bytes"], 4_820_616_u64 << 10);
    assert_eq!(map["views"]["kubelet_used_bytes"], 4_120_000_u64 << 10);
    assert_eq!(map["views"]["blind"]["total_bytes"], 800_616_u64 << 10);
    for format in ["table", "wide", "svg"] {
        let shown = stdout(&["--root", machine.root(), "-o", format]);
        for figure in ["4707.63", "4023.44", "781.85"] {
            assert!(shown.contains(figure), "{figure} is not in the {format}\n{shown}");
        }
    }
}

#[test]
fn a_kubelet_that_does_not_enforce_pods_has_no_such_wall() {
    let machine = Machine::new("enforceNodeAllocatable: [none]\nkubeReserved:\n  memory: 1638Mi\n");
    machine.write("sys/fs/cgroup/kubepods.slice/memory.max", "max\n");
    let map = json(&["--root", machine.root()]);
    let kinds: Vec<_> = map["walls"]
        .as_array()
        .expect("walls")
        .iter()
        .map(|wall| &wall["wall"])
        .collect();
    assert_eq!(kinds, ["kubelet-node", "kernel"]);
    assert_eq!(map["division"]["kubepods_limit_bytes"], Value::Null);
    // Allocatable is what the scheduler is told all the same: 7120616 − 1677312 − 102400.
    assert_eq!(map["division"]["allocatable_bytes"], 5_340_904_u64 << 10);
    let table = stdout(&["--root", machine.root()]);
    assert!(table.contains("= kubepods limit            none"), "{table}");
    assert!(stdout(&["--root", machine.root(), "-o", "svg"]).contains(">none<"));
}

#[test]
fn a_drawing_runs_nothing_fetches_nothing_and_is_read_in_light_and_dark() {
    let drawing = stdout(&["--from", DS2_V2, "--top", "5.70Gi", "-o", "svg"]);
    assert!(
        drawing.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""),
        "{drawing}"
    );
    assert!(drawing.ends_with("</svg>\n"), "{drawing}");
    for part in [
        "<title id=\"title\">Memory of a node with 6.8Gi (7120616Ki)</title>",
        "kubelet-allocatable at 4565.73 MiB",
        "prefers-color-scheme:dark",
        ">4675304<",
        ">5443304<",
        "kubectl top node shows 5836Mi and 127 %",
    ] {
        assert!(drawing.contains(part), "{part} is not in\n{drawing}");
    }
    // The name space is the only address in it.
    assert_eq!(drawing.matches("://").count(), 1, "{drawing}");
    for part in ["<script", "onload", "href", "@import", "<image", "<foreignObject"] {
        assert!(!drawing.contains(part), "{part} is in\n{drawing}");
    }
    assert_eq!(
        drawing.matches("<text").count(),
        drawing.matches("</text>").count()
    );
}

#[test]
fn hostile_names_reach_neither_terminal_nor_page() {
    let machine = Machine::new("kubeReserved:\n  memory: 1638Mi\n");
    let hostile = machine.0.path().join("a\u{1b}[31m<script>&\u{202e}");
    for dir in ["proc", "sys", "var"] {
        fs::create_dir_all(&hostile).expect("a directory");
        fs::rename(machine.0.path().join(dir), hostile.join(dir)).expect("moved");
    }
    let root = hostile.to_str().expect("UTF-8");
    for format in ["table", "wide", "svg", "json", "yaml"] {
        let shown = stdout(&["--root", root, "-o", format]);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{format}: {shown}");
    }
    let drawing = stdout(&["--root", root, "-o", "svg"]);
    assert!(!drawing.contains("<script"), "{drawing}");
    assert!(drawing.contains("&lt;script&gt;&amp;"), "{drawing}");
    // Nor by way of an error that quotes a file.
    fs::write(
        hostile.join("var/lib/kubelet/config.yaml"),
        "kubeReserved:\n  memory: \"7\\e[2J\"\n",
    )
    .expect("a file");
    let (code, error) = refused(&["--root", root]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("kube-reserved in ") && !error.contains('\u{1b}'),
        "{error:?}"
    );
}
