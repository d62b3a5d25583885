//! A trial of rights: what the kernel lets each set of rights do, found by doing it and not by its version.
//!
//! Each set is given to a process of its own, which tries the guard's pressure triggers and the agent's self-test with the
//! very code that the agent uses, and prints what came of it. Nothing is killed or reclaimed.
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use forestall_act::{CgroupVersion, Release, SelfTest, self_test};
use forestall_kernel::psi_trigger::probe_windows;
use forestall_lab_init::plan::Hierarchy;
use forestall_lab_init::report::{End, PressureFile, Report};
use forestall_lab_init::rights::Rights;
use serde::{Deserialize, Serialize};

use crate::launch::{self, Place};
use crate::machine;
use crate::node::Node;

/// What one process is to try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    rights: Rights,
    hierarchy: Hierarchy,
    kubepods: PathBuf,
    files: Vec<(PressureFile, PathBuf)>,
}

/// Has every set of rights tried, and sends what came of it.
pub(crate) fn run(node: &Node) -> Result<()> {
    let kubepods = node.tree.kubepods();
    let lent = node.tree.root().join("lent");
    node.tree.make(&lent)?;
    let lent = lent.join("memory.pressure");
    if lent.exists() {
        std::os::unix::fs::chown(&lent, Some(Rights::NOBODY), Some(Rights::NOBODY))
            .with_context(|| format!("lending {}", lent.display()))?;
    }
    let files = vec![
        (PressureFile::Machine, PathBuf::from("/proc/pressure/memory")),
        (PressureFile::RootCgroup, node.tree.root().join("memory.pressure")),
        (PressureFile::ChildCgroup, kubepods.join("memory.pressure")),
        (PressureFile::LentCgroup, lent),
    ];
    for rights in Rights::ALL {
        let order = Order {
            rights,
            hierarchy: node.plan.hierarchy,
            kubepods: kubepods.clone(),
            files: files.clone(),
        };
        let place = Place {
            cgroup: node.tree.root().to_owned(),
            oom_score_adj: 0,
            rights,
        };
        let words = [
            launch::named("trial")?,
            "try".into(),
            serde_json::to_string(&order)?,
        ];
        let output = launch::placed(&place, &words)?
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("trying as {}", rights.label()))?;
        if !output.status.success() {
            bail!("the trial as {} failed: {}", rights.label(), output.status);
        }
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let report = serde_json::from_str(line).with_context(|| format!("a trial printed {line:?}"))?;
            node.reporter.send(&report);
        }
    }
    node.reporter.send(&Report::Ended {
        at_millis: machine::now_millis(),
        why: End::Settled,
        oom_kills: machine::oom_kills(),
        starved_millis: 0,
    });
    Ok(())
}

/// `try ORDER`: tries, with the rights that this process has, and prints reports.
pub(crate) fn carry_out(order: &Order) -> Result<()> {
    let rights = order.rights;
    for (file, path) in &order.files {
        let (windows_micros, why_not) = match probe_windows(path) {
            Ok(allowed) => (allowed.iter().collect(), None),
            Err(error) => (Vec::new(), Some(error.label().to_owned())),
        };
        say(&Report::Triggers {
            rights,
            file: *file,
            windows_micros,
            why_not,
        })?;
    }
    let proc_root = File::open("/proc").context("opening /proc")?;
    let kubepods =
        File::open(&order.kubepods).with_context(|| format!("opening {}", order.kubepods.display()))?;
    let version = match order.hierarchy {
        Hierarchy::V2 => CgroupVersion::V2,
        Hierarchy::V1 => CgroupVersion::V1,
    };
    let tested = self_test(&SelfTest {
        proc_root: proc_root.as_fd(),
        group: Some((kubepods.as_fd(), version)),
        release: Release::default(),
    });
    for right in tested {
        say(&Report::Right {
            rights,
            name: right.name.to_owned(),
            works: right.works,
            errno: right.errno.map(|errno| errno.to_string()),
            cost: right.cost.to_owned(),
        })?;
    }
    Ok(())
}

fn say(report: &Report) -> Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
