use super::*;
use crate::kubelet::Signal;
use crate::kubelet::signal::Reading;
use crate::units::Bytes;

fn at(secs: u64) -> Moment {
    Moment(secs * 1_000_000)
}

fn available(mebi: u64, secs: u64) -> Observation {
    Observation {
        memory: Some(Reading {
            available: Bytes::mebi(mebi),
            capacity: Bytes::mebi(8192),
            at: at(secs),
        }),
        allocatable: None,
    }
}

fn pod(uid: u128, working_set_mebi: u64) -> Candidate {
    Candidate {
        uid: PodUid(uid),
        priority: 0,
        request: Bytes::ZERO.into(),
        working_set: Some(Bytes::mebi(working_set_mebi)),
        critical: false,
        grace: Span::secs(60),
    }
}

fn threshold(mebi: u64, grace_secs: u64, reclaim_mebi: u64) -> Threshold {
    Threshold {
        signal: Signal::MemoryAvailable,
        value: Bytes::mebi(mebi),
        grace: Span::secs(grace_secs),
        min_reclaim: Bytes::mebi(reclaim_mebi),
    }
}

fn manager(thresholds: &[Threshold], pod_grace_max_secs: u64) -> Manager {
    let config = KubeletConfig {
        thresholds: thresholds.to_vec(),
        pod_grace_max: Span::secs(pod_grace_max_secs),
        ..KubeletConfig::default()
    };
    Manager::new(config, at(0))
}

/// One look at `secs` that reads `mebi` available.
fn look(manager: &mut Manager, secs: u64, mebi: u64) -> Sync {
    let pods = [pod(1, 300), pod(2, 700)];
    manager.sync(at(secs), &available(mebi, secs), &pods, |_| 0)
}

fn evicts(sync: Sync) -> Option<(u128, Span)> {
    match sync.verdict {
        Verdict::Evict(eviction) => Some((eviction.victim.0, eviction.grace)),
        _ => None,
    }
}

#[test]
fn a_hard_threshold_acts_at_once_below_it_and_not_at_it() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    let calm = look(&mut manager, 0, 100);
    assert_eq!((calm.verdict, calm.pressure), (Verdict::Calm, false));
    assert_eq!(manager.wakes_at(), at(10));
    let acting = look(&mut manager, 10, 99);
    assert!(acting.pressure);
    assert_eq!(evicts(acting), Some((2, Span::secs(1))));
}

#[test]
fn a_soft_threshold_is_pressure_at_once_and_acts_after_its_grace() {
    let mut manager = manager(&[threshold(500, 25, 0)], 90);
    let first = look(&mut manager, 0, 400);
    assert_eq!((first.verdict, first.pressure), (Verdict::Waiting, true));
    assert_eq!(look(&mut manager, 10, 400).verdict, Verdict::Waiting);
    assert_eq!(look(&mut manager, 20, 400).verdict, Verdict::Waiting);
    // Thirty seconds are the first that are not fewer than 25; the pod's own 60 s are less than the 90 allowed.
    assert_eq!(evicts(look(&mut manager, 30, 400)), Some((2, Span::secs(60))));
    assert_eq!(manager.wakes_at(), at(30 + 90), "one and a half times the grace");
}

#[test]
fn one_look_above_a_soft_threshold_starts_its_grace_anew() {
    let mut manager = manager(&[threshold(500, 15, 0)], 0);
    look(&mut manager, 0, 400);
    look(&mut manager, 10, 600);
    assert_eq!(look(&mut manager, 20, 400).verdict, Verdict::Waiting);
    assert_eq!(look(&mut manager, 30, 400).verdict, Verdict::Waiting);
    // The most that a pod may be left is nothing by default, and one second is the least.
    assert_eq!(evicts(look(&mut manager, 40, 400)), Some((2, Span::secs(1))));
}

#[test]
fn a_minimum_reclaim_holds_a_threshold_that_has_counted() {
    let mut manager = manager(&[threshold(100, 0, 200)], 0);
    assert_eq!(look(&mut manager, 0, 250).verdict, Verdict::Calm);
    assert!(evicts(look(&mut manager, 10, 50)).is_some());
    assert!(evicts(look(&mut manager, 20, 299)).is_some());
    assert_eq!(look(&mut manager, 30, 300).verdict, Verdict::Calm);
    assert_eq!(look(&mut manager, 40, 250).verdict, Verdict::Calm);
}

