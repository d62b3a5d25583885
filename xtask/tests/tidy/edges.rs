//! Which crate may depend on which. A new edge is a decision: it changes what a crate can do, so it is made here, in
//! sight, and not by a line in a manifest.

use std::process::Command;

use serde_json::Value;

/// What a guarded crate may depend on, beside what its tests need.
const GUARDED: [(&str, &[&str]); 7] = [
    ("forestall-decide", &[]),
    ("forestall-kernel", &["memchr", "rustix", "thiserror"]),
    (
        "forestall-sense",
        &["forestall-decide", "forestall-kernel", "rustix", "thiserror"],
    ),
    ("forestall-trace", &["forestall-decide", "crc32fast", "thiserror"]),
    (
        "forestall-sim",
        &["forestall-decide", "serde", "serde-saphyr", "thiserror"],
    ),
    (
        "forestall-act",
        &[
            "forestall-decide",
            "forestall-kernel",
            "libc",
            "rustix",
            "thiserror",
        ],
    ),
    // It meets the agent as a node does, as a file that runs.
    (
        "forestall-e2e",
        &["anyhow", "rcgen", "rustix", "serde_json", "tokio"],
    ),
];

/// What tests of a guarded crate may use beside that.
const FOR_TESTS: [&str; 2] = ["proptest", "tempfile"];

/// Who may reach the crate that acts: the binary, which ships, and the init of the lab's guests, which tries its self-test
/// with other rights and is PID 1 of machines of its own alone.
const MAY_ACT: [&str; 2] = ["forestall", "forestall-lab-init"];

const LICENSE: &str = "Apache-2.0";

fn check_packages(packages: &[Value]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if package["license"].as_str() != Some(LICENSE) {
            breaches.push(format!(
                "{name}: put `license.workspace = true` into its manifest ({LICENSE})"
            ));
        }
        let guarded = GUARDED
            .iter()
            .find(|(guarded, _)| *guarded == name)
            .map(|(_, allowed)| *allowed);
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if let Some(allowed) = guarded
                && !allowed.contains(&on)
                && !(for_tests && FOR_TESTS.contains(&on))
            {
                breaches.push(format!(
                    "{name} must not depend on {on} (allowed: {allowed:?}, for tests {FOR_TESTS:?}): hand the value in \
                     from the crate above, or argue for the edge in docs/decisions and add it here"
                ));
            }
            if on == "forestall-act" && !MAY_ACT.contains(&name) {
                breaches.push(format!(
                    "{name} must not depend on forestall-act: only {MAY_ACT:?} may act"
                ));
            }
        }
    }
    for (guarded, _) in GUARDED {
        if !packages
            .iter()
            .any(|package| package["name"].as_str() == Some(guarded))
        {
            breaches.push(format!(
                "{guarded} is not in the workspace: the rule about its dependencies guards nothing"
            ));
        }
    }
    breaches
}

fn packages_of_project() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--manifest-path",
            manifest,
        ])
        .output()
        .expect("cargo runs, because it runs this test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"]
        .as_array()
        .expect("it lists packages")
        .clone()
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let breaches = check_packages(&packages_of_project());
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// The project's packages with one dependency more.
fn with_dependency(of: &str, on: &str, kind: &Value) -> Vec<Value> {
    let mut packages = packages_of_project();
    for package in &mut packages {
        if package["name"].as_str() == Some(of) {
            let dependencies = package["dependencies"]
                .as_array_mut()
                .expect("a list of dependencies");
            dependencies.push(serde_json::json!({ "name": on, "kind": kind }));
        }
    }
    packages
}

#[test]
fn a_wrong_edge_is_seen() {
    let normal = Value::Null;
    for (of, on) in [
        ("forestall-decide", "rustix"),
        ("forestall-decide", "forestall-kernel"),
        ("forestall-kernel", "forestall-decide"),
        ("forestall-sense", "forestall-act"),
        ("forestall-act", "tokio"),
        ("xtask", "forestall-act"),
    ] {
        let breaches = check_packages(&with_dependency(of, on, &normal));
        assert!(!breaches.is_empty(), "{of} was given {on} and nobody saw it");
    }
    // What a test needs is no part of what is built, and says so by its kind.
    let before = check_packages(&packages_of_project()).len();
    assert_eq!(
        check_packages(&with_dependency("forestall-decide", "proptest", &"dev".into())).len(),
        before
    );
    assert_eq!(
        check_packages(&with_dependency("forestall-decide", "proptest", &normal)).len(),
        before + 1
    );
}

#[test]
fn a_missing_licence_or_crate_is_seen() {
    let mut packages = packages_of_project();
    let before = check_packages(&packages).len();
    packages[0]["license"] = Value::Null;
    assert_eq!(check_packages(&packages).len(), before + 1);
    packages.retain(|package| package["name"].as_str() != Some("forestall-decide"));
    assert!(
        check_packages(&packages)
            .iter()
            .any(|breach| breach.starts_with("forestall-decide is not"))
    );
}
