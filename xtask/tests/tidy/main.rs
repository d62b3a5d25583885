//! The project's own rules as ordinary tests. A failure names the place, the rule and what to do instead.
//!
//! A rule is a function from a tree of files to what breaks it, so that each one is also shown a tree that does break it:
//! a rule that cannot fail guards nothing. What has a better keeper (a manifest, a type, clippy) is not repeated here.

mod asked;
mod bans;
mod budgeted;
mod confined;
mod documents;
mod edges;
mod manifests;
mod promises;
mod sources;
mod tree;
mod unit;

use tree::{Breach, Tree};

/// Fails with every breach of `rule` in the project.
#[track_caller]
fn holds(rule: impl Fn(&Tree) -> Vec<Breach>) {
    let breaches = rule(&Tree::of_project());
    assert!(
        breaches.is_empty(),
        "{} found:\n{}",
        breaches.len(),
        tree::list(&breaches)
    );
}

/// Fails unless `rule` finds exactly one breach in a tree of these files, and names the file it is in.
#[track_caller]
fn is_broken_by(rule: impl Fn(&Tree) -> Vec<Breach>, files: &[(&str, &str)], culprit: &str) {
    let breaches = rule(&Tree::of(files));
    assert_eq!(
        breaches.len(),
        1,
        "one breach was planted; found:\n{}",
        tree::list(&breaches)
    );
    assert_eq!(breaches[0].path, culprit);
}

/// Fails if `rule` finds anything in a tree of these files.
#[track_caller]
fn is_kept_by(rule: impl Fn(&Tree) -> Vec<Breach>, files: &[(&str, &str)]) {
    let breaches = rule(&Tree::of(files));
    assert!(
        breaches.is_empty(),
        "nothing was planted; found:\n{}",
        tree::list(&breaches)
    );
}
