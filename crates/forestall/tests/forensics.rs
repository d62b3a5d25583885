//! `explain` and `kills` as they are run, on captures of real kernels and on what somebody may hand them by mistake or on purpose.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[path = "forensics/twice.rs"]
mod twice;

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../forestall-kernel/tests/oom")
}

fn capture(name: &str) -> String {
    captures().join(name).to_str().expect("UTF-8").to_owned()
}

fn forestall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(args)
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built")
}

fn stdout(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    assert!(
        output.status.success(),
        "{:?}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn explain(args: &[&str]) -> String {
    stdout(&forestall(&[&["explain"], args].concat()))
}

fn json(args: &[&str]) -> Value {
    let output = forestall(&[args, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The guide shows two answers as they are.
#[test]
fn the_guide_shows_what_is_printed() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/explain.md");
    let guide = fs::read_to_string(guide).expect("it is there");
    let folder = TempDir::new().expect("a directory");
    for (name, capture_name) in [
        ("pod.log", "6.12-v2-pod-limit.kmsg"),
        ("node.log", "5.4-v2-global.kmsg"),
    ] {
        fs::copy(captures().join(capture_name), folder.path().join(name)).expect("a copy");
        let output = Command::new(env!("CARGO_BIN_EXE_forestall"))
            .args(["explain", "--log", name])
            .current_dir(folder.path())
            .output()
            .expect("the binary was built");
        let printed = stdout(&output);
        let shown = format!("```console\n$ forestall explain --log {name}\n{printed}```\n");
        assert!(
            guide.contains(&shown),
            "docs/guide/explain.md should show:\n{shown}"
        );
    }
}

#[test]
fn every_capture_is_explained_on_one_screen() {
    for entry in fs::read_dir(captures()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "kmsg") {
            continue;
        }
        let path = path.to_str().expect("UTF-8");
        for format in ["table", "wide"] {
            let shown = explain(&["--log", path, "-o", format]);
            assert!(shown.lines().count() <= 40, "{path}:\n{shown}");
            let is_plain = |letter: char| !letter.is_control() || letter == '\n';
            assert!(shown.chars().all(is_plain), "{path}:\n{shown}");
            let widest = shown.lines().map(|line| line.chars().count()).max();
            assert!(
                format == "wide" || widest <= Some(110),
                "{path}: {widest:?}\n{shown}"
            );
        }
        let value = json(&["explain", "--log", path]);
        assert_eq!(
            (value["kind"].as_str(), value["version"].as_u64()),
            (Some("explanation"), Some(1))
        );
    }
}

#[test]
fn the_headline_says_who_died_at_whose_limit() {
    for (name, headline) in [
        (
            "6.14-v2-container-limit",
            "was killed: its container reached its memory limit of 16Mi",
        ),
        (
            "5.4-v1-pod-limit",
            "was killed: its pod reached its memory limit of ",
        ),
        (
            "6.12-v2-kubepods-limit",
            "was killed: all pods of the node (kubepods) reached their memory limit of ",
        ),
        (
            "4.4-v1-global",
            "bigleak (pid 313) was killed: the machine ran out of memory",
        ),
        (
            "5.10-v2-oom-group",
            "4 processes were killed: its container reached its memory limit",
        ),
        ("6.14-v2-sysrq", "was killed: somebody asked for it by SysRq"),
        (
            "5.4-v1-sysrq",
            "nobody could be killed: somebody asked for it by SysRq",
        ),
        ("6.14-v2-cgkill", "no out-of-memory kill in"),
    ] {
        let shown = explain(&["--log", &capture(&format!("{name}.kmsg"))]);
        let first = shown.lines().next().expect("a line");
        assert!(first.contains(headline), "{name}: {first}");
    }
}

#[test]
fn one_of_many_is_found_by_its_pid() {
    let storm = capture("6.14-v2-storm.kmsg");
    let list = json(&["kills", "--log", &storm]);
    assert_eq!(
        (list["kind"].as_str(), list["kills"].as_u64()),
        (Some("kill-list"), Some(26))
    );
    assert_eq!(list["reports"].as_array().map(Vec::len), Some(26));
    let pid = list["reports"][3]["victims"][0]["pid"]
        .as_u64()
        .expect("a pid")
        .to_string();
    let one = json(&["explain", &pid, "--log", &storm]);
    assert_eq!(
        one["report"]["victims"][0]["pid"]
            .as_u64()
            .map(|pid| pid.to_string()),
        Some(pid)
    );
    let output = forestall(&["explain", "nobody-of-that-name", "--log", &storm]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("nobody-of-that-name is in no report") && said.contains("26 kills"),
        "{said}"
    );
}

#[test]
fn the_last_one_may_be_asked_for_and_is_nobody_by_name() {
    let log = capture("5.10-v2-pod-limit.kmsg");
    assert_eq!(explain(&["--last", "--log", &log]), explain(&["--log", &log]));
    let both = forestall(&["explain", "--last", "112", "--log", &log]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn a_list_has_a_line_for_each_victim_in_every_format() {
    let group = capture("6.12-v2-oom-group.kmsg");
    let shown = stdout(&forestall(&["kills", "--log", &group]));
    // The head, four victims, and how many that are.
    assert_eq!(shown.lines().count(), 6, "{shown}");
    assert!(shown.ends_with("\n4 kills\n"), "{shown}");
    let bare = stdout(&forestall(&["kills", "--log", &group, "--no-headers"]));
    assert_eq!(bare.lines().count(), 4, "{bare}");
    let yaml = stdout(&forestall(&["kills", "--log", &group, "-o", "yaml"]));
    assert!(
        yaml.contains("\nkills: 4\n") && yaml.contains("complete: true"),
        "{yaml}"
    );
    let none = capture("6.14-v2-cgkill.kmsg");
    let value = json(&["kills", "--log", &none]);
    assert_eq!(
        (value["kills"].as_u64(), value["reports"].as_array().map(Vec::len)),
        (Some(0), Some(0))
    );
    assert!(stdout(&forestall(&["kills", "--log", &none])).starts_with("no out-of-memory kill in "));
}

#[test]
fn stdin_is_a_log_too() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_forestall"))
        .args(["explain", "--log", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let log = fs::read(captures().join("4.4-v1-global.kmsg")).expect("a capture");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(&log)
        .expect("it reads");
    let shown = stdout(&child.wait_with_output().expect("it ends"));
    assert!(
        shown.starts_with("bigleak (pid 313) was killed") && shown.contains("; stdin; confidence"),
        "{shown}"
    );
}

/// Of each: what `kills` says, the lines that were not read, and the number and beginning of the first.
#[test]
fn a_text_with_the_kernels_words_never_reads_as_if_nothing_had_happened() {
    let kill = "Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB";
    let none = "no out-of-memory kill was read from ";
    for (log, said, unread, first) in [
        // No process has such a number.
        (
            "x\n[    1.5] Out of memory: Killed process 99999999999 (\u{1b}a) total-vm:8kB".to_owned(),
            none,
            1,
            (2, "[    1.5] Out"),
        ),
        // Somebody else says so.
        (
            format!("\n\nNov 22 10:00:00 host app[3]: {kill}\n"),
            none,
            1,
            (3, "Nov 22 10:00:00 host app[3]: Out"),
        ),
        // Behind where a line is cut.
        (format!("{}: {kill}\n", "x".repeat(70_000)), none, 1, (1, "xxxx")),
        (
            "[    1.5] a invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0\n"
                .to_owned(),
            "no kill in ",
            0,
            (0, ""),
        ),
        // Who only repeats what the kernel has told adds nothing.
        (
            format!("[    1.5] {kill}\nNov 22 10:00:00 host app[3]: {kill}\n"),
            "1 kill",
            0,
            (0, ""),
        ),
        (
            "a.service: Failed with result 'oom-kill'.\n".to_owned(),
            "no out-of-memory kill in ",
            0,
            (0, ""),
        ),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), &log).expect("room");
        let path = file.path().to_str().expect("UTF-8");
        let is_whole = said == "1 kill" || said == "no out-of-memory kill in ";
        let code = Some(if is_whole { 0 } else { 4 });
        let listed = forestall(&["kills", "--log", path]);
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(text.contains(said), "{text}");
        assert_eq!(listed.status.code(), code, "{text}");
        let explained = forestall(&["explain", "--log", path]);
        assert_eq!(explained.status.code(), code, "{text}");
        for command in ["kills", "explain"] {
            let value = json(&[command, "--log", path]);
            assert_eq!(value["unread_lines"], unread, "{value}");
            let line = value["first_unread"]["line"].as_u64().unwrap_or(0);
            let shown = value["first_unread"]["text"].as_str().unwrap_or("");
            assert!(line == first.0 && shown.starts_with(first.1), "{value}");
            assert!(!shown.contains('\u{1b}'), "{value}");
        }
        assert_eq!(json(&["kills", "--log", path])["complete"], is_whole);
    }
}

#[test]
fn a_number_that_no_process_has_is_told_as_such() {
    let log = capture("6.1-v2-pod-limit.kmsg");
    for who in ["99999999999999999999", "4194305", "-5"] {
        let refused = forestall(&["explain", who, "--log", &log]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(1) && said.contains("and no PID: those are from 1 to 4194304"),
            "{said}"
        );
    }
}

/// A log that is turned over between a verdict and its kill line, and the next one that begins before: `cat kern.log.1 kern.log`.
#[test]
fn logs_that_overlap_within_a_report_tell_one_kill() {
    let path = capture("6.1-v2-pod-limit.kmsg");
    let log = fs::read_to_string(&path).expect("a capture");
    let verdict = log.lines().position(|line| line.contains("oom-kill:constraint="));
    let until = verdict.expect("a verdict") + 1;
    let first: Vec<&str> = log.lines().take(until).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), first.join("\n") + "\n" + &log).expect("room");
    let both = file.path().to_str().expect("UTF-8");
    let kills = |log: &str| json(&["kills", "--log", log])["kills"].clone();
    assert_eq!(kills(both), kills(&path));
    let (whole, found) = (
        json(&["explain", "--log", &path]),
        json(&["explain", "--log", both]),
    );
    for part in ["/report/limit/path", "/report/victims", "/report/evidence/kill"] {
        let (expected, found) = (whole.pointer(part), found.pointer(part));
        assert!(
            expected.is_some() && found == expected,
            "{part}: {found:?} and not {expected:?}"
        );
    }
}

#[test]
fn nothing_out_of_a_log_reaches_a_terminal_raw() {
    let folder = TempDir::new().expect("a directory");
    let log = folder.path().join("kern.log");
    let hostile = b"[    5.1] oom-kill:constraint=CONSTRAINT_\x1b[2J,nodemask=(null),cpuset=\x07,mems_allowed=0,oom_memcg=/a\x1b]0;x\x07\xff,task_memcg=/b\xe2\x80\xae,task=a\x1b[31mb\xff,pid=7,uid=0\n\
        [    5.2] Memory cgroup out of memory: Killed process 7 (a\x1b[2Jb\xff\x9b) total-vm:2kB, anon-rss:4kB, file-rss:0kB\n";
    fs::write(&log, hostile).expect("a file");
    let log = log.to_str().expect("UTF-8");
    for command in ["explain", "kills"] {
        for format in ["table", "wide", "json", "yaml"] {
            let shown = stdout(&forestall(&[command, "--log", log, "-o", format]));
            let is_plain = |letter: char| letter == '\n' || (!letter.is_control() && letter != '\u{202e}');
            assert!(shown.chars().all(is_plain), "{command} -o {format}: {shown:?}");
            assert!(
                shown.contains("\\x1b") || shown.contains("\\\\x1b"),
                "{command} -o {format}: {shown}"
            );
        }
    }
}

#[test]
fn what_is_no_log_is_refused_in_one_line() {
    let folder = TempDir::new().expect("a directory");
    let wide: Vec<u8> = "Feb 20 08:18:28 host kernel: x\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, content, why) in [
        (
            "a.gz",
            b"\x1f\x8b\x08\0\0\0\0\0".to_vec(),
            "is packed with gzip; unpack it on the way: zcat",
        ),
        (
            "wide.log",
            wide,
            "is UTF-16, not UTF-8; convert it on the way: iconv",
        ),
        (
            "program",
            fs::read(env!("CARGO_BIN_EXE_forestall")).expect("readable"),
            "is binary, not a log; name a text",
        ),
        (
            "export",
            b"__CURSOR=s=1\nMESSAGE=x\n".to_vec(),
            "records of several lines each; have one in each line",
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        let path = path.to_str().expect("UTF-8");
        for command in ["explain", "kills"] {
            let output = forestall(&[command, "--log", path]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.lines().count() == 1 && said.contains(path) && said.contains(why),
                "{said}"
            );
        }
    }
    let gone = forestall(&["explain", "--log", "/no/such/kern.log"]);
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(
        said.contains("/no/such/kern.log: cannot read the log: No such file"),
        "{said}"
    );
}

#[test]
fn an_end_is_called_with_and_without_a_log() {
    let words = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";
    let first = ["--exit-code", "139", "--first", "true", "--last-words", words];
    let shown = explain(&first);
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/explain.md"));
    let is_in_guide = guide
        .expect("it is there")
        .contains(&format!("{words}'\n{shown}$ "));
    assert!(
        shown.starts_with("Node gave up for want of memory (confidence high)") && is_in_guide,
        "{shown}"
    );
    let alone = json(&["explain", "--exit-code", "137"]);
    assert_eq!(
        (alone["ending"]["class"].as_str(), alone["report"].is_null()),
        (Some("unknown"), true)
    );
    let log = capture("6.14-v2-container-limit.kmsg");
    let shown = explain(&["--log", &log, "--exit-code", "137"]);
    assert!(
        shown.starts_with("the container's own memory limit (confidence high): the kernel's own record"),
        "{shown}"
    );
    let shown = explain(&["--log", &log, "--exit-code", "143", "--first", "false"]);
    assert!(shown.contains("was killed: its container reached"), "{shown}");
    let output = forestall(&["explain", "--exit-code", "256"]);
    assert_eq!(output.status.code(), Some(2));
}

/// On the machine that runs the test, whatever its kernel told; who may not read that lists what there was.
#[test]
fn a_ledger_is_listed_with_its_proof() {
    let folder = TempDir::new().expect("a directory");
    let ledger = folder.path().join("deep/ledger");
    let ledger = ledger.to_str().expect("UTF-8");
    let look = || forestall(&["kills", "--ledger", ledger, "-o", "json"]);
    let gone = look();
    let said = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(
        gone.status.code() == Some(1) && said.contains("there is no such directory"),
        "{said}"
    );
    assert!(
        !folder.path().join("deep").exists(),
        "nothing is made of a wrong name"
    );
    fs::create_dir_all(ledger).expect("a directory");
    let (first, second) = (look(), look());
    let value: Value = serde_json::from_slice(&first.stdout).expect("JSON");
    let again: Value = serde_json::from_slice(&second.stdout).expect("JSON");
    assert!(matches!(first.status.code(), Some(0 | 4)), "{:?}", first.status);
    assert_eq!(
        value["reports"], again["reports"],
        "a second look finds nothing new"
    );
    let boots = value["boots"].as_array().expect("a list");
    let is_told = String::from_utf8_lossy(&first.stderr).contains("nothing new was taken in");
    assert!(is_told == boots.is_empty(), "{value:#}");
    for boot in boots {
        let number = |name: &str| boot[name].as_u64();
        let gap =
            number("counted_kills").map(|counted| counted.saturating_sub(number("kill_lines").unwrap_or(0)));
        assert_eq!(number("unattributed_kills"), gap, "{boot}");
    }
    let (kept, count) = (json(&["explain", "--ledger", ledger]), value["kills"].as_u64());
    assert_eq!(
        (kept["kind"].as_str(), kept["kills_in_log"].as_u64()),
        (Some("explanation"), count)
    );
    let gone = folder.path().join("gone");
    let said = forestall(&["explain", "--ledger", gone.to_str().expect("UTF-8")]);
    assert!(said.status.code() == Some(1) && !gone.exists());
    for wrong in [
        &["--ledger", ledger][..],
        &["-f"],
        &["--since", "10m"],
        &["-n", "shop"],
        &["-N", "3"],
    ] {
        let both = forestall(&[&["kills", "--log", "x"], wrong].concat());
        assert_eq!(both.status.code(), Some(2), "{wrong:?}");
    }
    let last = forestall(&[
        "kills",
        "--ledger",
        ledger,
        "-o",
        "json",
        "-N",
        "1",
        "--since",
        "2000-01-01T00:00:00Z",
    ]);
    let value: Value = serde_json::from_slice(&last.stdout).expect("JSON");
    assert_eq!(
        value["reports"].as_array().map(Vec::len),
        Some(usize::from(count > Some(0)))
    );
    let nobody = json(&["kills", "--ledger", ledger, "-n", "no-such-namespace"]);
    assert_eq!(nobody["kills"].as_u64(), Some(0));
}
