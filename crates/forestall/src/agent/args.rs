//! The flags of `agent`. Each one overrides the configuration file; none has a default here, so that a file can set it.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use forestall_decide::{Bytes, Span};

use crate::config::choice::{Mode, Preset, Rung, Victims};
use crate::config::{Listen, Record, listen, percent, quantity};

/// Arguments of `agent`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AgentArgs {
    /// How far to go: only watch; decide and record everything but change nothing; act [default: shadow]
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,

    /// Read settings from this YAML file; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where FILE is wrong or gone and no good one was kept, begin all the same, in shadow with the defaults, and take FILE once it is good
    #[arg(long, requires = "config")]
    pub(crate) or_shadow: bool,

    /// Whose rules to follow [default: forestall]
    #[arg(long, value_name = "PRESET")]
    pub(crate) preset: Option<Preset>,

    /// Whom to choose as a victim [default: culprit]
    #[arg(long, value_name = "WHOM")]
    pub(crate) victims: Option<Victims>,

    /// Go on in enforce mode although another memory killer runs on this machine
    #[arg(long)]
    pub(crate) beside: bool,

    /// Refuse to start if this rung could not be used here (repeatable)
    #[arg(long, value_name = "RUNG")]
    pub(crate) require: Vec<Rung>,

    /// Serve /metrics, /healthz and /readyz here; `none` switches it off [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen::parse_listen)]
    pub(crate) listen: Option<Listen>,

    /// Where the host's /proc and /sys are found [default: /]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Record what the agent sees into this directory; `none` switches it off [default: /var/lib/forestall/trace below --root]
    #[arg(long, value_name = "DIR", value_parser = PathBufValueParser::new().map(Record::from))]
    pub(crate) record: Option<Record>,

    /// The time between two looks while no wall is near [default: 1s; war-story-a: 2s; gist: 60s]; where there is nothing to
    /// lose and pressure triggers would wake it, the agent rests up to 10s
    #[arg(long, value_name = "TIME", value_parser = quantity::parse_time)]
    pub(crate) interval: Option<Span>,

    /// Preset gist: act below this much available memory [default: 350Mi]
    #[arg(long, value_name = "SIZE", value_parser = quantity::parse_size)]
    pub(crate) min_available: Option<Bytes>,

    /// Preset war-story-a: act above this percentage of used memory [default: 85]
    #[arg(long, value_name = "PERCENT", value_parser = percent::parse_percent)]
    pub(crate) used_percent: Option<u64>,

    /// Preset war-story-a: act above this percentage of page cache [default: 15]
    #[arg(long, value_name = "PERCENT", value_parser = percent::parse_percent)]
    pub(crate) cache_percent: Option<u64>,
}
