//! The command line as it is typed: answers, errors and exit codes.

use std::process::{Command, Output, Stdio};

fn forestall(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forestall"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    forestall(args).output().expect("the binary was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for word in [
        "agent",
        "node",
        "free",
        "leak",
        "check-config",
        "completions",
        "man",
        "5  refused for safety",
    ] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
}

#[test]
fn what_cannot_be_understood_is_usage() {
    for args in [
        vec![],
        vec!["guard"],
        vec!["agent", "--mode", "destroy"],
        vec!["agent", "--interval", "60"],
        vec!["agent", "--min-available", "350"],
        vec!["agent", "--listen", "everywhere"],
        vec!["agent", "--used-percent", "85"],
        vec!["check-config"],
    ] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn an_interval_of_nothing_is_refused_by_its_own_name() {
    for interval in ["0s", "0", "5ms"] {
        let output = run(&["agent", "--interval", interval, "--listen", "none"]);
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(
            message.starts_with("forestall: timing.interval (--interval): "),
            "{message}"
        );
    }
}

#[test]
fn a_configuration_is_checked_and_its_result_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("agent.yaml");
    let file = path.to_str().expect("text");
    std::fs::write(&path, "preset: gist\ngist:\n  minAvailable: 1.5Gi\n").expect("a file");
    let output = run(&["check-config", file]);
    assert_eq!(output.status.code(), Some(0));
    let result = text(&output.stdout);
    for line in [
        "preset: gist\n",
        "  sysrq: true\n",
        "  kill: false\n",
        "  interval: 1m\n",
        "  minAvailable: 1536Mi\n",
    ] {
        assert!(result.contains(line), "{line:?} is not in {result}");
    }
    std::fs::write(&path, "mode: shadow\ntiming:\n  interval: fast\n").expect("a file");
    let output = run(&["check-config", file]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(
        message.starts_with(&format!("forestall: {file}:3:13: ")),
        "{message}"
    );
    assert!(
        message.contains("100ms, 2s or 1m") && message.lines().count() == 1,
        "{message}"
    );
}

#[test]
fn what_the_agent_will_not_do_is_a_warning_of_the_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("agent.yaml");
    let file = path.to_str().expect("text");
    std::fs::write(
        &path,
        "mode: enforce\nrungs: {evict: true, brake: true, grow: true, warn: true}\nrequire: [grow]\n",
    )
    .expect("a file");
    let output = run(&["check-config", file]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("  evict: true\n"));
    let said = text(&output.stderr);
    let warned: Vec<&str> = said.lines().collect();
    assert_eq!(warned.len(), 3, "{said}");
    for (line, what) in warned
        .iter()
        .zip(["rungs.warn: ", "rungs.grow: ", "require: grow"])
    {
        assert!(
            line.starts_with(&format!("forestall: warning: {file}: {what}")),
            "{line}"
        );
    }
    std::fs::write(&path, "mode: enforce\n").expect("a file");
    assert_eq!(text(&run(&["check-config", file]).stderr), "");
}

#[test]
fn completions_and_manual_pages_come_from_the_parser() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("check-config"), "{shell}");
    }
    assert!(text(&run(&["man"]).stdout).contains(".TH forestall 1"));
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(&["man", "--dir", dir.path().to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(0));
    let page =
        std::fs::read_to_string(dir.path().join("forestall-agent.1")).expect("a page for each command");
    assert!(page.contains("min\\-available"), "{page}");
    assert_eq!(run(&["man", "--dir", "/nonexistent"]).status.code(), Some(1));
}

