//! What a cluster is made of, as whoever starts this harness hands it in: `cargo xtask e2e` sees to it that it is there. And what is
//! wanted of a run.
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// A folder with `vmlinuz`, `initrd` and `modules`.
    pub(crate) machine: PathBuf,
    pub(crate) qemu: PathBuf,
    pub(crate) busybox: PathBuf,
    /// The static binary.
    pub(crate) agent: PathBuf,
    /// Who works in pods: leaks, reads, holds.
    pub(crate) worker: PathBuf,
    /// Container images, as files that every node imports.
    pub(crate) images: Vec<PathBuf>,
    /// The manifests as they are handed out.
    pub(crate) deploy: PathBuf,
    /// The files of a node that are text.
    pub(crate) guest: PathBuf,
    /// Where the folder of a run is made.
    pub(crate) cache: PathBuf,
    /// Where logs are left.
    pub(crate) logs: PathBuf,
    /// The folders with Kubernetes' programs and those of others.
    pub(crate) programs: Vec<PathBuf>,
}

/// What is wanted of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Only the names of scenarios.
    pub(crate) list: bool,
    pub(crate) all: bool,
    pub(crate) keep: bool,
    pub(crate) times: u32,
    pub(crate) names: Vec<String>,
}

/// Paths by the part that is at them.
pub(crate) type Paths = BTreeMap<String, Vec<PathBuf>>;

/// Reads what is wanted, and `--PART PATH …`.
pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(Paths, Wanted)> {
    let mut paths = Paths::new();
    let mut wanted = Wanted {
        list: false,
        all: false,
        keep: false,
        times: 1,
        names: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut value = |kind: &str| {
            let value = arguments.next();
            value.with_context(|| format!("{argument} wants a {kind}"))
        };
        match argument.strip_prefix("--") {
            None => wanted.names.push(argument),
            Some("list") => wanted.list = true,
            Some("all") => wanted.all = true,
            Some("keep") => wanted.keep = true,
            Some("times") => wanted.times = value("number")?.parse().context("--times wants a number")?,
            Some(part) if PARTS.contains(&part) => {
                let path = PathBuf::from(value("path")?);
                paths.entry(part.to_owned()).or_default().push(path);
            }
            Some(_) => bail!("{argument} is not known; `cargo xtask e2e --help` says what is"),
        }
    }
    Ok((paths, wanted))
}

const PARTS: [&str; 11] = [
    "machine", "qemu", "busybox", "agent", "worker", "images", "deploy", "guest", "cache", "logs", "programs",
];

impl Parts {
    /// Takes them from what was handed in.
    pub(crate) fn take(mut paths: Paths) -> Result<Self> {
        let mut all = |part: &str| {
            let found = paths.remove(part);
            found.with_context(|| format!("--{part} is missing; `cargo xtask e2e` gives it"))
        };
        let mut one = |part: &str| all(part).map(|mut paths| paths.remove(0));
        Ok(Self {
            machine: one("machine")?,
            qemu: one("qemu")?,
            busybox: one("busybox")?,
            agent: one("agent")?,
            worker: one("worker")?,
            deploy: one("deploy")?,
            guest: one("guest")?,
            cache: one("cache")?,
            logs: one("logs")?,
            images: all("images")?,
            programs: all("programs")?,
        })
    }

    /// One of the cluster's programs.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let mut paths = self.programs.iter().map(|folder| folder.join(name));
        paths
            .find(|path| path.is_file())
            .with_context(|| format!("{name} is no tool of any module"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Paths, Wanted)> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_wanted_is_told_from_where_things_are() {
        let (paths, wanted) = read("--qemu q --programs a --all --times 20 some-name --programs b")
            .expect("all of it is known");
        assert_eq!(paths["programs"], [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!((wanted.all, wanted.keep, wanted.times), (true, false, 20));
        assert_eq!(wanted.names, ["some-name"]);
        let missing = Parts::take(paths).expect_err("most are missing");
        assert!(missing.to_string().contains("--machine"), "{missing}");
    }

    #[test]
    fn odd_words_are_refused() {
        for line in ["--gate", "--times", "--times many", "--qemu"] {
            let said = read(line).expect_err(line).to_string();
            let word = line.split(' ').next().expect("a word");
            assert!(said.contains(word), "{said}");
        }
    }
}
