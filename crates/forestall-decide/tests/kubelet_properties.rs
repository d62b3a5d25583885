//! Whatever comes in, the shadow kubelet neither panics nor contradicts itself.

use forestall_decide::kubelet::{
    Bounds, Candidate, Grower, Growth, KubeletConfig, KubeletState, Manager, Nanobytes, Observation, Outlook,
    PodOutlook, Quantity, Reading, Shadow, Signal, Signs, Standing, Threshold, Verdict, Victim,
    first_victims, parse_min_reclaim, parse_threshold,
};
use forestall_decide::{Bytes, BytesPerSecond, Moment, PodUid, Span};
use proptest::prelude::*;

/// Any number, and often one at an edge.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..4_u64,
        (0..64_u32).prop_map(|shift| 1 << shift),
        Just(u64::MAX),
        Just(1 << 63),
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    number().prop_map(Bytes)
}

fn reading() -> impl Strategy<Value = Option<Reading>> {
    let any = (bytes(), bytes(), number());
    proptest::option::of(any.prop_map(|(available, capacity, at)| Reading {
        available,
        capacity,
        at: Moment(at),
    }))
}

fn observation() -> impl Strategy<Value = Observation> {
    (reading(), reading()).prop_map(|(memory, allocatable)| Observation { memory, allocatable })
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let figures = (any::<i32>(), any::<i128>(), proptest::option::of(bytes()));
    (any::<u128>(), figures, any::<bool>(), number()).prop_map(
        |(uid, (priority, request, working_set), critical, grace)| Candidate {
            uid: PodUid(uid),
            priority,
            request: Nanobytes(request),
            working_set,
            critical,
            grace: Span(grace),
        },
    )
}

fn growth() -> impl Strategy<Value = Growth> {
    (number(), number(), number()).prop_map(|(slow, middle, fast)| Growth {
        slow: BytesPerSecond(slow),
        middle: BytesPerSecond(middle),
        fast: BytesPerSecond(fast),
    })
}

