//! Where a world comes from: a scenario file, or a seed alone; and the policy that comes from a configuration file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use forestall_decide::{Policy, Preference};
use forestall_sim::{Scenario, World, parse_scenario, swarm, swarm_policy};

use crate::agent::AgentArgs;
use crate::config;
use crate::input::{self, Wanted};

/// A scenario as a file.
const SCENARIO: Wanted = Wanted {
    what: "scenario",
    bytes_max: 4 << 20,
    mark: b"",
    may_flow: true,
};
/// The word for random worlds.
const RANDOM: &str = "random";
/// More runs than this are a mistake in the range.
const SEEDS_MAX: u64 = 10_000_000;

/// A range of seeds, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    /// The first.
    pub(super) first: u64,
    /// The last.
    pub(super) last: u64,
}

impl Seeds {
    /// How many.
    pub(super) const fn count(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Reads `A..B`.
pub(super) fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let wrong = || format!("{text:?} is no range of seeds; write the first and the last, such as 1..100");
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let first = first.parse().map_err(|_| wrong())?;
    let last = last.parse().map_err(|_| wrong())?;
    if first > last {
        return Err(format!(
            "{text:?} is empty: the first seed is larger than the last"
        ));
    }
    if last - first >= SEEDS_MAX {
        return Err(format!("{text:?} has more than {SEEDS_MAX} seeds"));
    }
    Ok(Seeds { first, last })
}

/// Whose policy the agents of a world have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Agents {
    /// There are none.
    None,
    /// The one that belongs to the seed of a random world.
    OfWorld,
    /// This one.
    Given(Policy),
}

/// What a configuration file says of how agents decide.
pub(super) struct Given {
    pub(super) policy: Policy,
    pub(super) preferences: Vec<Preference>,
}

/// Where worlds come from.
pub(super) enum Source {
    /// A file.
    File(Box<Scenario>),
    /// Each seed has a world of its own.
    Random,
}

impl Source {
    /// Reads it. The inner error is what is wrong with the text, place first; the outer one that there is no text.
    pub(super) fn read(path: &Path) -> anyhow::Result<Result<Self, String>> {
        if path.as_os_str() == RANDOM && !path.exists() {
            return Ok(Ok(Self::Random));
        }
        let text = match input::read_text(path, &SCENARIO) {
            Ok(text) => text,
            Err(error) if error.is_about_content() => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let scenario = parse_scenario(&text).map_err(|error| format!("{}:{error}", path.display()));
        Ok(scenario.map(|scenario| Self::File(Box::new(scenario))))
    }

    pub(super) fn scenario(&self) -> Option<&Scenario> {
        match self {
            Self::File(scenario) => Some(scenario),
            Self::Random => None,
        }
    }

    /// The seed to use where none is given.
    pub(super) fn seed(&self) -> u64 {
        self.scenario().map_or(1, |scenario| scenario.world.seed)
    }

    /// The agents that belong to it. Random worlds are there to try the engine in, so they have some.
    pub(super) fn agents(&self) -> Agents {
        match self {
            Self::File(scenario) => scenario.world.policy.map_or(Agents::None, Agents::Given),
            Self::Random => Agents::OfWorld,
        }
    }

    /// The world of a seed.
    pub(super) fn world(&self, seed: u64, agents: Agents) -> World {
        let policy = match agents {
            Agents::None => None,
            Agents::OfWorld => Some(swarm_policy(seed)),
            Agents::Given(policy) => Some(policy),
        };
        match self {
            Self::File(scenario) => World {
                seed,
                policy,
                ..scenario.world.clone()
            },
            Self::Random => swarm(seed, policy),
        }
    }

    /// Puts what another configuration prefers in the place of what the scenario does.
    pub(super) fn prefer(&mut self, preferences: &[Preference]) {
        if let Self::File(scenario) = self {
            for pod in &mut scenario.world.pods {
                pod.prefer(preferences);
            }
        }
    }

    pub(super) fn title(&self) -> &str {
        self.scenario()
            .map_or("random worlds", |scenario| &scenario.world.title)
    }
}

/// The policy of a configuration file, as the agent would run it on each of a scenario's nodes.
pub(super) fn read_policy(path: &Path, scenario: Option<&Scenario>) -> anyhow::Result<Given> {
    let settings = config::load(&AgentArgs {
        config: Some(PathBuf::from(path)),
        ..AgentArgs::default()
    })?;
    let nodes = scenario.map_or(&[][..], |scenario| &scenario.world.nodes);
    for node in nodes.iter().filter(|node| node.agent) {
        config::checked::check_preset_against(&settings.policy, node.memory).with_context(|| {
            let (path, node) = (path.display(), &node.name);
            format!("{path}: on node {node}")
        })?;
    }
    Ok(Given {
        policy: settings.policy,
        preferences: settings.preferences,
    })
}
