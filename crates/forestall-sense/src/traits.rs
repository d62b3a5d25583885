//! Who may not be touched (the engine's `Protection`), from what can be seen of a cgroup's processes and attributes.
//!
//! New cgroups are looked at in the sample that finds them and every second while they are young, the others in turn, so that
//! each is seen again within about ten seconds. Only `cgroup.procs` and of each process `stat` and `oom_score_adj` are read.
//! What a workload chooses itself, its name, protects nobody in `kubepods`; a pause process is recognised by its size, too.

use forestall_decide::{
    Bytes, Claim, GroupKind, GroupSample, Moment, OOM_SCORE_ADJ_SPARED, Protection, Span,
};
use forestall_kernel::Error as KernelError;
use forestall_kernel::cgroup::{CgroupDir, GroupFile, Identity, Node};
use forestall_kernel::file::Buffer;
use forestall_kernel::parse::{lines, unsigned};
use forestall_kernel::proc::ProcRoot;

use crate::agents;
use crate::essentials::Essentials;
use crate::groups::GroupReader;
use crate::node::is_due;
use crate::rest::Breadth;

/// How old a cgroup's traits may be.
const TRAITS_EVERY: Span = Span::secs(10);
/// How old they may be of a cgroup that has been followed for no longer than `TRAITS_EVERY`. Whoever is found in it first is the
/// runtime's own process, with the runtime's name and oom_score_adj (seen: a leak that for ten seconds could not be touched).
const TRAITS_EVERY_AT_FIRST: Span = Span::secs(1);
/// While every wall is far away they may be older: they are brought up to date when one comes nearer.
const TRAITS_EVERY_AT_REST: Span = Span::secs(60);
/// Processes looked at in a second for traits that are merely old, and at most in one sample.
const PROCESSES_PER_SECOND: u64 = 480;
const PROCESSES_PER_SAMPLE: u64 = 64;
/// Our ancestors are looked up this often: one that ends hands us to another.
const ANCESTORS_EVERY: Span = Span::secs(60);
/// Processes looked at in one cgroup. A cgroup with many more must not hold up the sample that would save the node from it;
/// before a kill the act crate looks at every single one.
const PROCESSES_PER_GROUP: usize = 32;
/// A pause process holds some hundred KiB. One that has grown beyond this is somebody who took its name.
const PAUSE_BYTES_MAX: Bytes = Bytes::mebi(16);

/// What was found at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traits {
    protection: Option<Protection>,
    is_pause: bool,
    /// Nobody is in the cgroup itself.
    is_hollow: bool,
    first_seen_at: Moment,
    seen_at: Moment,
}

impl Traits {
    /// They have to be found again, where those of old cgroups have to be after `every`.
    fn are_old(self, now: Moment, every: Span) -> bool {
        let is_young = now.since(self.first_seen_at) <= TRAITS_EVERY;
        now.since(self.seen_at) >= if is_young { TRAITS_EVERY_AT_FIRST } else { every }
    }
}

/// Looks at cgroups' processes.
#[derive(Debug)]
pub(crate) struct TraitReader {
    essentials: Essentials,
    procs: Buffer,
    buffer: Buffer,
    cursor: usize,
    refreshed_at: Moment,
    ancestors_due: Moment,
}

impl TraitReader {
    pub(crate) fn new(essentials: Essentials) -> Self {
        Self {
            essentials,
            procs: Buffer::with_capacity(16 * 1024),
            buffer: Buffer::with_capacity(4096),
            cursor: 0,
            refreshed_at: Moment(0),
            ancestors_due: Moment(0) + ANCESTORS_EVERY,
        }
    }

    pub(crate) const fn essentials(&self) -> &Essentials {
        &self.essentials
    }

    /// Looks at every new cgroup and at some of those whose traits are old.
    pub(crate) fn refresh(
        &mut self,
        reader: &mut GroupReader,
        proc: &ProcRoot,
        now: Moment,
        breadth: Breadth,
    ) {
        let every = match breadth {
            Breadth::Everything => TRAITS_EVERY,
            Breadth::Seldom | Breadth::Least => TRAITS_EVERY_AT_REST,
        };
        if is_due(&mut self.ancestors_due, now, ANCESTORS_EVERY) {
            self.essentials.read_ancestors(proc, &mut self.buffer);
        }
        let count = reader.tree().nodes().len();
        for index in 0..count {
            if let Some((node, state)) = reader.at_mut(index)
                && state.traits.is_none()
            {
                let mut budget = PROCESSES_PER_GROUP;
                state.traits = Some(self.look(node, proc, now, &mut budget));
            }
        }
        let elapsed = now.since(self.refreshed_at);
        self.refreshed_at = now;
        let share = (elapsed.0 / 1000).saturating_mul(PROCESSES_PER_SECOND) / 1000;
        let mut budget = usize::try_from(share.clamp(1, PROCESSES_PER_SAMPLE)).unwrap_or(1);
        for _ in 0..count {
            if budget == 0 {
                break;
            }
            self.cursor = (self.cursor + 1) % count;
            if let Some((node, state)) = reader.at_mut(self.cursor)
                && state.traits.is_none_or(|traits| traits.are_old(now, every))
            {
                // The look itself costs about as much as one process.
                budget -= 1;
                let mut of_group = PROCESSES_PER_GROUP;
                let seen = self.look(node, proc, now, &mut of_group);
                let first_seen_at = state.traits.map_or(now, |traits| traits.first_seen_at);
                state.traits = Some(Traits {
                    first_seen_at,
                    ..seen
                });
                budget = budget.saturating_sub(PROCESSES_PER_GROUP - of_group);
            }
        }
    }

