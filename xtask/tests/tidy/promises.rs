//! SPECIFICATION.md promises numbers. Each promise names what holds it, and that exists.
//!
//! A keeper is written `kind:name` in backticks: `test:` a test function, `lab:` a scenario of the lab, `e2e:` one on a real Kubernetes, `bench:` a row of
//! the benchmark, `ci:` a step of `cargo xtask ci`; or `pending`, which is a promise that nothing holds yet.

use crate::tree::{Breach, Tree};
use crate::{holds, is_broken_by, is_kept_by};

const SPECIFICATION: &str = "SPECIFICATION.md";

/// Whether something of this kind and name exists.
fn exists(tree: &Tree, kind: &str, name: &str) -> bool {
    let quoted = format!("\"{name}\"");
    let stands_in = |folders: &[&str]| {
        let mut files = tree
            .rust()
            .filter(|file| folders.iter().any(|folder| file.path.starts_with(folder)));
        files.any(|file| file.text.contains(&quoted))
    };
    match kind {
        "test" => {
            let head = format!("fn {name}(");
            tree.rust().any(|file| file.text.contains(&head))
        }
        "lab" => stands_in(&["xtask/src/lab/", "lab/"]),
        "e2e" => stands_in(&["e2e/src/scenario/"]),
        "bench" => stands_in(&["xtask/src/bench", "xtask/benches/"]),
        "ci" => stands_in(&["xtask/src/ci.rs"]),
        _ => false,
    }
}

/// The last cell of a row of a table, if the line is one and no head or rule.
fn keeper_cell(line: &str) -> Option<&str> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cell = row.rsplit('|').next()?.trim();
    (!cell.starts_with("---") && cell != "held by").then_some(cell)
}

fn promises_have_keepers(tree: &Tree) -> Vec<Breach> {
    let Some(file) = tree.file(SPECIFICATION) else {
        return vec![Breach {
            path: SPECIFICATION.to_owned(),
            line: 0,
            what: "is missing: write what is promised".into(),
        }];
    };
    let mut breaches = Vec::new();
    let mut promises = 0;
    for (index, line) in file.text.lines().enumerate() {
        let Some(cell) = keeper_cell(line) else { continue };
        promises += 1;
        let keepers: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if keepers.is_empty() && !cell.starts_with("pending") {
            breaches.push(file.breach(
                index + 1,
                "names no keeper: add `test:NAME`, `lab:`, `e2e:`, `bench:` or `ci:`, or pending",
            ));
        }
        for keeper in keepers {
            let (kind, name) = keeper.split_once(':').unwrap_or((keeper, ""));
            if !exists(tree, kind, name) {
                let say =
                    format!("`{keeper}` does not exist: name what holds the promise, or mark it pending");
                breaches.push(file.breach(index + 1, say));
            }
        }
    }
    if promises == 0 {
        breaches.push(file.breach(
            0,
            "promises nothing: each promise is a row of a table whose last cell is `held by`",
        ));
    }
    breaches
}

#[test]
fn promises_have_keepers_here() {
    let rule = promises_have_keepers;
    holds(rule);
    let code = ("crates/a/src/b.rs", "fn c() {}\n");
    let kept =
        "| promise | held by |\n|---|---|\n| x ≤ 1 | `test:c` |\n| y ≤ 2 | pending: no cluster yet |\n";
    is_kept_by(rule, &[(SPECIFICATION, kept), code]);
    for broken in [
        "| x | `test:gone` |\n",
        "| x | `c` |\n",
        "| x | somebody |\n",
        "| x | `lab:gone` |\n",
        "| x | `e2e:gone` |\n",
        "| x | `bench:gone` |\n",
        "| x | `ci:gone` |\n",
        "words\n",
    ] {
        is_broken_by(rule, &[(SPECIFICATION, broken), code], SPECIFICATION);
    }
    is_broken_by(rule, &[code], SPECIFICATION);
}
