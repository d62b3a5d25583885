//! Traces on the command line: looked into, cut, anonymised and replayed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use forestall_decide::{
    Bytes, GroupId, GroupKind, GroupSample, Input, Limit, Moment, NodeSample, Owner, Pod, PodContainer,
    PodUid, Pods, Policy, ProcessId, ProcessSample, Qos, Sample, Span, Stall,
};
use forestall_trace::{Encoder, Names, Origin};
use serde_json::Value;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// 2026-11-21T10:00:00Z.
const BEGINS: u64 = 1_795_255_200_000_000;
const CASHIER: ProcessId = ProcessId {
    pid: 300,
    start_ticks: 7,
};
const SHOP: &[u8] =
    b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podshop.slice/cri-containerd-till.scope";

fn forestall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(args)
        .env_clear()
        .output()
        .expect("the binary was built")
}

fn stdout(args: &[&str]) -> String {
    let output = forestall(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).expect("JSON")
}

/// 4 GiB, of which a container without a limit takes 20 MiB in every look of 100 ms; the kernel kills it at the end.
fn sample(look: u64) -> Sample {
    let leaked = if look < 190 { look * 20 * MIB } else { 0 };
    let kills = u64::from(look >= 190);
    let used = 200 * MIB + leaked;
    let stall = look.saturating_sub(150) * 60_000;
    let group = |id, parent, kind, kills| GroupSample {
        id: GroupId(id),
        parent,
        kind,
        leaf: matches!(kind, GroupKind::Container(_)),
        populated: true,
        limit: Limit::Max,
        current: Bytes(leaked),
        anon: Bytes(leaked),
        stall: Some(Stall {
            some_micros: stall,
            full_micros: stall,
        }),
        oom_kills: kills,
        ..GroupSample::default()
    };
    Sample {
        node: NodeSample {
            total: Bytes(4096 * MIB),
            free: Bytes(4096 * MIB - used),
            available: Bytes(4096 * MIB - used),
            anon: Bytes(used),
            watermark_min: Bytes(20 * MIB),
            watermark_high: Bytes(40 * MIB),
            stall: Some(Stall {
                some_micros: stall,
                full_micros: stall,
            }),
            oom_kills: kills,
            cpus: 2,
            wake_late: Span(100),
            sample_cost: Span(300),
            ..NodeSample::default()
        },
        groups: vec![
            group(1, None, GroupKind::Kubepods, kills),
            group(2, Some(0), GroupKind::Qos(Qos::Burstable), kills),
            group(3, Some(1), GroupKind::Pod(Qos::Burstable), kills),
            group(4, Some(2), GroupKind::Container(Qos::Burstable), kills),
        ],
        processes: vec![ProcessSample {
            id: CASHIER,
            group: Some(GroupId(4)),
            unreclaimable: Bytes(leaked),
            read_at: Moment(look * 100_000),
            protection: None,
        }],
    }
}

/// The pod whose container grows, with everything that somebody has named.
fn shop() -> Pods {
    Pods {
        list: vec![Pod {
            uid: PodUid(0x5409),
            group: Some(GroupId(3)),
            namespace: "bakery".into(),
            name: "till-5d9f".into(),
            labels: vec![("team".into(), "dough".into())],
            priority_class: "gold".into(),
            qos: Qos::Burstable,
            owner: Owner::Controller,
            containers: vec![PodContainer {
                group: GroupId(4),
                request: Bytes(0),
                limit: Limit::Max,
                restarts: 0,
            }],
            ..Pod::default()
        }],
        ..Pods::default()
    }
}

fn write_trace(directory: &TempDir) -> PathBuf {
    write_trace_with(directory, None)
}

