use forestall_act::{Note, Price};
use forestall_decide::{
    Action, ActionId, AlarmEvent, Bytes, BytesPerSecond, Confidence, Decision, Evidence, GroupId, Limit,
    Mode, Moment, NodeSample, Outcome, OutcomeKind, Policy, ProcessId, Refusal, RefusalReason, Rung, Runway,
    Sample, Span, Target, WallKind, WallReading,
};

use super::*;

mod troubles;

struct Fixed;

impl Names for Fixed {
    fn group(&self, id: GroupId) -> Option<&[u8]> {
        (id == GroupId(7)).then_some(b"kubepods/pod\n1".as_slice())
    }
    fn process(&self, _: ProcessId) -> Option<&[u8]> {
        None
    }
}

fn reading(scope: Option<GroupId>) -> WallReading {
    WallReading {
        wall: WallKind::Kubepods,
        scope,
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
    }
}

fn quiet(readings: &[WallReading]) -> Decision<'_> {
    Decision {
        readings,
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

fn tick(secs: u64) -> Tick<'static> {
    Tick {
        now: Moment(secs * 1_000_000),
        took: Span(300),
        followed: 0,
        left_out: 0,
        lost: &[],
    }
}

fn evidence() -> Evidence {
    Evidence {
        reading: reading(Some(GroupId(7))),
        time_to_effect: Span::secs(1),
        rule: "test",
    }
}

fn action(id: u64) -> Action {
    Action {
        id: ActionId(id),
        rung: Rung::Kill,
        target: Target::Group(GroupId(7)),
        bytes: Bytes::mebi(1),
        grace: Span::secs(2),
        deadline: Span::secs(10),
        escalate: false,
        evidence: evidence(),
    }
}

fn drain(inbox: &Inbox) -> Vec<Event> {
    std::iter::from_fn(|| inbox.take()).collect()
}

#[test]
fn a_snapshot_carries_names_and_is_skipped_while_it_is_read() {
    let Ends { mut post, board, .. } = open().expect("an eventfd");
    let readings = [
        reading(None),
        reading(Some(GroupId(7))),
        reading(Some(GroupId(8))),
    ];
    post.publish(&tick(1), &Sample::default(), &quiet(&readings), &Fixed);
    let mut seen = Board::empty_snapshot();
    board.read_snapshot(&mut seen);
    let scopes: Vec<&[u8]> = seen.rows().map(|row| row.scope).collect();
    assert_eq!(scopes, [b"".as_slice(), b"kubepods/pod\n1", b""]);

    let (held, wait) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            board.hold_snapshot(|| {
                held.wait();
                wait.wait();
            });
        });
        held.wait();
        post.publish(&tick(2), &Sample::default(), &quiet(&[]), &Fixed);
        wait.wait();
    });
    board.read_snapshot(&mut seen);
    assert_eq!(seen.at, Some(Moment(1_000_000)));
    assert_eq!(board.ticks_total(), 2);
}

#[test]
fn a_glance_counts_once_and_brings_the_machine_up_to_date() {
    let Ends { mut post, board, .. } = open().expect("an eventfd");
    let own = WallReading {
        wall: WallKind::Kernel,
        ..reading(None)
    };
    let readings = [own, reading(Some(GroupId(7)))];
    post.publish(&tick(1), &Sample::default(), &quiet(&readings), &Fixed);
    let node = NodeSample {
        total: Bytes::mebi(90),
        available: Bytes::mebi(9),
        ..NodeSample::default()
    };
    for secs in [2, 3] {
        let now = tick(secs).now;
        post.glance(now, Span(40), Span::secs(1), &node, Bytes::mebi(9));
    }
    assert_eq!(board.health(tick(4).now), Health::Running);
    let mut seen = Board::empty_snapshot();
    board.read_snapshot(&mut seen);
    assert_eq!((seen.at, seen.node), (Some(tick(3).now), node));
    let distances: Vec<Bytes> = seen.rows().map(|row| row.reading.distance).collect();
    assert_eq!(distances, [Bytes::mebi(9), Bytes::mebi(10)]);
    // The engine is told of both when something changes, and that counts as no look.
    for secs in [2, 3] {
        post.publish(&tick(secs), &Sample::default(), &quiet(&readings), &Fixed);
    }
    assert_eq!(board.ticks_total(), 3);
    post.publish(&tick(4), &Sample::default(), &quiet(&readings), &Fixed);
    assert_eq!(board.ticks_total(), 4);
    assert_eq!(board.tick_gap_max(), Span::secs(1));
}

