//! The command line in the hands of somebody who names the wrong thing: each case ends soon, says what is wrong and where,
//! and what to do.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// No answer takes nearly as long; a command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

struct Answer {
    status: Option<i32>,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Its end, or `None` if it hangs; then it is ended.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().expect("our own child") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    None
}

fn finish(mut child: Child) -> Answer {
    let (mut out, mut err) = (
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    let out = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).expect("text");
        text
    });
    let err = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).expect("text");
        text
    });
    let status = wait(&mut child);
    Answer {
        status: status.unwrap_or_else(|| panic!("it hangs")).code(),
        out: out.join().expect("read"),
        err: err.join().expect("read"),
    }
}

fn run(args: &[&str]) -> Answer {
    finish(command(args).spawn().expect("the binary was built"))
}

/// What is refused is said in one line that names the place.
fn refused(args: &[&str], place: &str, what: &str) {
    let answer = run(args);
    assert!(
        matches!(answer.status, Some(1 | 2)),
        "{args:?}: {:?}",
        answer.status
    );
    assert_eq!(answer.out, "", "{args:?}");
    let err = &answer.err;
    assert!(err.contains(place) && err.contains(what), "{args:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{args:?}: {err}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        path
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

/// Every way to name a file.
const NAMED: [&[&str]; 9] = [
    &["trace", "info"],
    &["trace", "dump"],
    &["trace", "anonymise", "-o", "/nowhere/out", "--"],
    &["replay", "--policy", "forestall"],
    &["simulate"],
    &["simulate", "random", "--policy"],
    &["check-config"],
    &["agent", "--mode", "shadow", "--config"],
    &["node", "--capacity", "8Gi", "--kubelet-config"],
];

fn named<'a>(command: &[&'a str], path: &'a str) -> Vec<&'a str> {
    let mut args = command.to_vec();
    args.push(path);
    args
}

#[test]
fn whatever_is_no_file_is_told_and_nobody_waits_for_it() {
    let place = Place::new();
    let fifo = place.fifo("fifo");
    let _listener = std::os::unix::net::UnixListener::bind(place.0.path().join("socket")).expect("a socket");
    let socket = place.0.path().join("socket");
    for command in NAMED {
        let fifo = text(&fifo);
        // Where a pipe will do, it is one without a writer.
        refused(&named(command, fifo), fifo, "name ");
        let socket = text(&socket);
        refused(
            &named(command, socket),
            socket,
            "is a socket, not a regular file; write the ",
        );
        refused(
            &named(command, "/dev/zero"),
            "/dev/zero",
            "is a device, not a regular file; write the ",
        );
        refused(
            &named(command, "/nowhere/at all"),
            "/nowhere/at all",
            "No such file or directory",
        );
        // A directory is one of a recorder, where a trace is asked for.
        let directory = text(place.0.path());
        let what = if matches!(command.first(), Some(&"trace" | &"replay")) {
            "no trace in this directory"
        } else {
            "is a directory; name the file in it"
        };
        refused(&named(command, directory), directory, what);
    }
}

#[test]
fn a_machine_made_of_pipes_is_no_machine() {
    let place = Place::new();
    let meminfo = place.fifo("proc/meminfo");
    let root = text(place.0.path());
    for command in [["node", "--root"], ["free", "--root"], ["agent", "--root"]] {
        let answer = run(&named(&command, root));
        assert_eq!(answer.status, Some(1), "{command:?}");
        assert!(answer.err.contains(text(&meminfo)), "{command:?}: {}", answer.err);
    }
    // The rest of a machine may be missing, and is not waited for either.
    let place = Place::new();
    place.write("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 400 kB\n");
    place.fifo("proc/self/cgroup");
    place.fifo("proc/7/comm");
    let answer = run(&["node", "--root", text(place.0.path())]);
    assert_eq!(answer.status, Some(4), "{}", answer.err);
    assert!(
        answer.out.contains("is a FIFO"),
        "the reason is told: {}",
        answer.out
    );
    let config = place.fifo("var/lib/kubelet/config.yaml");
    refused(
        &["node", "--root", text(place.0.path())],
        text(&config),
        "is a FIFO",
    );
}

/// `<(…)` of a shell is a pipe under a name; `-` is stdin.
#[test]
fn yaml_that_is_read_once_may_come_through_a_pipe() {
    let through_stdin = |args: &[&str], yaml: &str| {
        let mut child = command(args)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let mut stdin = child.stdin.take().expect("piped");
        // Who refuses the pipe may have ended before; whether it was read, its answer says.
        if let Err(error) = stdin.write_all(yaml.as_bytes()) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{args:?}");
        }
        drop(stdin);
        finish(child)
    };
    for name in ["-", "/dev/stdin"] {
        let answer = through_stdin(&["check-config", name], "mode: observe\n");
        assert_eq!(answer.status, Some(0), "{name}: {}", answer.err);
        assert!(answer.out.contains("mode: observe"), "{}", answer.out);
        let answer = through_stdin(&["check-config", name], "");
        assert_eq!(answer.status, Some(2), "{name}");
        assert!(answer.err.contains("nothing is in this pipe"), "{}", answer.err);

        let args = [
            "node",
            "--capacity",
            "8Gi",
            "--kubelet-config",
            name,
            "-o",
            "json",
        ];
        let answer = through_stdin(&args, "kubeReserved: {memory: 1Gi}\n");
        assert_eq!(answer.status, Some(0), "{name}: {}", answer.err);
        assert!(
            answer.out.contains("\"kube_reserved_bytes\": 1073741824"),
            "{}",
            answer.out
        );

        let scenario = "version: 1\nnodes:\n- name: a\n  memory: 4Gi\nend: 1s\n";
        let answer = through_stdin(&["simulate", name], scenario);
        // Whether this is a scenario is another question; it was read.
        assert!(!answer.err.contains("pipe"), "{}", answer.err);
    }
    // The agent reads its configuration again when it is told to, and a pipe is empty then.
    let answer = through_stdin(&["agent", "--config", "/dev/stdin"], "mode: observe\n");
    assert_eq!(answer.status, Some(2));
    assert!(
        answer.err.contains("is a FIFO, not a regular file"),
        "{}",
        answer.err
    );
}

