use forestall_decide::{
    ActionId, Bytes, BytesPerSecond, Confidence, Evidence, Limit, Mode, Policy, Runway, Sample, WallReading,
    WhyNot,
};

use super::*;
use crate::agent::shared::{Ends, Event, Inbox, Tick, open};

struct Fixed;

impl Names for Fixed {
    fn group(&self, id: GroupId) -> Option<&[u8]> {
        match id.0 {
            7 => Some(b"kubepods"),
            8 => Some(b"kubepods/a"),
            _ => None,
        }
    }
    fn process(&self, _: ProcessId) -> Option<&[u8]> {
        None
    }
}

fn quiet() -> Decision<'static> {
    Decision {
        readings: &[],
        alarms: &[],
        endings: &[],
        actions: &[],
        refusals: &[],
        passed_over: &[],
        ignored: &[],
        kubelet: None,
        wake_in: Span::secs(1),
    }
}

fn look(post: &mut Post, secs: u64, decision: &Decision<'_>) {
    let tick = Tick::plain(Moment(secs * 1_000_000));
    post.publish(&tick, &Sample::default(), decision, &Fixed);
}

fn drain(inbox: &Inbox) -> Vec<Event> {
    std::iter::from_fn(|| inbox.take()).collect()
}

fn ignored_in(inbox: &Inbox) -> Vec<(Ignored, u32, Vec<u8>)> {
    let events = drain(inbox);
    let told = events.iter().filter_map(|event| match event.kind {
        EventKind::Ignored(it) => Some((it.what, it.count, event.target.as_bytes().to_vec())),
        _ => None,
    });
    told.collect()
}

#[test]
fn what_was_not_believed_is_told_when_it_begins_and_when_it_changes_and_always_counted() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    let (a, b) = (Ignored::TooLarge(GroupId(8)), Ignored::TooLarge(GroupId(9)));
    let mut told = |secs, ignored: &[Ignored]| {
        look(&mut post, secs, &Decision { ignored, ..quiet() });
        ignored_in(&inbox)
    };
    assert_eq!(told(1, &[a]), [(a, 1, b"kubepods/a".to_vec())]);
    // As long as it stands it is no news, an hour later included.
    assert_eq!(told(2, &[a]), []);
    assert_eq!(told(3_600, &[a]), []);
    // Another set is, in whatever order; but not before ten seconds have passed since the last one.
    assert_eq!(told(3_601, &[a, b]), [(a, 2, b"kubepods/a".to_vec())]);
    assert_eq!(told(3_602, &[b, a]), []);
    assert_eq!(told(3_610, &[b]), []);
    assert_eq!(told(3_611, &[b]), [(b, 1, vec![])]);
    // It ends, and begins again: the same once a minute.
    assert_eq!(told(3_612, &[]), []);
    assert_eq!(told(3_613, &[b]), []);
    assert_eq!(told(3_670, &[b]), []);
    assert_eq!(told(3_671, &[b]), [(b, 1, vec![])]);
    // Another kind is another matter.
    assert_eq!(
        told(3_672, &[Ignored::ClockBack(Span::secs(2))]),
        [(Ignored::ClockBack(Span::secs(2)), 1, vec![])]
    );
    assert_eq!(told(3_673, &[Ignored::ClockBack(Span::secs(5))]), []);
    assert_eq!(board.ignored(IgnoredKind::TooLarge), 12);
    assert_eq!(board.ignored(IgnoredKind::ClockBack), 2);
    assert_eq!(board.ignored(IgnoredKind::SameMoment), 0);
}

#[test]
fn an_answer_that_nobody_waits_for_is_told_and_does_not_end_what_stands() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    let stands = [Ignored::NoMachine];
    let machine = Decision {
        ignored: &stands,
        ..quiet()
    };
    look(&mut post, 1, &machine);
    let unknown = [Ignored::UnknownAction(ActionId(5))];
    let answer = Decision {
        ignored: &unknown,
        ..quiet()
    };
    post.ignored(Moment(1_500_000), &answer, &Fixed);
    let kinds: Vec<Ignored> = ignored_in(&inbox).iter().map(|(what, ..)| *what).collect();
    assert_eq!(kinds, [Ignored::NoMachine, unknown[0]]);
    look(&mut post, 100, &machine);
    assert_eq!(ignored_in(&inbox), []);
    assert_eq!(board.ignored(IgnoredKind::UnknownAction), 1);
    let pods = [Ignored::PodsWithoutUid(3)];
    post.ignored(
        Moment(101_000_000),
        &Decision {
            ignored: &pods,
            ..quiet()
        },
        &Fixed,
    );
    assert_eq!(ignored_in(&inbox), [(pods[0], 3, vec![])]);
    assert_eq!(board.ignored(IgnoredKind::PodWithoutUid), 3);
}

fn passed(id: u64, rung: Rung, why: WhyNot) -> PassedOver {
    PassedOver {
        wall: WallKind::Kubepods,
        scope: Some(GroupId(7)),
        rung,
        target: Target::Group(GroupId(id)),
        why,
    }
}

