//! Rules about documents and manifests: what they name exists, and what has to be explained is.

use crate::tree::{Breach, File, Tree};
use crate::{holds, is_broken_by, is_kept_by};

/// A backticked word that begins like this is the path of a file of the project.
const OWN_FOLDERS: [&str; 8] = [
    ".ci/", "crates/", "deploy/", "docs/", "e2e/", "fuzz/", "lab/", "xtask/",
];

/// What a run writes into cargo's target directory is in no clone.
const WRITTEN_BY_RUNS: [&str; 1] = ["lab/results.json"];

const CHANGELOG: &str = "CHANGELOG.md";
const DEPENDENCIES: &str = "docs/decisions/0002-dependencies.md";
const CONTRIBUTING: &str = "CONTRIBUTING.md";

/// The backticked parts of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of the line's `[text](target)` links.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// Where `link` in the file at `path` leads, relative to the root.
fn resolve(path: &str, link: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn documents_name_what_exists(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.has_extension("md")) {
        for (index, line) in file.text.lines().enumerate() {
            let mut missing = |path: &str| {
                let say = format!("`{path}` does not exist: name what does, or make it");
                breaches.push(file.breach(index + 1, say));
            };
            for name in quoted(line) {
                let no_path =
                    name.contains(['*', '<', '{', '…', ' ', '$']) || WRITTEN_BY_RUNS.contains(&name);
                if !no_path && OWN_FOLDERS.iter().any(|folder| name.starts_with(folder)) && !tree.has(name) {
                    missing(name);
                }
            }
            for link in links(line) {
                let path = link.split('#').next().unwrap_or(link);
                if !path.is_empty() && !path.contains(':') && !tree.has(&resolve(&file.path, path)) {
                    missing(path);
                }
            }
        }
    }
    breaches
}

/// Whether `line` has `mark` where a path or host begins: `lab/init/src/work/` names no machine.
fn names(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(start, _)| {
        let before = line.get(..start).and_then(|text| text.chars().next_back());
        !before.is_some_and(char::is_alphanumeric)
    })
}

fn no_machine_is_named(tree: &Tree) -> Vec<Breach> {
    // Put together here, so that this file does not break its own rule.
    let marks = [
        (
            concat!("/wo", "rk/"),
            "the path of one machine: write it relative to the clone, or take it from the environment",
        ),
        (
            concat!("/ro", "ot/"),
            "the path of one machine: write it relative to the clone, or take it from the environment",
        ),
        (
            concat!("crates", ".io"),
            "a registry's host: say \"the default registry\"",
        ),
        (
            concat!("static.rust", "-lang.org"),
            "a registry's host: say \"rustup\"",
        ),
        (
            concat!("deb.deb", "ian.org"),
            "a registry's host: say \"Debian's packages\"",
        ),
        (
            concat!("proxy.go", "lang.org"),
            "a registry's host: say \"the Go module proxy\"",
        ),
    ];
    let mut breaches = Vec::new();
    for file in tree
        .files
        .iter()
        .filter(|file| !file.path.ends_with("Cargo.lock"))
    {
        for (index, line) in file.text.lines().enumerate() {
            for (mark, say) in marks {
                if names(line, mark) {
                    breaches.push(file.breach(index + 1, format!("`{mark}`: {say}")));
                }
            }
        }
    }
    breaches
}

fn changelog_is_kept(tree: &Tree) -> Vec<Breach> {
    match tree.file(CHANGELOG) {
        None => vec![Breach {
            path: CHANGELOG.to_owned(),
            line: 0,
            what: "is missing: write what changed for users".into(),
        }],
        Some(file) if !file.text.contains("\n## Unreleased\n") => {
            vec![file.breach(
                0,
                "has no `## Unreleased` part: what changed for users is written there first",
            )]
        }
        Some(_) => Vec::new(),
    }
}

/// The keys of one table of a manifest; a table ends at the next line that opens one.
fn keys_of<'a>(manifest: &'a File, table: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = manifest
        .text
        .lines()
        .enumerate()
        .skip_while(move |(_, line)| line.trim() != table)
        .skip(1);
    let lines = lines.take_while(|(_, line)| !line.starts_with('['));
    lines
        .filter(|(_, line)| !line.starts_with('#'))
        .filter_map(|(index, line)| {
            let (key, _) = line.split_once([' ', '='])?;
            Some((index + 1, key))
        })
}

