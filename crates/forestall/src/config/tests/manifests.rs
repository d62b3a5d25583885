//! The policies that are handed out for a cluster.

use super::*;

/// What a ConfigMap of `deploy/kustomize` has as `forestall.yaml`: a literal block (YAML 1.2, 8.1.2), indented by four.
fn policy_in(path: &str) -> Settings {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/kustomize")
        .join(path);
    let map = std::fs::read_to_string(&path).expect("a manifest");
    let (_, block) = map.split_once("  forestall.yaml: |\n").expect("a policy");
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("    ").unwrap_or(line));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    check(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()))
}

#[test]
fn the_policy_of_each_profile_is_sound_and_who_may_write_tracefs_uses_it() {
    let (read, act) = (
        policy_in("base/config.yaml"),
        policy_in("components/act/config.yaml"),
    );
    assert!(!read.ledger.tracing && act.ledger.tracing);
    // In all else they are the same, and change nothing on a node.
    assert_eq!((read.policy, read.listen), (act.policy, act.listen));
    assert_eq!(act.policy.mode, Mode::Shadow);
}