/// A kubelet's configuration with a figure that no node can have.
#[test]
fn a_kubelets_figure_that_cannot_be_is_told_with_its_file() {
    let place = Place::new();
    place.write("proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 400000 kB\n");
    for (yaml, what) in [
        ("evictionHard: {memory.available: NaN%}", "eviction-hard in "),
        ("evictionHard: {memory.available: inf%}", "up to 100%"),
        ("evictionHard: {memory.available: -5%}", "is too small"),
        ("evictionHard: {memory.available: 100.1%}", "up to 100%"),
        ("evictionHard: {memory.available: .inf}", ":1:34: "),
        ("evictionHard: {memory.available: [5%]}", "eviction-hard in "),
        ("evictionHard: 5%", "evictionHard is no map"),
        (
            "evictionMinimumReclaim: {memory.available: NaN%}",
            "eviction-minimum-reclaim in ",
        ),
        ("evictionMinimumReclaim: {memory.available: inf%}", "up to 100%"),
        ("evictionSoft: {memory.available: nan%}", "eviction-soft in "),
        ("kubeReserved: {memory: {a: b}}", "kube-reserved in "),
        ("systemReserved: {memory: true}", "system-reserved in "),
        ("kubeReserved: 1Gi", "kubeReserved is no map"),
        ("- kubeReserved", "is no map"),
        ("just words", "is no map"),
        (
            "evictionSoftGracePeriod: {memory.available: 9999999999999h}",
            "eviction-soft-grace-period in ",
        ),
    ] {
        let file = place.write("var/lib/kubelet/config.yaml", yaml);
        for args in [
            vec!["node", "--root", text(place.0.path())],
            vec!["node", "--capacity", "8Gi", "--kubelet-config", text(&file)],
        ] {
            refused(&args, text(&file), what);
        }
    }
    for (flag, value) in [
        ("--eviction-hard", "NaN%"),
        ("--eviction-soft", "nan%"),
        ("--eviction-hard", "-1%"),
    ] {
        let answer = run(&["node", "--capacity", "8Gi", &format!("{flag}={value}")]);
        assert_eq!(answer.status, Some(2));
        assert!(
            answer.err.contains(flag) && answer.err.contains(value),
            "{}",
            answer.err
        );
    }
    let file = place.write("large.yaml", &format!("# {}\nmaxPods: 3\n", "x".repeat(4 << 20)));
    refused(
        &["node", "--capacity", "8Gi", "--kubelet-config", text(&file)],
        text(&file),
        "is larger than 1MiB",
    );
}

