//! The policies that are handed out for a cluster.

use super::*;

fn manifest(path: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/kustomize")
        .join(path);
    let text = std::fs::read_to_string(&path).expect("a manifest");
    (path, text)
}

/// What a ConfigMap of `deploy/kustomize` has as `forestall.yaml`: a literal block (YAML 1.2, 8.1.2), indented by four.
fn policy_in(path: &str) -> Settings {
    let (path, map) = manifest(path);
    let (_, block) = map.split_once("  forestall.yaml: |\n").expect("a policy");
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("    ").unwrap_or(line));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    check(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()))
}

#[test]
fn the_policy_of_each_profile_is_sound_and_uses_what_the_profile_may() {
    let (read, act) = (
        policy_in("base/config.yaml"),
        policy_in("components/act/config.yaml"),
    );
    assert!(!read.ledger.tracing && act.ledger.tracing);
    // Who may evict does: killed by default, pods would lose the grace period that the right is there for.
    assert!(!read.policy.rungs.has(Rung::Evict) && act.policy.rungs.has(Rung::Evict));
    // In all else they are the same, and change nothing on a node.
    let rungs = act.policy.rungs.with(Rung::Evict, false);
    assert_eq!(read.policy, Policy { rungs, ..act.policy });
    assert_eq!(act.policy.mode, Mode::Shadow);
}

#[test]
fn who_enforces_in_a_cluster_without_evicting_is_told_what_that_costs() {
    let (read, act) = (
        policy_in("base/config.yaml").policy,
        policy_in("components/act/config.yaml").policy,
    );
    let enforce = |policy| Policy {
        mode: Mode::Enforce,
        ..policy
    };
    let granted = |rungs| Policy { rungs, ..act };
    let said = |policy: &Policy, rungs| crate::agent::say_evict_off(policy, &granted(rungs));
    let everything = Rungs::all();
    assert!(said(&enforce(read), everything).is_some_and(|why| why.contains("evict: true")));
    assert_eq!(said(&enforce(act), everything), None);
    // Who kills nobody, by choice or for want of the right, takes nobody's grace period.
    assert_eq!(said(&read, everything), None);
    assert_eq!(said(&enforce(read), everything.with(Rung::Kill, false)), None);
}

#[test]
fn a_pod_begins_without_a_policy_and_answers_its_probes() {
    let (_, text) = manifest("base/daemonset.yaml");
    let set: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().expect("a list");
    let args = args.iter().map(|arg| arg.as_str().expect("a text"));
    let command = AgentArgs::augment_args(clap::Command::new("agent"));
    let found = command.try_get_matches_from(args).expect("they are understood");
    let root = tempfile::tempdir().expect("a directory");
    let args = AgentArgs {
        root: Some(root.path().to_owned()),
        config: Some(root.path().join("none.yaml")),
        ..AgentArgs::from_arg_matches(&found).expect("they are understood")
    };
    let (settings, _, wrong) = crate::agent::Kept::new(&args)
        .load(&args, true)
        .expect("it begins");
    assert!(wrong.is_some());
    assert_eq!(settings.policy.mode, Mode::Shadow);
    let port = &container["ports"][0];
    assert_eq!(port["name"], "http");
    let every_address = format!("[::]:{}", port["containerPort"]);
    assert_eq!(settings.listen.to_string(), every_address);
}
