//! Who was killed lately: a container that the kubelet restarts and that leaks again is not killed for ever, and one whose memory
//! a kill does not give back not even twice (rule 7).

use crate::decision::Evidence;
use crate::input::GroupId;
use crate::units::{Bytes, Moment, Span};

/// A second kill within this time is followed by an eviction.
const WITHIN: Span = Span::secs(600);
/// So many kills are remembered; more than ten minutes of cooldowns leave room for on one node.
const KEPT: usize = 64;
/// So much of a culprit's growth (permille) came back, or did not.
const HALF_PERMILLE: u64 = 500;

/// A kill that was seen to work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    pub(crate) at: Moment,
    pub(crate) pod: GroupId,
    pub(crate) evidence: Evidence,
    /// What came back by it.
    pub(crate) freed: Bytes,
}

impl Kill {
    /// It gave back less than half of the growth that it was for, and at least as much lies in the pod's volumes.
    pub(crate) fn is_outlived(&self, in_volumes: Bytes) -> bool {
        self.evidence.reading.culprit.is_some_and(|culprit| {
            let share = |bytes: Bytes| bytes.permille_of(culprit.grown);
            share(self.freed) < HALF_PERMILLE && share(in_volumes) >= HALF_PERMILLE
        })
    }
}

/// The kills of the last ten minutes, by the pod's cgroup, which outlives its containers'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    kills: Vec<Kill>,
}

impl Repeats {
    /// A kill in this pod has just been seen to work.
    pub(crate) fn note(&mut self, kill: Kill) {
        if self.kills.len() >= KEPT {
            self.kills.remove(0);
        }
        self.kills.push(kill);
    }

    /// The clock went back by so much: nobody is forgotten sooner or later by that.
    pub(crate) fn set_back(&mut self, by: Span) {
        for kill in &mut self.kills {
            kill.at = kill.at.before(by);
        }
    }

    /// Forgets what is older than ten minutes.
    pub(crate) fn prune(&mut self, now: Moment) {
        self.kills.retain(|kill| now.since(kill.at) <= WITHIN);
    }

    /// The last kill in the `nth` pod, and how many there were in it.
    pub(crate) fn last_in_pod(&self, nth: usize) -> Option<(Kill, usize)> {
        let is_last = |(index, kill): &(usize, &Kill)| {
            let mut after = self.kills.iter().skip(index + 1);
            !after.any(|other| other.pod == kill.pod)
        };
        let mut last = self.kills.iter().enumerate().filter(is_last);
        last.nth(nth).map(|(_, kill)| {
            let same = self.kills.iter().filter(|other| other.pod == kill.pod);
            (*kill, same.count())
        })
    }
}
