//! YAML read, or refused in words that help: the place first, then what is wrong, then what was perhaps meant.
//!
//! It refuses to guess for anybody: a slip is named together with the nearest word that there is, and nothing is read.
//!
//! The agent's configuration is read by the same parser and shares no more with this than its options: it has no visitors, takes
//! sizes and percentages of another form, and what both could call would make the binary's settings hang on the simulator.

use serde::de::DeserializeOwned;

use crate::error::SimError;

/// A word is taken for a slip of another one up to so many letters inserted, left out, changed or swapped.
const SLIPS_MAX: usize = 2;

/// Reads `text`; `least` says what must be in it.
pub(super) fn read<T: DeserializeOwned>(text: &str, least: &str) -> Result<T, SimError> {
    let says_something = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && line != "---" && line != "..."
    };
    if !text.lines().any(says_something) {
        return Err(SimError::Scenario(format!(
            "1:1: there is nothing in it; {least}"
        )));
    }
    // The reader's own limits hold anchors in check: so many nodes, aliases and levels, each anchor's copies counted.
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let Some(at) = error.location() else {
            return SimError::Scenario(plainly(&said));
        };
        SimError::Scenario(format!("{}:{}: {}", at.line(), at.column(), plainly(&said)))
    })
}

/// The reader's message without the places in it, which stand in front already, and with what helps.
fn plainly(said: &str) -> String {
    let said = said.split(" at line ").next().unwrap_or(said);
    if said.contains("limits breached") {
        return "too much comes out of it: more than 250,000 values, anchors and their copies counted; use count for many \
                of a kind"
            .to_owned();
    }
    if said == "expected string scalar" {
        return "a single value is expected, such as a name, 350Mi, 2s or 15%; not a list or a map"
            .to_owned();
    }
    // Loads are the only ones of this kind, and places of this.
    if said.starts_with("externally tagged enum") {
        return "a load is its name and what belongs to it, such as leak: { rate: 4Mi/s }".to_owned();
    }
    if said.contains("untagged enum RawPlace") {
        return "a node is expected; write its number from 0 on, each or anywhere".to_owned();
    }
    match meant(said) {
        Some(word) => format!("{said}; did you mean {word}?"),
        None => said.to_owned(),
    }
}

/// The nearest of the words that are expected where another one stands.
fn meant(said: &str) -> Option<&str> {
    let (wrong, rest) = said.split_once('`')?.1.split_once('`')?;
    let known = rest.strip_prefix(", expected one of ")?;
    let near = |word: &&str| slips(&wrong.to_lowercase(), &word.to_lowercase());
    let nearest = known.split(", ").min_by_key(near)?;
    let few = near(&nearest) <= SLIPS_MAX.min(wrong.chars().count() / 2);
    few.then_some(nearest)
}

/// How many letters have to be inserted, left out, changed or swapped with their neighbour to make `to` of `from`.
fn slips(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // Who wrote a sentence meant none of the words.
    if from.len() > 64 || to.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&above, column) + usize::from(letter != other);
            let mut least = changed.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(other)
                && to.get(column - 1) == Some(letter);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            line.push(least);
        }
        before = core::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (from, to, count) in [
            ("memory", "memory", 0),
            ("memroy", "memory", 1),
            ("memry", "memory", 1),
            ("cput", "cpus", 1),
            ("", "ab", 2),
            ("ab", "", 2),
            ("leek", "leak", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(slips(from, to), count, "{from} {to}");
        }
    }

    #[test]
    fn the_nearest_word_is_offered_and_only_where_one_is_near() {
        let said =
            |wrong: &str| format!("unknown field `{wrong}`, expected one of name, count, memory, kubelet");
        assert_eq!(meant(&said("memroy")), Some("memory"));
        assert_eq!(meant(&said("Count")), Some("count"));
        assert_eq!(meant(&said("weather")), None);
        // Two letters are no slip of four others.
        assert_eq!(meant(&said("xy")), None);
        assert_eq!(meant("something else"), None);
    }
}
