use super::*;
use crate::kill::tests::action;

const GROUP: GroupId = GroupId(7);

fn at(millis: u64) -> Moment {
    Moment(100_000_000) + Span::millis(millis)
}

fn calm() -> View {
    View {
        stop: false,
        stall_some_micros: Some(1000),
        refaulted: Bytes::ZERO,
        working_set: Bytes::mebi(900),
        cpu: Span::default(),
    }
}

fn order(mebi: u64) -> Action {
    Action {
        bytes: Bytes::mebi(mebi),
        ..action(Span::default(), Span::secs(60))
    }
}

fn full(step: Bytes) -> Step {
    Step::Got {
        freed: step,
        short: false,
    }
}

#[test]
fn it_goes_in_steps_of_sixteen_mebibytes_and_ends_exactly() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(40), GROUP, at(0), calm());
    for mebi in [16, 16, 8] {
        let step = Bytes::mebi(mebi);
        assert_eq!(reclaim.next(at(1), calm(), &mut book), Next::Step(step));
        reclaim.stepped(at(1), step, full(step), calm(), &mut book);
    }
    assert_eq!(
        reclaim.next(at(1), calm(), &mut book),
        Next::Finish(OutcomeKind::Done, None)
    );
    assert_eq!(reclaim.freed(), Bytes::mebi(40));
}

#[test]
fn a_stop_ends_it_between_two_steps() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    let stop = View { stop: true, ..calm() };
    let ended = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Stopped));
    assert_eq!(reclaim.next(at(1), stop, &mut book), ended);
    // What had been freed by then is an effect all the same.
    let mut reclaim = Reclaim::new(&order(32), GROUP, at(0), calm());
    assert_eq!(reclaim.next(at(1), calm(), &mut book), Next::Step(STEP_MAX));
    reclaim.stepped(at(1), STEP_MAX, full(STEP_MAX), calm(), &mut book);
    let ended = Next::Finish(OutcomeKind::Done, Some(ReclaimEnd::Stopped));
    assert_eq!(reclaim.next(at(2), stop, &mut book), ended);
}

#[test]
fn stall_above_a_tenth_of_the_time_ends_it_and_above_half_where_a_pod_would_go() {
    let mut book = Book::new(10);
    let stalled = |micros: u64| View {
        stall_some_micros: Some(1000 + micros),
        ..calm()
    };
    let ended = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Stall));
    for (order, first, micros) in [
        (order(400), STEP_MAX, 10_000),
        (against_the_kubelet(400), STEP_FIRST, 50_000),
    ] {
        let mut reclaim = Reclaim::new(&order, GROUP, at(0), calm());
        assert_eq!(
            reclaim.next(at(100), stalled(micros), &mut book),
            Next::Step(first)
        );
        assert_eq!(reclaim.next(at(100), stalled(micros + 1), &mut book), ended);
    }
    // Of 400 MiB the first 200 keep a pod from being evicted.
    for (gained, goes_on) in [(199, true), (200, false)] {
        let mut book = Book::new(10);
        let mut reclaim = Reclaim::new(&against_the_kubelet(400), GROUP, at(0), calm());
        let after = View {
            working_set: Bytes::mebi(900 - gained),
            ..stalled(10_001)
        };
        reclaim.stepped(at(99), STEP_FIRST, full(STEP_FIRST), after, &mut book);
        let next = reclaim.next(at(100), after, &mut book);
        assert_eq!(matches!(next, Next::Step(_)), goes_on, "{gained} MiB: {next:?}");
    }
}

#[test]
fn scarce_memory_halves_the_step_and_then_ends_it() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    let got = |mebi| Step::Got {
        freed: Bytes::mebi(mebi),
        short: true,
    };
    reclaim.stepped(at(1), Bytes::mebi(16), got(5), calm(), &mut book);
    assert_eq!(reclaim.next(at(1), calm(), &mut book), Next::Step(Bytes::mebi(8)));
    reclaim.stepped(at(2), Bytes::mebi(8), got(0), calm(), &mut book);
    let ended = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Exhausted));
    assert_eq!(reclaim.next(at(2), calm(), &mut book), ended);
}

#[test]
fn a_failure_is_passed_on() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    reclaim.stepped(at(1), STEP_MAX, Step::Failed(13), calm(), &mut book);
    assert_eq!(
        reclaim.next(at(1), calm(), &mut book),
        Next::Finish(OutcomeKind::Failed(13), None)
    );
}