#[test]
fn pressure_ends_five_minutes_after_the_last_crossing() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    look(&mut manager, 0, 50);
    assert!(look(&mut manager, 290, 500).pressure);
    assert!(!manager.admits(Qos::BestEffort, false, false));
    assert!(manager.admits(Qos::Burstable, false, false));
    assert!(manager.admits(Qos::BestEffort, true, false));
    assert!(manager.admits(Qos::BestEffort, false, true));
    assert!(look(&mut manager, 299, 500).pressure);
    assert!(!look(&mut manager, 300, 500).pressure);
    assert!(manager.admits(Qos::BestEffort, false, false));
}

#[test]
fn the_same_reading_is_acted_upon_once() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    let stale = available(50, 3);
    let pods = [pod(1, 300)];
    assert!(evicts(manager.sync(at(10), &stale, &pods, |_| 0)).is_some());
    let again = manager.sync(at(20), &stale, &pods, |_| 0);
    assert_eq!((again.verdict, again.pressure), (Verdict::Waiting, true));
}

#[test]
fn nobody_but_critical_pods_is_nobody() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    let critical = Candidate {
        critical: true,
        ..pod(1, 900)
    };
    let sync = manager.sync(at(0), &available(1, 0), &[critical], |_| 0);
    assert_eq!(sync.verdict, Verdict::Nobody(threshold(100, 0, 0)));
    assert_eq!(manager.wakes_at(), at(10), "it sleeps as after any other look");
}

#[test]
fn it_waits_for_its_victim_and_looks_again_at_once() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    look(&mut manager, 0, 50);
    assert!(manager.is_blocked());
    assert!(!manager.advance(at(2), Victim::Running));
    // The containers end at 3 s; cleaned up at 5.5 s, which the poll at 6 s finds.
    assert!(!manager.advance(at(3), Victim::Ended));
    assert!(!manager.advance(at(4), Victim::Ended));
    assert!(!manager.advance(at(5), Victim::Ended));
    assert!(!manager.advance(Moment(5_500_000), Victim::Cleaned));
    assert_eq!(manager.wakes_at(), at(6));
    assert!(manager.advance(at(6), Victim::Cleaned));
}

#[test]
fn a_victim_that_never_ends_costs_ten_and_thirty_seconds() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    look(&mut manager, 0, 50);
    assert_eq!(manager.looks_by(), at(40));
    for secs in 1..40 {
        assert!(!manager.advance(at(secs), Victim::Running), "{secs}");
    }
    assert!(manager.advance(at(40), Victim::Running));
}

#[test]
fn a_slow_soft_victim_blocks_a_hard_threshold() {
    // k/k #123872: 600 s of grace are waited for 900 s, whatever the hard threshold says meanwhile.
    let mut manager = manager(&[threshold(100, 0, 0), threshold(500, 10, 0)], 600);
    let slow = Candidate {
        grace: Span::secs(600),
        ..pod(1, 300)
    };
    manager.sync(at(0), &available(400, 0), &[slow], |_| 0);
    let sync = manager.sync(at(10), &available(400, 10), &[slow], |_| 0);
    assert_eq!(evicts(sync), Some((1, Span::secs(600))));
    assert!(!manager.advance(at(909), Victim::Running));
    assert_eq!(manager.looks_by(), at(10 + 900 + 30));
}

#[test]
fn chance_is_asked_only_between_equals() {
    let mut manager = manager(&[threshold(100, 0, 0)], 0);
    let pods = [pod(1, 300), pod(2, 300), pod(3, 100)];
    let sync = manager.sync(at(0), &available(1, 0), &pods, |equals| equals.len() - 1);
    let Verdict::Evict(eviction) = sync.verdict else {
        panic!("{sync:?}")
    };
    assert_eq!((eviction.victim, eviction.equals), (PodUid(2), 2));
}