/// 2^54 kB are 2^64 bytes.
#[test]
fn more_memory_than_can_be_counted_is_told() {
    for total in [
        "18014398509481984",
        "18446744073709551615",
        "99999999999999999999999",
    ] {
        let place = Place::new();
        let meminfo = place.write("proc/meminfo", &format!("MemTotal: {total} kB\nMemFree: 4 kB\n"));
        place.write("proc/self/cgroup", "0::/\n");
        place.write("proc/self/mountinfo", "");
        for command in [["node", "--root"], ["free", "--root"], ["agent", "--root"]] {
            refused(&named(&command, text(place.0.path())), text(&meminfo), "MemTotal");
        }
    }
}

#[test]
fn figures_of_different_nodes_are_told() {
    for (args, what) in [
        (["--capacity", "0"], "a node without memory"),
        (["--from", "capacity=0"], "a node without memory"),
        (
            ["--from", "capacity=1Gi,allocatable=9Gi"],
            "allocatable of 9663676416 bytes exceeds the capacity of 1073741824 bytes",
        ),
        (
            ["--from", "capacity=1Gi,hugepages=2Gi"],
            "huge pages of 2147483648 bytes exceed the capacity",
        ),
        (
            ["--from", "capacity=4Gi,kubepods-limit=5Gi"],
            "kubepods-limit of 5368709120 bytes exceeds the capacity of 4294967296 bytes",
        ),
    ] {
        let answer = run(&["node", args[0], args[1]]);
        assert_eq!((answer.status, answer.out.as_str()), (Some(1), ""), "{args:?}");
        assert!(answer.err.contains(what), "{args:?}: {}", answer.err);
    }
    // More in use than there is: shown, because it was asked for, and said.
    for used in [["--top", "100Gi"], ["--node-used", "9Gi"], ["--pods-used", "9Gi"]] {
        let answer = run(&["node", "--capacity", "8Gi", used[0], used[1]]);
        assert_eq!(answer.status, Some(0), "{}", answer.err);
        assert!(
            answer
                .out
                .contains("more is in use than the node has: was it read on another node?"),
            "{}",
            answer.out
        );
    }
    let answer = run(&["node", "--capacity", "8Gi", "--node-used", "8Gi"]);
    assert!(!answer.out.contains("more is in use"), "{}", answer.out);
    // More in pods than in all of the node: said, too.
    for (pods, is_said) in [("2Gi", false), ("3Gi", true)] {
        let figures = format!("capacity=8Gi,node-used=2Gi,pods-used={pods}");
        let answer = run(&["node", "--from", &figures]);
        assert_eq!(answer.status, Some(0), "{}", answer.err);
        let said = answer
            .out
            .contains("of which they are a part: were both read at once?");
        assert_eq!(said, is_said, "{}", answer.out);
    }
}

