//! Rules about the Rust sources.

use crate::tree::{Breach, File, Tree, has_word};
use crate::{holds, is_broken_by, is_kept_by};

/// Past this length a file is likely to hold a second idea.
const LINES_MAX: usize = 500;

/// Where `unsafe` may stand: the crate that acts, the counting allocators of tests, and the program that is PID 1 of the
/// lab's guests, which never runs on a machine that matters.
fn may_be_unsafe(path: &str) -> bool {
    path.starts_with("crates/forestall-act/")
        || path.ends_with("/tests/no_alloc.rs")
        || path.starts_with("lab/init/src/")
}

fn modules_say_what_they_are(tree: &Tree) -> Vec<Breach> {
    let undocumented = |file: &&File| !file.path.ends_with("/tests.rs") && !file.text.starts_with("//!");
    let say = "open the module with `//!`: what it is, then what it refuses to do";
    tree.rust()
        .filter(undocumented)
        .map(|file| file.breach(1, say))
        .collect()
}

fn files_hold_one_idea(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            let say =
                format!("{lines} lines, more than {LINES_MAX}: look for the second idea and give it a file");
            breaches.push(file.breach(lines, say));
        }
    }
    breaches
}

fn nothing_is_unfinished(tree: &Tree) -> Vec<Breach> {
    // Put together here, so that this file does not break its own rule.
    let marks = [
        (
            concat!("#[", "ignore"),
            "assert today's behaviour and say what is wrong with it, instead of switching a test off",
        ),
        (
            concat!("todo", "!("),
            "finish it, or return an error that says what is not supported",
        ),
        (
            concat!("unimplemented", "!("),
            "finish it, or return an error that says what is not supported",
        ),
        (concat!("dbg", "!("), "remove it, or log it"),
    ];
    let mut breaches = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.code() {
            for (mark, instead) in marks {
                if line.contains(mark) {
                    breaches.push(file.breach(number, format!("`{mark}`: {instead}")));
                }
            }
        }
    }
    breaches
}

fn unsafe_stays_where_it_is_looked_for(tree: &Tree) -> Vec<Breach> {
    let word = concat!("un", "safe");
    let forms = [
        format!("{word} {{"),
        format!("{word} fn"),
        format!("{word} impl"),
        format!("{word} extern"),
    ];
    let allowances = [
        format!("allow({word}_code"),
        format!("expect({word}_code"),
        format!("#[{word}("),
    ];
    let mut breaches = Vec::new();
    for file in tree.rust().filter(|file| !may_be_unsafe(&file.path)) {
        for (number, line) in file.code() {
            if forms
                .iter()
                .chain(&allowances)
                .any(|form| line.contains(form.as_str()))
            {
                let say = format!(
                    "`{word}` outside of forestall-act: use rustix, or move it behind a safe function there"
                );
                breaches.push(file.breach(number, say));
            }
        }
    }
    breaches
}

/// clippy bans the same types; this also sees what stands behind a `cfg` that clippy does not build.
fn the_engine_is_pure(tree: &Tree) -> Vec<Breach> {
    let banned = [
        ("HashMap", "BTreeMap or a sorted Vec"),
        ("HashSet", "BTreeSet or a sorted Vec"),
        ("Instant", "a Moment handed in"),
        ("SystemTime", "a Moment handed in"),
        ("std::fs", "an Input"),
        ("std::env", "the Policy"),
        ("std::net", "an Input"),
        ("std::process", "an Action"),
        ("std::thread", "&mut self"),
        ("std::sync", "&mut self"),
        ("f32", "integers in permille"),
        ("f64", "integers in permille"),
    ];
    let mut breaches = Vec::new();
    for file in tree
        .rust()
        .filter(|file| file.path.starts_with("crates/forestall-decide/src/"))
    {
        for (number, line) in file.code() {
            for (word, instead) in banned {
                if has_word(line, word) {
                    breaches.push(file.breach(
                        number,
                        format!("`{word}` in the pure engine: take {instead} instead"),
                    ));
                }
            }
        }
    }
    breaches
}

/// Clippy bans what tests never need; these calls tests do need, to make fixture trees, so they are looked for here in
/// the other code.
fn reading_changes_nothing(tree: &Tree) -> Vec<Breach> {
    let calls = [
        "fs::write",
        "fs::create_dir",
        "fs::create_dir_all",
        "fs::remove_file",
        "fs::remove_dir",
        "fs::remove_dir_all",
        "fs::rename",
        "fs::copy",
        "OpenOptions",
        "WRONLY",
        "RDWR",
        "io::write",
    ];
    // A pressure trigger is armed by writing it into the handle that is then polled (Documentation/accounting/psi.rst);
    // it changes nothing for anyone else.
    let armed_here = |file: &File| file.path.starts_with("crates/forestall-kernel/src/psi_trigger");
    let reads = |file: &&File| {
        ["crates/forestall-kernel/src/", "crates/forestall-sense/src/"]
            .iter()
            .any(|crate_| file.path.starts_with(crate_))
    };
    let mut breaches = Vec::new();
    for file in tree
        .rust()
        .filter(reads)
        .filter(|file| !file.is_test() && !armed_here(file))
    {
        for (number, line) in file.production_code() {
            for call in calls {
                if has_word(line, call) {
                    let say =
                        format!("`{call}` in a crate that only reads: side effects belong to forestall-act");
                    breaches.push(file.breach(number, say));
                }
            }
        }
    }
    breaches
}

