//! `cargo xtask replay`: the same trace and policy give the same bytes, from a debug and from a release build, twice each; and
//! how long a day of a full node takes. The time is reported and not judged: it is the machine's as much as ours.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{binary, shell};

const POLICIES: [&str; 4] = ["recorded", "forestall", "war-story-a", "gist"];
const FORMATS: [&str; 2] = ["table", "json"];
/// A full node: so many pods, and a day of looks a second apart.
const PODS: &str = "110";
const SECONDS: &str = "86400";

pub(crate) const USAGE: &str = "\
usage: cargo xtask replay

  every trace of traces/ under every policy, from a debug build and twice from a release build: the answers have to be the same,
  byte for byte; then how long a made-up day of a full node takes";

/// Runs it; fails where two answers differ.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    if !arguments.is_empty() {
        bail!("{USAGE}");
    }
    let release = compare()?;
    time_a_day(&release)?;
    Ok(ExitCode::SUCCESS)
}

/// The part that is judged, with the release build as it ships; returns where that lies.
pub(crate) fn compare() -> Result<PathBuf> {
    let debug = build(&["-p", "forestall"], "debug", "forestall")?;
    let release = binary::build("forestall")?;
    let mut compared = 0;
    for trace in traces(&shell::root().join("traces"))? {
        for policy in POLICIES {
            for format in FORMATS {
                let answers =
                    [&debug, &release, &release].map(|binary| replay(binary, &trace, policy, format));
                let [first, second, third] = answers;
                let first = first?;
                if first != second? || first != third? {
                    bail!(
                        "{} under {policy}, {format}: the answers differ between builds or runs",
                        trace.display()
                    );
                }
                compared += 1;
            }
        }
    }
    if compared == 0 {
        bail!("traces/ holds no trace, so nothing was compared");
    }
    println!("replay: {compared} answers are the same in debug, release and release again");
    Ok(release)
}

/// Makes up a day of a full node, as a trace that is to be removed again.
pub(crate) fn make_a_day() -> Result<PathBuf> {
    let example = ["-p", "forestall-trace", "--release", "--example", "synthetic"];
    let writer = build(&example, "release/examples", "synthetic")?;
    let trace = shell::target_directory()?.join("day.ftr");
    shell::run(Command::new(writer).arg(&trace).args([PODS, SECONDS]))?;
    Ok(trace)
}

fn time_a_day(release: &Path) -> Result<()> {
    let trace = make_a_day()?;
    let size = std::fs::metadata(&trace)
        .context("looking at the made-up trace")?
        .len();
    let begun = Instant::now();
    replay(release, &trace, "forestall", "json")?;
    println!(
        "replay: 24 h at 1 Hz with {PODS} pods ({} MiB) under two policies in {:.1} s",
        size >> 20,
        begun.elapsed().as_secs_f64()
    );
    std::fs::remove_file(&trace).with_context(|| format!("removing {}", trace.display()))
}

/// Builds something and says where it lies.
pub(crate) fn build(arguments: &[&str], folder: &str, name: &str) -> Result<PathBuf> {
    let arguments: Vec<&str> = std::iter::once("build")
        .chain(arguments.iter().copied())
        .collect();
    shell::run(&mut shell::cargo(&arguments))?;
    Ok(shell::target_directory()?.join(folder).join(name))
}

fn traces(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut traces = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "ftr") {
            traces.push(path);
        }
    }
    traces.sort();
    Ok(traces)
}

fn replay(binary: &Path, trace: &Path, policy: &str, format: &str) -> Result<(Option<i32>, Vec<u8>)> {
    let output = Command::new(binary)
        .arg("replay")
        .arg(trace)
        .args(["--policy", policy, "-o", format])
        .output()
        .with_context(|| format!("starting {}", binary.display()))?;
    // 4: something is missing from the trace, which is an answer like any other.
    if !matches!(output.status.code(), Some(0 | 4)) {
        bail!(
            "{} under {policy}: {}",
            trace.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok((output.status.code(), output.stdout))
}