#[test]
fn an_error_is_said_once_and_stdin_by_its_name() {
    let answer = run(&["check-config", "-"]);
    assert!(
        answer.err.starts_with("forestall: stdin: is a device"),
        "{}",
        answer.err
    );
    let answer = run(&["free", "--root", "/nowhere"]);
    assert_eq!(
        answer.err,
        "forestall: cannot read /nowhere/proc/meminfo: No such file or directory (os error 2)\n"
    );
    let place = Place::new();
    let scenario = place.write("scenario.yaml", "title: \u{fffd}");
    std::fs::write(&scenario, b"title: \xff\n").expect("a file");
    assert_eq!(
        run(&["simulate", text(&scenario)]).status,
        Some(2),
        "a text that is none is wrong usage"
    );
}

/// A recorder takes old segments away while they are read, and nothing says that all of them are files.
#[test]
fn one_segment_that_cannot_be_read_is_left_out_and_named() {
    let traces = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces"));
    let place = Place::new();
    std::fs::copy(
        traces.join("lab-leak-container.ftr"),
        place.0.path().join("1.ftr"),
    )
    .expect("it is kept here");
    place.fifo("2.ftr");
    std::os::unix::fs::symlink("/nowhere", place.0.path().join("3.ftr")).expect("a link");
    let answer = run(&["trace", "info", text(place.0.path()), "-o", "json"]);
    assert_eq!(answer.status, Some(4), "{}", answer.err);
    let info: serde_json::Value = serde_json::from_str(&answer.out).expect("JSON");
    assert_eq!(info["files"], 1);
    let notes = info["notes"].as_array().expect("a list");
    assert_eq!(notes.len(), 2, "{notes:?}");
    let notes = [notes[0].as_str(), notes[1].as_str()].map(|note| note.expect("text"));
    assert!(
        notes[0].contains("2.ftr: is a FIFO") && notes[0].ends_with("it is left out"),
        "{notes:?}"
    );
    assert!(
        notes[1].contains("3.ftr: cannot read the trace: No such file"),
        "{notes:?}"
    );
}

/// A name that would move a cursor is written out, once.
#[test]
fn a_hostile_name_is_escaped_once() {
    for command in NAMED {
        let answer = run(&named(command, "/nowhere/a\u{1b}[2J\\b"));
        assert!(
            answer.err.contains("/nowhere/a\\x1b[2J\\b"),
            "{command:?}: {}",
            answer.err
        );
        assert!(!answer.err.contains("\\\\x1b"), "{command:?}: {}", answer.err);
    }
}

/// Recordings of two machines in one directory, whose files sort against the order of time.
#[test]
fn a_directory_in_which_time_goes_back_is_told() {
    let traces = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces"));
    let place = Place::new();
    // The plateau was recorded after the leak.
    for (name, trace) in [
        ("1.ftr", "lab-healthy-plateau.ftr"),
        ("2.ftr", "lab-leak-container.ftr"),
    ] {
        std::fs::copy(traces.join(trace), place.0.path().join(name)).expect("it is kept here");
    }
    let begins = |trace: &str| {
        let answer = run(&["trace", "info", text(&traces.join(trace)), "-o", "json"]);
        let info: serde_json::Value = serde_json::from_str(&answer.out).expect("JSON");
        info["begins"].as_str().expect("a date").to_owned()
    };
    let (plateau, leak) = (
        begins("lab-healthy-plateau.ftr"),
        begins("lab-leak-container.ftr"),
    );
    assert!(leak < plateau, "{leak} {plateau}");
    let answer = run(&["trace", "info", text(place.0.path()), "-o", "json"]);
    let info: serde_json::Value = serde_json::from_str(&answer.out).expect("JSON");
    assert_eq!(answer.status, Some(4));
    assert_eq!(info["begins"], leak);
    assert!(
        info["lasts_micros"].as_u64().is_some_and(|micros| micros > 0),
        "{info}"
    );
    let note = info["notes"][0].as_str().expect("a note");
    assert!(note.contains("goes back") && note.contains(&leak), "{note}");
}