    fn look(&mut self, node: &Node, proc: &ProcRoot, now: Moment, budget: &mut usize) -> Traits {
        let mut traits = Traits {
            protection: self.marks(node),
            is_pause: false,
            is_hollow: false,
            first_seen_at: now,
            seen_at: now,
        };
        let is_host = node.identity == Identity::Host;
        let content = match node.dir.read(GroupFile::Procs, &mut self.procs) {
            Ok(content) => content.unwrap_or_default(),
            // Of a longer list than fits, as many are looked at as were read.
            Err(KernelError::Truncated { .. }) => self.procs.as_bytes(),
            // A threaded cgroup has no list of its own, its domain above has; and one that is gone has nobody.
            Err(_) => return traits,
        };
        let mut processes = 0_usize;
        let mut pauses = 0_usize;
        for pid in lines(content).filter_map(unsigned) {
            if *budget == 0 {
                break;
            }
            *budget -= 1;
            processes += 1;
            let Ok(pid) = u32::try_from(pid) else { continue };
            let found = if self.essentials.holds_pid(pid) {
                Some(Protection::Essential)
            } else {
                let Ok(process) = proc.process(pid) else { continue };
                let spared = process
                    .oom_score_adj(&mut self.buffer)
                    .is_ok_and(|adj| adj <= OOM_SCORE_ADJ_SPARED)
                    .then_some(Protection::OomScoreAdj);
                let mut claim = None;
                let found = match process.stat(&mut self.buffer) {
                    Ok(stat) if stat.is_kernel_thread() => Some(Protection::Essential),
                    Ok(stat) => {
                        claim = Claim::of(stat.comm, stat.parent).filter(|_| is_host);
                        pauses += usize::from(stat.comm == b"pause");
                        spared
                    }
                    Err(_) => spared,
                };
                match claim {
                    Some(claim) if agents::is_true(claim, &process, &mut self.buffer) => {
                        Some(Protection::NodeAgent)
                    }
                    _ => found,
                }
            };
            traits.protection = stronger(traits.protection, found);
        }
        traits.is_pause = !is_host && processes == 1 && pauses == 1;
        traits.is_hollow = processes == 0;
        traits
    }

    /// What the cgroup itself says, whoever is in it.
    fn marks(&self, node: &Node) -> Option<Protection> {
        if self.essentials.live_in(&node.path) && counts_as_home(&node.identity) {
            return Some(Protection::Essential);
        }
        if is_opted_out(&node.dir) {
            return Some(Protection::OptedOut);
        }
        match &node.identity {
            Identity::Container(container) if container.is_monitor => Some(Protection::NodeAgent),
            // runc asks systemd for Delegate=yes on every container's scope, so below kubepods the mark says nothing.
            Identity::Host if is_delegated(&node.dir) => Some(Protection::Delegated),
            identity => identity
                .pod()
                .filter(|pod| pod.uid.is_static())
                .map(|_| Protection::StaticPod),
        }
    }
}

/// `kubepods` and its QoS levels hold everybody, forestall too, and are never ended as a whole: what holds in one pod says
/// nothing of them.
const fn counts_as_home(identity: &Identity) -> bool {
    !matches!(identity, Identity::Kubepods | Identity::Qos(_))
}

/// `setfattr -n user.forestall -v never` on the cgroup's directory.
fn is_opted_out(dir: &CgroupDir) -> bool {
    dir.has_attribute(c"user.forestall", b"never") || dir.has_attribute(c"trusted.forestall", b"never")
}

/// systemd marks units with Delegate=yes (systemd `src/core/cgroup.c`).
fn is_delegated(dir: &CgroupDir) -> bool {
    dir.has_attribute(c"user.delegate", b"1") || dir.has_attribute(c"trusted.delegate", b"1")
}