#[test]
fn more_walls_than_there_is_room_for_are_counted() {
    let Ends { mut post, board, .. } = open().expect("an eventfd");
    let readings = vec![reading(None); 600];
    post.publish(&tick(1), &Sample::default(), &quiet(&readings), &Fixed);
    let mut seen = Board::empty_snapshot();
    board.read_snapshot(&mut seen);
    assert_eq!((seen.rows().count(), seen.rows_left_out), (512, 88));
}

#[test]
fn a_refusal_is_told_once_a_minute_and_another_reason_at_once() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    let mut refuse = |secs, reason| {
        let refusals = [Refusal {
            reason,
            evidence: evidence(),
        }];
        post.publish(
            &tick(secs),
            &Sample::default(),
            &Decision {
                refusals: &refusals,
                passed_over: &[],
                ignored: &[],
                ..quiet(&[])
            },
            &Fixed,
        );
        drain(&inbox).len()
    };
    assert_eq!(refuse(1, RefusalReason::NoCulprit), 1);
    assert_eq!(refuse(2, RefusalReason::NoCulprit), 0);
    assert_eq!(refuse(3, RefusalReason::RungOff), 1);
    assert_eq!(refuse(60, RefusalReason::NoCulprit), 0);
    assert_eq!(refuse(61, RefusalReason::NoCulprit), 1);
    assert_eq!(board.refusals(WallKind::Kubepods), 3);
}

#[test]
fn an_outcome_has_the_names_of_its_action_and_counts_at_its_end() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    post.policy(
        Moment(1),
        &Policy {
            mode: Mode::Enforce,
            ..Policy::default()
        },
    );
    let actions = [action(3)];
    post.publish(
        &tick(1),
        &Sample::default(),
        &Decision {
            actions: &actions,
            ..quiet(&[])
        },
        &Fixed,
    );
    let outcome = |kind| Outcome {
        action: ActionId(3),
        rung: Rung::Kill,
        kind,
        freed: Bytes::mebi(1),
        took: Span(40_000),
        rest: Span(0),
    };
    post.outcome(Moment(2), &outcome(OutcomeKind::Progress), Note::None);
    assert_eq!(board.actions(Rung::Kill, ActionOutcome::Done), 0);
    post.outcome(Moment(3), &outcome(OutcomeKind::Done), Note::None);
    post.outcome(Moment(4), &outcome(OutcomeKind::Done), Note::None);
    let targets: Vec<Vec<u8>> = drain(&inbox)
        .iter()
        .map(|event| event.target.as_bytes().to_vec())
        .collect();
    assert_eq!(
        targets,
        [
            b"kubepods/pod\n1".to_vec(),
            b"kubepods/pod\n1".to_vec(),
            b"kubepods/pod\n1".to_vec(),
            b"".to_vec()
        ]
    );
    assert_eq!(board.actions(Rung::Kill, ActionOutcome::Done), 2);
    assert_eq!(board.reactions.read().1, 80_000);
    // Ordered while it acted, and heard of when it only looked on.
    post.policy(
        Moment(5),
        &Policy {
            mode: Mode::Observe,
            ..Policy::default()
        },
    );
    post.outcome(Moment(6), &outcome(OutcomeKind::Done), Note::None);
    assert_eq!(board.actions(Rung::Kill, ActionOutcome::Done), 3);
}

