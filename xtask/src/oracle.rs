//! `cargo xtask oracle`: the shadow kubelet against Kubernetes' own code, in as many random cases as asked for.
//!
//! `oracle/` is a Go program of the kubelet's own modules, pinned there; it makes cases up from a seed and answers them, and
//! `crates/forestall-decide/tests/oracle/` compares. It refuses to decide which side is right: Kubernetes is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::tools::cache;

#[path = "../../crates/forestall-decide/tests/oracle/mod.rs"]
mod cases;

use cases::{Kind, check};

/// The kinds of cases, as the Go program calls them.
const KINDS: [(Kind, &str); 4] = [
    (Kind::Quantity, "quantity"),
    (Kind::Share, "share"),
    (Kind::Rank, "rank"),
    (Kind::Loop, "loop"),
];
/// So many cases of each kind unless asked otherwise.
const CASES: usize = 10_000;
/// So many are recorded, always of this seed, for `cargo test`.
const RECORDED: usize = 500;
const RECORDED_SEED: u64 = 1;
/// So many differences are shown of each kind.
const SHOWN: usize = 5;

pub(crate) const USAGE: &str = "\
usage: cargo xtask oracle [OPTION…]

  --cases COUNT  so many random cases of each kind (default 10000)
  --seed SEED    of this seed (default 2)
  --record       instead keep 500 cases of each kind for cargo test";

struct Options {
    cases: usize,
    seed: u64,
    record: bool,
}

/// Builds the oracle and compares; a difference is a failure.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let options = read_options(arguments)?;
    let oracle = build()?;
    if options.record {
        return record(&oracle);
    }
    println!("seed {}", options.seed);
    let mut differing = 0;
    for (kind, name) in KINDS {
        let lines = ask(&oracle, name, options.cases, options.seed)?;
        let differences: Vec<(&str, String)> = lines
            .lines()
            .filter_map(|line| check(kind, line).err().map(|what| (line, what)))
            .collect();
        let count = lines.lines().count();
        println!("{name:9} {count:6} cases {:6} differ", differences.len());
        for (line, what) in differences.iter().take(SHOWN) {
            println!("    {what}\n        in {line}");
        }
        if count != options.cases {
            bail!(
                "the oracle gave {count} cases of {name} instead of {}",
                options.cases
            );
        }
        differing += differences.len();
    }
    Ok(if differing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read_options(arguments: &[String]) -> Result<Options> {
    let mut options = Options {
        cases: CASES,
        seed: RECORDED_SEED + 1,
        record: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            rest.next()
                .with_context(|| format!("{argument} wants a number\n{USAGE}"))
        };
        match argument.as_str() {
            "--cases" => options.cases = value()?.parse().context("--cases wants a number")?,
            "--seed" => options.seed = value()?.parse().context("--seed wants a number")?,
            "--record" => options.record = true,
            _ => bail!("{USAGE}"),
        }
    }
    Ok(options)
}

/// Go's modules and build results stay in the cache, so that only the first build takes its ten minutes.
fn build() -> Result<PathBuf> {
    let home = cache()?.join("go");
    let binary = home.join("oracle");
    let mut command = shell::program(
        "go",
        &["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"],
    );
    command
        .arg(&binary)
        .arg(".")
        .current_dir(shell::root().join("oracle"))
        .env("GOMODCACHE", home.join("mod"))
        .env("GOCACHE", home.join("build"))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "");
    shell::run(&mut command).context("the oracle needs Go 1.26 or later and its module proxy")?;
    Ok(binary)
}

fn ask(oracle: &Path, kind: &str, count: usize, seed: u64) -> Result<String> {
    shell::output(&mut shell::program(
        oracle,
        &[kind, &count.to_string(), &seed.to_string()],
    ))
}

fn record(oracle: &Path) -> Result<ExitCode> {
    let folder = shell::root().join("crates/forestall-decide/tests/oracle");
    for (_, name) in KINDS {
        let lines = ask(oracle, name, RECORDED, RECORDED_SEED)?;
        let path = folder.join(format!("{name}.tsv"));
        std::fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}