fn action(id: u64, rung: Rung) -> Action {
    Action {
        id: ActionId(id),
        rung,
        target: Target::Group(GroupId(8)),
        bytes: Bytes::mebi(1),
        grace: Span::secs(2),
        deadline: Span::secs(10),
        escalate: false,
        evidence: Evidence {
            reading: WallReading {
                wall: WallKind::Kubepods,
                scope: Some(GroupId(7)),
                limit: Limit::Bytes(Bytes::mebi(100)),
                distance: Bytes::mebi(10),
                growth: BytesPerSecond(1),
                growth_fast: BytesPerSecond(2),
                runway: Runway::FOREVER,
                stall_some_permille: 0,
                stall_full_permille: 0,
                confidence: Confidence::Low,
                culprit: None,
                alarmed: true,
            },
            time_to_effect: Span::secs(1),
            rule: "test",
        },
    }
}

/// Every list that is told: its length, the action it is the evidence of, and who is in it.
fn lists_in(inbox: &Inbox) -> Vec<(Rung, u32, Option<u64>, Vec<u64>)> {
    let mut lists: Vec<(Rung, u32, Option<u64>, Vec<u64>)> = Vec::new();
    for event in drain(inbox) {
        let EventKind::PassedOver(part) = event.kind else {
            continue;
        };
        assert_eq!(event.scope.as_bytes(), b"kubepods");
        let who = part.pods.iter().flatten().map(|pod| match pod.target {
            Target::Group(id) => id.0,
            other => panic!("{other:?}"),
        });
        let action = part.action.map(|id| id.0);
        match lists.last_mut().filter(|_| part.first > 0) {
            Some(list) => {
                assert_eq!(list.3.len(), part.first as usize);
                list.3.extend(who);
            }
            None => lists.push((part.rung, part.count, action, who.collect())),
        }
    }
    lists
}

#[test]
fn everybody_who_was_passed_over_is_told_once_and_with_every_order() {
    let Ends { mut post, inbox, .. } = open().expect("an eventfd");
    post.policy(
        Moment(1),
        &Policy {
            mode: Mode::Enforce,
            ..Policy::default()
        },
    );
    let mut told = |secs, passed_over: &[PassedOver], actions: &[Action]| {
        let decision = Decision {
            passed_over,
            actions,
            ..quiet()
        };
        look(&mut post, secs, &decision);
        lists_in(&inbox)
    };
    // Ten for one rung between two for another; four travel at a time.
    let mut list: Vec<PassedOver> = (10..20)
        .map(|id| passed(id, Rung::Evict, WhyNot::Critical))
        .collect();
    list.insert(3, passed(30, Rung::Kill, WhyNot::FreesTooLittle));
    list.push(passed(31, Rung::Kill, WhyNot::OthersFirst));
    let (evict, kill): (Vec<u64>, Vec<u64>) = ((10..20).collect(), vec![30, 31]);
    assert_eq!(
        told(1, &list, &[]),
        [
            (Rung::Evict, 10, None, evict.clone()),
            (Rung::Kill, 2, None, kill.clone())
        ]
    );
    assert_eq!(told(2, &list, &[]), []);
    // An order at the same wall rests on them, whatever was told before; one that ends nobody does not.
    assert_eq!(told(3, &list, &[action(4, Rung::Reclaim)]), []);
    assert_eq!(
        told(4, &list, &[action(5, Rung::Reclaim), action(6, Rung::Kill)]),
        [(Rung::Evict, 10, Some(6), evict), (Rung::Kill, 2, Some(6), kill)]
    );
    // Another reason is another list, ten seconds later.
    list[0].why = WhyNot::DaemonSet;
    assert_eq!(told(5, &list, &[]), []);
    let changed = told(14, &list, &[]);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(told(15, &list, &[]), []);
}

#[test]
fn in_shadow_the_list_comes_with_the_order_that_is_told() {
    let Ends { mut post, inbox, .. } = open().expect("an eventfd");
    let list = [passed(10, Rung::Kill, WhyNot::OthersFirst)];
    let mut told = |secs| {
        let actions = [action(secs, Rung::Kill)];
        let decision = Decision {
            passed_over: &list,
            actions: &actions,
            ..quiet()
        };
        look(&mut post, secs, &decision);
        lists_in(&inbox)
    };
    assert_eq!(told(1), [(Rung::Kill, 1, Some(1), vec![10])]);
    assert_eq!(told(2), []);
    assert_eq!(told(61), [(Rung::Kill, 1, Some(61), vec![10])]);
}

#[test]
fn many_lists_of_mild_rungs_neither_flood_the_log_nor_hide_an_endings() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    let mut list: Vec<PassedOver> = (100..400)
        .map(|id| PassedOver {
            scope: Some(GroupId(id)),
            wall: WallKind::Container,
            ..passed(id, Rung::Grow, WhyNot::NotAsked)
        })
        .collect();
    list.push(passed(10, Rung::Evict, WhyNot::Tried));
    let mut told = |secs| {
        let decision = Decision {
            passed_over: &list,
            ..quiet()
        };
        look(&mut post, secs, &decision);
        let rungs = drain(&inbox).into_iter().filter_map(|event| match event.kind {
            EventKind::PassedOver(part) => Some(part.rung),
            _ => None,
        });
        rungs.collect::<Vec<_>>()
    };
    let first = told(1);
    assert_eq!(first.iter().filter(|rung| **rung == Rung::Evict).count(), 1);
    assert_eq!(first.len(), 1 + LISTS_MAX);
    assert_eq!(told(2), []);
    assert_eq!(told(3_600), []);
    assert_eq!(board.events_dropped(), 0);
}
