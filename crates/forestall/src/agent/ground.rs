//! What the agent stands on when it acts: the seat, the journal, the rights, and its own protection. [`Ground::enter`] and
//! [`Ground::leave`] lie between watching and acting, at start and at every change of mode afterwards, so that no way into
//! `enforce` is shorter than another.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forestall_act::{
    CgroupVersion, LoweredEnd, Recovered, Release, ResidentCode, Right, SelfTest, give_back_code,
    lower_first_thread, raise_first_thread, recover_lowered, resident_code, self_test,
    shield_from_oom_killer, unshield_from_oom_killer,
};
use forestall_decide::{Policy, Preset, Rung, Rungs};
use rustix::io::Errno;

use super::seat::{Holder, Seat};

/// The agent's own directory, on the host.
pub(super) const STATE_DIR: &str = "var/lib/forestall";

/// What a rung is that the agent cannot use on any machine.
pub(crate) const NO_HAND: &str = "this agent has no hand for it yet: it can be tried by simulate and replay";

/// Whether the agent could use the rung, where it has the rights.
pub(crate) const fn has_hand(rung: Rung) -> bool {
    match rung {
        Rung::Reclaim | Rung::Brake | Rung::Evict | Rung::Kill | Rung::Sysrq => true,
        Rung::Warn | Rung::Grow => false,
    }
}

/// What is lacking where nobody can be looked at for certain.
const NAMELESS: &str = "no process can be named for certain: not in the host's PID namespace (hostPID: true, or --pid=host), or before Linux 5.3";

/// What `evict` lacks on a machine of its own.
const NO_CLUSTER: &str =
    "no API server is known here: the agent runs in no pod, or NODE_NAME is not set (downward API)";

/// A cgroup's open directory, and of which version its files are.
pub(crate) type OpenGroup = (Arc<OwnedFd>, CgroupVersion);

/// The ground of one machine.
#[derive(Debug)]
pub(crate) struct Ground {
    proc_root: PathBuf,
    state_dir: PathBuf,
    proc_dir: OwnedFd,
    /// The cgroup at which the rights are tried.
    group: Option<OpenGroup>,
    swaps: bool,
    /// Reclaim on cgroup v1 by `memory.force_empty`.
    force_empty: bool,
    seat: Seat,
    /// The nice value of the guard's thread while it only watches.
    nice: i32,
    /// The `oom_score_adj` of before, while it is lowered.
    score_before: Option<i32>,
    acts: bool,
    journal: Result<(), String>,
    rights: Vec<Right>,
    /// Whether pods may be evicted; where that is not known yet, it is found out before it is needed.
    evict: Result<(), String>,
}

impl Ground {
    /// Of the machine below `root`; `swaps`: swap is on there; `force_empty`: it may be used. Tries the rights; takes and
    /// changes nothing.
    pub(crate) fn new(
        root: &Path,
        proc_dir: OwnedFd,
        group: Option<OpenGroup>,
        swaps: bool,
        force_empty: bool,
        nice: i32,
    ) -> Self {
        let (proc_root, state_dir) = (root.join("proc"), root.join(STATE_DIR));
        let mut ground = Self {
            seat: Seat::new(state_dir.clone(), proc_root.clone()),
            proc_root,
            state_dir,
            proc_dir,
            group,
            swaps,
            force_empty,
            nice,
            score_before: None,
            acts: false,
            // While nothing is done, the directory is not made, and nothing speaks against it.
            journal: Ok(()),
            rights: Vec::new(),
            evict: Err(NO_CLUSTER.to_owned()),
        };
        ground.try_rights();
        ground
    }

    /// Where the journal is, once it is needed.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What `forceEmpty` comes to here, where it was asked for.
    pub(crate) fn say_force_empty(&self) -> Option<String> {
        let said = match self.group.as_ref().filter(|_| self.force_empty)?.1 {
            CgroupVersion::V1 => {
                "forceEmpty: reclaim takes all page cache of a cgroup at once (memory.force_empty), which cannot be told how much"
            }
            CgroupVersion::V2 => "forceEmpty is of no use here: cgroup v2 has memory.reclaim",
        };
        Some(said.to_owned())
    }

    /// What of the program's file is in memory now, before something that is seldom needed; `None` where that cannot be told.
    pub(crate) fn resident_code(&self) -> Option<ResidentCode> {
        resident_code(self.proc_dir.as_fd()).ok()
    }

    /// Gives back the code that has come into memory since: what the guard and the act threads had used before stays, as it is
    /// locked.
    pub(crate) fn give_back_code(&self, kept: Option<&ResidentCode>) {
        // Where it cannot be done the process stays larger, and that is all.
        let _ = kept.map(|kept| give_back_code(self.proc_dir.as_fd(), kept));
    }

    /// Every right, as tried last.
    pub(crate) fn rights(&self) -> &[Right] {
        &self.rights
    }

