use forestall_act::{Note, ReclaimEnd};
use forestall_decide::{
    Action, ActionId, AlarmEvent, AlarmVerdict, Bytes, BytesPerSecond, Confidence, Culprit, Decision,
    Evidence, GroupId, Ignored, Limit, NodeSample, Outcome, OutcomeKind, PassedOver, Protection, Refusal,
    RefusalReason, Rung, Runway, Sample, Target, WallKind, WallReading, WhyNot,
};
use serde_json::Value;

use super::*;

mod live;
use crate::agent::clock;
use crate::agent::shared::{self, Names, Tick};

const HOSTILE: &[u8] = b"/kubepods/x\x1b[2J\n\xff";
const HARMLESS: &str = "/kubepods/x\\x1b[2J\\x0a\\xff";

struct Fixed;

impl Names for Fixed {
    fn group(&self, _: GroupId) -> Option<&[u8]> {
        Some(HOSTILE)
    }
    fn process(&self, _: forestall_decide::ProcessId) -> Option<&[u8]> {
        None
    }
}

fn reading() -> WallReading {
    WallReading {
        wall: WallKind::Kubepods,
        scope: Some(GroupId(7)),
        limit: Limit::Max,
        distance: Bytes::mebi(96),
        growth: BytesPerSecond(8 << 20),
        growth_fast: BytesPerSecond(12 << 20),
        runway: Runway {
            p10: Span::secs(8),
            p50: Span::secs(12),
            p90: Span::FOREVER,
        },
        stall_some_permille: 25,
        stall_full_permille: 0,
        confidence: Confidence::High,
        culprit: Some(Culprit {
            target: Target::Group(GroupId(7)),
            share_permille: 910,
            grown: Bytes::mebi(80),
            window: Span::secs(10),
            protection: None,
        }),
        alarmed: true,
    }
}

fn evidence() -> Evidence {
    Evidence {
        reading: reading(),
        time_to_effect: Span::millis(2500),
        rule: "late",
    }
}

/// What the logger writes in this style.
fn said(style: Style, say: impl FnOnce(&mut Logger)) -> String {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut logger = Logger::new(
        Sink::new(writer.into()),
        style,
        Some("node\u{202e}1".to_owned()),
        Mode::Shadow,
    );
    say(&mut logger);
    logger.flush();
    drop(logger);
    std::io::read_to_string(reader).expect("text")
}