fn write_trace_with(directory: &TempDir, pods: Option<&Pods>) -> PathBuf {
    let origin = Origin {
        run: 1,
        node: "till-1.example".into(),
        kernel: "6.1.0-13-ovens-amd64".into(),
        ..Origin::default()
    };
    let mut encoder = Encoder::new(origin, Policy::default());
    let mut names = Names::default();
    let mut from = SHOP.len();
    for id in (1..=4).rev() {
        names.name_group(GroupId(id), &SHOP[..from]);
        from = SHOP[..from].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    }
    names.name_process(CASHIER, b"cashier");
    encoder.name(&names);
    let mut out = Vec::new();
    encoder.open_segment(Moment(0), BEGINS, &mut out);
    if let Some(pods) = pods {
        encoder.input(Moment(0), Input::Pods(pods), &mut out);
    }
    for look in 1..220 {
        encoder.input(Moment(look * 100_000), Input::Sample(&sample(look)), &mut out);
    }
    let path = directory.path().join("leak.ftr");
    std::fs::write(&path, out).expect("a file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}

#[test]
fn the_same_trace_and_policy_give_the_same_bytes() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    for format in ["table", "json"] {
        for policy in ["recorded", "forestall", "gist", "war-story-a"] {
            let args = ["replay", text(&trace), "--policy", policy, "-o", format];
            assert_eq!(stdout(&args), stdout(&args));
        }
    }
}

#[test]
fn a_policy_that_would_have_killed_before_the_kernel_did_is_told_with_its_lead() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let report = json(&[
        "replay",
        text(&trace),
        "--policy",
        "forestall",
        "--against",
        "gist",
        "-o",
        "json",
    ]);
    assert_eq!(
        (&report["kind"], &report["version"]),
        (&"replay".into(), &1.into())
    );
    let kill = &report["kernel_kills"][0];
    assert_eq!(kill["after_micros"], 190 * 100_000);
    assert_eq!(kill["cgroups"][0], String::from_utf8_lossy(SHOP).into_owned());
    // The gist looks once a minute: it saw plenty at its first look, and the kernel was there before its second.
    assert_eq!(kill["against"]["action_micros"], Value::Null);
    let lead = kill["policy"]["action_micros"]
        .as_u64()
        .expect("forestall kills first");
    assert!((100_000..10_000_000).contains(&lead), "{lead}");
    assert_eq!(report["summary"]["added"], 1);
    assert_eq!(report["summary"]["avoided"], 0);
    let action = &report["actions"][0];
    assert_eq!(
        (&action["change"], &action["rung"]),
        (&"added".into(), &"kill".into())
    );
    assert_eq!(action["policy"]["sound"], true);
    // It has left the recording with its kill, and the gist never has.
    assert!(report["policy"]["diverges"].is_string());
    assert_eq!(report["against"]["diverges"], Value::Null);
}

#[test]
fn a_policy_is_compared_with_itself_and_nothing_differs() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let summary = &json(&["replay", text(&trace), "--policy", "recorded", "-o", "json"])["summary"];
    assert_eq!(summary["same"], 1, "{summary}");
    for nothing in ["added", "avoided", "moved"] {
        assert_eq!(summary[nothing], 0, "{nothing} of {summary}");
    }
}

#[test]
fn a_configuration_file_is_a_policy() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let config = directory.path().join("calm.yaml");
    std::fs::write(&config, "rungs:\n  kill: false\n").expect("a file");
    let report = json(&["replay", text(&trace), "--policy", text(&config), "-o", "json"]);
    assert_eq!(report["summary"]["avoided"], 1);
    assert_eq!(report["policy"]["settings"]["mode"], "shadow");
    std::fs::write(&config, "rungs:\n  kil: false\n").expect("a file");
    let refused = forestall(&["replay", text(&trace), "--policy", text(&config)]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn info_counts_and_dump_has_a_line_for_each_input() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let info = json(&["trace", "info", text(&trace), "-o", "json"]);
    assert_eq!(
        (&info["samples"], &info["runs"], &info["gaps"]),
        (&219.into(), &1.into(), &0.into())
    );
    assert_eq!(
        (&info["containers_max"], &info["kernel_kills"]),
        (&1.into(), &1.into())
    );
    assert_eq!(info["begins"], "2026-11-21T10:00:00.000Z");
    let dump = stdout(&["trace", "dump", text(&trace)]);
    let lines: Vec<Value> = dump
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 1 + 219);
    assert_eq!(lines[0]["kind"], "begin");
    assert_eq!(lines[0]["policy"]["mode"], "shadow");
    let container = &lines[5]["sample"]["groups"][3];
    assert_eq!(container["anon_bytes"], 5 * 20 * MIB);
    assert_eq!(container["kind"], "container-burstable");
    assert_eq!(container["path"], String::from_utf8_lossy(SHOP).into_owned());
    assert_eq!(lines[5]["time"], "2026-11-21T10:00:00.500Z");
}

