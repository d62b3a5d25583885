//! The second half of a forecast: whom the kubelet may evict, what that gives back, and what it leaves unmended.

use super::config::Signal;
use super::forecast::{
    Crossing, Grower, Growth, KubeletForecast, KubeletState, Outlook, PodOutlook, PossibleVictim, Unmended,
};
use super::manager::{CLEANUP_MAX, wait_for};
use super::rank::Standing;
use crate::units::{Bytes, Span};

/// Nobody's growth is carried on for longer than this when victims are compared: of an eviction that is farther away nobody
/// knows whom it hits, and the forecast is made anew long before.
const CARRIED_MAX: Span = Span::secs(60);

impl KubeletForecast {
    /// A pod may be first if, at the most the kubelet may believe of it, it comes before every other at the least it may
    /// believe of those.
    pub(super) fn find_victims(&mut self, outlook: &Outlook<'_>) {
        self.victims.clear();
        self.skipped.clear();
        let Some(crossing) = self.crossing else { return };
        let carried = crossing.acts.latest.min(CARRIED_MAX);
        let evictable = outlook.pods.iter().filter(|pod| !pod.pod.critical);
        let Some(bar) = evictable.clone().map(least_standing).min() else {
            return;
        };
        let possible = evictable.filter(|pod| most_standing(pod, carried) <= bar);
        self.victims.extend(possible.map(|pod| PossibleVictim {
            uid: pod.pod.uid,
            frees: pod.frees,
        }));
        let critical = outlook.pods.iter().filter(|pod| pod.pod.critical);
        let before = critical.filter(|pod| least_standing(pod) < bar);
        self.skipped.extend(before.map(|pod| pod.pod.uid));
    }

    /// Fills in what an eviction gives back and what it does not mend.
    pub(super) fn find_unmended(&mut self, outlook: &Outlook<'_>) {
        let freed = self.victims.iter().map(|victim| victim.frees);
        self.frees_min = freed.clone().min().unwrap_or_default();
        self.frees_max = freed.max().unwrap_or_default();
        self.lasts = Span::FOREVER;
        self.unmended.clear();
        let unable = self.state != KubeletState::Running;
        let Some(crossing) = self.crossing else {
            if unable {
                self.unmended.push(Unmended::Silent);
            }
            return;
        };
        let (growth, cache) = match crossing.threshold.signal {
            Signal::MemoryAvailable => (outlook.node_growth, outlook.node_cache),
            Signal::AllocatableMemoryAvailable => (outlook.pods_growth, outlook.pods_cache),
        };
        self.lasts = Span::to_cover(self.frees_min, growth.middle);
        let (grows, perhaps) = self.misses_grower(outlook);
        let node = crossing.threshold.signal == Signal::MemoryAvailable;
        let left = left_when_acting(&crossing, outlook, growth);
        let wanted = crossing.threshold.value + crossing.threshold.min_reclaim;
        // Who comes first where two things end in the same moment is anybody's guess; the kernel does not wait.
        let kernel_first = |wall: Span| wall != Span::FOREVER && wall <= crossing.acts.middle;
        let findings = [
            (Unmended::Silent, unable),
            (Unmended::KernelFirst, kernel_first(outlook.kernel.middle)),
            (Unmended::KubepodsFirst, kernel_first(outlook.kubepods.middle)),
            (Unmended::HostGrows, node && outlook.grower == Grower::Host),
            (
                Unmended::BlindGrows,
                outlook.blind_growth > outlook.node_growth.middle,
            ),
            (Unmended::NotTheGrower, grows),
            (Unmended::PerhapsNotTheGrower, perhaps),
            (Unmended::CacheAlone, left + cache >= wanted),
            (Unmended::VictimUnknown, !outlook.pods_known),
            (Unmended::Nobody, outlook.pods_known && self.victims.is_empty()),
            (
                Unmended::TooLittle,
                !self.victims.is_empty() && left + self.frees_max < wanted,
            ),
            (
                Unmended::BlocksHard,
                crossing.threshold.grace > Span(0) && crossing.blocked_max > wait_for(Span(0)) + CLEANUP_MAX,
            ),
        ];
        let holds = findings.iter().filter(|(_, holds)| *holds);
        self.unmended.extend(holds.map(|(finding, _)| *finding));
    }

    /// The growing pod is not among the victims; or it is, and others are too.
    fn misses_grower(&self, outlook: &Outlook<'_>) -> (bool, bool) {
        // Whom it hits nobody can tell without knowing the pods.
        let Grower::Pod(grower) = outlook.grower else {
            return (false, false);
        };
        if !outlook.pods_known {
            return (false, false);
        }
        let among = self.victims.iter().any(|victim| victim.uid == grower);
        (!among, among && self.victims.len() > 1)
    }
}

/// What the signal reads when the kubelet acts: the middle of what growth leaves of it by then.
fn left_when_acting(crossing: &Crossing, outlook: &Outlook<'_>, growth: Growth) -> Bytes {
    let reading = outlook.observed.of(crossing.threshold.signal);
    let available = reading.map_or(Bytes::ZERO, |reading| reading.available);
    match crossing.acts.middle {
        Span::FOREVER => crossing.threshold.value.min(available),
        until => available - growth.middle.over(until),
    }
}

/// Where a pod stands at the least that the kubelet may believe it uses.
fn least_standing(pod: &PodOutlook) -> Standing {
    let known = pod.pod.working_set;
    standing(pod, known.map(|now| now.min(pod.low)))
}

/// Where it stands at the most, its growth carried on. A figure of more than 63 bits is a negative one to the kubelet, so
/// growth stops there.
fn most_standing(pod: &PodOutlook, carried: Span) -> Standing {
    let known = pod.pod.working_set;
    let most = known.map(|now| now.max(pod.high) + pod.growth_fast.over(carried));
    standing(pod, most.map(|most| most.min(Bytes(i64::MAX.unsigned_abs())))).min(least_standing(pod))
}

fn standing(pod: &PodOutlook, working_set: Option<Bytes>) -> Standing {
    Standing::of(pod.pod.priority, pod.pod.request, working_set)
}