#[test]
fn what_reclaims_cost_is_added_up() {
    let Ends { mut post, board, .. } = open().expect("an eventfd");
    let outcome = |kind, gained| Outcome {
        action: ActionId(3),
        rung: Rung::Reclaim,
        kind,
        freed: Bytes(gained),
        took: Span(40_000),
        rest: Span(0),
    };
    let price = Note::Reclaimed(Price {
        ended: None,
        taken: Bytes(20),
        came_back: Bytes(5),
        rest: Span(0),
    });
    // How far it has got is told on the way, and counts at the end.
    post.outcome(Moment(2), &outcome(OutcomeKind::Progress, 100), Note::None);
    post.outcome(Moment(3), &outcome(OutcomeKind::Done, 100), price);
    post.outcome(Moment(4), &outcome(OutcomeKind::NoEffect, 1), price);
    assert_eq!(board.reclaimed(), [101, 40, 10]);
}

/// A path for each number.
struct Numbered(Vec<String>);

impl Names for Numbered {
    fn group(&self, id: GroupId) -> Option<&[u8]> {
        Some(self.0.get(usize::try_from(id.0).ok()?)?.as_bytes())
    }
    fn process(&self, _: ProcessId) -> Option<&[u8]> {
        None
    }
}

#[test]
fn however_many_are_ordered_at_once_each_outcome_names_its_order() {
    const ORDERED: u64 = 60;
    let Ends { mut post, inbox, .. } = open().expect("an eventfd");
    let enforce = Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    };
    post.policy(Moment(1), &enforce);
    let names = Numbered((0..=ORDERED).map(|id| format!("kubepods/pod{id}")).collect());
    let target = |id| Action {
        target: Target::Group(GroupId(id)),
        ..action(id)
    };
    let outcome = |id, kind| Outcome {
        action: ActionId(id),
        rung: Rung::Kill,
        kind,
        freed: Bytes::ZERO,
        took: Span(1),
        rest: Span(0),
    };
    // Every third finds no room, and the second is made more urgent a look later.
    let actions: Vec<Action> = (1..=ORDERED).map(target).collect();
    let (lost, taken): (Vec<u64>, Vec<u64>) = (1..=ORDERED).partition(|id| id % 3 == 0);
    let failed: Vec<Outcome> = lost
        .iter()
        .map(|id| outcome(*id, OutcomeKind::Failed(11)))
        .collect();
    let publish = |post: &mut Post, secs, actions: &[Action], lost: &[Outcome]| {
        let decision = Decision {
            actions,
            ..quiet(&[])
        };
        let tick = Tick { lost, ..tick(secs) };
        post.publish(&tick, &Sample::default(), &decision, &names);
    };
    publish(&mut post, 1, &actions, &failed);
    publish(&mut post, 2, &[target(2)], &[]);
    let mut told = drain(&inbox);
    for id in taken.iter().rev().chain(&[2]) {
        post.outcome(Moment(3), &outcome(*id, OutcomeKind::Done), Note::None);
    }
    told.extend(drain(&inbox));
    let ended: Vec<(u64, String)> = told
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Outcome(outcome, _) => Some((
                outcome.action.0,
                String::from_utf8_lossy(event.target.as_bytes()).into_owned(),
            )),
            _ => None,
        })
        .collect();
    let expected = lost.into_iter().chain(taken.into_iter().rev()).chain([2]);
    let expected: Vec<(u64, String)> = expected.map(|id| (id, format!("kubepods/pod{id}"))).collect();
    assert_eq!(ended, expected);
    assert!(
        post.in_flight.is_empty(),
        "nothing is kept that nobody will ask for"
    );
}

#[test]
fn in_shadow_an_action_counts_when_it_is_decided() {
    let Ends { mut post, board, .. } = open().expect("an eventfd");
    let actions = [action(1)];
    post.publish(
        &tick(1),
        &Sample::default(),
        &Decision {
            actions: &actions,
            ..quiet(&[])
        },
        &Fixed,
    );
    assert_eq!(board.actions(Rung::Kill, ActionOutcome::NotTried), 1);
}

