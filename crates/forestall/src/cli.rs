//! The command line as typed. Man page, completions and `--help` are generated from these types; what the values mean
//! once checked is the business of `config` and of each command.

use clap::{Parser, Subcommand};

use crate::agent::AgentArgs;
use crate::commands::check_config::CheckConfigArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::explain::ExplainArgs;
use crate::commands::free::FreeArgs;
use crate::commands::kills::KillsArgs;
use crate::commands::leak::LeakArgs;
use crate::commands::man::ManArgs;
use crate::commands::node::NodeArgs;
use crate::commands::replay::ReplayArgs;
use crate::commands::simulate::SimulateArgs;
use crate::commands::trace::TraceArgs;

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  clean
  1  error
  2  wrong usage or configuration
  3  findings
  4  data stale or partial
  5  refused for safety";

/// Guards a Kubernetes node, or any Linux machine, against memory kills.
#[derive(Debug, Parser)]
#[command(name = "forestall", bin_name = "forestall", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Guard this machine: watch every limit whose crossing kills, and act before it is reached
    Agent(AgentArgs),
    /// Show where this machine's memory goes and how far away each limit is
    Node(NodeArgs),
    /// Show free memory as it really is, also inside a container
    Free(FreeArgs),
    /// Explain an out-of-memory kill: who died, at which limit, what filled it, what to change
    Explain(ExplainArgs),
    /// List the out-of-memory kills of this machine's kernel or of a log
    Kills(KillsArgs),
    /// Allocate memory in steps, to try out what happens
    Leak(LeakArgs),
    /// Show what another policy would have decided on what was recorded
    Replay(ReplayArgs),
    /// Look into a recording of what the agent saw, cut it, take the names out of it
    Trace(TraceArgs),
    /// Try a policy in a simulated world before it is trusted with a real one
    Simulate(SimulateArgs),
    /// Check a configuration file and print the policy it results in
    CheckConfig(CheckConfigArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
}
