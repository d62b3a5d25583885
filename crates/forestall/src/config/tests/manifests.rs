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
    assert_eq!(
        (read.policy, read.listen),
        (Policy { rungs, ..act.policy }, act.listen)
    );
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
