//! Scenario files: YAML that people write, turned into a world or refused with line and column.
//!
//! `text`, `words` and `plain` read single values, `raw` the file as typed, `checked` and its neighbours what it means, `bounds` how much, `said` what is
//! wrong with it. It refuses unknown fields, values without units, negative sizes, circles, and to guess; `docs/reference/scenario-format.md` says what may be written.

mod bounds;
mod checked;
mod load;
mod plain;
mod pod;
mod policy;
mod raw;
mod room;
mod said;
#[cfg(test)]
mod tests;
mod text;
mod words;

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
    let raw: raw::RawScenario = said::read(text, "write at least title, duration and nodes")?;
    checked::check(&raw)
}
