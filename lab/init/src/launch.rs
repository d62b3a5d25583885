//! Starting processes where they belong: in a cgroup, with an `oom_score_adj`, a PID namespace, the right capabilities.
//!
//! A process that is to run in a container first runs this program as `enter`, which moves itself and then becomes the
//! other: between fork and exec no code of ours has to run in the parent's image.
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use forestall_lab_init::plan::Work;
use forestall_lab_init::rights::Rights;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, UnshareFlags};
use serde::{Deserialize, Serialize};

/// This program.
const SELF: &str = "/init";

/// Where a process is to live.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its cgroup.
    pub(crate) cgroup: std::path::PathBuf,
    /// Its `oom_score_adj`.
    pub(crate) oom_score_adj: i32,
    /// What it is allowed.
    pub(crate) rights: Rights,
}

/// A command that runs `work` under the process name `name`.
pub(crate) fn worker(name: &str, work: &Work) -> Result<Vec<String>> {
    Ok(vec![alias(name)?, "work".into(), serde_json::to_string(work)?])
}

/// A command for `program` (its first word is the path), in `place`.
pub(crate) fn placed(place: &Place, program: &[String]) -> Result<Command> {
    let mut command = Command::new(SELF);
    command
        .arg("enter")
        .arg(serde_json::to_string(place)?)
        .args(program);
    command.stdin(Stdio::null()).env_clear();
    Ok(command)
}

/// The same in a PID namespace of its own, below a stand-in for the runtime's shim.
pub(crate) fn contained(shim: &Place, place: &Place, program: &[String]) -> Result<Command> {
    let mut words = vec![
        alias("containerd-shim")?,
        "shim".into(),
        serde_json::to_string(place)?,
    ];
    words.extend_from_slice(program);
    placed(shim, &words)
}

/// `enter PLACE PROGRAM…`: moves there and becomes the program.
pub(crate) fn enter(arguments: &[String]) -> Result<()> {
    let (place, program) = split(arguments)?;
    let procs = place.cgroup.join("cgroup.procs");
    std::fs::write(&procs, "0").with_context(|| format!("joining {}", procs.display()))?;
    std::fs::write("/proc/self/oom_score_adj", place.oom_score_adj.to_string()).context("oom_score_adj")?;
    drop_to(place.rights)?;
    let (path, rest) = program.split_first().context("enter wants a program")?;
    // exec returns only when it failed.
    Err(Command::new(path).args(rest).exec()).with_context(|| format!("starting {path}"))
}

/// Leaves this process with those rights; they take full effect at the next exec.
fn drop_to(rights: Rights) -> Result<()> {
    let kept = match rights {
        Rights::Full => return Ok(()),
        Rights::Shipped => CapabilitySet::KILL,
        Rights::Resource => CapabilitySet::SYS_RESOURCE,
        Rights::ResourceAndOverride => CapabilitySet::SYS_RESOURCE | CapabilitySet::DAC_OVERRIDE,
        Rights::Bare | Rights::Nobody => CapabilitySet::empty(),
    };
    for capability in (CapabilitySet::all() - kept).iter() {
        // One that this kernel does not know cannot be held either.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    rustix::thread::set_no_new_privs(true).context("no_new_privs")?;
    if rights == Rights::Nobody {
        let (user, group) = (Uid::from_raw(Rights::NOBODY), Gid::from_raw(Rights::NOBODY));
        rustix::thread::set_thread_groups(&[]).context("leaving every group")?;
        rustix::thread::set_thread_res_gid(group, group, group).context("becoming another group")?;
        // The user goes last: it takes the right to change anything along.
        rustix::thread::set_thread_res_uid(user, user, user).context("becoming another user")?;
    }
    Ok(())
}

/// `shim PLACE PROGRAM…`: runs the program as PID 1 of a new PID namespace and ends as it ends.
pub(crate) fn shim(arguments: &[String]) -> Result<()> {
    let (place, program) = split(arguments)?;
    // `rustix` calls unshare unsafe for the sake of shared file tables; a PID namespace only concerns later children.
    #[allow(deprecated)]
    rustix::thread::unshare(UnshareFlags::NEWPID).context("a new PID namespace")?;
    let status = placed(&place, program)?
        .status()
        .context("starting the container")?;
    // As a shell does it, so that whoever waits for the shim can tell how the container ended.
    std::process::exit(
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
    );
}

fn split(arguments: &[String]) -> Result<(Place, &[String])> {
    let Some((place, program)) = arguments.split_first() else {
        bail!("wants a place and a program")
    };
    Ok((serde_json::from_str(place).context("the place")?, program))
}

/// A process is named after the file it was started from, so each name is a link to this program.
fn alias(name: &str) -> Result<String> {
    let path = format!("/bin/{name}");
    if !Path::new(&path).exists() {
        std::os::unix::fs::symlink(SELF, &path).with_context(|| format!("linking {path}"))?;
    }
    Ok(path)
}

/// The path under which this program runs as `name`.
pub(crate) fn named(name: &str) -> Result<String> {
    alias(name)
}
