use super::*;
use crate::kubelet::forecast::{Grower, PodOutlook, Unmended};
use crate::kubelet::rank::Candidate;
use crate::kubelet::signal::{Observation, Reading};
use crate::kubelet::{Nanobytes, ThresholdTexts};
use crate::pods::PodUid;
use crate::units::{Bytes, BytesPerSecond};

const MIB: u64 = 1 << 20;

/// The eviction article's machine: 7120616 Ki, 1638 Mi reserved, evicting below 750 Mi.
fn article() -> KubeletConfig {
    let mut config = KubeletConfig {
        capacity: Bytes(7_120_616 << 10),
        kube_reserved: Bytes::mebi(1638),
        ..KubeletConfig::default()
    };
    let texts = ThresholdTexts {
        hard: Some("750Mi"),
        ..ThresholdTexts::default()
    };
    config.set_thresholds(&texts).expect("a plain threshold");
    config
}

fn steady(rate: u64) -> Growth {
    let rate = BytesPerSecond(rate);
    Growth {
        slow: rate,
        middle: rate,
        fast: rate,
    }
}

fn pod(uid: u128, working_set_mebi: u64) -> PodOutlook {
    let working_set = Bytes::mebi(working_set_mebi);
    PodOutlook {
        pod: Candidate {
            uid: PodUid(uid),
            priority: 0,
            request: Nanobytes::default(),
            working_set: Some(working_set),
            critical: false,
            grace: Span::secs(30),
        },
        low: working_set,
        high: working_set,
        growth_fast: BytesPerSecond(0),
        frees: working_set,
    }
}

/// A kubelet that lives; both signals with this much more than the article's 750 Mi; nothing grows.
fn outlook(node_over_mebi: u64, pods_over_mebi: u64, pods: &[PodOutlook]) -> Outlook<'_> {
    let reading = |over, capacity| Reading {
        available: Bytes::mebi(750 + over),
        capacity,
        at: Moment(0),
    };
    Outlook {
        observed: Observation {
            memory: Some(reading(node_over_mebi, Bytes(7_120_616 << 10))),
            allocatable: Some(reading(pods_over_mebi, Bytes(5_573_943_296))),
        },
        node_growth: steady(0),
        pods_growth: steady(0),
        blind_growth: BytesPerSecond(0),
        node_cache: Bytes::ZERO,
        pods_cache: Bytes::ZERO,
        kernel: Bounds::NEVER,
        kubepods: Bounds::NEVER,
        grower: Grower::Unknown,
        pods,
        pods_known: true,
        signs: Signs {
            present: true,
            heard_at: None,
        },
    }
}

fn at(secs: u64) -> Moment {
    Moment(secs * 1_000_000)
}

fn secs(bounds: Bounds) -> [u64; 3] {
    [bounds.earliest, bounds.middle, bounds.latest].map(|span| span.0 / 1_000_000)
}

#[test]
fn where_nothing_grows_nothing_is_in_sight() {
    let pods = [pod(1, 100)];
    let mut shadow = Shadow::new(article());
    let forecast = shadow.look(at(0), &outlook(100, 100, &pods));
    assert_eq!((forecast.crossing, forecast.pressure), (None, false));
    assert_eq!(forecast.state, KubeletState::Running);
    assert_eq!(forecast.unmended, []);
}

#[test]
fn a_hundred_mebibytes_in_six_seconds_are_the_kubelets() {
    let pods = [pod(1, 4300), pod(2, 165)];
    let mut view = outlook(1638, 100, &pods);
    view.pods_growth = steady(100 * MIB / 6);
    view.grower = Grower::Pod(PodUid(1));
    // 850 MiB to the limit of kubepods: 45 s of them lie behind the threshold.
    view.kubepods = Bounds::to_cover(Bytes::mebi(850), view.pods_growth);
    let mut shadow = Shadow::new(article());
    let forecast = shadow.look(at(0), &view);
    let crossing = forecast.crossing.expect("it grows");
    assert_eq!(crossing.threshold.signal, Signal::AllocatableMemoryAvailable);
    assert_eq!(crossing.distance, Bytes::mebi(100));
    assert_eq!(secs(crossing.crosses), [6, 6, 6]);
    assert_eq!(secs(crossing.acts), [6, 11, 17]);
    let victims: Vec<u128> = forecast.victims.iter().map(|victim| victim.uid.0).collect();
    assert_eq!(victims, [1]);
    assert_eq!(forecast.unmended, []);
}

