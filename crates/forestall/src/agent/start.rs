//! Getting ready: everything the guard will need is opened, tried and measured before the first look, and what is missing
//! is said with what it costs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use forestall_act::{
    ActConfig, Actor, ActorHandle, CgroupVersion, Release, Right, SelfTest, lock_memory, raise_priority,
    recover_dips, self_test, shield_from_oom_killer,
};
use forestall_decide::{GroupKind, Mode, Policy, Preset, Rung, Span};
use forestall_kernel::cgroup::Version;
use forestall_sense::{Capabilities, SenseConfig, Sensor};
use rustix::fs::{Mode as FileMode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::clock::now;
use super::fill::measure_fill_rate;
use super::trigger::Triggers;
use crate::config::Settings;

/// Where PSI triggers do the waiting, the guard looks this seldom while nothing is to be lost.
const TICK_IDLE: Span = Span::secs(10);
/// The agent's own directory, on the host.
const STATE_DIR: &str = "var/lib/forestall";

/// Everything opened, and what was found.
pub(crate) struct Started {
    /// Reads the machine.
    pub(crate) sensor: Sensor,
    /// Acts.
    pub(crate) actor: ActorHandle,
    /// Wake the guard early.
    pub(crate) triggers: Triggers,
    /// The policy, cut down to what can be done here.
    pub(crate) policy: Policy,
    /// What could be done here, whether or not it is asked for: what a reload may switch on.
    pub(crate) granted: Policy,
    /// What this machine offers.
    pub(crate) capabilities: Capabilities,
    /// Every right, tried.
    pub(crate) rights: Vec<Right>,
    /// Rungs that are configured and cannot be used, each with its reason.
    pub(crate) degraded: Vec<(Rung, String)>,
    /// Other things worth a line at start.
    pub(crate) notes: Vec<String>,
}

/// Opens, tries and measures. Harms nothing; in `enforce` it also shields this process.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<Started> {
    let root = &settings.root;
    let proc_root = root.join("proc");
    let mut notes = Vec::new();
    raise_open_files();
    let state_dir = open_state_dir(root, settings.policy.mode, &mut notes);
    let config = SenseConfig {
        prefix: root.clone(),
        proc_root: proc_root.clone(),
        sys_root: root.join("sys"),
        ..SenseConfig::default()
    };
    let mut sensor = Sensor::open(&config).context("cannot read this machine")?;
    // Two looks before the memory is locked: whatever grows to its size does so now.
    for _ in 0..2 {
        sensor.sample(now(), Span(0));
    }
    let kubepods = find_kubepods(&sensor);
    let directories: Vec<PathBuf> = kubepods.iter().map(|group| group.location.clone()).collect();
    let triggers = Triggers::arm(root, sensor.capabilities().cgroup_root.as_deref(), &directories);
    notes.extend(
        triggers
            .missing
            .iter()
            .map(|why| format!("pressure trigger: {why}")),
    );
    let proc_dir = open_directory(&proc_root)?;
    let first = kubepods
        .first()
        .map(|group| (group.handle.as_fd(), group.version));
    let rights = self_test(&SelfTest {
        proc_root: proc_dir.as_fd(),
        group: first,
        release: Release::default(),
    });
    let cut = |policy: &Policy| cut_to_rights(policy, &rights, state_dir.is_some(), &sensor);
    let (policy, degraded) = cut(&settings.policy);
    let (granted, _) = cut(&Policy {
        reclaim: true,
        kill: true,
        sysrq: true,
        preset: Preset::Forestall,
        ..settings.policy
    });
    let fill_rate = measure_fill_rate(sensor.last().node.cpus);
    let tuned = |policy: Policy| Policy {
        tick_idle: idle_tick(&policy, triggers.is_armed()),
        fill_rate,
        ..policy
    };
    let (policy, granted) = (tuned(policy), tuned(granted));
    let actor = Actor::start(&ActConfig {
        proc_root: proc_root.clone(),
        state_dir,
        ..ActConfig::default()
    })
    .context("cannot start the act threads")?;
    shield(&settings.policy, &proc_root, &rights, &mut notes);
    let capabilities = sensor.capabilities().clone();
    Ok(Started {
        sensor,
        actor,
        triggers,
        policy,
        granted,
        capabilities,
        rights,
        degraded,
        notes,
    })
}

/// Takes over what a new configuration may change, on a machine whose rights are known already.
pub(crate) fn adapt(policy: &Policy, granted: &Policy) -> Policy {
    Policy {
        reclaim: policy.reclaim && granted.reclaim,
        kill: policy.kill && granted.kill,
        sysrq: policy.sysrq && granted.sysrq,
        tick_idle: if policy.preset == Preset::Forestall {
            granted.tick_idle.max(policy.tick_calm)
        } else {
            policy.tick_calm
        },
        fill_rate: granted.fill_rate,
        ..*policy
    }
}

