//! The project's own chores: `cargo xtask CHORE …`. Each chore is a module; this file only picks one.
//!
//! One program instead of scripts, so that a chore is type-checked, works the same on every machine and can say what it
//! lacks. What it refuses to do: publish, push, or reach anything but package registries through their own clients.

use std::process::ExitCode;

mod bench;
mod binary;
mod budget;
mod calibrate;
mod ci;
mod dist;
mod e2e;
mod lab;
mod oracle;
mod replay;
mod shell;
mod soak;
mod steps;
mod test;
mod tools;

const USAGE: &str = "\
usage: cargo xtask CHORE

  test [--all]     every test of the workspace, then the lab's smoke run; --all: every kernel and scenario of the lab
  ci               formatting, lints, dependencies, documentation, the arm64 check, budgets and the image
  lab …            scenarios with real kills under real kernels; `cargo xtask lab --list` names them
  e2e …            scenarios on a real Kubernetes, built from pinned sources (needs root and Go)
  dist             the static binary and a container image of it, without a container engine
  calibrate …      the simulator's kills beside the lab's; --measure runs the lab for it, --write keeps the page
  oracle …         the shadow kubelet against Kubernetes' own code: 10,000 random cases of each kind (needs Go)
  replay           every trace under every policy, the same from debug and release builds; how long a day takes
  soak …           1,000 random worlds of fresh seeds under all checkers; --seeds N, --from SEED
  bench [--write]  what forestall costs beside its peers; --write keeps the figures in docs/benchmarks";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run_chore(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A chore.
struct Chore {
    name: &'static str,
    /// What `--help` prints, whatever else stands beside it; `None`: the chore reads that itself.
    usage: Option<&'static str>,
    run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

impl Chore {
    const fn new(
        name: &'static str,
        usage: &'static str,
        run: fn(&[String]) -> anyhow::Result<ExitCode>,
    ) -> Self {
        let usage = Some(usage);
        Self { name, usage, run }
    }
}

/// All of them.
const CHORES: [Chore; 10] = [
    Chore::new("test", test::USAGE, test::run),
    Chore::new("ci", ci::USAGE, ci::run),
    Chore {
        name: "lab",
        // It takes words that are the agent's.
        usage: None,
        run: |rest| lab::run(rest.to_vec()),
    },
    Chore::new("e2e", e2e::USAGE, e2e::run),
    Chore::new("dist", dist::USAGE, dist::run),
    Chore::new("calibrate", calibrate::USAGE, calibrate::run),
    Chore::new("oracle", oracle::USAGE, oracle::run),
    Chore::new("replay", replay::USAGE, replay::run),
    Chore::new("soak", soak::USAGE, soak::run),
    Chore::new("bench", bench::USAGE, bench::run),
];

fn run_chore(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("", arguments),
    };
    let asks = |word: &str| matches!(word, "--help" | "-h");
    if asks(name) || name == "help" {
        println!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(2));
    };
    match chore.usage.filter(|_| rest.iter().any(|word| asks(word))) {
        Some(usage) => {
            println!("{usage}");
            Ok(ExitCode::SUCCESS)
        }
        None => (chore.run)(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chore_is_named_and_says_how_it_is_called() {
        for chore in &CHORES {
            let line = format!("\n  {} ", chore.name);
            assert!(USAGE.contains(&line), "{}", chore.name);
            if let Some(usage) = chore.usage {
                let called = format!("usage: cargo xtask {}", chore.name);
                assert!(usage.starts_with(&called), "{usage}");
            }
            for word in ["--help", "-h"] {
                let asked = run_chore(&[chore.name.to_owned(), word.to_owned()]);
                assert_eq!(
                    asked.expect(chore.name),
                    ExitCode::SUCCESS,
                    "{} {word}",
                    chore.name
                );
            }
        }
    }
}
