//! The table of rules, and that each checker sees the breach of its own rule and is content without.

use forestall_decide::{Bytes, Mode, Rung, Span};

use super::*;
use crate::check::kill::{on, sound};
use crate::event::What;

fn judge(events: &[Event]) -> Vec<&'static str> {
    let mut checkers = Checkers::default();
    for event in events {
        checkers.see(event);
    }
    let end = events.last().map_or(Moment(0), |event| event.at);
    let mut broken: Vec<_> = checkers.finish(end).iter().map(|found| found.rule).collect();
    broken.dedup();
    broken
}

#[test]
fn every_rule_has_a_checker_that_sees_its_breach_and_no_other_rule_is_broken_by_it() {
    for rule in RULES {
        assert_eq!(judge(&(rule.breach)()), [rule.name], "{}", rule.says);
    }
}

#[test]
fn every_rule_has_a_name_of_its_own_and_says_something() {
    let names: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    assert!(RULES.iter().all(|rule| rule.says.ends_with('.')));
}

#[test]
fn a_sound_order_breaks_nothing() {
    assert_eq!(judge(&[on(1, What::Ordered(sound()))]), Vec::<&str>::new());
}

#[test]
fn a_kill_after_the_first_ones_end_breaks_nothing() {
    let first = sound();
    let mut second = sound();
    second.id = forestall_decide::ActionId(2);
    let landed = What::Landed {
        id: first.id,
        rung: first.rung,
        kind: forestall_decide::OutcomeKind::Done,
        freed: forestall_decide::Bytes::mebi(700),
    };
    let events = [
        on(1, What::Ordered(first)),
        on(2, landed),
        on(5, What::Ordered(second)),
    ];
    assert_eq!(judge(&events), Vec::<&str>::new());
}

#[test]
fn whom_a_brake_has_just_let_go_has_not_grown_alone_for_long() {
    let judged = |let_go| {
        let mut kill = choice::killed_somebody_else().remove(0);
        let group = match &kill.what {
            What::Ordered(order) => order.grower.map(|grower| grower.group),
            _ => None,
        };
        kill.at = Moment(40_000_000);
        let lifted = What::Brake {
            group: group.expect("it has one"),
            state: crate::event::BrakeState::Lifted,
        };
        judge(&[on(let_go, lifted), kill])
    };
    assert_eq!(judged(30), Vec::<&str>::new());
    assert_eq!(judged(20), ["culprit-first"]);
}

// The third kill comes at 90 s.
#[test]
fn whoever_waits_for_anothers_eviction_has_its_time_from_the_end_of_that() {
    let judged = |evicted_at| {
        let mut events = choice::killed_three_times();
        let landed = What::Landed {
            id: forestall_decide::ActionId(9),
            rung: Rung::Evict,
            kind: forestall_decide::OutcomeKind::Done,
            freed: Bytes::ZERO,
        };
        events.push(on(evicted_at, landed));
        events.sort_by_key(|event| event.at);
        judge(&events)
    };
    assert_eq!(judged(86), Vec::<&str>::new());
    assert_eq!(judged(84), ["second-kill"]);
}

#[test]
fn who_takes_again_what_it_had_goes_before_nobody_who_grows() {
    let judged = |takes_again, rate| {
        let mut kill = choice::killed_somebody_else().remove(0);
        if let What::Ordered(order) = &mut kill.what {
            order.grower = order.grower.map(|grower| crate::event::Grower {
                takes_again,
                ..grower
            });
            order.target.as_mut().expect("somebody").rate = rate;
        }
        judge(&[kill])
    };
    assert_eq!(judged(true, 1 << 20), Vec::<&str>::new());
    assert_eq!(judged(true, 0), ["culprit-first"]);
    assert_eq!(judged(false, 1 << 20), ["culprit-first"]);
}

#[test]
fn a_leak_during_a_fault_asks_nothing_of_liveness() {
    let mut events = vec![on(
        50,
        What::Fault {
            name: "samples-lost",
            begins: true,
        },
    )];
    events.extend(lasting::slept_through_a_leak());
    assert_eq!(judge(&events), Vec::<&str>::new());
}

#[test]
fn a_preset_ends_whom_and_when_its_document_says_and_nobody_who_may_not_be_touched() {
    for rule in RULES {
        let mut checkers = Checkers::default();
        for mut event in (rule.breach)() {
            if let What::Ordered(order) = &mut event.what {
                order.preset = Preset::WarStoryA;
            }
            checkers.see(&event);
        }
        let told: Vec<_> = checkers
            .otherwise()
            .iter()
            .map(|it| (it.preset, it.times, it.first.rule))
            .collect();
        let broken = checkers.finish(Moment(u64::MAX));
        if JUDGEMENT.contains(&rule.name) {
            assert_eq!(told, [(Preset::WarStoryA, 1, rule.name)]);
            assert_eq!(broken, []);
        } else {
            assert!(told.is_empty(), "{told:?}");
            assert!(!broken.is_empty(), "{}", rule.name);
        }
    }
    let known = |name: &&str| RULES.iter().any(|rule| rule.name == *name);
    assert!(JUDGEMENT.iter().all(known));
}

#[test]
fn what_is_only_announced_is_counted_as_nobodys_deed() {
    let counted = |mode| {
        let mut tally = crate::Tally::default();
        let alarm = What::Alarm {
            wall: sound().wall,
            scope: sound().scope,
            verdict: None,
            age: Span(0),
            horizon: Span::secs(60),
        };
        tally.see(&on(1, alarm));
        for rung in [Rung::Reclaim, Rung::Kill] {
            let order = crate::Order {
                rung,
                mode,
                ..sound()
            };
            tally.see(&on(4, What::Ordered(order)));
        }
        (tally.reclaims, tally.lead_median())
    };
    assert_eq!(counted(Mode::Enforce), (1, Some(Span::secs(3))));
    assert_eq!(counted(Mode::Shadow), (0, None));
}