#[test]
fn a_cut_holds_what_lies_between() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let cut = directory.path().join("cut.ftr");
    let args = [
        "trace",
        "cut",
        text(&trace),
        "--from",
        "5s",
        "--to",
        "2026-11-21T10:00:08Z",
        "-o",
        text(&cut),
    ];
    assert!(stdout(&args).starts_with("30 inputs"));
    let info = json(&["trace", "info", text(&cut), "-o", "json"]);
    assert_eq!(
        (&info["samples"], &info["begins"]),
        (&30.into(), &"2026-11-21T10:00:05.000Z".into())
    );
    // What is there already is not overwritten, and nothing is written where nothing was recorded.
    assert_eq!(forestall(&args).status.code(), Some(1));
    let later = directory.path().join("later.ftr");
    let nothing = forestall(&["trace", "cut", text(&trace), "--from", "5m", "-o", text(&later)]);
    assert_eq!((nothing.status.code(), later.exists()), (Some(1), false));
}

#[test]
fn a_cut_of_nothing_says_where_the_trace_lies() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let later = directory.path().join("later.ftr");
    let cut = |flags: &[&str]| {
        let mut args = vec!["trace", "cut", text(&trace), "-o", text(&later)];
        args.extend_from_slice(flags);
        let refused = forestall(&args);
        assert!(!later.exists() && refused.stdout.is_empty(), "{flags:?}");
        let error = String::from_utf8(refused.stderr).expect("text");
        assert_eq!(error.lines().count(), 1, "{error}");
        (refused.status.code(), error)
    };
    let (code, error) = cut(&["--from", "5m"]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains("--from is after the end of the trace, which lies between 2026-11-21T10:00:00.000Z and 2026-11-21T10:00:"),
        "{error}"
    );
    let (_, error) = cut(&["--from", "2027-01-01T00:00:00Z"]);
    assert!(error.contains("--from is after the end of the trace"), "{error}");
    let (_, error) = cut(&["--to", "2020-01-01T00:00:00Z"]);
    assert!(
        error.contains("--to is not after the beginning of the trace"),
        "{error}"
    );
    let (_, error) = cut(&["--to", "0s"]);
    assert!(
        error.contains("--to is not after the beginning of the trace"),
        "{error}"
    );
    // Typed the wrong way round: before anything is read where both are of a kind, and else as soon as the beginning is.
    for (from, to) in [
        ("8s", "5s"),
        ("5s", "5s"),
        ("2026-11-21T10:00:08Z", "2026-11-21T10:00:05Z"),
        ("8s", "2026-11-21T10:00:05Z"),
    ] {
        let (_, error) = cut(&["--from", from, "--to", to]);
        assert!(
            error.contains("--from is not before --to: nothing lies between them"),
            "{error}"
        );
    }
}

#[test]
fn without_names_the_decisions_are_the_same_and_no_name_is_left() {
    let pods = shop();
    for pods in [None, Some(&pods)] {
        let directory = TempDir::new().expect("a directory");
        let trace = write_trace_with(&directory, pods);
        let nameless = directory.path().join("nameless.ftr");
        stdout(&["trace", "anonymise", text(&trace), "-o", text(&nameless)]);
        let bytes = std::fs::read(&nameless).expect("it was just written");
        // Whatever somebody has named: containers, pods, their labels, processes, the node, and who built the kernel.
        for name in [
            "shop", "till", "example", "cashier", "ovens", "bakery", "5d9f", "team", "dough", "gold",
        ] {
            assert!(
                !bytes.windows(name.len()).any(|part| part == name.as_bytes()),
                "{name:?} is left"
            );
        }
        assert_eq!(
            json(&["trace", "info", text(&nameless), "-o", "json"])["kernel"],
            "6.1.0"
        );
        for policy in ["forestall", "gist", "war-story-a"] {
            let [with, without] = [&trace, &nameless].map(|path| {
                let mut report = json(&["replay", text(path), "--policy", policy, "-o", "json"]);
                for line in report["actions"].as_array_mut().expect("a list") {
                    line["target"] = Value::Null;
                }
                (report["actions"].clone(), report["summary"].clone())
            });
            assert!(!with.0.as_array().expect("a list").is_empty() || policy != "forestall");
            assert_eq!(with, without, "{policy}");
        }
    }
}

