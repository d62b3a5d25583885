use super::*;
use forestall_decide::{
    ActionId, Confidence, Evidence, GroupId, Limit, Rung, Runway, Target, WallKind, WallReading,
};

const TICK: Span = Span::millis(10);

pub(crate) fn action(grace: Span, deadline: Span) -> Action {
    let reading = WallReading {
        wall: WallKind::Kubepods,
        scope: None,
        limit: Limit::Max,
        distance: Bytes::ZERO,
        growth: forestall_decide::BytesPerSecond::default(),
        growth_fast: forestall_decide::BytesPerSecond::default(),
        runway: Runway::FOREVER,
        stall_some_permille: 0,
        stall_full_permille: 0,
        confidence: Confidence::High,
        culprit: None,
        alarmed: true,
    };
    Action {
        id: ActionId(1),
        rung: Rung::Kill,
        target: Target::Group(GroupId(7)),
        bytes: Bytes::mebi(100),
        grace,
        deadline,
        escalate: false,
        evidence: Evidence {
            reading,
            time_to_effect: Span::default(),
            rule: "test",
        },
    }
}

fn holds(mebi: u64) -> Seen {
    Seen {
        populated: true,
        current: Some(Bytes::mebi(mebi)),
    }
}

fn empty(mebi: u64) -> Seen {
    Seen {
        populated: false,
        current: Some(Bytes::mebi(mebi)),
    }
}

const GONE: Seen = Seen {
    populated: false,
    current: None,
};

fn at(millis: u64) -> Moment {
    Moment(5_000_000) + Span::millis(millis)
}

fn start(action: &Action) -> Course {
    Course::new(action, at(0), holds(100), Bytes::mebi(30))
}

#[test]
fn kill_follows_term_after_a_time_and_not_before() {
    let mut course = start(&action(Span::secs(2), Span::secs(10)));
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.termed();
    assert_eq!(course.next(at(1), holds(100), TICK), Next::Wait(at(11)));
    // Memory that is scarcer or freer changes nothing: the deadline is a time.
    assert_eq!(course.next(at(1995), holds(1), TICK), Next::Wait(at(2000)));
    assert_eq!(course.next(at(2000), holds(120), TICK), Next::Kill);
    course.killed(at(2000), false);
    assert_eq!(course.next(at(2001), holds(120), TICK), Next::Wait(at(2011)));
    assert_eq!(
        course.next(at(2100), empty(20), TICK),
        Next::Finish(OutcomeKind::Done)
    );
    // It had grown to 120 MiB and 20 are left.
    assert_eq!(course.freed(), Bytes::mebi(100));
}

#[test]
fn a_victim_that_heeds_term_is_never_killed() {
    let mut course = start(&action(Span::secs(2), Span::secs(10)));
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.termed();
    assert_eq!(course.next(at(300), GONE, TICK), Next::Finish(OutcomeKind::Done));
    // 30 MiB of shared memory may outlive it and are not counted.
    assert_eq!(course.freed(), Bytes::mebi(70));
}

#[test]
fn a_victim_that_ends_before_anything_was_sent_is_not_our_doing() {
    let mut course = start(&action(Span::secs(2), Span::secs(10)));
    assert_eq!(
        course.next(at(0), empty(0), TICK),
        Next::Finish(OutcomeKind::Gone)
    );
}

#[test]
fn no_grace_is_kill_at_once() {
    let mut course = start(&action(Span::default(), Span::secs(10)));
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Kill);
}

#[test]
fn where_term_may_not_be_sent_kill_does_not_wait_for_it() {
    let mut course = start(&action(Span::secs(2), Span::secs(10)));
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.term_refused();
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Kill);
}

#[test]
fn an_escalation_ends_the_grace() {
    let first = action(Span::secs(30), Span::secs(40));
    let mut course = start(&first);
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.termed();
    assert_eq!(course.next(at(500), holds(100), TICK), Next::Wait(at(510)));
    course.reorder(
        &Action {
            escalate: true,
            ..first
        },
        at(500),
    );
    assert_eq!(course.next(at(501), holds(100), TICK), Next::Kill);
}

#[test]
fn a_repeated_order_does_not_end_the_grace() {
    let first = action(Span::secs(2), Span::secs(10));
    let mut course = start(&first);
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.termed();
    course.reorder(&first, at(500));
    assert_eq!(course.next(at(501), holds(100), TICK), Next::Wait(at(511)));
}

#[test]
fn a_victim_in_d_state_is_pending_until_the_deadline_and_judged_once() {
    let mut course = start(&action(Span::secs(2), Span::secs(10)));
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.termed();
    assert_eq!(course.next(at(2000), holds(100), TICK), Next::Kill);
    course.killed(at(2000), false);
    for millis in (2001..10_000).step_by(7) {
        assert!(
            matches!(course.next(at(millis), holds(100), TICK), Next::Wait(_)),
            "{millis}"
        );
    }
    assert_eq!(
        course.next(at(10_000), holds(100), TICK),
        Next::Finish(OutcomeKind::NoEffect)
    );
    assert_eq!(course.freed(), Bytes::ZERO);
}

#[test]
fn a_deadline_within_the_grace_still_kills_and_waits_for_the_effect() {
    let mut course = start(&action(Span::secs(30), Span::secs(1)));
    assert_eq!(course.next(at(0), holds(100), TICK), Next::Term);
    course.termed();
    assert_eq!(course.next(at(1000), holds(100), TICK), Next::Kill);
    course.killed(at(1000), false);
    assert!(matches!(course.next(at(1400), holds(100), TICK), Next::Wait(_)));
    assert_eq!(
        course.next(at(1500), holds(100), TICK),
        Next::Finish(OutcomeKind::NoEffect)
    );
}

#[test]
fn single_kills_are_repeated_against_forks_but_not_for_ever() {
    let mut course = start(&action(Span::default(), Span::secs(10)));
    let mut kills = 0;
    for millis in 0..5000 {
        if course.next(at(millis), holds(100), TICK) == Next::Kill {
            course.killed(at(millis), true);
            kills += 1;
        }
    }
    assert_eq!(kills, ROUNDS_MAX);
}
