//! Every rule that the engine keeps is taken away once, in a world that needs it: then a checker has to notice, and with the
//! rule nobody has anything to say. A new rule without a world does not compile; one without a checker fails.

mod make;
mod provoke;

use forestall_decide::{Rule, without};
use forestall_sim::{RunOptions, Violation, World};

use crate::provoke::provoke;

fn judge(world: &World) -> Vec<Violation> {
    let options = RunOptions {
        checkers: true,
        keep: 0,
        ..RunOptions::default()
    };
    world.run(options, &mut |_| ()).expect("a sound world").violations
}

#[test]
fn with_all_rules_nothing_is_wrong_in_any_of_these_worlds() {
    let found: Vec<_> = Rule::ALL
        .iter()
        .map(|rule| (rule, judge(&provoke(*rule).0)))
        .filter(|(_, found)| !found.is_empty())
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn without_any_one_of_the_rules_its_checker_says_so() {
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        let (world, checker) = provoke(*rule);
        let found = without(*rule, || judge(&world));
        if !found.iter().any(|violation| violation.rule == checker) {
            let mut others: Vec<_> = found.iter().map(|violation| violation.rule).collect();
            others.dedup();
            unnoticed.push(format!("{rule:?}: {checker} says nothing, others: {others:?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