    /// Whether pods may be evicted, as the API server says, or is to be asked. True if that is another answer than before.
    pub(crate) fn set_evict(&mut self, may: Result<(), String>) -> bool {
        let is_another = self.evict != may;
        self.evict = may;
        is_another
    }

    /// Tries the rights again where the answer may be another by now: at `kubepods` once there is one, and for as long as a pod has to
    /// prove what is asked. True if one of them is another.
    pub(crate) fn look_again(&mut self, kubepods: Option<OpenGroup>) -> bool {
        let is_known = |new: &OpenGroup| self.group.as_ref().is_some_and(|old| Arc::ptr_eq(&old.0, &new.0));
        let new = kubepods.filter(|new| !is_known(new));
        if new.is_none() && !self.waits_for_a_pod() {
            return false;
        }
        self.group = new.or(self.group.take());
        let before = std::mem::take(&mut self.rights);
        self.try_rights();
        self.rights != before
    }

    /// Whether the first pod may show that a right is there. On cgroup v1 it takes a process of one to prove to a node that is a
    /// container itself (kind) that everybody is seen; in a pod without hostPID there is no such proof, and the wait is for ever.
    pub(crate) fn waits_for_a_pod(&self) -> bool {
        let is_v1 = matches!(self.group, Some((_, CgroupVersion::V1)));
        let is_unproven = |right: &Right| right.name == "pidfd" && right.errno == Some(Errno::XDEV);
        is_v1 && self.rights.iter().any(is_unproven)
    }

    /// Gets ready to act, or says who does. Answers what is worth a line in the log. Doing it again changes nothing.
    pub(crate) fn enter(&mut self) -> Result<Vec<String>, Holder> {
        if self.acts {
            return Ok(Vec::new());
        }
        self.seat.take()?;
        self.acts = true;
        let mut notes = recover(&self.state_dir);
        self.journal = std::fs::create_dir_all(&self.state_dir).map_err(|error| {
            format!(
                "{}: {error}; without it there is neither a brake nor a dip of memory.high",
                self.state_dir.display()
            )
        });
        notes.extend(self.journal.clone().err());
        // What was missing at start may be there now, and the other way round.
        self.try_rights();
        self.shield(&mut notes);
        Ok(notes)
    }

    /// Whether [`Ground::enter`] would succeed.
    pub(crate) fn is_free(&mut self) -> bool {
        if self.acts {
            return true;
        }
        let is_free = self.seat.take().is_ok();
        self.seat.leave();
        is_free
    }

    /// Goes back to watching. Nothing may be acted upon any more when this is called.
    pub(crate) fn leave(&mut self) {
        if !self.acts {
            return;
        }
        self.acts = false;
        // Both are less than what there is, which is always allowed.
        let _ = lower_first_thread(self.nice);
        if let Some(before) = self.score_before.take() {
            let _ = unshield_from_oom_killer(&self.proc_root, before);
        }
        self.seat.leave();
    }

    /// What an interrupted brake or dip has left lowered is put back in every mode, because it was ours; but not beside an agent that
    /// acts, whose own are on their way. For the start.
    pub(crate) fn recover_once(&mut self) -> Vec<String> {
        // Nothing was ever journalled: the directory need not be made.
        if self.acts || !self.state_dir.join("dips").exists() || self.seat.take().is_err() {
            return Vec::new();
        }
        let notes = recover(&self.state_dir);
        self.seat.leave();
        notes
    }

    /// A rung whose right is missing is switched off, visibly; the agent goes on with what is left.
    pub(crate) fn cut(&self, policy: &Policy) -> (Policy, Vec<(Rung, String)>) {
        let mut policy = *policy;
        let mut degraded = Vec::new();
        for rung in Rung::ALL.into_iter().filter(|rung| policy.rungs.has(*rung)) {
            let missing = match rung {
                Rung::Evict => self.evict.as_ref().err().map(String::as_str),
                Rung::Kill => self.lacks_for_kill(),
                Rung::Reclaim => self.lacks_for_reclaim(),
                Rung::Sysrq => (!self.works("sysrq")).then_some("/proc/sysrq-trigger cannot be written"),
                Rung::Brake => self.lacks_for_brake(),
                Rung::Warn | Rung::Grow => Some(NO_HAND),
            };
            if let Some(why) = missing {
                degraded.push((rung, why.to_owned()));
            }
        }
        for (rung, _) in &degraded {
            policy.rungs = policy.rungs.with(*rung, false);
        }
        (policy, degraded)
    }

    /// What could be done here, whether or not it is asked for.
    pub(crate) fn grants(&self, policy: &Policy) -> Policy {
        let everything = Policy {
            rungs: Rungs::all(),
            preset: Preset::Forestall,
            ..*policy
        };
        self.cut(&everything).0
    }

    fn works(&self, name: &str) -> bool {
        self.rights.iter().any(|right| right.name == name && right.works)
    }