/// How long the guard waits while nothing is to be lost: long only where triggers wake it.
fn idle_tick(policy: &Policy, armed: bool) -> Span {
    if armed && policy.preset == Preset::Forestall {
        TICK_IDLE.max(policy.tick_calm)
    } else {
        policy.tick_calm
    }
}

/// A rung whose right is missing is switched off, visibly; the agent goes on with what is left.
fn cut_to_rights(
    policy: &Policy,
    rights: &[Right],
    journal: bool,
    sensor: &Sensor,
) -> (Policy, Vec<(Rung, String)>) {
    let mut policy = *policy;
    let mut degraded = Vec::new();
    let works = |name: &str| rights.iter().any(|right| right.name == name && right.works);
    let swaps = sensor.last().node.swap_total > forestall_decide::Bytes::ZERO;
    let mut cut = |wanted: &mut bool, works: bool, rung: Rung, why: &str| {
        if *wanted && !works {
            *wanted = false;
            degraded.push((rung, why.to_owned()));
        }
    };
    let kill = works("pidfd") && (works("signal_other_users") || works("cgroup_kill"));
    cut(
        &mut policy.kill,
        kill,
        Rung::Kill,
        "no right to signal other users' processes: run as root or with CAP_KILL",
    );
    let by_file = works("memory_reclaim") && (!swaps || works("memory_reclaim_swappiness"));
    let by_dip = !works("memory_reclaim") && works("memory_high") && journal && !swaps;
    let why = if swaps {
        "swap is on and this kernel cannot reclaim without swapping"
    } else {
        "memory.reclaim is missing or not writable, and a dip of memory.high needs /var/lib/forestall"
    };
    cut(&mut policy.reclaim, by_file || by_dip, Rung::Reclaim, why);
    cut(
        &mut policy.sysrq,
        works("sysrq"),
        Rung::Sysrq,
        "/proc/sysrq-trigger cannot be written",
    );
    (policy, degraded)
}

struct Kubepods {
    location: PathBuf,
    handle: std::sync::Arc<OwnedFd>,
    version: CgroupVersion,
}

fn find_kubepods(sensor: &Sensor) -> Vec<Kubepods> {
    let groups = sensor
        .last()
        .groups
        .iter()
        .filter(|group| group.kind == GroupKind::Kubepods);
    groups
        .filter_map(|group| sensor.roster().find(group.id))
        .map(|member| Kubepods {
            location: member.location.to_path_buf(),
            version: match member.version {
                Version::V1 => CgroupVersion::V1,
                Version::V2 => CgroupVersion::V2,
            },
            handle: member.handle,
        })
        .collect()
}

/// Every followed cgroup takes descriptors; the soft limit of 1,024 is for programs that use select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, the sensor follows fewer cgroups and says so.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// The journal's directory: only `enforce` makes and uses it, and one that cannot be made is a note and no error. What an
/// interrupted dip has left lowered is put back in every mode: it was ours.
fn open_state_dir(root: &Path, mode: Mode, notes: &mut Vec<String>) -> Option<PathBuf> {
    let directory = root.join(STATE_DIR);
    match recover_dips(&directory) {
        Ok(recovered) if recovered.is_empty() => {}
        Ok(recovered) => notes.push(format!(
            "put back memory.high of {} cgroups after a crash",
            recovered.iter().filter(|dip| dip.restored).count()
        )),
        Err(error) => notes.push(format!("cannot look for interrupted dips: {error}")),
    }
    if mode != Mode::Enforce {
        return None;
    }
    match std::fs::create_dir_all(&directory) {
        Ok(()) => Some(directory),
        Err(error) => {
            let shown = directory.display();
            notes.push(format!(
                "{shown}: {error}; without it there is no dip of memory.high"
            ));
            None
        }
    }
}

fn open_directory(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, FileMode::empty())
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Keeps this process alive and quick. In the other modes only its memory is locked: nothing outside it is changed.
fn shield(policy: &Policy, proc_root: &Path, rights: &[Right], notes: &mut Vec<String>) {
    // Locking under a finite limit succeeds now and makes a later allocation fail, which would end the guard: it is asked
    // for only where the limit does not count.
    let may_lock = rights
        .iter()
        .any(|right| right.name == "lock_memory" && right.works);
    if may_lock && let Err(error) = lock_memory() {
        notes.push(format!(
            "cannot lock memory ({error}): under thrashing the agent itself may wait for its pages"
        ));
    }
    if policy.mode != Mode::Enforce {
        return;
    }
    if let Err(error) = raise_priority() {
        notes.push(format!(
            "cannot raise the guard's priority ({error}): it competes with CPU hogs for its turn"
        ));
    }
    match shield_from_oom_killer(proc_root) {
        Ok(shielded) => {
            if let Some(error) = shielded.errno {
                let score = shielded.oom_score_adj;
                notes.push(format!(
                    "oom_score_adj stays at {score} ({error}): set it to -999 from outside"
                ));
            }
        }
        Err(error) => notes.push(format!("oom_score_adj cannot be read: {error}")),
    }
}
