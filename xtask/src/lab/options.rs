//! The lab's command line.
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use forestall_lab_init::plan::{Hierarchy, Trial};

use super::kernels::{self, Kernel};
use super::scenario::{self, Scenario};

pub(crate) const USAGE: &str = "\
usage: cargo xtask lab [OPTION…] [SCENARIO…]
       cargo xtask lab --try rights|kills|storms|brakes [OPTION…]

  --list              the scenarios and kernels, and nothing else
  --smoke             one kernel, four scenarios, with and without the agent (a few minutes)
  --kernel V,…        which kernels (default: all)
  --hierarchy v1|v2   which cgroup hierarchy has the memory (default v2; v1 on the kernels before 6.12)
  --try rights        instead of a story: which pressure triggers and rights each set of rights has, by trying
  --try kills         instead of a story: what tracing and the cgroups' counters tell of kills of every kind
  --try storms        instead of a story: what the agent's ledger keeps of a thousand kills, and of a storm without any
  --try brakes        instead of a story: what a brake comes to, and whether one is left behind by an agent that ends by force
  --memory MIB        the guest's memory (default 1024; scenarios that need a certain amount keep it)
  --seed N            the first seed (default 1)
  --runs N            how many seeds (default 1)
  --only-with         only runs with the agent
  --only-without      only runs without it
  --agent-args \"…\"    further arguments for the agent
  --full-caps         the agent keeps every capability, not only the one that is shipped
  --binary FILE       a static forestall to use instead of building one
  --jobs N            guests at a time, 1 (default) or 2
  --record DIR        in runs without the agent one that only watches and records, and its recording there; no --into
  --counted-clock     a guest's clock counts its instructions, so that other work on this machine does not slow it down
  --keep-logs DIR     keep every guest's console, reports and plan there (default: target/lab/logs, until a run of the same name)
  --into FILE         add to the results that FILE holds, and leave out the runs that it has (those with the agent: of the
                      same commit); an interrupted call goes on where it was (default: a new target/lab/results.json)
  --write             also write docs/benchmarks/lab.md";

/// What was asked for.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Options {
    pub(crate) list: bool,
    pub(crate) help: bool,
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) trial: Option<Trial>,
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) memory_mib: u32,
    pub(crate) seed: u64,
    pub(crate) runs: u64,
    pub(crate) with: bool,
    pub(crate) without: bool,
    pub(crate) agent_args: Vec<String>,
    pub(crate) full_caps: bool,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) jobs: usize,
    pub(crate) record: Option<PathBuf>,
    pub(crate) counted_clock: bool,
    pub(crate) keep_logs: Option<PathBuf>,
    pub(crate) into: Option<PathBuf>,
    pub(crate) write: bool,
}