#[test]
fn a_reader_that_went_away_is_no_error_and_no_panic() {
    for args in [["man"].as_slice(), &["completions", "zsh"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = forestall(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

/// Its reports are all that tells how far it got, and what it was started for has not happened.
#[test]
fn a_workload_whose_reader_went_away_ends_as_others_do_and_not_with_success() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let leak = ["leak", "-m", "1", "-x", "1", "-e", "0", "--hold", "0"];
    let output = forestall(&leak).stdout(writer).stderr(Stdio::piped()).output();
    let output = output.expect("it runs");
    // 128 and SIGPIPE.
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn an_argument_moves_no_cursor_and_forges_no_line() {
    let hostile = "a\u{7}b\nforestall: forged\u{202e}";
    let with_value = format!("--mode={hostile}");
    for args in [
        ["agent", "--mode", hostile].as_slice(),
        &["agent", &with_value],
        &["agent", "--interval", hostile],
        &["agent", hostile],
        &["leak", "-x", hostile],
        &["trace", hostile],
        &[hostile],
        // Behind a short option, in a list, and before a `=`.
        &["node", &format!("-o{hostile}")],
        &["leak", "--kind", &format!("anon,{hostile}")],
        &["node", &format!("--{hostile}=1")],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = text(&output.stderr);
        let forges = said.lines().any(|line| line.starts_with("forestall: forged"));
        let controls = said.chars().any(|letter| letter != '\n' && letter.is_control());
        assert!(
            !forges && !controls && !said.contains('\u{202e}'),
            "{args:?}: {said}"
        );
        assert!(
            said.contains("a\\x07b\\x0aforestall: forged\\u{202e}"),
            "{args:?}: {said}"
        );
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    for args in [
        ["completions", "bash"].as_slice(),
        &["man"],
        &["--help"],
        &["--version"],
        &["help", "node"],
        &["free", "--help"],
        &["free"],
        &["leak", "-m", "1", "-x", "1", "-e", "0", "--hold", "0"],
    ] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .expect("every Linux has it");
        let output = forestall(args).stdout(full).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = text(&output.stderr);
        assert!(said.contains("cannot write to stdout"), "{args:?}: {said}");
    }
    // Nothing else is left where what is wrong cannot be told.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let output = forestall(&["--nonsense"])
        .stderr(full.expect("every Linux has it"))
        .output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
}

/// What cannot be told there changes nothing of how it ends.
#[test]
fn a_stderr_that_takes_nothing_leaves_the_exit_code_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let policy = dir.path().join("policy.yaml");
    std::fs::write(&policy, "rungs: { evict: true }\n").expect("a file");
    let policy = policy.to_str().expect("text");
    for (args, code) in [
        (
            ["leak", "-m", "1", "-x", "4", "-e", "0", "--cap", "2Mi"].as_slice(),
            134,
        ),
        (
            &[
                "leak",
                "-m",
                "1",
                "-x",
                "4",
                "-e",
                "0",
                "--cap",
                "2Mi",
                "--cap-exit",
                "3",
            ],
            3,
        ),
        // It has a warning to tell: there is no hand for that rung yet.
        (&["check-config", policy], 0),
        (&["check-config", "/nowhere/at all"], 1),
        (&["simulate", "random", "-o", "html", "--seeds", "1..2"], 2),
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let output = forestall(args)
            .stderr(full.expect("every Linux has it"))
            .stdout(std::process::Stdio::null())
            .output();
        assert_eq!(output.expect("it runs").status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn what_the_system_does_not_let_us_read_is_an_error_and_what_cannot_be_meant_wrong_usage() {
    let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../traces/lab-leak-container.ftr");
    let commands: [&[&str]; 7] = [
        &["check-config"],
        &["agent", "--listen", "none", "--config"],
        &["simulate"],
        &["simulate", "random", "--policy"],
        &["replay", trace, "--policy"],
        &["node", "--capacity", "8Gi", "--kubelet-config"],
        &["trace", "info"],
    ];
    let code = |command: &[&str], path: &str| {
        let output = forestall(command).arg(path).output().expect("it runs");
        output.status.code()
    };
    for command in commands {
        assert_eq!(code(command, "/nowhere/at.all"), Some(1), "{command:?}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("said.yaml");
    std::fs::write(&path, "nonsense: [\n").expect("a file");
    for command in &commands[..5] {
        assert_eq!(
            code(command, path.to_str().expect("text")),
            Some(2),
            "{command:?}"
        );
        assert_eq!(
            code(command, dir.path().to_str().expect("text")),
            Some(2),
            "{command:?}"
        );
    }
}