#[test]
fn a_cgroup_that_is_removed_ends_it_with_what_it_gave() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    reclaim.stepped(at(1), STEP_MAX, Step::Gone, calm(), &mut book);
    assert_eq!(
        reclaim.next(at(1), calm(), &mut book),
        Next::Finish(OutcomeKind::Gone, None)
    );
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    reclaim.stepped(at(1), STEP_MAX, full(STEP_MAX), calm(), &mut book);
    reclaim.stepped(at(1), STEP_MAX, Step::Gone, calm(), &mut book);
    assert_eq!(
        reclaim.next(at(1), calm(), &mut book),
        Next::Finish(OutcomeKind::Done, None)
    );
}

/// After 16 MiB were freed at 0 s, `refaulted` MiB have come back by `millis`.
fn after_refaults(book: &mut Book, refaulted: u64, millis: u64) -> Next {
    let mut first = Reclaim::new(&order(16), GROUP, at(0), calm());
    first.stepped(at(0), STEP_MAX, full(STEP_MAX), calm(), book);
    let view = View {
        refaulted: Bytes::mebi(refaulted),
        ..calm()
    };
    Reclaim::new(&order(400), GROUP, at(millis), view).next(at(millis), view, book)
}

#[test]
fn refaults_halve_the_step_above_a_quarter() {
    assert_eq!(after_refaults(&mut Book::new(10), 4, 3000), Next::Step(STEP_MAX));
    assert_eq!(
        after_refaults(&mut Book::new(10), 5, 3000),
        Next::Step(Bytes::mebi(8))
    );
    assert_eq!(
        after_refaults(&mut Book::new(10), 8, 3000),
        Next::Step(Bytes::mebi(8))
    );
    // Ten seconds later it no longer counts.
    assert_eq!(
        after_refaults(&mut Book::new(10), 9, 11_000),
        Next::Step(STEP_MAX)
    );
}

#[test]
fn a_burst_of_which_a_part_has_left_the_window_counts_as_a_whole() {
    // 16 MiB at 0 s and 16 at 1 s; ten and a half seconds later only the second is in the window, and nobody knows which of
    // them came back.
    let judged = |refaulted| {
        let mut book = Book::new(10);
        for millis in [0, 1000] {
            let mut burst = Reclaim::new(&order(16), GROUP, at(millis), calm());
            burst.stepped(at(millis), STEP_MAX, full(STEP_MAX), calm(), &mut book);
        }
        let view = View {
            refaulted: Bytes::mebi(refaulted),
            ..calm()
        };
        Reclaim::new(&order(400), GROUP, at(10_500), view).next(at(10_500), view, &mut book)
    };
    assert_eq!(judged(8), Next::Step(STEP_MAX));
    assert_eq!(judged(16), Next::Step(Bytes::mebi(8)));
    let alone = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Refaults));
    assert_eq!(judged(17), alone);
}

#[test]
fn what_comes_back_of_less_than_a_whole_step_says_nothing() {
    let mut book = Book::new(10);
    let mut first = Reclaim::new(&order(2), GROUP, at(0), calm());
    first.stepped(at(0), Bytes::mebi(2), full(Bytes::mebi(2)), calm(), &mut book);
    // Of two MiB no more than two can come back, whatever else the cgroup reads again.
    let view = View {
        refaulted: Bytes::mebi(2000),
        ..calm()
    };
    let mut next = Reclaim::new(&order(400), GROUP, at(100), view);
    assert_eq!(next.next(at(100), view, &mut book), Next::Step(STEP_MAX));
}

#[test]
fn what_came_back_is_held_against_the_gain_and_is_never_more_than_was_taken() {
    // Seen on Linux 7: 90 MiB taken lowered the working set by 271, and 400 were read again, most of which others had taken.
    let judged = |working_set| {
        let mut book = Book::new(10);
        let mut first = Reclaim::new(&against_the_kubelet(84), GROUP, at(0), calm());
        let taken = Step::Got {
            freed: Bytes::mebi(90),
            short: false,
        };
        let after = View {
            working_set,
            ..calm()
        };
        first.stepped(at(0), Bytes::mebi(84), taken, after, &mut book);
        let view = View {
            refaulted: Bytes::mebi(400),
            ..calm()
        };
        Reclaim::new(&order(400), GROUP, at(9000), view).next(at(9000), view, &mut book)
    };
    // 90 of 271 is more than a quarter, and less than half.
    assert_eq!(judged(Bytes::mebi(900 - 271)), Next::Step(Bytes::mebi(8)));
    // 90 of 179 is more than half.
    let alone = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Refaults));
    assert_eq!(judged(Bytes::mebi(900 - 179)), alone);
}