/// Whatever ends somebody or takes memory away goes through a file of one of these names, or through a signal, which clippy
/// bans everywhere else.
fn only_one_crate_acts(tree: &Tree) -> Vec<Breach> {
    let names = [
        "cgroup.kill",
        "memory.reclaim",
        "memory.force_empty",
        "sysrq-trigger",
    ];
    let elsewhere = |file: &&File| {
        file.path.starts_with("crates/") && !file.path.starts_with("crates/forestall-act/") && !file.is_test()
    };
    let mut breaches = Vec::new();
    for file in tree.rust().filter(elsewhere) {
        for (number, line) in file.production_code() {
            for name in names {
                // A whole literal or the end of a path, and no sentence that speaks of it.
                if line.contains(&format!("\"{name}\"")) || line.contains(&format!("/{name}\"")) {
                    let say = format!("`{name}` outside of forestall-act: send it an order instead");
                    breaches.push(file.breach(number, say));
                }
            }
        }
    }
    breaches
}

#[test]
fn only_one_crate_acts_here() {
    holds(only_one_crate_acts);
    let line = "open(c\"memory.reclaim\")\n";
    is_broken_by(
        only_one_crate_acts,
        &[("crates/forestall/src/a.rs", line)],
        "crates/forestall/src/a.rs",
    );
    is_kept_by(
        only_one_crate_acts,
        &[
            ("crates/forestall-act/src/a.rs", line),
            ("crates/b/tests/c.rs", line),
        ],
    );
}

#[test]
fn modules_say_what_they_are_here() {
    holds(modules_say_what_they_are);
    is_broken_by(
        modules_say_what_they_are,
        &[("crates/a/src/b.rs", "use c;\n//! late\n")],
        "crates/a/src/b.rs",
    );
}

#[test]
fn files_hold_one_idea_here() {
    holds(files_hold_one_idea);
    let long = "\n".repeat(LINES_MAX + 1);
    is_broken_by(
        files_hold_one_idea,
        &[("xtask/src/long.rs", &long)],
        "xtask/src/long.rs",
    );
    is_kept_by(files_hold_one_idea, &[("xtask/src/long.rs", &long[1..])]);
}

#[test]
fn nothing_is_unfinished_here() {
    holds(nothing_is_unfinished);
    for text in [
        concat!("#[test]\n#[", "ignore]\nfn a() {}\n"),
        concat!("#[", "ignore = \"slow\"]\n"),
        concat!("fn a() { todo", "!() }\n"),
        concat!("fn a() { unimplemented", "!(\"b\") }\n"),
        concat!("let a = dbg", "!(b);\n"),
    ] {
        is_broken_by(nothing_is_unfinished, &[("a.rs", text)], "a.rs");
    }
}

#[test]
fn unsafe_stays_where_it_is_looked_for_here() {
    let rule = unsafe_stays_where_it_is_looked_for;
    holds(rule);
    let block = concat!("fn a() { un", "safe { b() } }\n");
    is_broken_by(
        rule,
        &[("crates/forestall/src/a.rs", block)],
        "crates/forestall/src/a.rs",
    );
    is_broken_by(rule, &[("a.rs", concat!("#![allow(un", "safe_code)]\n"))], "a.rs");
    is_kept_by(
        rule,
        &[
            ("crates/forestall-act/src/a.rs", block),
            ("crates/b/tests/no_alloc.rs", block),
        ],
    );
    is_kept_by(rule, &[("a.rs", concat!("#![forbid(un", "safe_code)]\n"))]);
}

#[test]
fn the_engine_is_pure_here() {
    holds(the_engine_is_pure);
    let path = "crates/forestall-decide/src/a.rs";
    for text in [
        "use std::collections::HashMap;\n",
        "let a: f64 = b;\n",
        "std::thread::yield_now();\n",
    ] {
        is_broken_by(the_engine_is_pure, &[(path, text)], path);
    }
    is_kept_by(
        the_engine_is_pure,
        &[(path, "// An Instant would do.\nlet f64x = HashMapLike;\n")],
    );
}

#[test]
fn reading_changes_nothing_here() {
    holds(reading_changes_nothing);
    let path = "crates/forestall-sense/src/a.rs";
    is_broken_by(
        reading_changes_nothing,
        &[(path, "std::fs::write(path, b\"1\")?;\n")],
        path,
    );
    is_broken_by(
        reading_changes_nothing,
        &[(path, "let flags = OFlags::RDWR;\n")],
        path,
    );
    is_kept_by(
        reading_changes_nothing,
        &[(
            path,
            "fn a() {}\n#[cfg(test)]\nmod tests { std::fs::write(a, b) }\n",
        )],
    );
}
