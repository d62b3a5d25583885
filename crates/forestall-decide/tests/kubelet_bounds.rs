//! The shadow's bounds against the manager itself: whatever the phase of its loop, however late its looks, however old its
//! figures of pods, and whenever we began to look, it acts within the forecast and on a pod that the forecast named.

use forestall_decide::kubelet::{
    Bounds, Candidate, Extremes, Grower, Growth, KubeletConfig, LOOK, Manager, Observation, Outlook,
    PodOutlook, Reading, Shadow, Signal, Signs, Threshold, Verdict,
};
use forestall_decide::{Bytes, BytesPerSecond, Moment, PodUid, Span};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const CAPACITY: Bytes = Bytes(8192 * MIB);
/// Our own looks.
const TICK: Span = Span::secs(1);

/// A pod that grows at a steady rate.
#[derive(Clone, Copy, Debug)]
struct Grown {
    start: u64,
    rate: u64,
    priority: i32,
    request: u64,
}

impl Grown {
    fn used(&self, now: Moment) -> Bytes {
        Bytes(self.start) + BytesPerSecond(self.rate).over(now.since(Moment(0)))
    }

    fn candidate(&self, uid: usize, seen: Moment) -> Candidate {
        Candidate {
            uid: PodUid(uid as u128),
            priority: self.priority,
            request: Bytes(self.request).into(),
            working_set: Some(self.used(seen)),
            critical: false,
            grace: Span::secs(30),
        }
    }
}

fn grown() -> impl Strategy<Value = Grown> {
    (50..400_u64, 0..8_u64, 0..2_i32, 0..300_u64).prop_map(|(start, rate, priority, request)| Grown {
        start: start * MIB,
        rate: rate * MIB,
        priority,
        request: request * MIB,
    })
}

fn observed(pods: &[Grown], host: u64, now: Moment) -> Observation {
    let used: Bytes = pods.iter().map(|pod| pod.used(now)).sum();
    Observation {
        memory: Some(Reading {
            available: CAPACITY - used - Bytes(host),
            capacity: CAPACITY,
            at: now,
        }),
        allocatable: None,
    }
}

/// When the kubelet acts and on whom, if its looks come at `first` and then each `late` of these behind ten seconds, and
/// its figures of pods are as old as `ages` say.
fn acts(
    config: &KubeletConfig,
    pods: &[Grown],
    host: u64,
    first: Moment,
    late: &[u64],
    ages: &[u64],
) -> Option<(Moment, PodUid)> {
    let mut manager = Manager::new(config.clone(), first);
    let mut now = first;
    for round in 0..60 {
        let candidates: Vec<Candidate> = pods
            .iter()
            .enumerate()
            .map(|(uid, pod)| {
                let age = ages.get((round + uid) % ages.len()).copied().unwrap_or(0);
                pod.candidate(uid, Moment(now.0.saturating_sub(age * 1_000_000)))
            })
            .collect();
        let sync = manager.sync(now, &observed(pods, host, now), &candidates, |_| 0);
        if let Verdict::Evict(eviction) = sync.verdict {
            return Some((now, eviction.victim));
        }
        now = now + LOOK + Span::millis(late.get(round % late.len()).copied().unwrap_or(0));
    }
    None
}

proptest! {
    #[test]
    fn the_kubelet_acts_within_the_forecast_and_on_a_pod_it_named(
        pods in proptest::collection::vec(grown(), 1..6),
        distance in 1..300_u64,
        grace in prop_oneof![Just(0_u64), 1..45_u64],
        first in 0..10_000_u64,
        late in proptest::collection::vec(0..1000_u64, 1..5),
        ages in proptest::collection::vec(0..=20_u64, 1..7),
        joined in 0..120_u64,
    ) {
        // Everything is up for half a minute before the threshold is near, so old figures are figures.
        let start = Moment(30_000_000);
        let used: Bytes = pods.iter().map(|pod| pod.used(start)).sum();
        let value = Bytes::mebi(500);
        let host = (CAPACITY - used - value - Bytes::mebi(distance)).0;
        let config = KubeletConfig {
            capacity: CAPACITY,
            thresholds: vec![Threshold {
                signal: Signal::MemoryAvailable,
                value,
                grace: Span::secs(grace),
                min_reclaim: Bytes::ZERO,
            }],
            ..KubeletConfig::default()
        };
        let first = start + Span::millis(first);
        let Some((when, victim)) = acts(&config, &pods, host, first, &late, &ages) else {
            return Ok(());
        };

        let rate = BytesPerSecond(pods.iter().map(|pod| pod.rate).sum());
        let growth = Growth { slow: rate, middle: rate, fast: rate };
        // One that was there from the beginning, and one that came later.
        let mut shadows = [
            (Moment(0), Shadow::new(config.clone())),
            (start + Span::secs(joined), Shadow::new(config)),
        ];
        let mut extremes = vec![Extremes::default(); pods.len()];
        let mut now = Moment(0);
        while now < when {
            let mut views = Vec::new();
            for (uid, (pod, extremes)) in pods.iter().zip(&mut extremes).enumerate() {
                extremes.push(now, pod.used(now));
                views.push(PodOutlook {
                    pod: pod.candidate(uid, now),
                    low: extremes.low(),
                    high: extremes.high(),
                    growth_fast: BytesPerSecond(pod.rate),
                    frees: pod.used(now),
                });
            }
            let outlook = Outlook {
                observed: observed(&pods, host, now),
                node_growth: growth,
                pods_growth: growth,
                blind_growth: BytesPerSecond(0),
                node_cache: Bytes::ZERO,
                pods_cache: Bytes::ZERO,
                kernel: Bounds::NEVER,
                kubepods: Bounds::NEVER,
                grower: Grower::Unknown,
                pods: &views,
                pods_known: true,
                signs: Signs { present: true, heard_at: None },
            };
            for (began, shadow) in &mut shadows {
                if now < *began {
                    continue;
                }
                let forecast = shadow.look(now, &outlook);
                if now < start {
                    continue;
                }
                let crossing = forecast.crossing;
                prop_assert!(crossing.is_some(), "it acts after {:?} and nothing is in sight at {:?}", when, now);
                if let Some(crossing) = crossing {
                    let left = when.since(now);
                    // Our own looks are a tick apart, and rates are cut to whole bytes.
                    let slack = TICK + Span::millis(1);
                    prop_assert!(left + slack >= crossing.acts.earliest, "{left:?} before {:?}", crossing.acts);
                    prop_assert!(left <= crossing.acts.latest + slack, "{left:?} after {:?}", crossing.acts);
                    prop_assert!(!crossing.overdue);
                    // Growth is carried on for a minute.
                    if left <= Span::secs(60) {
                        let named = forecast.victims.iter().any(|possible| possible.uid == victim);
                        prop_assert!(named, "{victim:?} is not among {:?}", forecast.victims);
                    }
                }
            }
            now = now + TICK;
        }
    }
}
