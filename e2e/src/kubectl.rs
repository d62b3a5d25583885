//! The cluster as a person asks it.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// `kubectl`, as an administrator.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    /// A folder of manifests for each profile of the agent.
    profiles: PathBuf,
}

impl Kubectl {
    pub(crate) fn new(program: &Path, config: &Path, profiles: &Path) -> Self {
        Self {
            program: program.to_owned(),
            config: config.to_owned(),
            profiles: profiles.to_owned(),
        }
    }

    /// The program itself, for a person.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// What it needs beside the network, for a person.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Where the agent's manifests are.
    pub(crate) fn profiles(&self) -> &Path {
        &self.profiles
    }

    /// What it prints.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        self.feed(words, "")
    }

    /// What it prints as JSON.
    pub(crate) fn get(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = [&["get", "-o", "json"], words].concat();
        let text = self.run(&words)?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {} printed no JSON", words.join(" ")))
    }

    /// Has the cluster take what stands in this text, YAML or JSON.
    pub(crate) fn apply(&self, text: &str) -> Result<()> {
        self.feed(&["apply", "-f", "-"], text).map(drop)
    }

    /// Has it take a profile of the agent as whoever deploys it does.
    pub(crate) fn apply_profile(&self, name: &str) -> Result<()> {
        let folder = self.profiles.join(name).display().to_string();
        self.run(&["apply", "-k", &folder]).map(drop)
    }

    /// Has it forget all that a profile brought, and waits until it has.
    pub(crate) fn delete_profile(&self, name: &str) -> Result<()> {
        let folder = self.profiles.join(name).display().to_string();
        let words = [
            "delete",
            "-k",
            &folder,
            "--ignore-not-found",
            "--wait",
            "--timeout=120s",
        ];
        self.run(&words).map(drop)
    }

    fn feed(&self, words: &[&str], text: &str) -> Result<String> {
        let mut child = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.config)
            .arg("--request-timeout=30s")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read it says why.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}", words.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