#[test]
fn an_open_end_is_said_and_a_cut_ends_where_it_is_meant_to() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let end = |path: &Path| json(&["trace", "info", text(path), "-o", "json"])["end"].clone();
    // Cut at the end of a frame: every byte of it is sound.
    assert_eq!(end(&trace), "open");
    assert!(stdout(&["trace", "info", text(&trace)]).contains("open: still being recorded"));
    let cut = directory.path().join("cut.ftr");
    stdout(&["trace", "cut", text(&trace), "--to", "8s", "-o", text(&cut)]);
    assert_eq!(end(&cut), "whole");
    // What is made of a whole one is whole, and of an open one open.
    let [whole, open] = ["whole.ftr", "open.ftr"].map(|name| directory.path().join(name));
    stdout(&["trace", "anonymise", text(&cut), "-o", text(&whole)]);
    stdout(&["trace", "cut", text(&trace), "--from", "8s", "-o", text(&open)]);
    assert_eq!((end(&whole), end(&open)), ("whole".into(), "open".into()));
    // Two runs, of which the first was ended by force.
    let mut both = std::fs::read(&trace).expect("it was just written");
    let mut other = Encoder::new(
        Origin {
            run: 2,
            ..Origin::default()
        },
        Policy::default(),
    );
    other.open_segment(Moment(0), BEGINS + 60_000_000, &mut both);
    other.input(Moment(1), Input::Sample(&sample(1)), &mut both);
    other.end(&mut both);
    std::fs::write(&cut, &both).expect("a file");
    let info = json(&["trace", "info", text(&cut), "-o", "json"]);
    assert_eq!((&info["end"], &info["open_ends"]), (&"whole".into(), &1.into()));
    // Before 1.1 nobody said where a run ends.
    let mut old = std::fs::read(&trace).expect("it was just written");
    old[9] = 0;
    std::fs::write(&cut, &old).expect("a file");
    assert_eq!(end(&cut), "untold");
}

#[test]
fn damage_is_said_and_what_is_no_trace_is_refused() {
    let directory = TempDir::new().expect("a directory");
    let trace = write_trace(&directory);
    let mut bytes = std::fs::read(&trace).expect("it was just written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = directory.path().join("damaged.ftr");
    std::fs::write(&damaged, &bytes).expect("a file");
    let output = forestall(&["replay", text(&damaged), "--policy", "forestall"]);
    // Stale or partial.
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stdout).contains("damaged bytes were passed over"));
    let copy = directory.path().join("copy.ftr");
    let output = forestall(&["trace", "anonymise", text(&damaged), "-o", text(&copy)]);
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged bytes could not be copied"));
    let output = forestall(&["trace", "info", text(&copy)]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("; 0 lost"));
    // The major number is its ninth byte.
    bytes[8] = 9;
    std::fs::write(&damaged, &bytes).expect("a file");
    for (path, word) in [
        (damaged.as_path(), "newer forestall"),
        (Path::new("/dev/null"), "not a regular file"),
    ] {
        let output = forestall(&["trace", "info", text(path)]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(word), "{said}");
    }
}

/// Real recordings: they can be read whole by whatever version this is, and answered twice alike. What the kernel did in them
/// is counted, which no change of the engine can alter.
#[test]
fn the_recordings_of_real_machines_are_read_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../traces");
    for (name, looks, kernel_kills) in [
        ("leak-own-limit-v1.ftr", 651, 1),
        ("lab-leak-container.ftr", 85, 0),
        ("lab-leak-node-shadow.ftr", 163, 2),
        ("lab-healthy-plateau.ftr", 214, 0),
    ] {
        let trace = folder.join(name);
        let info = json(&["trace", "info", text(&trace), "-o", "json"]);
        assert_eq!(
            (&info["samples"], &info["kernel_kills"]),
            (&looks.into(), &kernel_kills.into())
        );
        for nothing in ["gaps", "inputs_lost", "damaged_bytes", "torn_bytes", "unknown"] {
            assert_eq!(info[nothing], 0, "{nothing} in {name}");
        }
        let args = [
            "replay",
            text(&trace),
            "--policy",
            "forestall",
            "--against",
            "gist",
            "-o",
            "json",
        ];
        // 4 where this engine decides otherwise than the recorder's did, which is no fault of the trace.
        let [first, second] = [forestall(&args), forestall(&args)];
        assert!(matches!(first.status.code(), Some(0 | 4)), "{name}");
        assert_eq!(first.stdout, second.stdout);
        let answer: Value = serde_json::from_slice(&first.stdout).expect("JSON");
        assert_eq!(answer["trace"]["samples"], looks);
        // Sizes of what was recorded, by hand: at most 24 bytes for a container and look.
        let bytes = info["bytes_per_container_and_sample"]
            .as_f64()
            .expect("there are containers");
        assert!(bytes <= 24.0, "{bytes} in {name}");
    }
    // Four boots, whose times go back from file to file.
    let all = forestall(&["trace", "info", text(&folder), "-o", "json"]);
    let info: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    assert_eq!((&info["recordings"], &info["files"]), (&4.into(), &4.into()));
}