    fn lacks_for_kill(&self) -> Option<&'static str> {
        if self.waits_for_a_pod() {
            return Some(
                "no pod has shown yet that processes can be named for certain (cgroup v1, in a PID namespace): it is tried again; \
                 without hostPID: true, or --pid=host, it stays so",
            );
        }
        if !self.works("pidfd") {
            return Some(NAMELESS);
        }
        let reaches = self.works("signal_other_users") || self.works("cgroup_kill");
        (!reaches).then_some("no right to signal other users' processes: run as root or with CAP_KILL")
    }

    fn lacks_for_brake(&self) -> Option<&'static str> {
        match &self.group {
            None => return Some("no memory cgroup is followed here that could be braked"),
            Some((_, CgroupVersion::V1)) => return Some("cgroup v1 has no memory.high"),
            Some((_, CgroupVersion::V2)) => {}
        }
        if !self.works("memory_high") {
            return Some("memory.high cannot be written");
        }
        // Whom nobody can name is not braked.
        if !self.works("pidfd") {
            return Some(NAMELESS);
        }
        let journal = "a brake is written down before it is put on, which needs /var/lib/forestall";
        self.journal.is_err().then_some(journal)
    }

    fn lacks_for_reclaim(&self) -> Option<&'static str> {
        match &self.group {
            None => return Some("no memory cgroup is followed here that could be reclaimed from"),
            Some((_, CgroupVersion::V1)) if !self.force_empty => {
                return Some(
                    "cgroup v1 has neither memory.reclaim nor memory.high; forceEmpty: true takes all page cache of a cgroup \
                     instead",
                );
            }
            Some((_, CgroupVersion::V1)) if self.swaps => {
                return Some("swap is on, and memory.force_empty would swap out");
            }
            Some((_, CgroupVersion::V1)) => {
                let writable = self.works("memory_force_empty");
                return (!writable).then_some("memory.force_empty cannot be written");
            }
            Some((_, CgroupVersion::V2)) => {}
        }
        if self.works("memory_reclaim") {
            let swaps = self.swaps && !self.works("memory_reclaim_swappiness");
            return swaps.then_some("swap is on and this kernel cannot reclaim without swapping");
        }
        if self.swaps {
            return Some(
                "memory.reclaim cannot be written, and swap is on, so that a dip of memory.high would swap",
            );
        }
        if !self.works("memory_high") {
            return Some("neither memory.reclaim nor memory.high can be written");
        }
        let journal = "memory.reclaim cannot be written, and a dip of memory.high needs /var/lib/forestall";
        self.journal.is_err().then_some(journal)
    }

    fn try_rights(&mut self) {
        self.rights = self_test(&SelfTest {
            proc_root: self.proc_dir.as_fd(),
            group: self.group.as_ref().map(|(dir, version)| (dir.as_fd(), *version)),
            release: Release::default(),
        });
    }

    /// Keeps this process alive and quick.
    fn shield(&mut self, notes: &mut Vec<String>) {
        if let Err(error) = raise_first_thread() {
            notes.push(format!(
                "cannot raise the guard's priority ({error}): it competes with CPU hogs for its turn"
            ));
        }
        match shield_from_oom_killer(&self.proc_root) {
            Ok(shielded) => {
                self.score_before = (shielded.oom_score_adj != shielded.before).then_some(shielded.before);
                // As the kubelet starts a pod that is critical to its node; in one nobody sets it from outside either.
                let is_low = shielded.oom_score_adj <= -997;
                if let Some(error) = shielded.errno.filter(|_| !is_low) {
                    let score = shielded.oom_score_adj;
                    notes.push(format!(
                        "oom_score_adj stays at {score} ({error}): set it to -999 from outside"
                    ));
                }
            }
            Err(error) => notes.push(format!("oom_score_adj cannot be read: {error}")),
        }
    }
}

/// Puts back what interrupted brakes and dips have left lowered.
fn recover(state_dir: &Path) -> Vec<String> {
    let recovered = match recover_lowered(state_dir) {
        Ok(recovered) => recovered,
        Err(error) => return vec![format!("cannot look for interrupted brakes: {error}")],
    };
    let is_restored = |found: &&Recovered| found.end == LoweredEnd::Restored;
    let restored = recovered.iter().filter(is_restored).count();
    let mut notes = Vec::new();
    if restored > 0 {
        notes.push(format!(
            "put back memory.high of {restored} cgroups after a crash"
        ));
    }
    for found in &recovered {
        let shown = found.path.display();
        match found.end {
            LoweredEnd::Failed(errno) => notes.push(format!(
                "{shown}: memory.high of before a crash cannot be put back ({errno}); it is tried again at the next start"
            )),
            LoweredEnd::NotOurs => notes.push(format!(
                "{shown}: memory.high was changed by somebody else since a crash and stays"
            )),
            LoweredEnd::Restored | LoweredEnd::AsBefore | LoweredEnd::Gone => {}
        }
    }
    notes
}

#[cfg(test)]
pub(super) mod tests;