#[test]
fn in_shadow_the_same_action_is_one_decision_for_a_minute() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    let mut decide = |secs, rung| {
        let actions = [Action { rung, ..action(secs) }];
        post.publish(
            &tick(secs),
            &Sample::default(),
            &Decision {
                actions: &actions,
                ..quiet(&[])
            },
            &Fixed,
        );
        drain(&inbox).len()
    };
    let told = [
        decide(1, Rung::Kill),
        decide(2, Rung::Kill),
        decide(3, Rung::Reclaim),
        decide(61, Rung::Kill),
    ];
    assert_eq!(told, [1, 0, 1, 1]);
    assert_eq!(board.actions(Rung::Kill, ActionOutcome::NotTried), 2);
}

#[test]
fn a_full_channel_drops_and_counts_and_never_waits() {
    let Ends {
        mut post,
        board,
        inbox,
        ..
    } = open().expect("an eventfd");
    let alarms = [AlarmEvent {
        reading: reading(None),
        verdict: None,
        age: Span(0),
        horizon: Span(0),
    }; 50];
    for secs in 1..=4 {
        post.publish(
            &tick(secs),
            &Sample::default(),
            &Decision {
                alarms: &alarms,
                ..quiet(&[])
            },
            &Fixed,
        );
    }
    assert_eq!(drain(&inbox).len(), EVENTS_MAX);
    assert_eq!(board.events_dropped(), 200 - EVENTS_MAX as u64);
    assert_eq!(board.alarms(WallKind::Kubepods, AlarmStage::Raised), 200);
}

#[test]
fn kernel_kills_are_events_from_the_second_look_on() {
    let Ends { mut post, inbox, .. } = open().expect("an eventfd");
    let mut sample = Sample::default();
    for (secs, kills, events) in [(1, 5, 0), (2, 5, 0), (3, 7, 1), (4, 7, 0)] {
        sample.node.oom_kills = kills;
        post.publish(&tick(secs), &sample, &quiet(&[]), &Fixed);
        assert_eq!(drain(&inbox).len(), events, "at {secs} s");
    }
}

#[test]
fn health_is_judged_by_the_guards_own_promise() {
    let Ends { mut post, board, .. } = open().expect("an eventfd");
    let start = crate::agent::clock::now();
    assert_eq!(board.health(start), Health::Starting);
    assert!(matches!(board.health(start + Span::secs(31)), Health::Late(_)));
    post.publish(
        &Tick {
            now: start,
            took: Span(1),
            followed: 0,
            left_out: 0,
            lost: &[],
        },
        &Sample::default(),
        &quiet(&[]),
        &Fixed,
    );
    assert_eq!(board.health(start + Span::secs(8)), Health::Running);
    assert_eq!(board.health(start + Span::secs(9)), Health::Late(Span::secs(1)));
}

#[test]
fn commands_arrive_in_order_and_stop_cannot_get_lost() {
    let Ends {
        commands, commander, ..
    } = open().expect("an eventfd");
    assert_eq!(commands.take(), None);
    let policy = Policy {
        mode: Mode::Enforce,
        ..Policy::default()
    };
    let sent = (0..10).filter(|_| commander.policy(policy)).count();
    assert_eq!(sent, 4);
    commander.look();
    commander.look();
    assert_eq!(commands.take(), Some(Command::Look));
    assert_eq!(commands.take(), Some(Command::Policy(policy)));
    commander.stop();
    assert_eq!(commands.take(), Some(Command::Stop));
    assert_eq!(commands.take(), Some(Command::Stop));
}

#[test]
fn the_end_of_a_long_name_is_kept() {
    let long: Vec<u8> = (0..=255).collect();
    assert_eq!(Name::new(&long).as_bytes(), &long[16..]);
    assert_eq!(Name::new(b"").as_bytes(), b"");
}