#[test]
fn refaults_above_half_leave_the_cgroup_alone_for_five_minutes() {
    let mut book = Book::new(10);
    let alone = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Refaults));
    assert_eq!(after_refaults(&mut book, 9, 3000), alone);
    let view = View {
        refaulted: Bytes::mebi(9),
        ..calm()
    };
    let mut again =
        |millis, group| Reclaim::new(&order(400), group, at(millis), view).next(at(millis), view, &mut book);
    assert_eq!(again(302_999, GROUP), alone);
    assert_eq!(again(302_999, GroupId(8)), Next::Step(STEP_MAX));
    assert_eq!(again(303_000, GROUP), Next::Step(STEP_MAX));
}

#[test]
fn before_an_eviction_a_rest_is_broken_while_its_tasks_get_on() {
    let judged = |order: Action, stalled_micros: u64, millis| {
        let mut book = Book::new(10);
        let alone = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Refaults));
        assert_eq!(after_refaults(&mut book, 9, 3000), alone);
        let view = View {
            refaulted: Bytes::mebi(9),
            stall_some_micros: Some(1000 + stalled_micros),
            ..calm()
        };
        Reclaim::new(&order, GROUP, at(millis), view).next(at(millis), view, &mut book)
    };
    let alone = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Refaults));
    let first = Next::Step(Bytes::mebi(2));
    assert_eq!(judged(against_the_kubelet(400), 0, 5000), first);
    // Two seconds after it began, one is half.
    assert_eq!(judged(against_the_kubelet(400), 1_000_000, 5000), first);
    assert_eq!(judged(against_the_kubelet(400), 1_000_001, 5000), alone);
    // At the machine's wall the kernel itself takes what can be read again: there a rest is a rest.
    assert_eq!(judged(order(400), 0, 5000), alone);
}

#[test]
fn whoever_is_left_alone_says_until_when_at_least() {
    let rest = |order: Action, stall_some_micros, millis| {
        let mut book = Book::new(10);
        after_refaults(&mut book, 9, 3000);
        let view = View {
            refaulted: Bytes::mebi(9),
            stall_some_micros,
            ..calm()
        };
        let mut reclaim = Reclaim::new(&order, GROUP, at(millis), view);
        let next = reclaim.next(at(millis), view, &mut book);
        let rest = reclaim.price(None, view, &mut book).rest;
        (matches!(next, Next::Finish(..)), rest)
    };
    let stalled = |micros: u64| Some(1000 + micros);
    // It began at 3 s, and ends at 303.
    assert_eq!(rest(order(400), stalled(0), 5000), (true, Span::secs(298)));
    // A second and a quarter is half of two and a half: at 5.5 s, if nobody waits any more, it is no more than that.
    let kubelet = || against_the_kubelet(400);
    assert_eq!(
        rest(kubelet(), stalled(1_250_000), 5000),
        (true, Span::millis(500))
    );
    assert_eq!(rest(kubelet(), stalled(1_250_000), 5500), (false, Span(0)));
    // However long they have waited, it is no longer than the rest itself.
    assert_eq!(
        rest(kubelet(), stalled(160_000_000), 65_000),
        (true, Span::secs(238))
    );
    // Where nobody knows whether they wait it is all of it.
    assert_eq!(rest(kubelet(), None, 5000), (true, Span::secs(298)));
}

#[test]
fn one_per_cent_of_a_core_is_all_unless_the_deadline_is_near() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    let used = |millis| View {
        cpu: Span::millis(millis),
        ..calm()
    };
    assert_eq!(reclaim.next(at(0), used(50), &mut book), Next::Step(STEP_MAX));
    // 100 ms within ten seconds is one per cent.
    assert_eq!(reclaim.next(at(200), used(150), &mut book), Next::Step(STEP_MAX));
    assert_eq!(
        reclaim.next(at(200), used(151), &mut book),
        Next::Wait(Span::millis(800))
    );
    assert_eq!(
        reclaim.next(at(9_900), used(151), &mut book),
        Next::Wait(Span::millis(100))
    );
    assert_eq!(
        reclaim.next(at(10_000), used(151), &mut book),
        Next::Step(STEP_MAX)
    );
    assert_eq!(
        reclaim.next(at(10_500), used(500), &mut book),
        Next::Wait(Span::millis(500))
    );
    assert_eq!(
        reclaim.next(at(59_000), used(900), &mut book),
        Next::Step(STEP_MAX)
    );
}

#[test]
fn the_budget_is_not_waited_for_when_half_the_way_to_an_eviction_is_gone() {
    let mut book = Book::new(10);
    let mut action = against_the_kubelet(400);
    action.evidence.reading.distance = Bytes::mebi(100);
    let mut reclaim = Reclaim::new(&action, GROUP, at(0), calm());
    let grown = |mebi: u64, cpu_millis: u64| View {
        working_set: Bytes::mebi(900 + mebi),
        cpu: Span::millis(cpu_millis),
        ..calm()
    };
    let first = Next::Step(Bytes::mebi(2));
    assert_eq!(reclaim.next(at(0), grown(0, 0), &mut book), first);
    let wait = Next::Wait(Span::millis(800));
    assert_eq!(reclaim.next(at(200), grown(50, 200), &mut book), wait);
    assert_eq!(reclaim.next(at(200), grown(51, 200), &mut book), first);
}

