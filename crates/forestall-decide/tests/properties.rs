//! Whatever the engine is told, it does not panic, touches nobody who is protected or outside its rules, and looks again
//! in time. Sequences of arbitrary samples, outcomes and clock jumps.

use forestall_decide::{
    ActionId, Bytes, BytesPerSecond, Engine, GroupId, GroupKind, GroupSample, Input, Limit, Mode, Moment,
    NodeSample, Outcome, OutcomeKind, Policy, ProcessId, ProcessSample, Protection, Qos, Rung, Sample, Span,
    Stall, Target, WallKind,
};
use proptest::prelude::*;

/// Small figures mostly, so that walls are really met; sometimes anything at all.
fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![8 => (0_u64..600).prop_map(Bytes::mebi), 1 => any::<u64>().prop_map(Bytes)]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![1 => Just(Limit::Max), 3 => bytes().prop_map(Limit::Bytes)]
}

fn protection() -> impl Strategy<Value = Option<Protection>> {
    prop_oneof![3 => Just(None), 1 => Just(Some(Protection::NodeAgent)), 1 => Just(Some(Protection::StaticPod))]
}

fn kind() -> impl Strategy<Value = GroupKind> {
    prop_oneof![
        1 => Just(GroupKind::Kubepods),
        1 => Just(GroupKind::Qos(Qos::Burstable)),
        1 => Just(GroupKind::Pod(Qos::BestEffort)),
        4 => Just(GroupKind::Container(Qos::Burstable)),
        1 => Just(GroupKind::Host),
    ]
}

prop_compose! {
    fn group()(
        id in 0_u64..12, parent in proptest::option::of(0_u32..8), kind in kind(), leaf in any::<bool>(),
        populated in any::<bool>(), protection in protection(), limit in limit(), current in bytes(), anon in bytes(),
        file in bytes(), swap in bytes(), stall in any::<u64>(), kills in 0_u64..3,
    ) -> GroupSample {
        GroupSample {
            id: GroupId(id), parent, kind, leaf, populated, protection, limit, current, anon,
            shmem: Bytes::ZERO, active_file: file, inactive_file: file, dirty: Bytes::ZERO, writeback: Bytes::ZERO,
            unevictable: Bytes::ZERO, slab_reclaimable: Bytes::ZERO, swap_current: swap, swap_limit: limit,
            stall: Some(Stall { some_micros: stall, full_micros: stall / 2 }), refault_file_pages: 0, oom_kills: kills,
        }
    }
}

prop_compose! {
    fn sample()(
        total in bytes(), free in bytes(), available in bytes(), anon in bytes(), swap in bytes(), zram in any::<bool>(),
        kills in 0_u64..3, kubelet in any::<bool>(), cost in 0_u64..200_000, late in 0_u64..2_000_000,
        groups in proptest::collection::vec(group(), 0..8),
        processes in proptest::collection::vec((0_u32..5, bytes(), protection()), 0..4),
    ) -> Sample {
        let node = NodeSample {
            total, free, available, anon, swap_total: swap, swap_free: swap, swap_is_zram: zram, oom_kills: kills,
            kubelet_present: kubelet, cpus: 2, wake_late: Span(late), sample_cost: Span(cost), ..NodeSample::default()
        };
        let processes = processes.into_iter().map(|(pid, unreclaimable, protection)| ProcessSample {
            id: ProcessId { pid, start_ticks: 1 }, group: None, unreclaimable, read_at: Moment(0), protection,
        }).collect();
        Sample { node, groups, processes }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Look(u64, Box<Sample>),
    Answer(u64, u8, u64),
    JumpBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u64..2_000_000, sample()).prop_map(|(later, sample)| Step::Look(later, Box::new(sample))),
        2 => (0_u64..6, any::<u8>(), any::<u64>()).prop_map(|(id, kind, took)| Step::Answer(id, kind, took)),
        1 => Just(Step::JumpBack),
    ]
}

const fn outcome_kind(pick: u8) -> OutcomeKind {
    match pick % 6 {
        0 => OutcomeKind::Progress,
        1 => OutcomeKind::Done,
        2 => OutcomeKind::NoEffect,
        3 => OutcomeKind::Gone,
        4 => OutcomeKind::Vetoed,
        _ => OutcomeKind::Failed(1),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_input_makes_it_panic_or_break_a_rule(steps in proptest::collection::vec(step(), 1..60)) {
        let fill_rate = BytesPerSecond(100 << 20);
        let policy = Policy { mode: Mode::Enforce, fill_rate, ..Policy::default() };
        let mut engine = Engine::new(policy);
        let mut now = Moment(10_000_000);
        for step in &steps {
            match step {
                Step::Look(later, sample) => {
                    now = now + Span(*later);
                    check(&mut engine, now, sample, &policy)?;
                }
                Step::Answer(id, kind, took) => {
                    let outcome = Outcome {
                        action: ActionId(*id), rung: Rung::Kill, kind: outcome_kind(*kind), freed: Bytes::ZERO,
                        took: Span(*took),
                    };
                    engine.step(now, Input::Outcome(&outcome));
                }
                Step::JumpBack => now = Moment(now.0 / 2),
            }
        }
    }
}

fn check(engine: &mut Engine, now: Moment, sample: &Sample, policy: &Policy) -> Result<(), TestCaseError> {
    let decision = engine.step(now, Input::Sample(sample));
    prop_assert!(decision.wake_in >= policy.tick_min);
    prop_assert!(decision.wake_in <= policy.tick_idle.max(sample.node.sample_cost.times(8)));
    for reading in decision.readings {
        prop_assert!(reading.runway.p10 <= reading.runway.p50 && reading.runway.p50 <= reading.runway.p90);
    }
    for action in decision
        .actions
        .iter()
        .filter(|action| action.rung == Rung::Kill && !action.escalate)
    {
        let reading = action.evidence.reading;
        prop_assert!(
            matches!(reading.wall, WallKind::Kernel | WallKind::Kubepods),
            "killed at {:?}",
            reading.wall
        );
        let culprit = reading.culprit.expect("no kill without a culprit");
        prop_assert!(culprit.share_permille >= policy.culprit_share_permille);
        match action.target {
            Target::Group(id) => {
                let group = sample
                    .groups
                    .iter()
                    .find(|group| group.id == id)
                    .expect("it is there");
                prop_assert!(group.protection.is_none() && group.populated);
                prop_assert!(!matches!(
                    group.kind,
                    GroupKind::Host | GroupKind::Kubepods | GroupKind::Qos(_)
                ));
            }
            Target::Process(id) => {
                let process = sample
                    .processes
                    .iter()
                    .find(|process| process.id == id)
                    .expect("it is there");
                prop_assert!(process.protection.is_none());
            }
            Target::Node => prop_assert!(false, "nobody in particular is killed"),
        }
    }
    Ok(())
}
