//! A crate's clippy.toml replaces the workspace's, so whoever has one must repeat the shared bans.

use crate::tree::{Breach, Tree};
use crate::{holds, is_broken_by, is_kept_by};

const ROOT: &str = "clippy.toml";

fn shared(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("# shared: begin\n")?;
    Some(rest.split_once("# shared: end")?.0.trim_end())
}

fn shared_bans_are_repeated(tree: &Tree) -> Vec<Breach> {
    let Some(root) = tree.file(ROOT) else {
        return vec![Breach {
            path: ROOT.to_owned(),
            line: 0,
            what: "is missing: put the shared bans there".to_owned(),
        }];
    };
    let Some(bans) = shared(&root.text) else {
        return vec![root.breach(
            0,
            "mark the shared bans with `# shared: begin` and `# shared: end`",
        )];
    };
    let own = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/clippy.toml"));
    own.filter(|file| shared(&file.text) != Some(bans))
        .map(|file| {
            file.breach(
                0,
                "the part between `# shared: begin` and `# shared: end` must equal the root's: copy it",
            )
        })
        .collect()
}

#[test]
fn shared_bans_are_repeated_here() {
    holds(shared_bans_are_repeated);
    let part = |bans: &str| format!("# shared: begin\n{bans}\n# shared: end\n");
    let (root, same, other) = (part("a"), part("a"), part("b"));
    is_kept_by(
        shared_bans_are_repeated,
        &[(ROOT, &root), ("crates/c/clippy.toml", &same)],
    );
    is_broken_by(
        shared_bans_are_repeated,
        &[(ROOT, &root), ("crates/c/clippy.toml", &other)],
        "crates/c/clippy.toml",
    );
    is_broken_by(
        shared_bans_are_repeated,
        &[(ROOT, &root), ("crates/c/clippy.toml", "")],
        "crates/c/clippy.toml",
    );
}