#[test]
fn the_share_of_a_core_can_be_set() {
    let mut book = Book::new(160);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    let used = |millis| View {
        cpu: Span::millis(millis),
        ..calm()
    };
    assert_eq!(reclaim.next(at(0), used(0), &mut book), Next::Step(STEP_MAX));
    assert_eq!(reclaim.next(at(0), used(1600), &mut book), Next::Step(STEP_MAX));
    assert_eq!(
        reclaim.next(at(0), used(1601), &mut book),
        Next::Wait(Span::secs(1))
    );
}

#[test]
fn the_deadline_ends_it() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&order(400), GROUP, at(0), calm());
    let ended = Next::Finish(OutcomeKind::NoEffect, Some(ReclaimEnd::Deadline));
    assert_eq!(reclaim.next(at(60_000), calm(), &mut book), ended);
}

#[test]
fn the_book_forgets_the_group_that_was_used_longest_ago() {
    let mut book = Book::new(10);
    for number in 0..200 {
        let effect = Effect {
            gained: STEP_MAX,
            taken: STEP_MAX,
        };
        book.enter(GroupId(number), at(number), effect, Bytes::ZERO);
    }
    assert_eq!(book.groups().count(), 64);
    assert!(book.groups().any(|group| group == GroupId(199)));
    assert!(!book.groups().any(|group| group == GroupId(0)));
}

fn against_the_kubelet(mebi: u64) -> Action {
    let mut action = order(mebi);
    action.evidence.reading.wall = WallKind::KubeletAllocatable;
    action
}

#[test]
fn against_the_kubelet_a_small_step_that_deactivates_enough_is_all() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&against_the_kubelet(100), GROUP, at(0), calm());
    let small = Bytes::mebi(2);
    assert_eq!(reclaim.next(at(1), calm(), &mut book), Next::Step(small));
    let after = View {
        working_set: Bytes::mebi(473),
        ..calm()
    };
    reclaim.stepped(at(2), small, full(small), after, &mut book);
    assert_eq!(
        reclaim.next(at(2), after, &mut book),
        Next::Finish(OutcomeKind::Done, None)
    );
    assert_eq!(reclaim.freed(), Bytes::mebi(427));
}

#[test]
fn against_the_kubelet_steps_grow_while_they_change_nothing_it_sees() {
    let mut book = Book::new(10);
    let mut reclaim = Reclaim::new(&against_the_kubelet(100), GROUP, at(0), calm());
    for mebi in [2, 4, 8, 16, 16] {
        let step = Bytes::mebi(mebi);
        assert_eq!(reclaim.next(at(1), calm(), &mut book), Next::Step(step));
        reclaim.stepped(at(1), step, full(step), calm(), &mut book);
    }
    assert_eq!(reclaim.freed(), Bytes::ZERO);
}

/// By hand: the first takes 2 MiB, of which 1 MiB is read again while it runs; until the second begins, 4 MiB more are, of which only 1 MiB was
/// left to come back; it takes 2 MiB, and nothing of those is read again.
#[test]
fn the_price_is_what_was_taken_and_what_of_it_came_back_since_the_reclaim_before() {
    let mut book = Book::new(10);
    let view = |working_set: u64, refaulted: u64| View {
        working_set: Bytes::mebi(working_set),
        refaulted: Bytes::mebi(refaulted),
        ..calm()
    };
    let two = Bytes::mebi(2);
    let mut reclaim = |refaulted_before: u64, refaulted: u64| {
        let before = view(900, refaulted_before);
        let mut reclaim = Reclaim::new(&against_the_kubelet(80), GROUP, at(0), before);
        assert_eq!(reclaim.next(at(1), before, &mut book), Next::Step(two));
        reclaim.stepped(at(2), two, full(two), view(820, refaulted), &mut book);
        assert_eq!(reclaim.freed(), Bytes::mebi(80));
        reclaim.price(None, view(820, refaulted), &mut book)
    };
    let price = |came_back: u64| Price {
        ended: None,
        taken: two,
        came_back: Bytes::mebi(came_back),
        rest: Span::default(),
    };
    // What was read again before our first is nobody's doing but the kernel's.
    assert_eq!(reclaim(100, 101), price(1));
    assert_eq!(reclaim(105, 105), price(1));
}
