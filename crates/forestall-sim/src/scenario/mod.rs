//! Scenario files: YAML that people write, turned into a world or refused with line and column.
//!
//! `text` reads single values, `raw` the file as typed, `checked` what it means. It refuses unknown fields, values without
//! units, negative sizes, circles, and to guess; `docs/reference/scenario-format.md` says what may be written.

mod checked;
mod load;
mod raw;
#[cfg(test)]
mod tests;
mod text;

use crate::error::SimError;
use crate::spec::World;

/// A scenario: a world and what its file says about itself.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows, in a few sentences.
    pub about: String,
    /// Which published figures come out.
    pub reproduces: Vec<String>,
    /// Which published claims do not hold here, and why.
    pub does_not_hold: Vec<String>,
    /// The world.
    pub world: World,
}

/// Reads a scenario. The error starts with `line:column` where there is one.
pub fn parse_scenario(text: &str) -> Result<Scenario, SimError> {
    let says_something = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#') && line != "---"
    };
    if !text.lines().any(says_something) {
        return Err(SimError::Scenario(
            "1:1: there is nothing in it; write at least title, duration and nodes".to_owned(),
        ));
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
        strict_booleans: true,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
    };
    let raw: raw::RawScenario = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let Some(at) = error.location() else {
            return SimError::Scenario(said);
        };
        // The place stands in front, where editors have it; once is enough.
        let said = said.replace(&format!(" at line {}, column {}", at.line(), at.column()), "");
        SimError::Scenario(format!("{}:{}: {said}", at.line(), at.column()))
    })?;
    checked::check(&raw)
}