fn config() -> impl Strategy<Value = KubeletConfig> {
    let threshold =
        (any::<bool>(), bytes(), number(), bytes()).prop_map(|(node, value, grace, min_reclaim)| {
            let signal = if node {
                Signal::MemoryAvailable
            } else {
                Signal::AllocatableMemoryAvailable
            };
            Threshold {
                signal,
                value,
                grace: Span(grace),
                min_reclaim,
            }
        });
    let thresholds = proptest::collection::vec(threshold, 0..4);
    (thresholds, number(), number()).prop_map(|(thresholds, transition, grace)| KubeletConfig {
        thresholds,
        pressure_transition: Span(transition),
        pod_grace_max: Span(grace),
        ..KubeletConfig::default()
    })
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::vec(candidate(), 0..6)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", number in "[-+]?[0-9.]{0,60}(e[-+]?[0-9]{0,12}|[KMGTPE]i?|[num])?%{0,2}") {
        for text in [text, number] {
            if let Ok(quantity) = Quantity::parse(&text) {
                prop_assert!(quantity.exact.round_down() <= quantity.exact.round_up());
            }
            if let Ok(Some(value)) = parse_threshold(&text) {
                value.bytes(Bytes(u64::MAX));
            }
            if let Ok(value) = parse_min_reclaim(&text) {
                value.bytes(Bytes(1 << 33));
            }
        }
    }

    #[test]
    fn a_refusal_stays_short_and_escaped(text in any::<String>()) {
        if let Err(error) = Quantity::parse(&text) {
            let said = error.to_string();
            prop_assert!(said.len() < 1000, "{}", said.len());
            prop_assert!(!said.contains(|char: char| char.is_control()), "{said:?}");
            prop_assert!(error.at <= text.len());
        }
    }

    #[test]
    // The engine has no floats; here they are the other opinion.
    #[allow(clippy::disallowed_types, clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn a_percentage_is_what_the_machines_own_floats_make_of_it(percent in 0.001_f64..100.0, capacity in 1_u64..(1 << 53)) {
        let text = format!("{percent}%");
        let share = percent.to_string().parse::<f32>().unwrap_or(0.0) / 100.0;
        let expected = (capacity as f64 * f64::from(share)) as u64;
        let value = parse_threshold(&text).ok().flatten();
        prop_assert_eq!(value.map(|value| value.bytes(Bytes(capacity))), Some(Bytes(expected)));
    }

    #[test]
    fn the_first_victims_are_the_least_of_all_that_may_be_evicted(pods in candidates()) {
        let mut first = Vec::new();
        first_victims(&pods, &mut first);
        let standing = |pod: &Candidate| -> Standing { pod.standing() };
        for (index, pod) in pods.iter().enumerate() {
            let least = !pod.critical && pods.iter().all(|other| other.critical || standing(pod) <= standing(other));
            prop_assert_eq!(first.contains(&index), least);
        }
    }

    #[test]
    fn the_manager_evicts_nobody_critical_and_always_looks_again(
        config in config(),
        looks in proptest::collection::vec((number(), observation(), candidates(), any::<usize>()), 1..12),
    ) {
        let mut manager = Manager::new(config, Moment(0));
        for (now, observed, pods, place) in looks {
            let now = Moment(now);
            if let Verdict::Evict(eviction) = manager.sync(now, &observed, &pods, |_| place).verdict {
                prop_assert!(!pods[eviction.candidate].critical);
                prop_assert_eq!(pods[eviction.candidate].uid, eviction.victim);
                prop_assert!(eviction.grace >= Span::secs(1));
                prop_assert!(eviction.waits_until.since(now) >= Span::secs(10) || eviction.waits_until.0 == u64::MAX);
            }
            // Whatever becomes of the victim, it looks again by then.
            let by = manager.looks_by();
            prop_assert!(by >= now);
            let mut looks = false;
            for _ in 0..40 {
                looks = looks || manager.advance(manager.wakes_at(), Victim::Running);
            }
            prop_assert!(looks || manager.advance(by, Victim::Running));
        }
    }

    #[test]
    fn the_shadow_keeps_its_bounds_in_order(
        config in config(),
        views in proptest::collection::vec((number(), observation(), growth(), candidates(), proptest::option::of(number())), 1..8),
    ) {
        let mut shadow = Shadow::new(config);
        for (now, observed, growth, pods, heard_at) in views {
            // Growth is handed in with its bounds in order.
            let mut rates = [growth.slow, growth.middle, growth.fast];
            rates.sort();
            let growth = Growth { slow: rates[0], middle: rates[1], fast: rates[2] };
            let pods: Vec<PodOutlook> = pods
                .iter()
                .map(|pod| {
                    let now = pod.working_set.unwrap_or_default();
                    PodOutlook { pod: *pod, low: now, high: now, growth_fast: growth.fast, frees: now }
                })
                .collect();
            let outlook = Outlook {
                observed,
                node_growth: growth,
                pods_growth: growth,
                blind_growth: growth.slow,
                node_cache: Bytes(now),
                pods_cache: Bytes(now),
                kernel: Bounds::NEVER,
                kubepods: Bounds::PAST,
                grower: Grower::Unknown,
                pods: &pods,
                pods_known: true,
                signs: Signs { present: true, heard_at: heard_at.map(Moment) },
            };
            let forecast = shadow.look(Moment(now), &outlook);
            if let Some(crossing) = forecast.crossing {
                let (crosses, acts) = (crossing.crosses, crossing.acts);
                prop_assert!(crosses.earliest <= crosses.middle && crosses.middle <= crosses.latest);
                prop_assert!(acts.earliest <= acts.middle && acts.middle <= acts.latest, "{acts:?}");
                prop_assert!(forecast.frees_min <= forecast.frees_max);
                prop_assert!(forecast.state != KubeletState::Gone || acts == Bounds::NEVER);
                let somebody = pods.iter().any(|pod| !pod.pod.critical);
                prop_assert_eq!(!forecast.victims.is_empty(), somebody);
            } else {
                prop_assert!(forecast.victims.is_empty());
            }
        }
    }
}
