//! Getting ready: everything the guard will need is opened, tried and measured before the first look, and what is missing
//! is said with what it costs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use forestall_act::{ActConfig, Actor, ActorHandle, ResidentCode, give_back_code, lock_memory};
use forestall_decide::{Bytes, GroupKind, Mode, Policy, Preset, Rung, Span};
use forestall_sense::{Capabilities, Member, SenseConfig, Sensor};
use rustix::fs::{Mode as FileMode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::clock::now;
use super::fill::measure_fill_rate;
use super::ground::Ground;
use super::place::act_version;
use super::seat::Holder;
use super::trigger::Triggers;
use crate::config::{Settings, checked};

/// Where PSI triggers do the waiting, the guard looks this seldom while nothing is to be lost.
const TICK_IDLE: Span = Span::secs(10);

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
    /// What acting needs, tried.
    pub(crate) ground: Ground,
    /// Who acts instead, where this agent was told to and may not.
    pub(crate) holder: Option<Holder>,
    /// Rungs that are configured and cannot be used, each with its reason.
    pub(crate) degraded: Vec<(Rung, String)>,
    /// Other things worth a line at start.
    pub(crate) notes: Vec<String>,
}

/// Opens, tries and measures. Harms nothing; in `enforce` it also takes the seat and shields this process.
pub(crate) fn start(settings: &Settings, nice: i32, is_in_cluster: bool) -> anyhow::Result<Started> {
    let root = &settings.root;
    let proc_root = root.join("proc");
    let mut notes = Vec::new();
    raise_open_files();
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
    checked::check_against(&settings.policy, sensor.last().node.total)?;
    notes.extend(say_left_out(sensor.roster().left_out()));
    let kubepods = find_kubepods(&sensor);
    let directories: Vec<PathBuf> = kubepods
        .iter()
        .map(|group| group.location.to_path_buf())
        .collect();
    let triggers = Triggers::arm(root, sensor.capabilities().cgroup_root.as_deref(), &directories);
    notes.extend(
        triggers
            .missing
            .iter()
            .map(|why| format!("pressure trigger: {why}")),
    );
    // Every cgroup has the same files, so that any will do where `kubepods` is not there yet.
    let tried = kubepods
        .into_iter()
        .next()
        .or_else(|| sensor.roster().iter().next());
    let group = tried.map(|member| (Arc::clone(&member.handle), act_version(member.version)));
    let swaps = sensor.last().node.swap_total > Bytes::ZERO;
    let own_proc = open_directory(&proc_root)?;
    // What was needed so far is needed no more; what is tried and used from here on is to stay in memory. A kernel that does
    // not do it leaves the process larger, and that is all.
    let _ = give_back_code(own_proc.as_fd(), &ResidentCode::default());
    let mut ground = Ground::new(root, own_proc, group, swaps, settings.force_empty, nice);
    if is_in_cluster {
        ground.set_evict(Ok(()));
    }
    notes.extend(ground.say_force_empty());
    // Before the guard's priority is raised, which the threads would inherit.
    let actor = Actor::start(&ActConfig {
        proc_root: proc_root.clone(),
        state_dir: Some(ground.state_dir().to_owned()),
        force_empty: settings.force_empty,
        evicts: is_in_cluster,
        ..ActConfig::default()
    })
    .context("cannot start the act threads")?;
    let mut wanted = settings.policy;
    let mut holder = None;
    if wanted.mode == Mode::Enforce {
        match ground.enter() {
            Ok(said) => notes.extend(said),
            Err(by) => (holder, wanted.mode) = (Some(by), Mode::Shadow),
        }
    } else {
        notes.extend(ground.recover_once());
    }
    lock(&ground, &mut notes);
    let fill_rate = measure_fill_rate(sensor.last().node.cpus);
    let tuned = |policy: Policy| Policy {
        tick_idle: idle_tick(&policy, triggers.is_armed()),
        fill_rate,
        ..policy
    };
    let (policy, degraded) = ground.cut(&wanted);
    let (policy, granted) = (tuned(policy), tuned(ground.grants(&wanted)));
    let capabilities = sensor.capabilities().clone();
    Ok(Started {
        sensor,
        actor,
        triggers,
        policy,
        granted,
        capabilities,
        ground,
        holder,
        degraded,
        notes,
    })
}

/// The sentence about cgroups that are not followed; `None` where all are.
pub(crate) fn say_left_out(left_out: usize) -> Option<String> {
    (left_out > 0).then(|| {
        format!(
            "{left_out} cgroups are not followed, because there are too many: their memory counts in the one above, and \
             none of them can be the culprit"
        )
    })
}

/// Takes over what a new configuration may change, on a machine whose rights are known already.
pub(crate) fn adapt(policy: &Policy, granted: &Policy) -> Policy {
    Policy {
        rungs: policy.rungs.and(granted.rungs),
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

fn find_kubepods(sensor: &Sensor) -> Vec<Member<'_>> {
    let groups = sensor
        .last()
        .groups
        .iter()
        .filter(|group| group.kind == GroupKind::Kubepods);
    groups
        .filter_map(|group| sensor.roster().find(group.id))
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

fn open_directory(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, FileMode::empty())
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Locks this process' memory, in every mode: nothing outside it is changed. Locking under a finite limit succeeds now and
/// makes a later allocation fail, which would end the guard: it is asked for only where the limit does not count.
fn lock(ground: &Ground, notes: &mut Vec<String>) {
    let may_lock = ground
        .rights()
        .iter()
        .any(|right| right.name == "lock_memory" && right.works);
    if may_lock && let Err(error) = lock_memory() {
        notes.push(format!(
            "cannot lock memory ({error}): under thrashing the agent itself may wait for its pages"
        ));
    }
}