#[test]
fn a_hundred_mebibytes_in_a_fifth_of_a_second_are_the_kernels() {
    let pods = [pod(1, 4300)];
    let mut view = outlook(1638, 100, &pods);
    view.pods_growth = steady(500 * MIB);
    view.kubepods = Bounds::to_cover(Bytes::mebi(850), view.pods_growth);
    let mut shadow = Shadow::new(article());
    // 1.5 s over the band; the look comes after 5 s at the median.
    assert_eq!(shadow.look(at(0), &view).unmended, [Unmended::KubepodsFirst]);
}

#[test]
fn a_leak_on_the_host_is_paid_for_by_pods_that_cannot_stop_it() {
    let pods = [pod(1, 20), pod(2, 30)];
    let mut view = outlook(0, 4000, &pods);
    view.node_growth = steady(100 * MIB / 6);
    view.grower = Grower::Host;
    view.kernel = Bounds::to_cover(Bytes::mebi(700), view.node_growth);
    let mut shadow = Shadow::new(article());
    let forecast = shadow.look(at(0), &view);
    assert_eq!(forecast.unmended, [Unmended::HostGrows, Unmended::TooLittle]);
    assert_eq!(forecast.frees_max, Bytes::mebi(30));
    // 30 MiB last 1.8 s.
    assert_eq!(forecast.lasts.as_millis(), 1800);

    // The kubelet's log falls silent for 30 s, then for more than a minute.
    view.signs.heard_at = Some(at(0));
    let starved = shadow.look(at(31), &view);
    assert_eq!(starved.state, KubeletState::Starved);
    assert!(starved.unmended.contains(&Unmended::Silent));
    let gone = shadow.look(at(61), &view);
    assert_eq!(gone.state, KubeletState::Gone);
    assert_eq!(gone.crossing.map(|crossing| crossing.acts), Some(Bounds::NEVER));
    view.signs.present = false;
    assert_eq!(shadow.look(at(62), &view).state, KubeletState::Absent);
}

#[test]
fn a_soft_threshold_counts_from_the_look_after_the_crossing() {
    let mut config = article();
    let texts = ThresholdTexts {
        soft: Some("750Mi"),
        soft_grace: Some(Span::secs(90)),
        ..ThresholdTexts::default()
    };
    config.set_thresholds(&texts).expect("a plain threshold");
    config.pod_grace_max = Span::secs(60);
    let pods = [PodOutlook {
        pod: Candidate {
            grace: Span::secs(40),
            ..pod(1, 900).pod
        },
        ..pod(1, 900)
    }];
    let mut view = outlook(0, 4000, &pods);
    let mut shadow = Shadow::new(config);
    shadow.look(at(0), &view);
    view.observed.memory = view.observed.memory.map(|reading| Reading {
        available: Bytes::mebi(700),
        ..reading
    });
    let first = shadow.look(at(1), &view);
    assert!(first.pressure, "the condition does not wait for the grace");
    let crossing = first.crossing.expect("it is met");
    // Nine looks after the one that finds it, which is up to ten seconds away; each may come a second late.
    assert_eq!(secs(crossing.acts), [90, 95, 110]);
    // Half as long again as 40 s, and 30 s of cleaning up.
    assert_eq!(crossing.blocked_max, Span::secs(90));
    assert!(first.unmended.contains(&Unmended::BlocksHard));
    let later = shadow.look(at(31), &view).crossing.expect("it is met");
    assert_eq!((secs(later.acts), later.overdue), ([60, 65, 80], false));
    let late = shadow.look(at(112), &view).crossing.expect("it is met");
    assert!(late.overdue);
    assert_eq!(secs(late.acts), [0, 11, 101]);
}