/// The kernel of the smoke run.
const SMOKE_KERNEL: &str = "6.1";
/// Its scenarios: a leak in a pod, one outside of every pod, one in no RSS, and a load that only looks like a leak.
const SMOKE_SCENARIOS: [&str; 4] = ["leak-container", "host-leak", "shmem", "healthy-plateau"];

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(args: Vec<String>) -> Result<Self> {
        let mut options = Self {
            list: false,
            help: false,
            kernels: Vec::new(),
            hierarchy: Hierarchy::V2,
            trial: None,
            scenarios: Vec::new(),
            memory_mib: 1024,
            seed: 1,
            runs: 1,
            with: true,
            without: true,
            agent_args: Vec::new(),
            full_caps: false,
            binary: None,
            jobs: 1,
            record: None,
            counted_clock: false,
            keep_logs: None,
            into: None,
            write: false,
        };
        let mut smoke = false;
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .with_context(|| format!("{arg} wants a value; see --help"))
            };
            match arg.as_str() {
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                "--smoke" => smoke = true,
                "--kernel" => options.kernels = kernels_named(&value()?)?,
                "--hierarchy" => options.hierarchy = hierarchy_named(&value()?)?,
                "--try" => match value()?.as_str() {
                    "rights" => options.trial = Some(Trial::Rights),
                    "kills" => options.trial = Some(Trial::Kills),
                    "storms" => options.trial = Some(Trial::Storms),
                    "brakes" => options.trial = Some(Trial::Brakes),
                    other => bail!("--try knows `rights`, `kills`, `storms` and `brakes`, and not {other:?}"),
                },
                "--memory" => options.memory_mib = number(&arg, &value()?)?,
                "--seed" => options.seed = number(&arg, &value()?)?,
                "--runs" => options.runs = number(&arg, &value()?)?,
                "--only-with" => options.without = false,
                "--only-without" => options.with = false,
                "--agent-args" => {
                    options.agent_args = value()?.split_whitespace().map(str::to_owned).collect();
                }
                "--full-caps" => options.full_caps = true,
                "--binary" => options.binary = Some(value()?.into()),
                "--jobs" => options.jobs = number(&arg, &value()?)?,
                "--record" => options.record = Some(value()?.into()),
                "--counted-clock" => options.counted_clock = true,
                "--into" => options.into = Some(value()?.into()),
                "--write" => options.write = true,
                "--keep-logs" => options.keep_logs = Some(value()?.into()),
                flag if flag.starts_with('-') => bail!("unknown option {flag}\n{USAGE}"),
                name => options.scenarios.push(scenario::named(name).with_context(|| {
                    format!("no scenario is called {name}; `cargo xtask lab --list` names them")
                })?),
            }
        }
        if !options.with && !options.without {
            bail!("--only-with and --only-without leave nothing to run");
        }
        if options.into.is_some() && (options.record.is_some() || options.counted_clock) {
            bail!("--into keeps runs of the lab as it is: neither --record nor --counted-clock");
        }
        if options.trial.is_some() && (smoke || !options.scenarios.is_empty()) {
            bail!("--try tells no story: give it no scenario and no --smoke");
        }
        if !(1..=2).contains(&options.jobs) {
            bail!("--jobs is 1 or 2: an emulated guest wants a core of its own");
        }
        if options.kernels.is_empty() {
            options.kernels = if smoke {
                kernels_named(SMOKE_KERNEL)?
            } else {
                kernels::ALL
                    .into_iter()
                    .filter(|kernel| options.hierarchy == Hierarchy::V2 || kernel.has_v1)
                    .collect()
            };
        }
        if options.hierarchy == Hierarchy::V1
            && let Some(kernel) = options.kernels.iter().find(|kernel| !kernel.has_v1)
        {
            bail!(
                "kernel {} is built without cgroup v1's memory controller",
                kernel.name
            );
        }
        if options.scenarios.is_empty() {
            options.scenarios = scenario::ALL
                .iter()
                .filter(|scenario| !smoke || SMOKE_SCENARIOS.contains(&scenario.name))
                .collect();
        }
        Ok(options)
    }
}

fn hierarchy_named(name: &str) -> Result<Hierarchy> {
    match name {
        "v1" => Ok(Hierarchy::V1),
        "v2" => Ok(Hierarchy::V2),
        other => bail!("--hierarchy is v1 or v2, not {other:?}"),
    }
}

fn kernels_named(names: &str) -> Result<Vec<Kernel>> {
    let known = || kernels::ALL.map(|kernel| kernel.name).join(", ");
    names
        .split(',')
        .map(|name| {
            Kernel::named(name).with_context(|| format!("no kernel is called {name}; known are {}", known()))
        })
        .collect()
}

fn number<N: std::str::FromStr>(option: &str, text: &str) -> Result<N> {
    text.parse()
        .ok()
        .with_context(|| format!("{option} wants a number, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options> {
        Options::parse(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn the_smoke_run_is_one_kernel_and_four_scenarios() {
        let options = parse(&["--smoke"]).unwrap();
        assert_eq!(options.kernels.len(), 1);
        assert_eq!(options.scenarios.len(), 4);
    }

    #[test]
    fn everything_is_the_default() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.kernels.len(), kernels::ALL.len());
        assert_eq!(options.scenarios.len(), scenario::ALL.len());
    }

    // Debian's 6.12 says in its configuration that CONFIG_MEMCG_V1 is not set, and its 7.2 holds no name of a v1 file of it.
    #[test]
    fn cgroup_v1_is_asked_only_of_kernels_that_have_it() {
        let names = |options: Options| {
            options
                .kernels
                .iter()
                .map(|kernel| kernel.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(parse(&["--hierarchy", "v1"]).unwrap()), ["5.10", "6.1"]);
        assert!(parse(&["--hierarchy", "v1", "--kernel", "6.12"]).is_err());
    }

    #[test]
    fn what_is_unknown_or_contradicts_itself_is_refused() {
        assert!(parse(&["--what"]).is_err());
        assert!(parse(&["no-such-scenario"]).is_err());
        assert!(parse(&["--kernel", "2.6"]).is_err());
        assert!(parse(&["--only-with", "--only-without"]).is_err());
        assert!(parse(&["--seed"]).is_err());
        assert!(parse(&["--jobs", "3"]).is_err());
        assert!(parse(&["--hierarchy", "v3"]).is_err());
        assert!(parse(&["--try", "luck"]).is_err());
        assert!(parse(&["--try", "rights", "burst"]).is_err());
        assert!(parse(&["--into", "x", "--record", "y"]).is_err());
        assert!(parse(&["--into", "x", "--counted-clock"]).is_err());
    }
}
