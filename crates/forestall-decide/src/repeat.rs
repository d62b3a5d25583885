//! Who was killed lately: a container that the kubelet restarts and that leaks again is not killed for ever (rule 7).

use crate::decision::Evidence;
use crate::input::GroupId;
use crate::units::{Moment, Span};

/// A second kill within this time is followed by an eviction.
const WITHIN: Span = Span::secs(600);
/// So many kills are remembered; more than ten minutes of cooldowns leave room for on one node.
const KEPT: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Kill {
    at: Moment,
    pod: GroupId,
    evidence: Evidence,
}

/// The kills of the last ten minutes, by the pod's cgroup, which outlives its containers'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    kills: Vec<Kill>,
}

impl Repeats {
    /// A kill in this pod has just been seen to work.
    pub(crate) fn note(&mut self, now: Moment, pod: GroupId, evidence: Evidence) {
        if self.kills.len() >= KEPT {
            self.kills.remove(0);
        }
        self.kills.push(Kill {
            at: now,
            pod,
            evidence,
        });
    }

    /// Forgets what is older than ten minutes, and everything that lies in the future: the clock has jumped.
    pub(crate) fn prune(&mut self, now: Moment) {
        self.kills
            .retain(|kill| kill.at <= now && now.since(kill.at) <= WITHIN);
    }

    /// A pod that was killed in twice, and why the last time; the `nth` of them.
    pub(crate) fn twice(&self, nth: usize) -> Option<(GroupId, Evidence)> {
        let is_last_of_several = |(index, kill): &(usize, &Kill)| {
            let same = |other: &Kill| other.pod == kill.pod;
            self.kills.iter().take(*index).any(same) && !self.kills.iter().skip(index + 1).any(same)
        };
        let mut several = self.kills.iter().enumerate().filter(is_last_of_several);
        several.nth(nth).map(|(_, kill)| (kill.pod, kill.evidence))
    }
}