#[test]
fn an_eviction_for_page_cache_alone_is_named() {
    let pods = [pod(1, 4000)];
    let mut view = outlook(2000, 50, &pods);
    view.pods_growth = steady(10 * MIB);
    view.pods_cache = Bytes::mebi(800);
    let mut shadow = Shadow::new(article());
    assert_eq!(shadow.look(at(0), &view).unmended, [Unmended::CacheAlone]);
}

#[test]
fn old_figures_make_more_than_one_victim_possible() {
    let grower = PodOutlook {
        low: Bytes::mebi(100),
        growth_fast: BytesPerSecond(20 * MIB),
        ..pod(1, 300)
    };
    let critical = PodOutlook {
        pod: Candidate {
            critical: true,
            ..pod(3, 900).pod
        },
        ..pod(3, 900)
    };
    let pods = [grower, pod(2, 250), pod(4, 90), critical];
    let mut view = outlook(2000, 10, &pods);
    view.pods_growth = steady(20 * MIB);
    view.grower = Grower::Pod(PodUid(1));
    let mut shadow = Shadow::new(article());
    let forecast = shadow.look(at(0), &view);
    let victims: Vec<u128> = forecast.victims.iter().map(|victim| victim.uid.0).collect();
    assert_eq!(victims, [1, 2]);
    assert_eq!(forecast.skipped, [PodUid(3)]);
    assert_eq!(
        (forecast.frees_min, forecast.frees_max),
        (Bytes::mebi(250), Bytes::mebi(300))
    );
    assert!(forecast.unmended.contains(&Unmended::PerhapsNotTheGrower));
    view.grower = Grower::Pod(PodUid(4));
    let forecast = shadow.look(at(1), &view);
    assert!(forecast.unmended.contains(&Unmended::NotTheGrower));
    (view.pods, view.pods_known) = (&[], false);
    let forecast = shadow.look(at(2), &view);
    assert!(forecast.unmended.contains(&Unmended::VictimUnknown));
    assert!(!forecast.unmended.contains(&Unmended::NotTheGrower));
}

#[test]
fn kernel_memory_that_grows_is_not_seen() {
    let pods = [pod(1, 400)];
    let mut view = outlook(10, 4000, &pods);
    view.node_growth = steady(MIB);
    view.blind_growth = BytesPerSecond(30 * MIB);
    view.kernel = Bounds::to_cover(Bytes::mebi(200), steady(31 * MIB));
    let mut shadow = Shadow::new(article());
    let forecast = shadow.look(at(0), &view);
    // 200 MiB at 31 MiB/s last 6.5 s; the kubelet acts after 15.
    assert_eq!(forecast.unmended, [Unmended::KernelFirst, Unmended::BlindGrows]);
}

#[test]
fn with_critical_pods_alone_there_is_nobody() {
    let pods = [PodOutlook {
        pod: Candidate {
            critical: true,
            ..pod(1, 900).pod
        },
        ..pod(1, 900)
    }];
    let mut view = outlook(10, 4000, &pods);
    view.node_growth = steady(MIB);
    let mut shadow = Shadow::new(article());
    assert_eq!(shadow.look(at(0), &view).unmended, [Unmended::Nobody]);
}

#[test]
fn a_clock_that_goes_back_starts_the_grace_anew() {
    let pods = [pod(1, 900)];
    let mut view = outlook(0, 4000, &pods);
    view.observed.memory = view.observed.memory.map(|reading| Reading {
        available: Bytes::mebi(700),
        ..reading
    });
    let mut shadow = Shadow::new(article());
    shadow.look(at(1000), &view);
    let crossing = shadow.look(at(5), &view).crossing.expect("it is met");
    assert_eq!(crossing.met_for, Some(Span(0)));
}
