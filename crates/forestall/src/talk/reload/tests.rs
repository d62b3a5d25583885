use std::fs;

use super::super::stance::tests::{said_by, talker};
use super::*;
use crate::agent::{AgentArgs, node_before_its_first_pod};

#[test]
fn a_file_that_is_written_replaced_or_linked_anew_is_another_one() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    std::fs::write(path("a"), "mode: shadow\n").expect("room");
    // As the kubelet lays out a ConfigMap: a link to the present one.
    std::os::unix::fs::symlink("a", path("policy")).expect("a link");
    let before = FileMark::of(&path("policy"));
    assert!(before.is_some());
    assert_eq!(FileMark::of(&path("policy")), before);
    std::fs::write(path("a"), "mode: observe\n").expect("room");
    let written = FileMark::of(&path("policy"));
    assert_ne!(written, before);
    std::fs::write(path("b"), "mode: observe\n").expect("room");
    std::os::unix::fs::symlink("b", path("next")).expect("a link");
    std::fs::rename(path("next"), path("policy")).expect("it is replaced");
    assert_ne!(FileMark::of(&path("policy")), written);
    std::fs::remove_file(path("policy")).expect("it was there");
    assert_eq!(FileMark::of(&path("policy")), None);
}

/// The name of each line's event and its level, of those about the configuration.
fn told(said: &str) -> Vec<(String, String)> {
    let lines = said.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .filter(|line: &serde_json::Value| matches!(line["event"].as_str(), Some("reload" | "configuration")))
        .map(|line| (line["level"].to_string(), line["message"].to_string()))
        .collect()
}

#[test]
fn a_configuration_that_is_wrong_or_gone_is_a_state_until_a_good_one_is_read() {
    let (root, ground) = node_before_its_first_pod();
    let path = root.path().join("policy.yaml");
    let state_dir = root.path().join("var/lib/forestall");
    fs::create_dir_all(&state_dir).expect("directories");
    let write = |text: &str| {
        // As the kubelet and most editors do: another file in its place.
        fs::write(root.path().join("next"), text).expect("room");
        fs::rename(root.path().join("next"), &path).expect("it is replaced");
    };
    let good = "mode: observe\n";
    write(good);
    let args = AgentArgs {
        root: Some(root.path().to_owned()),
        config: Some(path.clone()),
        ..AgentArgs::default()
    };
    let (mut talker, _commands, log) = talker(root.path(), ground, args);
    let degraded = |talker: &Talker| {
        let all = talker.setup.board.degraded();
        all.into_iter()
            .find(|degraded| degraded.what == "configuration")
            .map(|degraded| degraded.why)
    };
    talker.setup.unkept = Some(good.to_owned());
    talker.keep_configuration();
    talker.reload_if_changed();
    assert_eq!(degraded(&talker), None);
    // An unknown field, of which line and column are told; and as a state, whoever looks when.
    write("mode: shadow\nmood: bad\n");
    for _ in 0..3 {
        talker.reload_if_changed();
        assert!(degraded(&talker).is_some_and(|why| why.contains("policy.yaml:2:1: ")));
    }
    fs::remove_file(&path).expect("it was there");
    for _ in 0..3 {
        talker.reload_if_changed();
        assert!(degraded(&talker).is_some_and(|why| why.contains("cannot be read any more")));
    }
    let kept = || {
        let kept = fs::read_to_string(state_dir.join("last-good-configuration.yaml")).expect("it is kept");
        kept.split_once('\n').expect("a header").1.to_owned()
    };
    assert_eq!(kept(), good);
    let better = "mode: shadow\n";
    write(better);
    talker.reload_if_changed();
    assert_eq!((degraded(&talker), kept().as_str()), (None, better));
    let told = told(&said_by(talker, log));
    let levels: Vec<&str> = told.iter().map(|(level, _)| level.as_str()).collect();
    assert_eq!(levels, ["\"error\"", "\"error\"", "\"info\""], "{told:?}");
}