/// The one that leaves less room, by the order of the rule.
fn stronger(one: Option<Protection>, other: Option<Protection>) -> Option<Protection> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Writes every group's protection: its own, what its parent hands down (opted out, static pod), and outside `kubepods`
/// what lies below it, since ending a cgroup ends all of that.
pub(crate) fn assign_protections(
    groups: &mut [GroupSample],
    mut traits_of: impl FnMut(usize) -> Option<Traits>,
) {
    for index in 0..groups.len() {
        let kind = groups.get(index).map(|group| group.kind);
        let inherited = groups
            .get(index)
            .and_then(|group| group.parent)
            .and_then(|parent| groups.get(parent as usize))
            .and_then(|parent| parent.protection)
            .filter(|protection| match protection {
                Protection::OptedOut | Protection::StaticPod => true,
                // A delegated unit's processes live below it: virtual machines, user managers. The pods below a delegated
                // `kubepods` are our business all the same.
                Protection::Delegated => kind == Some(GroupKind::Host),
                _ => false,
            });
        let Some(group) = groups.get_mut(index) else {
            return;
        };
        let own = traits_of(index).and_then(|traits| {
            let is_pause = traits.is_pause && group.current <= PAUSE_BYTES_MAX;
            // Whoever lives here lives further below, where nothing is followed.
            let is_shared =
                traits.is_hollow && group.kind == GroupKind::Host && group.leaf && group.populated;
            if is_pause {
                Some(Protection::Pause)
            } else {
                traits.protection.or(is_shared.then_some(Protection::Shared))
            }
        });
        group.protection = stronger(own, inherited);
    }
    for index in (0..groups.len()).rev() {
        let Some(child) = groups.get(index).copied() else {
            return;
        };
        let Some(parent) = child.parent.and_then(|parent| groups.get_mut(parent as usize)) else {
            continue;
        };
        let rises = match (parent.kind, child.kind) {
            (GroupKind::Host, GroupKind::Host) => child.protection.filter(|why| *why != Protection::Shared),
            (GroupKind::Host, _) => Some(Protection::Delegated),
            // A pod with forestall in it must not be ended; its pause process alone says nothing.
            (GroupKind::Pod(_), _) => child.protection.filter(|why| *why == Protection::Essential),
            _ => None,
        };
        parent.protection = stronger(parent.protection, rises);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forestall_decide::{GroupId, Qos};

    const POD: GroupKind = GroupKind::Pod(Qos::Burstable);
    const CONTAINER: GroupKind = GroupKind::Container(Qos::Burstable);

    /// The protections of a tree given as (parent, kind, own).
    fn assigned(tree: &[(Option<u32>, GroupKind, Option<Protection>)]) -> Vec<Option<Protection>> {
        let mut groups: Vec<GroupSample> = tree
            .iter()
            .map(|(parent, kind, _)| GroupSample {
                parent: *parent,
                kind: *kind,
                ..crate::groups::blank(GroupId(0))
            })
            .collect();
        let own = |index: usize| {
            let protection = tree.get(index)?.2;
            Some(Traits {
                protection,
                is_pause: false,
                is_hollow: false,
                first_seen_at: Moment(0),
                seen_at: Moment(0),
            })
        };
        assign_protections(&mut groups, own);
        groups.iter().map(|group| group.protection).collect()
    }

    #[test]
    fn opting_out_is_handed_down_and_not_to_the_neighbour() {
        let opted_out = Some(Protection::OptedOut);
        let found = assigned(&[
            (None, GroupKind::Kubepods, None),
            (Some(0), POD, opted_out),
            (Some(1), CONTAINER, None),
            (Some(0), POD, None),
            (Some(3), CONTAINER, None),
        ]);
        assert_eq!(found, [None, opted_out, opted_out, None, None]);
    }

    #[test]
    fn a_host_group_is_as_protected_as_what_lies_in_it() {
        let found = assigned(&[
            (None, GroupKind::Host, Some(Protection::Delegated)),
            (Some(0), GroupKind::Host, None),
            (Some(1), GroupKind::Host, Some(Protection::NodeAgent)),
            (Some(0), GroupKind::Host, None),
        ]);
        let agent = Some(Protection::NodeAgent);
        assert_eq!(
            found,
            [agent, agent, agent, Some(Protection::Delegated)],
            "the stronger reason is told upwards; what lies in a delegated unit is delegated with it"
        );
    }

    #[test]
    fn pods_below_a_delegated_unit_are_no_part_of_it() {
        let delegated = Some(Protection::Delegated);
        let found = assigned(&[
            (None, GroupKind::Host, delegated),
            (Some(0), GroupKind::Kubepods, None),
            (Some(1), POD, None),
            (Some(2), CONTAINER, None),
        ]);
        assert_eq!(found, [delegated, None, None, None]);
    }

    #[test]
    fn a_spared_container_does_not_spare_its_pod() {
        let spared = Some(Protection::OomScoreAdj);
        let found = assigned(&[
            (None, POD, None),
            (Some(0), CONTAINER, spared),
            (Some(0), CONTAINER, None),
        ]);
        assert_eq!(found, [None, spared, None]);
    }
}