fn dependencies_are_explained(tree: &Tree) -> Vec<Breach> {
    let Some(manifest) = tree.file("Cargo.toml") else {
        return Vec::new();
    };
    let reasons = tree.file(DEPENDENCIES).map_or("", |file| file.text.as_str());
    let named = |name: &str| {
        let lines = reasons.lines().filter(|line| line.starts_with("- "));
        lines
            .filter_map(|line| line.split_once(": "))
            .any(|(names, _)| names.split([' ', ',', '`']).any(|word| word == name))
    };
    keys_of(manifest, "[workspace.dependencies]")
        .filter(|(_, name)| !name.starts_with("forestall-") && !named(name))
        .map(|(line, name)| {
            manifest.breach(line, format!("add `- {name}: why` to {DEPENDENCIES}, or drop it"))
        })
        .collect()
}

fn allowed_lints_are_explained(tree: &Tree) -> Vec<Breach> {
    let Some(manifest) = tree.file("Cargo.toml") else {
        return Vec::new();
    };
    let reasons = tree.file(CONTRIBUTING).map_or("", |file| file.text.as_str());
    let allowed = |line: usize| {
        manifest
            .text
            .lines()
            .nth(line - 1)
            .is_some_and(|text| text.contains("\"allow\""))
    };
    keys_of(manifest, "[workspace.lints.clippy]")
        .filter(|(line, lint)| allowed(*line) && !reasons.contains(&format!("`{lint}`")))
        .map(|(line, lint)| {
            manifest.breach(
                line,
                format!("say in {CONTRIBUTING} why `{lint}` is allowed, or obey it"),
            )
        })
        .collect()
}

#[test]
fn documents_name_what_exists_here() {
    let rule = documents_name_what_exists;
    holds(rule);
    is_broken_by(rule, &[("A.md", "See `crates/gone/src/a.rs`.\n")], "A.md");
    is_broken_by(rule, &[("docs/a.md", "See [b](../B.md#part).\n")], "docs/a.md");
    let kept = "See `crates/a/src/b.rs`, `crates/*/x`, `kubectl get`, [b](a.md#part), [web](https://example.org/).\n";
    is_kept_by(rule, &[("docs/a.md", kept), ("crates/a/src/b.rs", "")]);
}

#[test]
fn no_machine_is_named_here() {
    holds(no_machine_is_named);
    is_broken_by(
        no_machine_is_named,
        &[("a.sh", concat!("cd /wo", "rk/x\n"))],
        "a.sh",
    );
    is_broken_by(
        no_machine_is_named,
        &[("a.md", concat!("from crates", ".io\n"))],
        "a.md",
    );
    is_kept_by(no_machine_is_named, &[("a.md", concat!("src/wo", "rk/x\n"))]);
}

#[test]
fn changelog_is_kept_here() {
    holds(changelog_is_kept);
    is_broken_by(changelog_is_kept, &[("README.md", "")], CHANGELOG);
    is_broken_by(changelog_is_kept, &[(CHANGELOG, "# Changes\n")], CHANGELOG);
}

#[test]
fn dependencies_are_explained_here() {
    holds(dependencies_are_explained);
    let manifest = (
        "Cargo.toml",
        "[workspace.dependencies]\n# why\nserde_json = \"1\"\n[profile.dev]\ndebug = 1\n",
    );
    is_broken_by(
        dependencies_are_explained,
        &[manifest, (DEPENDENCIES, "- serde: edges\n")],
        "Cargo.toml",
    );
    is_kept_by(
        dependencies_are_explained,
        &[manifest, (DEPENDENCIES, "- serde, serde_json: edges\n")],
    );
}

#[test]
fn allowed_lints_are_explained_here() {
    holds(allowed_lints_are_explained);
    let manifest = (
        "Cargo.toml",
        "[workspace.lints.clippy]\nsimilar_names = \"allow\"\ntodo = \"warn\"\n",
    );
    is_broken_by(
        allowed_lints_are_explained,
        &[manifest, (CONTRIBUTING, "")],
        "Cargo.toml",
    );
    is_kept_by(
        allowed_lints_are_explained,
        &[manifest, (CONTRIBUTING, "`similar_names`: because\n")],
    );
}