/// What one look's decision becomes, line by line.
fn told(style: Style, decision: &Decision<'_>) -> Vec<String> {
    let mut ends = shared::open().expect("an eventfd");
    let now = clock::now();
    let (tick, sample) = (Tick::plain(now), Sample::default());
    ends.post.publish(&tick, &sample, decision, &Fixed);
    let text = said(style, |logger| {
        while let Some(event) = ends.inbox.take() {
            logger.event(&event, now);
        }
    });
    text.lines().map(str::to_owned).collect()
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

fn action() -> Action {
    Action {
        id: ActionId(3),
        rung: Rung::Kill,
        target: Target::Group(GroupId(7)),
        bytes: Bytes::mebi(80),
        grace: Span::secs(2),
        deadline: Span::secs(10),
        escalate: false,
        evidence: evidence(),
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn an_alarm_carries_its_numbers_and_null_for_what_is_not_in_sight() {
    let alarms = [AlarmEvent {
        reading: reading(),
        verdict: None,
        age: Span(0),
        horizon: Span::secs(40),
    }];
    let lines = told(
        Style::Json,
        &Decision {
            alarms: &alarms,
            ..quiet()
        },
    );
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    let line = json(line);
    assert_eq!(
        (&line["v"], &line["event"], &line["level"]),
        (&1.into(), &"alarm".into(), &"warn".into())
    );
    assert_eq!(
        (&line["stage"], &line["node"]),
        (&"raised".into(), &"node\\u{202e}1".into())
    );
    let evidence = &line["evidence"];
    assert_eq!(
        (&evidence["wall"], &evidence["scope"]),
        (&"kubepods".into(), &HARMLESS.into())
    );
    assert_eq!(evidence["distance_bytes"], 100_663_296_u64);
    assert_eq!(evidence["limit_bytes"], Value::Null);
    assert_eq!(
        (&evidence["runway_p10_millis"], &evidence["runway_p90_millis"]),
        (&8000.into(), &Value::Null)
    );
    assert_eq!(
        (&evidence["culprit"]["kind"], &evidence["culprit"]["inode"]),
        (&"cgroup".into(), &7.into())
    );
    assert_eq!(evidence["culprit"]["name"], HARMLESS);
}

#[test]
fn an_action_and_a_refusal_say_why() {
    let actions = [action()];
    let reason = RefusalReason::Protected(Protection::NodeAgent);
    let refusals = [Refusal {
        reason,
        evidence: evidence(),
    }];
    let lines = told(
        Style::Json,
        &Decision {
            actions: &actions,
            refusals: &refusals,
            passed_over: &[],
            ignored: &[],
            ..quiet()
        },
    );
    let [action, refusal] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    let (action, refusal) = (json(action), json(refusal));
    assert_eq!(
        (&action["rung"], &action["target_name"]),
        (&"kill".into(), &HARMLESS.into())
    );
    assert_eq!(
        (&action["rule"], &action["grace_millis"]),
        (&"late".into(), &2000.into())
    );
    assert_eq!(action["time_to_effect_millis"], 2500);
    assert_eq!(
        (&refusal["reason"], &refusal["protection"]),
        (&"protected".into(), &"node-agent".into())
    );
    assert_eq!(refusal["evidence"]["stall_some_permille"], 25);
}

#[test]
fn a_brake_is_told_by_where_it_holds_and_how_long_it_lasts() {
    let brake = Action {
        rung: Rung::Brake,
        grace: Span::secs(20),
        deadline: Span::secs(30),
        ..action()
    };
    let decision = Decision {
        actions: &[brake],
        ..quiet()
    };
    let lines = told(Style::Json, &decision);
    let said = lines.first().map(|line| json(line)["message"].to_string());
    let is_told = |said: String| said.contains(", held at 80.0MiB for 20s at the most (");
    assert!(said.is_some_and(is_told), "{lines:?}");
}

#[test]
fn only_where_it_is_done_an_action_is_said_to_be_under_way() {
    let refusals = [Refusal {
        reason: RefusalReason::Waiting,
        evidence: evidence(),
    }];
    for (mode, expected) in [
        (
            Mode::Shadow,
            "nothing done, an action that was announced is waited for",
        ),
        (
            Mode::Enforce,
            "nothing done, an action is under way or has just ended",
        ),
    ] {
        let policy = forestall_decide::Policy {
            mode,
            ..forestall_decide::Policy::default()
        };
        let mut ends = shared::open().expect("an eventfd");
        ends.post.policy(clock::now(), &policy);
        let decision = Decision {
            refusals: &refusals,
            ..quiet()
        };
        let tick = Tick::plain(clock::now());
        ends.post.publish(&tick, &Sample::default(), &decision, &Fixed);
        let event = ends.inbox.take().expect("the refusal");
        let line = said(Style::Json, |logger| logger.event(&event, clock::now()));
        let message = json(&line)["message"].to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_outcome_that_a_limit_is_behind_names_the_limit() {
    let mut ends = shared::open().expect("an eventfd");
    let outcome = Outcome {
        action: ActionId(3),
        rung: Rung::Kill,
        // EMFILE is 24 on every machine.
        kind: OutcomeKind::Failed(24),
        freed: Bytes::ZERO,
        took: Span::millis(4),
        rest: Span(0),
    };
    ends.post.outcome(clock::now(), &outcome, Note::None);
    let event = ends.inbox.take().expect("one");
    let line = json(&said(Style::Json, |logger| logger.event(&event, clock::now())));
    assert!(
        line["message"]
            .as_str()
            .is_some_and(|said| said.contains("RLIMIT_NOFILE")),
        "{line}"
    );
}

#[test]
fn an_outcome_says_what_the_system_said() {
    let mut ends = shared::open().expect("an eventfd");
    let kind = OutcomeKind::Failed(1);
    let outcome = Outcome {
        action: ActionId(3),
        rung: Rung::Reclaim,
        kind,
        freed: Bytes::ZERO,
        took: Span::millis(4),
        rest: Span(0),
    };
    ends.post.outcome(
        clock::now(),
        &outcome,
        Note::ReclaimEnded(ReclaimEnd::Unsupported),
    );
    let event = ends.inbox.take().expect("one");
    let line = json(&said(Style::Json, |logger| logger.event(&event, clock::now())));
    assert_eq!(
        (&line["outcome"], &line["errno"], &line["note"]),
        (&"failed".into(), &1.into(), &"reclaim-unsupported".into())
    );
    assert!(
        line["message"].as_str().is_some_and(
            |said| said.contains("Operation not permitted (os error 1), there is no way to reclaim here")
        ),
        "{line}"
    );
}

#[test]
fn people_read_the_same_in_one_line_and_colour_only_where_it_is_wanted() {
    let alarms = [AlarmEvent {
        reading: reading(),
        verdict: None,
        age: Span(0),
        horizon: Span::secs(40),
    }];
    let decision = Decision {
        alarms: &alarms,
        ..quiet()
    };
    let plain = told(Style::Plain { colour: false }, &decision);
    let [line] = plain.as_slice() else {
        panic!("{plain:?}")
    };
    let (_, sentence) = line.split_once(' ').expect("a time of day in front");
    assert_eq!(
        sentence,
        format!(
            "ALARM: kubepods {HARMLESS}: 96.0MiB left, +8.0MiB/s, runway 8.0s/12s/-, stall 2.5%, by {HARMLESS}"
        )
    );
    let coloured = told(Style::Plain { colour: true }, &decision);
    assert!(
        coloured[0].contains("\x1b[33mALARM") && coloured[0].ends_with("\x1b[0m"),
        "{coloured:?}"
    );
}

#[test]
fn how_an_alarm_ended_is_told_with_its_age() {
    for (verdict, words, level) in [
        (AlarmVerdict::True, "came true", "error"),
        (AlarmVerdict::False, "was false", "info"),
        (AlarmVerdict::Intervened, "overtaken by an action", "info"),
    ] {
        let alarms = [AlarmEvent {
            reading: reading(),
            verdict: Some(verdict),
            age: Span::secs(30),
            horizon: Span::secs(40),
        }];
        let lines = told(
            Style::Json,
            &Decision {
                alarms: &alarms,
                ..quiet()
            },
        );
        let line = json(&lines[0]);
        let message = line["message"].as_str().expect("a message");
        assert!(
            message.contains(words) && message.contains("after 30s"),
            "{message}"
        );
        assert_eq!(
            (&line["level"], &line["age_millis"], &line["horizon_millis"]),
            (&level.into(), &30_000.into(), &40_000.into())
        );
    }
}

/// War story A's six values for /proc/meminfo of a public post; expected by hand.
#[test]
fn every_poll_of_war_story_a_has_two_decimals() {
    let kib = |kib: u64| Bytes(kib << 10);
    let node = NodeSample {
        total: kib(8_124_016),
        free: kib(346_844),
        available: kib(3_358_232),
        cached: kib(1_690_344),
        buffers: kib(999_768),
        anon: kib(4_000_000),
        inactive_file: kib(1_000_000),
        slab_reclaimable: kib(200_000),
        slab_unreclaimable: kib(100_000),
        ..NodeSample::default()
    };
    let event = Event {
        at: clock::now(),
        mode: Mode::Shadow,
        kind: EventKind::Poll(node),
        scope: shared::Name::NONE,
        target: shared::Name::NONE,
    };
    let line = json(&said(Style::Json, |logger| logger.event(&event, clock::now())));
    assert_eq!(
        line["message"],
        "total 7933.61 MiB, available 3279.52 MiB, cache 1650.73 MiB, slab 292.97 MiB, kubelet 5556.75 MiB, \
         actual 5944.17 MiB; actual 74.92%, kubelet 70.04%, cache 20.81%"
    );
    assert_eq!(line["slab_bytes"], 300_000_u64 << 10);
}

#[test]
fn who_was_passed_over_is_named_with_the_reason_and_the_action_that_rests_on_it() {
    let passed = |id, why| PassedOver {
        wall: WallKind::Kubepods,
        scope: Some(GroupId(7)),
        rung: Rung::Kill,
        target: Target::Group(GroupId(id)),
        why,
    };
    let passed_over = [
        passed(8, WhyNot::DaemonSet),
        passed(9, WhyNot::Protected(Protection::Shared)),
    ];
    let actions = [action()];
    let decision = Decision {
        actions: &actions,
        passed_over: &passed_over,
        ..quiet()
    };
    let lines = told(Style::Json, &decision);
    let line = json(lines.last().expect("a line"));
    assert_eq!(line["event"], "passed-over");
    assert_eq!(line["action"], 3);
    assert_eq!(
        (&line["wall"], &line["rung"]),
        (&"kubepods".into(), &"kill".into())
    );
    assert_eq!((&line["count"], &line["first"]), (&2.into(), &0.into()));
    assert_eq!(line["scope"], HARMLESS);
    assert_eq!(
        line["pods"],
        serde_json::json!([
            {"name": HARMLESS, "kind": "cgroup", "inode": 8, "why": "daemon-set"},
            {"name": HARMLESS, "kind": "cgroup", "inode": 9, "why": "shared"},
        ])
    );
    let lines = told(Style::Plain { colour: false }, &decision);
    let line = lines.last().expect("a line");
    let said = format!(
        "passed over for kill at kubepods {HARMLESS}, before action 3: {HARMLESS} (daemon-set), {HARMLESS} (shared)"
    );
    assert!(line.ends_with(&said), "{line}");
}

#[test]
fn an_input_that_was_not_believed_is_said_in_words_and_in_fields() {
    let one = |ignored: &[Ignored]| {
        let decision = Decision { ignored, ..quiet() };
        let lines = told(Style::Json, &decision);
        let [line] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        json(line)
    };
    let line = one(&[Ignored::TooLarge(GroupId(8)), Ignored::TooLarge(GroupId(9))]);
    assert_eq!(line["event"], "ignored");
    assert_eq!(line["level"], "warn");
    assert_eq!((&line["what"], &line["count"]), (&"too-large".into(), &2.into()));
    assert_eq!(line["target_name"], HARMLESS);
    assert_eq!(line["target"]["inode"], 8);
    let line = one(&[Ignored::ClockBack(Span::millis(1500))]);
    assert_eq!(line["what"], "clock-back");
    assert_eq!(line["back_millis"], 1500);
    assert!(line["target"].is_null() && line["target_name"].is_null());
    let line = one(&[Ignored::ImpossibleMachine("AnonPages")]);
    assert_eq!(
        (&line["what"], &line["figure"]),
        (&"impossible-machine".into(), &"AnonPages".into())
    );
    for ignored in [
        Ignored::SameMoment,
        Ignored::NoMachine,
        Ignored::Repeated(GroupId(1)),
        Ignored::TooLarge(GroupId(1)),
        Ignored::UnknownAction(ActionId(77)),
        Ignored::PodsWithoutUid(2),
        Ignored::ImpossibleMachine("AnonPages"),
        Ignored::Misplaced(GroupId(1)),
        Ignored::CounterJumped(None),
        Ignored::CounterJumped(Some(GroupId(1))),
        Ignored::ProcessTooLarge(forestall_decide::ProcessId::default()),
        Ignored::TookTooLong(ActionId(77)),
        Ignored::PodsRepeated(2),
        Ignored::KillUnplaced(2),
    ] {
        let ignored = &[ignored];
        let decision = Decision { ignored, ..quiet() };
        let lines = told(Style::Plain { colour: false }, &decision);
        assert!(lines.len() == 1 && lines[0].contains(" ignored: "), "{lines:?}");
    }
}
